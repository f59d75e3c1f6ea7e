"""A Ray cluster whose node dies, and commands that are killed while their workers are at work elsewhere."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .kills import compare
from .place import Item, Place
from .runners import METHODS, SHARED, trainings, until

GONE = 30.0  # seconds after which a worker whose command was killed must have ended
KILLED = range(5, 40)  # the epochs, of 50, in which something is killed


def cluster(make: Callable[[str], Place]) -> Item:
    """A node that dies, and the command that dies, on a cluster of two nodes and with `--jobs 2`."""
    item = Item(
        "Workers elsewhere",
        "Four jobs on a Ray cluster of two nodes (raylets of this machine, one CPU each), or with `--jobs 2`. One node "
        "is killed (`kill -9`), or the command itself, and then given again. The methods note every epoch that they "
        "begin, and in which process: only the job of the dead node may go on in another process, from its last "
        "checkpoint. All results must equal those of one process alone, byte for byte.",
        ["killed", "jobs", "trained by one process", "gone on elsewhere", "seconds"],
    )
    # Read by every Ray that is started from here: nothing listens to other machines.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    quiet = make("cluster-alone")
    ended = quiet.call(SHARED)
    item.expect(ended.code == 0, f"the undisturbed run ended with {ended.code}: {ended.text[-500:]}")

    def check(name: str, place: Place, dead: set[int], gone_on: set[int], seconds: float) -> None:
        problems, elsewhere = trainings(place.folder / "epochs.log", dead)
        item.failures += [f"{name}: {text}" for text in (*problems, *compare(quiet, place))]
        item.expect(elsewhere in gone_on, f"{name}: {elsewhere} jobs went on in another process")
        item.rows.append([name, len(METHODS), len(METHODS) - elsewhere, elsewhere, f"{seconds:.0f}"])

    name, place, begun = "a node", make("cluster-node"), time.monotonic()
    with cluster_of(place, 2) as nodes:
        started = place.start([*SHARED, "--address", nodes.address])
        until(lambda: {pid in nodes.second for pid in at_work(place)} == {True, False}, started)
        dead = {pid for pid in processes(place) if pid in nodes.second}
        nodes.kill_second()
        ended = started.end()
    item.expect(ended.code == 0, f"{name}: ended with {ended.code}: {ended.text[-500:]}")
    item.expect("Its worker died; another one goes on" in ended.text, f"{name}: was not noticed: {ended.text[-500:]}")
    check(name, place, dead, {1}, time.monotonic() - begun)

    name, place, begun = "the command, on a cluster", make("cluster-command"), time.monotonic()
    with cluster_of(place, 2) as nodes:
        words = [*SHARED, "--address", nodes.address]
        dead = _kill_command(item, name, place, words)
        check(name, place, dead, {1, 2}, time.monotonic() - begun)

    name, place, begun = "the command, with `--jobs 2`", make("cluster-jobs"), time.monotonic()
    dead = _kill_command(item, name, place, [*SHARED, "--jobs", "2"])
    check(name, place, dead, {1, 2}, time.monotonic() - begun)
    return item


def _kill_command(item: Item, name: str, place: Place, words: list[str]) -> set[int]:
    """Kill a command whose workers are at work, and give it again; returns the numbers of its workers."""
    started = place.start(words)
    until(lambda: len(at_work(place)) == 2, started)
    item.expect(started.kill(), f"{name}: it had ended before it was killed")
    dead, end = set(processes(place)), time.monotonic() + GONE
    while time.monotonic() < end and any(map(_runs, dead)):
        time.sleep(0.1)
    item.expect(not any(map(_runs, dead)), f"{name}: its workers are there after {GONE:.0f} s")
    dead |= set(processes(place))
    ended = place.call(words)
    item.expect(ended.code == 0, f"{name}: the same command ended with {ended.code}: {ended.text[-500:]}")
    return dead


class Nodes:
    """Two nodes at work."""

    def __init__(self, process: "subprocess.Popen[str]"):
        self._process = process
        address, raylet = self._answer().split()
        self.address, self.second = address, Children(int(raylet))

    def kill_second(self) -> None:
        """SIGKILL to the node that the command is not on."""
        assert self._process.stdin
        self._process.stdin.write("kill\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()


class Children:
    """The processes that one process has started, those that have ended among them once they were asked for."""

    def __init__(self, parent: int):
        self.parent = parent
        self._known: set[int] = set()

    def __contains__(self, pid: object) -> bool:
        if isinstance(pid, int) and parent(pid) == self.parent:
            self._known.add(pid)
        return pid in self._known


@contextmanager
def cluster_of(place: Place, count: int) -> Iterator[Nodes]:
    """A cluster of so many nodes that ends with the block."""
    place.folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(Path(__file__).with_name("nodes.py")), str(count)]
    process = subprocess.Popen(
        command, cwd=place.folder, env=place.environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=place.log().open("wb"), text=True,
    )  # fmt: skip
    try:
        yield Nodes(process)
    finally:
        process.communicate()


def at_work(place: Place) -> list[int]:
    """The living processes that are in the middle of a training."""
    log = place.folder / "epochs.log"
    begun = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    newest = {int(pid): int(epoch) for _, epoch, pid in begun}
    return [pid for pid, epoch in newest.items() if epoch in KILLED and _runs(pid)]


def processes(place: Place) -> list[int]:
    """Every process that has begun an epoch."""
    log = place.folder / "epochs.log"
    return sorted({int(line.split()[2]) for line in log.read_text().splitlines()})


def parent(pid: int) -> int | None:
    """The process that started another one, None when that one has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    return int(status.split("PPid:")[1].split()[0])


def _runs(pid: int) -> bool:
    return parent(pid) is not None
