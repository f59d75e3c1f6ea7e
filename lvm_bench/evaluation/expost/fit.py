"""The ex-post samplers by name: each is fitted to training codes and draws codes, which are decoded as samples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lvm_bench.errors import RunError, UserError
from lvm_bench.evaluation.expost import flow, mixture, two_stage
from lvm_bench.training.checkpoint import Checkpoints

_LEAST = 10  # codes, of which the flow holds one out


@runtime_checkable
class ExpostSettings(Protocol):
    """The settings of a job that its ex-post samplers depend on."""

    @property
    def expost(self) -> Sequence[str]: ...

    @property
    def expost_components(self) -> int: ...

    @property
    def expost_flow_epochs(self) -> int: ...

    @property
    def expost_vae_epochs(self) -> int: ...

    @property
    def expost_vae_hidden(self) -> int: ...


@runtime_checkable
class Fitted(Protocol):
    """A distribution of standardised codes."""

    def sample(self, n: int, stream: torch.Generator) -> Tensor:
        """n draws [n l]."""


@dataclass(frozen=True)
class Fitting:
    """What samplers are fitted to, and with what. All random numbers come from `stream`."""

    codes: Float[Tensor, "n l"]  # of all training images; posterior means where the method has posteriors
    fresh: Callable[[torch.Generator], Tensor]  # the codes drawn anew from their posteriors; without any, the codes
    settings: ExpostSettings
    stream: torch.Generator
    device: str = "cpu"
    checkpoints: Checkpoints | None = None  # of a fit that takes long


class Scale(NamedTuple):
    """The change of codes to mean 0 and variance 1."""

    centre: Float64[Tensor, " l"]
    spread: Float64[Tensor, "#l"]

    def standardised(self, codes: Float[Tensor, "n l"]) -> Float64[Tensor, "n l"]:
        return (codes.double() - self.centre) / self.spread

    def restored(self, codes: Float[Tensor, "n l"]) -> Float[Tensor, "n l"]:
        return (self.centre + self.spread * codes.double().cpu()).float()


def _mixture(given: Fitting) -> tuple[Scale, Fitted]:
    scale = _by_axis(given.codes)
    return scale, mixture.fit(scale.standardised(given.codes), given.settings.expost_components, given.stream)


def _flow(given: Fitting) -> tuple[Scale, Fitted]:
    scale = _by_axis(given.codes)
    z = scale.standardised(given.codes).to(given.device, torch.float32)
    return scale, flow.fit(z, given.settings.expost_flow_epochs, given.stream)


def _two_stage(given: Fitting) -> tuple[Scale, Fitted]:
    codes, settings = given.fresh(given.stream).double(), given.settings
    # One spread for all axes, so that gamma is one number for all of them as in the source. There codes have about the
    # variance 1 of their prior; here also those of methods without a prior do.
    scale = Scale(codes.mean(0), _above_zero(codes.var(0).mean().sqrt().reshape(1)))

    def fresh(stream: torch.Generator) -> Float[Tensor, "n l"]:
        return scale.standardised(given.fresh(stream)).to(given.device, torch.float32)

    hidden, epochs = settings.expost_vae_hidden, settings.expost_vae_epochs
    return scale, two_stage.fit(fresh, hidden, epochs, given.stream, given.checkpoints)


SAMPLERS: dict[str, Callable[[Fitting], tuple[Scale, Fitted]]] = {
    "mixture": _mixture,
    "flow": _flow,
    "vae": _two_stage,
}


def drawn_codes(name: str, n: int, given: Fitting) -> Float[Tensor, "n l"]:
    """n draws from the ex-post sampler `name`, after it was fitted.

    UserError for too few codes; RunError for codes that are not finite, and for a fit that fails.
    """
    count, fewest = len(given.codes), fewest_codes(given.settings, given.codes.shape[1])
    if count < fewest:
        raise UserError(too_few(count, fewest, given.settings))
    if not bool(given.codes.isfinite().all()):
        raise RunError(f"The ex-post sampler {name!r} cannot be fitted: codes of training images are not finite.")
    scale, fitted = SAMPLERS[name](given)
    return scale.restored(fitted.sample(n, given.stream))


def fewest_codes(settings: ExpostSettings, l: int) -> int:
    """How many training codes of size l the chosen samplers need; 0 where none is chosen."""
    if not settings.expost:
        return 0
    return max(l + 1, _LEAST, settings.expost_components if "mixture" in settings.expost else 0)


def too_few(n: int, fewest: int, settings: ExpostSettings) -> str:
    """A sentence on what to do about too few codes."""
    return (
        f"expost = {[*settings.expost]}: {n:,} training codes are too few to fit ex-post samplers to. Give {fewest:,} "
        "training images or more (train_images), a smaller latent size, or leave expost out."
    )


def told(settings: ExpostSettings) -> str:
    """What the chosen samplers are, as captions say it; "" where none is chosen."""
    words = {
        "mixture": f"mixture of {settings.expost_components} Gaussians with full covariances",
        "flow": f"masked autoregressive flow of {flow.BLOCKS} blocks of {' x '.join(map(str, flow.HIDDEN))} units, at "
        f"most {settings.expost_flow_epochs} epochs",
        "vae": f"two-stage VAE of {two_stage.LAYERS} layers of {settings.expost_vae_hidden} units, "
        f"{settings.expost_vae_epochs} epochs",
    }
    return "; ".join(f"{name}: {words[name]}" for name in settings.expost)


def _by_axis(codes: Float[Tensor, "n l"]) -> Scale:
    return Scale(codes.double().mean(0), _above_zero(codes.double().std(0)))


def _above_zero(spread: Float64[Tensor, " l"]) -> Float64[Tensor, " l"]:
    """The spread of each axis, 1 in the place of 0: a constant stays what it is."""
    return torch.where(spread > 0, spread, 1)
