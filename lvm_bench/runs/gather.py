"""A suite's runs and scores, put together from the runs that are here and from what was committed of the others."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from lvm_bench.errors import RunError
from lvm_bench.runs import checksums, comparable, suite_record
from lvm_bench.runs.comparable import Remarks
from lvm_bench.runs.differences import with_stale
from lvm_bench.runs.frames import frame
from lvm_bench.runs.layout import GATHERED, SUITE_HISTORY, SUITE_REDRAWS, SUITE_SCORES, committed_folder
from lvm_bench.runs.record import COSTS, Run, read_runs
from lvm_bench.runs.redraw_files import Redraws, collect_redraws, read_redraws, write_redraws
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
from lvm_bench.runs.suite_record import About
from lvm_bench.suites import labels
from lvm_bench.text import listed


@dataclass(frozen=True)
class Gathered:
    """A suite's runs, here and committed, with their scores. Tables show the scores in `shown` alone."""

    runs: list[Run]
    scores: ScoresByRun
    history: History
    redraws: Redraws
    about: About
    shown: ScoresByRun
    remarks: Remarks

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The scores and the costs that tables show, one per row: dataset, method, seed, metric, value."""
        shown = {key: dict(values) for key, values in self.shown.items()}
        for run in self.runs:
            if run.key in shown and not run.is_control:
                costs = ((name, getattr(run, name)) for name in COSTS)
                shown[run.key] |= {f"cost.{name}": float(value) for name, value in costs if value is not None}
        return frame(shown)


def gather(folder: Path, listed: dict[str, dict[str, Any]], complain: Complain) -> Gathered:
    """Read a suite, and write nothing. A damaged run is complained about and left out.

    RunError when a file that `report` wrote was changed, or when seeds cannot be averaged.
    """
    committed_in = committed_folder(folder)
    if committed_in != folder:
        listed = checksums.read(committed_in)
    checksums.check(committed_in, listed)
    before = suite_record.read(committed_in)
    here, damaged = read_runs(folder)
    for text in damaged.values():
        complain(text)
    found = collect([run for run in here if run.status == "done"], complain)
    ended = {run.key: run for run in here if run.status in ("failed", "declined") or run.key in found}
    told = {run.key for run in before.runs if run.status == "done"}
    if {*GATHERED} <= listed.keys() and before.lists_done and told <= ended.keys():
        old, epochs, drawn = {}, {}, {}  # every finished run is here, and reading these takes a second or two
    else:
        old, epochs = read_scores(committed_in / SUITE_SCORES), read_history(committed_in / SUITE_HISTORY)
        drawn = read_redraws(committed_in / SUITE_REDRAWS)
    committed = {key: Run(*key, "done") for key in old} | {run.key: run for run in before.runs}
    present = {run.key for run in here} | damaged.keys()
    _require(
        committed_in, listed, [run for key, run in committed.items() if run.status == "done" and key not in present]
    )
    runs = with_stale(run for _, run in sorted((committed | ended).items()))
    scores = {key: values for key, values in old.items() if key not in ended} | found
    history = {key: rows for key, rows in epochs.items() if key not in ended}
    history |= collect_history((run for run in ended.values() if run.key in found), complain)
    with labels.using(labels.current()):
        labels.show(suite_record.shown_of(runs, before))
        drawn_here, others = collect_redraws(
            (run for run in ended.values() if run.key in found and not run.is_control), complain
        )
        # A run that is here and has not ended is not shown: what was committed of it is out of date.
        kept, remarks = comparable.shown(
            [run for run in runs if run.key in ended or run.key not in present], folder.name
        )
    redraws = {key: rows for key, rows in drawn.items() if key not in ended} | drawn_here
    shown = {run.key: scores[run.key] for run in kept if run.key in scores}
    shown, outdated = comparable.of_newest_versions(kept, shown)
    remarks = replace(remarks, warnings=[*remarks.warnings, *outdated, *others])
    about = suite_record.compose(folder.name, runs, before) if ended else before
    return Gathered(runs, scores, history, redraws, replace(about, suite=about.suite or folder.name), shown, remarks)


def _require(folder: Path, listed: dict[str, dict[str, Any]], elsewhere: list[Run]) -> None:
    """RunError when a file is missing that alone told of runs which are not here."""
    missing = [name for name in checksums.READ if name in listed and not (folder / name).exists()]
    if missing and elsewhere:
        raise RunError(
            f"{folder / missing[0]}: is missing, and {len(elsewhere)} runs that it told of are not here "
            f"({listed_runs(elsewhere)}). Restore it, or delete {' and '.join(GATHERED)} to go on without "
            "them."
        )


def listed_runs(runs: list[Run]) -> str:
    """The first few runs by name."""
    return listed((f"{run.dataset}/{run.method}/seed-{run.seed}" for run in runs), 3)


def write(folder: Path, found: Gathered, listed: dict[str, dict[str, Any]]) -> list[Path]:
    """Write scores.csv, history.csv and about.json if a run is here. Returns those of these files that exist."""
    if any(run.folder for run in found.runs):
        rewrite(folder, found, listed)
    return _gathered(folder)


def rewrite(folder: Path, found: Gathered, listed: dict[str, dict[str, Any]]) -> None:
    """Write scores.csv, history.csv, about.json and, where there are redraws, resampled.csv."""
    # files.json leaves them out while they change: a report that is killed here leaves no false alarm.
    checksums.write(folder, {name: known for name, known in listed.items() if name not in GATHERED}, [])
    write_scores(folder / SUITE_SCORES, found.scores)
    write_history(folder / SUITE_HISTORY, found.history)
    suite_record.write(folder, found.about)
    if found.redraws:
        write_redraws(folder / SUITE_REDRAWS, found.redraws)
    else:
        (folder / SUITE_REDRAWS).unlink(missing_ok=True)
    checksums.write(folder, listed, _gathered(folder))


def _gathered(folder: Path) -> list[Path]:
    return [file for name in checksums.READ if (file := folder / name).is_file()]
