"""The state of a training: everything that changes while a method is trained, and what comes of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn

from lvm_bench.errors import RunError
from lvm_bench.modelling.contract import Epoch, Method
from lvm_bench.seeding import derive, generator
from lvm_bench.suites.job import TrainingSettings, Weights
from lvm_bench.training.aggregate import of_codes
from lvm_bench.training.batches import Sums, aggregate, minibatches, validate
from lvm_bench.training.checkpoint import Checkpoints, Snapshot
from lvm_bench.training.numerics import memory_format, precision
from lvm_bench.training.stages import Stages
from lvm_bench.training.tick import Tick


@dataclass
class Trained:
    """The result of a training: the method, the weights of its best epoch, one row of history per epoch, the costs."""

    method: Method
    best: dict[str, Tensor]
    history: list[dict[str, float]]
    seconds: float
    seconds_checkpoints: float  # the part of `seconds` that checkpoints took
    updates: int  # steps of the model's optimiser
    encoded: int  # images that the encoder saw in training; validation does not count


class Training:
    """The weights, optimisers, schedules, generators, running sums and best epoch of one training.

    A later stage begins with the last or the best `weights` of the one before. `state` and `restore` carry all of it
    from one process to another, bit for bit.
    """

    def __init__(
        self,
        method: Method,
        settings: TrainingSettings,
        images: UInt8[Tensor, "n c h w"],
        seed: int,
        tick: Callable[[Tick], None] = lambda _: None,
        checkpoints: Checkpoints | None = None,
        weights: Weights = "last",
    ):
        self.method, self.settings, self.images, self.seed = method, settings, images, seed
        self.weights = weights
        self.tick, self.checkpoints = tick, checkpoints
        self.memory_format = memory_format(method, images.device.type, settings.precision)
        self.seconds = 0.0  # what earlier processes spent
        self.clock: Callable[[], float] = lambda: self.seconds  # what all processes spent, this one included
        self.history: list[dict[str, float]] = []
        self.stages = Stages(method, settings.epochs)
        self.begin_stage()
        self.step, self.sums = 0, Sums()
        self.updates = self.encoded = 0  # as in Trained
        self.epoch, self.mirrored = self.new_epoch(), torch.zeros(len(images), dtype=torch.bool)

    @property
    def index(self) -> int:
        """The number of the current epoch, counted from 0."""
        return len(self.history)

    @property
    def function(self) -> str:
        """The name of the method's function that gives the losses of the current stage."""
        return self.stages.function(self.stage)

    def begin_stage(self) -> None:
        """Begin the stage of the current epoch, with optimisers, schedules and a best epoch of its own."""
        self.stage = self.stages.at(self.index)
        self.optimisers = _optimisers(self.stages, self.stage, self.settings) if self.stages.epochs else []
        self.schedules = [_schedule(optimiser, self.settings) for optimiser in self.optimisers]
        self.best, self.best_value = _weights(self.method), float("inf")

    def new_epoch(self) -> Epoch:
        """The current epoch, before its batches are drawn."""
        return Epoch(
            self.index, self.images, self.method.spec.value_range, generator(self.seed, "hold out", self.index)
        )

    def start_epoch(self) -> None:
        """Give the method the current epoch and seed its noise; a training that resumes in mid-epoch does so again.

        In a later stage it is given none: no image is held out.
        """
        self.epoch = self.new_epoch()
        if self.settings.flips:
            coins = generator(self.seed, "flips", self.index)
            self.mirrored = (torch.rand(len(self.images), generator=coins) < 0.5).to(self.images.device)
        self.method.generator.manual_seed(derive(self.seed, "noise", self.index))
        self.stages.train_mode(self.stage)
        if self.stage == 0:
            with torch.no_grad():
                self.method.start_epoch(self.epoch)

    def batches(self) -> list[Tensor]:
        """The indices of the images in each minibatch of the current epoch."""
        order = generator(self.seed, "order", self.index)
        images, settings = self.images, self.settings
        return minibatches(
            len(images), self.epoch.held_out, settings.batch_size, order, images.device, settings.streams
        )

    def pixels(self, chosen: Int[Tensor, " b"]) -> UInt8[Tensor, "b c h w"]:
        """The images of a minibatch; with `flips` half of them, drawn anew each epoch, are mirrored left to right."""
        pixels = self.images[chosen]
        if not self.settings.flips:
            return pixels
        return torch.where(self.mirrored[chosen][:, None, None, None], pixels.flip(3), pixels)

    def begin_noise(self, part: int | str) -> None:
        """Begin the noise of a step or of a validation. Paired, it is the same whatever a method drew before."""
        if self.settings.streams == "paired":
            self.method.generator.manual_seed(derive(self.seed, "noise", self.index, part))

    def end_epoch(self, means: dict[str, float], aggregate: dict[str, float]) -> None:
        """Add a row to the history, step the schedules, and keep the weights if this epoch is the best of its stage."""
        now = {"updates": self.updates, "learning_rate": self.optimisers[0].param_groups[0]["lr"]}
        place = {"stage": self.stage + 1} if len(self.stages.names) > 1 else {}
        train, val = (self.stages.logged(self.stage, each) for each in (self.sums.means(), means))
        row = {"epoch": self.index + 1, **place, **now, **_under("train", train), **_under("val", val)}
        self.history.append(row | aggregate)
        monitored = means[self.monitor]
        for schedule in self.schedules:
            schedule.step(monitored)
        if monitored < self.best_value:
            self.best, self.best_value = _weights(self.method), monitored
        if self.stage == 0:
            self.method.validated(means)
        self.step, self.sums = 0, Sums()
        if self.stages.at(self.index) != self.stage:
            if self.weights == "best":
                self.method.load_state_dict(self.best)
            self.begin_stage()

    @property
    def monitor(self) -> str:
        """The validation loss that decides the schedule and the best epoch of the current stage."""
        return "loss" if self.stage else self.method.monitor

    def count(self, _: nn.Module, inputs: tuple[Tensor, ...], __: Tensor) -> None:
        """Count the images that the encoder saw. torch calls this hook after each forward pass of the encoder."""
        self.encoded += len(inputs[0])

    @contextmanager
    def at_work(self, seeds: int = 1) -> Iterator[None]:
        """Inside this context the networks use the precision of the settings, and images and seconds are counted.

        When several seeds are trained together, each is charged its share of the seconds.
        """
        before, begun = self.seconds, time.perf_counter()
        self.clock = lambda: before + (time.perf_counter() - begun) / seeds
        counter = self.method.encoder.register_forward_hook(self.count)
        try:
            with precision(self.method, self.settings.precision):
                yield
        finally:
            counter.remove()

    def resume(self) -> None:
        """Restore the newest checkpoint, if there is one."""
        if self.checkpoints and (state := self.checkpoints.latest()):
            self.restore(state)

    def save(self) -> None:
        """Write a checkpoint, if this training keeps checkpoints. Raises StorageError."""
        if self.checkpoints:
            self.checkpoints.save(self.state())

    def validate(self, images: UInt8[Tensor, "v c h w"], epoch: int) -> dict[str, float]:
        """The mean of every loss over the validation images."""
        self.begin_noise("validation")
        with self.uncounted():
            return validate(self.method, images, self.settings.batch_size, epoch, self.function)

    def aggregate(self, images: UInt8[Tensor, "v c h w"]) -> dict[str, float]:
        """What the history tells of the aggregate posterior of the validation images; {} in a later stage."""
        if self.stage:
            return {}
        every = self.settings.entropy_every
        with self.uncounted():
            codes, variances = aggregate(self.method, images)
        row = _under("aggregate_variance", {str(j): value for j, value in enumerate(variances.tolist())})
        if not self.method.cannot_sample and self.method.target_variance is not None:
            row["target_variance"] = float(self.method.target_variance)
        return row | _under("codes", of_codes(self.method, codes, every > 0 and (self.index + 1) % every == 0))

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Inside this context the images that the encoder sees are not counted as a cost of the training."""
        encoded = self.encoded
        yield
        self.encoded = encoded

    def state(self) -> Snapshot:
        """Everything that the training needs to go on, as tensors and plain facts."""
        tensors = {
            "noise": self.method.generator.get_state(),
            "hold out": self.epoch.generator.get_state(),
            "held out": self.epoch.held_out,
            "sums": self.sums.total,
            "broken": self.sums.broken,
            **{f"method/{name}": value for name, value in _tensors(self.method).items()},
            **{f"best/{name}": value for name, value in self.best.items()},
        }
        for i, optimiser in enumerate(self.optimisers):
            for j, p in enumerate(optimiser.param_groups[0]["params"]):
                tensors |= {f"optimiser/{i}/{j}/{key}": value for key, value in optimiser.state[p].items()}
        facts = {
            "step": self.step,
            "updates": self.updates,
            "encoded": self.encoded,
            "names": self.sums.names,
            "count": self.sums.count,
            "history": self.history,
            "best_value": self.best_value,
            "seconds": self.clock(),
            "rates": [optimiser.param_groups[0]["lr"] for optimiser in self.optimisers],
            "schedules": [schedule.state_dict() for schedule in self.schedules],
        }
        return tensors, facts

    def restore(self, state: Snapshot) -> None:
        """Set everything from a state. In mid-epoch the method is given that epoch again first."""
        tensors, facts = state
        self.history, self.step, self.best_value = facts["history"], facts["step"], facts["best_value"]
        self.updates, self.encoded, self.seconds = facts["updates"], facts["encoded"], facts["seconds"]
        if self.stages.at(self.index) != self.stage:
            self.begin_stage()
        self._copy_into_method(tensors)
        if self.step:
            self.start_epoch()
            self._copy_into_method(tensors)
            self.epoch.generator.set_state(tensors["hold out"])
            self.epoch.held_out = tensors["held out"]
            self.method.generator.set_state(tensors["noise"])
        device = self.images.device
        self.sums.names, self.sums.count = facts["names"], facts["count"]
        self.sums.total, self.sums.broken = tensors["sums"].to(device), tensors["broken"].to(device)
        for key, value in self.best.items():
            value.copy_(tensors[f"best/{key}"])
        for i, (optimiser, rate) in enumerate(zip(self.optimisers, facts["rates"], strict=True)):
            group = optimiser.param_groups[0]
            group["lr"] = rate
            for j, p in enumerate(group["params"]):
                prefix = f"optimiser/{i}/{j}/"
                found = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
                # Adam's moments must have the memory format of their parameter.
                optimiser.state[p] = {
                    key: torch.empty_like(p).copy_(t) if t.shape == p.shape else t.to(p.device)
                    for key, t in found.items()
                }
        for schedule, values in zip(self.schedules, facts["schedules"], strict=True):
            schedule.load_state_dict(values)

    @torch.no_grad()
    def _copy_into_method(self, tensors: dict[str, Tensor]) -> None:
        """Copy the saved parameters and buffers into the method."""
        for name, value in _tensors(self.method).items():
            kept = tensors[f"method/{name}"]
            if value.shape != kept.shape:  # the size of some buffers grows in training
                value.resize_(kept.shape)
            value.copy_(kept)


def _optimisers(stages: Stages, stage: int, settings: TrainingSettings) -> list[torch.optim.Adam]:
    """Adam for what a stage optimises and, if the method has an adversary, in the first stage Adam for the adversary.

    RunError for a method without a trainable parameter.
    """
    method, model = stages.method, stages.parameters(stage)
    adversary = list(method.adversary.parameters()) if method.adversary is not None and stage == 0 else []
    if not model:
        raise RunError(f"{type(method).__name__} has no trainable parameter. Give it epochs = 0, which trains nothing.")
    # The authors' code uses Keras, whose epsilon is 1e-7.
    rate = settings.learning_rate
    optimisers = [torch.optim.Adam(model, rate, settings.betas, eps=1e-7, fused=True)]
    if adversary:
        own_rate = rate if method.adversary_learning_rate is None else method.adversary_learning_rate
        optimisers.append(torch.optim.Adam(adversary, own_rate, method.adversary_betas, eps=1e-7, fused=True))
    return optimisers


def _schedule(optimiser: torch.optim.Adam, settings: TrainingSettings) -> torch.optim.lr_scheduler.ReduceLROnPlateau:
    """Lowers the learning rate when the monitored loss reaches a plateau."""
    return torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser,
        factor=settings.factor,
        # Keras lowers the rate when `wait >= patience`, torch when `bad > patience`.
        patience=settings.patience - 1,
        threshold=settings.threshold,
        threshold_mode="abs",
    )


def _weights(method: Method) -> dict[str, Tensor]:
    """A copy of the tensors that a weights file holds."""
    return {name: value.clone() for name, value in method.state_dict().items()}


def _tensors(method: Method) -> dict[str, Tensor]:
    """Every parameter and buffer of a method, also the buffers that its weights file leaves out."""
    return {**dict(method.named_parameters()), **dict(method.named_buffers())}


def _under(prefix: str, means: dict[str, float]) -> dict[str, float]:
    """The same values with `prefix/` before each name."""
    return {f"{prefix}/{name}": value for name, value in means.items()}
