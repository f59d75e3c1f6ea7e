"""The files of scores and histories: scores.json and history.csv of a run, scores.csv and history.csv of a suite."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from lvm_bench import disk
from lvm_bench.errors import RunError
from lvm_bench.runs.checksums import RESTORE
from lvm_bench.runs.layout import HISTORY, SCORES, Key, is_seed
from lvm_bench.runs.record import DELETE, Run
from lvm_bench.text import check_name, shortened

RUN = ["dataset", "method", "seed"]

METRIC = re.compile(r"[A-Za-z0-9_.@-]{1,200}")  # the name of a score

NON_FINITE = {"nan", "inf", "-inf"}

Complain = Callable[[str], object]

ScoresByRun = dict[Key, dict[str, float]]  # by run, then by metric

Epochs = tuple[list[str], list[list[str]]]  # column names, and a row of texts per epoch

History = dict[Key, Epochs]


def collect(runs: Iterable[Run], complain: Complain) -> ScoresByRun:
    """The scores of finished runs. A run whose scores.json is damaged is complained about."""
    found: ScoresByRun = {}
    for run in runs:
        try:
            found[run.key] = scores_of(run.content(SCORES))
        except RunError as error:
            complain(str(error))
        except (ValueError, RecursionError) as error:
            complain(f"{run.folder}/{SCORES}: {error}. {DELETE}")
    return found


def collect_history(runs: Iterable[Run], complain: Complain) -> History:
    """The epochs of finished runs that trained something. A run whose history.csv is damaged is complained about."""
    found: History = {}
    for run in runs:
        if HISTORY not in run.files:
            continue
        try:
            if (epochs := epochs_of(run.content(HISTORY)))[1]:
                found[run.key] = epochs
        except RunError as error:
            complain(str(error))
        except (ValueError, csv.Error) as error:
            complain(f"{run.folder}/{HISTORY}: cannot be read as a table ({error}). {DELETE}")
    return found


def scores_of(content: bytes) -> dict[str, float]:
    """The numbers of a scores.json; ValueError when it holds anything else."""
    return checked_scores(disk.parsed(content))


def checked_scores(found: Any) -> dict[str, float]:
    """The scores in a parsed scores.json; ValueError unless it is a table of names and numbers."""
    if not isinstance(found, dict):
        raise ValueError("not a table of names and numbers")
    for metric, value in found.items():
        if type(value) not in (int, float) and not (isinstance(value, str) and value in NON_FINITE):
            raise ValueError(f"{metric} is {shortened(value)}, not a number")
    try:
        return {check_metric(metric): float(value) for metric, value in found.items()}
    except OverflowError as error:
        raise ValueError(f"a number is too large ({error})") from error


@cache
def check_metric(name: str) -> str:
    """The name of a score, as one object for all equal names; ValueError if it cannot be one."""
    if not METRIC.fullmatch(name):
        raise ValueError(f"{shortened(name)} is no name of a score")
    return name


def epochs_of(content: bytes) -> Epochs:
    """The columns and rows of a history.csv; ValueError unless it is such a table."""
    columns, *rows = csv.reader(io.StringIO(content.decode(), newline=""))
    if {*RUN} & {*columns} or any(len(row) != len(columns) for row in rows):
        raise ValueError("its rows are not as long as its header, or it has a column of another table")
    return columns, rows


def read_scores(file: Path) -> ScoresByRun:
    """The scores in a suite's scores.csv; none if there is no file. RunError when it cannot be read."""
    found: ScoresByRun = {}
    with _reading(file) as (columns, rows):
        dataset, method, seed, metric, value = (columns.index(name) for name in (*RUN, "metric", "value"))
        for row in rows:
            scores = found.setdefault(key_of(row[dataset], row[method], row[seed]), {})
            scores[check_metric(row[metric])] = float(row[value])
    return found


def read_history(file: Path) -> History:
    """The epochs in a suite's history.csv. A run has the columns in which it logged something."""
    rows_of: dict[Key, list[list[str]]] = {}
    with _reading(file) as (columns, rows):
        dataset, method, seed = (columns.index(name) for name in RUN)
        for row in rows:
            rows_of.setdefault(key_of(row[dataset], row[method], row[seed]), []).append(row)
        return {key: _filled(columns, own) for key, own in rows_of.items()}


@contextmanager
def _reading(file: Path) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    """The header and rows of a table of runs; no rows if there is no file. RunError when it cannot be read."""
    if not file.exists():
        yield [*RUN, "metric", "value"], iter(())
        return
    if not file.is_file():
        raise RunError(f"{file}: cannot be read, it is no file. {RESTORE}")
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            rows = csv.reader(stream)
            yield next(rows, []), rows
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise RunError(f"{file}: cannot be read as a table of runs ({error}). {RESTORE}") from error


@cache
def key_of(dataset: str, method: str, seed: str) -> Key:
    """The run of a row; ValueError if there can be no such run."""
    if not is_seed(seed):
        raise ValueError(f"{shortened(seed)} is no seed")
    return check_name("data set", dataset), check_name("method", method), int(seed)


def _filled(columns: list[str], rows: list[list[str]]) -> Epochs:
    """The columns in which one of the rows has a value."""
    places = [place for place, name in enumerate(columns) if name not in RUN and any(row[place] for row in rows)]
    return [columns[place] for place in places], [[row[place] for place in places] for row in rows]


def write_scores(file: Path, scores: ScoresByRun) -> None:
    """Write one line per score, sorted by run and metric."""
    lines = [",".join([*RUN, "metric", "value\n"])]
    for key in sorted(scores):  # a large suite has half a million scores, and csv.writer takes twice as long
        run = ",".join(map(str, key))
        lines += [f"{run},{metric},{value!r}\n" for metric, value in sorted(scores[key].items())]
    disk.write_text(file, "".join(lines))


def write_history(file: Path, history: History) -> None:
    """Write one line per epoch of each run. The columns are those of all runs."""
    names = list(dict.fromkeys(name for key in sorted(history) for name in history[key][0]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*RUN, *names])
    writer.writerows(_history_rows(history, names))
    disk.write_text(file, text.getvalue())


def _history_rows(history: History, names: list[str]) -> Iterator[list[Any]]:
    for key in sorted(history):
        columns, rows = history[key]
        place = {name: at for at, name in enumerate(columns)}
        places = [place.get(name) for name in names]
        for row in rows:
            yield [*key, *("" if at is None else row[at] for at in places)]
