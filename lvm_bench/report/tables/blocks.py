"""The blocks over which methods are compared: a data set and a headline score each, with the cells of the methods."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lvm_bench.report.tables.captions import over_seeds
from lvm_bench.report.tables.cells import Cell, cells_of
from lvm_bench.report.tables.layouts import LAYOUTS, Column, resolved
from lvm_bench.runs.suite_record import About
from lvm_bench.suites.labels import dataset_label, label, references
from lvm_bench.text import listed

# One score for each property: several scores of one property would count it several times.
HEADLINES = (
    ("frechet", "REC"), ("frechet", "N"), ("precision-recall", "precision"), ("precision-recall", "recall"),
    ("kl", "to target"), ("entropy", "gap"), ("reconstruction", "SSE held-out"), ("factors", "PCA MIG"),
    ("factors", "PCA FactorVAE"), ("factors", "DCI disentanglement"),
)  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A score on a data set: its cells by method, and which values are better."""

    name: str
    better: str
    cells: dict[str, Cell]


@dataclass(frozen=True)
class Blocks:
    """The blocks that all of `methods` have, and what was left out."""

    methods: list[str]  # in the order of the suite
    blocks: list[Block]
    left_out: list[str]  # the methods that lack a score
    blocks_left_out: list[str]  # the blocks that fewer methods have
    fewer_seeds: list[str]  # the methods with fewer seeds than others in a block
    seeds: str  # how many of them stand behind a cell: `3 seeds`, `1 to 2 of 3 seeds`

    @property
    def told(self) -> list[str]:
        """Sentences on the methods and blocks that were left out, and on methods of fewer seeds."""
        text = []
        if self.left_out:
            text.append(f"Without {', '.join(map(label, self.left_out))}: not all scores are there.")
        if self.fewer_seeds:
            text.append(f"Of fewer seeds than the others: {', '.join(map(label, self.fewer_seeds))}.")
        if self.blocks_left_out:
            text.append(f"Without what fewer methods have: {listed(self.blocks_left_out, 4)}.")
        return text


def headlines(extractor: str) -> list[tuple[str, Column]]:
    """The scores that count, as a table and one of its columns each."""
    return [
        (table, resolved(column, extractor))
        for table, name in HEADLINES
        for column in LAYOUTS[table].columns
        if column.label == name
    ]


def blocks_of(frame: pd.DataFrame, about: About) -> Blocks | None:
    """The blocks of a suite; None for fewer than two methods or blocks."""
    measured = {*frame["method"].unique()} - references()
    methods = [name for name in about.methods if name in measured]
    every: list[Block] = []
    planned = 0
    for name, column in headlines(about.extractor):
        found = cells_of(frame, column)
        for dataset in about.datasets:
            known = {method: found[dataset, method] for method in methods if (dataset, method) in found}
            own = {method: cell for method, cell in known.items() if not np.isnan(cell.mean)}
            if len(own) > 1:
                every.append(Block(f"{dataset_label(dataset)}: {name} {column.label}", column.better, own))
                planned = max(planned, len(about.seeds_of(dataset)))
    # As many methods as possible come first, then the blocks that all of them have: otherwise one method that was
    # not run on a data set would leave out its blocks.
    most = max((len(block.cells) for block in every), default=0)
    blocks = [block for block in every if len(block.cells) == most]
    chosen = [name for name in methods if all(name in block.cells for block in blocks)]
    if len(chosen) < 2 or len(blocks) < 2:
        return None
    left_out = [name for name in methods if name not in chosen]
    fewer = [block.name for block in every if len(block.cells) < most]
    runs = [{name: block.cells[name].n for name in chosen} for block in blocks]
    short = [name for name in chosen if any(own[name] < max(own.values()) for own in runs)]
    counts = {n for own in runs for n in own.values()}
    return Blocks(chosen, blocks, left_out, fewer, short, over_seeds(counts, planned or max(counts)))
