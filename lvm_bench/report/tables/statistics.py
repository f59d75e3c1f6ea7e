"""Tests over seeds, intervals and ranks, in float64. scipy.stats is not used: its import takes a second."""

import math
from functools import cache
from itertools import combinations

import numpy as np
from jaxtyping import Float64

LEVEL = 0.05  # of every test and, as 1 - LEVEL, of every interval

FEWEST = 4  # seeds that an interval needs

_ENUMERATED, _DRAWS = 7, 10_000

Values = Float64[np.ndarray, " n"]


def paired_t(differences: Float64[np.ndarray, "m n"]) -> Float64[np.ndarray, " m"]:
    """Two-sided p of a t-test of each row's mean against 0; NaN for fewer than two values or one that is not finite.

    A row of zeros has p = 1. Other rows without spread have NaN, since nothing tells how far other seeds would differ.
    """
    from scipy.special import stdtr

    m, n = differences.shape
    if n < 2:
        return np.full(m, math.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = differences.mean(1) / (differences.std(1, ddof=1) / math.sqrt(n))
        p = 2 * stdtr(n - 1, -np.abs(t))
        without_spread = np.ptp(differences, axis=1) == 0
    p[~np.isfinite(differences).all(1) | without_spread] = math.nan
    p[(differences == 0).all(1)] = 1.0
    return p


def holm(p: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
    """p-values adjusted for their number by Holm's step-down rule (1979). A NaN stays NaN and does not count."""
    adjusted = np.full(len(p), math.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def smallest_wilcoxon_p(n: int) -> float:
    """The least two-sided p that an exact Wilcoxon signed-rank test of n pairs can give: 2^(1 - n)."""
    return min(1.0, 2.0 ** (1 - n))


def bootstrap_interval(values: Values) -> tuple[float, float]:
    """A 95 % interval of the mean by the bootstrap-t (Efron & Tibshirani 1993, ch. 12), symmetric about the mean.

    Up to seven values are resampled in every way, more of them 10,000 times from a fixed seed. Fewer than four
    values give NaN, since too many resamples of three have no spread.
    """
    n = len(values)
    if n < FEWEST or not np.isfinite(values).all():
        return math.nan, math.nan
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(n)
    if error == 0:
        return mean, mean
    counts, weights = _resamples(n)
    centred = (values - mean) / error
    means = counts @ centred / n
    spread = np.sqrt(np.maximum(counts @ centred**2 / n - means**2, 0) / (n - 1))
    # A resample that repeats one value has no spread and an infinite t. These are 4 of 4^4, fewer than the 5 % cut off.
    t = np.divide(np.abs(means), spread, out=np.full(len(means), math.inf), where=spread > 1e-9)
    order = np.argsort(t, kind="stable")
    # The level is lowered a little, so that rounding in the sum of weights does not choose the next larger t.
    place = np.searchsorted(np.cumsum(weights[order]), (1 - LEVEL) * (1 - 1e-12))
    half = float(t[order][place]) * error
    return mean - half, mean + half


@cache
def _resamples(n: int) -> tuple[Float64[np.ndarray, "k n"], Float64[np.ndarray, " k"]]:
    """For each resample of n values, how often it holds each value, and its probability."""
    if n > _ENUMERATED:
        stream = np.random.default_rng(0)
        return stream.multinomial(n, [1 / n] * n, size=_DRAWS).astype(np.float64), np.full(_DRAWS, 1 / _DRAWS)
    # Bars among stars: every way to write n as a sum of n counts.
    bars = np.array(list(combinations(range(2 * n - 1), n - 1)))
    edges = np.pad(bars, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, 2 * n - 1)))
    counts = np.diff(edges, axis=1) - 1
    factorial = np.array([math.factorial(i) for i in range(n + 1)], dtype=np.float64)
    return counts.astype(np.float64), factorial[n] / factorial[counts].prod(1) / float(n) ** n


def t_interval(values: Values, level: float = LEVEL) -> tuple[float, float]:
    """A 1 - level interval of the mean of normal values; NaN for fewer than two values or one that is not finite."""
    from scipy.special import stdtrit

    n = len(values)
    if n < 2 or not np.isfinite(values).all():
        return math.nan, math.nan
    half = float(stdtrit(n - 1, 1 - level / 2)) * float(values.std(ddof=1)) / math.sqrt(n)
    return float(values.mean()) - half, float(values.mean()) + half


def deviation_interval(values: Values, level: float = LEVEL) -> tuple[float, float]:
    """A 1 - level interval of the standard deviation of normal values, from chi^2 of n - 1 degrees of freedom.

    NaN for fewer than two values or one that is not finite.
    """
    from scipy.special import chdtri

    n = len(values)
    if n < 2 or not np.isfinite(values).all():
        return math.nan, math.nan
    squares = float(((values - values.mean()) ** 2).sum())
    low, high = (math.sqrt(squares / float(chdtri(n - 1, tail))) for tail in (level / 2, 1 - level / 2))
    return low, high


def spearman(x: Values, y: Values, level: float = LEVEL) -> tuple[float, float, float]:
    """Spearman's rank correlation and its 1 - level interval by Fisher's z, variance (1 + rho^2 / 2) / (n - 3).

    Pairs with a NaN are left out. All three are NaN for fewer than three pairs or a constant side, and the interval
    is NaN for three pairs. Bonett & Wright 2000, sec. 3.
    """
    from scipy.special import ndtri

    known = ~(np.isnan(x) | np.isnan(y))
    a, b = ranks(x[known]), ranks(y[known])
    n = len(a)
    if n < 3 or not (np.ptp(a) and np.ptp(b)):
        return math.nan, math.nan, math.nan
    rho = float(np.clip(np.corrcoef(a, b)[0, 1], -1, 1))
    if n < 4:
        return rho, math.nan, math.nan
    if abs(rho) == 1:
        return rho, rho, rho
    half = float(ndtri(1 - level / 2)) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    return rho, math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)


def expected_best(values: Values, higher: bool) -> tuple[Values, Values]:
    """Mean and standard deviation of the best of n = 1, 2, ... draws, with replacement, from the given values.

    The best is at most v with probability P(V <= v)^n, and is v with P(V <= v)^n - P(V < v)^n. Dodge et al. 2019,
    arXiv:1909.03004.
    """
    count, sign = len(values), 1 if higher else -1
    v = np.sort(sign * values)
    below = np.arange(count + 1) / count
    p = np.diff(below[None] ** np.arange(1, count + 1)[:, None], axis=1)  # [n, value]
    mean = p @ v
    variance = (p * (v - mean[:, None]) ** 2).sum(1)
    return sign * mean, np.sqrt(variance)


def ranks(values: Values) -> Values:
    """Ranks from 1 for the least value. Equal values share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place].astype(np.float64)


def friedman_p(blocks: Float64[np.ndarray, "n k"]) -> float:
    """p of Friedman's test that k methods, ranked in each of n blocks, do not differ (chi-square with ties)."""
    from scipy.special import chdtrc

    n, k = blocks.shape
    table = np.array([ranks(row) for row in blocks])
    spread = ((table - (k + 1) / 2) ** 2).sum() / (n * (k - 1))
    if spread == 0:
        return 1.0
    statistic = n * ((table.mean(0) - (k + 1) / 2) ** 2).sum() / spread
    return float(chdtrc(k - 1, statistic))


@cache
def critical_difference(k: int, n: int) -> float:
    """The least difference of average ranks that Nemenyi's test at 5 % detects, for k methods over n blocks.

    It is q sqrt(k (k + 1) / 6n), q being the quantile of the studentised range over sqrt(2). Demsar 2006, sec. 3.2.2.
    """
    low, quantile = 0.5, 20.0
    while quantile - low > 1e-9:  # scipy's root finders take longer to import
        middle = (low + quantile) / 2
        low, quantile = (middle, quantile) if _range_cdf(middle, k) < 1 - LEVEL else (low, middle)
    return quantile / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n))


def _range_cdf(q: float, k: int) -> float:
    """P(the range of k standard normals is at most q) = k times the integral of phi(x) (Phi(x) - Phi(x - q))^(k-1)."""
    from scipy.special import ndtr

    x = np.linspace(-9, 9 + q, 4001)
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return float(k * np.trapezoid(density * (ndtr(x) - ndtr(x - q)) ** (k - 1), x))


def cliques(average: Values, difference: float) -> list[tuple[int, int]]:
    """The largest groups of two or more neighbouring ranks within the critical difference, as (first, last).

    `average` is sorted.
    """
    found: list[tuple[int, int]] = []
    for first in range(len(average)):
        last = int(np.searchsorted(average, average[first] + difference, side="right")) - 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found
