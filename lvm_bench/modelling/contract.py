"""The contract of a method. It holds the mathematics of one model; the trainer owns device, batches and seeds."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from lvm_bench.errors import UserError
from lvm_bench.modelling.kde import Density
from lvm_bench.registry import METHODS

__all__ = ["Epoch", "Likelihood", "Method", "Spec", "method", "resident", "to_float"]

Likelihood = Literal["bernoulli", "sse", "gaussian_unit"]


def method(name: str, *, label: str = "", reference: bool = False) -> Callable[[type["Method"]], type["Method"]]:
    """Register a Method subclass under `name`; UserError for anything else.

    `label` is how tables write it, else its name. A `reference` stands below the rule, and is never the best. Both are
    read from the file.
    """

    def add(cls: type) -> Any:
        if not issubclass(cls, Method):
            raise UserError(f"@method({name!r}) decorates {cls!r}, which is no subclass of lvm_bench.Method.")
        return METHODS.register(name)(cls)

    return add


@dataclass(frozen=True)
class Spec:
    """The facts of its task that a method may use."""

    shape: tuple[int, int, int]  # c, h, w
    value_range: tuple[float, float]  # of x and of decode(z): (0, 1) or (-1, 1)
    latent: int  # l, the size of a code
    n_train: int  # training images
    batch_size: int
    likelihood: Likelihood


def to_float(images: UInt8[Tensor, "b c h w"], value_range: tuple[float, float]) -> Float[Tensor, "b c h w"]:
    """Pixels 0..255, mapped linearly to the value range of the data set."""
    low, high = value_range
    return images.float().mul_((high - low) / 255).add_(low)


def resident(pixels: UInt8[np.ndarray, "n c h w"], device: str = "cpu") -> UInt8[Tensor, "n c h w"]:
    """Images on a device. The CPU makes no copy, so that a memory-mapped array stays mapped."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).to(device)


@dataclass
class Epoch:
    """One pass over the training images. A method may hold images out of its minibatches."""

    index: int
    images: UInt8[Tensor, "n c h w"]
    value_range: tuple[float, float]
    generator: torch.Generator
    held_out: Int[Tensor, " m"] = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    def draw(self, m: int) -> Int[Tensor, " m"]:
        """Indices of m training images, drawn without replacement; ValueError unless 0 < m < n."""
        n = len(self.images)
        if not 0 < m < n:
            raise ValueError(f"cannot hold {m} of {n} training images out of an epoch; choose 0 < m < {n}")
        return torch.randperm(n, generator=self.generator)[:m]

    def hold_out(self, indices: Int[Tensor, " m"]) -> None:
        """Leave these training images out of the minibatches of this epoch."""
        self.held_out = indices.cpu()

    def batches(self, indices: Int[Tensor, " m"], size: int = 1000) -> Iterator[Float[Tensor, "b c h w"]]:
        """The images at `indices` in order, as floats on the training device."""
        for chunk in indices.to(self.images.device).split(size):
            yield to_float(self.images[chunk], self.value_range)


class Method(nn.Module):
    """The base of every method. A subclass defines `losses`; the rest has defaults for a deterministic encoder.

    The keyword-only arguments of `__init__` are the hyper-parameters. All random numbers come from `self.generator`,
    which the trainer sets; draw them with `noise` and `draw`, so that several seeds can be trained together.
    A later stage begins when the one before has ended. It optimises one module on the "loss" of its own losses; all
    else is in eval mode meanwhile. Hooks, `monitor` and the adversary belong to the first stage.
    Everything learned is a parameter or a buffer. Everything else that outlasts a step is a buffer with
    `persistent=False`; otherwise an interrupted training would resume without it.
    """

    heads: ClassVar[int] = 1  # encoder outputs per code: 1 for z, 2 for (mu, log_var)
    monitor: ClassVar[str] = "loss"  # the validation loss that decides the schedule and the best epoch
    stages: ClassVar[tuple[str, ...]] = ("train",)  # a later one, NAME, trains `self.NAME` on `NAME_losses(x)`
    adversary: nn.Module | None  # a second network, trained on `adversary_losses` by its own Adam
    adversary_learning_rate: float | None = None  # its first learning rate; None: the rate of the model
    adversary_betas: tuple[float, float] = (0.9, 0.999)  # the betas of its Adam

    def __init__(self, encoder: nn.Module, decoder: nn.Module, spec: Spec):
        super().__init__()
        self.encoder, self.decoder, self.spec = encoder, decoder, spec
        self.adversary = None  # not a class attribute, which would hide the module that a subclass sets
        self.generator = torch.Generator()
        self.stage_epochs: dict[str, int] = {}  # of later stages by name, set from arguments; else as many as `epochs`
        self.worked_out: dict[str, str] = {}  # of arguments that name a rule: what follows from it, as tables show it

    @classmethod
    def declines(cls, spec: Spec) -> str | None:
        """The reason why this method cannot do a task, or None if it can."""
        return None

    @classmethod
    def files(cls, arguments: dict[str, Any]) -> Sequence[Path]:
        """The files that the weights of a given model come from; `arguments` are the hyper-parameters.

        Their checksums are part of a run's identity. A method without a trainable parameter needs `epochs = 0`, no
        `losses`, and hands its own modules to `super().__init__(encoder, decoder, spec)` in place of the suite's.
        """
        return ()

    def losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        """Scalars of one batch. Every entry is logged; `loss` is minimised over encoder and decoder."""
        raise NotImplementedError(f"{type(self).__name__} must define losses(x)")

    def adversary_losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        """Scalars of one batch for the adversary, called after the model's step. `adversary_loss` is minimised."""
        raise NotImplementedError(f"{type(self).__name__} has an adversary and must define adversary_losses(x)")

    def posterior(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b l"], Float[Tensor, "b l"]]:
        """(mu, log_var) of q(z|x) = N(mu, diag exp log_var). For `heads = 2` only."""
        mu, log_var = self.encoder(x).chunk(2, dim=1)
        # exp(20) is a variance of 5e8, which no useful model reaches. float32 overflows from exp(89) on.
        return mu, log_var.clamp(-20, 20)

    def sampled(self, mu: Float[Tensor, "b l"], log_var: Float[Tensor, "b l"]) -> Float[Tensor, "b l"]:
        """One draw from each N(mu, diag exp log_var), differentiable in mu and log_var.

        With `streams = "paired"` the first draw of a step is the same for all methods of a seed: draw this first.
        """
        return mu + (log_var / 2).exp() * self.noise(*mu.shape)

    def encode(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b l"]:
        """The code of each image: z, or the posterior mean if the encoder is Gaussian."""
        return self.posterior(x)[0] if self.heads == 2 else self.encoder(x)

    def squash(self, raw: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The raw output of the decoder mapped to the value range: sigmoid for [0, 1], tanh for [-1, 1]."""
        return torch.sigmoid(raw) if self.spec.value_range[0] == 0 else torch.tanh(raw)

    def decode(self, z: Float[Tensor, "b l"]) -> Float[Tensor, "b c h w"]:
        """The image of each code, in the value range."""
        return self.squash(self.decoder(z))

    def noise(self, *shape: int) -> Float[Tensor, "..."]:
        """Standard normal draws from the method's own generator, on its device."""
        return self.draw(lambda own: torch.randn(*shape, generator=own, device=own.device))

    def draw(self, make: Callable[[torch.Generator], Tensor]) -> Tensor:
        """The draws of `make` from the method's generator. Seeds that are trained together each use their own."""
        return make(self.generator)

    def prior(self, n: int) -> Float[Tensor, "n l"]:
        """n codes from the distribution that the method samples from; N(0, I) by default.

        A prior with another variance must state it in `target_variance`, with which the scores compare codes.
        """
        return self.noise(n, self.spec.latent)

    @property
    def target_variance(self) -> float:
        """The variance per axis that the aggregate posterior approaches by design; 1 for N(0, I)."""
        return 1.0

    @property
    def cannot_sample(self) -> str:
        """The reason why `prior` has no codes, "" if it has. Tables show it beside a dash for the scores of samples."""
        return ""

    @property
    def kernel_density(self) -> Density | None:
        """The kernel density estimate of all codes that the loss compares with the prior; None where there is none."""
        return None

    def start_epoch(self, epoch: Epoch) -> None:
        """Called before the batches of an epoch are drawn, in train mode, without gradients. It may hold images out.

        A training that resumes in mid-epoch calls it again and then restores buffers and generators.
        """

    def start_step(self, step: int) -> None:
        """Called before each step of an epoch, in train mode, without gradients. Steps are counted from 0."""

    def validated(self, means: dict[str, float]) -> None:
        """Called before training and after each epoch with the mean of every loss over the validation images."""

    def finish(self, codes: Float[Tensor, "n l"]) -> None:
        """Called once after training, in eval mode, with the codes of all training images. Ex-post fits belong here."""
