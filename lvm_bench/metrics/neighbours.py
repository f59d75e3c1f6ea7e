"""Comparisons of distances between rows, as exact as float64 and nearly as quick as float32.

That is why they take many lines: float32 computes every pair, a bound on its rounding finds the doubtful pairs, and
float64 decides those. Where many pairs stay doubtful, their rows lie close together and far from the centre; relative
to one of these rows a product in float64 tells them apart. Only what is left costs a difference for each pair.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor

from lvm_bench.distances import row_blocks

_LONG = 512  # numbers in a row above which the product costs more than the search for the nearest in it
_TILE = 2000  # rows on both sides of a tile of distances
_SPARE = 8  # candidates beyond the k nearest, among which float64 finds the k-th
_DOUBTFUL = 0.01  # share of doubtful pairs above which a whole tile is computed again in float64
_FAILURES = 8  # rows without a group after which pairs are settled one by one
_MANY = 2  # pairs per row above which equal rows are looked for
_GATHERED = 2**18  # numbers whose differences are computed at a time, which stay in the cache

Places = slice | Int64[Tensor, " r"]


@dataclass(frozen=True)
class Rows:
    """Rows, a float32 copy relative to a centre, and the squared norms of that copy.

    Relative rows are whole multiples of `step`, a power of two, if it is above 0. Sums and products of multiples are
    exact while they are small enough.
    """

    exact: Float[Tensor, "n d"]
    centre: Float[Tensor, " d"]
    low: Float32[Tensor, "n d"]
    norms: Float32[Tensor, " n"]
    step: float

    def __len__(self) -> int:
        return len(self.exact)

    @cached_property
    def distinct(self) -> Int64[Tensor, " n"]:
        """For each row the index of one that equals it, the same one for all that are equal."""
        _, which = self.exact.unique(dim=0, return_inverse=True)
        first = torch.full_like(which, len(which)).scatter_reduce_(
            0, which, torch.arange(len(which), device=which.device), "amin"
        )
        return first[which]

    def at(self, rows: Places, dtype: torch.dtype) -> tuple[Float[Tensor, "r d"], Float[Tensor, " r"]]:
        """Some rows relative to the centre, and their squared norms."""
        if dtype == torch.float32:
            return self.low[rows], self.norms[rows]
        x = self.exact[rows].double() - self.centre.double()
        return x, x.square().sum(1)


def _step(rows: Float[Tensor, "n d"]) -> float:
    """A power of two of which all values are multiples, by which float64 multiplies them exactly; 0 if there is none.

    So it is for pixels, one-hot rows and counts, whose distances are often equal.
    """
    largest = max(abs(float(end)) for end in rows.aminmax())
    bits = (48 - math.ceil(math.log2(rows.shape[1]))) // 2
    if not 1e-30 < largest < 1e30:
        return 0.0
    step = math.ldexp(1.0, math.frexp(largest)[1] - bits)
    is_multiple = all(bool((part / step == (part / step).round()).all()) for part in rows.double().split(1000))
    return step if is_multiple else 0.0


def around(centre: Float[Tensor, " d"], rows: Float[Tensor, "n d"]) -> Rows:
    """Rows relative to a centre. Distances do not depend on it, but a near one saves digits."""
    centre, step = centre.to(rows.dtype), _step(rows)
    if step and bool((centre.abs() < step * 2**40).all()):
        centre = (centre / step).round() * step
    else:
        step = 0.0
    low = (rows - centre).float()
    return Rows(rows, centre, low, low.square().sum(1), step)


def tiles(n: int) -> list[slice]:
    """Slices that cover n rows, one tile each."""
    return row_blocks(n, 1, _TILE)


def _precisions(*sets: Rows) -> list[torch.dtype]:
    """float32, then float64; float64 alone if float32 could overflow."""
    fits = all(bool(rows.norms.max() < 1e30) for rows in sets)
    return [torch.float32, torch.float64] if fits else [torch.float64]


def _error(a: Rows, b: Rows, norms: Float[Tensor, "..."], largest: Float[Tensor, ""]) -> Float[Tensor, "..."]:
    """A bound on the rounding of squared distances from a product of rows, if every operation rounds the worst way.

    It is 0 in float64 where all rows lie at the centre, or are small multiples of one step.
    """
    precision, d = torch.finfo(norms.dtype), a.exact.shape[1]
    step, total = min(a.step, b.step), float(norms.max() + largest)
    if norms.dtype == torch.float64 and (total == 0 or total < 2**50 * step**2):
        return torch.zeros_like(norms)
    return (d + 16) * (precision.eps * (norms + largest) + precision.tiny)


def _rough(a: Rows, rows: Places, b: Rows, columns: Places, dtype: torch.dtype) -> Float[Tensor, "r c"]:
    """|a_i - b_j|^2 of a tile, accurate to `_error`."""
    (x, x_norms), (y, y_norms) = a.at(rows, dtype), b.at(columns, dtype)
    return torch.addmm(y_norms, x, y.T, alpha=-2).add_(x_norms[:, None])


def _settled(a: Rows, i: Int64[Tensor, " p"], b: Rows, j: Int64[Tensor, " p"]) -> Float64[Tensor, " p"]:
    """|a_i - b_j|^2 of pairs in float64, from their differences; once for pairs of equal rows if there are many."""
    if len(i) <= _MANY * (len(a) + len(b)):
        return _differences(a, i, b, j)
    pairs, which = (a.distinct[i] * len(b) + b.distinct[j]).unique(return_inverse=True)
    return _differences(a, pairs // len(b), b, pairs % len(b))[which]


def _differences(a: Rows, i: Int64[Tensor, " p"], b: Rows, j: Int64[Tensor, " p"]) -> Float64[Tensor, " p"]:
    """|a_i - b_j|^2 of single pairs in float64."""
    size = max(1, _GATHERED // a.exact.shape[1])
    pairs = zip(i.split(size), j.split(size), strict=True)
    return torch.cat([(a.exact[i].double() - b.exact[j].double()).square_().sum(1) for i, j in pairs])


# Balls


def is_inside(
    a: Rows, rows: slice, b: Rows, columns: slice, *limits: Float64[Tensor, "..."]
) -> list[Bool[Tensor, "r c"]]:
    """Whether |a_i - b_j|^2 is below each limit; limits are [r 1] or [c]."""
    for dtype in _precisions(a, b):
        rough = _rough(a, rows, b, columns, dtype)
        largest = [each.at(some, dtype)[1].max() for each, some in ((a, rows), (b, columns))]
        compared = [_compared(rough, _error(a, b, *largest), limit) for limit in limits]
        doubtful = [limit.expand(rough.shape)[doubt] for limit, (_, doubt) in zip(limits, compared, strict=True)]
        # Where float64 would not tell most of them from 0 either, groups do.
        least = float(_error(a, b, *(norm.double() for norm in largest)))
        hidden = sum(int((limit <= least).sum()) for limit in doubtful)
        if (count := sum(map(len, doubtful))) <= _DOUBTFUL * rough.numel() or hidden > count / 2:
            break
    for limit, (below, doubt) in zip(limits, compared, strict=True):
        _decide(a, rows, b, columns, limit.expand(below.shape), below, doubt)
    return [below for below, _ in compared]


def _compared(
    rough: Float[Tensor, "r c"], error: Float[Tensor, "..."], limit: Float64[Tensor, "..."]
) -> tuple[Bool[Tensor, "r c"], Bool[Tensor, "r c"]]:
    """Whether squared distances are surely below a limit, and whether rounding leaves that in doubt."""
    if not bool(error.any()):
        return rough < limit, torch.zeros_like(rough, dtype=torch.bool)
    slack = error + torch.finfo(rough.dtype).eps * limit
    below = rough < (limit - slack).to(rough.dtype)
    return below, (rough < (limit + slack).to(rough.dtype)).logical_xor_(below)


def _decide(
    a: Rows,
    rows: slice,
    b: Rows,
    columns: slice,
    limit: Float64[Tensor, "r c"],
    below: Bool[Tensor, "r c"],
    doubt: Bool[Tensor, "r c"],
) -> None:
    """Settle the doubtful pairs of a tile, in place: group by group while there are many, then one by one.

    A group is what lies near a row: relative to that row it is small. Rows without such a group are soon given up.
    """
    left, failures = torch.zeros_like(doubt), 0
    while failures < _FAILURES and int(doubt.sum() + left.sum()) > _DOUBTFUL * doubt.numel() and doubt.any():
        pivot = int(doubt.sum(1).argmax())
        near = doubt[pivot].nonzero().squeeze(1)
        group = doubt[:, near[0]].nonzero().squeeze(1)
        origin = a.exact[rows.start + pivot].double()
        x, y = a.exact[rows.start + group].double() - origin, b.exact[columns.start + near].double() - origin
        size, sizes = y.square().sum(1), x.square().sum(1)
        reach = 16 * limit[pivot, near].median()
        if reach > (origin - a.centre.double()).square().sum() / 4:
            failures += 1
            left[pivot] |= doubt[pivot]
            doubt[pivot] = False
            continue
        is_near = sizes <= reach
        group, x, sizes = group[is_near], x[is_near], sizes[is_near]
        rough = torch.addmm(size, x, y.T, alpha=-2).add_(sizes[:, None])
        error = (x.shape[1] + 16) * torch.finfo(rough.dtype).eps * (size + sizes.max())
        inside, unsure = _compared(rough, error, limit[group][:, near])
        here = group[:, None], near
        asked = doubt[here]
        below[here] = torch.where(asked, inside, below[here])
        left[here] |= asked & unsure
        doubt[here] = False
    i, j = (doubt | left).nonzero(as_tuple=True)
    if len(i):
        below[i, j] = _settled(a, i + rows.start, b, j + columns.start) < limit[i, j]


# Radii


def squared_radii(centres: Rows, points: Rows, k: int) -> Float64[Tensor, " n"]:
    """Squared distance of each centre to its k-th nearest point. In a single set no point is its own neighbour."""
    radii = torch.empty(len(centres), dtype=torch.float64, device=centres.exact.device)
    which = torch.arange(len(centres), device=radii.device)
    for dtype in _precisions(centres, points):
        radii[which], is_open = _radii(centres, which, points, k, dtype)
        which = which[is_open]
        if not len(which):
            return radii
        # Where float64 would not tell the candidates from the row itself either, groups do.
        largest = (each.at(slice(None), dtype)[1].max().double() for each in (centres, points))
        if bool(radii[which].median() <= _error(centres, points, *largest)):
            break
    while len(which):
        # The smallest radius first, so that no distant row takes all others for its group.
        group, found = _radii_of_group(centres, which[radii[which].argmin()], which, points, k)
        radii[which[group]] = found
        which = which[~group]
    return radii


def _radii_of_group(
    centres: Rows, pivot: Int64[Tensor, ""], which: Int64[Tensor, " r"], points: Rows, k: int
) -> tuple[Bool[Tensor, " r"], Float64[Tensor, " g"]]:
    """The open rows around one of them as a mask, and their squared radii.

    If that row's ball of radius r holds k others, the k nearest of each row within 2 r of it lie within 5 r.
    """
    every = torch.arange(len(points), device=which.device)
    reach = _differences(centres, pivot.expand(len(points)), points, every).sqrt()
    if centres is points:
        reach[pivot] = torch.inf
    radius = reach.kthvalue(k).values
    if centres is points:
        reach[pivot] = 0
    apart = (
        reach[which] if centres is points else _differences(centres, pivot.expand(len(which)), centres, which).sqrt()
    )
    group, near = apart <= 2 * radius, (reach <= 5.001 * radius).nonzero().squeeze(1)
    origin, members = centres.exact[pivot], which[group]
    local = around(origin.to(points.exact.dtype), points.exact[near])
    if centres is points:
        mine, places = local, torch.searchsorted(near, members)
    else:
        mine, places = around(origin, centres.exact[members]), torch.arange(len(members), device=which.device)
    found, is_open = _radii(mine, places, local, k, torch.float64)
    if is_open.any():
        found[is_open] = _radii_by_pair(mine, places[is_open], local, k)
    return group, found


def _radii_by_pair(centres: Rows, which: Int64[Tensor, " r"], points: Rows, k: int) -> Float64[Tensor, " r"]:
    """Squared radii from the differences of all pairs that float64 products cannot tell from the k-th."""
    radii, largest = [], points.at(slice(None), torch.float64)[1].max()
    for rows in row_blocks(len(which), len(points)):
        mine = which[rows]
        rough = _rough(centres, mine, points, slice(None), torch.float64)
        if centres is points:
            rough.scatter_(1, mine[:, None], torch.inf)
        kth = rough.kthvalue(k, dim=1, keepdim=True).values
        slack = 2 * _error(centres, points, centres.at(mine, torch.float64)[1], largest)[:, None]
        i, j = ((rough - kth).abs() <= slack).nonzero(as_tuple=True)
        table = torch.where(rough < kth, -torch.inf, torch.inf).double()
        table[i, j] = _settled(centres, mine[i], points, j)
        radii.append(table.kthvalue(k, dim=1).values)
    return torch.cat(radii)


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
    slack = 2 * _error(centres, points, norms[which], largest.max())[:, None]
    doubt = (values - kth).abs() <= slack
    table = torch.where(values < kth, -torch.inf, torch.inf).double()
    i, place = doubt.nonzero(as_tuple=True)
    table[i, place] = _settled(centres, which[i], points, indices[i, place])
    radii = table.kthvalue(k, dim=1).values
    return radii, doubt[:, -1] & (slack[:, 0] > 0) & (radii > 0) & (kept < others)


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
