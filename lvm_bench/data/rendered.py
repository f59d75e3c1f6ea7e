"""The common part of the rendered data sets: limits of settings, values of a factor, a grid that is drawn once."""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from lvm_bench.data.folder import progress
from lvm_bench.data.images import Grid, random_order
from lvm_bench.data.processed import processed
from lvm_bench.errors import UserError
from lvm_bench.text import shortened

SMALLEST_SIZE, FEWEST_IMAGES = 16, 12
LARGEST_SIZE, MOST_IMAGES = 1024, 10_000_000  # above, a typing error would fill memory and disk
BLOCK = 32  # images drawn at once, whose working memory fits the cache of a core

Factors = Int64[np.ndarray, "m k"]
Draw = Callable[[Factors], UInt8[np.ndarray, "m c h w"]]


def rendered(
    name: str,
    names: tuple[str, ...],
    sizes: Sequence[int],
    shape: tuple[int, int, int],
    causes: list[Any],
    draw: Callable[[], Draw],
) -> Grid:
    """The grid of a rendered data set, drawn once and then mapped from the cache.

    `draw()` returns a function from factor indices [m k] to images [m c h w]. `causes` are all other values that
    decide the pixels. A quantity with a single value is not a factor of the grid.
    """
    n = math.prod(sizes)
    order = random_order(n, name)

    def fill(pixels: UInt8[np.ndarray, "n c h w"]) -> None:
        factors = np.stack(np.unravel_index(order, tuple(sizes)), axis=1).astype(np.int64)
        images = draw()
        for start in progress(list(range(0, n, BLOCK)), f"{name}: drawing {n:,} images, once"):
            pixels[start : start + BLOCK] = images(factors[start : start + BLOCK])

    causes = [*causes, *sizes, hashlib.sha256(order.tobytes()).hexdigest(), np.__version__]
    factors = tuple(factor for factor, size in zip(names, sizes, strict=True) if size > 1)
    return Grid(factors, varying_sizes(sizes), processed(name, causes, (n, *shape), fill), order)


def varying_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Sizes of the factors. A quantity with a single value is not a factor."""
    return tuple(size for size in sizes if size > 1)


def require_settings(
    name: str, size: int, factor_sizes: Sequence[int], names: Sequence[str], shapes: Sequence[str]
) -> None:
    """UserError unless a grid of these factor sizes, from these shapes, can be drawn at `size` pixels."""
    if not SMALLEST_SIZE <= size <= LARGEST_SIZE:
        fault = "too few pixels to tell the shapes apart" if size < SMALLEST_SIZE else "too many pixels"
        raise UserError(
            f"The data set {name!r} has size = {size}, {fault}. Choose {SMALLEST_SIZE} to {LARGEST_SIZE:,}."
        )
    where = f"The data set {name!r} has factor_sizes = {shortened(list(factor_sizes))}"
    if len(factor_sizes) != len(names) or min(factor_sizes) < 1:
        raise UserError(f"{where}. Give {len(names)} numbers, each 1 or more, of: {', '.join(names)}.")
    if factor_sizes[names.index("shape")] > len(shapes):
        raise UserError(
            f"{where}, which asks for {factor_sizes[names.index('shape')]} shapes. "
            f"There are {len(shapes)}: {', '.join(shapes)}."
        )
    if sum(n > 1 for n in factor_sizes) < 2:
        raise UserError(f"{where}. Give at least two factors two values or more: one alone cannot be told from others.")
    n = math.prod(factor_sizes)
    if n < FEWEST_IMAGES:
        raise UserError(
            f"{where}, a grid of {n} images. Raise them to {FEWEST_IMAGES} images or more, enough to split some off."
        )
    if n > MOST_IMAGES:
        raise UserError(f"{where}, a grid of {n:,} images. Lower them to {MOST_IMAGES:,} images or fewer.")


def spread(low: float, high: float, n: int) -> Float64[np.ndarray, " n"]:
    """n evenly spaced values from low to high, both included. A single value is the middle."""
    return np.linspace(low, high, n) if n > 1 else np.array([(low + high) / 2])
