"""Who is best at what: the best method of each headline score on each data set, and those that may be as good."""

import math
from dataclasses import dataclass

import pandas as pd

from lvm_bench.report.tables.blocks import headlines
from lvm_bench.report.tables.cells import Cell, badness, marked_cells, measured_cells, with_interval
from lvm_bench.report.tables.layouts import SPREADS, Column, distance_name
from lvm_bench.runs.suite_record import About
from lvm_bench.suites.job import is_control
from lvm_bench.suites.labels import references

_WORDS = {
    ("frechet", "REC"): "{distance} of reconstructions",
    ("frechet", "N"): "{distance} of samples",
    ("precision-recall", "precision"): "precision of samples",
    ("precision-recall", "recall"): "recall of samples",
    ("kl", "to target"): "KL of codes",
    ("entropy", "gap"): "entropy gap",
    ("reconstruction", "SSE held-out"): "held-out SSE",
}  # of a table's column, outside that table; other columns have their labels


@dataclass(frozen=True)
class Headline:
    """A headline score on a data set: the best methods, the cell of the first, and the standing of the others.

    The tests and marks are those of the table: paired t-tests over common seeds with Holm's correction.
    """

    dataset: str
    words: str  # the name of the score
    table: str  # that has the score as a column
    column: Column
    best: list[str]  # more than one where means are equal
    cell: Cell  # of the best
    tied: list[str]  # those that a test cannot tell from the best, the better first
    untested: list[str]  # those that no test could compare with the best: too few seeds, or no spread
    compared: int  # methods that have the score


def headline_scores(frame: pd.DataFrame, about: About, spread: str = SPREADS[0], least: int = 2) -> list[Headline]:
    """The headline scores of a suite by data set, without those that fewer than `least` methods have.

    `frame` has the columns dataset, method, seed, metric and value. Controls and references are not compared.
    """
    scores = headlines(about.extractor)
    columns = [column for _, column in scores]
    out = references()
    every = [*about.methods, *sorted({*frame["method"].unique()} - {*about.methods})]
    methods = [name for name in every if not is_control(name) and name not in out]
    cells = {key: cell for key, cell in measured_cells(frame, columns).items() if math.isfinite(cell.mean)}
    if spread == "ci95":
        cells = {key: with_interval(cell) for key, cell in cells.items()}
    datasets = [*about.datasets, *sorted({*frame["dataset"].unique()} - {*about.datasets})]
    cells |= marked_cells(cells, columns, datasets, methods)
    found = []
    for dataset in datasets:
        for table, column in scores:
            own = {name: cell for name in methods if (cell := cells.get((name, dataset, column.metric)))}
            if len(own) >= least:
                found.append(_headline(dataset, words_of(table, column, about.extractor), table, column, own))
    return found


def words_of(table: str, column: Column, extractor: str) -> str:
    """The name of a table's column outside that table."""
    return _WORDS.get((table, column.label), column.label).format(distance=distance_name(extractor))


def _headline(dataset: str, words: str, table: str, column: Column, cells: dict[str, Cell]) -> Headline:
    """The headline of a score's cells by method."""
    rated = sorted(cells, key=lambda name: badness(cells[name].mean, column.better))
    least = badness(cells[rated[0]].mean, column.better)
    best = [name for name in rated if badness(cells[name].mean, column.better) == least]
    others = rated[len(best) :]
    tied = [name for name in others if cells[name].tied]
    untested = [name for name in others if math.isnan(cells[name].p)]
    return Headline(dataset, words, table, column, best, cells[best[0]], tied, untested, len(cells))
