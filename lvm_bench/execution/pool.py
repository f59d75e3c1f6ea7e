"""Runs at a time in processes of this machine.

A worker process keeps its `Worker`, and with it the data of its last run. It takes jobs from a pipe, and says there how
they are going and what became of them. SIGTERM asks it to stop, as it asks a command.
"""

import math
import multiprocessing
import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import joblib
import torch

from lvm_bench import process, registry
from lvm_bench.errors import Stopped, UserError
from lvm_bench.execution.line import POLL, Call, Deaths, Line, tell, trouble_of
from lvm_bench.execution.progress import Progress
from lvm_bench.execution.stopping import GRACE, INTERRUPTED, Stop, exposed, sheltered
from lvm_bench.runs.standing import State
from lvm_bench.suites.job import Job, Suite
from lvm_bench.text import counted, size

if TYPE_CHECKING:
    from lvm_bench.execution.worker import Hire, Work, Worker

MEMORY = 2 * 2**30  # bytes that are left for a worker, or as many as the largest one has needed
_GPUS = "CUDA_VISIBLE_DEVICES"


def room(suite: Suite, device: str) -> int:
    """How many runs at a time use this machine: its cores over their threads, or its GPUs over `gpus_per_job`."""
    if device == "cuda":
        return max(1, math.floor(torch.cuda.device_count() / suite.running.gpus_per_job))
    return max(1, joblib.cpu_count() // max((job.training.threads for job in suite.jobs), default=1))


class Hand:
    """A worker process, as its command sees it."""

    def __init__(self, slot: int, hire: "Hire", files: list[Path], gpus: str | None):
        self.slot, self.group = slot, list[Job]()  # the jobs that it is at work on
        context = multiprocessing.get_context("spawn")
        self.pipe, end = context.Pipe()
        self.process: SpawnProcess = context.Process(target=serve, args=(end, hire, files))
        before = os.environ.get(_GPUS)
        try:
            if gpus is not None:
                os.environ[_GPUS] = gpus
            with sheltered():
                self.process.start()
        finally:
            if gpus is not None:
                os.environ.pop(_GPUS) if before is None else os.environ.update({_GPUS: before})
        end.close()  # so that the pipe ends with the process

    def give(self, jobs: list[Job]) -> None:
        """Let it begin; one that has died meanwhile is noticed when it is listened to."""
        self.group = jobs
        with suppress(OSError):
            self.pipe.send(jobs)

    def hear(self) -> tuple[str, Any]:
        """What it says next: ("said", calls), ("ended", states), ("raised", error), or ("died", None)."""
        try:
            said: tuple[str, Any] = self.pipe.recv()
        except (EOFError, OSError):
            return "died", None
        return said


class Pool:
    """At most N processes of this machine at work on a suite; each is started when there is a run for it."""

    def __init__(self, suite: Suite, device: str, jobs: int):
        self.suite, self.device, self.jobs = suite, device, jobs
        self.hands: list[Hand] = []
        self.is_told = False  # that memory holds fewer

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for hand in self.hands:
            hand.pipe.close()  # an idle worker ends with its pipe
            if kind is KeyboardInterrupt:
                hand.process.kill()
            elif hand.group:
                hand.process.terminate()
        for hand in self.hands:
            hand.process.join(GRACE + 2)
            if hand.process.is_alive():
                hand.process.kill()
                hand.process.join()

    def distribute(self, hire: "Hire", progress: Progress, stop: Stop) -> "Work":
        """A function that has jobs done by the workers. It raises Stopped, StorageError and UserError."""

        def work(jobs: list[Job]) -> Iterator[tuple[Job, State]]:
            return self._work(jobs, hire, progress, stop)

        return work

    def _work(self, jobs: list[Job], hire: "Hire", progress: Progress, stop: Stop) -> Iterator[tuple[Job, State]]:
        """Yields each job with its state when it ends. The jobs of a worker that died are given to another one."""
        from lvm_bench.execution.worker import groups

        waiting, deaths = deque(groups(jobs)), Deaths(progress)
        if len(waiting) == 1 and not self.hands:  # a process more would gain nothing
            yield from hire(progress, stop).work_all(jobs)
            return
        trouble: BaseException | None = None  # what ends all work, when every worker has saved its own
        while True:
            if trouble is None and stop():
                trouble = Stopped()
                self._ask_to_stop()
            while waiting and trouble is None and (hand := self._idle(hire, progress)):
                hand.give(waiting.popleft())
            at_work = {hand.pipe: hand for hand in self.hands if hand.group}
            if not at_work:
                break
            for pipe in wait([*at_work], timeout=POLL):
                assert isinstance(pipe, Connection)
                hand = at_work[pipe]
                kind, said = hand.hear()
                if kind == "said":
                    tell(progress, said)
                    continue
                group, hand.group = hand.group, []
                if kind == "ended":
                    yield from zip(group, said, strict=True)
                elif kind == "raised":
                    if isinstance(said, Stopped):
                        stop.ask("A worker was asked to stop")  # unless the command was asked before
                    if trouble is None or isinstance(trouble, Stopped):
                        trouble = trouble_of(group[0], said)
                    self._ask_to_stop()
                else:
                    self.hands.remove(hand)
                    hand.process.join()
                    if trouble is None and not stop():
                        if deaths.goes_on(group):
                            waiting.appendleft(group)
                        else:
                            yield from ((job, State.FAILED) for job in group)
        if trouble is not None:
            raise trouble

    def _ask_to_stop(self) -> None:
        for hand in self.hands:
            if hand.group:
                hand.process.terminate()

    def _idle(self, hire: "Hire", progress: Progress) -> Hand | None:
        """A worker without jobs, one that is started now where there may be more of them; None where all work."""
        for hand in self.hands:
            if not hand.group:
                return hand
        if len(self.hands) >= self.jobs:
            return None
        free, need = self._memory()
        if self.hands and free < need:
            if not self.is_told:
                progress.line(
                    f"Memory holds {counted(len(self.hands), 'run')} of {self.jobs} at a time: {size(max(free, 0))} "
                    f"are free, and another one needs {size(need)}."
                )
            self.is_told = True
            return None
        slot = min({*range(self.jobs)} - {hand.slot for hand in self.hands})
        files = [*registry.own_files(), *self.suite.loaded]
        self.hands.append(Hand(slot, hire, files, self._gpus(slot)))
        return self.hands[-1]

    def _memory(self) -> tuple[float, float]:
        """Bytes that are free beside what the workers at work may still take, and those that another one needs."""
        used = [process.memory(hand.process.pid or 0) for hand in self.hands]
        need = max([MEMORY, *(peak for _, peak in used)])
        return process.free_memory() - sum(max(need - now, 0) for now, _ in used), need

    def _gpus(self, slot: int) -> str | None:
        """The GPUs that a worker sees: its own, or the one that it shares; None on a CPU."""
        if self.device != "cuda":
            return None
        known = os.environ.get(_GPUS) or ",".join(map(str, range(torch.cuda.device_count())))
        each, names = self.suite.running.gpus_per_job, known.split(",")
        first = math.floor(slot * each) % len(names)
        return ",".join(names[first : first + math.ceil(each)])


def require_gpus(suite: Suite, device: str, jobs: int) -> None:
    """UserError where GPUs cannot be shared out as asked for."""
    each, count = suite.running.gpus_per_job, torch.cuda.device_count() if device == "cuda" else 0
    if device == "cuda" and each > 1 and each != int(each):
        raise UserError(f"gpus_per_job = {each}: a run gets a part of one GPU or whole ones. Give 1 or 2.")
    if device == "cuda" and jobs * each > count:
        raise UserError(
            f"--jobs {jobs}: {jobs} runs at a time of {each:g} GPUs each (`gpus_per_job`), and this machine has "
            f"{count}. Give fewer, or set gpus_per_job."
        )


def serve(pipe: Connection, hire: "Hire", files: list[Path]) -> None:
    """The life of a worker process: jobs from the pipe, one list after another, until it is closed."""
    stop = Stop()

    def say(calls: list[Call]) -> None:
        try:
            pipe.send(("said", calls))
        except OSError:
            stop.ask("The command has ended")

    try:
        with stop.signals(), suppress(Stopped, EOFError, OSError):
            exposed()
            for file in files:
                registry.load(file)
            worker = hire(Line(say), stop)
            while True:
                with stop.breakable():
                    jobs = pipe.recv()
                pipe.send(_outcome(worker, jobs))
    except KeyboardInterrupt:  # the second Ctrl-C
        os._exit(INTERRUPTED)


def _outcome(worker: "Worker", jobs: list[Job]) -> tuple[str, Any]:
    try:
        return "ended", [state for _, state in worker.work_all(jobs)]
    except (Exception, SystemExit) as error:
        return "raised", trouble_of(jobs[0], error)
