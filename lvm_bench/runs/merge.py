"""`lvm-bench merge`: the results of several machines in one folder, with every check that `report` makes.

What stands in the target comes first, then the folders in their order: of two runs that do not fit together, the later
one is left out, and named. Folders of finished runs are copied, so that `run` and `report` go on in the target.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from lvm_bench import disk
from lvm_bench.errors import RunError, UserError
from lvm_bench.runs import checksums, choice, comparable, suite_record
from lvm_bench.runs.differences import STALE
from lvm_bench.runs.gather import Gathered, gather, rewrite
from lvm_bench.runs.layout import RECORD, REDRAWN, Key, run_folder, suite_folders
from lvm_bench.runs.lease import Leases
from lvm_bench.runs.record import Run, read_runs


@dataclass
class Merged:
    """How many runs were joined, how many were there already, why others were left out, and what readers must know."""

    joined: int = 0
    there: int = 0
    left_out: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def merge(folders: Sequence[Path], into: Path) -> Merged:
    """Join the results in `folders` with those in `into`. UserError where a folder holds no results, or is `into`."""
    suites: dict[str, list[Path]] = {}
    for folder in folders:
        if folder.resolve() == into.resolve():
            raise UserError(f"{folder}: is the folder that the others are joined into. Leave it out.")
        for suite in suite_folders(folder, None):
            suites.setdefault(suite.name, []).append(suite)
    told = Merged()
    with disk.nothing_to_collect():
        for name, sources in suites.items():
            disk.check_writable(into / name)
            lease = Leases().take(into / name)
            if lease is None:
                raise RunError(f"{into / name}: somebody is writing here. Give the command again when it is done.")
            with lease:
                _merge_suite(sources, into / name, told)
    return told


def _merge_suite(sources: list[Path], target: Path, told: Merged) -> None:
    """Join one suite of several folders with what stands in the target."""
    listed = checksums.read(target)
    kept = gather(target, listed, told.left_out.append)
    about = kept.about
    runs = {run.key: run for run in kept.runs}
    for source in sources:
        try:
            found = gather(source, checksums.read(source), told.left_out.append)
        except RunError as error:
            told.left_out += str(error).splitlines()
            continue
        about = suite_record.joined(about, found.about)
        unfinished = (run for run in read_runs(source)[0] if run.status in ("running", "trained"))
        told.left_out += [f"{run.folder}: is not finished." for run in unfinished]
        for run in found.runs:
            if (before := runs.get(run.key)) and _is_same(run, before, found, kept):
                told.there += 1
            elif reason := _unfit(run, runs, target):
                told.left_out.append(f"{source}, {_name(run)}: {reason}.")
            else:
                runs[run.key] = _taken(run, found, kept, target)
                told.joined += 1
    done = [run for _, run in sorted(runs.items())]
    about = suite_record.compose(target.name, done, about)
    rewrite(target, replace(kept, runs=done, about=about), listed)
    told.left_out += [text for source in sources for text in _choices(source, target)]
    _, remarks = comparable.shown(done, target.name)
    told.warnings += [f"{target.name}: {text}" for text in (*remarks.left_out.values(), *remarks.warnings)]


def _choices(source: Path, target: Path) -> Iterator[str]:
    """Copy what a search chose for the methods that have no choice in the target; a sentence for each other one."""
    kept = {(each.dataset, each.method): each for each in choice.read(target)}
    for file in choice.files(source):
        try:
            found = choice.read_file(file)
        except RunError as error:
            yield str(error)
            continue
        if kept.setdefault((found.dataset, found.method), found) == found:
            choice.write(target, found)
        else:
            yield f"{file}: another choice for {found.method} on {found.dataset} is here already."


def _is_same(run: Run, before: Run, found: Gathered, kept: Gathered) -> bool:
    """Whether a run is there already: the same settings, data and scores."""
    alike = all(getattr(run, name) == getattr(before, name) for name in ("status", "digest_scores", "fingerprint"))
    theirs, ours = (sorted(scores.get(run.key, {}).items()) for scores in (found.scores, kept.scores))
    return alike and repr(theirs) == repr(ours)  # NaN is equal to itself


def _unfit(run: Run, runs: dict[Key, Run], target: Path) -> str:
    """Why a run does not fit those that are there; "" if it does."""
    if run.stale:
        return f"is {STALE}"
    if run.key in runs and (runs[run.key].status == "done" or runs[run.key].folder):
        there = runs[run.key]
        how = comparable.other_settings(run, there) or f"it is {there.status} here with other scores or reasons"
        return f"is here already, not made alike ({how})"
    if faults := _faults(run):
        return f"is damaged ({faults[0].removesuffix('.')})"
    if (folder := _folder(run, target)).exists() and run.folder:
        return f"{folder} is there and not finished"
    for other in (other for other in runs.values() if other.status == "done" and not other.stale):
        if other.place == run.place:
            if how := comparable.other_settings(run, other):
                return f"was run with other settings than seed {other.seed} here ({how})"
            if (codes := (_code(run), _code(other))) and all(codes) and codes[0] != codes[1]:
                return f"the file of its method is another than that of seed {other.seed} here ({' and '.join(codes)})"
        elif other.dataset == run.dataset and not other.is_control and (how := comparable.other_conditions(run, other)):
            return f"was run under other conditions than {other.method} here ({how})"
    return ""


def _faults(run: Run) -> list[str]:
    """What is wrong with the files of a run whose folder is there."""
    if run.folder is None:
        return []
    return [fault for name, known in run.files.items() if (fault := disk.fault(run.folder / name, known))]


def _code(run: Run) -> str:
    """The digest of the file of a run's method; "" where it is not known."""
    return run.environments[-1]["versions"].get("method", "") if run.environments else ""


def _taken(run: Run, found: Gathered, kept: Gathered, target: Path) -> Run:
    """The run as it stands in the target: its folder is copied, its scores are among the others."""
    tables: list[tuple[dict[Key, Any], dict[Key, Any]]] = [
        (kept.scores, found.scores), (kept.history, found.history), (kept.redraws, found.redraws)
    ]  # fmt: skip
    for ours, theirs in tables:
        if run.key in theirs:
            ours[run.key] = theirs[run.key]
    if run.folder is None:
        return run
    folder = _folder(run, target)
    half = folder.with_name(f"{disk.TEMPORARY}{folder.name}")
    with disk.storage(folder):
        shutil.rmtree(half, ignore_errors=True)
        redrawn = [REDRAWN] if run.key in found.redraws else []
        names = (*run.files, *redrawn, RECORD)
        disk.write_all({half / name: partial(shutil.copyfile, run.folder / name) for name in names})
        half.rename(folder)
    return replace(run, folder=folder)


def _folder(run: Run, target: Path) -> Path:
    return run_folder(target.parent, target.name, *run.key)


def _name(run: Run) -> str:
    return f"{run.dataset}/{run.method}/seed-{run.seed}"
