"""Random damage to every kind of file in a results folder: noticed, named, mended or refused, never a wrong number."""

import csv
import io
import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lvm_bench.runs.layout import LEASE
from lvm_bench.training import checkpoint

from .inside import die_after, hasten
from .place import REPORT, SUITE, TINY, Ended, Item, Place, at_once, differing, run

RUN = run(*TINY, methods=("aae", "vae"))
VERIFY = ["verify", "--suite", SUITE]
OURS = Path(SUITE, "runs", "digits", "aae", "seed-0")
CONTROL = Path(SUITE, "runs", "digits", "real-images", "seed-0")
WEIGHTS = ("model.safetensors", "best.safetensors", "images.npz", "codes.npz")  # `run` looks at their size alone
KINDS = ("a bit flipped", "cut short", "emptied", "deleted", "swapped with another", "overwritten by another")
# What each state of a folder holds for damage: the files of a run, and those of the report.
FILES: dict[str, tuple[Path, ...]] = {
    "finished": (
        *(OURS / name for name in ("job.json", "history.csv", "scores.json", *WEIGHTS)),
        *(CONTROL / name for name in ("job.json", "scores.json")),
        *(Path(SUITE, name) for name in ("about.json", "scores.csv", "history.csv", "claims.csv", "files.json")),
        *(Path(SUITE, name) for name in ("tables/latent.md", "figures/digits.png")),
    ),
    "killed in training": tuple(
        OURS / name for name in ("job.json", "resume.safetensors", "resume.previous.safetensors", LEASE)
    ),
    "killed in evaluation": tuple(
        OURS / name
        for name in ("job.json", "history.csv", *WEIGHTS[:2], "resume.safetensors", "scores.partial.json", LEASE)
    ),
}
MEASURED = re.compile(r"\d")
IDENTITY = ("dataset", "method", "seed", "epoch", "column", "row", "metric", "id", "table", "text", "in_paper")


@dataclass(frozen=True)
class Trial:
    """One mutation of one file in one state of a folder."""

    number: int
    state: str
    file: Path
    kind: str

    def __str__(self) -> str:
        return f"mutation {self.number}, {self.state}: {self.file.name} of {self.file.parent} {self.kind}"


@dataclass
class Verdict:
    """What came of a trial: a word for the page, and the promises that did not hold."""

    outcome: str
    failures: list[str] = field(default_factory=list)


# Tables that set the methods beside each other: where a run is missing, their cells are rightly others.
OF_ALL = ("settings", "architectures", "ranks", "aggregates", "improvement")


def mutations(make: Callable[[str], Place], seed: int, count: int) -> Item:
    """Damage `count` files, each in a fresh copy, and hold `verify`, `report` and `run` to what they promise."""
    item = Item(
        "Mutations",
        f"{count} times one file of a results folder is damaged, in a fresh copy of a folder that is finished and "
        "reported, was killed in training, or was killed in evaluation; every kind of file with every kind of damage. "
        "`verify` must name the file; `report` must never write a number that an undisturbed run does not have; `run` "
        "and `report` must make the file again with equal bytes or refuse with a sentence, after which deleting what "
        "was named is the way. No command may print a traceback.",
        ["file", *KINDS],
    )
    rng = random.Random(seed)
    every = [(state, file, kind) for state, files in FILES.items() for file in files for kind in KINDS]
    chosen: list[tuple[str, Path, str]] = []
    while len(chosen) < count:
        chosen += rng.sample(every, min(len(every), count - len(chosen)))
    states = {
        "finished": make("finished"),
        "killed in training": make("training"),
        "killed in evaluation": make("evaluation"),
    }
    for command in (RUN, REPORT):
        ended = states["finished"].forked(command)
        item.expect(ended.code == 0, f"the undisturbed {command[0]} ended with {ended.code}: {ended.text[-500:]}")
    for state, last, times in (("training", "resume.safetensors", 3), ("evaluation", "scores.partial.json", 2)):
        ended = states[f"killed in {state}"].forked(RUN, die_after, last, times)
        item.expect(ended.code == 137, f"the run killed in {state} ended with {ended.code}: {ended.text[-500:]}")
    trials = [Trial(number, *one) for number, one in enumerate(chosen, 1)]

    def attempt(trial: Trial) -> Verdict:
        place = states[trial.state].copy(states["finished"].folder.with_name(f"mutation-{trial.number}"))
        try:
            return judge(trial, place, states["finished"], random.Random(f"{seed}-{trial.number}"))
        finally:
            place.remove()

    verdicts = at_once(attempt, trials)
    cells: dict[str, dict[str, Counter[str]]] = {}
    for trial, verdict in zip(trials, verdicts, strict=True):
        name = trial.file.name if trial.state == "finished" else f"{trial.file.name}, {trial.state}"
        row = cells.setdefault(f"control: {name}" if trial.file.parent == CONTROL else name, {})
        row.setdefault(trial.kind, Counter())[verdict.outcome] += 1
        item.failures += [f"{trial}: {text}" for text in verdict.failures]
    item.rows = [[name, *(_counts(row.get(kind, Counter())) for kind in KINDS)] for name, row in cells.items()]
    totals = Counter(verdict.outcome for verdict in verdicts)
    item.notes.append("; ".join(f"{number} {outcome}" for outcome, number in totals.most_common()) + ".")
    return item


def _counts(outcomes: Counter[str]) -> str:
    return ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items())


def mutate(place: Place, trial: Trial, rng: random.Random) -> list[Path]:
    """Damage the trial's file; returns every file that is not what it was."""
    file = place.results / trial.file
    content = file.read_bytes()
    if trial.kind == "a bit flipped":
        at = rng.randrange(len(content))
        changed = bytes([content[at] ^ (1 << rng.randrange(8))])
        file.write_bytes(content[:at] + changed + content[at + 1 :])
    elif trial.kind == "cut short":
        os.truncate(file, rng.randrange(1, len(content)))
    elif trial.kind == "emptied":
        os.truncate(file, 0)
    elif trial.kind == "deleted":
        file.unlink()
    else:
        others = [
            other
            for other in sorted(place.results.rglob("*"))
            if other.is_file() and not other.name.startswith(".") and other.read_bytes() != content
        ]
        alike = [other for other in others if other.suffix == file.suffix]
        other = rng.choice(alike or others)
        if trial.kind == "swapped with another":
            file.write_bytes(other.read_bytes())
            other.write_bytes(content)
            return [file, other]
        shutil.copyfile(other, file)
    return [file]


def judge(trial: Trial, place: Place, quiet: Place, rng: random.Random) -> Verdict:
    """Damage, then verify, report, run and report; every promise on the way is checked."""
    damaged = mutate(place, trial, rng)
    failures: list[str] = []

    def call(words: list[str], *codes: int) -> Ended:
        ended = place.forked(words, hasten)  # a lease that cannot be read is waited for
        if not ended.is_sentence or ended.code not in codes:
            failures.append(f"`{words[0]}` ended with {ended.code}: {ended.text[-1500:]}")
        return ended

    verified = call(VERIFY, 0, 1)
    # A lease is of a process that is dead; what is for going on with may be missing, which costs time alone.
    harmless = trial.file.name == LEASE or (trial.kind == "deleted" and "resume" in trial.file.name)
    harmless |= trial.kind == "deleted" and trial.file.name in ("scores.partial.json", "files.json")
    named = _names(verified, damaged)
    if not named and not harmless and any(map(_matters, damaged)):
        failures.append(f"`verify` does not name {damaged[0].name}: {verified.text[-800:]}")
    if trial.state == "finished":
        failures += _reported(call, place, quiet)[1]
    ended = call(RUN, 0, 1, 2)
    others = differing(quiet.bytes_of_runs(), place.bytes_of_runs())
    silent = ended.code == 0 and bool(others)
    if silent and not all(_by_size_alone(file) for file in damaged):
        failures.append(f"`run` ended with 0 and left other bytes in {others}: {ended.text[-800:]}")
    outcome = "mended" if ended.code == 0 and not silent else "refused" if ended.code else "named"
    reported, wrong = _reported(call, place, quiet)
    failures += wrong
    equal = place.bytes_of_runs() == quiet.bytes_of_runs() and place.bytes_of_report() == quiet.bytes_of_report()
    if reported.code or not equal:
        outcome = "refused" if reported.code or ended.code else "named"
        if not (named or ended.code or reported.code):
            failures.append("differs from an undisturbed run, and no command named a file")
        for file in damaged:  # the way that every sentence offers
            file.unlink(missing_ok=True)
        call(RUN, 0)
        call(REPORT, 0)
    if not failures:
        left = sorted(place.files() ^ quiet.files())
        failures += [f"{name} was left over or is missing" for name in left]
        failures += [f"{name} has other bytes" for name in differing(quiet.bytes_of_runs(), place.bytes_of_runs())]
        failures += [f"{name} has other bytes" for name in differing(quiet.bytes_of_report(), place.bytes_of_report())]
        clean = call(VERIFY, 0)
        if clean.code:
            failures.append(f"`verify` is not content at the end: {clean.text[-800:]}")
    return Verdict("harmless" if harmless and outcome == "mended" else outcome, failures)


def _names(verified: Ended, damaged: list[Path]) -> bool:
    """Whether a damaged file, or the folder of a record, stands in what `verify` said."""
    text = "".join(verified.text.split())
    return any(str(Path(*file.parts[-4:])).replace(" ", "") in text or file.name in text for file in damaged)


def _matters(file: Path) -> bool:
    """Whether it is not one whole checkpoint in the place of another, from which training goes on as well."""
    return not (file.name in checkpoint.NAMES and file.is_file() and checkpoint.is_whole(file))


def _by_size_alone(file: Path) -> bool:
    return file.name in WEIGHTS or "runs" not in file.parts


def _reported(call: Callable[..., Ended], place: Place, quiet: Place) -> tuple[Ended, list[str]]:
    """A report, and the wrong numbers that it writes, or leaves when it says that all is well."""
    before = {name: place.results / name for name in place.bytes_of_report()}
    texts = {name: file.read_bytes() for name, file in before.items()}
    ended = call(REPORT, 0, 1, 2)
    wrong = []
    for name in place.bytes_of_report():
        file = place.results / name
        written = texts.get(name) != file.read_bytes()
        if (written or ended.code == 0) and name.endswith(".csv") and Path(name).stem not in OF_ALL:
            cells = new_cells(file, quiet.results / name)
            wrong += [f"a wrong number in {name}: {cell}" for cell in cells]
    return ended, wrong


def new_cells(file: Path, truth: Path) -> list[str]:
    """The numbers of a table that the true table does not have in the same row and column."""
    known = rows_of(truth)
    return [
        f"{', '.join(key)}, {column}: {cell}"
        for key, row in rows_of(file).items()
        for column, cell in row.items()
        if MEASURED.search(cell or "") and "half-l" not in key and known.get(key, {}).get(column) != cell
    ]


def rows_of(file: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """The other cells of each row by those that say what it is of; none where there is no table."""
    if not file.is_file():
        return {}
    rows = csv.DictReader(io.StringIO(file.read_text(errors="replace")))
    return {
        tuple(row[name] or "" for name in row if name in IDENTITY): {
            name: cell for name, cell in row.items() if name not in IDENTITY
        }
        for row in rows
    }
