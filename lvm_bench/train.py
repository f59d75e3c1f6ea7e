"""The only loop that trains a Method."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64, Int, UInt8
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lvm_bench import memory, networks
from lvm_bench.checkpoint import Checkpoints, State
from lvm_bench.contract import Epoch, Method, Spec, to_float
from lvm_bench.errors import RunError, Stopped
from lvm_bench.progress import Tick
from lvm_bench.seeding import derive, generator

WIDE = 2**21  # weights of convolutions: the paper's MNIST network has 5.5 million, at half its width 1.4


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


@contextmanager
def fixed_numerics(threads: int) -> Iterator[None]:
    """The same bits on every call: this many threads, no TF32, deterministic cuDNN; all restored afterwards.

    The threads are torch's and those of NumPy's, SciPy's and scikit-learn's libraries, whose sums differ with them.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    import sklearn  # noqa: F401  (threads are limited in the libraries that are loaded by then)

    before = (torch.get_num_threads(), cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32)
    torch.set_num_threads(threads)
    cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = False, True, False, False
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before[0])
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = before[1:]


@contextmanager
def precision(method: Method, name: Literal["float32", "tf32", "bf16"]) -> Iterator[None]:
    """Within it the networks' products are in float32, `tf32` (on a GPU, an adversary's too) or `bf16`.

    Whatever else is float32: distances between codes see to it themselves.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.allow_tf32, matmul.allow_tf32)
    cudnn.allow_tf32 = matmul.allow_tf32 = name == "tf32"
    networks_in = (method.encoder, method.decoder) if name == "bf16" else ()
    hooks = [hook for network in networks_in for hook in _in_bfloat16(network, method.generator.device.type)]
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before
        for hook in hooks:
            hook.remove()


def _in_bfloat16(network: nn.Module, device: str) -> list[RemovableHandle]:
    """Hooks that let a network compute in bfloat16 from float32 weights; what it returns is float32."""
    lower = torch.autocast(device, torch.bfloat16)

    def begin(*_: object) -> None:
        lower.__enter__()

    def end(_: nn.Module, __: object, output: Tensor | None) -> Tensor | None:
        lower.__exit__(None, None, None)
        return None if output is None else output.float()  # None where it raised

    return [network.register_forward_pre_hook(begin), network.register_forward_hook(end, always_call=True)]


def build(
    cls: type[Method],
    arguments: dict[str, Any],
    spec: Spec,
    network: str,
    width: float,
    seed: int,
    device: str = "cpu",
    precision: str = "float32",
) -> Method:
    """A method with freshly drawn weights, which depend on the seed and the encoder's heads alone.

    `precision` is that of its training, which decides how the weights lie in memory.
    """
    encoder, decoder = networks.build(network, spec, cls.heads, width, generator(seed, "weights"))
    # A method may make layers of its own with torch's global generator: seed it, and leave it as it was found.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, "own weights"))
        method = cls(encoder, decoder, spec, **arguments)
    method = method.to(device)
    networks.lay_out(method, memory_format(method, device, precision))
    method.generator = generator(seed, "noise", device=device)
    return method


def memory_format(method: Method, device: str, precision: str) -> torch.memory_format:
    """How the weights of convolutions and the images of a batch lie in memory: results agree to rounding.

    cuDNN is faster with channels last; oneDNN too by a sixth, but in wide networks in float32 it is slower by as much.
    """
    is_wide = sum(p.numel() for p in method.parameters() if p.ndim == 4) > WIDE
    contiguous = is_wide and device == "cpu" and precision != "bf16"
    return torch.contiguous_format if contiguous else torch.channels_last


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


def train(
    method: Method,
    images: UInt8[Tensor, "n c h w"],
    validation: UInt8[Tensor, "v c h w"],
    settings: Settings,
    seed: int,
    tick: Callable[[Tick], None] = lambda _: None,
    checkpoints: Checkpoints | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Trained:
    """Minimise `losses(x)["loss"]` with Adam; a plateau of the monitored validation loss halves the rate.

    Goes on from the newest checkpoint. Raises RunError naming the first term that is not finite, with its
    epoch, and Stopped, after a checkpoint, when `stop()` says so.
    """
    training = Training(method, settings, images, seed, tick, checkpoints)
    training.resume()
    loop = steps(training, validation, stop, checkpoints.due if checkpoints else lambda _=0.0: False)
    losses = None
    with training.at_work():
        while True:
            try:
                chosen = loop.send(losses)
            except StopIteration as end:
                return end.value
            losses = step(training, chosen)


Steps = Generator[Int[Tensor, " b"], Any, Trained]


def steps(
    training: Training,
    validation: UInt8[Tensor, "v c h w"],
    stop: Callable[[], bool],
    due: Callable[..., bool],
) -> Steps:
    """All of a training but its gradient steps: gives the indices of a batch, and is sent the losses of its step.

    `due` is that of Checkpoints. Raises RunError and Stopped as `train` does.
    """
    method, settings = training.method, training.settings
    while training.index < settings.epochs:
        started, seen, since = time.perf_counter(), 0, time.monotonic()
        if training.step == 0:
            training.start_epoch()
            if training.index == 0:
                method.validated(training.validate(validation, 0))
                method.train()
        batches = training.batches()
        while training.step < len(batches):
            chosen = batches[training.step]
            with torch.no_grad():
                method.start_step(training.step)
            losses = yield chosen
            training.sums.add(losses, len(chosen))
            training.step += 1
            training.updates += 1
            seen += len(chosen)
            if training.step % 20 == 0 or training.step == len(batches):
                share = (training.index + training.step / len(batches)) / settings.epochs
                pace = seen / (time.perf_counter() - started)
                training.tick(Tick(training.index + 1, settings.epochs, share, pace, _shown(training.history, method)))
            if stop():
                training.save()
                raise Stopped
            if training.step < len(batches) and due(since):
                training.save()
        training.sums.check(training.index + 1, "training")
        means = training.validate(validation, training.index + 1)
        if method.monitor not in means:
            raise RunError(f"monitor = {method.monitor!r} names none of the losses: {', '.join(means)}.")
        training.end_epoch(means, training.variances(validation))
        if training.index < settings.epochs and due():
            training.save()
    method.eval()
    cost = training.checkpoints.cost if training.checkpoints else 0.0
    return Trained(method, training.best, training.history, training.clock(), cost, training.updates, training.encoded)


def step(training: Training, chosen: Int[Tensor, " b"]) -> dict[str, Tensor]:
    """One step on a batch, and one of the adversary: their losses."""
    method = training.method
    x = to_float(training.images[chosen], method.spec.value_range).contiguous(memory_format=training.memory_format)
    losses = method.losses(x)
    optimise(training.optimisers[0], losses["loss"])
    if method.adversary is not None:
        adversary_losses = method.adversary_losses(x)
        optimise(training.optimisers[1], adversary_losses["adversary_loss"])
        losses = {**losses, **adversary_losses}
    return losses


def optimise(optimiser: torch.optim.Optimizer, loss: Float[Tensor, ""]) -> None:
    """One step down the gradient of `loss`."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def minibatches(
    n: int, held_out: Tensor, size: int, order: torch.Generator, device: torch.device | str = "cpu"
) -> list[Tensor]:
    """Indices of one epoch in random order, without those held out; the partial last batch is kept.

    A last batch of one image is dropped: batch statistics (MMD, total correlation) need two.
    """
    keep = torch.ones(n, dtype=torch.bool)
    keep[held_out] = False
    indices = keep.nonzero().squeeze(1)
    # All at once: a batch's own copy to the device would wait for every step before it.
    batches = list(indices[torch.randperm(len(indices), generator=order)].to(device).split(size))
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


@torch.no_grad()
def aggregate_variance(method: Method, images: UInt8[Tensor, "n c h w"], size: int = 500) -> Float64[Tensor, "l"]:
    """The variance of q(z) over images along each axis: of codes, for Gaussian encoders var(mu) + mean exp(log_var).

    In eval mode; the method's generator is left as it was found.
    """
    method.eval()
    before = method.generator.get_state()
    means, own = [], []
    for chunk in images.split(size):
        x = to_float(chunk, method.spec.value_range)
        mu, log_var = method.posterior(x) if method.heads == 2 else (method.encode(x), None)
        means.append(mu.double())
        if log_var is not None:
            own.append(log_var.double().exp())
    method.generator.set_state(before)
    variance = torch.cat(means).var(0, correction=0)
    return variance + torch.cat(own).mean(0) if own else variance


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
