"""Kills at random moments, and a crash before every single rename, flush and deletion of a run."""

import os
import random
import time
from collections import Counter
from collections.abc import Callable

from lvm_bench import disk
from lvm_bench.errors import RunError
from lvm_bench.runs.layout import LEASE
from lvm_bench.runs.lease import holder

from .inside import crash_at
from .place import REPORT, TINY, Item, Place, Started, at_once, differing, run

METHODS = ("avae", "aae")  # one with a KDE set, one with an adversary
LONG = (
    "--set=epochs=30", "--set=checkpoint_seconds=0.1",
    '--set=metrics=["mse", "frechet", "kid", "prd", "gaussian_kl", "entropy", "mmd", "collapsed_variance"]',
)  # fmt: skip
# What a killer waits for: a file of that name being written anew, then a delay of up to so many seconds.
MOMENTS: dict[str, tuple[str, float]] = {
    "at any time": ("", 9.0),
    "in training": ("resume.safetensors", 2.0),
    "in a checkpoint": (".tmp-resume*", 0.002),
    "at the end of training": (".tmp-best*", 0.05),
    "in evaluation": ("scores.partial.json", 1.5),
    "at the end of a run": (".tmp-scores.json*", 0.03),
}


def kills(
    make: Callable[[str], Place],
    seed: int,
    count: int,
    methods: tuple[str, ...] = METHODS,
    settings: tuple[str, ...] = LONG,
) -> Item:
    """Kill the whole process group at random moments, give the same command again, compare with a quiet run."""
    item = Item(
        "Kills",
        f"`kill -9` of the whole process group at {count} moments of `run` (AVAE with its KDE set and AAE with its "
        "adversary, 30 epochs, checkpoints every 0.1 s, and the two controls) and of `report`; the same command again "
        "until it finishes. Then every score, weight, history, picture and table is compared byte for byte with those "
        "of an undisturbed run, and the folder must hold the same files and no other.",
        ["killed", "kills"],
    )
    rng, training = random.Random(seed), run(*settings, methods=methods)
    quiet = make("quiet")
    for command in (training, REPORT):
        ended = quiet.call(command)
        item.expect(ended.code == 0, f"the undisturbed {command[0]} ended with {ended.code}: {ended.text[-500:]}")
    tally, in_writing, rounds, left = Counter[str](), 0, 0, 0
    moments: list[str] = []
    while tally.total() < count:
        rounds += 1
        place = make(f"round-{rounds}")
        todo = min(count - tally.total(), rng.randint(8, 12))
        for _ in range(max(1, todo - 1)):
            moments = moments or rng.sample([*MOMENTS], len(MOMENTS))
            started = place.start(training)
            if wait_for(place, started, *MOMENTS[moments.pop()], rng=rng) and started.kill():
                tally[phase(place, started)] += 1
                in_writing += any(place.results.rglob(".tmp-*"))
        ended = place.call(training)
        item.expect(ended.code == 0, f"round {rounds}: run ended with {ended.code}: {ended.text[-500:]}")
        if tally.total() < count:
            started = place.start(REPORT)
            wait_for(place, started, "", 2.0, rng=rng)
            tally["in `report`"] += started.kill()
        ended = place.call(REPORT)
        item.expect(ended.code == 0, f"round {rounds}: report ended with {ended.code}: {ended.text[-500:]}")
        item.failures += [f"round {rounds}: {text}" for text in compare(quiet, place)]
        left += len(place.left_in_cache())
        place.remove()
    item.rows = [[name, number] for name, number in sorted(tally.items())]
    item.rows.append(["all", tally.total()])
    item.notes.append(
        f"{rounds} fresh folders; {in_writing} kills struck while a file was being written (it lay there half made). "
        f"Killed processes left {left} half-written files in the cache folder, which nothing reads."
    )
    return item


def compare(quiet: Place, place: Place) -> list[str]:
    """How a finished folder differs from an undisturbed one, tracebacks in the output among it."""
    problems = [f"{name} has other bytes" for name in differing(quiet.bytes_of_runs(), place.bytes_of_runs())]
    problems += [f"{name} has other bytes" for name in differing(quiet.bytes_of_report(), place.bytes_of_report())]
    problems += [f"{name} was left over" for name in sorted(place.files() - quiet.files())]
    problems += [f"{name} is missing" for name in sorted(quiet.files() - place.files())]
    if "Traceback (most recent call last)" in place.logs():
        problems.append(f"a traceback: {place.logs()[-1500:]}")
    return problems


def wait_for(place: Place, started: Started, pattern: str, delay: float, *, rng: random.Random) -> bool:
    """Wait until a file of that name is written, and then at random for up to `delay`; False if it ends before."""
    begun, pause = time.time_ns(), rng.uniform(0 if pattern else delay / 4, delay)  # not all in the start
    while pattern and not _is_written(place, pattern, begun):
        if not started.is_running:
            return False
        time.sleep(0.0005)
    end = time.monotonic() + pause
    while time.monotonic() < end:
        if not started.is_running:
            return False
        time.sleep(0.002)
    return True


def _is_written(place: Place, pattern: str, since: int) -> bool:
    for file in place.results.glob(f"{run_folders()}/{pattern}"):
        try:
            if file.stat().st_mtime_ns >= since:
                return True
        except FileNotFoundError:
            continue
    return False


def run_folders() -> str:
    """The pattern of the runs' folders."""
    return "*/runs/*/*/seed-*"


def phase(place: Place, killed: Started) -> str:
    """Where a killed run was, by what it left."""
    for lease in sorted(place.results.glob(f"{run_folders()}/{LEASE}")):
        folder = lease.parent
        found = holder(folder)
        if not found or found.pid != killed.process.pid:  # left by one that was killed before
            continue
        control = folder.parent.name in ("real-images", "standard-normal")
        try:
            status = disk.read_record(folder / "job.json")["status"]
        except RunError:
            status = "new"
        if control:
            return "measuring a control"
        if status == "trained":
            some = (folder / "scores.partial.json").exists()
            return "in evaluation, some metrics kept" if some else "in evaluation, before the first metric is kept"
        if status == "done":
            return "at the end of a run"
        some = (folder / "resume.safetensors").exists() or (folder / "resume.previous.safetensors").exists()
        return "in training, after a checkpoint" if some else "in training, before the first checkpoint"
    return "starting, or between two runs"


REPORT_CRASHES = 80


def crashes(make: Callable[[str], Place], seed: int, count: int | None) -> Item:
    """End the process before every rename, flush, deletion and sign of life in turn, or before `count` of them."""
    item = Item(
        "A crash at every step",
        "The process ends at once (exit 137) before the k-th rename, flush, deletion or lease of a short run (AAE, a "
        f"checkpoint after each step, and the controls), for every k, and of a report, whose steps are alike, for "
        f"{REPORT_CRASHES} of them at random; whatever was being written is cut in half. The same command again must "
        "finish with the bytes of an undisturbed run and leave nothing else.",
        ["command", "steps", "crashes", "finished with equal bytes"],
    )
    rng = random.Random(seed)
    command = run(*TINY, methods=("aae",))
    finished = make("crashes-finished")

    def counted(words: list[str], place: Place) -> Place:
        ended = place.forked(words, crash_at, 0, place.folder / f"steps-{words[0]}")
        item.expect(ended.code == 0, f"the undisturbed {words[0]} ended with {ended.code}: {ended.text[-500:]}")
        return place

    counted(command, finished)
    reported = counted(REPORT, finished.copy(finished.folder.with_name("crashes-reported")))
    for words, quiet in ((command, finished), (REPORT, reported)):
        steps = range(1, int((quiet.folder / f"steps-{words[0]}").read_text()) + 1)
        most = count or (REPORT_CRASHES if words is REPORT else len(steps))
        chosen = sorted(rng.sample(steps, min(most, len(steps))))

        def attempt(k: int, words: list[str] = words, quiet: Place = quiet) -> list[str]:
            name = f"crash-{words[0]}-{k}"
            place = make(name) if words is command else finished.copy(finished.folder.with_name(name))
            problems = []
            ended = place.forked(words, crash_at, k, place.folder / "steps")
            if ended.code != 137:
                problems.append(f"ended with {ended.code}: {ended.text[-300:]}")
            for half in place.results.rglob(".tmp-*"):
                os.truncate(half, half.stat().st_size // 2)
            ended = place.forked(words)
            if ended.code != 0:
                problems.append(f"the same command ended with {ended.code}: {ended.text[-300:]}")
            problems += compare(quiet, place)
            place.remove()
            return [f"crash {k} of {words[0]}: {text}" for text in problems]

        found = at_once(attempt, [*chosen])
        item.failures += [text for problems in found for text in problems]
        item.rows.append([f"`{words[0]}`", len(steps), len(found), found.count([])])
    return item
