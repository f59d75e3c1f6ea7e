"""3D Shapes from its official HDF5 file."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lvm_bench.data.files import RemoteFile, require
from lvm_bench.data.folder import progress
from lvm_bench.data.images import Outline, Splits, dataset
from lvm_bench.data.official import Blocks, damaged, grid, whole

if TYPE_CHECKING:
    import h5py

SIZE = 64
BLOCK = 4096  # images in memory at once, unless a chunk of the file has more
NAMES = ("floor hue", "wall hue", "object hue", "scale", "shape", "orientation")
FILE = RemoteFile(
    "shapes3d/3dshapes.h5",
    "https://storage.googleapis.com/3d-shapes/3dshapes.h5",
    "sha256:0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785",
    267_573_662,
)


def _outline() -> Outline:
    return Outline((3, SIZE, SIZE), factor_sizes=(10, 10, 10, 8, 4, 15))


@dataset("shapes3d", label="3D Shapes", files=(FILE,), licence="Apache 2.0", outline=_outline)
def shapes3d(root: Path) -> Splits:
    """A shaded solid in a coloured room, 3 x 64 x 64. Burgess & Kim 2018.

    All 480,000 combinations of 10 floor hues, 10 wall hues, 10 object hues, 8 scales, 4 shapes and 15 orientations.
    """
    import h5py
    import pandas as pd

    (file,) = require("shapes3d", root)
    with whole(file), h5py.File(file) as content:
        labels = _array(file, content, "labels")[:]
    if labels.ndim != 2 or labels.shape[1] != len(NAMES) or not np.issubdtype(labels.dtype, np.floating):
        raise damaged(file, f"its labels are {labels.dtype} {labels.shape}, not floats (n, 6)")
    # Values are numbered in order of appearance, which is their order along the axis of a row-major grid.
    factors = np.stack([pd.factorize(column)[0] for column in labels.T], axis=1).astype(np.int64)
    return grid(file, NAMES, factors, (3, SIZE, SIZE), partial(_images, file, len(factors))).splits()


def _images(file: Path, n: int) -> Blocks:
    """The n images in blocks; UserError unless the file has them as uint8."""
    import h5py

    with whole(file), h5py.File(file) as content:
        images = _array(file, content, "images")
        if images.shape != (n, SIZE, SIZE, 3) or images.dtype != np.uint8:
            raise damaged(file, f"its images are {images.dtype} {images.shape}, not uint8 {(n, SIZE, SIZE, 3)}")
        chunk = images.chunks[0] if images.chunks else 1
        step = max(BLOCK // chunk, 1) * chunk  # whole chunks, so that none is decompressed twice
        for start in progress(list(range(0, n, step)), "3D Shapes: unpacking, once"):
            yield images[start : start + step].transpose(0, 3, 1, 2)


def _array(file: Path, content: "h5py.File", name: str) -> "h5py.Dataset":
    """An array of the file; UserError if there is none of that name."""
    import h5py

    found = content.get(name)
    if not isinstance(found, h5py.Dataset):
        raise damaged(file, f"it has no array {name!r}, only: {', '.join(content)}")
    return found
