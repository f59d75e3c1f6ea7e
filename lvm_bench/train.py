"""The only loop that trains a Method."""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lvm_bench import networks
from lvm_bench.contract import Epoch, Method, Spec, to_float
from lvm_bench.errors import RunError
from lvm_bench.seeding import derive, generator


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


@dataclass
class Tick:
    """What a progress line shows: how far a run is, its pace, and the last epoch's losses."""

    epoch: int
    epochs: int
    share: float  # of the whole training
    images_per_second: float
    means: dict[str, float]


@dataclass
class Trained:
    """A trained method, the weights of its best epoch, and one row of history per epoch."""

    method: Method
    best: dict[str, Tensor]
    history: list[dict[str, float]]


@contextmanager
def fixed_numerics(threads: int) -> Iterator[None]:
    """The same bits on every call: this many threads, no TF32, deterministic cuDNN; all restored afterwards."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (torch.get_num_threads(), cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32)
    torch.set_num_threads(threads)
    cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = False, True, False, False
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = before[1:]


def build(
    cls: type[Method],
    arguments: dict[str, Any],
    spec: Spec,
    network: str,
    width: float,
    seed: int,
    device: str = "cpu",
) -> Method:
    """A method with freshly drawn weights, which depend on the seed alone (not on method or device)."""
    encoder, decoder = networks.build(network, spec, cls.heads, width, generator(seed, "weights"))
    # A method may make layers of its own with torch's global generator: seed it, and leave it as it was found.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "own weights"))
        method = cls(encoder, decoder, spec, **arguments)
    # oneDNN and cuDNN convolve pixels-last images faster; the numbers that a layer computes are the same.
    method = method.to(device).to(memory_format=torch.channels_last)
    method.generator = generator(seed, "noise", device=device)
    return method


def train(
    method: Method,
    images: UInt8[Tensor, "n c h w"],
    validation: UInt8[Tensor, "v c h w"],
    settings: Settings,
    seed: int,
    tick: Callable[[Tick], None] = lambda _: None,
) -> Trained:
    """Minimise `losses(x)["loss"]` with Adam; a plateau of the monitored validation loss halves the rate.

    Raises RunError naming the first term that is not finite, with its epoch.
    """
    value_range, device = method.spec.value_range, images.device
    own = [p for p in method.parameters() if p.requires_grad]
    adversary = list(method.adversary.parameters()) if method.adversary is not None else []
    adversarial = {id(p) for p in adversary}
    model = [p for p in own if id(p) not in adversarial]
    rate = settings.learning_rate
    # Keras's epsilon, as in the authors' code.
    optimisers = [torch.optim.Adam(model, lr=rate, eps=1e-7, fused=True)]
    if adversary:
        own_rate = rate if method.adversary_learning_rate is None else method.adversary_learning_rate
        optimisers.append(torch.optim.Adam(adversary, own_rate, method.adversary_betas, eps=1e-7, fused=True))
    schedules = [
        torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimiser,
            factor=settings.factor,
            # Keras reduces when `wait >= patience`, torch when `bad > patience`.
            patience=settings.patience - 1,
            threshold=settings.threshold,
            threshold_mode="abs",
        )
        for optimiser in optimisers
    ]
    history: list[dict[str, float]] = []
    best, best_value = copy.deepcopy(method.state_dict()), float("inf")
    for index in range(settings.epochs):
        started, seen = time.perf_counter(), 0
        method.generator.manual_seed(derive(seed, "noise", index))
        epoch = Epoch(index, images, value_range, generator(seed, "hold out", index))
        method.train()
        with torch.no_grad():
            method.start_epoch(epoch)
        if index == 0:
            method.validated(validate(method, validation, settings.batch_size))
            method.train()
        batches = minibatches(len(images), epoch.held_out, settings.batch_size, generator(seed, "order", index))
        sums = Sums()
        for step, chosen in enumerate(batches):
            x = to_float(images[chosen.to(device)], value_range).contiguous(memory_format=torch.channels_last)
            with torch.no_grad():
                method.start_step(step)
            losses = method.losses(x)
            optimise(optimisers[0], losses["loss"])
            if adversary:
                adversary_losses = method.adversary_losses(x)
                optimise(optimisers[1], adversary_losses["adversary_loss"])
                losses = {**losses, **adversary_losses}
            sums.add(losses, len(x))
            seen += len(x)
            if step % 20 == 19 or step == len(batches) - 1:
                share = (index + (step + 1) / len(batches)) / settings.epochs
                pace = seen / (time.perf_counter() - started)
                tick(Tick(index + 1, settings.epochs, share, pace, _shown(history, method)))
        sums.check(index + 1, "training")
        means = validate(method, validation, settings.batch_size, index + 1)
        if method.monitor not in means:
            raise RunError(f"monitor = {method.monitor!r} names none of the losses: {', '.join(means)}.")
        rates = {"learning_rate": optimisers[0].param_groups[0]["lr"]}
        history.append({"epoch": index + 1, **rates, **_under("train", sums.means()), **_under("val", means)})
        monitored = means[method.monitor]
        for schedule in schedules:
            schedule.step(monitored)
        if monitored < best_value:
            best, best_value = copy.deepcopy(method.state_dict()), monitored
        method.validated(means)
    method.eval()
    return Trained(method, best, history)


def optimise(optimiser: torch.optim.Optimizer, loss: Float[Tensor, ""]) -> None:
    """One step down the gradient of `loss`."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def minibatches(n: int, held_out: Tensor, size: int, order: torch.Generator) -> list[Tensor]:
    """Indices of one epoch in random order, without those held out; the partial last batch is kept.

    A last batch of one image is dropped: batch statistics (MMD, total correlation) need two.
    """
    keep = torch.ones(n, dtype=torch.bool)
    keep[held_out] = False
    indices = keep.nonzero().squeeze(1)
    batches = list(indices[torch.randperm(len(indices), generator=order)].split(size))
    return batches if len(batches[-1]) > 1 else batches[:-1]


@torch.no_grad()
def validate(method: Method, images: UInt8[Tensor, "v c h w"], batch_size: int, epoch: int = 0) -> dict[str, float]:
    """The mean of every loss over the validation images, in eval mode."""
    method.eval()
    sums = Sums()
    chunks = images.split(batch_size)
    for chunk in chunks if len(chunks) == 1 or len(chunks[-1]) > 1 else chunks[:-1]:
        sums.add(method.losses(to_float(chunk, method.spec.value_range)), len(chunk))
    sums.check(epoch, "validation")
    return sums.means()


@torch.no_grad()
def encode(method: Method, images: UInt8[Tensor, "n c h w"], size: int = 500) -> Float[Tensor, "n l"]:
    """The codes of images in eval mode, in order, on the method's device."""
    method.eval()
    chunks = (chunk.to(method.generator.device) for chunk in images.split(size))
    return torch.cat([method.encode(to_float(chunk, method.spec.value_range)) for chunk in chunks])


class Sums:
    """Running means of a batch's losses, kept on the device: the loop never waits for it."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.total = self.broken = torch.empty(0)
        self.count = 0

    def add(self, losses: dict[str, Tensor], n: int) -> None:
        """Add the losses of a batch of n images."""
        values = torch.stack([value.detach().to(torch.float64).reshape(()) for value in losses.values()])
        if not self.names:
            self.names = list(losses)
            self.total, self.broken = torch.zeros_like(values), torch.zeros_like(values, dtype=torch.bool)
        self.total += values * n
        # The first batch that breaks tells the cause; later ones break everywhere.
        self.broken = torch.where(self.broken.any(), self.broken, ~torch.isfinite(values))
        self.count += n

    def check(self, epoch: int, what: str) -> None:
        """RunError when a loss was not finite, naming the terms that broke first."""
        broken = [name for name, bad in zip(self.names, self.broken.tolist(), strict=True) if bad]
        if broken:
            causes = [name for name in broken if not name.endswith("loss")] or broken
            raise RunError(
                f"The term {' and '.join(map(repr, causes))} became NaN or infinite in epoch {epoch} ({what}). "
                "A smaller learning rate or a weaker regulariser may help."
            )

    def means(self) -> dict[str, float]:
        """Mean per image of every loss."""
        return dict(zip(self.names, (self.total / self.count).tolist(), strict=True))


def _under(prefix: str, means: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in means.items()}


def _shown(history: list[dict[str, float]], method: Method) -> dict[str, float]:
    """The two numbers of the last epoch that a progress line has room for."""
    if not history:
        return {}
    last = history[-1]
    return {name: last[name] for name in ("train/loss", f"val/{method.monitor}") if name in last}
