"""Everything that training changes, carried from one process to another bit for bit."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from lvm_bench.modelling.contract import Epoch, Method
from lvm_bench.seeding import derive, generator
from lvm_bench.training import memory
from lvm_bench.training.batches import Sums, aggregate_variance, minibatches, validate
from lvm_bench.training.checkpoint import Checkpoints, State
from lvm_bench.training.numerics import memory_format, precision


@dataclass
class Tick:
    """How far a training is, its pace, and the last epoch's losses."""

    epoch: int
    epochs: int
    share: float  # of the whole training
    images_per_second: float
    means: dict[str, float]


@runtime_checkable
class Settings(Protocol):
    """What the loop reads of a job's training settings."""

    network: str
    width: float
    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    factor: float
    threshold: float
    precision: Literal["float32", "tf32", "bf16"]


@dataclass
class Trained:
    """A trained method, the weights of its best epoch, one row of history per epoch, and what it cost."""

    method: Method
    best: dict[str, Tensor]
    history: list[dict[str, float]]
    seconds: float
    seconds_checkpoints: float  # of them
    updates: int  # of the model
    encoded: int  # images that its encoder saw, those of the validation left out


class Training:
    """Whatever training changes: weights, optimisers, schedules, generators, the running sums, the best epoch.

    `state` and `restore` carry all of it from one process to another, bit for bit.
    """

    def __init__(
        self,
        method: Method,
        settings: Settings,
        images: UInt8[Tensor, "n c h w"],
        seed: int,
        tick: Callable[[Tick], None] = lambda _: None,
        checkpoints: Checkpoints | None = None,
    ):
        self.method, self.settings, self.images, self.seed = method, settings, images, seed
        self.tick, self.checkpoints = tick, checkpoints
        self.memory_format = memory_format(method, images.device.type, settings.precision)
        self.seconds = 0.0  # that processes before this one spent
        self.clock: Callable[[], float] = lambda: self.seconds  # with those of this one
        own = [p for p in method.parameters() if p.requires_grad]
        adversary = list(method.adversary.parameters()) if method.adversary is not None else []
        adversarial = {id(p) for p in adversary}
        model = [p for p in own if id(p) not in adversarial]
        rate = settings.learning_rate
        # Keras's epsilon, as in the authors' code.
        self.optimisers = [torch.optim.Adam(model, lr=rate, eps=1e-7, fused=True)]
        if adversary:
            own_rate = rate if method.adversary_learning_rate is None else method.adversary_learning_rate
            self.optimisers.append(torch.optim.Adam(adversary, own_rate, method.adversary_betas, eps=1e-7, fused=True))
        self.schedules = [
            torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimiser,
                factor=settings.factor,
                # Keras reduces when `wait >= patience`, torch when `bad > patience`.
                patience=settings.patience - 1,
                threshold=settings.threshold,
                threshold_mode="abs",
            )
            for optimiser in self.optimisers
        ]
        self.history: list[dict[str, float]] = []
        self.best, self.best_value = _weights(method), float("inf")
        self.step, self.sums = 0, Sums()
        self.updates = self.encoded = 0  # of the model, and images that its encoder saw
        self.epoch = self.new_epoch()

    @property
    def index(self) -> int:
        """The epoch at work, counted from 0."""
        return len(self.history)

    def new_epoch(self) -> Epoch:
        """The epoch at work, before its batches are drawn."""
        return Epoch(
            self.index, self.images, self.method.spec.value_range, generator(self.seed, "hold out", self.index)
        )

    def start_epoch(self) -> None:
        """Begin the epoch at work, in the middle too: the method gets its epoch, and draws its noise anew."""
        self.epoch = self.new_epoch()
        self.method.generator.manual_seed(derive(self.seed, "noise", self.index))
        self.method.train()
        with torch.no_grad():
            self.method.start_epoch(self.epoch)

    def batches(self) -> list[Tensor]:
        """The indices of the epoch's minibatches."""
        order = generator(self.seed, "order", self.index)
        images = self.images
        return minibatches(len(images), self.epoch.held_out, self.settings.batch_size, order, images.device)

    def end_epoch(self, means: dict[str, float], variances: list[float]) -> None:
        """Note an epoch with its validation means and variances, move the schedules, keep the best weights."""
        rates = {"learning_rate": self.optimisers[0].param_groups[0]["lr"]}
        row = {"epoch": self.index + 1, **rates, **_under("train", self.sums.means()), **_under("val", means)}
        row |= _under("aggregate_variance", {str(j): value for j, value in enumerate(variances)})
        if not self.method.cannot_sample:
            row["target_variance"] = float(self.method.target_variance)
        self.history.append(row)
        monitored = means[self.method.monitor]
        for schedule in self.schedules:
            schedule.step(monitored)
        if monitored < self.best_value:
            self.best, self.best_value = _weights(self.method), monitored
        self.method.validated(means)
        self.step, self.sums = 0, Sums()

    def count(self, _: nn.Module, inputs: tuple[Tensor, ...], __: Tensor) -> None:
        """Called after each forward pass of the encoder."""
        self.encoded += len(inputs[0])

    @contextmanager
    def at_work(self, seeds: int = 1) -> Iterator[None]:
        """Within it the networks have the precision of the settings, and images and seconds count.

        Of seeds that are trained together each has its share of the seconds.
        """
        before, begun = self.seconds, time.perf_counter()
        self.clock = lambda: before + (time.perf_counter() - begun) / seeds
        counter = self.method.encoder.register_forward_hook(self.count)
        try:
            with precision(self.method, self.settings.precision), memory.reused():
                yield
        finally:
            counter.remove()

    def resume(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        if self.checkpoints and (state := self.checkpoints.latest()):
            self.restore(state)

    def save(self) -> None:
        """Write a checkpoint, if there are to be any. Raises StorageError."""
        if self.checkpoints:
            self.checkpoints.save(self.state())

    def validate(self, images: UInt8[Tensor, "v c h w"], epoch: int) -> dict[str, float]:
        """The mean of every loss over the validation images."""
        with self.uncounted():
            return validate(self.method, images, self.settings.batch_size, epoch)

    def variances(self, images: UInt8[Tensor, "v c h w"]) -> list[float]:
        """The variance of the aggregate posterior of the validation images along each axis."""
        with self.uncounted():
            return aggregate_variance(self.method, images).tolist()

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Within it the images that the encoder sees are no cost of the training."""
        encoded = self.encoded
        yield
        self.encoded = encoded

    def state(self) -> State:
        """Everything, as tensors and facts."""
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

    def restore(self, state: State) -> None:
        """Go on from a state; in the middle of an epoch the method first gets that epoch again."""
        tensors, facts = state
        self.history, self.step, self.best_value = facts["history"], facts["step"], facts["best_value"]
        self.updates, self.encoded, self.seconds = facts["updates"], facts["encoded"], facts["seconds"]
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
                # Moments lie in memory as their parameter does.
                optimiser.state[p] = {
                    key: torch.empty_like(p).copy_(t) if t.shape == p.shape else t.to(p.device)
                    for key, t in found.items()
                }
        for schedule, values in zip(self.schedules, facts["schedules"], strict=True):
            schedule.load_state_dict(values)

    @torch.no_grad()
    def _copy_into_method(self, tensors: dict[str, Tensor]) -> None:
        for name, value in _tensors(self.method).items():
            kept = tensors[f"method/{name}"]
            if value.shape != kept.shape:  # a buffer that grows
                value.resize_(kept.shape)
            value.copy_(kept)


def _weights(method: Method) -> dict[str, Tensor]:
    """A copy of what a weights file holds."""
    return {name: value.clone() for name, value in method.state_dict().items()}


def _tensors(method: Method) -> dict[str, Tensor]:
    """Every parameter and buffer of a method, those that its weights leave out too."""
    return {**dict(method.named_parameters()), **dict(method.named_buffers())}


def _under(prefix: str, means: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in means.items()}
