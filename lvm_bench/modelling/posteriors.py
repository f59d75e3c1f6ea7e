"""Posteriors q(z|x) whose axes are independent: what an encoder tells about the code of each image.

A posterior is a NamedTuple of tensors [b l], one row an image, so that batches are joined and moved field by field.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol, TypeGuard, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "Dense",
    "Draw",
    "Epanechnikov",
    "Gaussian",
    "Posterior",
    "SmoothedEpanechnikov",
    "each",
    "is_dense",
    "is_posterior",
    "joined",
    "standard_normal_log_prob",
]

Draw = Callable[[Callable[[torch.Generator], Tensor]], Tensor]  # calls a function with a generator: `Method.draw`


@runtime_checkable
class Posterior(Protocol):
    """q(z|x) of b images: the mean and the variance of each axis, and draws."""

    @property
    def mean(self) -> Float[Tensor, "*b l"]:
        """The mean of each axis."""

    @property
    def variance(self) -> Float[Tensor, "*b l"]:
        """The variance of each axis."""

    def sample(self, draw: Draw) -> Float[Tensor, "*b l"]:
        """One code of each image, differentiable in the fields; `draw` is `Method.draw`."""

    def __iter__(self) -> Iterator[Tensor]: ...


@runtime_checkable
class Dense(Posterior, Protocol):
    """A posterior with a density, which metrics of posteriors need."""

    def log_prob(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The log density of each axis at z in nats: elementwise, so that z and the fields may broadcast."""


_NARROW = 0.02  # a radius, as a share of the Gaussian that a kernel is convolved with

_P = TypeVar("_P", bound=Posterior)


def is_posterior(value: object) -> TypeGuard[Posterior]:
    """Whether `value` is a NamedTuple of tensors that has a mean, a variance and draws."""
    of_tensors = isinstance(value, tuple) and hasattr(value, "_fields") and all(isinstance(t, Tensor) for t in value)
    return of_tensors and all(hasattr(type(value), name) for name in ("mean", "variance", "sample"))


def is_dense(value: object) -> TypeGuard[Dense]:
    """Whether `value` is a posterior with a density."""
    return is_posterior(value) and hasattr(type(value), "log_prob")


def each(posterior: _P, change: Callable[[Tensor], Tensor]) -> _P:
    """The posterior whose fields are changed by `change`, for instance moved to another device."""
    return type(posterior)(*map(change, posterior))


def joined(parts: Iterable[_P]) -> _P:
    """The posterior of the images of several batches."""
    batches = list(parts)
    return type(batches[0])(*map(torch.cat, zip(*batches, strict=True)))


class Gaussian(NamedTuple):
    """q(z|x) = N(mu, diag exp log_var)."""

    mu: Float[Tensor, "*b l"]
    log_var: Float[Tensor, "*b l"]

    @classmethod
    def of(cls, heads: Float[Tensor, "b two_l"]) -> "Gaussian":
        """The posterior whose means and log-variances are the two halves of an encoder's output."""
        mu, log_var = heads.chunk(2, dim=1)
        # exp(20) is a variance of 5e8, which no useful model reaches. float32 overflows from exp(89) on.
        return cls(mu, log_var.clamp(-20, 20))

    @property
    def mean(self) -> Float[Tensor, "*b l"]:
        return self.mu

    @property
    def variance(self) -> Float[Tensor, "*b l"]:
        return self.log_var.exp()

    def sample(self, draw: Draw) -> Float[Tensor, "*b l"]:
        return self.mu + (self.log_var / 2).exp() * _normal(draw, self.mu)

    def log_prob(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return -0.5 * ((z - self.mu).square() * (-self.log_var).exp() + self.log_var + math.log(2 * math.pi))


class Epanechnikov(NamedTuple):
    """q(z|x) of z = mu + radius k + width u: k has the density 3/4 (1 - k^2) on [-1, 1], u is uniform on [-1/2, 1/2].

    With a width of 0 it is the kernel alone. EVAE, arXiv:2405.12783, eq. 12.
    """

    mu: Float[Tensor, "*b l"]
    radius: Float[Tensor, "*b l"]
    width: Float[Tensor, "*b l"]

    @property
    def mean(self) -> Float[Tensor, "*b l"]:
        return self.mu

    @property
    def variance(self) -> Float[Tensor, "*b l"]:
        return self.radius.square() / 5 + self.width.square() / 12

    def sample(self, draw: Draw) -> Float[Tensor, "*b l"]:
        return self.mu + self.radius * _kernel(draw, self.mu) + self.width * (_uniform(draw, self.mu) - 0.5)

    def log_prob(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        # (F(a) - F(b)) / width, F the distribution function of k, with its polynomial divided by a - b.
        t = z - self.mu
        a, b = (((t + half) / self.radius).clamp(-1, 1) for half in (self.width / 2, -self.width / 2))
        wide = self.width > 0
        slope = torch.where(wide, (a - b) / torch.where(wide, self.width, 1), 1 / self.radius)
        return (slope * (3 - a.square() - a * b - b.square()) / 4).log()


class SmoothedEpanechnikov(NamedTuple):
    """q(z|x) of z = mu + radius k + sigma n: k as in `Epanechnikov`, n from N(0, 1). arXiv:2405.12783, appendix G.2."""

    mu: Float[Tensor, "*b l"]
    radius: Float[Tensor, "*b l"]
    sigma: Float[Tensor, "*b l"]

    @property
    def mean(self) -> Float[Tensor, "*b l"]:
        return self.mu

    @property
    def variance(self) -> Float[Tensor, "*b l"]:
        return self.radius.square() / 5 + self.sigma.square()

    def sample(self, draw: Draw) -> Float[Tensor, "*b l"]:
        return self.mu + self.radius * _kernel(draw, self.mu) + self.sigma * _normal(draw, self.mu)

    def log_prob(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        # Of a narrow kernel the differences below have no digits; its convolution is then a normal but for 1e-9.
        narrow = self.radius < _NARROW * self.sigma
        normal = Gaussian(self.mu, self.variance.log()).log_prob(z)
        return torch.where(narrow, normal, self._convolved(z, torch.where(narrow, self.sigma, self.radius)))

    def _convolved(self, z: Float[Tensor, "..."], r: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        # The density is symmetric. At t >= 0 both limits of v = (s - t) / sigma lie where the differences keep digits.
        t, s = (z - self.mu).abs(), self.sigma
        low, high = (-r - t) / s, (r - t) / s
        log_mass = _log_difference(torch.special.log_ndtr(high), torch.special.log_ndtr(low))
        phi_low, phi_high = ((-0.5 * v.square() - log_mass).exp() / math.sqrt(2 * math.pi) for v in (low, high))
        first = phi_low - phi_high  # E[v] of a standard normal between the limits
        second = 1 + low * phi_low - high * phi_high  # E[v^2]
        inside = 1 - (t.square() + 2 * t * s * first + s.square() * second) / r.square()
        return math.log(0.75) - r.log() + log_mass + inside.clamp(min=torch.finfo(inside.dtype).tiny).log()


def standard_normal_log_prob(z: Float[Tensor, "*b l"]) -> Float[Tensor, " b"]:
    """log N(z; 0, I) of each code in nats."""
    return -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)


def _log_difference(larger: Tensor, smaller: Tensor) -> Tensor:
    """log(exp larger - exp smaller)."""
    return larger + torch.log1p(-(smaller - larger).exp())


def _normal(draw: Draw, like: Tensor) -> Tensor:
    return draw(lambda own: torch.randn(*like.shape, generator=own, device=own.device)).to(like.dtype)


def _uniform(draw: Draw, like: Tensor, n: int = 1) -> Tensor:
    """The median of n draws, uniform on [0, 1)."""
    draws = draw(lambda own: torch.rand(n, *like.shape, generator=own, device=own.device))
    return draws.median(dim=0).values.to(like.dtype)


def _kernel(draw: Draw, like: Tensor) -> Tensor:
    """Draws of the kernel: the median of three uniform draws on [-1, 1]. arXiv:2405.12783, algorithm 2."""
    return 2 * _uniform(draw, like, 3) - 1
