"""What a method is: the mathematics of one model. The trainer owns device, batches, optimisers and seeds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from lvm_bench.errors import UserError
from lvm_bench.registry import METHODS

Likelihood = Literal["bernoulli", "sse", "gaussian_unit"]


def method(name: str) -> Callable[[type["Method"]], type["Method"]]:
    """Register a Method subclass under `name`; UserError for anything else."""

    def add(cls: type) -> Any:
        if not issubclass(cls, Method):
            raise UserError(f"@method({name!r}) decorates {cls!r}, which is no subclass of lvm_bench.Method.")
        return METHODS.register(name)(cls)

    return add


@dataclass(frozen=True)
class Spec:
    """What a method may know of its task."""

    shape: tuple[int, int, int]  # c, h, w
    value_range: tuple[float, float]  # (0, 1) or (-1, 1): the range of x and of decode(z)
    latent: int  # l
    n_train: int
    batch_size: int
    likelihood: Likelihood


def to_float(images: UInt8[Tensor, "b c h w"], value_range: tuple[float, float]) -> Float[Tensor, "b c h w"]:
    """Pixels 0..255 mapped linearly to the value range of the data set."""
    low, high = value_range
    return images.float().mul_((high - low) / 255).add_(low)


def resident(pixels: UInt8[np.ndarray, "n c h w"], device: str = "cpu") -> UInt8[Tensor, "n c h w"]:
    """Images on a device; on the CPU without a copy, so that a memory-mapped array stays mapped."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).to(device)


@dataclass
class Epoch:
    """One pass over the training images: its number, and the right to leave images out of its minibatches."""

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
        """Leave these training images out of this epoch's minibatches."""
        self.held_out = indices.cpu()

    def batches(self, indices: Int[Tensor, " m"], size: int = 1000) -> Iterator[Float[Tensor, "b c h w"]]:
        """The images at `indices`, as floats on the training device, in order."""
        for chunk in indices.to(self.images.device).split(size):
            yield to_float(self.images[chunk], self.value_range)


class Method(nn.Module):
    """Base of every method. A subclass gives `losses`; the rest has defaults for a deterministic encoder.

    Keyword-only arguments of `__init__` are the hyper-parameters. Random numbers come from `self.generator`
    alone, which the trainer sets: through `noise` and `draw`, or its seeds cannot be trained together. Whatever is
    learned is a parameter or a buffer; so is whatever else lasts longer than a step (with `persistent=False`), or
    a training that was interrupted would go on without it.
    """

    heads: ClassVar[int] = 1  # encoder outputs per code: 1 for z, 2 for (mu, log_var)
    monitor: ClassVar[str] = "loss"  # the validation entry that schedule and best checkpoint watch
    adversary: nn.Module | None  # trained by an optimiser of its own on `adversary_losses`
    adversary_learning_rate: float | None = None  # to start with; None: that of the model
    adversary_betas: tuple[float, float] = (0.9, 0.999)  # of its Adam

    def __init__(self, encoder: nn.Module, decoder: nn.Module, spec: Spec):
        super().__init__()
        self.encoder, self.decoder, self.spec = encoder, decoder, spec
        self.adversary = None  # here, because a class attribute would hide the module that a subclass sets
        self.generator = torch.Generator()

    @classmethod
    def declines(cls, spec: Spec) -> str | None:
        """The reason why this method cannot run on a task, or None."""
        return None

    def losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        """Scalars of one batch: every entry is logged, `loss` is minimised over encoder and decoder."""
        raise NotImplementedError(f"{type(self).__name__} must define losses(x)")

    def adversary_losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        """Scalars of one batch for the adversary, after the model's own step: `adversary_loss` is minimised."""
        raise NotImplementedError(f"{type(self).__name__} has an adversary and must define adversary_losses(x)")

    def posterior(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b l"], Float[Tensor, "b l"]]:
        """(mu, log_var) of q(z|x) = N(mu, diag exp log_var); only for `heads = 2`."""
        mu, log_var = self.encoder(x).chunk(2, dim=1)
        # exp(20) is a variance of 5e8: no useful model goes there, and exp overflows float32 from 89 on.
        return mu, log_var.clamp(-20, 20)

    def sampled(self, mu: Float[Tensor, "b l"], log_var: Float[Tensor, "b l"]) -> Float[Tensor, "b l"]:
        """One draw from each N(mu, diag exp log_var), differentiable in both."""
        return mu + (log_var / 2).exp() * self.noise(*mu.shape)

    def encode(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b l"]:
        """The code of an image: z, or the posterior mean where the encoder is Gaussian."""
        return self.posterior(x)[0] if self.heads == 2 else self.encoder(x)

    def squash(self, raw: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The decoder's raw output mapped to the value range: sigmoid for [0, 1], tanh for [-1, 1]."""
        return torch.sigmoid(raw) if self.spec.value_range[0] == 0 else torch.tanh(raw)

    def decode(self, z: Float[Tensor, "b l"]) -> Float[Tensor, "b c h w"]:
        """The image of a code, in the value range."""
        return self.squash(self.decoder(z))

    def noise(self, *shape: int) -> Float[Tensor, "..."]:
        """Standard normal draws from the method's own generator, on its device."""
        return self.draw(lambda own: torch.randn(*shape, generator=own, device=own.device))

    def draw(self, make: Callable[[torch.Generator], Tensor]) -> Tensor:
        """What `make` draws from the method's own generator; of seeds that are trained together, each from its own."""
        return make(self.generator)

    def prior(self, n: int) -> Float[Tensor, "n l"]:
        """n draws from what the method samples codes from; N(0, I) unless a method says otherwise.

        With another variance `target_variance` has to say so too: scores compare codes with N(0, target_variance).
        """
        return self.noise(n, self.spec.latent)

    @property
    def target_variance(self) -> float:
        """Variance per axis that the aggregate posterior converges to by design; 1 for N(0, I)."""
        return 1.0

    @property
    def cannot_sample(self) -> str:
        """Why there are no codes to sample from; "" where there are. Scores of samples are dashes with this reason."""
        return ""

    def start_epoch(self, epoch: Epoch) -> None:
        """Called before an epoch's batches are drawn (may hold images out), in train mode, with gradients off.

        Called once more where a training goes on in the middle of an epoch: buffers and generators are set after it.
        """

    def start_step(self, step: int) -> None:
        """Called before each step of an epoch, counted from 0, in train mode, with gradients off."""

    def validated(self, means: dict[str, float]) -> None:
        """Called with the mean of every loss over the validation images: before training and after each epoch."""

    def finish(self, codes: Float[Tensor, "n l"]) -> None:
        """Called once after training with the codes of all training images (eval mode), for ex-post fits."""
