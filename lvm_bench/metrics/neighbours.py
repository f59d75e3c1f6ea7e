"""Comparisons of distances between rows, as exact as float64 and nearly as quick as float32.

That is why they take many lines: float32 computes every pair, a bound on its rounding finds the doubtful pairs, and
float64 decides those.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor

from lvm_bench.distances import row_blocks

_LONG = 512  # numbers in a row above which the product costs more than the search for the nearest in it
_TILE = 2000  # rows on both sides of a tile of distances
_SPARE = 8  # candidates beyond the k nearest, among which float64 finds the k-th
_DOUBTFUL = 0.01  # share of doubtful pairs above which a whole tile is computed again in float64
_GATHERED = 2**12  # pairs whose differences are computed at a time

Places = slice | Int64[Tensor, " r"]


@dataclass(frozen=True)
class Rows:
    """Rows, a float32 copy relative to a centre, and the squared norms of that copy."""

    exact: Float[Tensor, "n d"]
    centre: Float[Tensor, " d"]
    low: Float32[Tensor, "n d"]
    norms: Float32[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.exact)

    def at(self, rows: Places, dtype: torch.dtype) -> tuple[Float[Tensor, "r d"], Float[Tensor, " r"]]:
        """Some rows relative to the centre, and their squared norms."""
        if dtype == torch.float32:
            return self.low[rows], self.norms[rows]
        x = self.exact[rows].double() - self.centre.double()
        return x, x.square().sum(1)


def around(centre: Float[Tensor, " d"], rows: Float[Tensor, "n d"]) -> Rows:
    """Rows relative to a centre. Distances do not depend on it, but a near one saves digits."""
    centre = centre.to(rows.dtype)
    low = (rows - centre).float()
    return Rows(rows, centre, low, low.square().sum(1))


def tiles(n: int) -> list[slice]:
    """Slices that cover n rows, one tile each."""
    return row_blocks(n, 1, _TILE)


def _precisions(*sets: Rows) -> list[torch.dtype]:
    """float32, then float64; float64 alone if float32 could overflow."""
    fits = all(bool(rows.norms.max() < 1e30) for rows in sets)
    return [torch.float32, torch.float64] if fits else [torch.float64]


def _error(norms: Float[Tensor, "..."], largest: Float[Tensor, ""], d: int) -> Float[Tensor, "..."]:
    """A bound on the rounding of squared distances from a product of rows, if every operation rounds the worst way."""
    precision = torch.finfo(norms.dtype)
    return (d + 16) * (precision.eps * (norms + largest) + precision.tiny)


def _rough(a: Rows, rows: Places, b: Rows, columns: slice, dtype: torch.dtype) -> Float[Tensor, "r c"]:
    """|a_i - b_j|^2 of a tile, accurate to `_error`."""
    (x, x_norms), (y, y_norms) = a.at(rows, dtype), b.at(columns, dtype)
    return torch.addmm(y_norms, x, y.T, alpha=-2).add_(x_norms[:, None])


def _settled(a: Rows, i: Tensor, b: Rows, j: Tensor) -> Float64[Tensor, " p"]:
    """|a_i - b_j|^2 of single pairs in float64, from their differences."""
    pairs = zip(i.split(_GATHERED), j.split(_GATHERED), strict=True)
    return torch.cat([(a.exact[i].double() - b.exact[j].double()).square_().sum(1) for i, j in pairs])


def is_inside(
    a: Rows, rows: slice, b: Rows, columns: slice, *limits: Float64[Tensor, "..."]
) -> list[Bool[Tensor, "r c"]]:
    """Whether |a_i - b_j|^2 is below each limit; limits are [r 1] or [c]."""
    for dtype in _precisions(a, b):
        rough = _rough(a, rows, b, columns, dtype)
        (_, x_norms), (_, y_norms) = a.at(rows, dtype), b.at(columns, dtype)
        error = _error(x_norms.max(), y_norms.max(), a.exact.shape[1])
        slacks = [error + torch.finfo(dtype).eps * limit for limit in limits]
        below = [rough < (limit - slack).to(dtype) for limit, slack in zip(limits, slacks, strict=True)]
        doubts = [
            (rough < (limit + slack).to(dtype)).logical_xor_(sure).nonzero(as_tuple=True)
            for limit, slack, sure in zip(limits, slacks, below, strict=True)
        ]
        if sum(len(i) for i, _ in doubts) <= _DOUBTFUL * rough.numel():
            break
    for limit, sure, (i, j) in zip(limits, below, doubts, strict=True):
        if len(i):
            sure[i, j] = _settled(a, i + rows.start, b, j + columns.start) < limit.expand(rough.shape)[i, j]
    return below


def squared_radii(centres: Rows, points: Rows, k: int) -> Float64[Tensor, " n"]:
    """Squared distance of each centre to its k-th nearest point. In a single set no point is its own neighbour."""
    radii = torch.empty(len(centres), dtype=torch.float64, device=centres.exact.device)
    which = torch.arange(len(centres), device=radii.device)
    for dtype in _precisions(centres, points):
        radii[which], is_open = _radii(centres, which, points, k, dtype)
        which = which[is_open]
        if not len(which):
            return radii
    for row in which:
        every = torch.arange(len(points), device=row.device)
        distances = _settled(centres, row.expand(len(points)), points, every)
        if centres is points:
            distances[row] = torch.inf
        radii[row] = distances.kthvalue(k).values
    return radii


def _radii(
    centres: Rows, which: Int64[Tensor, " r"], points: Rows, k: int, dtype: torch.dtype
) -> tuple[Float64[Tensor, " r"], Bool[Tensor, " r"]]:
    """Squared radii after a search in `dtype`, and whether a row that was dropped could be nearer than the k-th."""
    others = len(points) - (centres is points)
    kept = min(k + _SPARE, others)
    values = torch.full((len(which), kept), torch.inf, dtype=dtype, device=which.device)
    indices = torch.zeros_like(values, dtype=torch.int64)
    for rows, columns, rough in _tiles_of(centres, which, points, dtype):
        near = rough.topk(min(kept, rough.shape[1]), dim=1, largest=False)
        all_values = torch.cat([values[rows], near.values], dim=1)
        all_indices = torch.cat([indices[rows], near.indices + columns.start], dim=1)
        best = all_values.topk(kept, dim=1, largest=False)
        values[rows], indices[rows] = best.values, all_indices.gather(1, best.indices)
    kth = values[:, k - 1 : k]
    norms, largest = (each.at(slice(None), dtype)[1] for each in (centres, points))
    slack = 2 * _error(norms[which], largest.max(), centres.exact.shape[1])[:, None]
    doubt = (values - kth).abs() <= slack
    table = torch.where(values < kth, -torch.inf, torch.inf).double()
    i, place = doubt.nonzero(as_tuple=True)
    table[i, place] = _settled(centres, which[i], points, indices[i, place])
    radii = table.kthvalue(k, dim=1).values
    return radii, doubt[:, -1] & (radii > 0) & (kept < others)


def _tiles_of(
    a: Rows, which: Int64[Tensor, " r"], b: Rows, dtype: torch.dtype
) -> Iterator[tuple[slice, slice, Float[Tensor, "p c"]]]:
    """Rough squared distances between some rows of a and all of b, tile by tile.

    A set of long rows is compared with itself once per pair. For short rows a second product costs less than the
    search in narrow tiles.
    """
    is_own, everything = a is b, slice(0, len(b))
    if not is_own or len(which) < len(a) or a.exact.shape[1] < _LONG:
        for rows in row_blocks(len(which), len(b)):
            rough = _rough(a, which[rows], b, everything, dtype)
            if is_own:
                rough.scatter_(1, which[rows, None], torch.inf)
            yield rows, everything, rough
        return
    for rows in tiles(len(a)):
        for columns in tiles(len(a))[rows.start // _TILE :]:
            rough = _rough(a, rows, a, columns, dtype)
            if rows == columns:
                rough.fill_diagonal_(torch.inf)
            yield rows, columns, rough
            if rows != columns:
                yield columns, rows, rough.T.contiguous()
