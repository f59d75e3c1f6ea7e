"""Mini-batch k-means on the device of the rows.

Our own, because it runs on a GPU and clusters the same rows several times with shared batches.
"""

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lvm_bench.distances import row_blocks, squared_distances

_BATCH = 512  # rows per step
_STEPS = 40  # more steps would cluster better than scikit-learn's rule and lower the precision of PRD a little
_STARTS = 10  # candidate sets of first centres


def _start(rows: Float[Tensor, "n d"], k: int, stream: torch.Generator) -> Float[Tensor, "k d"]:
    """First centres by greedy k-means++, the best of ten starts by the sum of squared distances.

    Arthur & Vassilvitskii 2007, sec. 2.2, with the best of 2 + ln k candidates for each centre.
    """
    distances = squared_distances(rows, rows)
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


def _nearest(rows: Float[Tensor, "b d"], centres: Float[Tensor, "*runs k d"]) -> Int[Tensor, "b *runs"]:
    """The nearest centre of each row, in each run."""
    flat = centres.flatten(0, -2)
    # |x|^2 is left out: it is the same for all centres.
    closeness = torch.addmm(-0.5 * flat.square().sum(1), rows, flat.T)
    return closeness.view(len(rows), *centres.shape[:-1]).argmax(-1)


def kmeans(batches: Iterable[Tensor], centres: Float[Tensor, "k d"]) -> Float[Tensor, "k d"]:
    """The centres after mini-batch k-means over batches [b d]. Each is the mean of all rows assigned to it so far.

    Sculley 2010, algorithm 1.
    """
    counts = centres.new_zeros(len(centres), 1)
    for rows in batches:
        members = rows.new_zeros(len(rows), len(centres)).scatter_(1, _nearest(rows, centres)[:, None], 1)
        size = members.sum(0)[:, None]
        counts = counts + size
        centres = centres + (members.T @ rows - size * centres) / counts.clamp(min=1)
    return centres


def kmeans_labels(rows: Float[Tensor, "n d"], k: int, runs: int, stream: torch.Generator) -> Int[Tensor, "runs n"]:
    """The cluster of each row in each of several runs of mini-batch k-means, with at most k clusters.

    Runs share the mini-batches; each has its own first centres and its own order of the mini-batches.
    """
    shuffled = rows[torch.randperm(len(rows), generator=stream).to(rows.device)]  # once, so that a batch is contiguous
    batches = shuffled.split(_BATCH)
    found = []
    for _ in range(runs):
        orders = [torch.randperm(len(batches), generator=stream) for _ in range(-(-_STEPS // len(batches)))]
        mine = [batches[i] for i in torch.cat(orders)[:_STEPS].tolist()]
        among = torch.cat(mine[: min(2, len(batches))])
        found.append(kmeans(mine, _start(among, min(k, len(among)), stream)))
    centres = torch.stack(found)
    return torch.cat([_nearest(rows[block], centres) for block in row_blocks(len(rows), rows.shape[1], 2**22)]).T
