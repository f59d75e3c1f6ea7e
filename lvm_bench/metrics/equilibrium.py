"""Where does training drive codes? Their local dimension, and the variance at which push and pull on them balance."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float

from lvm_bench.distances import exact_squared_distances, row_blocks
from lvm_bench.errors import UserError
from lvm_bench.metrics.arrays import Array, check_positive, check_same_shape, matrix, metric, power_of_two
from lvm_bench.modelling.kde import Density, balance

_SHARE = 0.9  # of the ratios: the largest, of codes in sparse places, are the least reliable
_QUERIES = 2000  # codes that are compared with all others, at most
_STEP, _FURTHEST = 1.25, 1e4  # of the factor on all codes, in the search for the equilibrium


def two_nn_dimension(codes: Float[Array, "n l"]) -> float:
    """The intrinsic dimension d of codes: the ratios of each code's two nearest distances obey F(r) = 1 - r^-d.

    Fitted by least squares through 0 to the log of the smallest 90 % of ratios, F_i = i / n. Of the first 2,000 codes,
    among themselves; codes that occur twice are left out. NaN for fewer than two codes with two different distances.
    Facco et al. 2017, Sci. Rep. 7:12140.
    """
    rows = matrix(codes, "codes", "two_nn_dimension", 3)[:_QUERIES]
    rows = rows * power_of_two(rows)
    found = []
    for block in row_blocks(len(rows), len(rows)):
        squares = exact_squared_distances(rows[block], rows)
        squares[torch.arange(len(squares)), torch.arange(block.start, block.stop)] = math.inf
        found.append(squares.topk(2, largest=False).values)
    first, second = torch.cat(found).unbind(1)
    logs = ((second[first > 0] / first[first > 0]).log() / 2).sort().values
    kept = logs[: int(_SHARE * len(logs))]
    below = torch.arange(len(kept), dtype=torch.float64, device=logs.device) / max(len(logs), 1)
    d = float(-(kept * (-below).log1p()).sum() / kept.square().sum())
    return d if len(kept) > 1 and bool(kept.any()) else math.nan


@metric("two_nn_dimension", better="none", of=("mean",), label="two-NN dimension", table="latent")
def dimension_of_codes(codes: Float[Array, "n l"]) -> dict[str, float]:
    """Intrinsic dimension of the first 2,000 codes from their two nearest distances (Sci. Rep. 7:12140).

    No entry where `two_nn_dimension` has none, as for fewer than three codes.
    """
    found = two_nn_dimension(codes) if len(codes) > 2 else math.nan
    return {} if math.isnan(found) else {"": found}


@metric("equilibrium_variance", better="none", of=("mean",))
def equilibrium_variance(codes: Float[Array, "n l"], kernel_density: Density) -> float:
    """The variance per axis at which codes of this shape are in equilibrium under a floored KDE's push: R(s) = 1.

    Codes and centres are scaled together. Of the first 2,000 codes. inf where the push outweighs the pull at any size,
    0 where it never does. See `kde.balance`.
    """
    from scipy.optimize import brentq

    if not isinstance(kernel_density, Density):
        raise UserError(
            f"equilibrium_variance: kernel_density is a {type(kernel_density).__name__}; give a lvm_bench.kde.Density."
        )
    check_positive("equilibrium_variance", h=kernel_density.h)
    rows = matrix(codes, "codes", "equilibrium_variance")[:_QUERIES]
    centres = matrix(kernel_density.centres, "centres", "equilibrium_variance", 1)
    check_same_shape("equilibrium_variance", axis=1, codes=rows, centres=centres)

    def excess(log_factor: float) -> float:
        """R - 1 with all codes and centres times a factor."""
        factor = math.exp(log_factor)
        return balance(factor * rows, replace(kernel_density, centres=factor * centres))[0] - 1

    # From where the codes are, outwards while they are pushed, inwards while they are pulled.
    here, end = 0.0, math.log(_FURTHEST)
    outwards = excess(here) > 0
    step = math.log(_STEP) if outwards else -math.log(_STEP)
    while (excess(here + step) > 0) == outwards:
        here += step
        if abs(here) > end:
            return math.inf if outwards else 0.0
    factor = math.exp(brentq(excess, here, here + step, xtol=1e-6))
    return factor**2 * float(rows.var(0).mean())
