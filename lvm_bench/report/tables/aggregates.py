"""Scores over many tasks: interquartile mean, probability of improvement, performance profile, and their intervals.

Agarwal et al. 2021, arXiv:2108.13264. A method's scores are a list with an array for each task, whose last axis holds
its runs; larger is better. Tasks may have different numbers of runs. Leading axes hold resamples.
"""

import math

import numpy as np
from jaxtyping import Float32, Float64, UInt16

from lvm_bench.report.tables.statistics import LEVEL

DRAWS, LEAST_DRAWS = 2000, 200  # resamples of a method, and as few where it has very many runs
_DRAWN = 1_000_000  # runs in all resamples of a method, at most, above the fewest resamples

Tasks = list[Float64[np.ndarray, "*r _"]]

Runs = list[Float64[np.ndarray, " _"]]  # those that were made, not resamples

Counts = list[Float32[np.ndarray, "r _"]]  # of each run in each resample, for each task

Places = list[UInt16[np.ndarray, "r _"]]  # of the runs that each resample holds, for each task


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
    pooled = np.sort(np.concatenate(scores, axis=-1), axis=-1)
    n = pooled.shape[-1]
    below = [np.searchsorted(row, thresholds, side="right") for row in pooled.reshape(-1, n)]
    return (n - np.stack(below).reshape(*pooled.shape[:-1], len(thresholds))) / n


def draws_of(scores: Runs) -> int:
    """How many resamples of a method's runs are drawn: 2,000, and down to 200 of more than 500 runs."""
    return min(DRAWS, max(LEAST_DRAWS, _DRAWN // sum(map(len, scores))))


def stratified_bootstrap(scores: Runs, generator: np.random.Generator, draws: int = DRAWS) -> Places:
    """The places of the runs in `draws` resamples: with replacement, each task apart from others. Sec. 4.1."""
    return [generator.integers(len(own), size=(draws, len(own))).astype(np.uint16) for own in scores]


def resampled(scores: Runs, places: Places) -> Tasks:
    """The scores [r n] of each task's resamples."""
    return [own[at] for own, at in zip(scores, places, strict=True)]


def counts_of(scores: Runs, places: Places) -> Counts:
    """How often each run of each task occurs in each resample."""
    return [_counts(at, len(own)) for own, at in zip(scores, places, strict=True)]


def resampled_improvement(
    x: Runs, y: Runs, of_x: Counts, of_y: list[Float32[np.ndarray, "q _"]]
) -> Float64[np.ndarray, " s"]:
    """`probability_of_improvement` in as many resamples of x and y as both have, with a product for each task."""
    draws = min(len(of_x[0]), len(of_y[0]))
    shares = np.zeros(draws)
    for a, b, i, j in zip(x, y, of_x, of_y, strict=True):
        wins = (a[:, None] > b) + (a[:, None] == b) / np.float32(2)
        # Sums of halves are exact in float32 below 2^23.
        shares += np.einsum("rj,rj->r", i[:draws] @ wins, j[:draws], dtype=np.float64) / wins.size
    return shares / len(x)


def _counts(places: UInt16[np.ndarray, "r n"], n: int) -> Float32[np.ndarray, "r n"]:
    rows = places + n * np.arange(len(places))[:, None]
    return np.bincount(rows.ravel(), minlength=len(places) * n).reshape(-1, n).astype(np.float32)


def percentile_interval(resampled: Float64[np.ndarray, "r *q"]) -> Float64[np.ndarray, "2 *q"]:
    """The 95 % interval of a quantity from its values in resamples, of which some may be -infinity."""
    with np.errstate(invalid="ignore"):
        ends = np.quantile(resampled, [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    return np.where(np.isnan(ends), -math.inf, ends)  # between -infinity and a number
