"""The ex-post samplers by name: each is fitted to training codes and draws codes, which are decoded as samples."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lvm_bench.errors import RunError, UserError
from lvm_bench.evaluation.expost import flow, mixture, two_stage

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


class TrainingCodes(NamedTuple):
    """The codes that a method gives to all training images: means alone, and drawn anew from their posteriors."""

    means: Float[Tensor, "n l"]
    fresh: Callable[[torch.Generator], Tensor]  # the means themselves for a deterministic encoder


class Scale(NamedTuple):
    """The change of codes to mean 0 and variance 1."""

    centre: Float64[Tensor, " l"]
    spread: Float64[Tensor, "#l"]

    def standardised(self, codes: Float[Tensor, "n l"]) -> Float64[Tensor, "n l"]:
        return (codes.double() - self.centre) / self.spread

    def restored(self, codes: Float[Tensor, "n l"]) -> Float[Tensor, "n l"]:
        return (self.centre + self.spread * codes.double().cpu()).float()


Fit = Callable[[TrainingCodes, ExpostSettings, torch.Generator, str], tuple[Scale, Fitted]]


def _mixture(
    codes: TrainingCodes, settings: ExpostSettings, stream: torch.Generator, device: str
) -> tuple[Scale, Fitted]:
    scale = _by_axis(codes.means)
    return scale, mixture.fit(scale.standardised(codes.means), settings.expost_components, stream)


def _flow(codes: TrainingCodes, settings: ExpostSettings, stream: torch.Generator, device: str) -> tuple[Scale, Fitted]:
    scale = _by_axis(codes.means)
    z = scale.standardised(codes.means).to(device, torch.float32)
    return scale, flow.fit(z, settings.expost_flow_epochs, stream)


def _two_stage(
    codes: TrainingCodes, settings: ExpostSettings, stream: torch.Generator, device: str
) -> tuple[Scale, Fitted]:
    drawn = codes.fresh(stream).double()
    # One spread for all axes, so that gamma is one number for all of them as in the source. There codes have about the
    # variance 1 of their prior; here also those of methods without a prior do.
    scale = Scale(drawn.mean(0), _above_zero(drawn.var(0).mean().sqrt().reshape(1)))

    def fresh(own: torch.Generator) -> Float[Tensor, "n l"]:
        return scale.standardised(codes.fresh(own)).to(device, torch.float32)

    return scale, two_stage.fit(fresh, settings.expost_vae_hidden, settings.expost_vae_epochs, stream)


SAMPLERS: dict[str, Fit] = {"mixture": _mixture, "flow": _flow, "vae": _two_stage}


def drawn_codes(
    name: str, n: int, codes: TrainingCodes, settings: ExpostSettings, stream: torch.Generator, device: str = "cpu"
) -> Float[Tensor, "n l"]:
    """n draws from the ex-post sampler `name`, fitted to the codes. All its random numbers come from `stream`.

    UserError for too few codes; RunError for codes that are not finite, and for a fit that fails.
    """
    fewest = fewest_codes(settings, codes.means.shape[1])
    if len(codes.means) < fewest:
        raise UserError(too_few(len(codes.means), fewest, settings))
    if not bool(codes.means.isfinite().all()):
        raise RunError(f"The ex-post sampler {name!r} cannot be fitted: codes of training images are not finite.")
    scale, fitted = SAMPLERS[name](codes, settings, stream, device)
    return scale.restored(fitted.sample(n, stream))


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
