"""The training loop: every method is trained by it, alone or together with other seeds."""

import time
from collections.abc import Callable, Generator
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from lvm_bench.errors import RunError, Stopped
from lvm_bench.modelling.contract import Method, to_float
from lvm_bench.suites.job import TrainingSettings, Weights
from lvm_bench.training.checkpoint import Checkpoints
from lvm_bench.training.state import Trained, Training
from lvm_bench.training.tick import Tick


def train(
    method: Method,
    images: UInt8[Tensor, "n c h w"],
    validation: UInt8[Tensor, "v c h w"],
    settings: TrainingSettings,
    seed: int,
    tick: Callable[[Tick], None] = lambda _: None,
    checkpoints: Checkpoints | None = None,
    stop: Callable[[], bool] = lambda: False,
    weights: Weights = "last",
) -> Trained:
    """Minimise `losses(x)["loss"]` with Adam; the rate falls when the monitored validation loss stops falling.

    A later stage begins with the last or the best `weights` of the one before. Resumes from the newest checkpoint.
    Raises RunError, which names the first term that is not finite and its epoch; raises Stopped after writing a
    checkpoint when `stop()` is true.
    """
    training = Training(method, settings, images, seed, tick, checkpoints, weights)
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
    """Everything in a training except the gradient steps. Yields the indices of a batch; expects the step's losses.

    `due` is `Checkpoints.due`. Raises RunError and Stopped as `train` does.
    """
    method = training.method
    epochs = training.stages.epochs
    while training.index < epochs:
        started, seen, since = time.perf_counter(), 0, time.monotonic()
        if training.step == 0:
            training.start_epoch()
            if training.index == 0 and training.stage == 0:
                method.validated(training.validate(validation, 0))
                method.train()
        batches = training.batches()
        while training.step < len(batches):
            chosen = batches[training.step]
            if training.stage == 0:
                with torch.no_grad():
                    method.start_step(training.step)
            training.begin_noise(training.step)
            losses = yield chosen
            training.sums.add(losses, len(chosen))
            training.step += 1
            training.updates += 1
            seen += len(chosen)
            if training.step % 20 == 0 or training.step == len(batches):
                share = (training.index + training.step / len(batches)) / epochs
                pace = seen / (time.perf_counter() - started)
                training.tick(Tick(training.index + 1, epochs, share, pace, _shown(training.history, method)))
            if stop():
                training.save()
                raise Stopped
            if training.step < len(batches) and due(since):
                training.save()
        training.sums.check(training.index + 1, "training")
        means = training.validate(validation, training.index + 1)
        if training.monitor not in means:
            raise RunError(f"monitor = {training.monitor!r} names none of the losses: {', '.join(means)}.")
        training.end_epoch(means, training.aggregate(validation))
        if training.index < epochs and due():
            training.save()
    method.eval()
    cost = training.checkpoints.cost if training.checkpoints else 0.0
    return Trained(method, training.best, training.history, training.clock(), cost, training.updates, training.encoded)


def step(training: Training, chosen: Int[Tensor, " b"]) -> dict[str, Tensor]:
    """One gradient step of the model on a batch, then one of its adversary. Returns the losses of both."""
    method = training.method
    x = to_float(training.pixels(chosen), method.spec.value_range).contiguous(memory_format=training.memory_format)
    losses = getattr(method, training.function)(x)
    optimise(training.optimisers[0], losses["loss"])
    if method.adversary is not None and training.stage == 0:
        adversary_losses = method.losses_of_adversary(x)
        optimise(training.optimisers[1], adversary_losses["adversary_loss"])
        losses = {**losses, **adversary_losses}
    return losses


def optimise(optimiser: torch.optim.Optimizer, loss: Float[Tensor, ""]) -> None:
    """One step of an optimiser down the gradient of `loss`."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def _shown(history: list[dict[str, float]], method: Method) -> dict[str, float]:
    """The two losses of the last epoch that fit into a progress line."""
    if not history:
        return {}
    last = history[-1]
    return {name: last[name] for name in ("train/loss", f"val/{method.monitor}") if name in last}
