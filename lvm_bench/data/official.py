"""The common part of data sets with official files: errors about wrong content, and grids larger than memory."""

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from lvm_bench.data.images import Grid, random_order
from lvm_bench.data.npz import UNREADABLE
from lvm_bench.data.processed import processed
from lvm_bench.errors import UserError
from lvm_bench.registry import DATASETS

Blocks = Iterator[UInt8[np.ndarray, "m c h w"]]


@contextmanager
def whole(file: Path) -> Iterator[None]:
    """Inside this context an unreadable archive raises a UserError, although its checksum is right."""
    try:
        yield
    except UserError:
        raise
    except UNREADABLE as error:
        raise damaged(file, f"it cannot be read ({error})") from error


def damaged(file: Path, what: str) -> UserError:
    """The error about a file that does not have the content of the official release."""
    owner = next((folder.name for folder in file.parents if folder.name in DATASETS), file.parent.name)
    return UserError(f"{file}: {what}. It is not the official file: delete it and run `lvm-bench data fetch {owner}`.")


def grid(
    file: Path,
    names: tuple[str, ...],
    factors: Int64[np.ndarray, "n k"],
    shape: tuple[int, int, int],
    blocks: Callable[[], Blocks],
) -> Grid:
    """The grid of an official file. Its images are written once, block by block, into a mapped array.

    The folder of the file names the data set. UserError unless the factors are every combination of two or more values
    each, row-major.
    """
    name, n = file.parent.name, len(factors)
    sizes = tuple(int(size) for size in factors.max(axis=0, initial=-1) + 1)
    if min(sizes) < 2:
        raise damaged(file, f"its factor {names[int(np.argmin(sizes))]!r} has fewer than two values")
    if math.prod(sizes) != n or not np.array_equal(np.stack(np.unravel_index(np.arange(n), sizes), axis=1), factors):
        raise damaged(file, f"its {n:,} factors are not every combination of {sizes} values, the last factor fastest")
    order = random_order(n, name)

    def fill(pixels: UInt8[np.ndarray, "n c h w"]) -> None:
        places, start = np.argsort(order), 0
        for block in blocks():
            pixels[places[start : start + len(block)]] = block
            start += len(block)

    checksums = [official.checksum for official in DATASETS[name].info.files]
    causes = [*checksums, hashlib.sha256(order.tobytes()).hexdigest()]
    return Grid(names, sizes, processed(name, causes, (n, *shape), fill), order)
