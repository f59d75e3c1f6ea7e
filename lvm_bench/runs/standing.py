"""The states of a run, the state that its folder shows, and the work that is left of it."""

import os
from collections.abc import Callable, Container
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from lvm_bench import disk
from lvm_bench.errors import RunError, UserError
from lvm_bench.runs import suite_record
from lvm_bench.runs.layout import RECORD, SCORES, TRAINED, Key, committed_folder, is_empty, run_folder
from lvm_bench.runs.lease import is_alive
from lvm_bench.runs.measured import effective, lacking, measured
from lvm_bench.runs.record import checked_record
from lvm_bench.runs.redraws import redraws_of
from lvm_bench.suites.job import Job, Suite, is_control


class State(StrEnum):
    """The state of a run. job.json keeps those of `record.Status`."""

    NEW = "new"  # nothing of it is there
    RUNNING = "running"  # somebody works on it
    INTERRUPTED = "interrupted"  # it was begun, and nobody works on it
    TRAINED = "trained"  # its weights are there, and it waits for its scores
    DONE = "done"  # its scores are there
    FAILED = "failed"  # it raised an error; --retry-failed tries it again
    DECLINED = "declined"  # its method does not take its data set
    DAMAGED = "damaged"  # a file is missing or is not the recorded one; `run` makes it anew
    COMMITTED = "committed"  # its folder is not here, what a report wrote of it is


FINISHED = (State.DONE, State.DECLINED)  # nothing is left to do


@dataclass(frozen=True)
class Standing:
    """The state of a run by its folder, its record, and what is wrong with each of its files."""

    state: State
    folder: Path
    key: Key
    record: dict[str, Any] = field(default_factory=dict)  # {} where there is none that can be trusted
    faults: dict[str, str] = field(default_factory=dict)  # by file name, a sentence each
    wanted: dict[str, int] = field(default_factory=dict)  # metrics that a job asks for, and the version of each

    @property
    def lacks(self) -> list[str]:
        """The metrics that a job asks for and that this finished run was not measured with, or in another version."""
        return lacking(measured(self.record), self.wanted) if self.record.get("status") == State.DONE else []

    @property
    def is_control(self) -> bool:
        """Whether it measures the floor of a metric, without a model."""
        return is_control(self.key[1])

    @property
    def notices(self) -> list[str]:
        """For each file that is not as it should be, a sentence and what `run` does about it."""
        return [f"{fault} {self.way(name)}" for name, fault in self.faults.items()]

    def way(self, name: str) -> str:
        """A sentence on what `run` does when it finds this file damaged."""
        trains = name in (RECORD, *TRAINED) and not self.is_control
        measures = name not in TRAINED
        does = " and ".join(word for word, said in (("trains", trains), ("measures", measures)) if said)
        again = " --retry-failed" if self.state == State.FAILED else ""
        return f"`lvm-bench run{again}` {does} this run anew."


@dataclass(frozen=True)
class Left:
    """The work that is left of a run; false where there is none."""

    train: bool = False
    score: bool = False
    redraws: int = 0
    adds: bool = False  # the metrics alone that it lacks are scored

    def __bool__(self) -> bool:
        return self.train or self.score or self.redraws > 0


def stand(folder: Path, key: Key) -> Standing:
    """The standing of a run by its folder alone. Nothing is written."""
    found = at_rest(folder, key)
    if found.state not in (State.NEW, *FINISHED) and is_alive(folder):
        return replace(found, state=State.RUNNING)
    return found


def at_rest(folder: Path, key: Key, but: Container[str] = (), wanted: dict[str, int] | None = None) -> Standing:
    """The standing of a run, of which metrics may be wanted, if nobody works on it. Files in `but` are not read."""
    try:
        record = checked_record(folder, key)
    except RunError as error:  # the rule comes first: of thousands of runs each look at a folder tells
        if not folder.is_dir():
            return Standing(State.NEW, folder, key)
        if not (folder / RECORD).exists() and is_empty(folder):
            return Standing(State.INTERRUPTED, folder, key)
        return Standing(State.DAMAGED, folder, key, {}, {RECORD: str(error)})
    # `run` reads the other files before it uses them, and `verify` reads them all: here gigabytes would be read.
    faults = faults_of(folder, record, lambda name: name.endswith((".json", ".csv")), but)
    state = State.INTERRUPTED if record["status"] == State.RUNNING else State(record["status"])
    if faults and state not in (State.FAILED, State.DECLINED):
        state = State.DAMAGED
    return Standing(state, folder, key, record, faults, wanted or {})


def faults_of(
    folder: Path, record: dict[str, Any], whole: Callable[[str], bool], but: Container[str] = ()
) -> dict[str, str]:
    """A sentence on each bad file of a run, by name. Where not `whole(name)` a file is judged by its size alone."""
    known, status, control = record["files"], record["status"], is_control(record["method"])
    needed = [*TRAINED] if status in (State.TRAINED, State.DONE) and not control else []
    needed += [SCORES] if status == State.DONE else []
    missing = (name for name in needed if name not in known)
    found = {name: f"{folder / name}: is not in the record of a run that is {status}." for name in missing}
    place = os.fspath(folder)
    for name, expected in known.items():
        if name not in but and (fault := disk.fault(os.path.join(place, name), expected, whole=whole(name))):
            found[name] = fault
    return found


def left(standing: Standing, *, retry_failed: bool = False, resample: int = 0) -> Left:
    """The work that `run` has with a run, of which `resample` further evaluations are wanted.

    With `retry_failed` only failed runs are worked on, else all but those. A training that was interrupted counts
    whole.
    """
    if standing.state in (State.DECLINED, State.COMMITTED) or retry_failed != (standing.state == State.FAILED):
        return Left()
    sound = standing.record.get("files", {}).keys() - standing.faults.keys()
    train = not standing.is_control and not sound >= {*TRAINED}
    scored = standing.record.get("status") == State.DONE and not standing.faults.keys() - {*TRAINED}
    score = not scored or bool(standing.lacks)
    redraws = 0 if standing.is_control else max(resample - (0 if train or score else _redrawn(standing, resample)), 0)
    return Left(train, score, redraws, adds=scored and score)


def _redrawn(standing: Standing, wanted: int) -> int:
    """How many of the wanted further evaluations of its scores a run has, with every metric that a job asks for."""
    try:
        made = redraws_of(standing.folder, standing.record)[:wanted] if wanted else []
    except RunError:
        return 0
    return sum(not lacking(redraw.measured, standing.wanted) for redraw in made)


def folder_of(job: Job, results: Path) -> Path:
    """The folder of a job's run."""
    return run_folder(results, job.suite, job.dataset, job.method, job.seed)


def surveyed(suite: Suite, results: Path, *, missing: bool = False) -> list[tuple[Job, Standing]]:
    """The standing of each run of a suite, controls first. UserError naming every run that has other settings.

    With `missing`, a run without a folder is COMMITTED where a report wrote its scores with the settings of its job.
    RunError when about.json is damaged.
    """
    everything = [*suite.controls, *suite.jobs]
    pairs = list(zip(everything, survey_all(everything, results), strict=True))
    if not missing:
        return pairs
    runs = suite_record.read(committed_folder(results / suite.name)).runs
    committed = {run.key: run.digest_scores for run in runs if run.status == State.DONE and not run.stale}

    def found(job: Job, at: Standing) -> Standing:
        same = at.state == State.NEW and committed.get(at.key) == disk.digest(job.scores_settings())
        return replace(at, state=State.COMMITTED) if same else at

    return [(job, found(job, at)) for job, at in pairs]


def survey_all(jobs: list[Job], results: Path) -> list[Standing]:
    """The standing of each job. UserError naming every run that has other settings."""
    standings, problems = [], []
    with disk.nothing_to_collect():
        for job in jobs:
            try:
                standings.append(survey(job, results))
            except UserError as error:
                problems.append(str(error))
    if problems:
        more = f"\n... and {len(problems) - 10} more." if len(problems) > 10 else ""
        raise UserError("\n".join(problems[:10]) + more)
    return standings


def survey(job: Job, results: Path) -> Standing:
    """The standing of a job's run if nobody else works on it. UserError when it has other settings."""
    standing = at_rest(folder_of(job, results), (job.dataset, job.method, job.seed), wanted=job.metrics)
    record = standing.record
    if not record:
        return standing
    before, now, facts = record["settings"], job.scores_settings(), record.get("facts") or {}
    if before == now:  # of thousands of runs nearly all
        return standing
    before, now = effective(before, facts), effective(now, facts)
    if before == now:
        return standing
    if record["status"] in (State.FAILED, State.DECLINED) or job.is_control:  # nothing that took long is lost
        return Standing(State.NEW, standing.folder, standing.key)
    same_weights = record["digest_weights"] == disk.digest(job.weights_settings())
    is_trained = record["status"] in (State.TRAINED, State.DONE)
    if not (same_weights and is_trained and not (standing.folder / SCORES).exists()):
        raise UserError(_other_settings(standing.folder, before, now, same_weights))
    faults = {name: fault for name, fault in standing.faults.items() if name in TRAINED}
    status = {"status": State.TRAINED.value}  # its scores are of other settings
    state = State.DAMAGED if faults else State.TRAINED
    return replace(standing, state=state, record=record | status, faults=faults)


def _other_settings(folder: Path, before: dict[str, Any], now: dict[str, Any], same_weights: bool) -> str:
    differing = [
        f"{key} = {disk.canonical(before.get(key))} then, {disk.canonical(now.get(key))} now"
        for key in sorted({*before, *now})
        if disk.canonical(before.get(key)) != disk.canonical(now.get(key))
    ]
    way = "Use another folder with --results, or delete this one to run it again."
    if same_weights:
        way += " Its weights do not depend on them: delete its scores.json alone to measure them anew."
    return f"{folder}: was run with other settings ({'; '.join(differing)}). {way}"
