"""A data set in one file: white rings on black, drawn when they are asked for."""

from pathlib import Path

import numpy as np

from lvm_bench import dataset
from lvm_bench.data.images import Images, Splits

SIDE = 8


def drawn(n: int, seed: int) -> Images:
    """n rings of random centre and radius, labelled by whether the radius is large."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    centres, radii = random.uniform(2.5, 4.5, (2, n, 1, 1)), random.uniform(1, 3, (n, 1, 1))
    away = np.abs(np.hypot(y - centres[0], x - centres[1]) - radii)
    pixels = (255 * np.clip(1.5 - away, 0, 1)).astype(np.uint8)[:, None]
    return Images(pixels, (radii.ravel() > 2).astype(np.int64))


@dataset("rings", label="Rings", licence="CC0")
def rings(root: Path, *, images: int = 700) -> Splits:
    """Rings, 1 x 8 x 8, drawn without a file."""
    return Splits(train=drawn(images, 0), test=drawn(200, 1))  # a sixth of `train` validates
