"""Several seeds of one method trained at a time: a step of all of them is one call of `losses` over their weights."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional

from lvm_bench.errors import Stopped, StorageError
from lvm_bench.modelling.contract import Method, to_float
from lvm_bench.text import one_line
from lvm_bench.training.loop import Steps, steps
from lvm_bench.training.state import Trained, Training

# Of the largest loss: how far a seed's losses may be from those alone. Sums in another order are far nearer.
CLOSE = {"float32": 1e-3, "tf32": 1e-2, "bf16": 5e-2}


class Apart(Exception):
    """Why these seeds cannot be trained together."""


def train_together(
    trainings: list[Training], validation: UInt8[Tensor, "v c h w"], stop: Callable[[], bool]
) -> list[Trained | Exception]:
    """What `train` would give of each, to rounding, or raise; they differ in nothing but the seed.

    Those whose checkpoints are of one step go on together. Raises Apart where the method's code cannot be batched,
    and Stopped, after a checkpoint of each.
    """
    for training in trainings:
        training.resume()
    parts: dict[tuple[int, int], list[Training]] = {}
    for training in trainings:
        parts.setdefault((training.index, training.step), []).append(training)
    ended: dict[Training, Trained | Exception] = {}
    for part in parts.values():
        ended |= _train(part, validation, stop)
    return [ended[training] for training in trainings]


def _train(
    part: list[Training], validation: UInt8[Tensor, "v c h w"], stop: Callable[[], bool]
) -> dict[Training, Trained | Exception]:
    """What became of trainings that stand at one step: their loops go round in turn, with one step of all between."""
    asked = _Agreed(stop)
    due = _Agreed(lambda *since: any(each.checkpoints.due(*since) for each in part if each.checkpoints))
    loops = {training: steps(training, validation, asked, due) for training in part}
    losses: dict[Training, dict[str, Tensor]] = {}
    ended: dict[Training, Trained | Exception] = {}
    joint = None
    with ExitStack() as stack:
        for training in part:
            stack.enter_context(training.at_work(len(part)))
        while loops:
            batches = _advance(loops, losses, ended)
            asked.forget()
            due.forget()
            loops = {training: loops[training] for training in batches}
            if batches:
                if joint is None or not joint.is_of(list(batches)):
                    joint = Joint(list(batches))
                losses = joint.step(list(batches.values()))
    return ended


def _advance(
    loops: dict[Training, Steps],
    losses: dict[Training, dict[str, Tensor]],
    ended: dict[Training, Trained | Exception],
) -> dict[Training, Int[Tensor, " b"]]:
    """The next batch of each loop, given the losses of its last one; what ends, or breaks, is noted in `ended`."""
    batches = {}
    stopped = None
    for training, loop in loops.items():
        try:
            batches[training] = loop.send(losses.get(training))
        except StopIteration as end:
            ended[training] = end.value
        except Stopped as error:
            stopped = error
        except StorageError:
            raise
        except Exception as error:  # of this seed alone
            ended[training] = error
    if stopped:  # now that all of them have saved
        raise stopped
    return batches


class _Agreed:
    """A question that has one answer for all seeds until it is forgotten."""

    def __init__(self, ask: Callable[..., bool]):
        self._ask = ask
        self._answer: bool | None = None

    def __call__(self, *about: float) -> bool:
        if self._answer is None:
            self._answer = self._ask(*about)
        return self._answer

    def forget(self) -> None:
        self._answer = None


class Joint:
    """Steps of an epoch of several trainings, made with the first one's method over the tensors of all of them.

    Whatever tensors a method holds besides its parameters are views of stacks here, and stay its own to change.
    """

    def __init__(self, trainings: list[Training]):
        self.trainings = trainings
        self.epoch = trainings[0].epoch
        self.methods = [training.method for training in trainings]
        named = [dict(method.named_parameters()) for method in self.methods]
        self.weights: dict[str, list[nn.Parameter]] = {name: [own[name] for own in named] for name in named[0]}
        self.parameters = {name: _joined(own) for name, own in self.weights.items()}
        self.buffers = {
            name: [method.get_submodule(name.rpartition(".")[0]) for method in self.methods]
            for name, _ in self.methods[0].named_buffers()
        }
        self.stacks: dict[str, Tensor] = {}
        self.views: dict[str, list[Tensor]] = {}
        self.compared: set[str] = set()

    def is_of(self, trainings: list[Training]) -> bool:
        """Whether it is of these trainings, in the epoch they are in."""
        return self.trainings == trainings and self.epoch is trainings[0].epoch

    def step(self, chosen: list[Int[Tensor, " b"]]) -> dict[Training, dict[str, Tensor]]:
        """`train.step` of each on its batch. Raises Apart with what the method, or torch, says against it."""
        try:
            losses = self._step(chosen)
        except Apart:
            raise
        except Exception as error:
            raise Apart(one_line(f"{type(error).__name__}: {error}")) from error
        parts = {name: value.detach().unbind() for name, value in losses.items()}
        return {training: {name: part[i] for name, part in parts.items()} for i, training in enumerate(self.trainings)}

    def _step(self, chosen: list[Int[Tensor, " b"]]) -> dict[str, Float[Tensor, " s"]]:
        first = self.trainings[0]
        pixels = first.images[torch.stack(chosen, dim=1)]
        # As torch computes a convolution of all seeds: as one whose channels are those of all of them.
        flat = to_float(pixels.flatten(1, 2), first.method.spec.value_range)
        x = flat.contiguous(memory_format=first.memory_format).unflatten(1, pixels.shape[1:3])
        losses = self._losses("losses", x)
        self._descend(0, losses["loss"].sum())
        if first.method.adversary is not None:
            adversary_losses = self._losses("adversary_losses", x)
            self._descend(1, adversary_losses["adversary_loss"].sum())
            losses = {**losses, **adversary_losses}
        return losses

    def _descend(self, which: int, loss: Float[Tensor, ""]) -> None:
        """One step of an optimiser of each seed down the gradient of their summed losses."""
        for stack in self.parameters.values():
            stack.grad = None
        loss.backward()
        for name, stack in self.parameters.items():
            if stack.grad is not None:
                for weight, gradient in zip(self.weights[name], stack.grad, strict=True):
                    weight.grad = gradient
        for training in self.trainings:
            training.optimisers[which].step()

    def _losses(self, function: str, x: Float[Tensor, "b s c h w"]) -> dict[str, Float[Tensor, " s"]]:
        """`losses` or `adversary_losses` of each seed; the first time compared with those of each alone."""
        is_new = function not in self.compared
        self.compared.add(function)
        alone = [self._alone(i, function, x[:, i]) for i in range(len(self.methods))] if is_new else []
        first, counted = self.methods[0], self.trainings[0].encoded
        held = self._held()

        def one(
            parameters: dict[str, Tensor], held: dict[str, Tensor], x: Tensor
        ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
            for name, value in held.items():
                self._give(0, name, value)
            with _called(first, function, x, [method.generator for method in self.methods]):
                losses = functional_call(first, parameters, (x,))
            made = {name: value for name, value in self._own(0).items() if value is not held.get(name)}
            return {name: value.reshape(()) for name, value in losses.items()}, made

        try:
            losses, made = vmap(one, in_dims=(0, 0, 1))(self.parameters, held, x)
        finally:
            for name, views in self.views.items():
                self._give(0, name, views[0])
        for name, stack in made.items():
            self._share(name, stack)
        for training in self.trainings[1:]:
            training.encoded += self.trainings[0].encoded - counted
        for i, expected in enumerate(alone):
            self._compare(i, expected, {name: value[i].detach() for name, value in losses.items()})
        return losses

    @torch.no_grad()
    def _alone(self, i: int, function: str, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        """What a method's function gives alone; the method is left as it was found."""
        training, method = self.trainings[i], self.methods[i]
        before = {name: value.clone() for name, value in self._own(i).items()}
        noise = method.generator.get_state()
        with training.uncounted():
            losses = getattr(method, function)(x.contiguous(memory_format=training.memory_format))
        method.generator.set_state(noise)
        for name, value in before.items():
            self._give(i, name, value)
        return losses

    def _compare(self, i: int, alone: dict[str, Tensor], together: dict[str, Tensor]) -> None:
        """Apart where the losses of a seed are not those alone."""
        training = self.trainings[i]
        allowed = CLOSE[training.settings.precision] * max(abs(float(value)) for value in alone.values())
        for name, value in alone.items():
            expected, found = float(value), float(together[name])
            if abs(found - expected) > allowed or math.isnan(found) != math.isnan(expected):
                raise Apart(
                    f"{name!r} of seed {training.seed} is {found:.6g} together and {expected:.6g} alone: a method may "
                    "keep numbers that differ between seeds in its parameters and buffers alone"
                )

    def _own(self, i: int) -> dict[str, Tensor]:
        """The tensors that a method holds besides its parameters: buffers, and attributes of its own."""
        attributes = {name: value for name, value in vars(self.methods[i]).items() if isinstance(value, Tensor)}
        return {name: getattr(owners[i], _leaf(name)) for name, owners in self.buffers.items()} | attributes

    def _give(self, i: int, name: str, value: Tensor) -> None:
        """Put a tensor where `_own` found it."""
        owner = self.buffers[name][i] if name in self.buffers else self.methods[i]
        setattr(owner, _leaf(name), value)

    def _held(self) -> dict[str, Shaped[Tensor, "s ..."]]:
        """`_own` of all methods, stacked; anew where a method has put another tensor into the place of its own."""
        own = [self._own(i) for i in range(len(self.methods))]
        for name in own[0]:
            values = [each[name] for each in own]
            views = self.views.get(name, [])
            if len(views) != len(values) or any(a is not b for a, b in zip(values, views, strict=True)):
                self._share(name, torch.stack(values))
        return self.stacks

    def _share(self, name: str, stack: Shaped[Tensor, "s ..."]) -> None:
        """Give each method its part of a stack."""
        self.stacks[name], self.views[name] = stack, [stack[i] for i in range(len(stack))]
        for i, view in enumerate(self.views[name]):
            self._give(i, name, view)


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _joined(weights: list[nn.Parameter]) -> Float[Tensor, "s ..."]:
    """A stack of weights of all seeds, which are views of it from now on, each as it lay in memory."""
    order = sorted(range(weights[0].ndim), key=weights[0].stride, reverse=True)
    stack = torch.stack([weight.detach().permute(order) for weight in weights])
    stack = stack.permute(0, *(order.index(axis) + 1 for axis in range(len(order))))
    for weight, view in zip(weights, stack, strict=True):
        weight.data = view
    return stack.requires_grad_(weights[0].requires_grad)


@contextmanager
def _called(method: Method, function: str, x: Tensor, generators: list[torch.Generator]) -> Iterator[None]:
    """Within it calling a method is calling a function of its, and what it draws comes from each seed's generator."""
    method.forward = getattr(method, function)
    method.draw = lambda make: _Draws.apply(x, make, generators)  # type: ignore[method-assign]
    batch_norm, functional.batch_norm = functional.batch_norm, _batch_norm
    try:
        yield
    finally:
        functional.batch_norm = batch_norm
        del method.forward, method.draw


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """torch's own, never cuDNN's: that one asks how images lie in memory, which nobody knows of a batch of seeds."""
    return torch.native_batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)[0]


class _Draws(torch.autograd.Function):
    """What `make` draws with each seed's generator; x is any tensor that differs between them."""

    @staticmethod
    def forward(x: Tensor, make: Callable[[torch.Generator], Tensor], generators: list[torch.Generator]) -> Tensor:
        raise NotImplementedError("draws are those of several seeds")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """torch.func asks for it; nothing is kept, since no gradient goes through draws."""

    @staticmethod
    def vmap(
        info: Any, in_dims: Any, x: Tensor, make: Callable[[torch.Generator], Tensor], generators: list[torch.Generator]
    ) -> tuple[Tensor, int]:
        return torch.stack([make(generator) for generator in generators]), 0
