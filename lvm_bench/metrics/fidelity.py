"""How far generated features are from real ones: Frechet distance and kernel distance."""

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lvm_bench.kde import row_blocks
from lvm_bench.metrics.arrays import Array, metric, rows_of, same_shape
from lvm_bench.seeding import generator

_BLOCK = 1000  # rows that are centred at a time
_ROUNDING = 1e-9  # of the variance: most that the trace of a root may be off before it is computed from factors
_ROUNDING_KID = 1e-4  # of the spread over subsets: most that float32 may add before kernels are float64
_TILE = 1000  # rows of both sides: a tile of kernels stays in the cache


def _mean(features: Float[Tensor, "n d"]) -> Float64[Tensor, " d"]:
    return torch.stack([block.sum(0, dtype=torch.float64) for block in features.split(_BLOCK)]).sum(0) / len(features)


def _panels(d: int) -> list[slice]:
    """Slices of d columns: of a symmetric product only what lies right of each panel's start is computed."""
    return row_blocks(d, 1, max(128, d // 8))


def _covariance(features: Float[Tensor, "n d"], mean: Float64[Tensor, " d"]) -> Float64[Tensor, "d d"]:
    """The covariance (n - 1)."""
    total = mean.new_zeros(len(mean), len(mean))
    for block in features.split(_BLOCK):
        rows = block - mean
        for panel in _panels(len(mean)):
            total[panel, panel.start :].addmm_(rows[:, panel].T, rows[:, panel.start :])
    upper = total.triu()
    return (upper + upper.triu(1).T) / (len(features) - 1)


def _covariance_factor(features: Float[Tensor, "n d"], mean: Float64[Tensor, " d"]) -> Float64[Tensor, "r d"]:
    """R with R^T R = the covariance (n - 1): a QR decomposition of the centred rows, block by block."""
    factor = mean.new_empty(0, len(mean))
    for block in features.split(max(10_000, len(mean))):
        rows = torch.cat([factor, block - mean])
        factor = torch.linalg.qr(rows, mode="r").R if len(rows) > len(mean) else rows
    return factor / (len(features) - 1) ** 0.5


def _trace_of_root(real: Float64[Tensor, "d d"], fake: Float64[Tensor, "d d"]) -> tuple[float, float]:
    """tr (S_r S_f)^(1/2) from the eigenvalues of R S_f R^T with R^T R = S_r, and an estimate of its rounding.

    Both infinite where S_r is singular.
    """
    root, failed = torch.linalg.cholesky_ex(real, upper=True)
    if bool(failed):
        return math.inf, math.inf
    panels = _panels(len(real))
    product = torch.cat([fake[:, panel.start :] @ root[panel, panel.start :].T for panel in panels], dim=1)
    upper = torch.zeros_like(real)
    for panel in panels:
        upper[panel, panel.start :] = root[panel, panel.start :] @ product[panel.start :, panel.start :]
    squares = torch.linalg.eigvalsh(upper, UPLO="U").clamp_(min=0)
    # Of an eigenvalue, not of its root: a small one may be nothing else.
    rounding = torch.finfo(torch.float64).eps * float(real.norm() * fake.norm())
    return float(squares.sqrt().sum()), float((rounding / (squares.sqrt() + rounding**0.5)).sum())


def frechet_distance(real: Float[Array, "n d"], fake: Float[Array, "m d"]) -> float:
    """|mu_r - mu_f|^2 + tr S_r + tr S_f - 2 tr (S_r S_f)^(1/2) of the Gaussian fits; 0 for equal sets.

    Covariances with n - 1. UserError for fewer than 2 samples. Heusel et al. 2017, eq. 6.
    """
    real, fake = rows_of(real, "real", "frechet_distance"), rows_of(fake, "fake", "frechet_distance")
    same_shape(real, fake, "fake", "frechet_distance", axis=1)
    mu_r, mu_f = _mean(real), _mean(fake)
    s_r, s_f = _covariance(real, mu_r), _covariance(fake, mu_f)
    variance = float(s_r.trace() + s_f.trace())
    trace, rounding = _trace_of_root(s_r, s_f)
    if not rounding <= _ROUNDING * variance:
        # The nuclear norm of R_r R_f^T for any S = R^T R: no eigenvalue is squared and rooted again, which keeps it
        # exact with fewer samples than dimensions, at four times the cost.
        r, f = _covariance_factor(real, mu_r), _covariance_factor(fake, mu_f)
        trace = float(torch.linalg.svdvals(r @ f.T).sum())
    return float((mu_r - mu_f).square().sum()) + variance - 2 * trace


@metric("frechet", better="lower", of=("recon", "interpolated", "fake", "expost"))
def frechet(reference_features: Float[Array, "n d"], fake_features: Float[Array, "m d"]) -> float:
    """Frechet distance to the training images, squared units; lower is better (arXiv:1706.08500, eq. 6)."""
    return frechet_distance(reference_features, fake_features)


def _kernel_sums(
    x: Float[Tensor, "n d"], in_x: Float[Tensor, "s n"], y: Float[Tensor, "m d"], in_y: Float[Tensor, "s m"]
) -> Float64[Tensor, " s"]:
    """The sum of (x_i.y_j/d + 1)^3 over the pairs of each subset; of a set with itself over i != j.

    `in_x` and `in_y` are 1 where a subset has a row. Kernels are computed once for all subsets and keep the dtype of
    the rows; sums of more than a tile are float64.
    """
    one, total = x.new_ones(()), torch.zeros(len(in_x), dtype=torch.float64, device=x.device)
    for rows in row_blocks(len(x), 1, _TILE):
        for columns in row_blocks(len(y), 1, _TILE):
            if x is y and columns.start < rows.start:
                continue
            k = torch.addmm(one, x[rows], y[columns].T, alpha=1 / x.shape[1])
            k = k.square().mul_(k)
            if x is y and rows == columns:
                k.fill_diagonal_(0)
            twice = 2 if x is y and rows != columns else 1
            total += twice * ((in_x[:, rows] @ k).double() * in_y[:, columns]).sum(1)
    return total


def _polynomial_mmd(
    x: Float[Tensor, "n d"], in_x: Float[Tensor, "s n"], y: Float[Tensor, "m d"], in_y: Float[Tensor, "s m"], b: int
) -> tuple[Float64[Tensor, " s"], float]:
    """Unbiased MMD^2 of subsets of b rows each, whose cross term keeps its diagonal; and its largest cross term."""
    within = [_kernel_sums(z, w, z, w) / (b * (b - 1)) for z, w in ((x, in_x), (y, in_y))]
    across = _kernel_sums(x, in_x, y, in_y) / b**2
    return within[0] + within[1] - 2 * across, float(across.abs().max())


def kernel_distances(
    real: Float[Array, "n d"],
    fake: Float[Array, "m d"],
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> Float64[Tensor, " subsets"]:
    """Unbiased MMD^2 under the kernel (x.y/d + 1)^3 of random subsets, each drawn without replacement.

    UserError if a set has fewer than `subset_size` samples. Binkowski et al. 2018, sec. 4.
    """
    needs = max(2, subset_size)
    real = rows_of(real, "real", "kernel_distance", needs)
    fake = rows_of(fake, "fake", "kernel_distance", needs)
    same_shape(real, fake, "fake", "kernel_distance", axis=1)
    stream = generator(seed, "kernel_distance")
    chosen: tuple[list[Tensor], list[Tensor]] = ([], [])
    for _ in range(subsets):
        for rows, subset in zip((real, fake), chosen, strict=True):
            subset.append(torch.randperm(len(rows), generator=stream)[:subset_size])
    for dtype in (torch.float32, torch.float64):
        x, y = real.to(dtype), fake.to(dtype)
        if len(x) * len(y) <= subsets * subset_size**2:  # all pairs are fewer than those of all subsets
            members = (z.new_zeros(subsets, len(z)) for z in (x, y))
            inside = [m.scatter_(1, torch.stack(s).to(m.device), 1) for m, s in zip(members, chosen, strict=True)]
            values, largest = _polynomial_mmd(x, inside[0], y, inside[1], subset_size)
        else:
            all_ = x.new_ones(1, subset_size)
            found = [_polynomial_mmd(x[i], all_, y[j], all_, subset_size) for i, j in zip(*chosen, strict=True)]
            values, largest = torch.cat([value for value, _ in found]), max(size for _, size in found)
        # A mean over b rows; the kernels of a row may all be rounded the same way.
        if torch.finfo(dtype).eps * largest / subset_size**0.5 < _ROUNDING_KID * float(values.std()):
            break
    return values.cpu()


def kernel_distance(
    real: Float[Array, "n d"],
    fake: Float[Array, "m d"],
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> float:
    """Mean of `kernel_distances`; its expectation is 0 for equal distributions, so it may be negative."""
    return float(kernel_distances(real, fake, subsets, subset_size, seed).mean())


@metric("kid", better="lower", of=("recon", "interpolated", "fake", "expost"))
def kid(
    reference_features: Float[Array, "n d"],
    fake_features: Float[Array, "m d"],
    kid_subsets: int,
    kid_subset_size: int,
    seed: int,
) -> dict[str, float]:
    """Kernel distance, mean and std over random subsets; lower is better (arXiv:1801.01401)."""
    size = min(kid_subset_size, len(reference_features), len(fake_features))
    values = kernel_distances(reference_features, fake_features, kid_subsets, size, seed)
    return {"": float(values.mean()), "std": float(values.std(unbiased=False))}
