"""dSprites from its official .npz file."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from lvm_bench.data.files import RemoteFile, require
from lvm_bench.data.folder import progress
from lvm_bench.data.images import Outline, Splits, dataset
from lvm_bench.data.npz import array_header
from lvm_bench.data.official import Blocks, damaged, grid, whole

SIZE = 64
BLOCK = 4096  # images in memory at once
NAMES = ("shape", "scale", "orientation", "x", "y")
FILE = RemoteFile(
    "dsprites/dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
    "https://github.com/google-deepmind/dsprites-dataset/raw/fa310c66517cfc1939d77fe17c725154efc97127/"
    "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
    "md5:7da33b31b13a06f4b04a70402ce90c2e",
    26_866_364,
)


def _outline() -> Outline:
    return Outline((1, SIZE, SIZE), factor_sizes=(3, 6, 40, 32, 32))


@dataset("dsprites", label="dSprites", files=(FILE,), licence="Apache 2.0", outline=_outline)
def dsprites(root: Path) -> Splits:
    """A white square, ellipse or heart on black, 1 x 64 x 64. Matthey, Higgins, Hassabis & Lerchner 2017.

    All 737,280 combinations of 3 shapes, 6 scales, 40 orientations, 32 x and 32 y.
    """
    (file,) = require("dsprites", root)
    with whole(file), array(file, "latents_classes") as stream:
        classes = np.lib.format.read_array(stream, allow_pickle=False)
    if classes.ndim != 2 or classes.shape[1] != 1 + len(NAMES) or not np.issubdtype(classes.dtype, np.integer):
        raise damaged(file, f"its latents_classes are {classes.dtype} {classes.shape}, not integers (n, 6)")
    factors = classes[:, 1:].astype(np.int64)  # the first column is colour, which has one value
    return grid(file, NAMES, factors, (1, SIZE, SIZE), partial(_images, file, len(factors))).splits()


def _images(file: Path, n: int) -> Blocks:
    """The n images in blocks; UserError unless the file has them as uint8 with values 0 and 1."""
    with whole(file), array(file, "imgs") as stream:
        shape, fortran, dtype = array_header(stream)
        if shape != (n, SIZE, SIZE) or dtype != np.uint8 or fortran:
            raise damaged(file, f"its imgs are {dtype} {shape}, not uint8 {(n, SIZE, SIZE)} row-major")
        for start in progress(list(range(0, n, BLOCK)), "dSprites: unpacking, once"):
            count = min(BLOCK, n - start)
            content = stream.read(count * SIZE * SIZE)
            if len(content) < count * SIZE * SIZE:
                raise damaged(file, f"its imgs end before image {start + count:,} of {n:,}")
            block = np.frombuffer(content, np.uint8).reshape(count, 1, SIZE, SIZE)
            if block.max() > 1:
                raise damaged(file, f"its imgs have the value {block.max()}, not only 0 and 1")
            yield 255 * block


@contextmanager
def array(file: Path, name: str) -> Iterator[IO[bytes]]:
    """The stream of one array of an .npz file, in the format of NumPy. Nothing else is read."""
    with zipfile.ZipFile(file) as archive:
        if f"{name}.npy" not in archive.namelist():
            found = ", ".join(member.removesuffix(".npy") for member in archive.namelist())
            raise damaged(file, f"it has no array {name!r}, only: {found}")
        with archive.open(f"{name}.npy") as stream:
            yield stream
