"""How far generated features are from real ones: Frechet distance and kernel distance."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lvm_bench.metrics.arrays import Array, matrix, metric, same_shape
from lvm_bench.seeding import generator


def _covariance_factor(features: Float64[Tensor, "n d"], mean: Float64[Tensor, " d"]) -> Float64[Tensor, "r d"]:
    """R with R^T R = the covariance (n - 1): a QR decomposition of the centred rows, block by block."""
    factor = features[:0]
    for block in features.split(max(10_000, len(mean))):
        rows = torch.cat([factor, block - mean])
        factor = torch.linalg.qr(rows, mode="r").R if len(rows) > len(mean) else rows
    return factor / (len(features) - 1) ** 0.5


def frechet_distance(real: Float[Array, "n d"], fake: Float[Array, "m d"]) -> float:
    """|mu_r - mu_f|^2 + tr S_r + tr S_f - 2 tr (S_r S_f)^(1/2) of the Gaussian fits; 0 for equal sets.

    Covariances with n - 1. The last trace is the nuclear norm of R_r R_f^T for any S = R^T R. UserError for
    fewer than 2 samples. Heusel et al. 2017, eq. 6.
    """
    real, fake = matrix(real, "real", "frechet_distance"), matrix(fake, "fake", "frechet_distance")
    same_shape(real, fake, "fake", "frechet_distance", axis=1)
    mu_r, mu_f = real.mean(0), fake.mean(0)
    # Factors of the data itself rather than roots of covariances: no eigenvalue is squared and rooted again,
    # which keeps the result exact with fewer samples than dimensions.
    r, f = _covariance_factor(real, mu_r), _covariance_factor(fake, mu_f)
    cross = torch.linalg.svdvals(r @ f.T).sum()
    return float((mu_r - mu_f).square().sum() + r.square().sum() + f.square().sum() - 2 * cross)


@metric("frechet", better="lower", of=("recon", "interpolated", "fake", "expost"))
def frechet(reference_features: Float[Array, "n d"], fake_features: Float[Array, "m d"]) -> float:
    """Frechet distance to the training images, squared units; lower is better (arXiv:1706.08500, eq. 6)."""
    return frechet_distance(reference_features, fake_features)


def _polynomial_mmd(x: Float64[Tensor, "b d"], y: Float64[Tensor, "b d"]) -> float:
    """Unbiased MMD^2 under (x.y/d + 1)^3 between sets of equal size; the cross term keeps its diagonal."""
    b, d = x.shape
    within = 0.0
    for z in (x, y):
        k = (z @ z.T / d + 1).pow_(3)
        within += float(k.sum() - k.diagonal().sum())
    return within / (b * (b - 1)) - 2 * float((x @ y.T / d + 1).pow_(3).mean())


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
    real = matrix(real, "real", "kernel_distance", needs)
    fake = matrix(fake, "fake", "kernel_distance", needs)
    same_shape(real, fake, "fake", "kernel_distance", axis=1)
    stream = generator(seed, "kernel_distance")

    def draw(features: Float64[Tensor, "n d"]) -> Float64[Tensor, "b d"]:
        return features[torch.randperm(len(features), generator=stream)[:subset_size].to(features.device)]

    values = [_polynomial_mmd(draw(real), draw(fake)) for _ in range(subsets)]
    return torch.tensor(values, dtype=torch.float64)


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
