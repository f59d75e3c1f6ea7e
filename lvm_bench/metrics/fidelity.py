"""The distance of generated features from real ones: Frechet distance, kernel distance and CMMD.

Each formula would take fifteen lines. The others buy speed (half of each symmetric product, sums shared by all
subsets) and exactness (a bound on the rounding decides when the slower form is needed).
"""

import math
from functools import cached_property, partial

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from lvm_bench.distances import row_blocks, squared_distances
from lvm_bench.metrics.arrays import (
    Array,
    Once,
    anew,
    check_at_least,
    check_seed,
    metric,
    power_of_two,
    two_sets,
)
from lvm_bench.seeding import generator

_BLOCK = 1000  # rows that are centred at a time
_ROUNDING = 1e-9  # largest rounding of the trace of the root, as a share of the variance; above it, use the factors
_ROUNDING_KID = 1e-4  # largest rounding of kernel distances, as a share of their std; above it, use float64
_POWER = 6  # of a value in the kernel
_TILE = 1000  # rows on both sides of a tile of kernels, which stays in the cache
_SIZES = 15  # subsets of FD-infinity
_LEAST = 5000  # rows of its smallest subset, at most
_SIGMA = 10.0  # of the kernel of CMMD, whose rows have unit norm
_PAIRS = 2**20  # kernels of CMMD in a block


def _panels(d: int) -> list[slice]:
    """Slices of d columns. A symmetric product is computed only from the start of each panel to the right."""
    return row_blocks(d, 1, max(128, d // 8))


class Moments:
    """The Gaussian fit of features. Each part is computed when it is first asked for, then kept."""

    def __init__(self, features: Float[Tensor, "n d"]):
        self.features = features

    @cached_property
    def mean(self) -> Float64[Tensor, " d"]:
        """The mean of the features."""
        sums = [block.sum(0, dtype=torch.float64) for block in self.features.split(_BLOCK)]
        return torch.stack(sums).sum(0) / len(self.features)

    @cached_property
    def covariance(self) -> Float64[Tensor, "d d"]:
        """The covariance of the features (n - 1)."""
        d = len(self.mean)
        total = self.mean.new_zeros(d, d)
        for block in self.features.split(_BLOCK):
            rows = block - self.mean
            for panel in _panels(d):
                total[panel, panel.start :].addmm_(rows[:, panel].T, rows[:, panel.start :])
        upper = total.triu()
        return (upper + upper.triu(1).T) / (len(self.features) - 1)

    @cached_property
    def root(self) -> Float64[Tensor, "d d"] | None:
        """Upper triangular R with R^T R = the covariance, by Cholesky; None if the covariance is singular."""
        root, failed = torch.linalg.cholesky_ex(self.covariance, upper=True)
        return None if bool(failed) else root

    @cached_property
    def factor(self) -> Float64[Tensor, "r d"]:
        """R with R^T R = the covariance, by a QR decomposition of the centred rows, block by block."""
        d = len(self.mean)
        factor = self.mean.new_empty(0, d)
        for block in self.features.split(max(10_000, d)):
            rows = torch.cat([factor, block - self.mean])
            factor = torch.linalg.qr(rows, mode="r").R if len(rows) > d else rows
        return factor / (len(self.features) - 1) ** 0.5


class Told(Moments):
    """A Gaussian fit whose mean and covariance are told, where there are no features."""

    def __init__(self, mean: Float64[Tensor, " d"], covariance: Float64[Tensor, "d d"]):
        vars(self).update(mean=mean, covariance=covariance)  # in the place of what would be computed

    @cached_property
    def factor(self) -> Float64[Tensor, "r d"]:
        """R with R^T R = the covariance, by its eigenvectors; rounding below 0 is cut."""
        squares, axes = torch.linalg.eigh(self.covariance)
        return squares.clamp(min=0).sqrt()[:, None] * axes.T


def _trace_of_root(real: Moments, fake: Moments) -> tuple[float, float]:
    """tr (S_r S_f)^(1/2), from the eigenvalues of R S_f R^T with R^T R = S_r, and an estimate of its rounding.

    Both are infinite if S_r is singular.
    """
    root, covariance = real.root, fake.covariance
    if root is None:
        return math.inf, math.inf
    panels = _panels(len(root))
    product = torch.cat([covariance[:, panel.start :] @ root[panel, panel.start :].T for panel in panels], dim=1)
    upper = torch.zeros_like(root)
    for panel in panels:
        upper[panel, panel.start :] = root[panel, panel.start :] @ product[panel.start :, panel.start :]
    squares = torch.linalg.eigvalsh(upper, UPLO="U").clamp_(min=0)
    # The rounding of an eigenvalue; a small eigenvalue may be rounding altogether.
    rounding = torch.finfo(torch.float64).eps * float(real.covariance.norm() * covariance.norm())
    return float(squares.sqrt().sum()), float((rounding / (squares.sqrt() + rounding**0.5)).sum())


def frechet_distance(real: Float[Array, "n d"], fake: Float[Array, "m d"], once: Once = anew) -> float:
    """|mu_r - mu_f|^2 + tr S_r + tr S_f - 2 tr (S_r S_f)^(1/2) of the Gaussian fits; 0 for equal sets.

    Covariances divide by n - 1. `once` keeps the values that depend on `real` alone. Heusel et al. 2017, eq. 6.
    UserError for fewer than 2 samples.
    """
    real, fake = two_sets("frechet_distance", real=real, fake=fake)
    unit = power_of_two(real, fake)
    r, f = once("moments", f"real {unit}", lambda: Moments(real * unit)), Moments(fake * unit)
    return distance_of_fits(r, f) / unit / unit


def distance_of_fits(r: Moments, f: Moments) -> float:
    """`frechet_distance` of two Gaussian fits with as many dimensions."""
    if torch.equal(r.mean, f.mean) and torch.equal(r.covariance, f.covariance):
        return 0.0  # rounding would leave more or less
    variance = float(r.covariance.trace() + f.covariance.trace())
    trace, rounding = _trace_of_root(r, f)
    if not rounding <= _ROUNDING * variance:
        # The trace is the nuclear norm of R_r R_f^T for any S = R^T R. It takes no root of a squared value, and so
        # stays exact with fewer samples than dimensions, at four times the cost.
        trace = float(torch.linalg.svdvals(r.factor @ f.factor.T).sum())
    distance = float((r.mean - f.mean).square().sum()) + variance - 2 * trace
    return max(distance, 0.0)


@metric("frechet", better="lower", of=("recon", "interpolated", "fake", "expost"))
def frechet(reference_features: Float[Array, "n d"], fake_features: Float[Array, "m d"], once: Once = anew) -> float:
    """Frechet distance to the training images, squared units; lower is better (arXiv:1706.08500, eq. 6)."""
    return frechet_distance(reference_features, fake_features, once)


def fd_infinity(
    real: Float[Array, "n d"], fake: Float[Array, "m d"], smallest: int, seed: int = 0, once: Once = anew
) -> float:
    """The Frechet distance for infinitely many fakes: the intercept of a line through 15 distances over 1 / size.

    The sizes are evenly spaced from `smallest` to m; each has fakes drawn anew, without replacement. It can be below 0.
    `once` keeps the values that depend on `real` alone. Chong & Forsyth 2020. UserError unless there are more than
    `smallest` fakes.
    """
    check_at_least(2, "fd_infinity", smallest=smallest)
    check_seed("fd_infinity", seed)
    real, fake = two_sets("fd_infinity", (2, smallest + 1), real=real, fake=fake)
    unit, stream = power_of_two(real, fake), generator(seed, "fd_infinity")
    r, distances = once("moments", f"real {unit}", lambda: Moments(real * unit)), []
    sizes = np.linspace(smallest, len(fake), _SIZES).astype(int)
    for size in sizes:
        chosen = torch.randperm(len(fake), generator=stream)[:size].to(fake.device)
        distances.append(distance_of_fits(r, Moments(fake[chosen] * unit)))
    _, intercept = np.polyfit(1 / sizes, distances, 1)
    return float(intercept) / unit / unit


@metric("fd_infinity", better="lower", of=("fake", "expost"), label="FD∞", table="fidelity", costly=True)
def fd_infinity_score(
    reference_features: Float[Array, "n d"], fake_features: Float[Array, "m d"], seed: int, once: Once = anew
) -> float:
    """Frechet distance extrapolated to infinitely many samples, squared units; lower is better (arXiv:1911.07023).

    The smallest of the 15 subsets has a tenth of the samples, 5,000 at most.
    """
    smallest = min(_LEAST, max(len(fake_features) // 10, 2))
    return fd_infinity(reference_features, fake_features, smallest, seed, once)


@metric("frechet_originals", better="lower", of=("recon",), label="FD to originals", table="reconstruction")
def frechet_originals(heldout_features: Float[Array, "n d"], fake_features: Float[Array, "n d"]) -> float:
    """Frechet distance of reconstructions to their originals, as in rFID; from 0, lower is better (arXiv:1706.08500).

    `frechet` compares the same reconstructions with the training images.
    """
    return frechet_distance(heldout_features, fake_features)


def _kernel_sums(
    x: Float[Tensor, "n d"], in_x: Float[Tensor, "s n"], y: Float[Tensor, "m d"], in_y: Float[Tensor, "s m"]
) -> Float64[Tensor, " s"]:
    """The sum of (x_i.y_j/d + 1)^3 over the pairs of each subset; only over i != j if x is y.

    `in_x` and `in_y` are 1 where a row belongs to a subset, else 0. Kernels are computed once for all subsets in the
    dtype of the rows; the sums over tiles are float64.
    """
    one, total = x.new_ones(()), torch.zeros(len(in_x), dtype=torch.float64, device=x.device)
    for rows in row_blocks(len(x), 1, _TILE):
        for columns in row_blocks(len(y), 1, _TILE):
            if x is y and columns.start < rows.start:
                continue
            k = torch.addmm(one, x[rows], y[columns].T, alpha=1 / x.shape[1])
            k = k.pow_(3)
            if x is y and rows == columns:
                k.fill_diagonal_(0)
            twice = 2 if x is y and rows != columns else 1
            total += twice * ((in_x[:, rows] @ k).double() * in_y[:, columns]).sum(1)
    return total


def _sums_of_subsets(
    x: Float[Tensor, "n d"], i: Int64[Tensor, "s b"], y: Float[Tensor, "m d"], j: Int64[Tensor, "s b"], every_pair: bool
) -> Float64[Tensor, " s"]:
    """Kernel sums of each subset, rows i of x and j of y: from kernels of `every_pair`, or from its own pairs alone."""
    if every_pair:
        in_x, in_y = (z.new_zeros(len(k), len(z)).scatter_(1, k.to(z.device), 1) for z, k in ((x, i), (y, j)))
        return _kernel_sums(x, in_x, y, in_y)
    sums, all_ = [], x.new_ones(1, i.shape[1])
    for in_x, in_y in zip(i, j, strict=True):
        rows = x[in_x]
        sums.append(_kernel_sums(rows, all_, rows if x is y else y[in_y], all_))
    return torch.cat(sums)


def _kernel_distances(
    name: str, real: Array, fake: Array, subsets: int, subset_size: int, seed: int, once: Once
) -> Float64[Tensor, " subsets"]:
    """`kernel_distances`; `name` is the metric that error messages mention."""
    check_at_least(1, name, subsets=subsets)
    check_at_least(2, name, subset_size=subset_size)
    check_seed(name, seed)
    real, fake = two_sets(name, subset_size, _POWER, real=real, fake=fake)
    stream = generator(seed, "kernel_distance")
    drawn = [
        [torch.randperm(len(rows), generator=stream)[:subset_size] for rows in (real, fake)] for _ in range(subsets)
    ]
    i, j = (torch.stack(rows) for rows in zip(*drawn, strict=True))
    every_pair = len(real) * len(fake) <= subsets * subset_size**2  # fewer than in all subsets
    for dtype in (torch.float32, torch.float64):
        x, y = real.to(dtype), fake.to(dtype)
        # The size of fake is in the key, because it decides which rows of real are drawn.
        own = once("kernel sums", f"real {len(y)} {dtype}", partial(_sums_of_subsets, x, i, x, i, every_pair))
        others = _sums_of_subsets(y, j, y, j, every_pair)
        across = _sums_of_subsets(x, i, y, j, every_pair) / subset_size**2
        pairs = subset_size * (subset_size - 1)
        values = own / pairs + others / pairs - 2 * across
        # The kernels of a row may all be rounded the same way; the mean over rows divides by the root of their number.
        rounding = torch.finfo(dtype).eps * float(across.abs().max()) / subset_size**0.5
        if subsets > 1 and rounding < _ROUNDING_KID * float(values.std()):
            break
    return values.cpu()


def kernel_distances(
    real: Float[Array, "n d"],
    fake: Float[Array, "m d"],
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
    once: Once = anew,
) -> Float64[Tensor, " subsets"]:
    """Unbiased MMD^2 under the kernel (x.y/d + 1)^3 of random subsets, each drawn without replacement.

    The cross term keeps its diagonal. `once` keeps the values that depend on `real` alone. UserError if a set has fewer
    than `subset_size` samples. Binkowski et al. 2018, sec. 4.
    """
    return _kernel_distances("kernel_distances", real, fake, subsets, subset_size, seed, once)


def kernel_distance(
    real: Float[Array, "n d"],
    fake: Float[Array, "m d"],
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> float:
    """The mean of `kernel_distances`. Its expectation is 0 for equal distributions, so that it may be negative."""
    return float(_kernel_distances("kernel_distance", real, fake, subsets, subset_size, seed, anew).mean())


@metric("kid", better="lower", of=("recon", "interpolated", "fake", "expost"))
def kid(
    reference_features: Float[Array, "n d"],
    fake_features: Float[Array, "m d"],
    kid_subsets: int,
    kid_subset_size: int,
    seed: int,
    once: Once = anew,
) -> dict[str, float]:
    """Kernel distance, mean and std over random subsets; lower is better (arXiv:1801.01401)."""
    size = min(kid_subset_size, len(reference_features), len(fake_features))
    values = kernel_distances(reference_features, fake_features, kid_subsets, size, seed, once)
    return {"": float(values.mean()), "std": float(values.std(unbiased=False))}


def _mean_kernel(x: Float64[Tensor, "n d"], y: Float64[Tensor, "m d"]) -> float:
    """The mean over all pairs of exp(-|x_i - y_j|^2 / 200) - 1, which keeps the digits of rows close together."""
    blocks = row_blocks(len(x), len(y), _PAIRS)
    sums = [squared_distances(x[rows], y).div_(-2 * _SIGMA**2).expm1_().sum() for rows in blocks]
    return float(torch.stack(sums).sum()) / len(x) / len(y)


def cmmd(real: Float[Array, "n d"], fake: Float[Array, "m d"], once: Once = anew) -> float:
    """1,000 times the squared MMD under the kernel exp(-|x - y|^2 / 200), biased: pairs of a row with itself count.

    0 for equal sets, else positive, 2,000 at most. Features are taken as they are: CMMD is that of CLIP's embeddings at
    unit norm. `once` keeps the values that depend on `real` alone. Jayasumana et al. 2024.
    """
    real, fake = (rows.double() for rows in two_sets("cmmd", 1, real=real, fake=fake))
    # Relative to the own mean, so that a set that lies far from the other keeps its digits.
    x, y, across = real - real.mean(0), fake - fake.mean(0), fake - real.mean(0)
    own = once("mean kernel", "real", lambda: _mean_kernel(x, x))
    return 1000 * max(own + _mean_kernel(y, y) - 2 * _mean_kernel(x, across), 0.0)


@metric(
    "cmmd", better="lower", of=("recon", "interpolated", "fake", "expost"), label="CMMD", table="fidelity", costly=True
)
def cmmd_score(real_features: Float[Array, "n d"], fake_features: Float[Array, "m d"], once: Once = anew) -> float:
    """1,000 squared MMD to as many training images, Gaussian kernel; 0 is equal, lower is better (arXiv:2401.09603)."""
    return cmmd(real_features, fake_features, once)
