"""`lvm-bench verify` reads every file of a results folder anew. It writes nothing and follows no link out of it."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lvm_bench import disk
from lvm_bench.errors import RunError
from lvm_bench.runs import checksums, choice, suite_record
from lvm_bench.runs.layout import (
    ABOUT,
    CHECKSUMS,
    FITTING,
    LEASE,
    LOCK,
    MADE,
    PARTIAL,
    RECORD,
    REDRAWING,
    REDRAWN,
    SCORES,
    SUITE_SCORES,
    Key,
    run_folders,
    suite_folders,
)
from lvm_bench.runs.lease import is_alive
from lvm_bench.runs.record import DELETE, unreadable
from lvm_bench.runs.redraw_files import checked_redraws
from lvm_bench.runs.redraws import redraws_of
from lvm_bench.runs.score_files import ScoresByRun, read_scores, scores_of
from lvm_bench.runs.standing import FINISHED, Standing, State, at_rest, faults_of
from lvm_bench.text import counted, listed, one_line
from lvm_bench.training import checkpoint

OF_NOBODY = "was left by a process that was killed. Delete it."

ELSEWHERE = "Delete it, or move it elsewhere."


@dataclass
class Verified:
    """The numbers of runs and files read, and a sentence with what to do for each damaged or inconsistent file."""

    problems: list[str] = field(default_factory=list)
    runs: int = 0
    files: int = 0
    at_work: int = 0  # runs that somebody works on, whose files change while they would be read


def verify(results: Path, suite: str | None) -> Verified:
    """Read the results of one suite or of all. UserError when there are none."""
    found = Verified()
    for folder in suite_folders(results, suite):
        found.problems += map(one_line, _Reader(folder, results.resolve(), found).problems())
    return found


class _Reader:
    """Reads one suite, and counts what it has read in `found`."""

    def __init__(self, suite: Path, root: Path, found: Verified):
        self.suite, self.root, self.found = suite, root, found
        self.again = f"`lvm-bench report --suite {suite.name}` writes it again."
        self.scores: ScoresByRun = {}
        self.without_scores: list[Key] = []  # runs that failed or were declined

    def problems(self) -> Iterator[str]:
        """A sentence for each file that is not as it should be."""
        if self.leads_out(self.suite):
            yield self.link(self.suite)
            return
        yield from map(self.link, self.links(self.suite))
        yield from self.strangers()
        for folder, key, _ in run_folders(self.suite):
            if not any(map(self.leads_out, (folder, *folder.parents[:3]))):
                try:
                    yield from self.run(folder, key)
                except OSError as error:
                    yield unreadable(folder, error)
        if is_alive(self.suite):
            self.found.at_work += 1
        else:
            yield from self.gathered()

    def links(self, folder: Path) -> Iterator[Path]:
        """The links in a folder that lead out of the results."""
        for place, folders, files in os.walk(folder):
            yield from filter(self.leads_out, (Path(place, name) for name in sorted(folders + files)))

    def leads_out(self, path: Path) -> bool:
        """Whether a path is a link to somewhere else than these results."""
        return path.is_symlink() and not path.resolve().is_relative_to(self.root)

    def link(self, path: Path) -> str:
        """The sentence on such a link."""
        return (
            f"{path}: is a link out of the results folder, and is not followed. Put the files themselves in its place."
        )

    def strangers(self) -> Iterator[str]:
        """A sentence for each file or folder among the folders of runs that belongs to no run."""
        known = {folder for folder, *_ in run_folders(self.suite)}
        known |= {above for folder in known for above in folder.parents[:2]}
        levels = [self.suite / "runs"]
        for _ in range(3):
            entries = [entry for folder in levels if folder.is_dir() for entry in sorted(folder.iterdir())]
            levels = [entry for entry in entries if entry in known]
            for entry in entries:
                if entry not in known and not self.leads_out(entry) and not _is_bare(entry):
                    yield f"{entry}: is not of a run. {ELSEWHERE}"

    def run(self, folder: Path, key: Key) -> Iterator[str]:
        """The problems in the folder of one run."""
        self.found.runs += 1
        if is_alive(folder):
            self.found.at_work += 1
            return
        names = {*os.listdir(folder)}
        yield from self.left_over(folder, names)
        linked = {name for name in names if self.leads_out(folder / name)}
        standing = at_rest(folder, key, linked)
        self.found.files += RECORD in names
        yield from standing.notices
        if standing.record:
            yield from self.record(folder / RECORD, standing.record)
            yield from self.recorded(standing, linked)
            yield from self.unfinished(folder, names, standing.record)
        if standing.state in (State.FAILED, State.DECLINED):
            self.without_scores.append(key)

    def record(self, file: Path, record: dict[str, Any]) -> Iterator[str]:
        """The contradictions within a record."""
        if record["suite"] != self.suite.name:
            yield f"{file}: is of the suite {record['suite']!r}. Move it back there, or delete it."
        if record["digest_scores"] != disk.digest(record["settings"]):
            yield f"{file}: digest_scores is not the digest of its settings. {DELETE}"

    def recorded(self, standing: Standing, linked: set[str]) -> Iterator[str]:
        """The problems of the files that a record lists, without those that a look at the folder shows."""
        names = standing.record["files"].keys() - linked
        self.found.files += len(names)
        faults = faults_of(standing.folder, standing.record, lambda name: True, linked)
        for name, fault in faults.items():
            if name not in standing.faults:
                yield f"{fault} Delete it: {standing.way(name)}"
        for name in sorted(names - faults.keys()):
            yield from self.contents(standing.folder / name, standing.record)

    def contents(self, file: Path, record: dict[str, Any]) -> Iterator[str]:
        """The contradictions between a record and a file that is whole."""
        if file.suffix == ".safetensors" and (reason := _other_job(file, record)):
            yield f"{file}: {reason}. {DELETE}"
        if file.name == SCORES:
            try:
                scores = scores_of(file.read_bytes())
            except (ValueError, RecursionError) as error:
                yield f"{file}: {error}. {DELETE}"
                return
            if record["status"] == State.DONE:
                self.scores[record["dataset"], record["method"], record["seed"]] = scores

    def unfinished(self, folder: Path, names: set[str], record: dict[str, Any]) -> Iterator[str]:
        """The problems of files that only a run at work needs, or that no run writes."""
        ended = record["status"] in FINISHED
        for name in sorted(names - {RECORD, LOCK, LEASE, *record["files"]}):
            file = folder / name
            if name.startswith(disk.TEMPORARY) or self.leads_out(file):
                continue
            if name in (REDRAWN, REDRAWING):
                self.found.files += 1
                if reason := _no_partial(file) if name == REDRAWING else _no_redraws(folder, record):
                    yield f"{reason} Delete it: the next `lvm-bench run --resample` measures anew."
            elif name not in (*MADE, PARTIAL, *FITTING, *checkpoint.NAMES):
                yield f"{file}: is no file of a run. {ELSEWHERE}"
            elif ended and name not in (PARTIAL, *FITTING):  # metrics are added to a finished run
                yield f"{file}: does not belong to a run that is {record['status']}. Delete it."
            elif name == PARTIAL:
                self.found.files += 1
                if reason := _no_partial(file):
                    yield f"{reason} Delete it: the next `lvm-bench run` measures anew."
            elif name in (*FITTING, *checkpoint.NAMES):
                self.found.files += 1
                if not checkpoint.is_whole(file):
                    yield (
                        f"{file}: damaged, its checksum does not match. Delete it: the next `lvm-bench run` goes on "
                        "from the checkpoint before it, or trains anew."
                    )

    def left_over(self, folder: Path, names: set[str]) -> Iterator[str]:
        """The files that killed processes left in a folder, if nobody is at work there."""
        for name in sorted(names):
            if name in (LOCK, LEASE) or name.startswith(disk.TEMPORARY):
                yield f"{folder / name}: {OF_NOBODY}"

    def gathered(self) -> Iterator[str]:
        """The problems of the files that `report` wrote."""
        for folder in (self.suite, *(self.suite / name for name in checksums.FOLDERS)):
            if folder.is_dir() and not self.leads_out(folder):
                yield from self.left_over(folder, {*os.listdir(folder)})
        yield from self.choices()
        there = checksums.outputs(self.suite)
        try:
            known = checksums.read(self.suite)
        except RunError as error:
            yield str(error)
            return
        if there and not known:
            yield f"{self.suite / CHECKSUMS}: is missing, what stands beside it cannot be checked. {self.again}"
        self.found.files += bool(known)
        faulty = set()
        for name, expected in known.items():
            if any(map(self.leads_out, (self.suite / name, (self.suite / name).parent))):
                continue
            self.found.files += 1
            if fault := disk.fault(self.suite / name, expected):
                faulty.add(name)
                yield f"{fault} {checksums.RESTORE if name in checksums.READ else self.again}"
        for name in there:
            if known and name not in known:
                way = self.again if name in checksums.GATHERED else ELSEWHERE  # those alone are written before all else
                yield f"{self.suite / name}: not in {CHECKSUMS}, so not written by `lvm-bench report`. {way}"
        if ABOUT not in faulty:
            try:
                suite_record.read(self.suite)
            except RunError as error:
                yield str(error)
        if SUITE_SCORES in there and SUITE_SCORES not in faulty:
            yield from self.committed(self.suite / SUITE_SCORES)

    def choices(self) -> Iterator[str]:
        """The damaged ones of the files in which `tune` keeps what it chose."""
        for file in choice.files(self.suite):
            if not any(map(self.leads_out, (file, *file.parents[:2]))):
                self.found.files += 1
                try:
                    choice.read_file(file)
                except RunError as error:
                    yield str(error)

    def committed(self, file: Path) -> Iterator[str]:
        """The contradictions between scores.csv and the runs."""
        try:
            rows = read_scores(file)
        except RunError as error:
            yield str(error)
            return
        lacking = [key for key, scores in self.scores.items() if scores and key not in rows]
        other = [key for key, scores in self.scores.items() if key in rows and not _equal(scores, rows[key])]
        other += [key for key in self.without_scores if key in rows]
        for keys, text in ((lacking, "lacks the scores"), (other, "holds other scores than the folders")):
            if keys:
                names = listed((f"{dataset}/{method}/seed-{seed}" for dataset, method, seed in keys), 3)
                yield f"{file}: {text} of {counted(len(keys), 'run')} ({names}). {self.again}"


def _is_bare(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _other_job(file: Path, record: dict[str, Any]) -> str:
    """The difference between the job in a weights file's header and the record's; "" if there is none."""
    try:
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            text = json.loads(stream.read(min(size, file.stat().st_size)))["__metadata__"]["job"]
            job = json.loads(text)
            if hashlib.sha256(text.encode()).hexdigest() != record["digest_weights"]:
                return "its header's job is not that of the record's digest_weights"
            return (
                ""
                if record["settings"] | job == record["settings"]
                else "its header has other settings than its record"
            )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"has no header that says what was trained ({error})"


def _no_partial(file: Path) -> str:
    """The reason that a file holds no scores by metric and variant; "" if it does."""
    try:
        found = disk.read_record(file)
        for scores in found["scores"].values():
            scores_of(json.dumps(scores).encode())
    except RunError as error:
        return str(error)
    except (ValueError, KeyError, AttributeError, RecursionError) as error:
        return f"{file}: holds no scores by metric ({error})."
    return ""


def _no_redraws(folder: Path, record: dict[str, Any]) -> str:
    """The reason that a run's further evaluations do not belong to its scores; "" if they do."""
    try:
        checked_redraws(redraws_of(folder, record))
    except RunError as error:
        return str(error)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return f"{folder / REDRAWN}: holds no scores ({error})."
    return ""


def _equal(one: dict[str, float], other: dict[str, float]) -> bool:
    """Whether scores are the same numbers, nan equal to itself."""
    return one.keys() == other.keys() and all(repr(one[key]) == repr(other[key]) for key in one)
