"""Mini-batch k-means on the device of the rows.

Our own, because it runs on a GPU and clusters the same rows several times with shared batches. float32 clusters
nearly as well as float64 unless distant rows or axes of another scale hide small distances in its rounding.
"""

import math
from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lvm_bench.distances import exact_squared_distances, row_blocks, squared_distances

_BATCH = 512  # rows per step
_STEPS = 40  # more steps would cluster better than scikit-learn's rule and lower the precision of PRD a little
_STARTS = 10  # candidate sets of first centres
_DOUBTFUL = 0.01  # share of rows with a doubtful cluster above which float64 clusters again


def _start(rows: Float[Tensor, "n d"], k: int, stream: torch.Generator) -> Float[Tensor, "k d"]:
    """First centres by greedy k-means++, the best of ten starts by the sum of squared distances.

    Arthur & Vassilvitskii 2007, sec. 2.2, with the best of 2 + ln k candidates for each centre.
    """
    distances = (exact_squared_distances if rows.dtype == torch.float64 else squared_distances)(rows, rows)
    each = torch.arange(_STARTS, device=rows.device)
    chosen = torch.randint(len(rows), (_STARTS, 1), generator=stream).to(rows.device)
    nearest = distances[chosen[:, 0]]
    for _ in range(k - 1):
        # Drawn on the CPU, so that a seed gives the same draws on every device.
        shares = torch.rand(_STARTS, 2 + int(math.log(k)), generator=stream).to(rows.device)
        sums = nearest.cumsum(1)
        candidates = torch.searchsorted(sums, shares * sums[:, -1:]).clamp_(max=len(rows) - 1)
        after = torch.minimum(nearest[:, None], distances[candidates])
        best = after.sum(2).argmin(1)
        nearest = after[each, best]
        chosen = torch.cat([chosen, candidates[each, best][:, None]], dim=1)
    return rows[chosen[nearest.sum(1).argmin()]]


def _closeness(
    rows: Float[Tensor, "b d"], centres: Float[Tensor, "*runs k d"], by_differences: bool
) -> Float[Tensor, "b *runs k"]:
    """-|x - c|^2 / 2 of each row and centre, to which products add |x|^2 / 2; it is largest for the nearest centre."""
    flat = centres.flatten(0, -2)
    if by_differences:
        values = -0.5 * exact_squared_distances(rows, flat)
    else:
        values = torch.addmm(-0.5 * flat.square().sum(1), rows, flat.T)
    return values.view(len(rows), *centres.shape[:-1])


def _doubtful(
    rows: Float[Tensor, "b d"], centres: Float[Tensor, "runs k d"], closeness: Float[Tensor, "b runs k"]
) -> int:
    """The number of rows and runs in which rounding may hide which centre is nearest."""
    best = closeness.topk(min(2, closeness.shape[2]), dim=2)
    norms = centres.square().sum(2)
    two = torch.stack([norms[run, best.indices[:, run]].amax(1) for run in range(len(norms))], dim=1)
    # Rounding of a product of d terms grows with the root of d; centres carry the rounding of the rows.
    rounding = 2 * torch.finfo(rows.dtype).eps * rows.shape[1] ** 0.5 * (rows.square().sum(1)[:, None] + two)
    return int((best.values[..., 0] - best.values[..., -1] <= rounding).sum())


def kmeans(
    batches: Iterable[Tensor], centres: Float[Tensor, "k d"], by_differences: bool = False
) -> Float[Tensor, "k d"]:
    """The centres after mini-batch k-means over batches [b d]. Each is the mean of all rows assigned to it so far.

    Sculley 2010, algorithm 1.
    """
    counts = centres.new_zeros(len(centres), 1)
    for rows in batches:
        members = rows.new_zeros(len(rows), len(centres)).scatter_(
            1, _closeness(rows, centres, by_differences).argmax(1, keepdim=True), 1
        )
        size = members.sum(0)[:, None]
        counts = counts + size
        centres = centres + (members.T @ rows - size * centres) / counts.clamp(min=1)
    return centres


def _centres(
    rows: Float[Tensor, "n d"], k: int, runs: int, stream: torch.Generator, by_differences: bool
) -> Float[Tensor, "runs k d"]:
    """The centres of several runs, which share the mini-batches; each run has its own start and order of them."""
    shuffled = rows[torch.randperm(len(rows), generator=stream).to(rows.device)]  # once, so that a batch is contiguous
    batches = shuffled.split(_BATCH)
    found = []
    for _ in range(runs):
        orders = [torch.randperm(len(batches), generator=stream) for _ in range(-(-_STEPS // len(batches)))]
        mine = [batches[i] for i in torch.cat(orders)[:_STEPS].tolist()]
        among = torch.cat(mine[: min(2, len(batches))])
        found.append(kmeans(mine, _start(among, min(k, len(among)), stream), by_differences))
    return torch.stack(found)


def kmeans_labels(
    rows: Float[Tensor, "n d"], k: int, runs: int, stream: Callable[[], torch.Generator]
) -> Int[Tensor, "runs n"]:
    """The cluster of each row in each of several runs of mini-batch k-means, with at most k clusters.

    Rows are centred at their mean. `stream` makes the generator, anew when float64 has to cluster again: then rows
    are centred at their median, which is near most of them. Where products in float64 cannot tell either, differences
    decide.
    """
    for dtype, by_differences in ((torch.float32, False), (torch.float64, False), (torch.float64, True)):
        exact = dtype == torch.float64
        x = rows.double() - rows.double().median(0).values if exact else (rows - rows.mean(0)).float()
        centres = _centres(x, k, runs, stream(), by_differences)
        labels, doubts = [], 0
        for block in row_blocks(len(x), x.shape[1], 2**22):
            closeness = _closeness(x[block], centres, by_differences)
            labels.append(closeness.argmax(-1))
            doubts += _doubtful(x[block], centres, closeness)
        if doubts <= _DOUBTFUL * runs * len(x):
            break
    return torch.cat(labels).T
