"""One run at work: from an empty folder to scores."""

import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lvm_bench import disk
from lvm_bench.data.images import Data
from lvm_bench.errors import RunError
from lvm_bench.evaluation.evidence import Evidence
from lvm_bench.evaluation.of_controls import RealImages, StandardNormal
from lvm_bench.evaluation.of_model import TRAVERSAL, ModelEvidence
from lvm_bench.evaluation.own_pictures import own_pictures
from lvm_bench.evaluation.score import Scores, evaluate, in_vain, keep_for_later, seconds_before
from lvm_bench.execution.failure import cause
from lvm_bench.execution.progress import Listener
from lvm_bench.execution.provenance import architecture, describe, lacking_scores
from lvm_bench.execution.stopping import breakable
from lvm_bench.execution.task import Task, facts_of, spec_of
from lvm_bench.modelling.contract import Method, Spec, resident, to_float
from lvm_bench.registry import METHODS
from lvm_bench.runs.layout import (
    CODES,
    FITTING,
    HISTORY,
    IMAGES,
    PARTIAL,
    PICTURES,
    RECORD,
    REDRAWING,
    REDRAWN,
    SCORES,
    SWEEPS,
    TRAINED,
    WEIGHTS,
)
from lvm_bench.runs.lease import Lease, Lost
from lvm_bench.runs.measured import lacking, measured, version_of
from lvm_bench.runs.record import scores_identity
from lvm_bench.runs.redraws import Redraw, redraws_of, store_redraws
from lvm_bench.runs.score_files import scores_of
from lvm_bench.runs.standing import Standing, State
from lvm_bench.seeding import derive
from lvm_bench.suites.given import checksums
from lvm_bench.suites.job import Job, RunningSettings
from lvm_bench.training import memory
from lvm_bench.training.batches import encode
from lvm_bench.training.build import build
from lvm_bench.training.checkpoint import NAMES, Checkpoints
from lvm_bench.training.loop import train
from lvm_bench.training.state import Trained
from lvm_bench.training.tick import Tick

SHOWN = 16  # images of each kind kept for the figures


@dataclass(frozen=True)
class Context:
    """The settings and services that a worker gives to each of its runs."""

    device: str
    running: RunningSettings
    progress: Listener
    stop: Callable[[], bool]
    resample: int  # further evaluations of each trained run
    task: Callable[[Job], Task]  # loads the data and the feature space of a job


class OtherData(RunError):
    """A run that was begun with other images."""


class RunAtWork:
    """One run at work: its folder, its record, and the steps from nothing to scores."""

    def __init__(self, job: Job, standing: Standing, context: Context, lease: Lease):
        self.job, self.standing, self.context, self.lease = job, standing, context, lease
        self.folder, self.progress = standing.folder, context.progress
        self.record = describe(job, context.device, standing.record)
        self.is_done = standing.state == State.DONE

    def keep(self, state: State, **more: Any) -> None:
        """Write the state of the run into its record. Raises Lost when another machine has taken the run over."""
        self.lease.check_held()
        disk.write_record(self.folder / RECORD, {**self.record, **more, "status": state.value})

    def begin(self) -> Task:
        """The data of the job, and the record of a run that has begun."""
        with breakable(self.context.stop):
            task = self.context.task(self.job)
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

    def failed(self, error: BaseException) -> State:
        """Write down why the run failed, and tell it; RUNNING where another machine has taken the run over."""
        if isinstance(error, OtherData):  # what was finished with the data of before stays
            self.progress.failed(self.job.name, str(error))
            return State.FAILED
        if not self.lease.is_held():  # whatever went wrong
            self.progress.notice(self.job, str(Lost(self.folder)))
            return State.RUNNING
        reason = cause(error)
        if not self.is_done:  # a redraw that fails takes nothing away
            self.keep(State.FAILED, reason=reason, traceback="".join(traceback.format_exception(error)))
        self.progress.failed(self.job.name, reason)
        return State.FAILED

    def note(self, *names: str) -> None:
        """Put the fingerprints of files that were just written into the record."""
        self.record["files"] |= {name: disk.fingerprint(self.folder / name) for name in names}

    def train_and_score(self) -> State:
        """Do whatever is left of the run of a method, up to its scores."""
        job, task = self.job, self.begin()
        spec = spec_of(job, task.data)
        reason = METHODS[job.method_base].declines(spec)
        if reason:
            self.keep(State.DECLINED, reason=reason)
            self.progress.declined(job, reason)
            return State.DECLINED
        method = self.trained(task.data, spec)
        if method.cannot_sample:
            self.record["reason"] = method.cannot_sample
        self.progress.scoring(job)
        if not self.is_scored() or self.standing.lacks:
            self.keep_other_scores()
            scores = self.scores(evidence := self.evidence(method, task, job.seed))
            shown = {} if self.is_scored() else _shown(evidence)
            made = [name for name, arrays in shown.items() if arrays]
            for name in made:
                disk.write(self.folder / name, partial(_save, arrays=shown[name]))
            self.finish(scores, evidence, *made)
        elif not self.is_done:
            self.close()
        if self.context.resample:
            self.resample(method, task)
        return State.DONE

    def resample(self, method: Method, task: Task) -> None:
        """Measure the run again with other random draws, as often as is wanted; each result is kept at once.

        Of what was measured before, the metrics alone that it lacks, or has in another version.
        """
        job, context, record = self.job, self.context, disk.read_record(self.folder / RECORD)
        try:
            made = redraws_of(self.folder, record)
        except RunError as error:
            self.progress.notice(job, f"{error} It is made anew.")
            made = []
        say = partial(self.progress.notice, job)
        for place in range(context.resample):
            before = made[place] if place < len(made) else Redraw({}, {})
            lacks, half = lacking(before.measured, job.metrics), self.folder / REDRAWING
            if not lacks:
                continue
            seed = derive(job.seed, "resample", place + 1)
            evidence = self.evidence(method, task, seed)
            causes = disk.digest([scores_identity(record), seed, job.metrics])
            if before.scores:
                keep_for_later(half, causes, before.scores, lacks, 0.0)
            with breakable(context.stop):
                scores = evaluate(evidence, half, causes, say, context.stop, drawn_alone=True)
            made[place : place + 1] = [Redraw(scores, before.measured | job.metrics)]
            store_redraws(self.folder, record, made)
            for file in (half, *(self.folder / name for name in FITTING)):
                file.unlink(missing_ok=True)

    def is_scored(self) -> bool:
        """Whether scores and pictures of these very weights are there and whole."""
        made = {name: known for name, known in self.record["files"].items() if name not in TRAINED}
        return SCORES in made and not any(disk.fault(self.folder / name, made[name]) for name in made)

    def keep_other_scores(self) -> None:
        """Let the evaluation of a finished run go on from its scores, without the metrics it lacks."""
        lacks, identity = self.standing.lacks, scores_identity(self.record)
        if lacks and self.is_scored():
            scores = scores_of((self.folder / SCORES).read_bytes())
            seconds = self.standing.record.get("seconds_evaluation", 0.0)
            keep_for_later(self.folder / PARTIAL, identity, scores, lacks, seconds)

    def keep_redraws(self) -> None:
        """Keep the redraws of a finished run, without the metrics it lacked: its other scores are those of before."""
        with suppress(RunError):  # they are made anew when they are asked for
            redraws, lacks = redraws_of(self.folder, self.standing.record), self.standing.lacks
            kept = [
                Redraw(
                    {key: own for key, own in draw.scores.items() if version_of(key, draw.measured)[0] not in lacks},
                    {name: version for name, version in draw.measured.items() if name not in lacks},
                )
                for draw in redraws
            ]
            if kept:
                store_redraws(self.folder, self.record, kept)

    def score_control(self) -> State:
        """Measure real images as samples, or exact prior draws as codes."""
        job, (data, extractor, perceptual) = self.job, self.begin()
        context = (data, extractor, job.evaluation, job.seed, self.context.device, perceptual)
        self.progress.scoring(job)
        if not self.is_done:
            self.keep(State.RUNNING)
        self.keep_other_scores()
        pictures = []
        if job.method == "real-images":
            evidence: Evidence = RealImages(*context)
            if data.grid:
                sweeps = dict(zip(data.grid.names, data.grid.sweeps(TRAVERSAL), strict=True))
                disk.write(self.folder / SWEEPS, partial(_save, arrays=sweeps))
                pictures = [SWEEPS]
        else:
            evidence = StandardNormal(job.training.latent, *context)
        self.finish(self.scores(evidence), evidence, *pictures)
        return State.DONE

    def evidence(self, method: Method, task: Task, seed: int) -> ModelEvidence:
        """The evidence of the trained method, with checkpoints of the ex-post samplers that take long to fit."""
        job, device, say = self.job, self.context.device, partial(self.progress.notice, self.job)
        identity = disk.digest([scores_identity(self.record), seed, device])
        kept = Checkpoints(self.folder, identity, self.context.running.checkpoint_seconds, say, names=FITTING)
        return ModelEvidence(method, *task[:2], job.evaluation, seed, device, task.perceptual, checkpoints=kept)

    def scores(self, evidence: Evidence) -> Scores:
        """The scores of the run, from the last metric that was kept on."""
        started = time.perf_counter()
        say, file = partial(self.progress.notice, self.job), self.folder / PARTIAL
        identity = scores_identity(self.record)
        before = seconds_before(file, identity)
        with breakable(self.context.stop):
            scores = evaluate(evidence, file, identity, say, self.context.stop)
        self.record["seconds_evaluation"] = round(before + time.perf_counter() - started, 3)
        return scores

    @property
    def weights(self) -> str:
        """The file of the weights that are scored."""
        return WEIGHTS[self.job.evaluation.weights]

    def finish(self, scores: Scores, evidence: Evidence, *pictures: str) -> None:
        """Write the scores and the record of a finished run, which keeps what its method lacks for other scores."""
        disk.write_json(self.folder / SCORES, scores)
        self.note(SCORES, *pictures)
        for text in in_vain(evidence.absent):
            self.progress.notice(self.job, text)
        self.record["absent"] = lacking_scores(self.record, self.job, evidence.absent)
        self.record["measured"] = (measured(self.standing.record) if self.standing.lacks else {}) | self.job.metrics
        if self.standing.lacks:
            self.keep_redraws()
        self.close()

    def close(self) -> None:
        """Delete what an interrupted run would go on from, and write down that the run is done."""
        self.lease.check_held()
        with disk.storage(self.folder):
            for name in (*NAMES, PARTIAL, *FITTING):
                (self.folder / name).unlink(missing_ok=True)
            try:
                redraws_of(self.folder, self.record)
            except RunError:  # of other scores than these
                (self.folder / REDRAWN).unlink()
        self.keep(State.DONE)
        self.is_done = True

    def trained(self, data: Data, spec: Spec) -> Method:
        """The trained method: its weights read where a run with the same settings left them, else trained now."""
        job, device, stop = self.job, self.context.device, self.context.stop
        method = self.built(spec)
        if self.lacks_weights():
            self.keep(State.RUNNING)
            memory.forget_peak(device)
            images, validation = (resident(split.pixels, device) for split in (data.train, data.validation))
            checkpoints, scored = self.checkpoints(data), job.evaluation.weights
            result = train(method, images, validation, job.training, job.seed, self.tick, checkpoints, stop, scored)
            self.store(result, images)
        try:
            method.load_state_dict(load_file(self.folder / self.weights))
        except (SafetensorError, RuntimeError) as error:
            raise RunError(f"{self.folder / self.weights}: not the weights of this method ({error}).") from error
        return method

    def built(self, spec: Spec) -> Method:
        """The method before its training. RunError where a file of its weights is not that of the command's begin."""
        job, settings = self.job, self.job.training
        if (now := checksums(job.method_base, job.arguments)) != job.files:
            raise RunError(f"A file of its weights was exchanged meanwhile: {job.files} then, {now} now. Run it again.")
        method = build(
            METHODS[job.method_base],
            job.arguments,
            spec,
            settings.network,
            settings.width,
            job.seed,
            self.context.device,
            settings.precision,
            settings.streams,
        )
        self.record["parameters"] = sum(p.numel() for p in method.parameters())
        self.record["architecture"] = architecture(method)
        return method

    def lacks_weights(self) -> bool:
        """Whether the run is to be trained: its weights or its history, which are read whole, are not there."""
        recorded = {name: known for name, known in self.record["files"].items() if name in TRAINED}
        faults = {name: text for name, known in recorded.items() if (text := disk.fault(self.folder / name, known))}
        for name in faults.keys() - self.standing.faults.keys():
            self.progress.notice(self.job, f"{faults[name]} {self.standing.way(name)}")
        return len(recorded) < len(TRAINED) or bool(faults)

    def checkpoints(self, data: Data, seeds: int = 1) -> Checkpoints:
        """The checkpoints of the run's training, with so many seeds at once."""
        identity = [
            self.record["digest_weights"],
            data.fingerprint,
            self.record["environment"]["versions"]["method"],
            self.context.device,
        ]
        say, seconds = partial(self.progress.notice, self.job), self.context.running.checkpoint_seconds
        return Checkpoints(self.folder, disk.digest(identity), seconds, say, seeds)

    def tick(self, now: Tick) -> None:
        """Tell how far the training is. Raises Lost."""
        self.progress.tick(self.job, now)
        self.lease.progress(epoch=now.epoch, epochs=now.epochs)

    def store(self, result: Trained, images: UInt8[Tensor, "n c h w"]) -> None:
        """Write the last and the best weights and the history of a training, and the record of a trained run."""
        method = result.method
        last = {key: value.clone() for key, value in method.state_dict().items()}
        header = {"job": disk.canonical(self.job.weights_settings())}
        for weights, name in ((result.best, WEIGHTS["best"]), (last, WEIGHTS["last"])):
            method.load_state_dict(weights)
            method.finish(encode(method, images))
            disk.write_weights(self.folder / name, method.state_dict(), header)
        disk.write_text(self.folder / HISTORY, _csv(result.history))
        recorded = {name: known for name, known in self.record["files"].items() if name in TRAINED}
        self.note(*TRAINED)
        self.record |= {"updates": result.updates, "images_encoded": result.encoded}
        if result.updates:
            self.record["seconds_training"] = round(result.seconds, 3)
            self.record["seconds_checkpoints"] = round(result.seconds_checkpoints, 3)
        peak = memory.peak(self.context.device)
        if peak is not None:
            self.record["peak_memory"] = max(peak, self.record.get("peak_memory", 0))
        made = {name: self.record["files"][name] for name in TRAINED}
        if recorded and recorded != made:
            self.record["files"] = made  # without the scores of the old weights
            self.progress.notice(self.job, "Trained again, it has other bits than before (see its environments).")
        self.keep(State.TRAINED)


def _shown(evidence: ModelEvidence) -> dict[str, dict[str, Any]]:
    """The arrays of a model that figures show, by the file that holds them."""
    method = evidence.method
    x = to_float(evidence.real("heldout")[:SHOWN].to(evidence.device), method.spec.value_range)
    own = {f"grid-{name}": grid for name, grid in own_pictures(method, x, evidence.seed).items()}  # no name of savez's
    return {IMAGES: _images(evidence), CODES: evidence.aggregate(), PICTURES: own}


def _images(evidence: ModelEvidence) -> dict[str, Any]:
    """The images of a model that figures show."""
    kinds = ("real", "recon", "interpolated", *(() if evidence.method.cannot_sample else ("fake",)))
    pictures: dict[str, Any] = {kind: evidence.images(kind)[:SHOWN].numpy() for kind in kinds}
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
