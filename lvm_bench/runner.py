"""Jobs -> train -> evaluate -> store. What is finished is skipped; a failing run does not stop the others.

Whoever works on a run has claimed its folder, so that any number of runners can share one results folder.
"""

import dataclasses
import datetime
import hashlib
import importlib.metadata
import platform
import subprocess
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lvm_bench import __version__, claims, memory, records, store
from lvm_bench.checkpoint import NAMES, Checkpoints
from lvm_bench.claims import Claim, Claims, Lost
from lvm_bench.config import Job, Running, Suite
from lvm_bench.contract import Method, Spec, resident
from lvm_bench.data.files import fetchable, require
from lvm_bench.data.images import Data, load
from lvm_bench.errors import DeviceError, RunError, Stopped, StorageError, UserError
from lvm_bench.evaluate import (
    TRAVERSAL,
    Evidence,
    ModelEvidence,
    RealImages,
    Scores,
    StandardNormal,
    evaluate,
    needs_features,
    seconds_before,
)
from lvm_bench.features import Extractor, Request
from lvm_bench.networks import layers
from lvm_bench.progress import Listener, Progress, Tick
from lvm_bench.records import CODES, FINISHED, IMAGES, REDRAWING, REDRAWN, TRAINED, WEIGHTS
from lvm_bench.registry import DATASETS, EXTRACTORS, METHODS, source_file, where
from lvm_bench.seeding import derive
from lvm_bench.stopping import Stop
from lvm_bench.together import Apart, train_together
from lvm_bench.train import Trained, Training, build, encode, fixed_numerics, train

PICTURES = 16  # images of each kind kept for the figures
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "torch-fidelity")
UNFINISHED = ("new", "begun", "trained")
POLL = 2.0  # seconds between two looks at runs that others work on
Outcome = Literal["done", "declined", "failed", "busy"]


@dataclass
class Standing:
    """How far a run is, by its folder alone; `notices` name what was found damaged."""

    state: Literal["new", "begun", "trained", "done", "declined", "failed"]
    record: dict[str, Any] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


class OtherData(RunError):
    """A run that was begun with other images."""


class Task(NamedTuple):
    """What the runs of a data set share: its images and the feature space."""

    data: Data
    extractor: Extractor | None


def run(
    suite: Suite,
    results: Path,
    root: Path,
    device: str,
    progress: Progress,
    stop: Stop,
    *,
    retry_failed: bool = False,
    resample: int = 0,
    distribute: Callable[["Hire", Progress, Stop], "Work"] | None = None,
) -> int:
    """Run every job of a suite that is not finished; returns how many runs stand as failed at the end.

    Of each trained run `resample` further evaluations are made, each with other random draws.
    The work is done here, one job after another, unless `distribute` has it done by workers that it hires elsewhere.
    Raises UserError before any work when the folder holds runs with other settings, Stopped when asked to.
    """
    folder = results / suite.name
    store.check_writable(store.check_inside(results, folder))
    pairs = surveyed(suite, results)
    todo = [job for job, standing in pairs if is_left(job, standing, results, retry_failed, resample)]
    require_files(todo, root)
    require_precision(todo, device)
    own = [standing.state for job, standing in pairs if not job.is_control]
    progress.start(len(own), sum(state in FINISHED for state in own), sum(not job.is_control for job in todo))
    for job, file in _of_another_file(pairs):
        progress.notice(job, f"{file} has changed since: scores stay those of before. To train anew, delete the runs.")
    for method, reason in suite.broken.items():
        progress.failed(method, reason)
    given_up = {job.name: standing.record for job, standing in pairs if standing.state == "failed"}
    retried = given_up if retry_failed else {}
    hire = partial(Worker, results, root, device, suite.running, given_up=retried, resample=resample)
    worker = hire(progress, stop)
    for job, standing in pairs:
        if standing.state not in UNFINISHED:
            worker.claims.tidy(folder_of(job, results))
    try:
        work = distribute(hire, progress, stop) if distribute else worker.work_all
        outcomes = share(todo, results, work, progress, stop)
    except Stopped:
        left = sum(standing.state in UNFINISHED for standing in survey_all(suite.jobs, results))
        progress.stopped(stop.reason, left, len(suite.jobs))
        raise
    finally:
        progress.live.stop()  # it hides the terminal's cursor
    progress.stop()
    if not retry_failed:
        for name, record in given_up.items():
            progress.failed(name, f"{record.get('reason', '')} (before; --retry-failed tries it again)")
    return len(suite.broken) + list(outcomes.values()).count("failed") + (0 if retry_failed else len(given_up))


def _of_another_file(pairs: list[tuple[Job, Standing]]) -> list[tuple[Job, Path]]:
    """Of each method whose file changed after a run the first such run on a data set, and that file."""
    trained = [
        (job, standing) for job, standing in pairs if standing.state in ("done", "trained") and not job.is_control
    ]
    codes = {name: _code(job) for name, job in {job.method_base: job for job, _ in trained}.items()}
    found: dict[tuple[str, str], Job] = {}
    for job, standing in trained:
        code = codes[job.method_base]
        if standing.record["environment"]["versions"].get("method", code) != code:
            found.setdefault((job.dataset, job.method), job)
    return [(job, Path(source_file(METHODS[job.method_base]))) for job in found.values()]


def require_precision(todo: list[Job], device: str) -> None:
    """UserError for TF32 on a CPU, which has none: runs would be recorded as what they are not."""
    if device == "cpu" and any(job.training.precision == "tf32" for job in todo if not job.is_control):
        raise UserError('precision = "tf32": a CPU has no TF32. Use "float32" or "bf16", or --device cuda.')


def surveyed(suite: Suite, results: Path) -> list[tuple[Job, Standing]]:
    """How far each run of a suite is, controls first; UserError naming every run that has other settings."""
    everything = [*suite.controls, *suite.jobs]
    return list(zip(everything, survey_all(everything, results), strict=True))


def is_left(job: Job, standing: Standing, results: Path, retry_failed: bool, resample: int) -> bool:
    """Whether `run` works on a run that stands so."""
    if retry_failed:
        return standing.state == "failed"
    return standing.state in UNFINISHED or missing_redraws(job, standing, results, resample) > 0


def share(
    todo: list[Job],
    results: Path,
    work: "Work",
    progress: Progress,
    stop: Stop,
) -> dict[str, Outcome]:
    """Work on jobs until none is left that another runner has claimed; its jobs are taken over if it dies."""
    outcomes: dict[str, Outcome] = {}
    while todo:
        found = list(work(todo))
        outcomes |= {job.name: outcome for job, outcome in found}
        busy = [job for job, outcome in found if outcome == "busy"]
        if stop():
            raise Stopped
        if busy:
            whose = {_whose(claims.holder(folder_of(job, results))) for job in busy}
            progress.waiting(len(busy), ", ".join(sorted(whose)))
            stop.wait(POLL)
        todo = busy
    return outcomes


def _whose(holder: claims.Holder | None) -> str:
    return f"{holder.host}, process {holder.pid}" if holder else "with a lease that cannot be read"


class Worker:
    """Works on one job after another, and keeps what the jobs of one data set share."""

    def __init__(
        self,
        results: Path,
        root: Path,
        device: str,
        running: Running,
        progress: Listener,
        stop: Callable[[], bool],
        given_up: dict[str, dict[str, Any]],
        resample: int = 0,
    ):
        self.results, self.root, self.device = results, root, device
        self.running, self.progress, self.stop = running, progress, stop
        self.given_up = given_up  # the records of the failed runs that are to be tried again
        self.resample = resample  # further evaluations of each trained run
        self.claims = Claims()
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

    def _untrained(self, job: Job, held: ExitStack) -> "Iterator[tuple[Run, Method]]":
        """The run of a job, claimed, and its method, if it is to be trained; what is in the way `work` finds again."""
        folder = store.check_inside(self.results, folder_of(job, self.results))
        claim = self.claims.claim(folder)
        if claim is None:
            return
        held.enter_context(claim)
        standing = survey(job, self.results)
        retried = standing.state == "failed" and standing.record == self.given_up.get(job.name)
        if standing.state not in ("new", "begun") and not retried:
            return
        run = Run(job, folder, standing, self, claim)
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
        folder = store.check_inside(self.results, folder_of(job, self.results))
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
            made = Run(job, folder, standing, self, claim)
            try:
                outcome = made.score_control() if job.is_control else made.train_and_score()
            except (Stopped, StorageError):
                raise
            except Exception as error:
                return self._failed(made, error)
        if outcome == "done":
            self.progress.done(job, time.perf_counter() - started)
        return outcome

    def _failed(self, run: "Run", error: Exception) -> Outcome:
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
        key = store.digest(
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


class Run:
    """One run at work: its folder, its record, and the steps from nothing to scores."""

    def __init__(self, job: Job, folder: Path, standing: Standing, worker: Worker, claim: Claim):
        self.job, self.folder, self.standing, self.worker, self.claim = job, folder, standing, worker, claim
        self.record = describe(job, worker.device, standing.record)
        self.is_done = standing.state == "done"

    def keep(self, status: str, **more: Any) -> None:
        """Write the record. Raises Lost when another machine has taken the run over."""
        self.claim.check_held()
        store.write_record(self.folder / "job.json", {**self.record, **more, "status": status})

    def begin(self) -> Task:
        """The data of the job, and the record of a run that has begun."""
        task = self.worker.task(self.job)
        before = self.record.get("fingerprint", task.data.fingerprint)
        if before != task.data.fingerprint and self.record["files"]:
            raise OtherData(
                f"{self.folder}: was begun with other data (fingerprint {before[:12]} then, "
                f"{task.data.fingerprint[:12]} now). Give the same data, or delete this folder to run it again."
            )
        self.record |= {
            "facts": facts_of(self.job, task.data, task.extractor),
            "extractor": task.extractor.name if task.extractor else None,
            "fingerprint": task.data.fingerprint,
        }
        return task

    def failed(self, error: Exception) -> Outcome:
        """Note why the run failed, and say it; "busy" where it is another machine's by now."""
        job, progress = self.job, self.worker.progress
        if isinstance(error, OtherData):  # what was finished with the data of before stays
            progress.failed(job.name, str(error))
            return "failed"
        if not self.claim.is_held():  # whatever went wrong
            progress.notice(job, str(Lost(self.folder)))
            return "busy"
        known = isinstance(error, RunError | UserError)
        reason = str(error) if known else where_in(error, job)
        if not self.is_done:  # a redraw that fails takes nothing away
            self.keep("failed", reason=reason, traceback="".join(traceback.format_exception(error)))
        progress.failed(job.name, reason)
        return "failed"

    def note(self, *names: str) -> None:
        """Note the fingerprints of files that were just written."""
        self.record["files"] |= {name: store.fingerprint(self.folder / name) for name in names}

    def train_and_score(self) -> Outcome:
        """From wherever the run stands to its scores."""
        job, worker = self.job, self.worker
        task = self.begin()
        spec = spec_of(job, task.data)
        reason = METHODS[job.method_base].declines(spec)
        if reason:
            self.keep("declined", reason=reason)
            worker.progress.declined(job, reason)
            return "declined"
        method = self.trained(task.data, spec)
        if method.cannot_sample:
            self.record["reason"] = method.cannot_sample
        worker.progress.scoring(job)
        if not self.is_scored():
            evidence = ModelEvidence(method, task.data, task.extractor, job.evaluation, job.seed, worker.device)
            scores = self.scores(evidence)
            shown = {IMAGES: _pictures(evidence), CODES: evidence.aggregate()}
            made = [name for name, arrays in shown.items() if arrays]
            for name in made:
                store.write(self.folder / name, partial(_save, arrays=shown[name]))
            self.finish(scores, *made)
        elif not self.is_done:
            self.close()
        if worker.resample:
            self.resample(method, task)
        return "done"

    def resample(self, method: Method, task: Task) -> None:
        """Measure the run again with other random draws, as often as is asked for; each is kept when it is made."""
        job, worker, identity = self.job, self.worker, records.identity(self.record)
        try:
            made = records.redraws(self.folder, identity)
        except RunError as error:
            worker.progress.notice(job, f"{error} It is made anew.")
            made = []
        say = partial(worker.progress.notice, job)
        while len(made) < worker.resample:
            seed = derive(job.seed, "resample", len(made) + 1)
            evidence = ModelEvidence(method, task.data, task.extractor, job.evaluation, seed, worker.device)
            causes = store.digest([identity, seed])
            made.append(evaluate(evidence, self.folder / REDRAWING, causes, say, worker.stop, drawn_alone=True))
            store.write_record(self.folder / REDRAWN, {"identity": identity, "redraws": made})
            (self.folder / REDRAWING).unlink(missing_ok=True)

    def is_scored(self) -> bool:
        """Whether scores and pictures of these very weights are there and whole."""
        made = {name: known for name, known in self.record["files"].items() if name not in TRAINED}
        return "scores.json" in made and not any(store.fault(self.folder / name, made[name]) for name in made)

    def score_control(self) -> Outcome:
        """Score real images as samples, or exact prior draws as codes."""
        job, (data, extractor) = self.job, self.begin()
        context = (data, extractor, job.evaluation, job.seed, self.worker.device)
        self.worker.progress.scoring(job)
        self.keep("running")
        pictures = []
        if job.method == "real-images":
            evidence: Evidence = RealImages(*context)
            if data.grid:
                sweeps = dict(zip(data.grid.names, data.grid.sweeps(TRAVERSAL), strict=True))
                store.write(self.folder / "sweeps.npz", partial(_save, arrays=sweeps))
                pictures = ["sweeps.npz"]
        else:
            evidence = StandardNormal(job.training.latent, *context)
        self.finish(self.scores(evidence), *pictures)
        return "done"

    def scores(self, evidence: Evidence) -> Scores:
        """The scores of the run, from the last metric that was kept on."""
        started = time.perf_counter()
        say, file = partial(self.worker.progress.notice, self.job), self.folder / "scores.partial.json"
        identity = records.identity(self.record)
        before = seconds_before(file, identity)
        scores = evaluate(evidence, file, identity, say, self.worker.stop)
        self.record["seconds_evaluation"] = round(before + time.perf_counter() - started, 3)
        return scores

    @property
    def weights(self) -> str:
        """The file of the weights that are scored."""
        return WEIGHTS[self.job.evaluation.weights]

    def finish(self, scores: Scores, *pictures: str) -> None:
        """Write the scores and the record of a finished run."""
        store.write_json(self.folder / "scores.json", scores)
        self.note("scores.json", *pictures)
        self.close()

    def close(self) -> None:
        """Delete what was for going on, and note that the run is done."""
        self.claim.check_held()
        with store.storage(self.folder):
            for name in (*NAMES, "scores.partial.json"):
                (self.folder / name).unlink(missing_ok=True)
            try:
                records.redraws(self.folder, records.identity(self.record))
            except RunError:  # of other scores than these
                (self.folder / REDRAWN).unlink()
        self.keep("done")
        self.is_done = True

    def trained(self, data: Data, spec: Spec) -> Method:
        """The trained method: its weights read where a run with the same settings left them, else trained now."""
        job, worker = self.job, self.worker
        method = self.built(spec)
        if self.lacks_weights():
            self.keep("running")
            memory.forget_peak(worker.device)
            images, validation = (resident(split.pixels, worker.device) for split in (data.train, data.validation))
            checkpoints = self.checkpoints(data)
            self.store(
                train(method, images, validation, job.training, job.seed, self.tick, checkpoints, worker.stop), images
            )
        try:
            method.load_state_dict(load_file(self.folder / self.weights))
        except (SafetensorError, RuntimeError) as error:
            raise RunError(f"{self.folder / self.weights}: not the weights of this method ({error}).") from error
        return method

    def built(self, spec: Spec) -> Method:
        """The method before its training."""
        job, settings = self.job, self.job.training
        cls = METHODS[job.method_base]
        device, precision = self.worker.device, settings.precision
        method = build(cls, job.arguments, spec, settings.network, settings.width, job.seed, device, precision)
        self.record["parameters"] = sum(p.numel() for p in method.parameters())
        self.record["architecture"] = architecture(method)
        return method

    def lacks_weights(self) -> bool:
        """Whether the run is to be trained: its weights or history are missing or damaged."""
        recorded = {name: known for name, known in self.record["files"].items() if name in TRAINED}
        faults = [text for name, known in recorded.items() if (text := store.fault(self.folder / name, known))]
        if self.standing.state == "trained":
            for text in faults:
                self.worker.progress.notice(self.job, f"{text} The run is trained again.")
        return len(recorded) < len(TRAINED) or bool(faults)

    def checkpoints(self, data: Data, seeds: int = 1) -> Checkpoints:
        """The checkpoints of the run's training, with so many seeds at once."""
        identity = [
            self.record["digest_weights"],
            data.fingerprint,
            self.record["environment"]["versions"]["method"],
            self.worker.device,
        ]
        say = partial(self.worker.progress.notice, self.job)
        return Checkpoints(self.folder, store.digest(identity), self.worker.running.checkpoint_seconds, say, seeds)

    def tick(self, now: Tick) -> None:
        """Tell how far the training is. Raises Lost."""
        self.worker.progress.tick(self.job, now)
        self.claim.doing(epoch=now.epoch, epochs=now.epochs)

    def store(self, result: Trained, images: UInt8[Tensor, "n c h w"]) -> None:
        """Write the last and the best weights and the history of a training, and the record of a trained run."""
        method = result.method
        last = {key: value.clone() for key, value in method.state_dict().items()}
        header = {"job": store.canonical(self.job.weights_settings())}
        for weights, name in ((result.best, WEIGHTS["best"]), (last, WEIGHTS["last"])):
            method.load_state_dict(weights)
            method.finish(encode(method, images))
            store.write_weights(self.folder / name, method.state_dict(), header)
        store.write_text(self.folder / "history.csv", _csv(result.history))
        recorded = {name: known for name, known in self.record["files"].items() if name in TRAINED}
        self.note(*TRAINED)
        self.record |= {"updates": result.updates, "images_encoded": result.encoded}
        self.record["seconds_training"] = round(result.seconds, 3)
        self.record["seconds_checkpoints"] = round(result.seconds_checkpoints, 3)
        peak = memory.peak(self.worker.device)
        if peak is not None:
            self.record["peak_memory"] = max(peak, self.record.get("peak_memory", 0))
        made = {name: self.record["files"][name] for name in TRAINED}
        if recorded and recorded != made:
            self.record["files"] = made  # without the scores of the old weights
            self.worker.progress.notice(
                self.job, "Trained again, it has other bits than before (see its environments)."
            )
        self.keep("trained")


def architecture(method: Method) -> dict[str, list[str]]:
    """The layers of a method's networks, with what its decoder's output goes through."""
    squashed = "sigmoid" if method.spec.value_range[0] == 0 else "tanh"
    found = {"encoder": layers(method.encoder), "decoder": [*layers(method.decoder), squashed]}
    return found | ({"adversary": layers(method.adversary)} if method.adversary is not None else {})


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


def folder_of(job: Job, results: Path) -> Path:
    """Where the files of a job live."""
    return store.run_folder(results, job.suite, job.dataset, job.method, job.seed)


def missing_redraws(job: Job, standing: Standing, results: Path, wanted: int) -> int:
    """How many further evaluations a trained and scored run has fewer than are wanted."""
    if not wanted or standing.state != "done" or job.is_control:
        return 0
    try:
        made = len(records.redraws(folder_of(job, results), records.identity(standing.record)))
    except RunError:
        made = 0
    return max(wanted - made, 0)


def survey_all(jobs: list[Job], results: Path) -> list[Standing]:
    """How far each job is; UserError naming every run that has other settings."""
    standings, problems = [], []
    with store.nothing_to_collect():
        for job in jobs:
            try:
                standings.append(survey(job, results))
            except UserError as error:
                problems.append(str(error))
    if problems:
        more = f"\n... and {len(problems) - 10} more." if len(problems) > 10 else ""
        raise UserError("\n".join(problems[:10]) + more)
    return standings


def survey(job: Job, results: Path) -> Standing:
    """How far a run is by its folder, damaged files counting as missing; UserError when it has other settings."""
    folder = folder_of(job, results)
    if not (folder / "job.json").exists():
        return Standing("new")
    try:
        record = records.checked(folder, (job.dataset, job.method, job.seed))
    except RunError as error:
        return Standing("new", {}, [f"{error} It counts as missing."])
    status = record["status"]
    if record["digest_scores"] != store.digest(job.scores_settings()):
        if status in ("failed", "declined") or job.is_control:  # nothing that took long is lost
            return Standing("new")
        same_weights = record["digest_weights"] == store.digest(job.weights_settings())
        if not (same_weights and status in ("trained", "done") and not (folder / "scores.json").exists()):
            raise UserError(_other_settings(folder, record["settings"], job.scores_settings(), same_weights))
        return Standing("trained", record)
    if status in ("failed", "declined"):
        return Standing(status, record)
    if status != "done":
        return Standing("trained" if status == "trained" else "begun", record)
    # The weights and the pictures by their size alone: gigabytes in a large suite, and `verify` reads them.
    needed = ("scores.json",) if job.is_control else (*TRAINED, "scores.json")
    faults = {name: f"{folder / name}: is not in the record." for name in needed if name not in record["files"]}
    faults |= {
        name: text
        for name, known in record["files"].items()
        if (text := store.fault(folder / name, known, whole=name.endswith((".json", ".csv"))))
    }
    notices = [f"{text} It is made again." for text in faults.values()]
    if not faults:
        return Standing("done", record)
    return Standing("begun" if set(TRAINED) & faults.keys() else "trained", record, notices)


def _other_settings(folder: Path, before: dict[str, Any], now: dict[str, Any], same_weights: bool) -> str:
    differing = [
        f"{key} = {store.canonical(before.get(key))} then, {store.canonical(now.get(key))} now"
        for key in sorted({*before, *now})
        if store.canonical(before.get(key)) != store.canonical(now.get(key))
    ]
    way = "Use another folder with --results, or delete this one to run it again."
    if same_weights:
        way += " Its weights do not depend on them: delete its scores.json alone to measure them anew."
    return f"{folder}: was run with other settings ({'; '.join(differing)}). {way}"


def describe(job: Job, device: str, before: dict[str, Any]) -> dict[str, Any]:
    """What job.json keeps of a run besides its outcome; `before` is what it kept until now."""
    environment = {
        "versions": {**_versions(), **(_cuda() if device == "cuda" else {}), "method": _code(job)},
        "commit": _commit(),
        "device": _device(device),
        "host": platform.node(),
        "threads": job.training.threads,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    kept = ("fingerprint", *records.COSTS, "architecture", "seconds_checkpoints")
    earlier = [*before.get("earlier_environments", [])]
    if before and _but_date(before["environment"]) != _but_date(environment):
        earlier.append(before["environment"])
    return {
        "suite": job.suite,
        "dataset": job.dataset,
        "method": job.method,
        "seed": job.seed,
        "settings": job.scores_settings(),
        "conditions": job.conditions,
        "digest_weights": store.digest(job.weights_settings()),
        "digest_scores": store.digest(job.scores_settings()),
        "plan": dataclasses.asdict(job.plan),
        "environment": environment,
        "earlier_environments": earlier,
        "files": before.get("files", {}),
        **{key: before[key] for key in kept if key in before},
    }


def _but_date(environment: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in environment.items() if key != "date"}


@cache
def _versions() -> dict[str, str]:
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"lvm-bench": __version__, "python": platform.python_version(), **found}


def _cuda() -> dict[str, str]:
    return {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}


def _device(device: str) -> str:
    """What decides the bits: the name of the GPU, or the CPU's kind with the instructions that torch uses of it."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def _code(job: Job) -> str:
    """The first digits of the SHA-256 of the file that defines a job's method; "" for a control."""
    if job.is_control:
        return ""
    return hashlib.sha256(Path(source_file(METHODS[job.method_base])).read_bytes()).hexdigest()[:12]


def extractor_of(job: Job, data: Data, root: Path, device: str) -> Extractor | None:
    """The feature space of a job's metrics; None where none of them needs one."""
    if not needs_features(job.evaluation.metrics):
        return None
    return EXTRACTORS[job.evaluation.extractor](Request(data, root, device, job.evaluation.classifier_epochs))


def require_files(jobs: list[Job], root: Path) -> None:
    """UserError naming every file that these jobs need and that is missing or damaged."""
    named = {"inception"} & {job.evaluation.extractor for job in jobs if needs_features(job.evaluation.metrics)}
    problems = []
    for name in sorted({job.dataset_base for job in jobs} & fetchable().keys() | named):
        try:
            require(name, root)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))


def load_data(job: Job, root: Path, made_up: bool = False) -> Data:
    """The data of a job, limited as its settings say, or as many images that show nothing (see `load`)."""
    training = job.training
    return load(
        job.dataset_base,
        root,
        options=job.options,
        train_images=_limit(training.train_images),
        validation_images=_limit(training.validation_images),
        test_images=_limit(job.evaluation.test_images),
        made_up=made_up,
    )


def _limit(count: int | str) -> int | None:
    return None if count == "all" else int(count)


def spec_of(job: Job, data: Data) -> Spec:
    """What a job's method may know of its task."""
    c, h, w = (int(size) for size in data.train.pixels.shape[1:])
    training = job.training
    return Spec((c, h, w), data.value_range, training.latent, len(data.train), training.batch_size, training.likelihood)


def facts_of(job: Job, data: Data, extractor: Extractor | None) -> dict[str, Any]:
    """What the tables' captions say of a data set."""
    avae = job.evaluation.protocol == "avae-paper"
    heldout = len(data.validation if avae else data.test)
    samples = min(job.evaluation.samples, heldout, len(data.train))
    official = "official test split" if DATASETS[job.dataset_base].info.files else "test split"
    facts: dict[str, Any] = {
        "base": job.dataset_base,
        "latent": job.training.latent,
        "likelihood": job.training.likelihood,
        "protocol": job.evaluation.protocol,
        "train": len(data.train),
        "validation": len(data.validation),
        "heldout": heldout,
        "heldout_split": "validation split" if avae else official,
        "reference": len(data.train),
        "reference_split": "training split",
        "samples": samples,
        "kid_subsets": job.evaluation.kid_subsets,
        "kid_subset_size": min(job.evaluation.kid_subset_size, samples),
        "neighbours": job.evaluation.neighbours,
        "weights": job.evaluation.weights,
    }
    if extractor:
        facts["extractor_note"] = extractor.note
    if data.novel:
        facts["novel"] = DATASETS[job.dataset_base].info.novel
    if data.grid:
        facts["factors"] = {"names": list(data.grid.names), "sizes": list(data.grid.sizes)}
    return facts


@cache
def _commit() -> str | None:
    """The git commit of the working folder, '+' when it has changes; None outside a repository."""
    try:
        git = ["git", "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"]
        return subprocess.run(git, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def where_in(error: Exception, job: Job) -> str:
    """`file, line n: Error: text` for an exception out of a method's own file."""
    place = where(error, Path(source_file(METHODS[job.method_base])))
    return f"{place}: {type(error).__name__}: {error}"


def _pictures(evidence: ModelEvidence) -> dict[str, Any]:
    """What the figures show of a model's images."""
    kinds = ("real", "recon", "interpolated", *(() if evidence.method.cannot_sample else ("fake",)))
    pictures: dict[str, Any] = {kind: evidence.images(kind)[:PICTURES].numpy() for kind in kinds}
    pictures["path"] = evidence.path().numpy()
    if evidence.data.grid and not evidence.method.cannot_sample:
        pictures |= {"directions": evidence.directions().numpy(), "traversal": evidence.traversal().numpy()}
    return pictures


def _save(path: Path, arrays: dict[str, Any]) -> None:
    with path.open("wb") as stream:
        np.savez(stream, **arrays)


def _csv(rows: Iterable[dict[str, float]]) -> str:
    """Rows as CSV with full precision: equal numbers give equal bytes."""
    rows = list(rows)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [",".join(columns)]
    lines += [",".join(repr(row[key]) if key in row else "" for key in columns) for row in rows]
    return "\n".join(lines) + "\n"


def resolve_device(name: str) -> str:
    """`auto` is CUDA where there is one; UserError when CUDA is asked for and absent."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: this machine has no CUDA device that torch can use. Use --device cpu.")
    return name
