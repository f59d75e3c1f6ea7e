"""The reasons to stop a suite early: a signal, or the end of its time. Everything is saved first."""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lvm_bench.errors import UserError

RESUBMIT = 75  # sysexits' EX_TEMPFAIL: the same command goes on

INTERRUPTED = 130  # what shells give for Ctrl-C

GRACE = 8.0  # seconds from a SIGTERM to the end, whatever is computed: schedulers kill after ten or more

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
        """SIGTERM and the first Ctrl-C ask to stop; the second Ctrl-C ends the process at once.

        8 s after a SIGTERM the process ends at any rate: files are written whole or not at all, so that nothing breaks.
        """

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
            with self._bounded():
                yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """Inside this context a SIGTERM ends the process after `GRACE`, unless the context ends before.

        Python's own handlers wait for the main thread, which may be in one long call. The bytes that the system's
        handler writes for each signal do not.
        """
        receiver, sender = os.pipe()
        os.set_blocking(sender, False)
        ended = threading.Event()

        def watch() -> None:
            while signal.SIGTERM not in os.read(receiver, 1):
                if ended.is_set():
                    return
            if not ended.wait(GRACE):
                _say_what_was_cut()
                os._exit(self.exit_code)

        watcher = threading.Thread(target=watch, name="watch for SIGTERM", daemon=True)
        before = signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
        _watched.append(sender)
        watcher.start()
        try:
            yield
        finally:
            _watched.remove(sender)
            signal.set_wakeup_fd(before)
            ended.set()
            os.write(sender, b"\0")
            watcher.join()
            os.close(sender)
            os.close(receiver)


_watched: list[int] = []  # where the system's handler writes


def _leave_to_parent() -> None:
    """In a forked process: what comes there is not for its parent."""
    if _watched:
        signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_leave_to_parent)


def _say_what_was_cut() -> None:
    """The last line on stderr, with the cursor that a live display may have hidden."""
    text = (
        f"A SIGTERM came {GRACE:.0f} s ago: what was under way is cut off, and whatever was finished is saved. "
        "The same command goes on."
    )
    os.write(2, f"\n{chr(27) + '[?25h' if sys.stderr.isatty() else ''}{text}\n".encode())
