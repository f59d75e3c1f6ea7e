"""A grid of ground-truth factors and its codes: the checks of both, and random draws from them.

`grid_codes` [N l] are the codes of every combination of factor values, the last factor fastest. `sizes` are the
numbers of values of the factors.
"""

import math
import operator
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from lvm_bench.errors import UserError
from lvm_bench.metrics.arrays import Array, check_at_least, matrix, tensor
from lvm_bench.seeding import generator

BLOCK = 2**15  # rows per block, so that their codes stay in the cache of the processor

Factors = Array  # integers [n k]; the values of each factor are counted from 0


class Sampled(tuple[int, ...]):
    """The sizes of factors of which no grid is known, but some samples: `factors` [n k] of the codes [n l]."""

    factors: Int64[Tensor, "n k"]

    def __new__(cls, factors: Int64[Tensor, "n k"]) -> "Sampled":
        made = super().__new__(cls, (factors.amax(0) + 1).tolist())
        made.factors = factors
        return made


# Checks


def factor_indices(values: Factors, n: int, name: str) -> Int64[Tensor, "n k"]:
    """Factors as int64 on the CPU; UserError unless they are integers from 0, one row for each of n codes."""
    wanted = "integers, each factor's values counted from 0"
    indices = tensor(values, "factors", name, wanted)
    if indices.ndim != 2 or indices.shape[1] == 0:
        raise UserError(
            f"{name}: factors has shape {tuple(indices.shape)}; give one row per sample, [samples, factors]."
        )
    if indices.is_floating_point() or indices.dtype == torch.bool:
        raise UserError(f"{name}: factors has dtype {str(indices.dtype).removeprefix('torch.')}; give {wanted}.")
    if len(indices) != n:
        raise UserError(f"{name}: codes has {n} rows and factors has {len(indices)}; give one of each per sample.")
    indices = indices.long().cpu()
    for column, (low, high) in enumerate(zip(indices.amin(0).tolist(), indices.amax(0).tolist(), strict=True)):
        if low < 0 or high >= n:
            raise UserError(
                f"{name}: column {column} of factors (counted from 0) has values {low} to {high} in {n} samples; count "
                f"a factor's values from 0, and give at least as many samples as it has values."
            )
    return indices


def check_varied(factors: Int64[Tensor, "n k"], name: str, rows: str = "rows") -> None:
    """UserError if a factor has the same value in all rows."""
    constant = (factors == factors[0]).all(0).nonzero().flatten().tolist()
    if constant:
        raise UserError(
            f"{name}: column {constant[0]} of factors (counted from 0) has one value, {int(factors[0, constant[0]])}, "
            f"in all {len(factors)} {rows}; a factor needs two or more, so drop it or give more samples."
        )


def check_two_axes(codes: Float64[Tensor, "n l"], name: str) -> None:
    """UserError unless codes have two axes or more."""
    if codes.shape[1] < 2:
        raise UserError(f"{name}: codes has 1 dimension, and the score compares the best two; give 2 or more.")


def _checked(sizes: Sequence[int], name: str) -> tuple[int, ...]:
    """The numbers of values as integers; UserError unless they are whole."""
    try:
        return tuple(operator.index(size) for size in sizes)
    except TypeError:
        raise UserError(
            f"{name}: sizes is {sizes!r}; give the number of values of each factor, for instance (3, 4)."
        ) from None


def grid_matrix(grid_codes: Array, sizes: Sequence[int], name: str) -> Float64[Tensor, "N l"]:
    """The codes of a grid in float64 on the CPU; UserError unless they are one code for each of its combinations."""
    if isinstance(sizes, Sampled):
        raise UserError(
            f"{name}: it draws from the codes of every combination of factors, and there are codes of "
            f"{len(sizes.factors)} samples; give each combination of the factors' values once."
        )
    sizes = _checked(sizes, name)
    if len(sizes) < 2 or min(sizes) < 2:
        raise UserError(
            f"{name}: sizes is {tuple(sizes)}; give two or more factors of two or more values each, so drop the others."
        )
    codes = matrix(grid_codes, "grid_codes", name).cpu()
    if len(codes) != math.prod(sizes):
        raise UserError(
            f"{name}: grid_codes has {len(codes)} rows and sizes {tuple(sizes)} make {math.prod(sizes)} combinations; "
            f"give the code of every combination, the last factor fastest."
        )
    return codes


# Draws


def draw_factors(
    sizes: Sequence[int], n: int, stream: torch.Generator, fixed: Mapping[int, int] = {}
) -> Int64[Tensor, "n k"]:
    """n random combinations of factor values, uniform and independent. `fixed`: {factor: its value}."""
    sizes = _checked(sizes, "draw_factors")
    if not sizes or min(sizes) < 1:
        raise UserError(f"draw_factors: sizes is {sizes}; give one or more factors of one or more values each.")
    check_at_least(0, "draw_factors", n=n)
    if not isinstance(stream, torch.Generator):
        raise UserError(f"draw_factors: stream is a {type(stream).__name__}; give a torch.Generator.")
    if not isinstance(fixed, Mapping):
        raise UserError(f"draw_factors: fixed is {fixed!r}; give {{factor: its value}}.")
    columns = []
    for k, size in enumerate(sizes):
        check_at_least(0, "draw_factors", **{f"fixed[{k}]": fixed.get(k, 0)})
        if fixed.get(k, 0) >= size:
            raise UserError(f"draw_factors: fixed[{k}] is {fixed[k]}; choose 0 to {size - 1}.")
        columns.append(torch.full((n,), fixed[k]) if k in fixed else torch.randint(size, (n,), generator=stream))
    unknown = set(fixed) - set(range(len(sizes)))
    if unknown:
        raise UserError(f"draw_factors: fixed has factor {min(unknown)}; choose 0 to {len(sizes) - 1}.")
    return torch.stack(columns, dim=1)


def drawn_codes(
    grid_codes: Array, sizes: Sequence[int], n: int, seed: int, name: str
) -> tuple[Float64[Tensor, "n l"], Int64[Tensor, "n k"]]:
    """The codes and the factors of n random combinations, drawn with replacement; of samples n at most, without."""
    if isinstance(sizes, Sampled):
        rows = torch.randperm(len(sizes.factors), generator=generator(seed, name))[:n]
        return matrix(grid_codes, "codes", name).cpu()[rows], sizes.factors[rows]
    codes = grid_matrix(grid_codes, sizes, name)
    factors = draw_factors(sizes, n, generator(seed, name))
    places = np.ravel_multi_index(tuple(factors.numpy().T), tuple(sizes))
    return codes[torch.from_numpy(places)], factors


def ordered_by_factor(codes: Float64[Tensor, "N l"], sizes: Sequence[int], k: int) -> Float64[Tensor, "N l"]:
    """The codes of the grid, sorted by the value of factor k."""
    return codes.reshape(*sizes, -1).movedim(k, 0).reshape(codes.shape).contiguous()


def draws_per_factor(sizes: Sequence[int], draws: int, stream: torch.Generator) -> list[int]:
    """How many of the draws fix each factor. Every draw fixes one factor, chosen uniformly."""
    return torch.randint(len(sizes), (draws,), generator=stream).bincount(minlength=len(sizes)).tolist()


def fixed_draws(
    codes: Float64[Tensor, "N l"], sizes: Sequence[int], draws: int, images: int, stream: torch.Generator
) -> Iterator[tuple[int, Float64[Tensor, "b images l"]]]:
    """Blocks of draws, factor after factor, as (k, codes). The codes of a draw share a random value of factor k."""
    for k, count in enumerate(draws_per_factor(sizes, draws, stream)):
        table, others = ordered_by_factor(codes, sizes, k), len(codes) // sizes[k]
        # Sorted, so that successive draws read neighbouring parts of the table.
        chosen = torch.randint(sizes[k], (count, 1), generator=stream).sort(dim=0).values
        for value in chosen.split(max(1, BLOCK // images)):
            rows = torch.randint(others, (len(value), images), generator=stream).add_(value * others)
            yield k, table.index_select(0, rows.flatten()).view(*rows.shape, table.shape[1])
