"""What is done inside a process of the command line before it begins: each function sets up a fault in it."""

import os
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

STEPS = ("replace", "rename", "link", "fsync", "unlink", "pwrite")  # of os: what changes what stands on disk
OURS = ("aae", "seed-0")  # the end of the path of the run that is meant


def crash_at(k: int, steps: Path) -> None:
    """End this process before the k-th of the calls that change what stands on disk; 0 counts them into `steps`."""
    from lvm_bench.training import checkpoint

    checkpoint.SHARE = 1e9  # a checkpoint after every step: their number must not depend on the clock
    done = 0

    def counted(call: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object, **named: object) -> object:
            nonlocal done
            done += 1
            if k == 0:
                steps.write_text(str(done))
            elif done == k:
                os._exit(137)
            return call(*arguments, **named)

        return step

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))


def die_after(name: str, times: int) -> None:
    """End this process once the file of that name of the AAE's run was written so many times."""
    from lvm_bench.training import checkpoint

    checkpoint.SHARE = 1e9  # a checkpoint after every step
    replace, seen = os.replace, 0

    def counted(source: str | Path, target: str | Path) -> None:
        nonlocal seen
        replace(source, target)
        seen += Path(target).parts[-3:] == (*OURS, name)
        if seen == times:
            os._exit(137)

    os.replace = counted  # type: ignore[assignment]


def signal_after(number: int, is_ignored: bool) -> None:
    """Send this process a signal, which it may have ignored from the start, once it has written a checkpoint."""
    if is_ignored:
        signal.signal(number, signal.SIG_IGN)
    replace, sent = os.replace, False

    def watched(source: str | Path, target: str | Path) -> None:
        nonlocal sent
        replace(source, target)
        if not sent and Path(target).parts[-3:] == (*OURS, "resume.safetensors"):
            sent = True
            os.kill(os.getpid(), number)

    os.replace = watched  # type: ignore[assignment]


def hasten() -> None:
    """In this process a lease is void after 2 s without a sign of life, and waiting is said at once."""
    from lvm_bench.execution import progress, suite
    from lvm_bench.runs import lease

    lease.TOUCH, lease.STALE, lease.CONFIRM = 0.2, 2.0, 2.0
    suite.POLL, progress.PLAIN_EVERY = 0.1, 0.0


def jump() -> None:
    """In this process the clock of the day jumps by hours, forth and back, at every look."""
    hasten()
    told, draw = time.time, random.Random(0)
    time.time = lambda: told() + 3600 * draw.randint(-24, 24)


def limit_files(most: int) -> None:
    """In this process no file grows beyond so many bytes, as if the disk were full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
