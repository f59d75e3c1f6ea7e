"""The progress of each run, as `lvm-bench list runs` prints it. Nothing is written."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from lvm_bench import disk
from lvm_bench.errors import RunError
from lvm_bench.runs import suite_record
from lvm_bench.runs.differences import STALE, with_stale
from lvm_bench.runs.layout import Key, run_folders, suite_folders
from lvm_bench.runs.lease import holder
from lvm_bench.runs.measured import lacking, measured
from lvm_bench.runs.record import LONGEST, Run, unreadable, without
from lvm_bench.runs.standing import Standing, State, stand
from lvm_bench.suites.job import is_control
from lvm_bench.text import columns, counted, listed, one_line
from lvm_bench.training import checkpoint

STATES = tuple(state.value for state in State if state != State.NEW)  # that a listed run can be in

_HEADER = ("RUN", "STATE", "EPOCH", "SECONDS", "DEVICE", "REASON")

Row = dict[str, Any]


def rows(results: Path, suite: str | None, states: Collection[str], complain: Callable[[str], object]) -> list[Row]:
    """A row for each run of one suite or of all. Where `states` are given, only runs in these states.

    Complains about a damaged about.json. UserError when there are no results.
    """
    with disk.nothing_to_collect():
        found = [row for folder in suite_folders(results, suite) for row in _rows(folder, complain)]
    return [row for row in found if not states or row["state"] in states]


def _rows(suite: Path, complain: Callable[[str], object]) -> Iterator[Row]:
    disk.check_inside(suite.parent, suite / "runs")
    try:
        committed = {run.key: run for run in suite_record.read(suite).runs}
    except RunError as error:
        complain(str(error))
        committed = {}
    here: dict[Key, Standing | str] = {}
    for folder, key, linked in run_folders(suite):
        try:
            if linked:
                disk.check_inside(suite.parent, folder)
            here[key] = stand(folder, key)
        except OSError as error:
            here[key] = unreadable(folder, error)
        except RunError as error:
            here[key] = str(error)
    standings = [found for found in here.values() if isinstance(found, Standing)]
    away = [run for key, run in committed.items() if key not in here]
    newest, stale = _newest(standings), _stale(away, standings) if away else {*()}
    for key in sorted({*here, *committed}):
        if key in here:
            found = here[key]
            if isinstance(found, str):
                yield _row(suite, key, State.DAMAGED, found)
            else:
                yield _row_here(suite, found, newest.get(key[0], {}))
            continue
        run = committed[key]
        reasons = [f"{run.status}: {run.reason}"] * bool(run.reason) + [STALE] * (key in stale)
        row = _row(suite, key, State.COMMITTED, "; ".join(reasons))
        row |= _told(run.settings, [run.seconds_training, run.seconds_evaluation], run.environments[-1:])
        yield row | ({"epoch": row["epochs"]} if run.status == State.DONE else {})


def _newest(standings: Iterable[Standing]) -> dict[str, dict[str, int]]:
    """By data set: the metrics that one of its finished runs was measured with, and the newest version of each."""
    distinct: dict[str, list[dict[str, int]]] = {}
    for standing in standings:
        if standing.state == State.DONE:
            known, versions = distinct.setdefault(standing.key[0], []), measured(standing.record)
            if versions not in known:
                known.append(versions)
    return {
        dataset: {name: max(each.get(name, 1) for each in known) for each in known for name in each}
        for dataset, known in distinct.items()
    }


def _stale(committed: Iterable[Run], standings: Iterable[Standing]) -> set[Key]:
    """The committed runs that `report` leaves out as stale beside those that are here."""
    here = [
        Run(
            *found.key, "done", folder=found.folder, settings=without(found.record["settings"], "seed"),
            fingerprint=found.record.get("fingerprint", ""), facts=found.record.get("facts") or {},
        )
        for found in standings if found.state == State.DONE
    ]  # fmt: skip
    return {run.key for run in with_stale(sorted([*committed, *here], key=lambda run: run.key)) if run.stale}


def _row_here(suite: Path, standing: Standing, newest: dict[str, int]) -> Row:
    """The row of a run whose folder is here; `newest` are the metrics that the runs of its data set have."""
    record, state = standing.record, standing.state
    reason = "" if state == State.RUNNING else " ".join(standing.notices) or record.get("reason", "")[:LONGEST]
    lacks = lacking(measured(record), newest) if state == State.DONE else []
    if lacks:
        reason = " ".join(filter(None, [reason, f"It lacks {listed(lacks)}: `lvm-bench run` measures what it lacks."]))
    row = _row(suite, standing.key, state, reason)
    if record:
        seconds = [record.get("seconds_training"), record.get("seconds_evaluation")]
        row |= _told(record["settings"], seconds, [record["environment"]])
    if state in (State.TRAINED, State.DONE):
        row["epoch"] = row["epochs"]
    elif state == State.INTERRUPTED and record:
        row["epoch"] = len(checkpoint.history(standing.folder))
    elif state == State.RUNNING:
        held = holder(standing.folder)
        doing = held.doing if held else {}
        row |= {name: doing[name] for name in ("epoch", "epochs") if type(doing.get(name)) is int}
    return row


def _row(suite: Path, key: Key, state: State, reason: str) -> Row:
    """A row as plain JSON; None for what is not known."""
    row: Row = {"suite": suite.name, "dataset": key[0], "method": key[1], "seed": key[2], "state": state.value}
    return row | {"epoch": None, "epochs": None, "seconds": None, "device": None, "reason": one_line(reason)}


def _told(settings: dict[str, Any] | None, seconds: list[float | None], environments: Collection[Any]) -> Row:
    """The epochs, the seconds and the device in a record."""
    spent = [each for each in seconds if each is not None]
    return {
        "epochs": (settings or {}).get("epochs"),
        "seconds": round(sum(spent), 3) if spent else None,
        "device": next((one_line(environment["device"]) for environment in environments), None),
    }


def table(rows: list[Row]) -> list[str]:
    """The rows as lines of a table, under a header. A reason of several failures is told once."""
    first: dict[str, str] = {}
    cells: list[tuple[str, ...]] = [_HEADER]
    for row in rows:
        whose = first.setdefault(row["reason"], _name(row)) if row["state"] in (State.FAILED, State.DECLINED) else ""
        same = row["reason"] and whose not in ("", _name(row))
        cells.append(_cells(row | {"reason": f"the same as of {whose}"} if same else row))
    return columns(cells)


def counted_states(rows: list[Row]) -> str:
    """How many runs are in each state, without controls: `18 runs: 17 done, 1 failed`."""
    states = Counter(row["state"] for row in rows if not is_control(row["method"]))
    counts = ", ".join(f"{states[name]:,} {name}" for name in STATES if states[name])
    return f"{counted(states.total(), 'run')}{': ' * bool(counts)}{counts}"


def _name(row: Row) -> str:
    return one_line(f"{row['suite']}/{row['dataset']}/{row['method']}/seed-{row['seed']}")


def _cells(row: Row) -> tuple[str, ...]:
    epoch = "" if row["epoch"] is None else one_line(f"{row['epoch']}/{row['epochs']}")
    seconds = "" if row["seconds"] is None else f"{row['seconds']:,.0f}"
    return _name(row), row["state"], epoch, seconds, row["device"] or "", row["reason"]
