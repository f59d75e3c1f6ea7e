"""The contract of a method. It holds the mathematics of one model; the trainer owns device, batches and seeds."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from lvm_bench.errors import RunError, UserError
from lvm_bench.modelling.kde import Density
from lvm_bench.modelling.likelihoods import VARIANCES, bernoulli_log_likelihood, gaussian_log_likelihood
from lvm_bench.modelling.posteriors import Gaussian, Posterior, is_posterior, standard_normal_log_prob
from lvm_bench.registry import METHODS

__all__ = ["Epoch", "Likelihood", "Method", "Spec", "codes_of", "method", "posterior_of", "resident", "to_float"]

Likelihood = Literal["bernoulli", "sse", "gaussian_unit"]

_MADE = "made "  # begins the names of attributes that hold what `losses` hands over


def method(
    name: str, *, label: str = "", reference: bool = False, note: str = "", formula: str = ""
) -> Callable[[type["Method"]], type["Method"]]:
    """Register a Method subclass under `name`; UserError for anything else.

    `label` is how tables write it, else its name. A `reference` stands below the rule, and is never the best. `note` is
    what a footnote of every table says of it, and `formula` what it minimises, for the documentation. All are read from
    the file.
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
    A later stage begins when the one before has ended, with its last weights, or its best where these are scored. It
    optimises one module on the "loss" of its own losses; all else is in eval mode meanwhile. Hooks, `monitor` and the
    adversary belong to the first stage.
    Everything learned is a parameter or a buffer. Everything else that outlasts a step is a buffer with
    `persistent=False`; otherwise an interrupted training would resume without it.
    """

    heads: ClassVar[int] = 1  # encoder outputs per axis of a code: 1 for z, 2 for mu and log_var
    samplers: ClassVar[tuple[str, ...]] = ("prior",)  # its functions n -> codes; samples of each are scored apart
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

    # Any arguments, so that a subclass may define either of the two.
    def adversary_losses(self, *_: Any, **__: Any) -> dict[str, Tensor]:
        """Scalars of one batch for the adversary, called after the model's step. `adversary_loss` is minimised.

        `adversary_losses(x)`; where `losses` hands tensors over, `adversary_losses(x, made)` with these by name.
        """
        raise NotImplementedError(f"{type(self).__name__} has an adversary and must define adversary_losses(x)")

    def hand_over(self, **made: Tensor) -> None:
        """Called in `losses`: keep these tensors of the batch, detached, for the adversary's step that follows."""
        for name, value in made.items():
            setattr(self, _MADE + name, value.detach())

    def losses_of_adversary(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        """`adversary_losses` of the batch that `losses` was called with last, and of what that handed over."""
        names = [name for name in vars(self) if name.startswith(_MADE)]
        made = {name.removeprefix(_MADE): vars(self).pop(name) for name in names}
        return self.adversary_losses(x, made) if made else self.adversary_losses(x)

    def posterior(self, x: Float[Tensor, "b c h w"]) -> Posterior | None:
        """q(z|x) of each image, from `lvm_bench.posteriors`; None for a deterministic encoder.

        By default a Gaussian for `heads = 2`. With `heads = 2` and another posterior, override this.
        """
        return Gaussian.of(self.encoder(x)) if self.heads == 2 else None

    def sampled(self, mu: Float[Tensor, "b l"], log_var: Float[Tensor, "b l"]) -> Float[Tensor, "b l"]:
        """One draw from each N(mu, diag exp log_var), differentiable in mu and log_var.

        With `streams = "paired"` the first draw of a step is the same for all methods of a seed: draw this first.
        """
        return Gaussian(mu, log_var).sample(self.draw)

    def encode(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b l"]:
        """The code of each image: the mean of its posterior, or what a deterministic encoder gives."""
        posterior = posterior_of(self, x)
        return self.encoder(x) if posterior is None else posterior.mean

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

        A prior with another variance must state it in `target_variance`, and its density in `log_prior`.
        """
        return self.noise(n, self.spec.latent)

    def log_prior(self, z: Float[Tensor, "b l"]) -> Float[Tensor, " b"] | None:
        """The log density of `prior` at each code in nats. None where it is unknown: always, if `prior` alone changed.

        The default is that of N(0, I).
        """
        return standard_normal_log_prob(z) if type(self).prior is Method.prior else None

    def log_likelihood(self, x: Float[Tensor, "b c h w"], z: Float[Tensor, "b l"]) -> Float[Tensor, " b"] | None:
        """log p(x|z) of each image in nats: a density of real values in the value range. None where there is none.

        The default is that of the setting `likelihood`: N(decode(z), I/2) for sse, N(decode(z), I) for gaussian_unit,
        and for bernoulli the probability of images of zeros and ones alone. Whoever overrides it names the other one
        in `self.worked_out["likelihood"]`, which tables show.
        """
        if self.spec.likelihood != "bernoulli":
            return gaussian_log_likelihood(x, self.decode(z), VARIANCES[self.spec.likelihood])
        own = type(self)
        has_logits = own.decode is Method.decode and own.squash is Method.squash
        is_binary = bool(((x == 0) | (x == 1)).all())
        return bernoulli_log_likelihood(x, self.decoder(z)) if has_logits and is_binary else None

    @property
    def target_variance(self) -> float | None:
        """v, if the aggregate posterior approaches N(0, v I) by design: 1 by default. None if it approaches no such."""
        return 1.0

    @property
    def cannot_sample(self) -> str:
        """The reason why `prior` has no codes, "" if it has. Tables show it beside a dash for the scores of samples."""
        return ""

    @property
    def kernel_density(self) -> Density | None:
        """The kernel density estimate of all codes that the loss compares with the prior; None where there is none."""
        return None

    def pictures(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        """Grids of images [rows columns c h w] that the report shows of a run, by name; none by default.

        x are the first held-out images, two or more. Images are in the value range, or uint8. Called in eval mode,
        without gradients.
        """
        return {}

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


def posterior_of(method: Method, x: Float[Tensor, "b c h w"]) -> Posterior | None:
    """`method.posterior(x)`. RunError unless it is a posterior or None."""
    found = method.posterior(x)
    if found is None or is_posterior(found):
        return found
    raise RunError(
        f"posterior(x) of {type(method).__name__} returned a {type(found).__name__}, which is no posterior. Return "
        "Gaussian(mu, log_var) or another NamedTuple of lvm_bench.posteriors, or None for a deterministic encoder."
    )


@torch.no_grad()
def codes_of(method: Method, sampler: str, n: int) -> Float[Tensor, "n l"]:
    """n codes that one of the method's `samplers` draws. RunError unless they are finite float32 numbers [n l]."""
    codes, shape = getattr(method, sampler)(n), (n, method.spec.latent)
    at = f"{type(method).__name__}: {sampler}({n}) gave"
    if not isinstance(codes, Tensor):
        raise RunError(f"{at} a {type(codes).__name__}; give a tensor of codes {shape}.")
    if codes.shape != shape:
        raise RunError(f"{at} codes of shape {tuple(codes.shape)}; give {shape}.")
    if codes.dtype != torch.float32:
        raise RunError(f"{at} codes of {codes.dtype}; give torch.float32, which decoders take.")
    if broken := int((~codes.isfinite()).any(1).sum()):
        raise RunError(f"{at} NaN or infinite values in {broken} of {n} codes; give finite ones.")
    return codes
