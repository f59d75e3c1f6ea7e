"""The stages of a training: how long each is, what it optimises, and by which losses."""

from collections.abc import Callable

from torch import Tensor, nn

from lvm_bench.errors import RunError
from lvm_bench.modelling.contract import Method

Losses = Callable[[Tensor], dict[str, Tensor]]


class Stages:
    """The stages of one method, which are numbered from 0. The first trains the model, a later one its own module."""

    def __init__(self, method: Method, epochs: int):
        self.method, self.names = method, method.stages
        self.lengths = [epochs, *(method.stage_epochs.get(name, epochs) for name in self.names[1:])]

    @property
    def epochs(self) -> int:
        """The epochs of all stages."""
        return sum(self.lengths)

    def at(self, index: int) -> int:
        """The stage that an epoch of the training belongs to; after the last epoch, the last stage that has one."""
        ends = [sum(self.lengths[: place + 1]) for place in range(len(self.lengths))]
        later = (place for place, end in enumerate(ends) if index < end)
        return next(later, max((place for place, length in enumerate(self.lengths) if length), default=0))

    def parameters(self, stage: int) -> list[nn.Parameter]:
        """The parameters that a stage optimises: of the first, all but those of the adversary and of later stages."""
        if stage:
            return trainable(getattr(self.method, self.names[stage]))
        return of_model(self.method)

    def train_mode(self, stage: int) -> None:
        """Put the modules that a stage optimises into train mode, and all others into eval mode."""
        self.method.train(stage == 0)
        if stage:
            getattr(self.method, self.names[stage]).train()

    def function(self, stage: int) -> str:
        """The name of the method's function that gives the losses of a stage."""
        return f"{self.names[stage]}_losses" if stage else "losses"

    def logged(self, stage: int, means: dict[str, float]) -> dict[str, float]:
        """Losses under the names that the history has: those of a later stage begin with its name."""
        return {f"{self.names[stage]}_{name}": mean for name, mean in means.items()} if stage else means


def check_declared(method: Method) -> None:
    """RunError where what a method declares is not there: samplers, later stages, the parameters of an adversary."""
    # A method that calls `nn.Module.__init__` alone lacks what its base sets; `check` tells so.
    who, adversary = type(method).__name__, getattr(method, "adversary", None)
    for what, names, example in (("samplers", method.samplers, "prior"), ("stages", method.stages, "train")):
        if not isinstance(names, tuple) or not names or len({*names}) < len(names):
            raise RunError(f"{who}.{what} is {names!r}. Name at least one, and each once, as in ({example!r},).")
    for name in method.samplers:
        if not callable(getattr(method, name, None)):
            raise RunError(f"{who}.samplers names {name!r}, which is no function of it. Define {name}(n).")
    if adversary is not None and not trainable(adversary):
        raise RunError(f"{who}.adversary has no trainable parameter. Give it some, or leave it None.")
    for name in method.stages[1:]:
        if not trainable(getattr(method, name, None)) or not callable(getattr(method, f"{name}_losses", None)):
            raise RunError(
                f"{who}.stages names {name!r}: set a module with a trainable parameter as self.{name}, and define "
                f"{name}_losses(x), or leave the stage out."
            )
    for name, epochs in getattr(method, "stage_epochs", {}).items():
        if name not in method.stages[1:] or type(epochs) is not int or epochs < 0:
            raise RunError(
                f"{who}.stage_epochs has {name!r}: {epochs!r}. Valid: whole numbers from 0 of the later stages "
                f"({', '.join(method.stages[1:]) or 'there are none'})."
            )


def of_model(method: Method) -> list[nn.Parameter]:
    """The trainable parameters of a method, without those of its adversary and of its later stages."""
    others = {id(p) for name in ("adversary", *method.stages[1:]) for p in trainable(getattr(method, name, None))}
    return [p for p in trainable(method) if id(p) not in others]


def trainable(module: object) -> list[nn.Parameter]:
    """The trainable parameters of a module; none of anything else."""
    return [p for p in module.parameters() if p.requires_grad] if isinstance(module, nn.Module) else []
