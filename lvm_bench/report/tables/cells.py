"""The cells of a table: means over seeds, the marks of the best, and the published numbers beside them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
import pandas as pd

from lvm_bench.report.tables import published, statistics
from lvm_bench.report.tables.layouts import SPREADS, Column, Layout
from lvm_bench.runs.comparable import Place
from lvm_bench.runs.suite_record import About

AWAY = "†"  # beside the rows that were not run here

TIED = "≈"  # beside the cells that cannot be told from the best

CellKey = tuple[str, str, str]  # row, data set, metric

_nothing = partial(np.empty, 0)


@dataclass(frozen=True)
class Cell:
    """A mean and population standard deviation over n runs, with their seeds and values."""

    mean: float
    std: float
    n: int
    mark: str = ""  # `best`, `second`, or "" for neither
    low: float = math.nan  # the 95 % interval, if it is asked for
    high: float = math.nan
    p: float = math.nan  # of the test against the best, with Holm's correction
    tied: bool = False  # whether the test cannot tell it from the best
    published: "Cell | None" = None
    printed: str = ""  # a published number as it was printed
    meaningless: bool = False  # infinite for want of codes: shown as a dash, with a footnote
    off: float = math.nan  # the difference from the published number, in standard errors of that difference
    seeds: np.ndarray = field(default_factory=_nothing, compare=False, repr=False)
    values: np.ndarray = field(default_factory=_nothing, compare=False, repr=False)


@dataclass(frozen=True)
class Row:
    """A row of a table: a method or a control, with its footnotes by data set."""

    name: str
    label: str
    control: bool = False
    notes: dict[str, str] = field(default_factory=dict)  # why runs are missing; later the letters of the footnotes
    left_out: dict[str, str] = field(default_factory=dict)  # why committed scores are not shown
    absent: dict[str, dict[str, str]] = field(default_factory=dict)  # by data set, `Remarks.absent` of its method
    away: frozenset[str] = frozenset()  # the data sets on which it was not run here
    keys: dict[str, str] = field(default_factory=dict)  # by a column's key, the key that it shows instead

    def metric(self, column: Column) -> str:
        """The key of the score that the row shows in a column."""
        return self.keys.get(column.metric, column.metric)


@dataclass(frozen=True)
class Table:
    """A finished table. A cell that is absent from `cells` is shown as a dash."""

    name: str
    caption: list[str]
    datasets: dict[str, str]  # name: heading
    columns: list[Column]
    rows: list[Row]
    cells: dict[CellKey, Cell]
    footnotes: dict[str, str]  # letter: text
    against: str = ""
    spread: str = SPREADS[0]
    unmeasured: frozenset[str] = frozenset()  # the data sets on which no method has a score, with a reason

    @cached_property
    def numbered(self) -> set[tuple[str, str]]:
        """Each row with each data set on which it has a number."""
        return {(row, dataset) for row, dataset, _ in self.cells}

    def columns_on(self, dataset: str) -> list[Column]:
        """The columns that are shown of a data set: those that have a number on it.

        Where all runs failed or were declined, dashes stand in the columns that have a number elsewhere, else in one.
        """
        places = {(of, metric) for _, of, metric in self.cells}
        found = [column for column in self.columns if (dataset, column.metric) in places]
        if found or dataset not in self.unmeasured:
            return found
        return [column for column in self.columns if any(column.metric == key for _, key in places)] or self.columns[:1]

    def mark(self, row: Row, datasets: Iterable[str]) -> str:
        """The mark of a row that was not run here on one of these data sets; "" for other rows."""
        return AWAY if row.away & {*datasets} else ""


@np.errstate(invalid="ignore", over="ignore")
def _averaged(values: dict[Place, tuple[np.ndarray, np.ndarray]]) -> dict[Place, Cell]:
    """The cell of each place. Places with equally many seeds are averaged together, which large suites need."""
    found: dict[Place, Cell] = {}
    by_count: dict[int, list[Place]] = {}
    for place, (_, own) in values.items():
        by_count.setdefault(len(own), []).append(place)
    for n, places in by_count.items():
        rows = np.stack([values[place][1] for place in places])
        for place, mean, std in zip(places, rows.mean(1).tolist(), rows.std(1).tolist(), strict=True):
            seeds, own = values[place]
            # The deviation of numbers near the largest float overflows.
            found[place] = Cell(mean, std if math.isfinite(std) else math.nan, n, seeds=seeds, values=own)
    return found


def cells_of(scores: pd.DataFrame, column: Column) -> dict[Place, Cell]:
    """A column's score averaged over seeds, by data set and method."""
    return _averaged(_values(scores, column))


def with_interval(cell: Cell) -> Cell:
    """The cell with the 95 % interval of its mean."""
    low, high = statistics.bootstrap_interval(cell.values)
    return replace(cell, low=low, high=high)


def measured_cells(scores: pd.DataFrame, columns: list[Column]) -> dict[CellKey, Cell]:
    """The cells of the methods and the measured controls."""
    return {
        (method, dataset, column.metric): cell
        for column in columns
        for (dataset, method), cell in cells_of(scores, column).items()
    }


def other_row_cells(layout: Layout, scores: pd.DataFrame, columns: list[Column]) -> dict[CellKey, Cell]:
    """The cells of the rows that show other scores of a method."""
    return {
        (row.name, dataset, column.metric): cell
        for row in layout.others
        for column in columns
        for (dataset, method), cell in cells_of(scores, replace(column, key=row.keys[column.key])).items()
        if method == row.method
    }


def _values(scores: pd.DataFrame, column: Column) -> dict[Place, tuple[np.ndarray, np.ndarray]]:
    """For each data set and method, its seeds and their scores in a column."""
    chosen = scores[scores["metric"] == column.key]
    if column.minus:
        subtracted = scores[scores["metric"] == column.minus]
        chosen = chosen.merge(subtracted, on=["dataset", "method", "seed"])
        chosen = chosen.assign(value=chosen["value_x"] - chosen["value_y"])
    if chosen.empty:
        return {}
    # A large suite has half a million scores, and pandas' own groups take seconds.
    datasets, methods = (pd.factorize(chosen[name], sort=False) for name in ("dataset", "method"))
    places = datasets[0] * len(methods[1]) + methods[0]
    order = np.argsort(places, kind="stable")
    starts = np.flatnonzero(np.diff(places[order], prepend=-1))
    seeds, values = (np.split(chosen[name].to_numpy()[order], starts[1:]) for name in ("seed", "value"))
    firsts = places[order][starts]
    return {
        (str(datasets[1][place // len(methods[1])]), str(methods[1][place % len(methods[1])])): (own_seeds, own)
        for place, own_seeds, own in zip(firsts, seeds, values, strict=True)
    }


def floor_cells(layout: Layout, scores: pd.DataFrame, about: About) -> dict[CellKey, Cell]:
    """The cells of the rows that are formulas: the noise floor of the KL and the entropy l/2 of N(0, I)."""
    found: dict[CellKey, Cell] = {}
    rows = {row for row, _ in layout.controls}
    for (dataset, method), (_, values) in _values(scores, Column("", "gaussian_kl_floor.mean")).items():
        for row in {"noise-floor", of_size("noise-floor", about.latent(dataset, method))} & rows:
            for key in ("gaussian_kl.mean", "gaussian_kl_target.mean"):
                found.setdefault((row, dataset, key), Cell(float(values[0]), 0.0, 1))
    measured = {name: facts["latent"] for name, facts in about.datasets.items() if "latent" in facts}
    for dataset, latent in measured.items():
        for l in about.sizes(dataset) or [latent]:
            for row in {"half-l", of_size("half-l", l)} & rows:
                for key in ("entropy_raw.mean", "entropy_paper.mean"):
                    found[row, dataset, key] = Cell(l / 2, 0.0, 1)
    return found


def of_size(row: str, l: int) -> str:
    """The name of a floor's row where methods have several latent sizes."""
    return f"{row}-{l}"


def marked_cells(
    cells: dict[CellKey, Cell], columns: list[Column], datasets: list[str], methods: list[str]
) -> dict[CellKey, Cell]:
    """The cells of `methods`, marked and tested against the best mean of their column.

    A column without a direction, or with equal means alone, gets no marks.
    """
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
    """For each other cell of a column, p of a paired t-test against the best over common seeds, and whether it ties.

    With `to_zero` the mean nearest to 0 is best, and the tests compare distances from 0.
    """
    if to_zero:
        cells = {key: replace(cell, values=cell.values * math.copysign(1, cell.mean)) for key, cell in cells.items()}
    first = cells[best]
    column = {key: cell for key, cell in cells.items() if key != best}
    p = dict.fromkeys(column, math.nan)
    alike = [key for key, cell in column.items() if np.array_equal(cell.seeds, first.seeds)]
    if alike:  # the usual case, tested in one call
        differences = np.stack([column[key].values for key in alike]) - first.values
        p |= zip(alike, statistics.paired_t(differences).tolist(), strict=True)
    for key in column.keys() - {*alike}:
        _, own, other = np.intersect1d(column[key].seeds, first.seeds, return_indices=True)
        differences = column[key].values[own] - first.values[other]
        p[key] = float(statistics.paired_t(differences[None])[0])
    adjusted = statistics.holm(np.array([*p.values()])).tolist()
    return {key: (own, own > statistics.LEVEL) for key, own in zip(p, adjusted, strict=True)}


def badness(mean: float, better: str) -> float:
    """A number that is the lower the better the mean is."""
    return {"lower": mean, "higher": -mean, "zero": abs(mean), "none": 0.0}[better]


def _printed(source: str, l: float) -> dict[CellKey, Cell]:
    """The published numbers for codes of size l as cells, whatever their feature space."""
    return {
        (dataset, method, space_free(metric)): Cell(
            row["mean"], row["std"], 0 if math.isnan(row["n"]) else int(row["n"]), printed=row["printed"]
        )
        for (dataset, method, metric), row in published.scores(source, l).items()
    }


def beside_published(
    cells: dict[CellKey, Cell],
    layout: Layout,
    columns: list[Column],
    datasets: list[str],
    rows: list[Row],
    against: str | None,
    about: About,
) -> dict[CellKey, Cell]:
    """The cells that have a published number of their latent size, with that number and our distance from it."""
    if against is None:
        return {}
    sizes = {(run.dataset, run.method): run.settings.get("latent", 0) for run in about.runs if run.settings}
    printed = {l: _printed(against, l) for l in {0, *sizes.values()}}  # 0: unknown
    empty = Cell(math.nan, math.nan, 0)
    found = {}
    for row in rows:
        # The paper's "standard normal" is l/2. Exact draws score something else.
        names = {"half-l": "standard-normal", "standard-normal": ""} | {o.name: o.method for o in layout.others}
        for dataset in datasets:
            for column in columns:
                key = (row.name, dataset, column.metric)
                metric = space_free(row.metric(column))
                name = names.get(row.name, row.name)
                theirs = printed[sizes.get((dataset, name), 0)].get((dataset, name, metric))
                if theirs:
                    ours = cells.get(key, empty)
                    # A distance in another feature space has another scale.
                    same = "@" not in column.key or about.extractor == "inception"
                    found[key] = replace(ours, published=theirs, off=_off(ours, theirs) if same else math.nan)
    return found


def _off(ours: Cell, theirs: Cell) -> float:
    """(ours - theirs) over the standard error of the difference; NaN if a side has one run or no spread."""
    if min(ours.n, theirs.n) < 2:
        return math.nan
    error = math.sqrt(ours.std**2 / (ours.n - 1) + theirs.std**2 / (theirs.n - 1))
    return (ours.mean - theirs.mean) / error if error > 0 else math.nan


def space_free(metric: str) -> str:
    """A score's key without its feature space."""
    return metric.split("@")[0]
