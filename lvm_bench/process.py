"""What the system tells of a process: when it started, and whether it still runs."""

import os
import time
from contextlib import suppress
from pathlib import Path

_LOADED = time.monotonic()


def started(pid: int) -> str:
    """When a process started, in clock ticks since this machine did; "" where it has ended or nothing tells.

    Two processes that have the same number one after the other differ in it.
    """
    state, ticks = _stat(pid)
    return "" if state in ("Z", "X") else ticks


def has_ended(pid: int, start: str) -> bool:
    """Whether no process of this number runs that started then; one that has ended and is not yet reaped has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is another user's
        pass
    state, ticks = _stat(pid)
    return state in ("Z", "X") or bool(start and ticks and start != ticks)


def seconds() -> float:
    """How long this process has been running; where the system does not tell, since this module was loaded."""
    with suppress(OSError, ValueError, AttributeError):  # a system without that clock
        ticks = int(_stat("self")[1])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - _LOADED


def _stat(pid: int | str) -> tuple[str, str]:
    """The state and the start of a process as Linux tells them; two empty texts elsewhere."""
    try:
        if pid != "self" and os.readlink("/proc/self") != str(os.getpid()):
            return "", ""  # its numbers are those of another namespace
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()  # a name may hold brackets
        return fields[0].decode(), fields[19].decode()
    except (OSError, IndexError):
        return "", ""
