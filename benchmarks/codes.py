"""Kernel density estimates of codes: the AVAE's term, the leave-one-out entropy, the bandwidth of Table I."""

import math
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import limits
from benchmarks.measure import beside_limit, peak_memory, relative, taking_turns, threads, timed
from benchmarks.rows import Equality, Goal, Measured, Row, add, row
from lvm_bench.modelling.kde import bandwidth_trials, leave_one_out_log_density, log_density
from lvm_bench.report.tables.bandwidth import LATENTS, POINTS

BATCH, CENTRES, BANDWIDTH = 100, 10_000, 0.8
Density = Callable[[Tensor, Tensor, float], Tensor]


# The AVAE's term


def broadcast_log_density(z: Tensor, centres: Tensor, h: float) -> Tensor:
    """log q_h(z) from all differences at once."""
    exponents = -(z[:, None] - centres).square().sum(2) / (2 * h * h)
    m, l = centres.shape
    return torch.logsumexp(exponents, dim=1) - math.log(m) - l * math.log(h)


def keops_log_density(z: Tensor, centres: Tensor, h: float) -> Tensor:
    """log q_h(z) by KeOps, which stores no matrix of distances."""
    from pykeops.torch import LazyTensor

    m, l = centres.shape
    exponents = -((LazyTensor(z[:, None]) - LazyTensor(centres[None])) ** 2).sum(2) / (2 * h * h)
    return exponents.logsumexp(dim=1).flatten() - math.log(m) - l * math.log(h)


DENSITIES: dict[str, Density] = {"ours": log_density, "torch": broadcast_log_density, "pykeops": keops_log_density}


def term(density: str, l: int, m: int) -> Callable[[], tuple[Tensor, Tensor]]:
    """A call that computes the term of a batch and its gradient. It is warmed up on a few codes."""
    torch.set_num_threads(threads())
    stream = torch.Generator().manual_seed(0)
    z, centres = (0.8 * torch.randn(n, l, generator=stream) for n in (BATCH, m))

    def both(rows: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        rows = rows.clone().requires_grad_()
        values = DENSITIES[density](rows, points, BANDWIDTH)
        values.mean().backward()
        assert rows.grad is not None
        return values.detach(), rows.grad

    both(z[:2], centres[:2])
    return lambda: both(z, centres)


def avae_term(package: str, l: int, small: bool) -> Measured:
    """Our term and that of a peer, with the memory of each."""
    m = 1000 if small else CENTRES
    if package == "pykeops":
        import pykeops

        pykeops.set_verbose(False)
    memory = peak_memory(term, "ours", l, m), peak_memory(term, package, l, m)
    stream = torch.Generator().manual_seed(0)
    least = partial(limits.kernels, *(torch.randn(n, l, generator=stream) for n in (BATCH, m)))
    mine, others, limit, a, b = beside_limit(term("ours", l, m), term(package, l, m), least, 5 if small else 15)
    difference = max(relative(x, y) for x, y in zip(a, b, strict=True))
    equality = Equality("log-densities and gradients, relative", difference, 1e-3)
    return Measured(mine, others, equality, memory, limit)


for _package, _peer in (("torch", "plain broadcasting"), ("pykeops", "")):
    for _l in (16, 64, 128):
        add(
            Row(
                f"avae-term-{_package}-{_l}",
                f"AVAE's KDE term, forward and backward, 100 x 10,000 codes, l = {_l}",
                _package,
                Goal(
                    faster=1.0, memory=0.1 if _package == "torch" else None, limit=1.5
                ),  # KeOps stores no matrix either
                partial(avae_term, _package, _l),
                peer=_peer,
                smoke=_package == "torch" and _l == 16,
            )
        )


# Leave-one-out entropy

WIDE = 4.0  # a wide bandwidth: at h0 a point's own kernel outweighs all others by e^100, which no peer's sum resolves


def white(n: int, l: int) -> np.ndarray:
    """Codes [n l] of mean 0 and identity covariance."""
    rows = np.random.default_rng(0).standard_normal((n, l))
    rows -= rows.mean(0)
    return rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows.T))).T


def without_own(log_densities: np.ndarray, l: int, h: float) -> float:
    """The leave-one-out entropy, without l/2 log(2 pi), from log-densities that include the point itself."""
    n, own = len(log_densities), -l * math.log(h)
    others = own + np.log(np.expm1(log_densities + l / 2 * math.log(2 * math.pi) + math.log(n) - own))
    return float(math.log(n - 1) - others.mean())


def sklearn_entropy(rows: np.ndarray, h: float) -> float:
    """The leave-one-out entropy by scikit-learn."""
    from sklearn.neighbors import KernelDensity

    return without_own(KernelDensity(bandwidth=h).fit(rows).score_samples(rows), rows.shape[1], h)


def scipy_entropy(rows: np.ndarray, h: float) -> float:
    """The leave-one-out entropy by scipy, for codes with identity covariance."""
    from scipy.stats import gaussian_kde

    return without_own(np.log(gaussian_kde(rows.T, bw_method=h)(rows.T)), rows.shape[1], h)


def scipy_leave_one_out(rows: np.ndarray, h: float) -> np.ndarray:
    """Leave-one-out log-densities, without -l/2 log(2 pi), from scipy's distances: exact for every bandwidth."""
    from scipy.spatial.distance import cdist
    from scipy.special import logsumexp

    n, l = rows.shape
    logs = []
    for start in range(0, n, 1000):
        exponents = cdist(rows[start : start + 1000], rows, "sqeuclidean") / (-2 * h * h)
        exponents[np.arange(len(exponents)), np.arange(start, start + len(exponents))] = -np.inf
        logs.append(logsumexp(exponents, axis=1))
    return np.concatenate(logs) - math.log(n - 1) - l * math.log(h)


def entropy(theirs: Callable[[np.ndarray, float], float], small: bool) -> Measured:
    """Our entropy and that of a peer."""
    n, l = (1000, 32) if small else (10_000, 128)
    rows = white(n, l)
    points = torch.from_numpy(rows)
    mine, others, a, b = taking_turns(
        lambda: -float(leave_one_out_log_density(points, WIDE).mean()), lambda: theirs(rows, WIDE), 3, warm=small
    )
    return Measured(mine, others, Equality("the entropy, relative", relative(a, b), 1e-6))


for _package, _entropy, _least in (("scikit-learn", sklearn_entropy, 10.0), ("scipy", scipy_entropy, 6.0)):
    add(
        Row(
            f"entropy-{_package}",
            "leave-one-out KDE entropy, 10,000 x 128",
            _package,
            Goal(faster=_least),
            partial(entropy, _entropy),
            smoke=_package == "scikit-learn",
        )
    )


# Bandwidth

STEPS, TRIALS, QUERIES = 10_000, 3, 1000  # of the authors' search, which draws fresh queries at each step


def adam_search(l: int, m: int, steps: int, queries: int = QUERIES, seed: int = 0) -> float:
    """h0 by Adam on the mean log-density of fresh queries under one set of centres, in float64."""
    stream = torch.Generator().manual_seed(seed)
    centres = torch.randn(m, l, generator=stream, dtype=torch.float64)
    h = torch.empty(1, dtype=torch.float64).uniform_(1, 1.5, generator=stream).requires_grad_()
    optimiser = torch.optim.Adam([h], lr=1e-3)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=2000)
    last: list[float] = []
    for _ in range(steps):
        z = torch.randn(queries, l, generator=stream, dtype=torch.float64)
        exponents = torch.cdist(z, centres).square() / (-2 * h * h)
        loss = -(torch.logsumexp(exponents, dim=1) - math.log(m) - l * torch.log(h)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        plateau.step(loss.item())
        last = [*last[-999:], h.item()]
    return statistics.fmean(last)  # of the last steps, because each depends on its queries


@row(
    "bandwidth",
    "bandwidth h0, all of Table I (30 cells, 3 trials each)",
    "torch",
    Goal(faster=100.0),
    peer="Adam on h, 10,000 steps of 1,000 fresh queries",
)
def bandwidth(small: bool) -> Measured:
    """All cells by us, and the seconds of Adam from a few steps of each. h0 is compared in one cell, after all."""
    cells = [(l, m) for l in LATENTS for m in POINTS][: 2 if small else None]
    pairs = [(timed(partial(bandwidth_trials, l, m))[0], timed(partial(adam_search, l, m, 5))[0] / 5) for l, m in cells]
    mine, others = (sum(pair[side] for pair in pairs) for side in (0, 1))
    l, m = LATENTS[-1], POINTS[0]  # trials differ least in many dimensions
    found: Any = bandwidth_trials(l, m)
    theirs = adam_search(l, m, 3000 if small else STEPS, queries=100 if small else QUERIES)
    difference = abs(statistics.fmean(found) - theirs)
    equality = Equality(f"h0 at l = {l}, m = {m}", difference, 0.05 if small else 0.02)
    note = f"Adam's seconds are those of 5 steps in each cell, times {STEPS // 5:,} and {TRIALS} trials"
    return Measured([mine], [others * STEPS * TRIALS], equality, note=note)
