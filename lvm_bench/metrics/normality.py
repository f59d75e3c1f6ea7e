"""Mardia's tests: are codes normal, whatever their mean and covariance?"""

import math

from jaxtyping import Float, Float64
from torch import Tensor

from lvm_bench.distances import row_blocks
from lvm_bench.metrics.arrays import Array, centre_and_spread, matrix, metric
from lvm_bench.metrics.latent import principal_axes

_TILE = 500  # rows, so that their products with as many others stay in the cache of the processor


def _standardised(codes: Array, name: str) -> Float64[Tensor, "n r"] | None:
    """Codes with mean 0 and identity covariance (over n), in the r <= l directions in which they vary.

    None where r is 0 or n < r + 2: there all codes have the same norm, whatever they are.
    """
    rows = matrix(codes, "codes", name)
    centre, spread = centre_and_spread(rows)
    base = principal_axes((rows - centre) / spread.where(spread > 0, math.inf))[0]
    n, r = base.shape
    return base * math.sqrt(n) if 0 < r < n - 1 else None


def _cubed_products(y: Float64[Tensor, "n l"]) -> float:
    """sum_ij (y_i . y_j)^3."""
    blocks, total = row_blocks(len(y), _TILE, _TILE**2), 0.0
    for i, rows in enumerate(blocks):
        for columns in blocks[i:]:
            products = y[rows] @ y[columns].T
            total += float((products.square() * products).sum()) * (1 if columns == rows else 2)
    return total


def _squared_third_moments(y: Float64[Tensor, "n l"]) -> float:
    """The same as sum_abc (sum_i y_ia y_ib y_ic)^2, which takes less time where n is many times l^2."""
    sums = y.new_zeros(y.shape[1] ** 2, y.shape[1])
    for rows in y.split(_TILE):
        sums.addmm_((rows[:, :, None] * rows[:, None, :]).flatten(1).T, rows)
    return float(sums.square().sum())


@metric("mardia_skewness", better="none", of=("mean", "sampled"), label="Mardia skewness", table="latent")
def mardia_skewness(codes: Float[Array, "n l"]) -> dict[str, float]:
    """Mardia's skewness b1 (0 is normal), its statistic n b1 / 6 and its p by the chi-squared law (Mardia 1970).

    b1 = mean_ij (y_i . y_j)^3 of standardised codes y; the law has l (l + 1)(l + 2) / 6 degrees of freedom. Directions
    without variance are left out of l; no entries for n < l + 2. Biometrika 57:519.
    """
    from scipy.stats import chi2

    y = _standardised(codes, "mardia_skewness")
    if y is None:
        return {}
    n, l = y.shape
    skewness = (_squared_third_moments(y) if 8 * l * l < n else _cubed_products(y)) / n**2
    statistic = n * skewness / 6
    return {"": skewness, "statistic": statistic, "p": float(chi2.sf(statistic, l * (l + 1) * (l + 2) / 6))}


@metric("mardia_kurtosis", better="none", of=("mean", "sampled"), label="Mardia kurtosis", table="latent")
def mardia_kurtosis(codes: Float[Array, "n l"]) -> dict[str, float]:
    """Mardia's kurtosis b2 (normal: l (l + 2)(n - 1)/(n + 1)), its statistic, two-sided p (Mardia 1970).

    b2 = mean_i |y_i|^4 of standardised codes y; the statistic is its difference to the normal value over
    sqrt(8 l (l + 2) / n), and p is by N(0, 1). Directions without variance are left out of l; no
    entries for n < l + 2. Biometrika 57:519.
    """
    from scipy.stats import norm

    y = _standardised(codes, "mardia_kurtosis")
    if y is None:
        return {}
    n, l = y.shape
    kurtosis = float(y.square().sum(1).square().mean())
    statistic = (kurtosis - l * (l + 2) * (n - 1) / (n + 1)) / math.sqrt(8 * l * (l + 2) / n)
    return {"": kurtosis, "statistic": statistic, "p": 2 * float(norm.sf(abs(statistic)))}
