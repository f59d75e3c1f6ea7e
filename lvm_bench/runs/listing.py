"""How far each run is: what `lvm-bench list runs` prints, by reading alone."""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from lvm_bench import disk
from lvm_bench.errors import RunError
from lvm_bench.runs import suite_record
from lvm_bench.runs.layout import Key, run_folder, run_folders, suite_folders
from lvm_bench.runs.lease import holder, is_alive
from lvm_bench.runs.record import FINISHED, Run, read_runs
from lvm_bench.text import columns, one_line
from lvm_bench.training import checkpoint

STATES = ("running", "interrupted", "trained", "done", "failed", "declined", "damaged", "committed")

_HEADER = ("RUN", "STATE", "EPOCH", "SECONDS", "DEVICE", "REASON")

Row = dict[str, Any]


def rows(results: Path, suite: str | None, states: Collection[str], complain: Callable[[str], object]) -> list[Row]:
    """What is known of each run of one suite or all, of those in the given states alone where there are any.

    A damaged about.json is complained about. UserError when there are no results.
    """
    with disk.nothing_to_collect():
        found = [row for folder in suite_folders(results, suite) for row in _rows(folder, complain)]
    return [row for row in found if not states or row["state"] in states]


def _rows(suite: Path, complain: Callable[[str], object]) -> Iterator[Row]:
    runs, damaged = read_runs(suite)
    known = {run.key: run for run in runs}
    try:
        only_told = {run.key: run for run in suite_record.read(suite).runs}
    except RunError as error:
        complain(str(error))
        only_told = {}
    here = {key: folder for folder, key in run_folders(suite)}
    for key in sorted({*here, *only_told}):
        if key not in here:
            yield _row(suite, key, only_told[key], "committed")
        elif key in damaged:
            yield _row(suite, key, None, _unless_at_work(here[key], "damaged"), damaged[key])
        else:
            yield _row(suite, key, known.get(key), _state(here[key], known.get(key)))


def _state(folder: Path, run: Run | None) -> str:
    if run and run.status in FINISHED:
        return run.status
    ended = {"trained": "trained", "failed": "failed"}.get(run.status, "interrupted") if run else "interrupted"
    return _unless_at_work(folder, ended)


def _unless_at_work(folder: Path, state: str) -> str:
    return "running" if is_alive(folder) else state


def _row(suite: Path, key: Key, run: Run | None, state: str, reason: str = "") -> Row:
    """One run as plain JSON; None for what is not known."""
    row: Row = {"suite": suite.name, "dataset": key[0], "method": key[1], "seed": key[2], "state": state}
    row |= {"epoch": None, "epochs": None, "seconds": None, "device": None, "reason": one_line(reason)}
    if run:
        ended = run.status in ("trained", "done")
        spent = [seconds for seconds in (run.seconds_training, run.seconds_evaluation) if seconds is not None]
        row["epochs"] = (run.settings or {}).get("epochs")
        row["epoch"] = row["epochs"] if ended else None
        row["seconds"] = round(sum(spent), 3) if spent else None
        row["device"] = one_line(run.environments[-1]["device"]) if run.environments else None
        told = f"{run.status}: {run.reason}" if state == "committed" and run.reason else run.reason
        row["reason"] = one_line(told)
    if state == "running":
        row |= _doing(suite, key)
    if state == "interrupted" and run:
        row["epoch"] = len(checkpoint.history(run_folder(suite.parent, suite.name, *key)))
    return row


def _doing(suite: Path, key: Key) -> Row:
    """How far somebody at work is, as the lease says."""
    held = holder(run_folder(suite.parent, suite.name, *key))
    doing = held.doing if held else {}
    return {name: doing[name] for name in ("epoch", "epochs") if type(doing.get(name)) is int} | {"reason": ""}


def table(rows: list[Row]) -> list[str]:
    """The rows as lines of a table, under a header."""
    return columns([_HEADER, *map(_cells, rows)])


def _cells(row: Row) -> tuple[str, ...]:
    epoch = "" if row["epoch"] is None else one_line(f"{row['epoch']}/{row['epochs']}")
    seconds = "" if row["seconds"] is None else f"{row['seconds']:,.0f}"
    name = f"{row['suite']}/{row['dataset']}/{row['method']}/seed-{row['seed']}"
    return one_line(name), row["state"], epoch, seconds, row["device"] or "", row["reason"]
