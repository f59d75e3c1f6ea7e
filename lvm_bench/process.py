"""What the system tells of processes: when they started, whether they still run, and the memory they have."""

import math
import os
import time
from contextlib import suppress
from pathlib import Path

_LOADED = time.monotonic()

_GROUPS = Path("/sys/fs/cgroup")

# Files of a control group, of version 2 and 1: the limit, what is used, and what of it the system would give back.
_LIMITS = (
    ("memory.max", "memory.current", "inactive_file "),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file "),
)


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


def memory(pid: int) -> tuple[int, int]:
    """Bytes that a process has now and had at most, as Linux tells them; zeros elsewhere, and where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    found = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    now, most = (int(found.get(name, 0)) * 1024 for name in ("VmRSS", "VmHWM"))
    return now, most


def free_memory() -> float:
    """Bytes that processes may still take, of this machine and of its control group; infinite where nothing tells."""
    free = math.inf
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = int(next(line.split()[1] for line in lines if line.startswith("MemAvailable"))) * 1024.0
    for limit, used, cached in _LIMITS:
        with suppress(OSError, ValueError, StopIteration):  # no such group, or one without a limit ("max")
            stat = (_GROUPS / used).parent.joinpath("memory.stat").read_text().splitlines()
            kept = int(next(line.split()[1] for line in stat if line.startswith(cached)))
            free = min(free, int((_GROUPS / limit).read_text()) - int((_GROUPS / used).read_text()) + kept)
    return free


def _stat(pid: int | str) -> tuple[str, str]:
    """The state and the start of a process as Linux tells them; two empty texts elsewhere."""
    try:
        if pid != "self" and os.readlink("/proc/self") != str(os.getpid()):
            return "", ""  # its numbers are those of another namespace
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()  # a name may hold brackets
        return fields[0].decode(), fields[19].decode()
    except (OSError, IndexError):
        return "", ""
