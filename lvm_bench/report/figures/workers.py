"""Figures are drawn several at a time: here, and by worker processes, each of which imports matplotlib once.

The bytes of a figure depend on what it shows alone, and not on the process that draws it.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import joblib

from lvm_bench.output import tracked
from lvm_bench.suites import labels

FEWEST = 5  # tasks for which workers are started: until one is ready, three figures are drawn here
MOST = 8  # processes: each takes 200 MiB

Task = Callable[[], object]


class Workers:
    """Keeps tasks until `finish` does them, at most `jobs` at a time; for few of them no worker is started."""

    def __init__(self, jobs: int):
        self._jobs = min(jobs, MOST)
        self._tasks: list[Task] = []
        self._pool: ProcessPoolExecutor | None = None

    def add(self, task: Task) -> None:
        """Keep a task, which must be one that can be pickled."""
        self._tasks.append(task)

    def finish(self, words: str = "") -> None:
        """Do every task that was kept; raises what one of them raises. With `words`, show how far it is."""
        tasks, self._tasks = self._tasks, []
        if self._jobs == 1 or len(tasks) < FEWEST:
            for task in tracked(tasks, words) if words else tasks:
                task()
            return
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._jobs - 1, context, _begin)
        todo = [(task, self._pool.submit(_done, task, labels.current())) for task in tasks]
        try:
            backwards = todo[::-1]  # as the workers begin with the first
            for task, future in tracked(backwards, words) if words else backwards:
                if future.cancel():
                    task()
            for task, future in todo:
                if not future.cancelled() and isinstance(error := future.exception(), BrokenProcessPool):
                    self._pool = None
                    task()  # its worker was killed
                elif not future.cancelled() and error is not None:
                    raise error
        finally:
            for _, future in todo:
                future.cancel()

    def close(self) -> None:
        """End the workers."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


_AT_WORK: ContextVar[Workers | None] = ContextVar("workers", default=None)


@contextmanager
def at_work(jobs: int | None) -> Iterator[None]:
    """Inside this context, tasks are kept until `finish` or its end, and done at most `jobs` at a time.

    None stands for as many as this machine has cores.
    """
    workers = Workers(jobs or joblib.cpu_count())
    token = _AT_WORK.set(workers)
    try:
        yield
        workers.finish()
    finally:
        _AT_WORK.reset(token)
        workers.close()


def do(function: Callable[..., object], *arguments: Any) -> None:
    """Call a function of a module: within `at_work` when it is time to `finish`, elsewhere now."""
    workers = _AT_WORK.get()
    if workers is None:
        function(*arguments)
    else:
        workers.add(partial(function, *arguments))


def finish(words: str = "") -> None:
    """Return when all that `do` was given is done. With `words`, show how far it is."""
    workers = _AT_WORK.get()
    if workers is not None:
        workers.finish(words)


def _begin() -> None:
    """The start of a worker: Ctrl-C is its command's, and when that ends, so does the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_command, daemon=True).start()


def _end_with_command() -> None:
    command = multiprocessing.parent_process()
    assert command is not None
    command.join()
    os._exit(1)


def _done(task: Task, known: labels.Known) -> None:
    """Do a task with the labels of its command."""
    with labels.using(known):
        task()
