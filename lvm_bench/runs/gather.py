"""A suite gathered from its runs over what was committed of it: scores.csv, history.csv and about.json."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvm_bench import disk
from lvm_bench.errors import RunError
from lvm_bench.runs import checksums, comparable, suite_record
from lvm_bench.runs.comparable import Remarks
from lvm_bench.runs.record import Run, read_runs
from lvm_bench.runs.redraws import Redraws, collect_redraws, read_redraws, write_redraws
from lvm_bench.runs.score_files import (
    Complain,
    History,
    ScoresByRun,
    collect,
    collect_history,
    read_history,
    read_scores,
    write_history,
    write_scores,
)
from lvm_bench.text import listed


@dataclass(frozen=True)
class Gathered:
    """A suite's runs, here and committed, with their scores; `shown` are those that tables may show."""

    runs: list[Run]
    scores: ScoresByRun
    history: History
    redraws: Redraws
    about: dict[str, Any]
    shown: ScoresByRun
    remarks: Remarks


def gather(folder: Path, listed: dict[str, dict[str, Any]], complain: Complain) -> Gathered:
    """Read a suite, without writing. What is damaged of a run is complained about, and the run is left out.

    RunError when a file that `report` wrote was changed, or when seeds cannot be averaged.
    """
    checksums.check(folder, listed)
    before = suite_record.read(folder)
    here, damaged = read_runs(folder)
    for text in damaged.values():
        complain(text)
    found = collect([run for run in here if run.status == "done"], complain)
    ended = {run.key: run for run in here if run.status in ("failed", "declined") or run.key in found}
    told = {(run["dataset"], run["method"], run["seed"]) for run in before.get("runs", []) if run["status"] == "done"}
    if {*checksums.GATHERED} <= listed.keys() and "runs" in before and told <= ended.keys():
        old, epochs, drawn = {}, {}, {}  # whole, and without a run that is not here: a second or two of reading
    else:
        old, epochs = read_scores(folder / "scores.csv"), read_history(folder / "history.csv")
        drawn = read_redraws(folder / checksums.REDRAWN)
    committed = {run.key: run for run in suite_record.committed(before, old)}
    present = {run.key for run in here} | damaged.keys()
    _require(folder, listed, [run for key, run in committed.items() if run.status == "done" and key not in present])
    runs = [run for _, run in sorted((committed | ended).items())]
    scores = {key: values for key, values in old.items() if key not in ended} | found
    history = {key: rows for key, rows in epochs.items() if key not in ended}
    history |= collect_history((run for run in ended.values() if run.key in found), complain)
    redraws = {key: rows for key, rows in drawn.items() if key not in ended}
    redraws |= collect_redraws((run for run in ended.values() if run.key in found and not run.is_control), complain)
    # What is here and has not ended is not shown, not even by what was committed of it.
    kept, remarks = comparable.shown([run for run in runs if run.key in ended or run.key not in present])
    shown = {run.key: scores[run.key] for run in kept if run.key in scores}
    composed = suite_record.compose(folder.name, runs, before) if ended else {"suite": folder.name, **before}
    return Gathered(runs, scores, history, redraws, composed, shown, remarks)


def _require(folder: Path, listed: dict[str, dict[str, Any]], elsewhere: list[Run]) -> None:
    """RunError when a file is gone that alone held what is known of runs that are not here."""
    missing = [name for name in checksums.READ if name in listed and not (folder / name).exists()]
    if missing and elsewhere:
        raise RunError(
            f"{folder / missing[0]}: is missing, and {len(elsewhere)} runs that it told of are not here "
            f"({listed_runs(elsewhere)}). Restore it, or delete {' and '.join(checksums.GATHERED)} to go on without "
            "them."
        )


def listed_runs(runs: list[Run]) -> str:
    """The first few runs by name."""
    return listed((f"{run.dataset}/{run.method}/seed-{run.seed}" for run in runs), 3)


def write(folder: Path, found: Gathered, listed: dict[str, dict[str, Any]]) -> list[Path]:
    """Write scores.csv, history.csv and about.json where runs are here; returns those that stand there."""
    if any(run.folder for run in found.runs):
        # While they change files.json says nothing of them: a report that is killed here leaves no false alarm.
        checksums.write(folder, {name: known for name, known in listed.items() if name not in checksums.GATHERED}, [])
        write_scores(folder / "scores.csv", found.scores)
        write_history(folder / "history.csv", found.history)
        disk.write_record(folder / suite_record.FILE, found.about)
        if found.redraws:
            write_redraws(folder / checksums.REDRAWN, found.redraws)
        else:
            (folder / checksums.REDRAWN).unlink(missing_ok=True)
        checksums.write(folder, listed, _gathered(folder))
    return _gathered(folder)


def _gathered(folder: Path) -> list[Path]:
    return [file for name in checksums.READ if (file := folder / name).is_file()]
