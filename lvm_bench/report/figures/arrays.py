"""The data of figures: the arrays that runs left, and their histories as numbers."""

import io
import math
import zipfile
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np
from jaxtyping import Float64

from lvm_bench.errors import RunError
from lvm_bench.runs.record import DELETE, Run
from lvm_bench.runs.score_files import Complain, Epochs, History
from lvm_bench.runs.suite_record import About

MOST_BYTES = 1 << 30  # of the arrays in one file, because a small archive can claim to hold more than any memory


def arrays_of(
    run: Run, name: str, choose: Callable[[Any], dict[str, np.ndarray]], complain: Complain
) -> dict[str, np.ndarray] | None:
    """The arrays that `choose` takes from a run's .npz file; None and a complaint if they cannot be drawn."""
    try:
        content = io.BytesIO(run.content(name))
        with zipfile.ZipFile(content) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MOST_BYTES:
            raise ValueError(f"it holds {size:,} bytes of arrays, more than {MOST_BYTES:,}")
        with np.load(content, allow_pickle=False) as stored:
            return choose(stored)
    except RunError as error:
        complain(str(error))
    except Exception as error:  # a stranger's archive can raise whatever its readers raise
        complain(f"{run.folder}/{name}: cannot be drawn ({error}). {DELETE}")
    return None


def firsts(runs: Iterable[Run], name: str) -> dict[str, dict[str, Run]]:
    """The run with the lowest seed that left a file, by data set and method."""
    found: dict[str, dict[str, Run]] = {}
    for run in sorted(runs, key=lambda run: run.key):
        if name in run.files:
            found.setdefault(run.dataset, {}).setdefault(run.method, run)
    return found


def ordered(names: Collection[str], about: About) -> list[str]:
    """Names of methods in the order of the suite, with unknown ones last."""
    known = [name for name in about.methods if name in names]
    return known + sorted({*names} - {*known})


def histories(history: History, dataset: str) -> dict[str, dict[int, Epochs]]:
    """The epochs of each run on a data set, by method and seed."""
    found: dict[str, dict[int, Epochs]] = {}
    for (where, method, seed), epochs in sorted(history.items()):
        if where == dataset:
            found.setdefault(method, {})[seed] = epochs
    return found


def column(epochs: Epochs, name: str) -> Float64[np.ndarray, " e"]:
    """One column of a run's history as numbers. Other texts are NaN, and so is a column that it lacks."""
    columns, rows = epochs
    place = columns.index(name) if name in columns else None
    return np.array([math.nan if place is None else number(row[place]) for row in rows], dtype=np.float64)


def number(text: str) -> float:
    """A text as a number; NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def stacked(rows: list[Float64[np.ndarray, "..."]]) -> Float64[np.ndarray, "r n"]:
    """Rows of different lengths as a table, filled up with NaN."""
    table = np.full((len(rows), max(map(len, rows), default=0)), math.nan)
    for at, row in enumerate(rows):
        table[at, : len(row)] = row
    return table
