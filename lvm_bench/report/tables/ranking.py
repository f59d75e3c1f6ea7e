"""Average ranks of methods over data sets and scores, with Friedman's and Nemenyi's tests. Demsar 2006."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64

from lvm_bench.report.tables import statistics
from lvm_bench.report.tables.captions import over_seeds
from lvm_bench.report.tables.cells import badness, cells_of
from lvm_bench.report.tables.layouts import LAYOUTS, Column, resolved
from lvm_bench.report.tables.word_table import WordTable
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
class Ranking:
    """The ranks (1 is best) of the methods that have every score. The best average rank stands first."""

    methods: list[str]
    blocks: list[str]  # a data set and a score each
    ranks: Float64[np.ndarray, "n k"]
    left_out: list[str]  # the methods that lack a score
    blocks_left_out: list[str]  # the blocks that fewer methods have
    fewer_seeds: list[str]  # the methods with fewer seeds than others in a block
    over: str  # how many seeds were averaged: `3 seeds`, `1 to 2 of 3 seeds`

    @property
    def average(self) -> Float64[np.ndarray, " k"]:
        """The mean rank of each method."""
        return self.ranks.mean(0)

    @property
    def difference(self) -> float:
        """The critical difference of two average ranks by Nemenyi's test."""
        return statistics.critical_difference(len(self.methods), len(self.blocks))


def headlines(extractor: str) -> list[tuple[str, Column]]:
    """The scores that are ranked, as a table and one of its columns each."""
    return [
        (table, resolved(column, extractor))
        for table, name in HEADLINES
        for column in LAYOUTS[table].columns
        if column.label == name
    ]


def ranking(frame: pd.DataFrame, about: About) -> Ranking | None:
    """The ranks of a suite's methods by their means; None for fewer than two methods or blocks."""
    measured = {*frame["method"].unique()} - references()
    methods = [name for name in about.methods if name in measured]
    blocks: dict[str, dict[str, float]] = {}
    seeds: dict[str, dict[str, int]] = {}
    planned = 0
    for name, column in headlines(about.extractor):
        found = cells_of(frame, column)
        for dataset in about.datasets:
            known = {method: found[dataset, method] for method in methods if (dataset, method) in found}
            own = {method: cell for method, cell in known.items() if not np.isnan(cell.mean)}
            if len(own) > 1:
                block = f"{dataset_label(dataset)}: {name} {column.label}"
                blocks[block] = {method: badness(cell.mean, column.better) for method, cell in own.items()}
                seeds[block] = {method: cell.n for method, cell in own.items()}
                planned = max(planned, len(about.seeds_of(dataset)))
    # As many methods as possible come first, then the blocks that all of them have: otherwise one method that was
    # not run on a data set would leave out its blocks.
    most = max((len(own) for own in blocks.values()), default=0)
    fewer = [name for name, own in blocks.items() if len(own) < most]
    blocks = {name: own for name, own in blocks.items() if len(own) == most}
    chosen = [name for name in methods if all(name in own for own in blocks.values())]
    if len(chosen) < 2 or len(blocks) < 2:
        return None
    table = np.array([statistics.ranks(np.array([own[name] for name in chosen])) for own in blocks.values()])
    order = np.argsort(table.mean(0), kind="stable")
    left_out = [name for name in methods if name not in chosen]
    averaged = [{name: seeds[block][name] for name in chosen} for block in blocks]
    short = [name for name in chosen if any(own[name] < max(own.values()) for own in averaged)]
    counts = {n for own in averaged for n in own.values()}
    over = over_seeds(counts, planned or max(counts))
    return Ranking([chosen[place] for place in order], list(blocks), table[:, order], left_out, fewer, short, over)


def ranks_table(found: Ranking) -> WordTable:
    """A row per method with its average rank and its rank in each block."""
    names = [label(name) for name in found.methods]
    average = found.average
    p = statistics.friedman_p(found.ranks)
    text = [
        f"Average ranks (1 is best) of {len(names)} methods over {len(found.blocks)} blocks: a data set and a score, "
        f"means over {found.over}. Friedman's test that they do not differ: p = {p:.2g}. "
        f"Two methods whose average ranks are nearer than {found.difference:.2f} (Nemenyi, 5 %) are not "
        "distinguishable.",
    ]
    apart = [
        f"{names[i]} from {names[j]}"
        for i in range(len(names))
        for j in range(i + 1, len(names))
        if average[j] - average[i] >= found.difference
    ]
    text.append(f"Distinguishable: {listed(apart, 8)}." if apart else "No two are distinguishable.")
    text.append("Scores of one data set depend on each other, so that the test is too sure of itself.")
    if found.left_out:
        text.append(f"Without {', '.join(map(label, found.left_out))}: not all scores are there.")
    if found.fewer_seeds:
        text.append(f"Of fewer seeds than the others: {', '.join(map(label, found.fewer_seeds))}.")
    if found.blocks_left_out:
        text.append(f"Without what fewer methods have: {listed(found.blocks_left_out, 4)}.")
    rows = [[name, f"{mean:.2f}", *(f"{rank:g}" for rank in ranks)]
            for name, mean, ranks in zip(names, average, found.ranks.T, strict=True)]  # fmt: skip
    return WordTable("ranks", "Average ranks", " ".join(text), ["method", "average", *found.blocks], rows, 2)
