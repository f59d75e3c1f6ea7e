"""How close are codes to their prior? Gaussian KL, entropy, collapsed axes, MMD."""

import math
from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lvm_bench.distances import exact_squared_distances, squared_distances
from lvm_bench.errors import UserError
from lvm_bench.metrics.arrays import (
    Array,
    centre_and_spread,
    check_at_least,
    check_positive,
    check_seed,
    matrix,
    metric,
    rows_of,
)
from lvm_bench.modelling.kde import (
    PAPER_BANDWIDTHS,
    corrected_bandwidth,
    leave_one_out_log_density,
    log_floor,
    optimal_bandwidth,
)
from lvm_bench.modelling.losses import imq_mmd
from lvm_bench.seeding import generator

_COLLAPSED = 0.01  # variance of a collapsed axis at most
_PAPER_LEVEL = 1 - 5e-4  # c of the density floor in the authors' code
_WIDE = 512  # axes from which on distances from differences, and singular vectors, take seconds


# Gaussian fit


def principal_axes(
    rows: Float64[Tensor, "n l"],
) -> tuple[Float64[Tensor, "n r"], Float64[Tensor, " r"], Float64[Tensor, "l r"]]:
    """(U, s, V) with rows = U diag(s) V^T, without the directions in which rows do not differ from 0 beyond rounding.

    A singular value keeps the digits that its square, an eigenvalue of the covariance, would lose.
    """
    # The small factor has the singular values of the rows, and takes a fraction of the time.
    base, small = torch.linalg.qr(rows)
    left, singular, right = torch.linalg.svd(small, full_matrices=False)
    alive = singular > singular.max() * max(rows.shape) * torch.finfo(rows.dtype).eps
    return base @ left[:, alive], singular[alive], right[alive].T


def gaussian_kl(codes: Float[Array, "n l"], variance: float = 1.0) -> float:
    """KL in nats of the Gaussian fit of codes (n - 1 covariance) to N(0, variance I); 0 if both are equal.

    1/2 (tr S / v + |m|^2 / v - l - log det(S / v)), m and S mean and covariance, v the variance. It is low for codes of
    any law with these moments, such as clusters: read it beside `two_sample`. inf if codes have no variance in some
    direction, as is always so for n <= l.
    """
    apart, about, log_det, l = _kl_sums(codes, variance, "gaussian_kl")
    return 0.5 * (apart + about - l - log_det)


def gaussian_kl_parts(codes: Float[Array, "n l"], variance: float = 1.0) -> dict[str, float]:
    """The three parts of gaussian_kl in nats: scale, mean and anisotropy; they add up to it.

    "scale": l/2 (a - 1 - log a), with a the mean variance of the axes over `variance`. "mean": of the distance from 0.
    "anisotropy": l/2 times the log of the ratio of the arithmetic to the geometric mean of the covariance's
    eigenvalues; inf if codes have no variance in some direction.
    """
    apart, about, log_det, l = _kl_sums(codes, variance, "gaussian_kl_parts")
    a = apart / l
    if a == 0:
        return {"scale": math.inf, "mean": 0.5 * about, "anisotropy": 0.0}
    return {
        "scale": 0.5 * l * (a - 1 - math.log(a)),
        "mean": 0.5 * about,
        "anisotropy": 0.5 * (l * math.log(a) - log_det),
    }


def _kl_sums(codes: Float[Array, "n l"], variance: float, name: str) -> tuple[float, float, float, int]:
    """(trace, squared mean, log det, l) of the Gaussian fit of codes over sqrt(variance); a singular one has -inf."""
    check_positive(name, variance=variance)
    rows = matrix(codes, "codes", name)
    n, l = rows.shape
    centre, spread = centre_and_spread(rows)
    # Relative to its own spread, an axis keeps its variance however small it is beside the others.
    relative = (rows - centre) / spread.where(spread > 0, 1)
    scale = spread / math.sqrt(variance)
    apart = (relative.square().sum(0) * scale.square()).sum() / (n - 1)
    about = (centre / math.sqrt(variance)).square().sum()
    log_det = -math.inf
    if n > l and bool(spread.all()) and len(factors := _factors_of_volume(relative)) == l:
        log_det = 2 * float(factors.log().sum() + scale.log().sum()) - l * math.log(n - 1)
    return float(apart), float(about), log_det, l


def _factors_of_volume(rows: Float64[Tensor, "n l"]) -> Float64[Tensor, " r"]:
    """l numbers whose product is the root of det(rows^T rows); fewer where rows have no variance in some direction.

    Of very many axes the diagonal of R of rows = Q R, whose singular values would take twenty times as long.
    """
    if rows.shape[1] <= _WIDE:
        return principal_axes(rows)[1]
    return _above_rounding(torch.linalg.qr(rows, mode="r").R.diagonal().abs(), rows.shape)


def _above_rounding(factors: Float64[Tensor, " l"], shape: torch.Size) -> Float64[Tensor, " r"]:
    """The factors of rows of a shape that are more than the rounding of the largest."""
    return factors[factors > factors.max() * max(shape) * torch.finfo(factors.dtype).eps]


@metric("gaussian_kl", better="lower", of=("mean", "sampled"), version=2)
def gaussian_kl_prior(codes: Float[Array, "n l"]) -> float:
    """KL of the codes' Gaussian fit to N(0, I), nats; lower is better (AVAE paper, Table V)."""
    return gaussian_kl(codes)


@metric("gaussian_kl_target", better="lower", of=("mean", "sampled"), version=2)
def gaussian_kl_target(codes: Float[Array, "n l"], target_variance: float) -> float:
    """KL of the codes' Gaussian fit to the method's target N(0, target_variance I), nats; lower is better."""
    return gaussian_kl(codes, target_variance)


@metric("gaussian_kl_parts", better="lower", of=("mean",))
def gaussian_kl_target_parts(codes: Float[Array, "n l"], target_variance: float) -> dict[str, float]:
    """The parts of gaussian_kl_target: scale, mean and anisotropy, nats; lower is better (no sign of convergence)."""
    return gaussian_kl_parts(codes, target_variance)


@metric("gaussian_kl_floor", better="none", of=("mean",))
def gaussian_kl_floor(codes: Float[Array, "n l"]) -> float:
    """The expected gaussian_kl of n draws from N(0, I) itself, to first order: (l + l(l+1)/2) / 2n nats."""
    n, l = rows_of(codes, "codes", "gaussian_kl_floor").shape
    return (l + l * (l + 1) / 2) / (2 * n)


# Entropy after whitening


def _whiten(rows: Float64[Tensor, "n l"]) -> Float64[Tensor, "n l"]:
    """Codes with mean 0 and identity covariance, up to a rotation. Directions without variance stay 0.

    Of very many axes that all vary it takes Q of rows = Q R, in a fraction of the time of singular vectors.
    """
    centre, spread = centre_and_spread(rows)
    relative = (rows - centre) / spread.where(spread > 0, math.inf)
    if relative.shape[1] > _WIDE:
        base, small = torch.linalg.qr(relative)
        if len(_above_rounding(small.diagonal().abs(), rows.shape)) == rows.shape[1]:
            return base * math.sqrt(len(rows) - 1)
    base, _, axes = principal_axes(relative)
    return base @ axes.T * math.sqrt(len(rows) - 1)


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


def gaussian_entropy(n: int, l: int) -> float:
    """The `raw` entropy of n draws from N(0, I_l), mean of 5 seeds, above 512 axes of 1. `gap` is the difference to it.

    It is computed once for each n and l. UserError for n < l + 2, where it tells nothing.
    """
    check_at_least(1, "gaussian_entropy", l=l)
    check_at_least(l + 2, "gaussian_entropy", n=n)
    return _gaussian_entropy(int(n), int(l))


@cache
def _gaussian_entropy(n: int, l: int) -> float:
    """`gaussian_entropy`, kept."""
    h = optimal_bandwidth(l, n)
    streams = [generator(seed, "gaussian_entropy", n, l) for seed in range(1 if l > _WIDE else 5)]
    draws = (torch.randn(n, l, generator=stream, dtype=torch.float64) for stream in streams)
    return sum(_raw_entropy(z, h) for z in draws) / len(streams)


def whitened_entropy(codes: Float[Array, "n l"]) -> dict[str, float]:
    """Leave-one-out KDE entropy of whitened codes in nats without l/2 log(2 pi); the entropy of N(0, I) is l/2.

    "raw": with bandwidth h0(l, n). "gap": raw minus its value for N(0, I); clusters and heavy tails make it negative,
    a hollow shell positive. "paper": with bandwidth alpha h0 and density floor, at most "cap". Directions without
    variance count as clustered. UserError for n < l + 2, where whitening makes a simplex of any codes. AVAE paper,
    eq. 12, in which the log and the sign are missing.
    """
    rows = matrix(codes, "codes", "whitened_entropy")
    n, l = rows.shape
    if n < l + 2:
        raise UserError(
            f"whitened_entropy: codes has {n} samples in {l} dimensions, and whitening puts any {n} codes at equal "
            f"distances; give {l + 2} samples or more, best some hundred times as many as dimensions."
        )
    raw = _raw_entropy(rows, optimal_bandwidth(l, n))
    paper, cap = _paper_entropy(rows)
    return {"raw": raw, "gap": raw - gaussian_entropy(n, l), "paper": paper, "cap": cap}


@metric("entropy", better="higher", of=("mean", "sampled"), version=2)
def entropy(codes: Float[Array, "n l"]) -> dict[str, float]:
    """KDE entropy of whitened codes, nats: raw, gap to N(0, I), the paper's form, its cap; higher is better.

    With fewer than l + 2 codes raw, gap and paper are -inf, so that a run of few images still ends; there is no cap.
    """
    rows = matrix(codes, "codes", "entropy")
    if len(rows) >= rows.shape[1] + 2:
        return whitened_entropy(rows)
    return dict.fromkeys(("raw", "gap", "paper"), -math.inf)


# Collapse


@metric("collapsed_variance", better="lower", of=("mean",))
def collapsed_variance(codes: Float[Array, "n l"]) -> float:
    """Number of axes along which codes have a variance of at most .01; lower is better (arXiv:1509.00519, sec. 5).

    The threshold knows no scale: codes of a narrow prior lie below it with all their axes.
    """
    return float((matrix(codes, "codes", "collapsed_variance").var(0) <= _COLLAPSED).sum())


@metric("active_units", better="higher", of=("mean",), label="active units", table="latent")
def active_units(codes: Float[Array, "n l"]) -> float:
    """Number of axes, 0 to l, on which posterior means vary by more than .01; higher is better (arXiv:1509.00519)."""
    rows = matrix(codes, "codes", "active_units")
    centre, _ = centre_and_spread(rows)  # exact where an axis is constant
    return float(((rows - centre).square().sum(0) / (len(rows) - 1) > _COLLAPSED).sum())


# MMD


def mmd(codes: Float[Array, "n l"], variance: float = 1.0, seed: int = 0) -> float:
    """Unbiased MMD^2 between codes and as many draws from N(0, variance I), the sum of seven IMQ kernels.

    Each kernel is C / (C + |a - b|^2), with C / (2 l variance) = .1, .2, .5, 1, 2, 5, 10. It may be negative. At most
    2,000 random codes are used, because the cost is quadratic. Tolstikhin et al. 2018, sec. 4.
    """
    rows = matrix(codes, "codes", "mmd")
    check_positive("mmd", variance=variance)
    check_seed("mmd", seed)
    stream = generator(seed, "mmd")
    rows = rows[torch.randperm(len(rows), generator=stream)[:2000].to(rows.device)]
    draws = torch.randn(rows.shape, generator=stream, dtype=torch.float64).to(rows.device)
    return float(imq_mmd(rows, draws * math.sqrt(variance), variance, _distances_of(rows, variance)))


def _distances_of(rows: Float64[Tensor, "n l"], variance: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Squared distances for the kernels. Of very many axes they come from a Gram matrix, in a tenth of the time.

    Its rounding, 1e-16 of the largest squared norm, is then at most 1e-8 l variance; the narrowest kernel has .2 of it.
    """
    l = rows.shape[1]
    wide = l > _WIDE and bool(rows.square().sum(1).max() < 1e8 * l * variance)
    return squared_distances if wide else exact_squared_distances


@metric("mmd", better="lower", of=("mean", "sampled"), version=2)
def mmd_prior(codes: Float[Array, "n l"], seed: int) -> float:
    """MMD^2 of the codes to N(0, I), sum of seven IMQ kernels; lower is better (arXiv:1711.01558)."""
    return mmd(codes, seed=seed)


@metric("mmd_target", better="lower", of=("mean", "sampled"), version=2)
def mmd_target(codes: Float[Array, "n l"], target_variance: float, seed: int) -> float:
    """MMD^2 of the codes to N(0, target_variance I), seven kernels; lower is better (arXiv:1711.01558)."""
    return mmd(codes, target_variance, seed)
