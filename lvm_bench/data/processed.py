"""Images that take long to make or are too large for memory. They are made once and then mapped from the cache."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lvm_bench import disk
from lvm_bench.errors import StorageError

Pixels = UInt8[np.ndarray, "n c h w"]


def processed(
    name: str, causes: list[Any], shape: tuple[int, int, int, int], fill: Callable[[Pixels], None]
) -> UInt8[np.ndarray, "n c h w"]:
    """The images that `fill` writes into a mapped array of zeros. Their file is named by the digest of `causes`.

    StorageError if the cache has no room for them.
    """
    file = disk.cache_folder() / name / f"{disk.digest([*causes, *shape])}.npy"

    def make(beside: Path) -> None:
        # A process that writes to a mapped file on a full disk dies without a message.
        if shutil.disk_usage(beside.parent).free < np.prod(shape):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        pixels = np.lib.format.open_memmap(beside, "w+", np.uint8, shape)
        fill(pixels)
        pixels.flush()

    try:
        disk.once(file, make)
    except StorageError as error:
        size = f"{np.prod(shape) / 1e9:.1f} GB"
        raise StorageError(f"{error} The processed images need {size}; XDG_CACHE_HOME sets another place.") from error
    # Copy-on-write, because torch warns about read-only arrays. Nobody writes.
    return np.load(file, mmap_mode="c", allow_pickle=False)
