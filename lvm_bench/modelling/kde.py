"""Gaussian kernel density estimates and their bandwidths, for the objective of the AVAE and for the entropy metric.

Every log-density here leaves out the constant -l/2 log(2 pi), so that log N(0; 0, I) is 0. The constant cancels in a
KL divergence; without it the entropy of N(0, I) is l/2.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lvm_bench.distances import row_blocks, squared_distances
from lvm_bench.seeding import generator

__all__ = [
    "PAPER_BANDWIDTHS",
    "Density",
    "balance",
    "bandwidth_trials",
    "calibrated_level",
    "corrected_bandwidth",
    "leave_one_out_log_density",
    "log_density",
    "log_floor",
    "optimal_bandwidth",
    "row_blocks",
    "squared_distances",
]

# The authors' h0 by (l, m), from their published configuration. For l = 64 it has one value for the 20,000 centres of
# the training and the 10,000 codes of the entropy.
PAPER_BANDWIDTHS = {
    (2, 2_000): 0.34,
    (2, 5_000): 0.29,
    (2, 10_000): 0.26,
    (6, 10_000): 0.47,
    (8, 10_000): 0.54,
    (10, 10_000): 0.60,
    (16, 10_000): 0.72,
    (64, 10_000): 1.02,
    (64, 20_000): 1.02,
    (90, 10_000): 1.09,
    (128, 10_000): 1.12,
}

_SEARCH = (0.1, 2.5)  # the interval of h that is searched; h0 is .2 to 1.3 for l = 2 to 128, m = 50 to 20,000


def log_density(z: Float[Tensor, "b l"], centres: Float[Tensor, "m l"], h: float) -> Float[Tensor, " b"]:
    """log q_h(z) in nats without -l/2 log(2 pi), for the Gaussian KDE of bandwidth h on `centres`.

    Differentiable in z and centres; keeps their dtype. Saha et al. 2023 (AVAE), eq. 4, with the factor h^-l that
    normalises the kernel and that the paper leaves out.
    """
    m, l = centres.shape
    blocks = [
        torch.logsumexp(squared_distances(z[rows], centres) / (-2 * h * h), dim=1) for rows in row_blocks(len(z), m)
    ]
    return torch.cat(blocks) - (math.log(m) + l * math.log(h))


def leave_one_out_log_density(z: Float[Tensor, "n l"], h: float) -> Float64[Tensor, " n"]:
    """log q_h(z_j) in nats without -l/2 log(2 pi), for the KDE on the other n - 1 points."""
    z = z.double()
    n, l = z.shape
    norms, scale = z.square().sum(1), -1 / (2 * h * h)
    sums = torch.zeros_like(norms)
    for rows in row_blocks(n, n):  # computes each pair once
        later = slice(rows.stop, n)
        squares = torch.addmm(norms[rows.start :], z[rows], z[rows.start :].T, alpha=-2).add_(norms[rows, None])
        kernels = squares.clamp_(min=0).mul_(scale).exp_().fill_diagonal_(0)
        sums[rows] += kernels.sum(1)
        sums[later] += kernels[:, rows.stop - rows.start :].sum(0)
    logs = sums.log()
    # The kernels of a point far from all others underflow to 0; logsumexp still gives the logarithm of their sum.
    far = (sums < 1e-250).nonzero().squeeze(1)
    for alone in far.split(max(1, 2**20 // n)):
        exponents = squared_distances(z[alone], z).mul_(scale)
        exponents.scatter_(1, alone[:, None], -math.inf)
        logs[alone] = torch.logsumexp(exponents, dim=1)
    return logs - (math.log(n - 1) + l * math.log(h))


def _mean_log_density(blocks: list[Tensor], nearest: float, m: int, l: int, h: float) -> float:
    """The mean of log q_h over queries.

    `blocks` are squared distances minus the smallest of each query; `nearest` is the mean of the smallest.
    """
    scale = -1 / (2 * h * h)
    logs = [torch.mul(block, scale).exp_().sum(1, dtype=torch.float64).log() for block in blocks]
    return nearest * scale + float(torch.cat(logs).mean()) - math.log(m) - l * math.log(h)


def _bandwidth_trial(l: int, m: int, seed: int) -> float:
    """The h that maximises the mean log-density of N(0, I) queries under a KDE on m other draws from N(0, I)."""
    from scipy.optimize import minimize_scalar  # every command that trains imports this file

    stream = generator(seed, "bandwidth", l, m)
    queries = min(max(40_000_000 // m, 4_000), 20_000)
    centres = torch.randn(m, l, generator=stream)
    z = torch.randn(queries, l, generator=stream)
    # Distances are computed once, so that each h costs one exponential per pair. float32 moves h0 by less than xatol.
    blocks = [squared_distances(z[rows], centres) for rows in row_blocks(queries, m)]
    smallest = [block.amin(1, keepdim=True) for block in blocks]
    nearest = float(torch.cat(smallest).mean(dtype=torch.float64))
    for block, least in zip(blocks, smallest, strict=True):
        block.sub_(least)
    found = minimize_scalar(
        lambda h: -_mean_log_density(blocks, nearest, m, l, float(h)),
        bounds=_SEARCH,
        method="bounded",
        options={"xatol": 1e-3},
    )
    return float(found.x)


def bandwidth_trials(l: int, m: int) -> list[float]:
    """Three independent estimates of h0 for m centres in l dimensions.

    h0 maximises E[log q_h(z)] over z ~ N(0, I), which reproduces Table I of the AVAE paper. Its eq. 10 as printed, the
    mean density, is largest for h -> 0.
    """
    return [_bandwidth_trial(l, m, seed) for seed in range(3)]


@cache
def optimal_bandwidth(l: int, m: int) -> float:
    """h0(l, m), the mean of three trials. Their std is .006 at l = 6 and .003 at l = 16 for m = 10,000."""
    trials = bandwidth_trials(l, m)
    return sum(trials) / len(trials)


def corrected_bandwidth(h0: float) -> float:
    """h = alpha h0 with alpha = (1 + h0^2)^(-1/2), which makes alpha^2 = 1 - h^2. AVAE paper, eq. 11."""
    return h0 / math.sqrt(1 + h0 * h0)


def log_floor(l: int, h: float, c: float) -> float:
    """The log of the density floor: the value of a single kernel at the c-quantile of its chi distribution.

    c = 1 means no floor (-inf). The floor comes from the authors' code; their paper does not mention it.
    """
    from scipy.special import gammaincinv

    return -float(gammaincinv(l / 2, c)) - l * math.log(h)


@dataclass(frozen=True)
class Density:
    """A Gaussian KDE of bandwidth h on `centres`, with a floor: log (q_h + exp log_floor)."""

    centres: Float[Tensor, "m l"]
    h: float
    log_floor: float


def _log_density_and_push(
    z: Float64[Tensor, "b l"], centres: Float64[Tensor, "m l"], h: float
) -> tuple[Float64[Tensor, " b"], Float64[Tensor, " b"]]:
    """log q_h(z), and -z . grad log q_h(z): how strongly the KDE drives each code outwards."""
    m, l = centres.shape
    logs, pulls = [], []
    for rows in row_blocks(len(z), m):
        exponents = squared_distances(z[rows], centres) / (-2 * h * h)
        logs.append(torch.logsumexp(exponents, dim=1))
        pulls.append(torch.softmax(exponents, dim=1) @ centres)
    log_q = torch.cat(logs) - (math.log(m) + l * math.log(h))
    return log_q, (z * (z - torch.cat(pulls))).sum(1) / (h * h)


def balance(z: Float[Tensor, "b l"], density: Density) -> tuple[float, float]:
    """(R, share): the push of a floored KDE on codes over the pull of N(0, I), and the share of codes below the floor.

    R = E[sigmoid(log q - log floor) z . (z - E_w z')] / (h^2 E|z|^2), with the kernels' weights w. Codes in equilibrium
    under scaling have R = 1; above 1 they are driven outwards. NaN where all codes are 0.
    """
    codes = z.double()
    log_q, push = _log_density_and_push(codes, density.centres.to(codes), density.h)
    felt = torch.sigmoid(log_q - density.log_floor)
    pull = float(codes.square().sum(1).mean())
    return float((push * felt).mean()) / pull if pull else math.nan, float((log_q < density.log_floor).double().mean())


@cache
def calibrated_level(l: int, m: int, h0: float) -> float:
    """The level c at which N(0, (1 - h^2) I) is an equilibrium of the KDE objective; 1 if no floor is needed.

    At an equilibrium the outward push of the KDE and the pull of the prior balance under scaling of all codes.
    """
    from scipy.optimize import brentq

    h = corrected_bandwidth(h0)
    alpha = math.sqrt(1 - h * h)
    stream = generator(0, "calibration", l, m)
    centres = alpha * torch.randn(m, l, generator=stream, dtype=torch.float64)
    z = alpha * torch.randn(4_000, l, generator=stream, dtype=torch.float64)
    log_q, push = _log_density_and_push(z, centres, h)
    pull = float(z.square().sum(1).mean())

    def excess(log_tail: float) -> float:
        """Push over pull, minus 1, with the floor at c = 1 - exp(log_tail)."""
        floor = log_floor(l, h, 1 - math.exp(log_tail))
        return float((push * torch.sigmoid(log_q - floor)).mean()) / pull - 1

    deepest, shallowest = math.log(1e-12), math.log(0.999)
    if excess(deepest) <= 0:
        return 1.0
    return 1 - math.exp(brentq(excess, deepest, shallowest, xtol=1e-6))
