"""How close are codes to their prior? Gaussian KL, entropy, collapsed axes, MMD, and the parts of the KL term."""

import math
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lvm_bench.distances import row_blocks
from lvm_bench.metrics.arrays import Array, check_same_shape, is_nonzero, matrix, metric
from lvm_bench.modelling.kde import (
    PAPER_BANDWIDTHS,
    corrected_bandwidth,
    leave_one_out_log_density,
    log_floor,
    optimal_bandwidth,
)
from lvm_bench.modelling.losses import gaussian_kl_to_standard, imq_mmd
from lvm_bench.seeding import generator

Posterior = tuple[Array, Array]  # (mu, log_var), both [n l]
_COLLAPSED = 0.01  # variance, or nats, of a collapsed axis at most
_PAPER_LEVEL = 1 - 5e-4  # c of the density floor in the authors' code
_QUERIES = 2000  # codes over which an expectation is taken, at most


# Gaussian fit


def gaussian_kl(codes: Float[Array, "n l"], variance: float = 1.0) -> float:
    """KL in nats of the Gaussian fit of codes (n - 1 covariance) to N(0, variance I); 0 if both are equal.

    inf if codes have no variance in some direction, as is always so for n <= l.
    """
    rows = matrix(codes, "codes", "gaussian_kl")
    l = rows.shape[1]
    mean = rows.mean(0)
    # Rounding makes slogdet finite for a singular covariance; eigenvalues show that it is singular.
    spectrum = torch.linalg.eigvalsh(torch.atleast_2d(rows.T.cov()))
    if not bool(is_nonzero(spectrum).all()):
        return math.inf
    moments = float((spectrum.sum() + mean.square().sum()) / variance)
    return 0.5 * (moments - l - float(spectrum.log().sum()) + l * math.log(variance))


@metric("gaussian_kl", better="lower", of=("mean", "sampled"))
def gaussian_kl_prior(codes: Float[Array, "n l"]) -> float:
    """KL of the codes' Gaussian fit to N(0, I), nats; lower is better (AVAE paper, Table V)."""
    return gaussian_kl(codes)


@metric("gaussian_kl_target", better="lower", of=("mean", "sampled"))
def gaussian_kl_target(codes: Float[Array, "n l"], target_variance: float) -> float:
    """KL of the codes' Gaussian fit to the method's target N(0, target_variance I), nats; lower is better."""
    return gaussian_kl(codes, target_variance)


@metric("gaussian_kl_floor", better="none", of=("mean",))
def gaussian_kl_floor(codes: Float[Array, "n l"]) -> float:
    """The expected gaussian_kl of n draws from N(0, I) itself, to first order: (l + l(l+1)/2) / 2n nats."""
    n, l = codes.shape
    return (l + l * (l + 1) / 2) / (2 * n)


# Entropy after whitening


def _whiten(rows: Float64[Tensor, "n l"]) -> Float64[Tensor, "n l"]:
    """Codes with mean 0 and identity covariance. Directions without variance stay 0."""
    centred = rows - rows.mean(0)
    spectrum, axes = torch.linalg.eigh(centred.T @ centred / (len(rows) - 1))
    scale = torch.where(is_nonzero(spectrum), spectrum, math.inf).rsqrt()
    return (centred @ axes * scale) @ axes.T


def _whiten_as_paper(rows: Float64[Tensor, "n l"]) -> Float64[Tensor, "n l"]:
    """Whitening of the authors' code: by second moments about 0, without centring, plus 1e-4 on their eigenvalues."""
    spectrum, axes = torch.linalg.eigh(rows.T @ rows / (len(rows) - 1))
    return (rows @ axes / (spectrum.clamp(min=0) + 1e-4).sqrt()) @ axes.T


def _raw_entropy(rows: Float64[Tensor, "n l"], h: float) -> float:
    """The leave-one-out KDE entropy of whitened codes."""
    return -float(leave_one_out_log_density(_whiten(rows), h).mean())


def _paper_entropy(rows: Float64[Tensor, "n l"]) -> tuple[float, float]:
    """(entropy, its largest possible value) of the authors' code: bandwidth alpha h0, density floor at c = 1 - 5e-4."""
    n, l = rows.shape
    h0 = PAPER_BANDWIDTHS.get((l, n)) or optimal_bandwidth(l, n)
    h = corrected_bandwidth(h0)
    floor = log_floor(l, h, _PAPER_LEVEL)
    log_q = leave_one_out_log_density(_whiten_as_paper(rows), h)
    return -float(torch.logaddexp(log_q, torch.full_like(log_q, floor)).mean()), -floor


@cache
def gaussian_entropy(n: int, l: int) -> float:
    """The `raw` entropy of n draws from N(0, I_l) itself, mean of 5 seeds. `gap` is the difference to it."""
    h = optimal_bandwidth(l, n)
    streams = [generator(seed, "gaussian_entropy", n, l) for seed in range(5)]
    draws = (torch.randn(n, l, generator=stream, dtype=torch.float64) for stream in streams)
    return sum(_raw_entropy(z, h) for z in draws) / len(streams)


def whitened_entropy(codes: Float[Array, "n l"]) -> dict[str, float]:
    """Leave-one-out KDE entropy of whitened codes in nats without l/2 log(2 pi); the entropy of N(0, I) is l/2.

    "raw": with bandwidth h0(l, n). "gap": raw minus its value for N(0, I); clusters and heavy tails make it negative,
    a hollow shell positive. "paper": with bandwidth alpha h0 and density floor, at most "cap". Directions without
    variance count as clustered. AVAE paper, eq. 12, in which the log and the sign are missing.
    """
    rows = matrix(codes, "codes", "whitened_entropy")
    n, l = rows.shape
    raw = _raw_entropy(rows, optimal_bandwidth(l, n))
    paper, cap = _paper_entropy(rows)
    return {"raw": raw, "gap": raw - gaussian_entropy(n, l), "paper": paper, "cap": cap}


@metric("entropy", better="higher", of=("mean", "sampled"))
def entropy(codes: Float[Array, "n l"]) -> dict[str, float]:
    """KDE entropy of whitened codes, nats: raw, gap to N(0, I), the paper's form, its cap; higher is better."""
    return whitened_entropy(codes)


# Collapse


@metric("collapsed_variance", better="lower", of=("mean",))
def collapsed_variance(codes: Float[Array, "n l"]) -> float:
    """Number of axes along which codes have a variance of at most .01; lower is better (arXiv:1509.00519, sec. 5)."""
    return float((matrix(codes, "codes", "collapsed_variance").var(0) <= _COLLAPSED).sum())


def _posterior(posterior: Posterior, name: str) -> tuple[Float64[Tensor, "n l"], Float64[Tensor, "n l"]]:
    """mu and log_var in float64; UserError unless both have the same shape."""
    mu, log_var = matrix(posterior[0], "mu", name), matrix(posterior[1], "log_var", name)
    check_same_shape(mu, log_var, "log_var", name)
    return mu, log_var


@metric("collapsed_kl", better="lower", of=("mean",))
def collapsed_kl(posterior: Posterior, target_variance: float = 1.0) -> float:
    """Number of axes with a mean KL of at most .01 nats from posterior to N(0, target variance); lower is better."""
    mu, log_var = _posterior(posterior, "collapsed_kl")
    kl = gaussian_kl_to_standard(mu / math.sqrt(target_variance), log_var - math.log(target_variance))
    return float((kl.mean(0) <= _COLLAPSED).sum())


# MMD


def mmd(codes: Float[Array, "n l"], variance: float = 1.0, seed: int = 0) -> float:
    """Unbiased MMD^2 between codes and as many draws from N(0, variance I), the sum of seven IMQ kernels.

    At most 2,000 random codes are used, because the cost is quadratic. Tolstikhin et al. 2018, sec. 4.
    """
    rows = matrix(codes, "codes", "mmd")
    stream = generator(seed, "mmd")
    rows = rows[torch.randperm(len(rows), generator=stream)[:2000].to(rows.device)]
    draws = torch.randn(rows.shape, generator=stream, dtype=torch.float64).to(rows.device)
    return float(imq_mmd(rows, draws * math.sqrt(variance), variance))


@metric("mmd", better="lower", of=("mean", "sampled"))
def mmd_prior(codes: Float[Array, "n l"], seed: int) -> float:
    """MMD^2 of the codes to N(0, I), sum of seven IMQ kernels; lower is better (arXiv:1711.01558)."""
    return mmd(codes, seed=seed)


@metric("mmd_target", better="lower", of=("mean", "sampled"))
def mmd_target(codes: Float[Array, "n l"], target_variance: float, seed: int) -> float:
    """MMD^2 of the codes to N(0, target_variance I), seven kernels; lower is better (arXiv:1711.01558)."""
    return mmd(codes, target_variance, seed)


# Parts of the KL term


@dataclass(frozen=True)
class _Draws:
    """Codes z_i ~ q(z|x_i) of b images, and the posteriors of all n images, which make up q(z)."""

    z: Float64[Tensor, "b l"]
    mu: Float64[Tensor, "b l"]
    log_var: Float64[Tensor, "b l"]
    all_mu: Float64[Tensor, "n l"]
    all_log_var: Float64[Tensor, "n l"]

    @classmethod
    def of(cls, posterior: Posterior, seed: int, name: str) -> "_Draws":
        """One code of each of at most 2,000 random images; q(z) keeps the posteriors of all n."""
        mu, log_var = _posterior(posterior, name)
        stream = generator(seed, "posterior")
        chosen = torch.randperm(len(mu), generator=stream)[:_QUERIES].to(mu.device)
        noise = torch.randn(len(chosen), mu.shape[1], generator=stream, dtype=torch.float64).to(mu.device)
        z = mu[chosen] + (log_var[chosen] / 2).exp() * noise
        return cls(z, mu[chosen], log_var[chosen], mu, log_var)

    def log_prior(self) -> Float64[Tensor, " b"]:
        """log p(z_i); like every density here without -l/2 log(2 pi), which cancels."""
        return -0.5 * self.z.square().sum(1)

    def log_posterior(self) -> Float64[Tensor, " b"]:
        """log q(z_i|x_i)."""
        return -0.5 * ((self.z - self.mu).square() / self.log_var.exp() + self.log_var).sum(1)

    def log_aggregate(self) -> Float64[Tensor, " b"]:
        """log q(z_i) = log mean_k q(z_i|x_k)."""
        precision = (-self.all_log_var).exp()
        constant = (self.all_mu.square() * precision + self.all_log_var).sum(1)
        linear = self.all_mu * precision
        n = len(constant)
        blocks = []
        for rows in row_blocks(len(self.z), n):
            z = self.z[rows]
            blocks.append(torch.logsumexp(z @ linear.T - 0.5 * (z.square() @ precision.T + constant), dim=1))
        return torch.cat(blocks) - math.log(n)

    def log_marginals(self) -> Float64[Tensor, " b"]:
        """sum_j log q(z_ij), where q(z_ij) = mean_k q(z_ij|x_k)."""
        n, l = self.all_mu.shape
        precision = (-self.all_log_var).exp()
        total = torch.zeros_like(self.z[:, 0])
        for j in range(l):
            for rows in row_blocks(len(self.z), n):
                deviations = (self.z[rows, j, None] - self.all_mu[:, j]).square_()
                exponents = deviations.mul_(precision[:, j]).add_(self.all_log_var[:, j]).mul_(-0.5)
                total[rows] += torch.logsumexp(exponents, dim=1)
        return total - l * math.log(n)


@metric("mutual_information", better="none", of=("posterior",))
def mutual_information(posterior: Posterior, seed: int = 0) -> float:
    """E[log q(z|x) - log q(z)] in nats, at most log n; neither is better (arXiv:1802.04942)."""
    draws = _Draws.of(posterior, seed, "mutual_information")
    return float((draws.log_posterior() - draws.log_aggregate()).mean())


@metric("total_correlation", better="lower", of=("posterior",))
def total_correlation(posterior: Posterior, seed: int = 0) -> float:
    """E[log q(z) - sum_j log q(z_j)], nats, 0 for independent axes; lower is better (arXiv:1802.04942)."""
    draws = _Draws.of(posterior, seed, "total_correlation")
    return float((draws.log_aggregate() - draws.log_marginals()).mean())


@metric("dimension_wise_kl", better="lower", of=("posterior",))
def dimension_wise_kl(posterior: Posterior, seed: int = 0) -> float:
    """E[sum_j log q(z_j) - log p(z)], nats, 0 if each is N(0, 1); lower is better (arXiv:1802.04942)."""
    draws = _Draws.of(posterior, seed, "dimension_wise_kl")
    return float((draws.log_marginals() - draws.log_prior()).mean())
