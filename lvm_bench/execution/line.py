"""What a worker in another process says to its command: how its runs are going, in order, at most once a second."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from lvm_bench.errors import RunError, Stopped, UserError
from lvm_bench.execution.progress import Progress
from lvm_bench.suites.job import Job
from lvm_bench.text import of_error
from lvm_bench.training.tick import Tick

ATTEMPTS = 4  # of a run whose worker dies

EVERY = 1.0  # seconds between two words of a worker on the steps of its training

POLL = 0.5  # seconds between two looks of the command at its workers

Call = tuple[str, tuple[Any, ...]]  # a method of Listener, and its arguments


class Line:
    """The Listener of a worker: it hands every call on to `say`, of the steps of a training the newest alone."""

    def __init__(self, say: Callable[[list[Call]], object]):
        self._say = say
        self._ticks: list[Call] = []  # the newest one, until it is sent
        self._due = 0.0

    def flush(self) -> None:
        """Send the newest step where it is time to."""
        if time.monotonic() >= self._due:
            self._send()

    def tick(self, job: Job, tick: Tick) -> None:
        self._ticks = [("tick", (job, tick))]
        self.flush()

    def scoring(self, job: Job) -> None:
        self._send(("scoring", (job,)))

    def done(self, job: Job, seconds: float) -> None:
        self._send(("done", (job, seconds)))

    def declined(self, job: Job, reason: str) -> None:
        self._send(("declined", (job, reason)))

    def elsewhere(self, job: Job) -> None:
        self._send(("elsewhere", (job,)))

    def failed(self, name: str, reason: str) -> None:
        self._send(("failed", (name, reason)))

    def notice(self, job: Job, text: str) -> None:
        self._send(("notice", (job, text)))

    def about_data(self, job: Job, text: str) -> None:
        self._send(("about_data", (job, text)))

    def _send(self, *calls: Call) -> None:
        self._say([*self._ticks, *calls])
        self._ticks, self._due = [], time.monotonic() + EVERY


def tell(progress: Progress, calls: list[Call]) -> None:
    """Say on the command's side what a worker said."""
    for call, arguments in calls:
        getattr(progress, call)(*arguments)


class Deaths:
    """Counts how often the worker of a run has died."""

    def __init__(self, progress: Progress):
        self._progress, self._counts = progress, Counter[str]()

    def goes_on(self, jobs: list[Job]) -> bool:
        """Say that the worker of these jobs died; whether they are to be tried again. Else they have failed."""
        first = jobs[0]
        self._counts[first.name] += 1
        if self._counts[first.name] < ATTEMPTS:
            self._progress.notice(first, "Its worker died; another one goes on from its last checkpoint.")
            return True
        for job in jobs:
            self._progress.failed(job.name, f"its worker died {ATTEMPTS} times (out of memory?)")
        return False


def trouble_of(job: Job, cause: BaseException, advice: str = "") -> BaseException:
    """The error that the command raises for the error of a worker."""
    if isinstance(cause, Stopped | RunError | UserError):
        return cause
    said = f"{job.name}: a worker cannot work ({of_error(cause)}). {advice}"
    return RunError(f"{said.strip()} Whatever was finished is kept.")
