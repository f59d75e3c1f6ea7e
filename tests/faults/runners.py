"""Several runners on one results folder, killed and started again; leases of the dead, and of other machines."""

import json
import os
import platform
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from lvm_bench.runs.layout import LEASE
from lvm_bench.runs.lease import holder

from .inside import die_after, hasten
from .kills import compare
from .place import REPORT, SUITE, TINY, TOO_LONG, Item, Place, Started, run

METHODS = ("counted-a", "counted-b", "counted-c", "counted-d")
PLUGIN = Path(__file__).with_name("counted.py")
SHARED = run(
    "--plugin", str(PLUGIN), "--set=epochs=50", "--set=checkpoint_seconds=0.1",
    '--set=metrics=["mse", "gaussian_kl"]', methods=METHODS,
)  # fmt: skip
ALONE = run(*TINY, methods=("aae",))
RUN_FOLDER = Path(SUITE, "runs", "digits", "aae", "seed-0")


def runners(
    make: Callable[[str], Place],
    seed: int,
    counts: tuple[int, ...] = (2, 4),
    kills: tuple[int, ...] = (0, 4),
    more: tuple[str, ...] = (),
) -> Item:
    """So many runners at once on one folder, so many of them killed and started again; `more` settings."""
    item = Item(
        "Runners that share a folder",
        "Several processes of the same `run` command at once on one results folder, four jobs; some are killed "
        "(`kill -9`) at random moments and started again. The methods note every epoch that they begin, and in which "
        "process: each job must be trained by one process, and by another only after the one before was killed. All "
        "results must equal those of one runner alone, byte for byte.",
        ["runners", "killed", "jobs", "trained by one process", "taken over after a kill", "seconds"],
    )
    rng = random.Random(seed)
    quiet, training = make("alone"), [*SHARED, *more]
    for words in (training, REPORT):
        ended = quiet.call(words) if words is training else quiet.forked(words)
        item.expect(ended.code == 0, f"the undisturbed {words[0]} ended with {ended.code}: {ended.text[-500:]}")
    for count in counts:
        for killing in kills:
            begun = time.monotonic()
            place = make(f"{count}-runners-{killing}-kills")
            dead = _share(place, training, count, killing, rng, item)
            seconds = time.monotonic() - begun
            item.expect(place.forked(REPORT).code == 0, f"{count} runners: report failed")
            item.failures += [f"{count} runners, {killing} kills: {text}" for text in compare(quiet, place)]
            problems, taken_over = trainings(place.folder / "epochs.log", dead)
            item.failures += [f"{count} runners, {killing} kills: {text}" for text in problems]
            item.rows.append([count, len(dead), len(METHODS), len(METHODS) - taken_over, taken_over, f"{seconds:.0f}"])
            place.remove()
    return item


def _share(place: Place, training: list[str], count: int, kills: int, rng: random.Random, item: Item) -> set[int]:
    """Start runners and kill some; returns the numbers of the killed processes."""
    started = [place.start(training) for _ in range(count)]
    dead: set[int] = set()
    while len(dead) < kills:
        while any(one.is_running for one in started) and not _training(place, started):
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 1.5))
        alive = [one for one in started if one.is_running]
        if not alive:
            break
        busy = _training(place, started)
        chosen = rng.choice(busy if busy and rng.random() < 0.8 else alive)
        if chosen.kill():
            dead.add(chosen.process.pid or 0)
            started[started.index(chosen)] = place.start(training)
    for one in started:
        ended = one.end()
        item.expect(ended.code == 0, f"a runner of {count} ended with {ended.code}: {ended.text[-500:]}")
    return dead


def _training(place: Place, started: list[Started]) -> list[Started]:
    """The processes that have begun an epoch, and live."""
    log = place.folder / "epochs.log"
    numbers = {int(line.split()[2]) for line in log.read_text().splitlines()} if log.exists() else set()
    return [one for one in started if one.is_running and one.process.pid in numbers]


def trainings(log: Path, dead: set[int]) -> tuple[list[str], int]:
    """Where a job was trained by two living processes, or an epoch twice by one; and how many were taken over."""
    begun = [line.split() for line in log.read_text().splitlines()]
    problems, taken_over = [], 0
    for name in sorted({method for method, _, _ in begun}):
        own = [(int(epoch), int(pid)) for method, epoch, pid in begun if method == name]
        blocks = [pid for pid, _ in groupby(pid for _, pid in own)]
        alive = sorted({*blocks[:-1]} - dead)
        if alive:
            problems.append(f"{name}: another process trained it though these lived: {alive}")
        if len(blocks) != len({*blocks}):
            problems.append(f"{name}: two processes trained it by turns: {blocks}")
        twice = [key for key, times in Counter(own).items() if times > 1]
        if twice:
            problems.append(f"{name}: epochs begun twice by one process: {twice}")
        taken_over += len(blocks) > 1
    if len({method for method, _, _ in begun}) != len(METHODS):
        problems.append("not every job was trained")
    return problems, taken_over


def undisturbed(place: Place, item: Item) -> Place:
    """The place, after one runner alone and a report, which the others are compared with."""
    for words in (ALONE, REPORT):
        ended = place.forked(words)
        item.expect(ended.code == 0, f"the undisturbed {words[0]} ended with {ended.code}: {ended.text[-500:]}")
    return place


def leases(make: Callable[[str], Place], seed: int) -> Item:
    """Leases of dead processes, here and elsewhere, of living ones, and one that is lost."""
    item = Item(
        "Leases",
        "What a runner does that meets a lease, the pauses shortened (2 s for 10 minutes): it takes over from the "
        "dead, waits for the living, and leaves a run that was taken over from it. The results are those of a run "
        "alone, and nothing is left over.",
        ["lease", "what the runner did", "seconds"],
    )
    quiet = undisturbed(make("quiet-leases"), item)

    def finish(name: str, place: Place, started: Started, what: str, said: str = "") -> None:
        ended = started.end()
        item.expect(ended.code == 0, f"{name}: ended with {ended.code}: {ended.text[-500:]}")
        item.expect(said in " ".join(ended.text.split()), f"{name}: did not say {said!r}: {ended.text[-500:]}")
        item.expect(place.forked(REPORT).code == 0, f"{name}: report failed")
        item.failures += [f"{name}: {text}" for text in compare(quiet, place)]
        item.rows.append([name, what, f"{ended.seconds:.1f}"])

    name = "of a killed process of this machine"
    place = make("killed-here")
    place.forked(ALONE, die_after, "resume.safetensors", 3)
    found = holder(place.results / RUN_FOLDER)
    item.expect(found and found.host == platform.node(), f"{name}: there is no lease: {found}")
    finish(name, place, place.fork(ALONE), "took over at once and went on from the checkpoint")

    name = "of another host, last touched an hour ago"
    place = make("dead-elsewhere")
    place.forked(ALONE, die_after, "resume.safetensors", 3)
    forge(place, age=3600.0)
    finish(name, place, place.fork(ALONE, hasten), "watched it, then took over", "at work in other runners")

    for name, hours in (("of another host, touched all the while", 0), ("the same, its clock 5 hours ahead", 5),
                        ("the same, its clock 5 hours behind", -5)):  # fmt: skip
        place = make(f"alive-elsewhere{hours}")
        forge(place, age=-3600.0 * hours)
        with touched(place, 3600.0 * hours):
            started = place.fork(ALONE, hasten)
            until(lambda log=started.log: "waiting" in log.read_text(), started)
            time.sleep(4.0)  # twice as long as a lease without a sign of life is valid
            item.expect(started.is_running, f"{name}: did not wait: {started.log.read_text()[-500:]}")
            item.expect(
                not (place.results / RUN_FOLDER / "job.json").exists(), f"{name}: it was begun though it is held"
            )
        finish(name, place, started, "waited as long as it was touched, then took over", "elsewhere, process 1")

    name = "taken over by another host in the middle of the training"
    place = make("lost")
    long = [word for word in ALONE if not word.startswith("--set=epochs")]
    alone = make("lost-alone")
    for words in ([*long, "--set=epochs=60"], REPORT):
        alone.forked(words)
    started = place.fork([*long, "--set=epochs=60"], hasten)
    until(lambda: (place.results / RUN_FOLDER / "resume.safetensors").exists(), started)
    forge(place, age=0.0)
    ended = started.end()
    item.expect(ended.code == 0, f"{name}: ended with {ended.code}: {ended.text[-500:]}")
    item.expect("another machine has taken over this run" in ended.text, f"{name}: did not notice: {ended.text}")
    item.expect(place.forked(REPORT).code == 0, f"{name}: report failed")
    item.failures += [f"{name}: {text}" for text in compare(alone, place)]
    item.rows.append([name, "left it, waited, and went on when the other gave no sign of life", f"{ended.seconds:.1f}"])
    return item


def forge(place: Place, age: float) -> None:
    """The lease of another host on our run, in the place of any that is there, last touched `age` seconds ago."""
    folder = place.results / RUN_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "forged"
    made.write_text(json.dumps({"host": "elsewhere", "machine": "another start", "pid": 1, "doing": {"epoch": 1}}))
    now = made.stat().st_mtime
    os.utime(made, (now - age, now - age))
    made.replace(folder / LEASE)


@contextmanager
def touched(place: Place, ahead: float) -> Iterator[None]:
    """Touch that lease all the while, by a clock that is so many seconds ahead."""
    ended = threading.Event()

    def touch() -> None:
        while not ended.wait(0.1):
            os.utime(place.results / RUN_FOLDER / LEASE, (time.time() + ahead,) * 2)

    beats = threading.Thread(target=touch)
    beats.start()
    try:
        yield
    finally:
        ended.set()
        beats.join()


def until(holds: Callable[[], bool], started: Started) -> None:
    """Wait until something holds, or the process ends; one in which it never holds is killed."""
    while started.is_running and not holds():
        time.sleep(0.005)
        if time.monotonic() - started.begun > TOO_LONG:
            started.kill()
