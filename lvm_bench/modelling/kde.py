"""Gaussian kernel density estimates and their bandwidth, for the AVAE's objective and the entropy metric.

The constant -l/2 log(2 pi) is left out of every log-density here, so log N(0; 0, I) counts as 0. It cancels
in a KL divergence, and the entropy of N(0, I) becomes l/2.
"""

import math
from functools import cache

import torch
from jaxtyping import Float, Float64
from scipy.optimize import brentq, minimize_scalar
from scipy.special import gammaincinv
from torch import Tensor

from lvm_bench.distances import row_blocks, squared_distances
from lvm_bench.seeding import generator

# The authors' own h0 by (l, m), from their published configuration; 1.02 serves 20,000 centres in training
# and 10,000 codes in the entropy.
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

_SEARCH = (0.1, 2.5)  # h0 is .2 to 1.3 for l = 2 to 128 and m = 50 to 20,000


def log_density(z: Float[Tensor, "b l"], centres: Float[Tensor, "m l"], h: float) -> Float[Tensor, " b"]:
    """log q_h(z) in nats without -l/2 log(2 pi): the Gaussian KDE of bandwidth h on `centres`.

    Differentiable in z and centres; keeps their dtype. Saha et al. 2023 (AVAE), eq. 4 with the kernel's
    normalisation h^-l, which the paper leaves out.
    """
    m, l = centres.shape
    blocks = [
        torch.logsumexp(squared_distances(z[rows], centres) / (-2 * h * h), dim=1) for rows in row_blocks(len(z), m)
    ]
    return torch.cat(blocks) - (math.log(m) + l * math.log(h))


def leave_one_out_log_density(z: Float[Tensor, "n l"], h: float) -> Float64[Tensor, " n"]:
    """log q_h(z_j) in nats without -l/2 log(2 pi), from the KDE on the other n - 1 points."""
    z = z.double()
    n, l = z.shape
    norms, scale = z.square().sum(1), -1 / (2 * h * h)
    sums = torch.zeros_like(norms)
    for rows in row_blocks(n, n):  # each pair once
        later = slice(rows.stop, n)
        squares = torch.addmm(norms[rows.start :], z[rows], z[rows.start :].T, alpha=-2).add_(norms[rows, None])
        kernels = squares.clamp_(min=0).mul_(scale).exp_().fill_diagonal_(0)
        sums[rows] += kernels.sum(1)
        sums[later] += kernels[:, rows.stop - rows.start :].sum(0)
    logs = sums.log()
    # Kernels of points far from all others vanish; the logarithm of their sum does not.
    far = (sums < 1e-250).nonzero().squeeze(1)
    for alone in far.split(max(1, 2**20 // n)):
        exponents = squared_distances(z[alone], z).mul_(scale)
        exponents.scatter_(1, alone[:, None], -math.inf)
        logs[alone] = torch.logsumexp(exponents, dim=1)
    return logs - (math.log(n - 1) + l * math.log(h))


def _mean_log_density(blocks: list[Tensor], nearest: float, m: int, l: int, h: float) -> float:
    """Mean of log q_h over queries, from squared distances less each query's smallest, of mean `nearest`."""
    scale = -1 / (2 * h * h)
    logs = [torch.mul(block, scale).exp_().sum(1, dtype=torch.float64).log() for block in blocks]
    return nearest * scale + float(torch.cat(logs).mean()) - math.log(m) - l * math.log(h)


def _bandwidth_trial(l: int, m: int, seed: int) -> float:
    """argmax_h of the mean log-density of fresh N(0, I) queries under a KDE on m draws from N(0, I)."""
    stream = generator(seed, "bandwidth", l, m)
    queries = min(max(40_000_000 // m, 4_000), 20_000)
    centres = torch.randn(m, l, generator=stream)
    z = torch.randn(queries, l, generator=stream)
    # Distances are kept, so that each h costs one exponential a pair; float32 moves h0 by less than xatol.
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
    """Three independent estimates of h0 for m KDE points in l dimensions.

    h0 maximises E[log q_h(z)] over z ~ N(0, I), which reproduces Table I of the AVAE paper; the mean density
    of its eq. 10 as printed is largest at h -> 0.
    """
    return [_bandwidth_trial(l, m, seed) for seed in range(3)]


@cache
def optimal_bandwidth(l: int, m: int) -> float:
    """h0(l, m): the mean of three trials, of std .006 at l = 6 and .003 at l = 16 for m = 10,000."""
    trials = bandwidth_trials(l, m)
    return sum(trials) / len(trials)


def corrected_bandwidth(h0: float) -> float:
    """h = alpha h0 with alpha = (1 + h0^2)^(-1/2), so that alpha^2 = 1 - h^2. AVAE paper, eq. 11."""
    return h0 / math.sqrt(1 + h0 * h0)


def log_floor(l: int, h: float, c: float) -> float:
    """log of the density floor: one kernel, not averaged, at the c-quantile of its own chi distribution.

    c = 1 is no floor (-inf). The floor is part of the authors' code, not of their paper.
    """
    return -float(gammaincinv(l / 2, c)) - l * math.log(h)


@cache
def calibrated_level(l: int, m: int, h0: float) -> float:
    """The level c that makes N(0, (1 - h^2) I) an equilibrium of the KDE objective; 1 if it needs no floor.

    There the outward push from the KDE and the prior's pull balance when all codes are scaled together.
    """
    h = corrected_bandwidth(h0)
    alpha = math.sqrt(1 - h * h)
    stream = generator(0, "calibration", l, m)
    centres = alpha * torch.randn(m, l, generator=stream, dtype=torch.float64)
    z = alpha * torch.randn(4_000, l, generator=stream, dtype=torch.float64)
    logs, pulls = [], []
    for rows in row_blocks(len(z), m):
        exponents = squared_distances(z[rows], centres) / (-2 * h * h)
        logs.append(torch.logsumexp(exponents, dim=1))
        pulls.append(torch.softmax(exponents, dim=1) @ centres)
    log_q = torch.cat(logs) - (math.log(m) + l * math.log(h))
    push = (z * (z - torch.cat(pulls))).sum(1) / (h * h)
    pull = float(z.square().sum(1).mean())

    def excess(log_tail: float) -> float:
        floor = log_floor(l, h, 1 - math.exp(log_tail))
        return float((push * torch.sigmoid(log_q - floor)).mean()) / pull - 1

    deepest, shallowest = math.log(1e-12), math.log(0.999)
    if excess(deepest) <= 0:
        return 1.0
    return 1 - math.exp(brentq(excess, deepest, shallowest, xtol=1e-6))
