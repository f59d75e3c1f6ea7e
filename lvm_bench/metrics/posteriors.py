"""What posteriors tell: collapsed axes, and the three parts of the mean KL term of a VAE."""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float64
from torch import Tensor

from lvm_bench.distances import row_blocks
from lvm_bench.errors import UserError
from lvm_bench.metrics.arrays import (
    Array,
    centre_and_spread,
    check_positive,
    check_same_shape,
    check_seed,
    matrix,
    metric,
)
from lvm_bench.modelling.losses import gaussian_kl_to_standard
from lvm_bench.modelling.posteriors import Dense, Gaussian, each, is_dense
from lvm_bench.seeding import generator

Given = Dense | tuple[Array, Array]  # a pair is (mu, log_var) of Gaussians, both [n l]
LogDensity = Callable[[Float64[Tensor, "b l"]], Float64[Tensor, " b"]]
_COLLAPSED = 0.01  # nats of a collapsed axis at most
_CLAMP, _MOST = 20, 500  # largest |log_var| of the contract, and that float64 can take the exponential of
_QUERIES = 2000  # codes over which an expectation is taken, at most
_VALUES = 2**19  # numbers in those codes, at most: of very many axes fewer codes are taken
_REACH, _NODES = 8, 513  # standard deviations on each side of the mean, and points, of an integral over an axis
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def _checked(posterior: Given, name: str) -> Dense:
    """The posterior in float64; UserError unless its fields have one shape, are finite, and so is exp log_var."""
    if is_dense(posterior) and not isinstance(posterior, Gaussian):
        names: tuple[str, ...] = posterior._fields  # type: ignore[attr-defined]
        fields = {what: matrix(values, what, name) for what, values in zip(names, posterior, strict=True)}
        for other in names[1:]:
            check_same_shape(name, None, **{names[0]: fields[names[0]], other: fields[other]})
        return type(posterior)(*fields.values())
    if not isinstance(posterior, tuple | list) or len(posterior) != 2:
        raise UserError(f"{name}: posterior is a {type(posterior).__name__}; give the pair (mu, log_var).")
    mu, log_var = (matrix(values, what, name) for what, values in zip(("mu", "log_var"), posterior, strict=True))
    check_same_shape(name, mu=mu, log_var=log_var)
    low, high = (float(end) for end in log_var.aminmax())
    if max(-low, high) > _MOST:
        raise UserError(
            f"{name}: log_var has values from {low:.4g} to {high:.4g}, whose exponentials float64 cannot hold; "
            f"methods clamp them to [-{_CLAMP}, {_CLAMP}], so give logarithms of variances in that range."
        )
    if max(-low, high) > _CLAMP:
        warnings.warn(
            f"{name}: log_var has values from {low:.4g} to {high:.4g}; methods clamp them to [-{_CLAMP}, {_CLAMP}], "
            f"so check that they are the logarithms of variances that the method uses.",
            stacklevel=4,
        )
    return Gaussian(mu, log_var.to(mu.device))


@metric("collapsed_kl", better="lower", of=("mean",))
def collapsed_kl(posterior: Given, target_variance: float = 1.0) -> float:
    """Number of axes with a mean KL of at most .01 nats from posterior to N(0, target variance); lower is better."""
    check_positive("collapsed_kl", target_variance=target_variance)
    known = _checked(posterior, "collapsed_kl")
    if isinstance(known, Gaussian):
        mu, log_var = known.mu / math.sqrt(target_variance), known.log_var - math.log(target_variance)
        kl = gaussian_kl_to_standard(mu, log_var)
    else:
        kl = kl_to_normal(known, target_variance)
    return float((kl.mean(0) <= _COLLAPSED).sum())


def kl_to_normal(posterior: Dense, variance: float) -> Float64[Tensor, "n l"]:
    """KL(q(z_j|x) || N(0, variance)) of each image and axis in nats, by the trapezoidal rule over the axis."""
    steps = torch.linspace(-_REACH, _REACH, _NODES, dtype=torch.float64, device=posterior.mean.device)
    columns = []
    for j in range(posterior.mean.shape[1]):
        axis = each(posterior, lambda field, j=j: field[:, j, None])  # type: ignore[misc]
        z = axis.mean + axis.variance.sqrt() * steps
        log_q = axis.log_prob(z)
        log_p = -0.5 * (z.square() / variance + math.log(2 * math.pi * variance))
        q = log_q.exp()
        columns.append(torch.trapezoid(torch.where(q > 0, q * (log_q - log_p), 0.0), z, dim=1))
    return torch.stack(columns, dim=1)


# Parts of the KL term


@dataclass(frozen=True)
class _Draws:
    """Codes z_i ~ q(z|x_i) of b images, and their densities under the posteriors of all n images, which mix to q(z)."""

    z: Float64[Tensor, "b l"]  # relative to `centre`
    centre: Float64[Tensor, " l"]
    n: int
    log_posterior: Float64[Tensor, " b"]  # log q(z_i|x_i)
    log_densities: Callable[[slice], Iterator[Float64[Tensor, "r n"]]]  # log q(z_ij|x_k) of rows i, axis after axis
    left_out: float  # the constant l/2 log(2 pi) where all densities here are without it, because it cancels; else 0

    @classmethod
    def of(cls, posterior: Given, seed: int, name: str) -> "_Draws":
        """One code of each of at most 2,000 random images, fewer above 262 axes; q(z) keeps the posteriors of all n."""
        check_seed(name, seed)
        known = _checked(posterior, name)
        stream = generator(seed, "posterior")
        device = known.mean.device
        count = min(_QUERIES, max(_VALUES // known.mean.shape[1], 1))
        chosen = torch.randperm(len(known.mean), generator=stream)[:count].to(device)
        if isinstance(known, Gaussian):
            return cls._of_gaussians(known, chosen, stream)
        mine = each(known, lambda field: field[chosen])
        z = each(mine, Tensor.cpu).sample(lambda make: make(stream)).to(device)
        centre = torch.zeros_like(z[0])
        return cls(z, centre, len(known.mean), mine.log_prob(z).sum(1), partial(_log_densities, known, z), 0.0)

    @classmethod
    def _of_gaussians(cls, posterior: Gaussian, chosen: Tensor, stream: torch.Generator) -> "_Draws":
        mu, log_var = posterior
        centre, _ = centre_and_spread(mu)
        centred = mu - centre  # so that an offset takes no digits from differences
        noise = torch.randn(len(chosen), mu.shape[1], generator=stream, dtype=torch.float64).to(mu.device)
        z = centred[chosen] + (log_var[chosen] / 2).exp() * noise
        own = -0.5 * ((z - centred[chosen]).square() / log_var[chosen].exp() + log_var[chosen]).sum(1)
        densities = partial(_gaussian_log_densities, centred, log_var, z)
        return cls(z, centre, len(mu), own, densities, mu.shape[1] * _HALF_LOG_2PI)

    def log_prior(self, density: LogDensity | None) -> Float64[Tensor, " b"]:
        """log p(z_i) under a density, or under N(0, I)."""
        z = self.z + self.centre
        if density is not None:
            return density(z) + self.left_out
        return -0.5 * z.square().sum(1) - (z.shape[1] * _HALF_LOG_2PI - self.left_out)

    def log_aggregate(self) -> Float64[Tensor, " b"]:
        """log q(z_i) = log mean_k q(z_i|x_k)."""
        blocks = []
        for rows in row_blocks(len(self.z), self.n):
            joint = self.z.new_zeros(len(self.z[rows]), self.n)
            for densities in self.log_densities(rows):
                joint += densities
            blocks.append(torch.logsumexp(joint, dim=1))
        return torch.cat(blocks) - math.log(self.n)

    def log_marginals(self) -> Float64[Tensor, " b"]:
        """sum_j log q(z_ij), where q(z_ij) = mean_k q(z_ij|x_k)."""
        total = torch.zeros_like(self.z[:, 0])
        for rows in row_blocks(len(self.z), self.n):
            for densities in self.log_densities(rows):
                total[rows] += torch.logsumexp(densities, dim=1)
        return total - self.z.shape[1] * math.log(self.n)


def _log_densities(posterior: Dense, z: Float64[Tensor, "b l"], rows: slice) -> Iterator[Float64[Tensor, "r n"]]:
    """log q(z_ij|x_k) of some codes under all n posteriors, axis after axis."""
    for j in range(z.shape[1]):
        yield each(posterior, lambda field, j=j: field[:, j]).log_prob(z[rows, j, None])  # type: ignore[misc]


def _gaussian_log_densities(
    mu: Float64[Tensor, "n l"], log_var: Float64[Tensor, "n l"], z: Float64[Tensor, "b l"], rows: slice
) -> Iterator[Float64[Tensor, "r n"]]:
    """The same of Gaussians, without -1/2 log(2 pi).

    The squares come from differences: norms would lose the digits of posteriors that are narrow beside the codes.
    """
    for z_j, mu_j, weight, log_var_j in zip(z[rows].T, mu.T, (-log_var).exp().T, log_var.T, strict=True):
        yield (z_j[:, None] - mu_j).square_().mul_(weight).add_(log_var_j).mul_(-0.5)


@metric("mutual_information", better="none", of=("posterior",), version=2)
def mutual_information(posterior: Given, seed: int = 0) -> float:
    """E[log q(z|x) - log q(z)] in nats, at most log n; neither is better (arXiv:1802.04942)."""
    draws = _Draws.of(posterior, seed, "mutual_information")
    value = float((draws.log_posterior - draws.log_aggregate()).mean())
    return min(value, math.log(draws.n))  # only rounding exceeds it


@metric("total_correlation", better="lower", of=("posterior",), version=2)
def total_correlation(posterior: Given, seed: int = 0) -> float:
    """E[log q(z) - sum_j log q(z_j)], nats, 0 for independent axes; lower is better (arXiv:1802.04942)."""
    draws = _Draws.of(posterior, seed, "total_correlation")
    return float((draws.log_aggregate() - draws.log_marginals()).mean())


@metric("dimension_wise_kl", better="lower", of=("posterior",), version=2)
def dimension_wise_kl(posterior: Given, seed: int = 0, log_prior: LogDensity | None = None) -> float:
    """E[sum_j log q(z_j) - log p(z)], nats, 0 if each axis is the prior's; lower is better (arXiv:1802.04942).

    `log_prior`: the log density of independent axes; None for N(0, I).
    """
    draws = _Draws.of(posterior, seed, "dimension_wise_kl")
    return float((draws.log_marginals() - draws.log_prior(log_prior)).mean())
