"""A worker takes one job after another and keeps what the jobs of a data set share."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from lvm_bench import disk
from lvm_bench.errors import DeviceError, Stopped, StorageError, UserError
from lvm_bench.execution.progress import Listener
from lvm_bench.execution.run import Outcome, RunAtWork
from lvm_bench.execution.task import Task, extractor_of, load_data, spec_of
from lvm_bench.modelling.contract import Method, resident
from lvm_bench.registry import METHODS
from lvm_bench.runs.lease import Leases
from lvm_bench.runs.record import FINISHED
from lvm_bench.runs.standing import folder_of, missing_redraws, survey
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
        self.results, self.root, self.device = results, root, device
        self.running, self.progress, self.stop = running, progress, stop
        self.given_up = given_up  # the records of the failed runs that are to be tried again
        self.resample = resample  # further evaluations of each trained run
        self.claims = Leases()
        self._task: tuple[str, Task | UserError] | None = None

    def work_all(self, jobs: list[Job]) -> Iterable[tuple[Job, Outcome]]:
        """What became of each job, in order. Raises Stopped, StorageError and DeviceError."""
        for group in groups(jobs):
            ended = self.train_together(group) if len(group) > 1 else {}
            for job in group:
                if self.stop():
                    raise Stopped
                yield job, ended[job.name] if job.name in ended else self.work(job)

    def train_together(self, jobs: list[Job]) -> dict[str, Outcome]:
        """Train the seeds of a method at a time where that is left to do; what became of those that failed.

        Each run is left as one that was trained alone. Raises Stopped, StorageError and DeviceError.
        """
        ended: dict[str, Outcome] = {}
        with ExitStack() as held, fixed_numerics(jobs[0].training.threads):
            methods = {run: method for job in jobs for run, method in self._untrained(job, held)}
            if len(methods) < 2 or self.stop():
                return {}
            data, count = self.task(jobs[0]).data, len(methods)
            images, validation = (resident(split.pixels, self.device) for split in (data.train, data.validation))
            memory.forget_peak(self.device)
            trainings = {
                run: Training(method, run.job.training, images, run.job.seed, run.tick, run.checkpoints(data, count))
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
                    if isinstance(result, Exception):
                        raise result
                    run.store(result, images)
                except (Stopped, StorageError):
                    raise
                except Exception as error:
                    ended[run.job.name] = self._failed(run, error)
        return ended

    def _untrained(self, job: Job, held: ExitStack) -> Iterator[tuple[RunAtWork, Method]]:
        """The run of a job, claimed, and its method, if it is to be trained; what is in the way `work` finds again."""
        folder = disk.check_inside(self.results, folder_of(job, self.results))
        claim = self.claims.claim(folder)
        if claim is None:
            return
        held.enter_context(claim)
        standing = survey(job, self.results)
        retried = standing.state == "failed" and standing.record == self.given_up.get(job.name)
        if standing.state not in ("new", "begun") and not retried:
            return
        run = RunAtWork(job, folder, standing, self, claim)
        try:
            spec = spec_of(job, run.begin().data)
            method = run.built(spec)
            if METHODS[job.method_base].declines(spec) or not run.lacks_weights():
                return
            run.keep("running")
        except (Stopped, StorageError):
            raise
        except Exception:
            return
        for notice in standing.notices:
            self.progress.notice(job, notice)
        yield run, method

    def work(self, job: Job) -> Outcome:
        """Do what is left to do of a job; "busy" when another runner does.

        Raises Stopped, StorageError and DeviceError.
        """
        folder = disk.check_inside(self.results, folder_of(job, self.results))
        claim = self.claims.claim(folder)
        if claim is None:
            return "busy"
        with claim, fixed_numerics(job.training.threads):
            standing = survey(job, self.results)
            short = missing_redraws(job, standing, self.results, self.resample) > 0
            if standing.state in FINISHED and not short:
                self.progress.elsewhere(job)
                return "done"
            if standing.state == "failed" and standing.record != self.given_up.get(job.name):
                self.progress.failed(job.name, f"{standing.record.get('reason', '')} (in another runner)")
                return "failed"
            for notice in standing.notices:
                self.progress.notice(job, notice)
            started = time.perf_counter()
            made = RunAtWork(job, folder, standing, self, claim)
            try:
                outcome = made.score_control() if job.is_control else made.train_and_score()
            except (Stopped, StorageError):
                raise
            except Exception as error:
                return self._failed(made, error)
        if outcome == "done":
            self.progress.done(job, time.perf_counter() - started)
        return outcome

    def _failed(self, run: RunAtWork, error: Exception) -> Outcome:
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

    def task(self, job: Job) -> Task:
        """The data and the feature space of a job, loaded anew when they are not those of the job before."""
        training, evaluation = job.training, job.evaluation
        key = disk.digest(
            [
                job.dataset_base,
                job.options,
                training.train_images,
                training.validation_images,
                training.threads,
                evaluation.model_dump(),
            ]
        )
        if self._task is None or self._task[0] != key:
            self._task = None  # frees the memory of the last one first
            try:
                data = load_data(job, self.root)
                extractor = extractor_of(job, data, self.root, self.device)
                self._task = (key, Task(data, extractor))
            except UserError as error:  # once for all jobs of this data set
                self._task = (key, error)
        if isinstance(self._task[1], UserError):
            raise self._task[1]
        return self._task[1]


Work = Callable[[list[Job]], Iterable[tuple[Job, Outcome]]]

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
