"""A folder of its own for each trial, the command line in it, started, killed and watched; what stands there after."""

import hashlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import connection, forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeVar
from unittest import mock

import lvm_bench
from lvm_bench.suites import bench_toml

Trial, Verdict = TypeVar("Trial"), TypeVar("Verdict")
HOME = Path(lvm_bench.__file__).parents[1]  # where the package under test lies
SUITE = "quick"
_OF_A_RUN = (
    "history.csv",
    "model.safetensors",
    "best.safetensors",
    "scores.json",
    "images.npz",
    "codes.npz",
    "sweeps.npz",
)
TOO_LONG = 300.0  # seconds after which a command is taken to hang
# Starting a process asks after all others: two threads would read how one ended, and the second finds nothing.
_FORKING = threading.Lock()


@dataclass
class Item:
    """What was done on purpose, what came of it, and every promise that did not hold."""

    title: str
    what: str
    columns: list[str]
    rows: list[list[object]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def expect(self, holds: object, otherwise: str) -> None:
        """Note a promise that does not hold."""
        if not holds:
            self.failures.append(otherwise)


def run(*more: str, methods: tuple[str, ...] = ("avae", "aae"), seeds: tuple[int, ...] = (0,)) -> list[str]:
    """The command that trains these methods on scikit-learn's digits."""
    names = [word for method in methods for word in ("--methods", method)]
    numbers = [word for seed in seeds for word in ("--seeds", str(seed))]
    settings = ["--set=classifier_epochs=1", *more]
    return [
        "run",
        "--suite",
        SUITE,
        "--config",
        str(bench_toml.defaults_folder() / "bench.toml"),
        "--device=cpu",
        *names,
        *numbers,
        *settings,
    ]


REPORT = ["report", "--suite", SUITE]
TINY = (
    "--set=epochs=2", "--set=train_images=200", "--set=test_images=100", "--set=checkpoint_seconds=0",
    '--set=metrics=["mse", "gaussian_kl", "frechet"]',
)  # fmt: skip


@dataclass
class Ended:
    """How a command ended."""

    code: int
    text: str  # of both streams
    seconds: float

    @property
    def is_sentence(self) -> bool:
        """Whether it says what it says without a traceback."""
        return "Traceback (most recent call last)" not in self.text


class Started:
    """A command at work, the leader of a process group of its own."""

    def __init__(self, process: "subprocess.Popen[bytes] | BaseProcess", log: Path):
        self.process, self.log, self.begun = process, log, time.monotonic()

    @property
    def is_running(self) -> bool:
        return self.code is None

    @property
    def code(self) -> int | None:
        if isinstance(self.process, BaseProcess):
            with _FORKING:
                return self.process.exitcode
        return self.process.poll()

    def kill(self) -> bool:
        """SIGKILL to its whole group; whether it was still running."""
        alive = self.is_running
        if alive and self.process.pid:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:  # a fork that leads no group yet
                self.process.kill()
        self.end()
        return alive and self.code == -signal.SIGKILL

    def end(self) -> Ended:
        """Wait for its end; one that hangs is killed and has the code -9."""
        if isinstance(self.process, BaseProcess):
            connection.wait([self.process.sentinel], TOO_LONG)
        else:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(TOO_LONG)
        if self.is_running:
            self.kill()
        return Ended(int(self.code or 0), self.log.read_text(errors="replace"), time.monotonic() - self.begun)


class Place:
    """A folder with its own results, cache and logs. Its commands are new interpreters, or forks if it `forks`."""

    def __init__(self, folder: Path, forks: bool = False):
        self.folder, self.forks = folder, forks
        self.results, self.cache = folder / "results", folder / "cache"
        self._logs = 0

    @property
    def environment(self) -> dict[str, str]:
        """That of the commands: one thread, this checkout's code, nothing of the user's."""
        own = {"XDG_CACHE_HOME": str(self.cache), "MPLCONFIGDIR": str(self.folder.parent / "matplotlib")}
        return {**os.environ, **_environment(), **own}

    def log(self) -> Path:
        """A new file for the output of a command."""
        self._logs += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"log-{self._logs}.txt"

    def logs(self) -> str:
        """What all commands said."""
        return "\n".join(file.read_text(errors="replace") for file in sorted(self.folder.glob("log-*.txt")))

    def start(self, arguments: list[str]) -> Started:
        """The command as a user starts it: a new interpreter, unless this place forks."""
        if self.forks:
            return self.fork(arguments)
        log = self.log()
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "lvm_bench", *arguments], cwd=self.folder, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        return Started(process, log)

    def call(self, arguments: list[str]) -> Ended:
        """The command from its start to its end."""
        return self.start(arguments).end()

    def fork(self, arguments: list[str], before: Callable[..., object] | None = None, *given: object) -> Started:
        """The same in a fork of a process that has imported everything: milliseconds in the place of seconds.

        `before(*given)` is called in it first, to set up a fault.
        """
        log = self.log()
        log.touch()
        process = _forks().Process(target=_enter, args=(self.folder, self.environment, log, arguments, before, given))
        with _FORKING:
            process.start()
        return Started(process, log)

    def forked(self, arguments: list[str], before: Callable[..., object] | None = None, *given: object) -> Ended:
        """A fork from its start to its end."""
        return self.fork(arguments, before, *given).end()

    def bytes_of_runs(self) -> dict[str, str]:
        """The checksum of every result of every run, by path."""
        found = checksums(self.results)
        return {key: value for key, value in found.items() if "/runs/" in key and key.endswith(_OF_A_RUN)}

    def bytes_of_report(self) -> dict[str, str]:
        """The checksum of every number that `report` wrote, by path; what a run cost in seconds is never the same."""
        found = checksums(self.results)
        numbers = (key for key in found if "/runs/" not in key and key.endswith((".csv", ".tex")))
        return {key: found[key] for key in numbers if "/tables/cost." not in key}

    def files(self) -> set[str]:
        """The path of every file of the results."""
        return {str(file.relative_to(self.results)) for file in self.results.rglob("*") if file.is_file()}

    def left_in_cache(self) -> list[str]:
        """What was left half written in the cache."""
        return sorted(str(file.relative_to(self.cache)) for file in self.cache.rglob(".tmp-*"))

    def copy(self, folder: Path) -> "Place":
        """The same in another folder, times of files and all."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Place(folder, self.forks)

    def remove(self) -> None:
        """Delete it all."""
        shutil.rmtree(self.folder, ignore_errors=True)


def checksums(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file under a folder, by relative path."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def at_once(attempt: Callable[[Trial], Verdict], trials: list[Trial]) -> list[Verdict]:
    """What comes of each trial, in order; two at a time, one per core of a small machine."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(attempt, trials))


def differing(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The paths whose contents are not the same in both."""
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


@contextmanager
def places(forks: bool = False) -> Iterator[Callable[[str], Place]]:
    """Makes places in a temporary folder, which is deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="lvm-bench-faults-") as folder:
        yield lambda name: Place(Path(folder) / name, forks)


@cache
def _forks() -> "multiprocessing.context.ForkServerContext":
    """Forks a process that has imported everything, and in which no thread runs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "lvm_bench.cli",
            "lvm_bench.execution.suite",
            "lvm_bench.report.write",
            "sklearn.datasets",
            "torch._dynamo",
            "matplotlib.backends.backend_agg",
        ]  # the first optimiser and the first figure import these
    )
    with mock.patch.dict(os.environ, _environment()):
        forkserver.ensure_running()
    return context


def _environment() -> dict[str, str]:
    """One thread, one process, and the code under test."""
    path = os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH"))))
    return {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "COLUMNS": "100", "LVM_BENCH_JOBS": "1"}


def _enter(
    folder: Path,
    environment: dict[str, str],
    log: Path,
    arguments: list[str],
    before: Callable[..., object] | None,
    given: tuple[object, ...],
) -> None:
    os.setsid()
    os.environ.update(environment)
    os.chdir(folder)
    with log.open("wb") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    from lvm_bench.cli import main
    from lvm_bench.report.figures import draw

    # They take seconds to draw, and are written as all files are; new interpreters draw them.
    draw.left_out = lambda found: "Only the images are drawn."
    if before:
        before(*given)
    main(arguments, prog_name="lvm-bench")
