"""One run at work: from an empty folder to scores."""

import time
import traceback
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lvm_bench import disk
from lvm_bench.data.images import Data
from lvm_bench.errors import RunError, UserError
from lvm_bench.evaluation.evidence import TRAVERSAL, Evidence, ModelEvidence, RealImages, StandardNormal
from lvm_bench.evaluation.score import Scores, evaluate, seconds_before
from lvm_bench.execution.provenance import architecture, describe
from lvm_bench.execution.task import Task, facts_of, spec_of
from lvm_bench.modelling.contract import Method, Spec, resident
from lvm_bench.registry import METHODS, source_file, where
from lvm_bench.runs.layout import CODES, IMAGES, REDRAWING, REDRAWN, TRAINED, WEIGHTS
from lvm_bench.runs.lease import Lease, Lost
from lvm_bench.runs.record import scores_identity
from lvm_bench.runs.redraws import redraws_of
from lvm_bench.runs.standing import Standing
from lvm_bench.seeding import derive
from lvm_bench.suites.job import Job
from lvm_bench.training import memory
from lvm_bench.training.batches import encode
from lvm_bench.training.build import build
from lvm_bench.training.checkpoint import NAMES, Checkpoints
from lvm_bench.training.loop import train
from lvm_bench.training.state import Tick, Trained

if TYPE_CHECKING:
    from lvm_bench.execution.worker import Worker

PICTURES = 16  # images of each kind kept for the figures

Outcome = Literal["done", "declined", "failed", "busy"]


class OtherData(RunError):
    """A run that was begun with other images."""


class RunAtWork:
    """One run at work: its folder, its record, and the steps from nothing to scores."""

    def __init__(self, job: Job, folder: Path, standing: Standing, worker: "Worker", claim: Lease):
        self.job, self.folder, self.standing, self.worker, self.claim = job, folder, standing, worker, claim
        self.record = describe(job, worker.device, standing.record)
        self.is_done = standing.state == "done"

    def keep(self, status: str, **more: Any) -> None:
        """Write the record. Raises Lost when another machine has taken the run over."""
        self.claim.check_held()
        disk.write_record(self.folder / "job.json", {**self.record, **more, "status": status})

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
        self.record["files"] |= {name: disk.fingerprint(self.folder / name) for name in names}

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
                disk.write(self.folder / name, partial(_save, arrays=shown[name]))
            self.finish(scores, *made)
        elif not self.is_done:
            self.close()
        if worker.resample:
            self.resample(method, task)
        return "done"

    def resample(self, method: Method, task: Task) -> None:
        """Measure the run again with other random draws, as often as is asked for; each is kept when it is made."""
        job, worker, identity = self.job, self.worker, scores_identity(self.record)
        try:
            made = redraws_of(self.folder, identity)
        except RunError as error:
            worker.progress.notice(job, f"{error} It is made anew.")
            made = []
        say = partial(worker.progress.notice, job)
        while len(made) < worker.resample:
            seed = derive(job.seed, "resample", len(made) + 1)
            evidence = ModelEvidence(method, task.data, task.extractor, job.evaluation, seed, worker.device)
            causes = disk.digest([identity, seed])
            made.append(evaluate(evidence, self.folder / REDRAWING, causes, say, worker.stop, drawn_alone=True))
            disk.write_record(self.folder / REDRAWN, {"identity": identity, "redraws": made})
            (self.folder / REDRAWING).unlink(missing_ok=True)

    def is_scored(self) -> bool:
        """Whether scores and pictures of these very weights are there and whole."""
        made = {name: known for name, known in self.record["files"].items() if name not in TRAINED}
        return "scores.json" in made and not any(disk.fault(self.folder / name, made[name]) for name in made)

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
                disk.write(self.folder / "sweeps.npz", partial(_save, arrays=sweeps))
                pictures = ["sweeps.npz"]
        else:
            evidence = StandardNormal(job.training.latent, *context)
        self.finish(self.scores(evidence), *pictures)
        return "done"

    def scores(self, evidence: Evidence) -> Scores:
        """The scores of the run, from the last metric that was kept on."""
        started = time.perf_counter()
        say, file = partial(self.worker.progress.notice, self.job), self.folder / "scores.partial.json"
        identity = scores_identity(self.record)
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
        disk.write_json(self.folder / "scores.json", scores)
        self.note("scores.json", *pictures)
        self.close()

    def close(self) -> None:
        """Delete what was for going on, and note that the run is done."""
        self.claim.check_held()
        with disk.storage(self.folder):
            for name in (*NAMES, "scores.partial.json"):
                (self.folder / name).unlink(missing_ok=True)
            try:
                redraws_of(self.folder, scores_identity(self.record))
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
        faults = [text for name, known in recorded.items() if (text := disk.fault(self.folder / name, known))]
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
        return Checkpoints(self.folder, disk.digest(identity), self.worker.running.checkpoint_seconds, say, seeds)

    def tick(self, now: Tick) -> None:
        """Tell how far the training is. Raises Lost."""
        self.worker.progress.tick(self.job, now)
        self.claim.doing(epoch=now.epoch, epochs=now.epochs)

    def store(self, result: Trained, images: UInt8[Tensor, "n c h w"]) -> None:
        """Write the last and the best weights and the history of a training, and the record of a trained run."""
        method = result.method
        last = {key: value.clone() for key, value in method.state_dict().items()}
        header = {"job": disk.canonical(self.job.weights_settings())}
        for weights, name in ((result.best, WEIGHTS["best"]), (last, WEIGHTS["last"])):
            method.load_state_dict(weights)
            method.finish(encode(method, images))
            disk.write_weights(self.folder / name, method.state_dict(), header)
        disk.write_text(self.folder / "history.csv", _csv(result.history))
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
