"""Distances between codes and draws from the prior, whatever it is: energy, sliced Wasserstein, norms."""

import math

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lvm_bench.distances import exact_squared_distances, row_blocks
from lvm_bench.metrics.arrays import Array, check_positive, check_seed, matrix, metric, power_of_two, two_sets
from lvm_bench.seeding import generator

_PAIRED = 2000  # rows of each set of which all pairs are compared, at most

_DIRECTIONS = 500


def _two_sets(name: str, codes: Array, prior_codes: Array) -> tuple[Float64[Tensor, "n l"], Float64[Tensor, "m l"]]:
    """Both sets in float64; only squares of their values are needed."""
    first, second = two_sets(name, power=2, codes=codes, prior_codes=prior_codes)
    return first.double(), second.double()


@metric("energy_distance", better="lower", of=("mean", "sampled"), label="energy distance", table="reviewers")
def energy_distance(codes: Float[Array, "n l"], prior_codes: Float[Array, "m l"], seed: int = 0) -> float:
    """2 E|x - y| - E|x - x'| - E|y - y'| of codes x, prior draws y, unbiased; lower is better (Szekely & Rizzo 2013).

    0 on average for equal distributions, so it may be negative. Of at most 2,000 random rows of each set, because the
    cost is quadratic. J. Stat. Plan. Inference 143:1249.
    """
    check_seed("energy_distance", seed)
    sets = _two_sets("energy_distance", codes, prior_codes)
    unit, stream = power_of_two(*sets), generator(seed, "energy_distance")
    x, y = (rows[torch.randperm(len(rows), generator=stream)[:_PAIRED].to(rows.device)] * unit for rows in sets)
    between = exact_squared_distances(x, y).sqrt().mean()
    within = torch.nn.functional.pdist(x).mean() + torch.nn.functional.pdist(y).mean()
    return float(2 * between - within) / unit


@metric("sliced_wasserstein", better="lower", of=("mean", "sampled"), label="sliced W2", table="reviewers")
def sliced_wasserstein(codes: Float[Array, "n l"], prior_codes: Float[Array, "m l"], seed: int = 0) -> float:
    """Sliced Wasserstein-2 distance of codes to prior draws, from 0; lower is better (Bonneel et al. 2015).

    The root of the mean, over 500 random unit vectors, of the squared W2 of the projections. Samples of one
    distribution are not at 0. J. Math. Imaging Vis. 51:22.
    """
    check_seed("sliced_wasserstein", seed)
    x, y = _two_sets("sliced_wasserstein", codes, prior_codes)
    unit = power_of_two(x, y)
    centre = y.mean(0)  # a common shift, so that an offset takes no digits
    stream = generator(seed, "sliced_wasserstein")
    directions = torch.randn(_DIRECTIONS, x.shape[1], generator=stream, dtype=torch.float64)
    directions = torch.nn.functional.normalize(directions).to(x.device)
    x, y = (x - centre) * unit, (y - centre) * unit
    of_x, of_y, weights = _coupling(len(x), len(y))
    total = 0.0
    for block in row_blocks(_DIRECTIONS, len(weights), 2**22):
        along_x, along_y = (np.sort((directions[block] @ rows.T).cpu().numpy(), axis=1) for rows in (x, y))
        total += float((np.square(along_x[:, of_x] - along_y[:, of_y]) @ weights).sum())
    return math.sqrt(total / _DIRECTIONS) / unit


def _coupling(n: int, m: int) -> tuple[np.ndarray, np.ndarray, Float64[np.ndarray, " pairs"]]:
    """(i, j, mass): the i-th smallest of n values is moved to the j-th smallest of m with this share of all mass."""
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    return (ends - 1) // m, (ends - 1) // n, np.diff(ends, prepend=0) / (n * m)


# Norms


@metric("norm_ks", better="lower", of=("mean", "sampled"), label="norms, KS to target", table="reviewers")
def norm_ks(codes: Float[Array, "n l"], target_variance: float = 1.0) -> float:
    """Kolmogorov-Smirnov distance of the codes' norms to those of their target, 0 to 1; lower is better (Massey 1951).

    Norms over the standard deviation of N(0, target_variance I) are compared with the chi law of l degrees of freedom.
    J. Am. Stat. Assoc. 46:68.
    """
    from scipy.stats import chi

    check_positive("norm_ks", target_variance=target_variance)
    rows = matrix(codes, "codes", "norm_ks", power=2)
    norms = np.sort((rows / math.sqrt(target_variance)).norm(dim=1).cpu().numpy())
    below, ranks = chi.cdf(norms, rows.shape[1]), np.arange(len(norms) + 1) / len(norms)
    return float(max((ranks[1:] - below).max(), (below - ranks[:-1]).max()))


@metric("norm_ks_prior", better="lower", of=("mean", "sampled"), label="norms, KS to draws", table="reviewers")
def norm_ks_prior(codes: Float[Array, "n l"], prior_codes: Float[Array, "m l"]) -> float:
    """Kolmogorov-Smirnov distance of the codes' norms to those of prior draws, 0 to 1; lower is better (Massey 1951).

    Ann. Math. Stat. 22:125.
    """
    sets = _two_sets("norm_ks_prior", codes, prior_codes)
    unit = power_of_two(*sets)
    ours, theirs = (np.sort((rows * unit).norm(dim=1).cpu().numpy()) for rows in sets)
    at = np.concatenate([ours, theirs])
    shares = (np.searchsorted(norms, at, side="right") / len(norms) for norms in (ours, theirs))
    return float(np.abs(np.subtract(*shares)).max())
