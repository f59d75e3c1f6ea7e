"""Scores over many tasks: interquartile mean, probability of improvement, performance profile, and their intervals.

Agarwal et al. 2021, arXiv:2108.13264. A method's scores are a list with an array for each task, whose last axis holds
its runs; larger is better. Tasks may have different numbers of runs. Leading axes hold resamples.
"""

import math

import numpy as np
from jaxtyping import Float64

from lvm_bench.report.tables.statistics import LEVEL

DRAWS = 2000  # resamples

Tasks = list[Float64[np.ndarray, "*r _"]]

Runs = list[Float64[np.ndarray, " _"]]  # those that were made, not resamples


def interquartile_mean(scores: Tasks) -> Float64[np.ndarray, "*r"]:
    """The mean of the runs of all tasks without the floor(n / 4) lowest and highest of them. Sec. 4.3."""
    pooled = np.sort(np.concatenate(scores, axis=-1), axis=-1)
    n = pooled.shape[-1]
    return np.asarray(pooled[..., n // 4 : n - n // 4].mean(-1))


def probability_of_improvement(x: Tasks, y: Tasks) -> Float64[np.ndarray, "*r"]:
    """P(a run of x is better than a run of y), a tie counting half, averaged over tasks. Sec. 4.3.

    In each task it is the Mann-Whitney statistic over the number of pairs.
    """
    pairs = [(a[..., :, None], b[..., None, :]) for a, b in zip(x, y, strict=True)]
    return np.asarray(np.mean([((a > b) + (a == b) / 2).mean((-2, -1)) for a, b in pairs], axis=0))


def performance_profile(scores: Tasks, thresholds: Float64[np.ndarray, " t"]) -> Float64[np.ndarray, "*r t"]:
    """The share of the runs of all tasks that score above each threshold. Sec. 4.2."""
    pooled = np.concatenate(scores, axis=-1)
    return np.stack([(pooled > threshold).mean(-1) for threshold in thresholds], axis=-1)


def stratified_bootstrap(scores: Runs, generator: np.random.Generator, draws: int = DRAWS) -> Tasks:
    """`draws` resamples [r n] of the runs [n] of each task, with replacement and apart from other tasks. Sec. 4.1."""
    return [own[generator.integers(len(own), size=(draws, len(own)))] for own in scores]


def percentile_interval(resampled: Float64[np.ndarray, "r *q"]) -> Float64[np.ndarray, "2 *q"]:
    """The 95 % interval of a quantity from its values in resamples, of which some may be -infinity."""
    with np.errstate(invalid="ignore"):
        ends = np.quantile(resampled, [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    return np.where(np.isnan(ends), -math.inf, ends)  # between -infinity and a number
