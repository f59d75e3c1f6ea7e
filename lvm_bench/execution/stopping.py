"""When a suite stops before it is done: at a signal, or before its time is up; everything is saved first."""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType

from lvm_bench import process
from lvm_bench.errors import Stopped, UserError

RESUBMIT = 75  # sysexits' EX_TEMPFAIL: the same command goes on

INTERRUPTED = 130  # what shells give for Ctrl-C

GRACE = 8.0  # seconds from such a signal to the end, whatever is computed: schedulers kill after ten or more
ROOM = 5.0  # seconds at the end of a time budget for the last checkpoint, the last lines and the end of the process

ASKING = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP") if hasattr(signal, name)
)  # what the schedulers of shared machines send before they end a job

_SHELTERED = (*ASKING, signal.SIGINT)

SPENT = "The time budget is spent"

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


def seconds_left(budget: str) -> float:
    """The seconds until work must end so that a process, which may have started a while ago, ends within its budget."""
    return seconds_of(budget) - process.seconds() - ROOM


class Stop:
    """Calling it tells whether to stop; `reason` and `exit_code` then say why.

    Of `seconds` from now on, as much is left at the end as the longest time between two calls: the next may take as
    long.
    """

    def __init__(self, seconds: float | None = None):
        self.reason, self.exit_code = "", RESUBMIT
        self._end = None if seconds is None else time.monotonic() + seconds
        self._called: float | None = None  # when it was called last
        self._longest = 0.0  # seconds between two calls
        self._asked = threading.Event()
        self._is_breakable = False

    def __call__(self) -> bool:
        if self._end is not None:
            now = time.monotonic()
            if self._called is not None:
                self._longest = max(self._longest, now - self._called)
            self._called = now
            if now + self._longest >= self._end:
                self.ask(SPENT)
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
    def breakable(self) -> Iterator[None]:
        """Inside this context signals and the end of the budget raise Stopped at once: nothing in it is to be saved."""
        self._is_breakable = True
        try:
            if self._asked.is_set():
                raise Stopped
            yield
        finally:
            self._is_breakable, self._called = False, None

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Each signal of ASKING and the first Ctrl-C ask to stop; the second Ctrl-C ends the process at once.

        8 s after a signal of ASKING the process ends at any rate: files are written whole or not at all, so that
        nothing breaks. A SIGHUP that was ignored before, as under `nohup`, stays ignored.
        """

        def ask(reason: str, exit_code: int = RESUBMIT) -> None:
            self.ask(reason, exit_code)
            if self._is_breakable:
                self._is_breakable = False  # it is raised once
                raise Stopped

        def terminate(number: int, frame: FrameType | None) -> None:
            ask(f"A {signal.Signals(number).name} came")

        def interrupt(number: int, frame: FrameType | None) -> None:
            if self._asked.is_set():
                raise KeyboardInterrupt
            ask("Ctrl-C was pressed", INTERRUPTED)

        def ring(number: int, frame: FrameType | None) -> None:
            ask(SPENT)

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        kinds = [kind for kind in ASKING if kind.name != "SIGHUP" or signal.getsignal(kind) != signal.SIG_IGN]
        handlers = dict.fromkeys(kinds, terminate) | {signal.SIGINT: interrupt}
        rings = None if self._end is None or not hasattr(signal, "SIGALRM") else self._end - time.monotonic()
        if rings is not None:
            handlers[signal.SIGALRM] = ring
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            if rings is not None:
                signal.setitimer(signal.ITIMER_REAL, max(rings, 1e-3))
            with self._bounded():
                yield
        finally:
            if rings is not None:
                signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """Inside this context a signal of ASKING ends the process after `GRACE`, unless the context ends before.

        Python's own handlers wait for the main thread, which may be in one long call. The bytes that the system's
        handler writes for each signal do not.
        """
        receiver, sender = os.pipe()
        os.set_blocking(sender, False)
        ended = threading.Event()

        def watch() -> None:
            while (number := os.read(receiver, 1)[0]) not in ASKING:
                if ended.is_set():
                    return
            if not ended.wait(GRACE):
                _say_what_was_cut(signal.Signals(number))
                os._exit(self.exit_code)

        watcher = threading.Thread(target=watch, name="watch for signals", daemon=True)
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


def _say_what_was_cut(came: signal.Signals) -> None:
    """The last line on stderr, with the cursor that a live display may have hidden."""
    text = (
        f"A {came.name} came {GRACE:.0f} s ago: what was under way is cut off, and whatever was finished is saved. "
        "The same command goes on."
    )
    os.write(2, f"\n{chr(27) + '[?25h' if sys.stderr.isatty() else ''}{text}\n".encode())


@contextmanager
def sheltered() -> Iterator[None]:
    """Processes that are started meanwhile begin with the signals of `_SHELTERED` held back, until they are `exposed`.

    Whoever stops the command sends them to all its processes. Ray takes the command's own SIGTERM for itself; it is
    given back.
    """
    handler = signal.getsignal(signal.SIGTERM)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SHELTERED)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def exposed() -> None:
    """Let the signals through that were held back when this process was started."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SHELTERED)


def breakable(stop: Callable[[], bool]) -> AbstractContextManager[None]:
    """`stop.breakable()` of a Stop; another way to tell, such as a worker's to its command, is asked now and then."""
    return stop.breakable() if isinstance(stop, Stop) else nullcontext()
