"""A worker takes one job after another and keeps what the jobs of a data set share."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from lvm_bench import disk
from lvm_bench.errors import DeviceError, Stopped, StorageError
from lvm_bench.execution.progress import Listener
from lvm_bench.execution.run import Context, RunAtWork
from lvm_bench.execution.task import Tasks, spec_of
from lvm_bench.modelling.contract import Method, resident
from lvm_bench.registry import METHODS
from lvm_bench.runs.lease import Lease, Leases
from lvm_bench.runs.standing import Left, Standing, State, folder_of, left, survey
from lvm_bench.suites.job import Job, RunningSettings
from lvm_bench.training import memory
from lvm_bench.training.numerics import fixed_numerics
from lvm_bench.training.state import Training
from lvm_bench.training.together import Apart, train_together


class Worker:
    """Works on one job after another, and keeps what the jobs of one data set share."""

    def __init__(
        self,
        results: Path,
        root: Path,
        device: str,
        running: RunningSettings,
        progress: Listener,
        stop: Callable[[], bool],
        given_up: dict[str, dict[str, Any]],
        resample: int = 0,
    ):
        self.results, self.device, self.progress, self.stop = results, device, progress, stop
        self.given_up = given_up  # the records of the failed runs that are to be tried again
        self.leases, self.tasks = Leases(), Tasks(root, device, progress.about_data)
        self.context = Context(device, running, progress, stop, resample, self.tasks)

    def work_all(self, jobs: list[Job]) -> Iterable[tuple[Job, State]]:
        """Work on jobs in order, and yield each with its state. Raises Stopped, StorageError and DeviceError."""
        for group in groups(jobs):
            ended = self.train_together(group) if len(group) > 1 else {}
            for job in group:
                if self.stop():
                    raise Stopped
                yield job, ended[job.name] if job.name in ended else self.work(job)

    def train_together(self, jobs: list[Job]) -> dict[str, State]:
        """Train the seeds of a method at a time where that is left to do; what became of those that failed.

        Each run is left as one that was trained alone. Raises Stopped, StorageError and DeviceError.
        """
        ended: dict[str, State] = {}
        with ExitStack() as held, fixed_numerics(jobs[0].training.threads):
            methods = {run: method for job in jobs for run, method in self._untrained(job, held)}
            if len(methods) < 2 or self.stop():
                return {}
            data, count = self.tasks(jobs[0]).data, len(methods)
            images, validation = (resident(split.pixels, self.device) for split in (data.train, data.validation))
            memory.forget_peak(self.device)
            trainings = {
                run: Training(
                    method,
                    run.job.training,
                    images,
                    run.job.seed,
                    run.tick,
                    run.checkpoints(data, count),
                    run.job.evaluation.weights,
                )
                for run, method in methods.items()
            }
            try:
                results = train_together([*trainings.values()], validation, self.stop)
            except Apart as error:
                first, *_ = trainings
                seeds = ", ".join(str(run.job.seed) for run in trainings)
                self.progress.notice(first.job, f"Seeds {seeds} are trained one after another: {error}.")
                return {}
            for run, result in zip(trainings, results, strict=True):
                try:
                    if isinstance(result, BaseException):
                        raise result
                    run.store(result, images)
                except (Stopped, StorageError):
                    raise
                except (Exception, SystemExit) as error:
                    ended[run.job.name] = self._failed(run, error)
        return ended

    def _untrained(self, job: Job, held: ExitStack) -> Iterator[tuple[RunAtWork, Method]]:
        """The run of a job and its method, if the run is to be trained. Its folder is held until `held` closes.

        What hinders a training is passed over: `work` finds it again.
        """
        lease = self._take(job)
        if lease is None:
            return
        held.enter_context(lease)
        standing = survey(job, self.results)
        if not self._left(job, standing).train:
            return
        run = RunAtWork(job, standing, self.context, lease)
        try:
            spec = spec_of(job, run.begin().data)
            method = run.built(spec)
            if METHODS[job.method_base].declines(spec) or not run.lacks_weights():
                return
            run.keep(State.RUNNING)
        except (Stopped, StorageError):
            raise
        except (Exception, SystemExit):
            return
        for notice in standing.notices:
            self.progress.notice(job, notice)
        yield run, method

    def _take(self, job: Job) -> Lease | None:
        """The right to work on the folder of a job; None while another runner has it."""
        return self.leases.take(disk.check_inside(self.results, folder_of(job, self.results)))

    def _left(self, job: Job, standing: Standing) -> Left:
        """The work that is left of a job. A failed job has none, unless it is to be tried again."""
        retried = standing.state == State.FAILED and standing.record == self.given_up.get(job.name)
        return left(standing, retry_failed=retried, resample=self.context.resample)

    def work(self, job: Job) -> State:
        """Do what is left to do of a job, and return how it stands then; RUNNING while another runner works on it.

        Raises Stopped, StorageError and DeviceError.
        """
        lease = self._take(job)
        if lease is None:
            return State.RUNNING
        with lease, fixed_numerics(job.training.threads):
            standing = survey(job, self.results)
            if not self._left(job, standing):
                if standing.state == State.FAILED:
                    self.progress.failed(job.name, f"{standing.record.get('reason', '')} (in another runner)")
                else:
                    self.progress.elsewhere(job)
                return standing.state
            for notice in standing.notices:
                self.progress.notice(job, notice)
            started = time.perf_counter()
            made = RunAtWork(job, standing, self.context, lease)
            try:
                outcome = made.score_control() if job.is_control else made.train_and_score()
            except (Stopped, StorageError):
                raise
            except (Exception, SystemExit) as error:
                return self._failed(made, error)
        if outcome == State.DONE:
            self.progress.done(job, time.perf_counter() - started)
        return outcome

    def _failed(self, run: RunAtWork, error: BaseException) -> State:
        """Note why a run failed. Raises DeviceError where it took the GPU with it."""
        outcome = run.failed(error)
        if self.device == "cuda":
            try:
                torch.cuda.synchronize()  # raises again what an index out of range, say, once raised
            except RuntimeError as lost:
                reason = str(lost).partition("\n")[0]
                raise DeviceError(
                    f"{run.job.name} failed, and with it the GPU for this process ({reason}). "
                    "Give the same command again: it goes on with the other runs."
                ) from lost
        return outcome


Work = Callable[[list[Job]], Iterable[tuple[Job, State]]]

Hire = Callable[[Listener, Callable[[], bool]], Worker]


def groups(jobs: list[Job]) -> list[list[Job]]:
    """Jobs that differ in nothing but the seed, at most `seeds_per_batch` together; every other job by itself."""
    made: list[list[Job]] = []
    latest: dict[str, list[Job]] = {}
    for job in jobs:
        most = 1 if job.is_control else job.training.seeds_per_batch
        alike = latest.get(job.name.rpartition("/")[0], [])
        if not alike or len(alike) >= most:
            alike = latest[job.name.rpartition("/")[0]] = []
            made.append(alike)
        alike.append(job)
    return made
