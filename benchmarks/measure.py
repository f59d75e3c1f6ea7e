"""Seconds of two sides in turn, the memory of one call, and differences of results."""

import contextlib
import io
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from typing import Any, TypeVar

import numpy as np

from benchmarks.rows import NotMeasured

Ours, Theirs = TypeVar("Ours"), TypeVar("Theirs")


def threads() -> int:
    """The number of threads of both sides: OMP_NUM_THREADS, else one per core of this process."""
    return int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))


def timed(action: Callable[[], Ours]) -> tuple[float, Ours]:
    """The wall-clock seconds of a call, and its result."""
    start = time.perf_counter()
    result = action()
    return time.perf_counter() - start, result


def taking_turns(
    ours: Callable[[], Ours], theirs: Callable[[], Theirs], repeats: int, warm: bool = True
) -> tuple[list[float], list[float], Ours, Theirs]:
    """Seconds of each repeat of both sides, and their last results. `warm` calls each once beforehand."""
    mine, others, _, a, b = beside_limit(ours, theirs, lambda: 0.0, repeats, warm)
    return mine, others, a, b


def beside_limit(
    ours: Callable[[], Ours],
    theirs: Callable[[], Theirs],
    limit: Callable[[], float],
    repeats: int,
    warm: bool = True,
) -> tuple[list[float], list[float], list[float], Ours, Theirs]:
    """`taking_turns`, with the seconds of the limit of each repeat in the third place."""
    if warm:
        ours(), theirs(), limit()
    turns = [(timed(ours), timed(theirs), limit()) for _ in range(repeats)]
    (_, a), (_, b), _ = turns[-1]
    return [turn[0][0] for turn in turns], [turn[1][0] for turn in turns], [turn[2] for turn in turns], a, b


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median over repeats of the ratio of both sides, which are measured one right after the other."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def relative(a: Any, b: Any) -> float:
    """The largest difference of two arrays, as a share of the largest value of the second."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return float(np.abs(a - b).max() / np.abs(b).max())


def peak_memory(prepare: Callable[..., Callable[[], object]], *arguments: Any) -> float:
    """The MiB that a call adds to the memory of its own process. `prepare` returns the call.

    The least of three processes, because the spare memory of an allocator varies.
    """
    found = []
    for _ in range(3):
        with get_context("spawn").Pool(1) as pool:
            found.append(pool.apply(_growth, (prepare, *arguments)))
            pool.close()
            pool.join()  # KeOps saves its compiled code when its process ends
    return min(found)


def _growth(prepare: Callable[..., Callable[[], object]], *arguments: Any) -> float:
    from lvm_bench.training import memory

    action = prepare(*arguments)
    memory.forget_peak("cpu")  # not ru_maxrss, which a new process inherits from its parent
    before = memory.peak("cpu")
    action()
    after = memory.peak("cpu")
    if before is None or after is None:
        raise NotMeasured("this system does not tell the peak of a process")
    return float(after - before)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside this context packages print no progress."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
