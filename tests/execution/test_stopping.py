"""A suite stops at a signal or when its time is up, and says so with its own exit code."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvm_bench import process
from lvm_bench.errors import Stopped, UserError
from lvm_bench.execution.stopping import ASKING, INTERRUPTED, RESUBMIT, ROOM, Stop, breakable, seconds_left, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3h55m", 14100), ("90m", 5400), ("1d12h", 129600), ("45s", 45), ("0s", 0), (" 2m ", 120), ("1d1h1m1s", 90061)],
)
def test_times_as_people_write_them(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@given(st.tuples(*[st.none() | st.integers(0, 999)] * 4).filter(any))
def test_the_parts_of_a_time_add_up(parts: tuple[int | None, ...]) -> None:
    text = "".join(f"{part}{unit}" for part, unit in zip(parts, "dhms", strict=True) if part is not None)
    expected = sum((part or 0) * unit for part, unit in zip(parts, (86400, 3600, 60, 1), strict=True))
    assert seconds_of(text) == expected


@given(st.text(max_size=30) | st.text("dhms0123456789", max_size=25))
def test_any_text_is_a_time_or_a_sentence(text: str) -> None:
    with suppress(UserError):
        assert seconds_of(text) >= 0


def test_the_budget_is_of_the_clock_that_does_not_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    stop = Stop(60)
    monkeypatch.setattr("time.time", lambda: 1e12)
    now = 159.9
    assert not stop()
    now = 160.0
    assert stop()
    assert (stop.reason, stop.exit_code) == ("The time budget is spent", RESUBMIT)


def test_the_first_reason_counts_and_nobody_waits_any_more() -> None:
    stop = Stop()
    assert not stop()
    stop.ask("A SIGTERM came")
    stop.ask("Ctrl-C was pressed", INTERRUPTED)
    assert stop()
    assert (stop.reason, stop.exit_code) == ("A SIGTERM came", RESUBMIT)
    stop.wait(1e6)


def test_waiting_ends_with_the_budget() -> None:
    Stop(0).wait(1e6)


def test_the_budget_began_with_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of a child: its parent waited before, and an import is part of the budget."""
    told = "from lvm_bench import process; print(process.seconds())"
    begun = time.monotonic()
    child = subprocess.run([sys.executable, "-c", f"sum(range(10**6)); {told}"], capture_output=True, check=True)
    assert 0 < float(child.stdout) <= time.monotonic() - begun + 0.02  # of a clock with ticks of 10 ms
    monkeypatch.setattr(process, "seconds", lambda: 100.0)
    assert seconds_left("5m") == 200 - ROOM


def test_as_much_is_left_of_the_budget_as_the_longest_step_took(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    stop = Stop(100)
    for now, ends in ((60.0, False), (61.0, False), (71.0, False), (89.9, True)):  # noqa: B007  (the clock)
        assert stop() == ends
    stop = Stop(100)
    now = 90.0
    stop()
    with stop.breakable():  # what needs no room: it ends at once
        now = 150.0
    now = 189.8
    assert not stop()


@pytest.mark.parametrize(
    ("number", "exit_code"), [*((kind, RESUBMIT) for kind in ASKING), (signal.SIGINT, INTERRUPTED)]
)
def test_a_signal_asks_to_stop_and_the_handlers_of_before_come_back(number: signal.Signals, exit_code: int) -> None:
    kinds = [*ASKING, signal.SIGINT, signal.SIGALRM]
    before = [signal.getsignal(kind) for kind in kinds]
    stop = Stop(1e6)
    with stop.signals():
        os.kill(os.getpid(), number)
        assert stop()
    assert stop.exit_code == exit_code
    assert stop.reason in ("Ctrl-C was pressed", f"A {number.name} came")
    assert [signal.getsignal(kind) for kind in kinds] == before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_under_nohup_a_hangup_is_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = Stop()
        with stop.signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("seconds", "number"), [(None, signal.SIGTERM), (None, signal.SIGINT), (0.01, None)])
def test_what_saves_nothing_is_left_at_once(seconds: float | None, number: int | None) -> None:
    stop = Stop(seconds)

    def work() -> None:
        with breakable(stop):
            os.kill(os.getpid(), number) if number else signal.pause()
            pytest.fail("was not left")

    with stop.signals(), pytest.raises(Stopped):
        work()
    with pytest.raises(Stopped), breakable(stop):
        pytest.fail("was begun though a stop was asked for")
    with breakable(lambda: True):
        pass


def test_the_second_ctrl_c_ends_the_process_at_once() -> None:
    stop = Stop()
    with stop.signals():
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def run_alone(code: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, with 0.1 s from a SIGTERM to its end."""
    start = "import hashlib, os, signal\nfrom lvm_bench.execution import stopping\nstopping.GRACE = 0.1\n"
    return subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, timeout=60)


# Each of them would take minutes; neither looks at the stop, and the first never comes back to Python's handlers.
@pytest.mark.parametrize("work", ["hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)", "for _ in range(10**10): pass"])
def test_a_process_ends_on_sigterm_whatever_it_computes(work: str) -> None:
    ended = run_alone(
        "import threading\n"
        "threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()\n"
        f"with stopping.Stop().signals():\n    {work}"
    )
    assert ended.returncode == RESUBMIT
    assert "A SIGTERM came" in ended.stderr
    assert "The same command goes on." in ended.stderr


def test_what_ends_in_time_is_not_watched_any_more_and_a_child_is_not_taken_for_its_parent() -> None:
    ended = run_alone(
        "import threading\n"
        "stop = stopping.Stop()\n"
        "with stop.signals():\n"
        "    if not os.fork():\n"
        "        os._exit(signal.set_wakeup_fd(-1) != -1)\n"
        "    _, status = os.wait()\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "print(status, threading.active_count(), signal.set_wakeup_fd(-1), stop.reason)"
    )
    assert (ended.returncode, ended.stdout) == (0, "0 1 -1 A SIGTERM came\n"), ended.stderr


def test_in_another_thread_signals_are_left_alone() -> None:
    seen: list[object] = []

    def look() -> None:
        with Stop().signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    run(look)
    assert seen == [signal.getsignal(signal.SIGTERM)]


def run(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()
