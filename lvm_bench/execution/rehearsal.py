"""What jobs cost on this machine: steps and metrics are run for a moment, at small sizes where they are long.

Images are made up, as many as there will be and of their shape. The networks are timed apart: within hooks and metrics
stand-ins only count what would go through them.
"""

import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lvm_bench import disk
from lvm_bench.data.images import Data, Grid, Images, overlapping
from lvm_bench.errors import Stopped
from lvm_bench.evaluation.evidence import Evidence, ModelEvidence, RealImages, StandardNormal
from lvm_bench.evaluation.features import Extractor, Request, untrained_inception
from lvm_bench.evaluation.score import inputs_of, is_of_features, needs_features, wanted
from lvm_bench.execution.task import load_data, spec_of
from lvm_bench.metrics.arrays import anew
from lvm_bench.modelling.contract import Epoch, Method
from lvm_bench.registry import EXTRACTORS, METHODS, METRICS
from lvm_bench.seeding import generator
from lvm_bench.suites.job import Job
from lvm_bench.training import memory
from lvm_bench.training.batches import encode, minibatches, validate
from lvm_bench.training.build import build
from lvm_bench.training.loop import train
from lvm_bench.training.numerics import fixed_numerics

LIMIT = 0.2  # seconds of a measurement after which none is made at a larger size

PATIENCE = 0.5  # seconds of a measurement, with all that is made for it, after which none is made at a larger size

LONG_STEP = 0.3  # seconds; of methods with longer steps one alone is measured in the whole network

NARROW = 1 / 16  # of the width: in so narrow a network a step shows what a method adds to it

MOST_STEPS = 50  # that are measured

LOOKED = 100  # steps of an epoch whose hooks are called

FEWEST = 150  # samples from which on metrics are measured

MOST_BYTES = 2**28  # of the arrays that metrics are measured on

BATCH = 100  # images that networks are timed on

SHRINKING = ("samples", "kid_subset_size", "sap_samples", "dci_samples", "votes", "direction_images")


@dataclass(frozen=True)
class Pace:
    """What the training of a method costs: seconds, images that hooks give to the networks, bytes."""

    step: float
    steps: int  # of an epoch
    hooks: float  # seconds of an epoch, the networks left out
    encoded: float  # images, by the hooks of an epoch
    decoded: float
    encode: float  # seconds an image, as the others
    decode: float
    validate: float
    finish: float
    memory: float
    weights: float

    def training(self, epochs: int, images: int, validation: int) -> float:
        """Seconds of a whole training."""
        hooks = self.hooks + self.encoded * self.encode + self.decoded * self.decode
        epoch = self.steps * self.step + hooks + validation * (self.validate + self.encode)
        # The last and the best weights each encode all images in the end.
        return validation * self.validate + epochs * epoch + 2 * images * (self.encode + self.finish)


@dataclass(frozen=True)
class Scoring:
    """What scoring a run costs: seconds of the metrics, images through the networks and the extractor, bytes."""

    seconds: float
    encoded: float
    decoded: float
    featured: float
    memory: float


@dataclass(frozen=True)
class Space:
    """What a feature space costs: its dimensions, seconds to make it and for an image, bytes."""

    dimensions: int = 0
    setup: float = 0.0
    image: float = 0.0
    memory: float = 0.0


def extrapolated(measure: Callable[[float], float], scales: list[float], most: float) -> float:
    """Seconds at scale 1 from those at growing scales, each twice the one before, up to the first that takes long.

    The larger of a line and a power law through the last ones: what has a constant share is near the one, what grows
    with a power of the size (`most` at most) near the other. What no such growth explains is measured again.
    """
    found: list[float] = []
    for scale in scales:
        begun = time.perf_counter()
        seconds = measure(scale)
        if not found or seconds > 2**most * found[-1]:
            seconds = min(seconds, measure(scale))
        found.append(seconds)
        # What is made once for a size may take longer than what is measured.
        if seconds > PATIENCE or (len(found) > 1 and max(seconds, time.perf_counter() - begun - PATIENCE) > LIMIT):
            break
    reached, latest = scales[len(found) - 1], found[-1]
    if len(found) == 1:
        return latest / reached
    # Over two doublings too, so that a disturbed measurement does not count for much.
    powers = [math.log2(latest / before) / k for k, before in enumerate(found[-2:-4:-1], 1)]
    line = latest + (latest - found[-2]) * (1 - reached) / (reached / 2)
    return max(line, latest * reached ** -min(max(min(powers), 0.0), most))


class Idle:
    """Stands in for a method's networks: counts the images, computes nothing, and knows the seconds that it takes."""

    def __init__(self, method: Method | None, shape: tuple[int, ...], device: str):
        self.method, self.shape = method, shape
        self.stream = generator(0, "stand-in", device=device)
        self.encoded = self.decoded = self.featured = 0
        self.seconds = 0.0

    def random(self, rows: int, columns: int, device: torch.device | str) -> Tensor:
        """Standard normal numbers, whose seconds are this stand-in's own."""
        started = time.perf_counter()
        made = torch.randn(rows, columns, generator=self.stream, device=self.stream.device).to(device)
        self.seconds += time.perf_counter() - started
        return made

    def _encode(self, x: Tensor) -> Tensor:
        assert self.method is not None
        self.encoded += len(x)
        return self.random(len(x), self.method.heads * self.method.spec.latent, x.device)

    def _decode(self, z: Tensor) -> Tensor:
        self.decoded += len(z)
        return torch.zeros(1, *self.shape, device=z.device).expand(len(z), *self.shape)

    def extractor(self, name: str, dimensions: int, device: str) -> Extractor:
        """A feature space of random features."""

        def features(images: Tensor) -> Tensor:
            self.featured += len(images)
            return self.random(len(images), dimensions, images.device)

        return Extractor(name, "made up", "", features, device)

    @contextmanager
    def networks(self) -> Iterator[None]:
        """Within it the method's encoder and decoder, if there is a method, are these."""
        pairs = [(self.method.encoder, self._encode), (self.method.decoder, self._decode)] if self.method else []
        for network, stand_in in pairs:
            setattr(network, "forward", stand_in)  # noqa: B010
        try:
            yield
        finally:
            for network, _ in pairs:
                delattr(network, "forward")


class Watch:
    """Notes the seconds of each step, without those of the method's hooks, and stops the training after a few."""

    def __init__(self, method: Method, device: str):
        self.seconds: list[float] = []
        self.began, self.device = 0.0, device
        idle, start_epoch, start_step = Idle(method, method.spec.shape, device), method.start_epoch, method.start_step

        def epoch(at: Epoch) -> None:
            with idle.networks():
                start_epoch(at)

        def step(index: int) -> None:
            with idle.networks():
                start_step(index)
            self.began = now(device)

        setattr(method, "start_epoch", epoch)  # noqa: B010
        setattr(method, "start_step", step)  # noqa: B010

    def __call__(self) -> bool:
        self.seconds.append(now(self.device) - self.began)
        # The first step of a GPU loads what it computes with, and may take as long as all others.
        counted = self.seconds[1:] if self.device == "cuda" else self.seconds
        return sum(counted) > LONG_STEP or len(self.seconds) == MOST_STEPS

    @property
    def step(self) -> float:
        """Seconds of a step: the first one makes the optimiser's moments."""
        return statistics.median(self.seconds[1:] or self.seconds)


def now(device: str) -> float:
    """Seconds of a clock, when the device has done what it was told."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def timed(action: Callable[[], object], device: str) -> float:
    """Seconds of an action."""
    started = now(device)
    action()
    return now(device) - started


@dataclass(frozen=True)
class Steps:
    """What was measured of a method at one width."""

    method: Method
    step: float
    memory: float
    weights: float


@dataclass(frozen=True)
class Whole:
    """A job measured in its whole network, and its seconds an image."""

    job: Job
    steps: Steps
    validate: float
    encode: float


class ThisMachine:
    """Measures what jobs cost here; `measured` counts the measurements."""

    def __init__(self, root: Path, device: str):
        self.root, self.device, self.measured = root, device, 0
        self._metrics: dict[str, Any] = {}
        self._networks: dict[str, Any] = {}  # of the data set at work
        self._data: tuple[str, Data] | None = None

    def _peak(self) -> float:
        """Bytes at the peak since it was last asked for; NaN where the system does not tell."""
        found = memory.peak(self.device)
        memory.forget_peak(self.device)
        return math.nan if found is None else found * 2.0**20

    @contextmanager
    def _growth(self) -> Iterator[list[float]]:
        """A list that holds, afterwards, by how many bytes the peak grew."""
        self._peak()
        before, grown = self._peak(), [0.0]
        yield grown
        grown[0] = max(self._peak() - before, 0.0)

    def memory(self, job: Job, trains: float, scores: float) -> float:
        """Bytes of a run at its peak, from those of its training and its scores: of the GPU, else of the process."""
        data = self.data(job)
        splits = (data.train, data.validation) + ((data.test,) if self.device == "cpu" else ())
        self._peak()
        return self._peak() + sum(images.pixels.nbytes for images in splits) + max(trains, scores)

    def data(self, job: Job) -> Data:
        """The images of a job, made up where the data set's outline is known."""
        key = disk.digest(_of_data(job))
        if self._data is None or self._data[0] != key:
            self._data = None
            self._networks.clear()
            self._data = (key, load_data(job, self.root, made_up=True))
        return self._data[1]

    # Training

    def pace(self, job: Job) -> Pace:
        """What the training of a job's method costs; what it adds to a long step is measured in a narrow network."""
        data = self.data(job)
        with fixed_numerics(job.training.threads):
            first, steps = self._steps_of(job)
            hooks = self._hooks(steps.method, data)
            codes = torch.randn(min(len(data.train), 1000), job.training.latent, generator=generator(0, "codes"))
            codes = codes.to(self.device)
            finish = timed(lambda: steps.method.finish(codes), self.device) / len(codes)
        decode = max(first.validate - first.encode, 0.0)
        return Pace(steps.step, *hooks, first.encode, decode, first.validate, finish, steps.memory, steps.weights)

    def _steps_of(self, job: Job) -> tuple[Whole, Steps]:
        """The first job with this one's network, and the steps of this one."""
        training = job.training
        group = [*_of_data(job), training.network, training.width, training.latent, training.batch_size]
        first = _once(self._networks, ["first", group, training.precision], lambda: self._first(job))
        if _but_seed(job) == _but_seed(first.job):
            return first, first.steps
        if first.steps.step < LONG_STEP:
            first = _once(self._networks, ["own", _but_seed(job)], lambda: self._first(job))
            return first, first.steps
        own, beside = self._narrow(job), self._narrow(first.job)
        step = max(first.steps.step + own.step - beside.step, own.step)
        return first, Steps(own.method, step, first.steps.memory, first.steps.weights + own.weights - beside.weights)

    def _first(self, job: Job) -> Whole:
        """A job measured in its whole network."""
        steps, data = self._steps(job, job.training.width), self.data(job)
        images = self._images(data, BATCH)
        validating = timed(lambda: validate(steps.method, images, len(images)), self.device) / len(images)
        encoding = timed(lambda: encode(steps.method, images), self.device) / len(images)
        self.measured += 2
        return Whole(job, steps, validating, encoding)

    def _narrow(self, job: Job) -> Steps:
        return _once(self._networks, ["narrow", _but_seed(job)], lambda: self._steps(job, job.training.width * NARROW))

    def _images(self, data: Data, most: int | None = None) -> Tensor:
        return torch.from_numpy(data.train.pixels[:most]).to(self.device)

    def _steps(self, job: Job, width: float) -> Steps:
        """A few steps of the real training."""
        data, training = self.data(job), job.training.model_copy(update={"epochs": 1, "width": width})
        images, spec = self._images(data), spec_of(job, data)
        with self._growth() as grown:
            method = build(METHODS[job.method_base], job.arguments, spec, training.network, width, 0, self.device)
            watch = Watch(method, self.device)
            with suppress(Stopped):
                train(method, images, images[:2], training, 0, stop=watch)
        self.measured += len(watch.seconds)
        weights = sum(value.nbytes for value in method.state_dict().values())
        return Steps(method, watch.step, grown[0], weights)

    @torch.no_grad()
    def _hooks(self, method: Method, data: Data) -> tuple[int, float, float, float]:
        """The steps of an epoch, and what its hooks cost besides the networks: seconds, images encoded and decoded."""
        spec, images = method.spec, self._images(data)
        idle = Idle(method, spec.shape, self.device)
        epoch = Epoch(0, images, spec.value_range, generator(0, "hold out", 0))
        method.train()
        with idle.networks():
            begun = now(self.device)
            type(method).start_epoch(method, epoch)  # not the watched one
            type(method).start_step(method, 0)
            start = np.array([now(self.device) - begun - idle.seconds, idle.encoded, idle.decoded])
            steps = len(minibatches(len(images), epoch.held_out, spec.batch_size, generator(0, "order", 0)))
            looked = min(steps - 1, LOOKED)
            idle.seconds, idle.encoded, idle.decoded = 0.0, 0, 0
            begun = now(self.device)
            for index in range(1, looked + 1):
                type(method).start_step(method, index)
            later = np.array([now(self.device) - begun - idle.seconds, idle.encoded, idle.decoded])
        seconds, encoded, decoded = start + later * (steps - 1) / max(looked, 1)
        return steps, float(seconds), float(encoded), float(decoded)

    # Scoring

    def space(self, job: Job) -> Space:
        """What the feature space of a job costs; nothing where no metric of its suite needs one."""
        evaluation = job.evaluation
        if not needs_features(evaluation.metrics):
            return Space()
        data = self.data(job)
        causes: list[Any] = [evaluation.extractor, job.training.threads]
        if evaluation.extractor != "inception":  # which makes all images 299 x 299
            causes += [evaluation.classifier_epochs, len(data.train), data.train.pixels.shape]
        return _once(self._metrics, causes, lambda: self._space(job, data))

    def _space(self, job: Job, data: Data) -> Space:
        small = replace(data, train=data.train.take(slice(1000)), test=data.test.take(slice(1)))
        setup = 0.0
        with fixed_numerics(job.training.threads):
            if job.evaluation.extractor == "inception":
                made = untrained_inception(self.device)
            else:
                request = Request(small, self.root, self.device, job.evaluation.classifier_epochs)
                begun = now(self.device)
                with _cache_apart():
                    made = EXTRACTORS[job.evaluation.extractor](request)
                setup = (now(self.device) - begun) * len(data.train) / len(small.train)
            images = torch.from_numpy(np.ascontiguousarray(small.train.pixels[:BATCH]))
            dimensions, count = made.features(images[:1]).shape[1], 2
            if self.device == "cuda":  # which takes long over each new number of images, once
                made.features(images)
                count = len(images)
            with self._growth() as grown:
                while True:
                    few = images[:count]
                    seconds = timed(partial(made.features, few), self.device) / len(few)
                    if count >= len(images) or seconds * count > PATIENCE:
                        break
                    count *= 2
        self.measured += 1
        return Space(dimensions, setup, seconds, grown[0] * max(1.0, made.size / len(few)))

    def scoring(self, job: Job, drawn_alone: bool) -> Scoring:
        """What scoring a job costs, or a further evaluation of it."""
        with fixed_numerics(job.training.threads):
            return self._scoring(job, drawn_alone)

    def _scoring(self, job: Job, drawn_alone: bool) -> Scoring:
        data, space = self.data(job), self.space(job)
        method = None if job.is_control else self._steps_of(job)[1].method
        sketches: dict[float, Sketch] = {}

        def sketch(scale: float) -> Sketch:
            if scale not in sketches:
                sketches[scale] = Sketch(job, method, data, space.dimensions, scale, self.device)
            return sketches[scale]

        scales = _scales(job, data, space.dimensions)
        smallest = sketch(scales[0])
        applies = [pair for pair in wanted(job.evaluation.metrics, drawn_alone) if smallest.provides(*pair)]
        idle = smallest.idle
        counts = [count / scales[0] for count in (idle.encoded, idle.decoded, idle.featured)]
        total = largest = 0.0
        for name, variant in applies:

            def measured(name: str = name, variant: str = variant) -> tuple[float, float]:
                self.measured += 1
                with self._growth() as grown:
                    most = smallest.most(name, variant)
                    seconds = extrapolated(lambda scale: sketch(scale).seconds(name, variant), scales, most)
                return seconds, grown[0]

            causes = [name, smallest.signature(name, variant), scales[0], job.training.threads]
            seconds, grown = _once(self._metrics, causes, measured)
            total += seconds
            # What it grew by are mostly blocks of one size.
            largest = max(largest, grown + smallest.copied(name, variant))
        needs = smallest.held() + largest
        return Scoring(total, counts[0], counts[1], counts[2], needs)


def _scales(job: Job, data: Data, dimensions: int) -> list[float]:
    """Shares of the true sizes, each twice the one before, up to 1 or what is too large to be made up."""
    heldout = data.validation if job.evaluation.protocol == "avae-paper" else data.test
    images, samples = len(data.train), job.evaluation.samples
    n, pixels = min(samples, len(heldout), images), math.prod(data.train.pixels.shape[1:])
    drawn = samples if data.grid else n
    whole = (images + 16 * drawn) * pixels + 4 * (images + 5 * n) * dimensions
    powers = range(max(int(math.log2(n / FEWEST)), 0) if n else 0, -1, -1)
    fitting = [0.5**power for power in powers if whole * 0.25**power <= MOST_BYTES]
    return fitting or [0.5 ** powers[0]]


class Sketch:
    """Made-up evidence for a job, with every size (images, their pixels, features, draws) shrunk by one scale."""

    def __init__(self, job: Job, method: Method | None, data: Data, dimensions: int, scale: float, device: str):
        self.scale, self.device = scale, device
        c, h, w = (int(size) for size in data.train.pixels.shape[1:])
        shape = (c, *(min(size, max(3, round(size * scale**0.5))) for size in (h, w)))
        self.idle = Idle(method, shape, device)

        def shrunk(images: Images) -> Images:
            n = math.ceil(len(images) * scale)
            return Images(overlapping(n, shape), None if images.labels is None else images.labels[:n])

        grid = data.grid and Grid(
            data.grid.names, data.grid.sizes, overlapping(len(data.grid.order), shape), data.grid.order
        )
        small = replace(
            data,
            train=shrunk(data.train),
            validation=shrunk(data.validation),
            test=shrunk(data.test),
            novel=data.novel and shrunk(data.novel),
            grid=grid,
        )
        settings = job.evaluation
        fewer = {key: max(min(getattr(settings, key), 50), round(getattr(settings, key) * scale)) for key in SHRINKING}
        extractor = None
        if dimensions:
            extractor = self.idle.extractor(settings.extractor, max(2, round(dimensions * scale)), device)
        context = (small, extractor, settings.model_copy(update=fewer), job.seed, device)
        self.evidence: Evidence
        if method is not None:
            self.evidence = ModelEvidence(method, *context)
        elif job.method == "real-images":
            self.evidence = RealImages(*context)
        else:
            self.evidence = StandardNormal(job.training.latent, *context)
        if method is not None and grid:  # encoding them all, one by one, would take what is to be saved
            codes = self.idle.random(len(grid.order), job.training.latent, "cpu")
            self.evidence.once("codes", "whole grid", lambda: codes)
            self.idle.encoded += round(len(grid.order) * scale)
        if extractor:
            features = extractor.features(self.evidence.splits["train"])
            self.evidence.once("features", "reference", lambda: features)
            self.idle.featured = 0  # these are computed once for all runs

    def inputs(self, name: str, variant: str) -> dict[str, Any] | None:
        """What a metric gets; None where it does not apply."""
        with self.idle.networks():
            inputs = inputs_of(self.evidence, name, variant)
        if inputs and "once" in inputs:
            inputs["once"] = anew  # each variant is measured as if it shared nothing
        return inputs

    def provides(self, name: str, variant: str) -> bool:
        """Whether a metric applies."""
        return self.inputs(name, variant) is not None

    def seconds(self, name: str, variant: str) -> float:
        """Seconds of a metric and of its inputs, the networks left out."""
        self.idle.seconds = 0.0
        begun = now(self.device)
        inputs = self.inputs(name, variant) or {}
        providing = now(self.device) - begun - self.idle.seconds
        return providing + timed(lambda: METRICS[name](**inputs), self.device)

    def signature(self, name: str, variant: str) -> dict[str, Any]:
        """The shapes and values of what a metric gets, on which its seconds depend."""
        inputs = self.inputs(name, variant) or {}
        return {key: [*value.shape] if isinstance(value, Tensor) else repr(value) for key, value in inputs.items()}

    def most(self, name: str, variant: str) -> float:
        """The largest power of the scale that a metric's cost grows with: pairs of samples, times what shrinks too."""
        inputs = self.inputs(name, variant) or {}
        wide = any(
            is_of_features(key) or (isinstance(value, Tensor) and value.ndim == 4) for key, value in inputs.items()
        )
        return 3.0 if wide else 2.0

    def held(self) -> float:
        """Bytes, at the true sizes, of what the metrics share."""
        return sum(
            self._true_size(what, kind, value) * value.element_size()
            for (kind, what), value in self.evidence.made.items()
            if isinstance(value, Tensor)
        )

    def _true_size(self, what: str, kind: str, values: Tensor) -> float:
        if what == "whole grid":
            return values.numel()
        return values.numel() / self.scale ** (2 if kind in ("features", "images", "recon", "drawn") else 1)

    def copied(self, name: str, variant: str) -> float:
        """Bytes, at the true sizes, of the float64 matrices and float32 images that a metric makes of its inputs."""
        found = 0.0
        for parameter, value in (self.inputs(name, variant) or {}).items():
            if isinstance(value, Tensor) and value.is_floating_point():
                if parameter in ("grid_codes", "directions"):
                    found += 8 * value.numel()
                elif value.ndim == 4:
                    found += 4 * value.numel() / self.scale**2
                else:
                    found += 8 * value.numel() / self.scale ** (2 if is_of_features(parameter) else 1)
        return found


@contextmanager
def _cache_apart() -> Iterator[None]:
    """Within it whatever is kept for later goes into a folder that is deleted."""
    before = os.environ.get("XDG_CACHE_HOME")
    with TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["XDG_CACHE_HOME"]
            else:
                os.environ["XDG_CACHE_HOME"] = before


def _once(known: dict[str, Any], causes: Any, make: Callable[[], Any]) -> Any:
    """What `make` makes of these causes, made at the first call only."""
    key = disk.digest(causes)
    if key not in known:
        known[key] = make()
    return known[key]


def _of_data(job: Job) -> list[Any]:
    training, evaluation = job.training, job.evaluation
    limits = [training.train_images, training.validation_images, evaluation.test_images]
    return [job.dataset_base, job.options, limits, training.threads]


def _but_seed(job: Job) -> dict[str, Any]:
    return {**job.weights_settings(), "seed": 0}
