"""Can a classifier tell held-out codes from prior draws? Where it cannot, the aggregate posterior is the prior."""

import math

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from lvm_bench.kde import row_blocks, squared_distances
from lvm_bench.metrics.arrays import Array, matrix, metric, same_shape
from lvm_bench.seeding import generator

_PAIRS = 2**22
_LEAST = 1e-6  # variance of a Gaussian fit in any direction, of the mean one: a dead axis is told all the same


def nearest_neighbour_votes(
    codes: Float64[Tensor, "a l"], draws: Float64[Tensor, "b l"], test: Float64[Tensor, "n l"]
) -> Bool[Tensor, " n"]:
    """Whether most of the k nearest training rows are codes; k is floor(sqrt(rows)), the next odd number."""
    training = torch.cat([codes, draws])
    k = math.isqrt(len(training)) | 1
    votes = [
        (squared_distances(test[rows], training).topk(k, dim=1, largest=False).indices < len(codes)).sum(1)
        for rows in row_blocks(len(test), len(training), _PAIRS)
    ]
    return torch.cat(votes) > k // 2


def _log_density(fit: Float64[Tensor, "a l"], at: Float64[Tensor, "n l"], least: float) -> Float64[Tensor, " n"]:
    """log N(at; mean, covariance of fit) up to a constant that depends on the dimension alone."""
    spectrum, axes = torch.linalg.eigh(torch.atleast_2d(fit.T.cov()))
    spectrum = spectrum.clamp(min=least)
    return -((((at - fit.mean(0)) @ axes).square() / spectrum).sum(1) + spectrum.log().sum()) / 2


def quadratic_votes(
    codes: Float64[Tensor, "a l"], draws: Float64[Tensor, "b l"], test: Float64[Tensor, "n l"]
) -> Bool[Tensor, " n"]:
    """Whether a row is likelier under the Gaussian fit of the codes than under that of the draws."""
    least = _LEAST * float(torch.cat([codes, draws]).var(0).mean())
    return _log_density(codes, test, least) > _log_density(draws, test, least)


def two_sample_test(codes: Float[Array, "n l"], draws: Float[Array, "m l"], seed: int = 0) -> dict[str, float]:
    """Accuracy on a held-out half of telling codes from draws, and its p value under 0.5, by two classifiers.

    "quadratic", by Gaussian fits, sees means and covariances; "knn", by neighbours, sees shape, clusters and holes.
    Lopez-Paz & Oquab 2017, sec. 3; of equal sets it is 0.5 with a standard error of (4 test rows)^(-1/2), and the
    "p" of the binomial test is exact or too large. UserError for fewer than 4 rows.
    """
    from scipy.stats import binom

    codes, draws = matrix(codes, "codes", "two_sample_test", 4), matrix(draws, "draws", "two_sample_test", 4)
    same_shape(codes, draws, "draws", "two_sample_test", axis=1)
    n, stream = min(len(codes), len(draws)), generator(seed, "two-sample test")
    # Halves of each set alike: the test rows are balanced, and a constant guess is right for half of them.
    codes, draws = (rows[torch.randperm(len(rows), generator=stream)[:n].to(rows.device)] for rows in (codes, draws))
    half = n // 2
    found: dict[str, float] = {}
    for name, votes in (("knn", nearest_neighbour_votes), ("quadratic", quadratic_votes)):
        said = votes(codes[:half], draws[:half], torch.cat([codes[half:], draws[half:]]))
        right = int(said[: n - half].sum() + (~said[n - half :]).sum())
        found[name] = right / len(said)
        found[f"{name}_p"] = float(binom.sf(right - 1, len(said), 0.5))
    return found


@metric("two_sample", better="lower", of=("mean", "sampled"))
def two_sample(codes: Float[Array, "n l"], prior_codes: Float[Array, "m l"], seed: int) -> dict[str, float]:
    """Accuracy of telling codes from prior draws; 0.5 is chance, lower is better (arXiv:1610.06545).

    By neighbours and by Gaussian fits, with the p values of chance: see `two_sample_test`.
    """
    return two_sample_test(codes, prior_codes, seed)
