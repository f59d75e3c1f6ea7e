"""The data, the feature space and the device that a job needs before it can start."""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import torch

from lvm_bench import disk
from lvm_bench.data.files import fetchable, require
from lvm_bench.data.images import Data
from lvm_bench.errors import StorageError, TooFewImages, UserError
from lvm_bench.evaluation.expost.fit import told
from lvm_bench.evaluation.features import Extractor, Request
from lvm_bench.evaluation.perceptual import perceptual
from lvm_bench.evaluation.score import needs_features, needs_perceptual, too_small
from lvm_bench.execution.job_data import heldout_of, load_data, require_enough
from lvm_bench.metrics.perceptual import Perceptual
from lvm_bench.modelling.contract import Spec
from lvm_bench.registry import DATASETS, EXTRACTORS
from lvm_bench.suites.job import Job


class Task(NamedTuple):
    """The images, the feature space and the network of LPIPS that the runs of a data set share."""

    data: Data
    extractor: Extractor | None
    perceptual: Perceptual | None


class Tasks:
    """Loads the task of a job, and keeps the last one, or why it cannot be loaded, for the jobs that share it."""

    def __init__(self, root: Path, device: str, tell: Callable[[Job, str], object]):
        self.root, self.device, self.tell = root, device, tell
        self._key = ""
        self._data: tuple[str, Data] | None = None
        self._task: Task | None = None
        self._error: tuple[BaseException, TracebackType | None] | None = None

    def __call__(self, job: Job) -> Task:
        """The data and the feature space of a job. Raises whatever a data set or an extractor raises."""
        key = _causes(job)
        if key != self._key:
            self._key, self._task, self._error = "", None, None  # frees the memory of the last one first
            try:
                data = self.data(job)
                require_enough(job, data)
                for note in (*data.notes, *too_small(job.evaluation.metrics, data)):
                    self.tell(job, note)
                lpips = needs_perceptual(job.evaluation.metrics)
                self._task = Task(
                    data,
                    extractor_of(job, data, self.root, self.device),
                    perceptual(self.root, self.device) if lpips else None,
                )
            except StorageError:
                raise
            except (Exception, SystemExit) as error:
                self._error = error, error.__traceback__
            self._key = key
        if self._error:
            kept, trace = self._error
            raise kept.with_traceback(trace)
        assert self._task
        return self._task

    def data(self, job: Job) -> Data:
        """The images of a job, and no feature space."""
        key = _causes(job)
        if not self._data or self._data[0] != key:
            self._data = None
            self._data = key, load_data(job, self.root)
        return self._data[1]


def _causes(job: Job) -> str:
    """A digest of whatever changes the data or the feature space of a job."""
    training = job.training
    limits = [training.train_images, training.validation_images, training.threads]
    return disk.digest([job.dataset_base, job.options, *limits, job.evaluation.model_dump()])


def require_own_images(todo: list[Job], tasks: Tasks) -> None:
    """TooFewImages for a user's own images. Where they cannot be read at all, their runs fail and say so."""
    for job in {job.dataset: job for job in reversed(todo) if "path" in job.options}.values():
        try:
            require_enough(job, tasks.data(job))
        except TooFewImages:
            raise
        except (Exception, SystemExit):
            continue


def require_precision(todo: list[Job], device: str) -> None:
    """UserError for TF32 on a CPU, which has none: runs would be recorded as what they are not."""
    if device == "cpu" and any(job.training.precision == "tf32" for job in todo if not job.is_control):
        raise UserError('precision = "tf32": a CPU has no TF32. Use "float32" or "bf16", or --device cuda.')


def extractor_of(job: Job, data: Data, root: Path, device: str) -> Extractor | None:
    """The feature space of a job's metrics; None where none of them needs one."""
    if not needs_features(job.evaluation.metrics):
        return None
    return EXTRACTORS[job.evaluation.extractor](Request(data, root, device, job.evaluation.classifier_epochs))


def require_files(jobs: list[Job], root: Path) -> None:
    """UserError naming every file that these jobs need and that is missing or damaged."""
    named = {job.evaluation.extractor for job in jobs if needs_features(job.evaluation.metrics)}
    named |= {"lpips" for job in jobs if needs_perceptual(job.evaluation.metrics)}
    problems = []
    for name in sorted(fetchable().keys() & (named | {job.dataset_base for job in jobs})):
        try:
            require(name, root)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))


def spec_of(job: Job, data: Data) -> Spec:
    """The facts of a job's task that its method may know."""
    c, h, w = (int(size) for size in data.train.pixels.shape[1:])
    training = job.training
    return Spec((c, h, w), data.value_range, training.latent, len(data.train), training.batch_size, training.likelihood)


def facts_of(job: Job, data: Data, extractor: Extractor | None) -> dict[str, Any]:
    """The facts of a data set that captions of tables state."""
    split = heldout_of(job)
    heldout = len(getattr(data, split))
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
        "heldout_split": official if split == "test" else "validation split",
        "reference": len(data.train),
        "reference_split": "training split",
        "samples": samples,
        "kid_subsets": job.evaluation.kid_subsets,
        "kid_subset_size": min(job.evaluation.kid_subset_size, samples),
        "neighbours": job.evaluation.neighbours,
        "importance_samples": job.evaluation.importance_samples,
        "bound_images": min(job.evaluation.bound_images, samples),
        "weights": job.evaluation.weights,
    }
    if extractor:
        facts["extractor_note"] = extractor.note
    if job.evaluation.expost:
        facts["expost_note"] = told(job.evaluation)
    if data.novel:
        facts["novel"] = DATASETS[job.dataset_base].info.novel
    if data.grid:
        facts["factors"] = {"names": list(data.grid.names), "sizes": list(data.grid.sizes)}
    return facts


def resolve_device(name: str) -> str:
    """`auto` is CUDA where there is one; UserError when CUDA is asked for and absent."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: this machine has no CUDA device that torch can use. Use --device cpu.")
    return name
