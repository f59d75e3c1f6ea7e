"""A suite gathered from its runs over what was committed of it: scores.csv, history.csv and about.json."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvm_bench import about, ledger, records, store
from lvm_bench.errors import RunError
from lvm_bench.records import Run
from lvm_bench.report import comparable, noise
from lvm_bench.report.scores import (
    Complain,
    History,
    Scores,
    collect,
    collect_history,
    read_history,
    read_scores,
    write_history,
    write_scores,
)
from lvm_bench.report.tables import Remarks


@dataclass(frozen=True)
class Gathered:
    """A suite's runs, here and committed, with their scores; `shown` are those that tables may show."""

    runs: list[Run]
    scores: Scores
    history: History
    redraws: noise.Redraws
    about: dict[str, Any]
    shown: Scores
    remarks: Remarks


def gather(folder: Path, listed: dict[str, dict[str, Any]], complain: Complain) -> Gathered:
    """Read a suite, without writing. What is damaged of a run is complained about, and the run is left out.

    RunError when a file that `report` wrote was changed, or when seeds cannot be averaged.
    """
    ledger.check(folder, listed)
    before = about.read(folder)
    here, damaged = records.read(folder)
    for text in damaged.values():
        complain(text)
    found = collect([run for run in here if run.status == "done"], complain)
    ended = {run.key: run for run in here if run.status in ("failed", "declined") or run.key in found}
    told = {(run["dataset"], run["method"], run["seed"]) for run in before.get("runs", []) if run["status"] == "done"}
    if {*ledger.GATHERED} <= listed.keys() and "runs" in before and told <= ended.keys():
        old, epochs, drawn = {}, {}, {}  # whole, and without a run that is not here: a second or two of reading
    else:
        old, epochs = read_scores(folder / "scores.csv"), read_history(folder / "history.csv")
        drawn = noise.read(folder / ledger.REDRAWN)
    committed = {run.key: run for run in about.committed(before, old)}
    present = {run.key for run in here} | damaged.keys()
    _require(folder, listed, [run for key, run in committed.items() if run.status == "done" and key not in present])
    runs = [run for _, run in sorted((committed | ended).items())]
    scores = {key: values for key, values in old.items() if key not in ended} | found
    history = {key: rows for key, rows in epochs.items() if key not in ended}
    history |= collect_history((run for run in ended.values() if run.key in found), complain)
    redraws = {key: rows for key, rows in drawn.items() if key not in ended}
    redraws |= noise.collect((run for run in ended.values() if run.key in found and not run.is_control), complain)
    # What is here and has not ended is not shown, not even by what was committed of it.
    kept, remarks = comparable.shown([run for run in runs if run.key in ended or run.key not in present])
    shown = {run.key: scores[run.key] for run in kept if run.key in scores}
    composed = about.compose(folder.name, runs, before) if ended else {"suite": folder.name, **before}
    return Gathered(runs, scores, history, redraws, composed, shown, remarks)


def _require(folder: Path, listed: dict[str, dict[str, Any]], elsewhere: list[Run]) -> None:
    """RunError when a file is gone that alone held what is known of runs that are not here."""
    missing = [name for name in ledger.READ if name in listed and not (folder / name).exists()]
    if missing and elsewhere:
        raise RunError(
            f"{folder / missing[0]}: is missing, and {len(elsewhere)} runs that it told of are not here "
            f"({listed_runs(elsewhere)}). Restore it, or delete {' and '.join(ledger.GATHERED)} to go on without them."
        )


def listed_runs(runs: list[Run]) -> str:
    """The first few runs by name."""
    return records.listed((f"{run.dataset}/{run.method}/seed-{run.seed}" for run in runs), 3)


def write(folder: Path, found: Gathered, listed: dict[str, dict[str, Any]]) -> list[Path]:
    """Write scores.csv, history.csv and about.json where runs are here; returns those that stand there."""
    if any(run.folder for run in found.runs):
        # While they change files.json says nothing of them: a report that is killed here leaves no false alarm.
        ledger.write(folder, {name: known for name, known in listed.items() if name not in ledger.GATHERED}, [])
        write_scores(folder / "scores.csv", found.scores)
        write_history(folder / "history.csv", found.history)
        store.write_record(folder / about.FILE, found.about)
        if found.redraws:
            noise.write(folder / ledger.REDRAWN, found.redraws)
        else:
            (folder / ledger.REDRAWN).unlink(missing_ok=True)
        ledger.write(folder, listed, _gathered(folder))
    return _gathered(folder)


def _gathered(folder: Path) -> list[Path]:
    return [file for name in ledger.READ if (file := folder / name).is_file()]
