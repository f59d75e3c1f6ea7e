"""Limits: the arithmetic that any way of computing a row needs, with nothing around it, at the row's sizes."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import timed

_TILE = 1000
_SIDE = 2000  # of the matrices whose product tells the machine's rate


def frechet(real: Tensor, fake: Tensor) -> float:
    """Two symmetric float64 products (halves of a full one each), a Cholesky root and the eigenvalues of a matrix."""
    rows = real.double()
    product, covariance = timed(lambda: rows.T @ rows)
    covariance /= len(rows)
    root, _ = timed(lambda: torch.linalg.cholesky(covariance + 1e-6 * torch.eye(len(covariance))))
    return product + root + timed(lambda: torch.linalg.eigvalsh(covariance))[0]


def pairs(real: Tensor, fake: Tensor) -> float:
    """The float32 products of all pairs: half of those within each set, and those across."""
    halves, whole = fake.T.contiguous(), fake
    return timed(
        lambda: [tile @ halves for tile in real.split(_TILE)] and [tile @ whole.T for tile in real.split(_TILE)]
    )[0]


def clusters(rows: Tensor, k: int, runs: int, batch: int, steps: int) -> float:
    """The float32 products of mini-batch k-means: first centres, batches to centres and back, labels of all rows."""
    among, few, centres, members = rows[: 2 * batch], rows[:batch], rows[:k], torch.rand(k, batch)

    def products() -> None:
        for _ in range(runs):
            among @ among.T
            for _ in range(steps):
                few @ centres.T
                members @ few
        all_centres = centres.repeat(runs, 1)
        for tile in rows.split(_TILE):
            tile @ all_centres.T

    return timed(products)[0]


def kernels(z: Tensor, centres: Tensor) -> float:
    """The product for all distances, an exponential for each, and the product for the gradient."""

    def arithmetic() -> Tensor:
        return (z @ centres.T).exp_() @ centres

    return timed(arithmetic)[0]


@cache
def _sides() -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(0)
    return torch.randn(_SIDE, _SIDE, generator=stream), torch.empty(_SIDE, _SIDE)


def at_product_rate(flops: float) -> float:
    """The seconds of so many float32 operations at the rate of the best of five products of 2,000 x 2,000."""
    side, out = _sides()
    best = min(timed(lambda: torch.mm(side, side, out=out))[0] for _ in range(5))
    return flops / (2 * _SIDE**3) * best


def convolution_flops(action: Callable[[], object]) -> int:
    """The operations of the convolutions and dense layers of a call, backward ones too."""
    with FlopCounterMode(display=False) as counter:
        action()
    return counter.get_total_flops()
