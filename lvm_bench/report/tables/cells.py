"""What stands in a cell: means over seeds, marks of the best, the published number beside it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from lvm_bench.report.tables import published, statistics
from lvm_bench.report.tables.layouts import SPREADS, Column, Layout
from lvm_bench.runs.comparable import Place

AWAY = "†"  # beside the rows that were not run here

CellKey = tuple[str, str, str]  # row, data set, metric

_nothing = partial(np.empty, 0)


@dataclass(frozen=True)
class Cell:
    """A mean and population standard deviation over n runs, with their seeds and values.

    `mark`: `best`, `second` or neither; `p`: against the best, by Holm's correction; `tied`: not distinguishable
    from it; `off`: the difference from the published number, in standard errors of both.
    """

    mean: float
    std: float
    n: int
    mark: str = ""
    low: float = math.nan  # of the 95 % interval, where it is asked for
    high: float = math.nan
    p: float = math.nan
    tied: bool = False
    published: "Cell | None" = None
    printed: str = ""  # a published number as it was printed
    off: float = math.nan
    seeds: np.ndarray = field(default_factory=_nothing, compare=False, repr=False)
    values: np.ndarray = field(default_factory=_nothing, compare=False, repr=False)


@dataclass(frozen=True)
class Row:
    """A method or a control, with the footnotes of its empty or incomplete cells by data set."""

    name: str
    label: str
    control: bool = False
    notes: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)  # notes that rows share
    away: frozenset[str] = frozenset()  # the data sets on which it was not run here
    keys: dict[str, str] = field(default_factory=dict)  # what it shows in the place of a column's key

    def metric(self, column: Column) -> str:
        """The key of the score that it shows in a column."""
        return self.keys.get(column.metric, column.metric)


@dataclass(frozen=True)
class Table:
    """A finished table: cells by (row, data set, metric key); absent ones are dashes."""

    name: str
    caption: list[str]
    datasets: dict[str, str]  # name: heading
    columns: list[Column]
    rows: list[Row]
    cells: dict[CellKey, Cell]
    footnotes: dict[str, str]  # letter: text
    against: str = ""
    spread: str = SPREADS[0]

    def mark(self, row: Row, datasets: Iterable[str]) -> str:
        """The mark beside a row's label that says that it was not run here, on some of these data sets."""
        return AWAY if row.away & {*datasets} else ""


@np.errstate(invalid="ignore", over="ignore")
def _cells_of(values: dict[Place, tuple[np.ndarray, np.ndarray]]) -> dict[Place, Cell]:
    """The cell of each place; of places with equally many seeds all at once, for large suites."""
    found: dict[Place, Cell] = {}
    by_count: dict[int, list[Place]] = {}
    for place, (_, own) in values.items():
        by_count.setdefault(len(own), []).append(place)
    for n, places in by_count.items():
        rows = np.stack([values[place][1] for place in places])
        for place, mean, std in zip(places, rows.mean(1).tolist(), rows.std(1).tolist(), strict=True):
            seeds, own = values[place]
            # The deviation of numbers near the largest there are is inf.
            found[place] = Cell(mean, std if math.isfinite(std) else math.nan, n, seeds=seeds, values=own)
    return found


def means(scores: pd.DataFrame, column: Column) -> dict[Place, float]:
    """The mean over seeds of a column's score by data set and method."""
    return {place: float(own.mean()) for place, (_, own) in _values(scores, column).items()}


def with_interval(cell: Cell) -> Cell:
    low, high = statistics.bootstrap_interval(cell.values)
    return replace(cell, low=low, high=high)


def measured_cells(scores: pd.DataFrame, columns: list[Column]) -> dict[CellKey, Cell]:
    return {
        (method, dataset, column.metric): cell
        for column in columns
        for (dataset, method), cell in _cells_of(_values(scores, column)).items()
    }


def other_row_cells(layout: Layout, scores: pd.DataFrame, columns: list[Column]) -> dict[CellKey, Cell]:
    return {
        (row.name, dataset, column.metric): cell
        for row in layout.others
        for column in columns
        for (dataset, method), cell in _cells_of(_values(scores, replace(column, key=row.keys[column.key]))).items()
        if method == row.method
    }


def _values(scores: pd.DataFrame, column: Column) -> dict[Place, tuple[np.ndarray, np.ndarray]]:
    """(seeds, a column's scores) of each data set and method."""
    chosen = scores[scores["metric"] == column.key]
    if column.minus:
        subtracted = scores[scores["metric"] == column.minus]
        chosen = chosen.merge(subtracted, on=["dataset", "method", "seed"])
        chosen = chosen.assign(value=chosen["value_x"] - chosen["value_y"]).dropna(subset="value")
    # Half a million scores in a large suite: pandas' own groups take seconds.
    datasets, methods = (pd.factorize(chosen[name], sort=False) for name in ("dataset", "method"))
    places = datasets[0] * len(methods[1]) + methods[0]
    order = np.argsort(places, kind="stable")
    starts = np.flatnonzero(np.diff(places[order], prepend=-1))
    seeds, values = (
        np.split(chosen[name].to_numpy()[order], starts[1:]) if len(order) else [] for name in ("seed", "value")
    )
    firsts = places[order][starts]
    return {
        (str(datasets[1][place // len(methods[1])]), str(methods[1][place % len(methods[1])])): (own_seeds, own)
        for place, own_seeds, own in zip(firsts, seeds, values, strict=True)
    }


def floor_cells(layout: Layout, scores: pd.DataFrame, about: dict[str, Any]) -> dict[CellKey, Cell]:
    """The rows that are formulas: the KL's noise floor and the entropy l/2 of N(0, I)."""
    found: dict[CellKey, Cell] = {}
    rows = {row for row, _ in layout.controls}
    if "noise-floor" in rows:
        for (dataset, _), (_, values) in _values(scores, Column("", "gaussian_kl_floor.mean")).items():
            for key in ("gaussian_kl.mean", "gaussian_kl_target.mean"):
                found.setdefault(("noise-floor", dataset, key), Cell(float(values[0]), 0.0, 1))
    if "half-l" in rows:
        measured = {name: facts for name, facts in about.get("datasets", {}).items() if "latent" in facts}
        for dataset, facts in measured.items():
            for key in ("entropy_raw.mean", "entropy_paper.mean"):
                found["half-l", dataset, key] = Cell(facts["latent"] / 2, 0.0, 1)
    return found


def marked_cells(
    cells: dict[CellKey, Cell], columns: list[Column], datasets: list[str], methods: list[str]
) -> dict[CellKey, Cell]:
    """The rated cells of each column with what they are beside the best by mean; nothing where all are equal."""
    marked: dict[CellKey, Cell] = {}
    for dataset in datasets:
        for column in columns:
            rated = {
                key: badness(cells[key].mean, column.better)
                for method in methods
                if (key := (method, dataset, column.metric)) in cells and math.isfinite(cells[key].mean)
            }
            if column.better == "none" or len({*rated.values()}) < 2:
                continue
            best = min(rated, key=rated.__getitem__)
            tests = _against_best({key: cells[key] for key in rated}, best, column.better == "zero")
            for key, own in rated.items():
                ahead = sum(other < own for other in rated.values())
                p, tied = tests.get(key, (math.nan, False))
                mark = ("best", "second")[ahead] if ahead < 2 else ""
                marked[key] = replace(cells[key], mark=mark, p=p, tied=tied)
    return marked


def _against_best(cells: dict[CellKey, Cell], best: CellKey, to_zero: bool) -> dict[CellKey, tuple[float, bool]]:
    """(p, not distinguishable) of each other method of the best one's column, by paired t-tests over common seeds.

    `to_zero`: the nearer a mean is to 0 the better, and the distances of means are compared.
    """
    if to_zero:
        cells = {key: replace(cell, values=cell.values * math.copysign(1, cell.mean)) for key, cell in cells.items()}
    first = cells[best]
    column = {key: cell for key, cell in cells.items() if key != best}
    p = dict.fromkeys(column, math.nan)
    alike = [key for key, cell in column.items() if np.array_equal(cell.seeds, first.seeds)]
    if alike:  # as a rule: tested all at once
        differences = np.stack([column[key].values for key in alike]) - first.values
        p |= zip(alike, statistics.paired_t(differences).tolist(), strict=True)
    for key in column.keys() - {*alike}:
        _, own, other = np.intersect1d(column[key].seeds, first.seeds, return_indices=True)
        differences = column[key].values[own] - first.values[other]
        p[key] = float(statistics.paired_t(differences[None])[0])
    adjusted = statistics.holm(np.array([*p.values()])).tolist()
    return {key: (own, own > statistics.LEVEL) for key, own in zip(p, adjusted, strict=True)}


def badness(mean: float, better: str) -> float:
    """A mean as a number of which less is better."""
    return {"lower": mean, "higher": -mean, "zero": abs(mean), "none": 0.0}[better]


def beside_published(
    cells: dict[CellKey, Cell],
    layout: Layout,
    columns: list[Column],
    datasets: list[str],
    rows: list[Row],
    against: str | None,
    extractor: str,
) -> dict[CellKey, Cell]:
    """The cells with the published number of the same data set, method and metric, and how far off ours is."""
    if against is None:
        return {}
    printed = {
        (row["dataset"], row["method"], space_free(row["metric"])): Cell(
            row["mean"], row["std"], 0 if math.isnan(row["n"]) else int(row["n"]), printed=row["printed"]
        )
        for row in published.load(against).to_dict("records")
    }
    empty = Cell(math.nan, math.nan, 0)
    found = {}
    for row in rows:
        # The paper's "standard normal" is l/2, not what exact draws score.
        names = {"half-l": "standard-normal", "standard-normal": ""} | {o.name: o.method for o in layout.others}
        for dataset in datasets:
            for column in columns:
                key = (row.name, dataset, column.metric)
                metric = space_free(row.metric(column))
                theirs = printed.get((dataset, names.get(row.name, row.name), metric))
                if theirs:
                    ours = cells.get(key, empty)
                    # In another feature space a distance has another scale.
                    same = "@" not in column.key or extractor == "inception"
                    found[key] = replace(ours, published=theirs, off=_off(ours, theirs) if same else math.nan)
    return found


def _off(ours: Cell, theirs: Cell) -> float:
    """(ours - theirs) over the standard error of the difference; NaN where a side has no spread or one run."""
    if min(ours.n, theirs.n) < 2:
        return math.nan
    error = math.sqrt(ours.std**2 / (ours.n - 1) + theirs.std**2 / (theirs.n - 1))
    return (ours.mean - theirs.mean) / error if error > 0 else math.nan


def space_free(metric: str) -> str:
    """A key without its feature space."""
    return metric.split("@")[0]
