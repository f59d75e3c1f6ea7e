"""How far each run of a suite is, and what is left to do of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lvm_bench import disk
from lvm_bench.errors import RunError, UserError
from lvm_bench.runs.layout import TRAINED, run_folder
from lvm_bench.runs.record import checked_record, scores_identity
from lvm_bench.runs.redraws import redraws_of
from lvm_bench.suites.job import Job, Suite

UNFINISHED = ("new", "begun", "trained")


@dataclass
class Standing:
    """How far a run is, by its folder alone; `notices` name what was found damaged."""

    state: Literal["new", "begun", "trained", "done", "declined", "failed"]
    record: dict[str, Any] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


def surveyed(suite: Suite, results: Path) -> list[tuple[Job, Standing]]:
    """How far each run of a suite is, controls first; UserError naming every run that has other settings."""
    everything = [*suite.controls, *suite.jobs]
    return list(zip(everything, survey_all(everything, results), strict=True))


def is_left(job: Job, standing: Standing, results: Path, retry_failed: bool, resample: int) -> bool:
    """Whether `run` works on a run that stands so."""
    if retry_failed:
        return standing.state == "failed"
    return standing.state in UNFINISHED or missing_redraws(job, standing, results, resample) > 0


def folder_of(job: Job, results: Path) -> Path:
    """Where the files of a job live."""
    return run_folder(results, job.suite, job.dataset, job.method, job.seed)


def missing_redraws(job: Job, standing: Standing, results: Path, wanted: int) -> int:
    """How many further evaluations a trained and scored run has fewer than are wanted."""
    if not wanted or standing.state != "done" or job.is_control:
        return 0
    try:
        made = len(redraws_of(folder_of(job, results), scores_identity(standing.record)))
    except RunError:
        made = 0
    return max(wanted - made, 0)


def survey_all(jobs: list[Job], results: Path) -> list[Standing]:
    """How far each job is; UserError naming every run that has other settings."""
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
    """How far a run is by its folder, damaged files counting as missing; UserError when it has other settings."""
    folder = folder_of(job, results)
    if not (folder / "job.json").exists():
        return Standing("new")
    try:
        record = checked_record(folder, (job.dataset, job.method, job.seed))
    except RunError as error:
        return Standing("new", {}, [f"{error} It counts as missing."])
    status = record["status"]
    if record["digest_scores"] != disk.digest(job.scores_settings()):
        if status in ("failed", "declined") or job.is_control:  # nothing that took long is lost
            return Standing("new")
        same_weights = record["digest_weights"] == disk.digest(job.weights_settings())
        if not (same_weights and status in ("trained", "done") and not (folder / "scores.json").exists()):
            raise UserError(_other_settings(folder, record["settings"], job.scores_settings(), same_weights))
        return Standing("trained", record)
    if status in ("failed", "declined"):
        return Standing(status, record)
    if status != "done":
        return Standing("trained" if status == "trained" else "begun", record)
    # The weights and the pictures by their size alone: gigabytes in a large suite, and `verify` reads them.
    needed = ("scores.json",) if job.is_control else (*TRAINED, "scores.json")
    faults = {name: f"{folder / name}: is not in the record." for name in needed if name not in record["files"]}
    faults |= {
        name: text
        for name, known in record["files"].items()
        if (text := disk.fault(folder / name, known, whole=name.endswith((".json", ".csv"))))
    }
    notices = [f"{text} It is made again." for text in faults.values()]
    if not faults:
        return Standing("done", record)
    return Standing("begun" if set(TRAINED) & faults.keys() else "trained", record, notices)


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
