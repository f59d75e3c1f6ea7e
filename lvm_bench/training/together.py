"""Training several seeds of one method at once: `losses` is called once a step, vectorised over their weights."""

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
from lvm_bench.text import of_error
from lvm_bench.training.loop import Steps, steps
from lvm_bench.training.state import Trained, Training

# Largest difference between the losses of a seed together and alone, as a share of its largest loss. A mere change of
# the order of summation makes far smaller differences.
CLOSE = {"float32": 1e-3, "tf32": 1e-2, "bf16": 5e-2}


class Apart(Exception):
    """The reason why these seeds cannot be trained together."""


def train_together(
    trainings: list[Training], validation: UInt8[Tensor, "v c h w"], stop: Callable[[], bool]
) -> list[Trained | BaseException]:
    """For each training the result of `train`, up to rounding, or the exception that `train` would raise.

    The trainings differ in the seed alone; those whose checkpoints stand at the same step are trained together.
    Raises Apart if the code of the method cannot be vectorised. Raises Stopped after a checkpoint of each.
    """
    for training in trainings:
        training.resume()
    parts: dict[tuple[int, int], list[Training]] = {}
    for training in trainings:
        parts.setdefault((training.index, training.step), []).append(training)
    ended: dict[Training, Trained | BaseException] = {}
    for part in parts.values():
        ended |= _train(part, validation, stop)
    return [ended[training] for training in trainings]


def _train(
    part: list[Training], validation: UInt8[Tensor, "v c h w"], stop: Callable[[], bool]
) -> dict[Training, Trained | BaseException]:
    """Results or exceptions of trainings that stand at the same step. Each round: all loops, then one joint step."""
    asked = _Agreed(stop)
    due = _Agreed(lambda *since: any(each.checkpoints.due(*since) for each in part if each.checkpoints))
    loops = {training: steps(training, validation, asked, due) for training in part}
    losses: dict[Training, dict[str, Tensor]] = {}
    ended: dict[Training, Trained | BaseException] = {}
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
    ended: dict[Training, Trained | BaseException],
) -> dict[Training, Int[Tensor, " b"]]:
    """Send each loop the losses of its last step and collect its next batch. Loops that end or fail go into `ended`."""
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
        except (Exception, SystemExit) as error:  # the other seeds go on
            ended[training] = error
    if stopped:  # raised only here, after every loop has saved
        raise stopped
    return batches


class _Agreed:
    """A question that is asked once for all seeds. `forget` lets it be asked again."""

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
    """The gradient steps of several trainings in one epoch: the first method runs over the stacked tensors of all.

    The other tensors of each method become views of stacks as well; the method may still change or replace them.
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
        """Whether it was made for exactly these trainings and their current epoch."""
        return self.trainings == trainings and self.epoch is trainings[0].epoch

    def step(self, chosen: list[Int[Tensor, " b"]]) -> dict[Training, dict[str, Tensor]]:
        """`loop.step` of every training, each on its batch. Raises Apart with the error of the method or of torch."""
        try:
            losses = self._step(chosen)
        except Apart:
            raise
        except (Exception, SystemExit) as error:
            raise Apart(of_error(error)) from error
        parts = {name: value.detach().unbind() for name, value in losses.items()}
        return {training: {name: part[i] for name, part in parts.items()} for i, training in enumerate(self.trainings)}

    def _step(self, chosen: list[Int[Tensor, " b"]]) -> dict[str, Float[Tensor, " s"]]:
        first = self.trainings[0]
        pixels = torch.stack([own.pixels(of) for own, of in zip(self.trainings, chosen, strict=True)], dim=1)
        # torch runs the convolution of all seeds as one convolution over their joined channels: lay x out for that.
        flat = to_float(pixels.flatten(1, 2), first.method.spec.value_range)
        x = flat.contiguous(memory_format=first.memory_format).unflatten(1, pixels.shape[1:3])
        losses = self._losses(first.function, x)
        self._descend(0, losses["loss"].sum())
        if first.method.adversary is not None and first.stage == 0:
            adversary_losses = self._losses("losses_of_adversary", x)
            self._descend(1, adversary_losses["adversary_loss"].sum())
            losses = {**losses, **adversary_losses}
        return losses

    def _descend(self, which: int, loss: Float[Tensor, ""]) -> None:
        """One optimiser step of each seed. The gradient of the summed losses holds the gradient of each seed."""
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
        """Each seed's losses in a stage, or of its adversary. The first call compares them with those it has alone."""
        is_new = function not in self.compared
        self.compared.add(function)
        alone = [self._alone(i, function, x[:, i]) for i in range(len(self.methods))] if is_new else []
        first, counted = self.methods[0], self.trainings[0].encoded
        held, gone = self._held(), set[str]()

        def one(
            parameters: dict[str, Tensor], held: dict[str, Tensor], x: Tensor
        ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
            for name, value in held.items():
                self._give(0, name, value)
            with _forward_is(first, function, x, [method.generator for method in self.methods]):
                losses = functional_call(first, parameters, (x,))
            own = self._own(0)
            gone.update(held.keys() - own.keys())
            made = {name: value for name, value in own.items() if value is not held.get(name)}
            return {name: value.reshape(()) for name, value in losses.items()}, made

        try:
            losses, made = vmap(one, in_dims=(0, 0, 1))(self.parameters, held, x)
        finally:
            for name, views in self.views.items():
                self._give(0, name, views[0])
        for name, stack in made.items():
            self._share(name, stack)
        for name in gone:
            self._forget(name)
        for training in self.trainings[1:]:
            training.encoded += self.trainings[0].encoded - counted
        for i, expected in enumerate(alone):
            self._compare(i, expected, {name: value[i].detach() for name, value in losses.items()})
        return losses

    @torch.no_grad()
    def _alone(self, i: int, function: str, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        """The losses of one seed alone, by its own method, which is left unchanged."""
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
        """Raise Apart if the losses of a seed differ from those it has alone."""
        training = self.trainings[i]
        allowed = CLOSE[training.settings.precision] * max(abs(float(value)) for value in alone.values())
        for name, value in alone.items():
            expected, found = float(value), float(together[name])
            if abs(found - expected) > allowed or math.isnan(found) != math.isnan(expected):
                raise Apart(
                    f"{name!r} of seed {training.seed} is {found:.6g} together and {expected:.6g} alone: numbers that "
                    "differ between seeds must be parameters or buffers of the method"
                )

    def _own(self, i: int) -> dict[str, Tensor]:
        """The tensors of a method that are not parameters: its buffers and its tensor attributes."""
        attributes = {name: value for name, value in vars(self.methods[i]).items() if isinstance(value, Tensor)}
        return {name: getattr(owners[i], _leaf(name)) for name, owners in self.buffers.items()} | attributes

    def _give(self, i: int, name: str, value: Tensor) -> None:
        """Set the buffer or attribute of that name in `_own`."""
        owner = self.buffers[name][i] if name in self.buffers else self.methods[i]
        setattr(owner, _leaf(name), value)

    def _held(self) -> dict[str, Shaped[Tensor, "s ..."]]:
        """`_own` of all methods, stacked. A tensor that a method has replaced by another is stacked anew."""
        own = [self._own(i) for i in range(len(self.methods))]
        for name in own[0]:
            values = [each[name] for each in own]
            views = self.views.get(name, [])
            if len(views) != len(values) or any(a is not b for a, b in zip(values, views, strict=True)):
                self._share(name, torch.stack(values))
        return self.stacks

    def _share(self, name: str, stack: Shaped[Tensor, "s ..."]) -> None:
        """Give each method its slice of a stack."""
        self.stacks[name], self.views[name] = stack, [stack[i] for i in range(len(stack))]
        for i, view in enumerate(self.views[name]):
            self._give(i, name, view)

    def _forget(self, name: str) -> None:
        """Take from each method an attribute that the first has deleted."""
        del self.stacks[name], self.views[name]
        for method in self.methods:
            delattr(method, name)


def _leaf(name: str) -> str:
    """The last part of a dotted name."""
    return name.rpartition(".")[2]


def _joined(weights: list[nn.Parameter]) -> Float[Tensor, "s ..."]:
    """The weights of all seeds in one stack. They become views of it and keep their memory format."""
    order = sorted(range(weights[0].ndim), key=weights[0].stride, reverse=True)
    stack = torch.stack([weight.detach().permute(order) for weight in weights])
    stack = stack.permute(0, *(order.index(axis) + 1 for axis in range(len(order))))
    for weight, view in zip(weights, stack, strict=True):
        weight.data = view
    return stack.requires_grad_(weights[0].requires_grad)


@contextmanager
def _forward_is(method: Method, function: str, x: Tensor, generators: list[torch.Generator]) -> Iterator[None]:
    """Inside this context `method(x)` runs one of its functions for all seeds; each draws from its own generator."""
    method.forward = getattr(method, function)
    method.draw = lambda make: _DrawsOfSeeds.apply(x, make, generators)  # type: ignore[method-assign]
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
    """torch's own batch norm. cuDNN's asks for the memory format of its input, which vmap cannot tell."""
    return torch.native_batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)[0]


class _DrawsOfSeeds(torch.autograd.Function):
    """Draws of `make` with the generator of each seed. x is any tensor that vmap splits by seed."""

    @staticmethod
    def forward(x: Tensor, make: Callable[[torch.Generator], Tensor], generators: list[torch.Generator]) -> Tensor:
        raise NotImplementedError("this draws for several seeds, inside vmap alone")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep nothing: no gradient flows through draws. torch.func requires this function."""

    @staticmethod
    def vmap(
        info: Any, in_dims: Any, x: Tensor, make: Callable[[torch.Generator], Tensor], generators: list[torch.Generator]
    ) -> tuple[Tensor, int]:
        return torch.stack([make(generator) for generator in generators]), 0
