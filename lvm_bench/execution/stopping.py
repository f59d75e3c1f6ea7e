"""The reasons to stop a suite early: a signal, or the end of its time. Everything is saved first."""

import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lvm_bench.errors import UserError

RESUBMIT = 75  # sysexits' EX_TEMPFAIL: the same command goes on

INTERRUPTED = 130  # what shells give for Ctrl-C

_BUDGET = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def seconds_of(budget: str) -> float:
    """The seconds of a time such as 3h55m, 90m or 1d12h; UserError for anything else."""
    found = _BUDGET.fullmatch(budget.strip())
    if not found or not any(found.groups()) or len(budget) > 20:
        raise UserError(
            f"--time-budget {budget[:20]!r}: write days, hours, minutes, seconds, for instance 3h55m or 90m."
        )
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


class Stop:
    """Calling it tells whether to stop; `reason` and `exit_code` then say why."""

    def __init__(self, seconds: float | None = None):
        self.reason, self.exit_code = "", RESUBMIT
        self._end = None if seconds is None else time.monotonic() + seconds
        self._asked = threading.Event()

    def __call__(self) -> bool:
        if self._end is not None and time.monotonic() >= self._end:
            self.ask("The time budget is spent")
        return self._asked.is_set()

    def ask(self, reason: str, exit_code: int = RESUBMIT) -> None:
        """Ask to stop; the first reason counts."""
        if not self._asked.is_set():
            self.reason, self.exit_code = reason, exit_code
        self._asked.set()

    def wait(self, seconds: float) -> None:
        """Wait so long, or until asked to stop by a signal or by the budget."""
        left = seconds if self._end is None else min(seconds, max(0.0, self._end - time.monotonic()))
        self._asked.wait(left)

    @contextmanager
    def signals(self) -> Iterator[None]:
        """SIGTERM and the first Ctrl-C ask to stop; the second Ctrl-C ends the process at once."""

        def terminate(number: int, frame: FrameType | None) -> None:
            self.ask("A SIGTERM came")

        def interrupt(number: int, frame: FrameType | None) -> None:
            if self._asked.is_set():
                raise KeyboardInterrupt
            self.ask("Ctrl-C was pressed", INTERRUPTED)

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, handler) for number, handler in (
            (signal.SIGTERM, terminate), (signal.SIGINT, interrupt),
        )}  # fmt: skip
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
