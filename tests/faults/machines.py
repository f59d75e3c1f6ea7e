"""What the schedulers of shared machines do: signals before the end, and machines that have one name."""

import json
import os
import platform
import signal
import time
from collections.abc import Callable

from lvm_bench.runs.layout import LEASE

from .inside import hasten, signal_after
from .kills import compare
from .place import REPORT, Item, Place
from .runners import ALONE, RUN_FOLDER, forge, touched, undisturbed, until

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGINT)
BUDGET, LONG = 9, 80  # seconds, of which 5 are for the end, and epochs that need more


def machines(make: Callable[[str], Place], seed: int) -> Item:
    """Each signal in the middle of a training; a run whose lease is of another machine of this one's name."""
    item = Item(
        "Shared machines",
        "Each signal by which a scheduler asks for the end, in the middle of a training; a hangup under `nohup`; a "
        f"training of {LONG} epochs with a time budget of {BUDGET} s, given again as often as it exits with 75; a "
        "run held by another machine, or another container, that has this one's host name (2 s for 10 minutes). Then "
        "the same command: the results are those of a run alone, and nothing is left over.",
        ["what came", "what the command did", "seconds"],
    )
    quiet = undisturbed(make("quiet-machines"), item)

    def finish(name: str, place: Place, what: str, seconds: float) -> None:
        for words in (ALONE, REPORT):
            ended = place.forked(words)
            item.expect(ended.code == 0, f"{name}: {words[0]} ended with {ended.code}: {ended.text[-500:]}")
        item.failures += [f"{name}: {text}" for text in compare(quiet, place)]
        item.rows.append([name, what, f"{seconds:.1f}"])

    for number in SIGNALS:
        place = make(number.name)
        ended = place.forked(ALONE, signal_after, number, False)
        code = 130 if number == signal.SIGINT else 75
        item.expect(ended.code == code, f"{number.name}: ended with {ended.code}: {ended.text[-500:]}")
        item.expect("everything is saved, 1 of 1 run left" in ended.text, f"{number.name}: {ended.text[-500:]}")
        finish(number.name, place, f"saved, ended with {code} and went on", ended.seconds)
    place = make("nohup")
    ended = place.forked(ALONE, signal_after, signal.SIGHUP, True)
    item.expect(ended.code == 0, f"nohup: ended with {ended.code}: {ended.text[-500:]}")
    finish("SIGHUP under nohup", place, "took no notice", ended.seconds)

    _spend(make, item)
    name = "a lease of another machine of this name, touched all the while"
    place = make("equal-name")
    forge(place, age=0.0)
    lease = place.results / RUN_FOLDER / LEASE
    lease.write_text(json.dumps({**json.loads(lease.read_text()), "host": platform.node(), "pid": os.getpid()}))
    with touched(place, 0.0):
        started = place.fork(ALONE, hasten)
        until(lambda: "waiting" in started.log.read_text(), started)
        time.sleep(4.0)  # twice as long as a lease without a sign of life is valid
        item.expect(started.is_running, f"{name}: did not wait: {started.log.read_text()[-500:]}")
        item.expect(not (place.results / RUN_FOLDER / "job.json").exists(), f"{name}: it was begun though it is held")
    ended = started.end()
    item.expect(ended.code == 0, f"{name}: ended with {ended.code}: {ended.text[-500:]}")
    finish(name, place, "waited as long as it was touched, then took over", ended.seconds)
    return item


def _spend(make: Callable[[str], Place], item: Item) -> None:
    """One training under a time budget that it needs several times: each command ends within it."""
    name = f"`--time-budget {BUDGET}s`"
    training = [*(word for word in ALONE if not word.startswith("--set=epochs")), f"--set=epochs={LONG}"]
    quiet, place, ends = make("long-alone"), make("budget"), list[float]()
    for words in (training, REPORT):
        quiet.forked(words)
    while len(ends) < 20:
        ended = place.forked([*training, f"--time-budget={BUDGET}s"])
        ends.append(ended.seconds)
        item.expect(ended.code in (0, 75), f"{name}: ended with {ended.code}: {ended.text[-500:]}")
        if ended.code != 75:
            break
    item.expect(max(ends) <= BUDGET, f"{name}: ended after {max(ends):.1f} s")
    item.expect(len(ends) > 1, f"{name}: was never spent")
    item.expect(place.forked(REPORT).code == 0, f"{name}: report failed")
    item.failures += [f"{name}: {text}" for text in compare(quiet, place)]
    item.rows.append([name, f"saved in time and went on, {len(ends)} commands", f"{max(ends):.1f} at most"])
