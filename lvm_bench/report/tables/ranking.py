"""Average ranks of methods over data sets and scores, with Friedman's and Nemenyi's tests. Demsar 2006."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64

from lvm_bench.report.tables import statistics
from lvm_bench.report.tables.blocks import Blocks, blocks_of
from lvm_bench.report.tables.cells import badness
from lvm_bench.report.tables.word_table import WordTable
from lvm_bench.runs.suite_record import About
from lvm_bench.suites.labels import label
from lvm_bench.text import listed


@dataclass(frozen=True)
class Ranking:
    """The ranks (1 is best) of the methods that have every score. The best average rank stands first."""

    methods: list[str]
    ranks: Float64[np.ndarray, "n k"]
    compared: Blocks

    @property
    def blocks(self) -> list[str]:
        """The names of the blocks."""
        return [block.name for block in self.compared.blocks]

    @property
    def average(self) -> Float64[np.ndarray, " k"]:
        """The mean rank of each method."""
        return self.ranks.mean(0)

    @property
    def difference(self) -> float:
        """The critical difference of two average ranks by Nemenyi's test."""
        return statistics.critical_difference(len(self.methods), len(self.blocks))


def ranking(frame: pd.DataFrame, about: About) -> Ranking | None:
    """The ranks of a suite's methods by their means; None for fewer than two methods or blocks."""
    found = blocks_of(frame, about)
    if found is None:
        return None
    means = [[badness(block.cells[name].mean, block.better) for name in found.methods] for block in found.blocks]
    table = np.array([statistics.ranks(np.array(row)) for row in means])
    order = np.argsort(table.mean(0), kind="stable")
    return Ranking([found.methods[place] for place in order], table[:, order], found)


def ranks_table(found: Ranking) -> WordTable:
    """A row per method with its average rank and its rank in each block."""
    names = [label(name) for name in found.methods]
    average = found.average
    p = statistics.friedman_p(found.ranks)
    text = [
        f"Average ranks (1 is best) of {len(names)} methods over {len(found.blocks)} blocks: a data set and a score, "
        f"means over {found.compared.seeds}. Friedman's test that they do not differ: p = {p:.2g}. "
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
    text += found.compared.told
    rows = [[name, f"{mean:.2f}", *(f"{rank:g}" for rank in ranks)]
            for name, mean, ranks in zip(names, average, found.ranks.T, strict=True)]  # fmt: skip
    return WordTable("ranks", "Average ranks", " ".join(text), ["method", "average", *found.blocks], rows, 2)
