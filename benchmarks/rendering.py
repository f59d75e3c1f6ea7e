"""Speed of the rendered data sets: `python benchmarks/rendering.py` prints images per second at 64 pixels, full grids.

Sprites are drawn for 20,000 random combinations. Scenes trace their light once before the first image, so that their
speed is that of the whole grid of 480,000, tracing included. Writing the pixels to disk is not counted.
"""

import math
import time
from collections.abc import Sequence

import numpy as np

from lvm_bench.data import scenes3d, sprites
from lvm_bench.data.rendered import BLOCK, Draw

SPRITES, SCENES = (3, 6, 40, 32, 32), (10, 10, 10, 8, 4, 15)
IMAGES = 20_000


def seconds_per_image(draw: Draw, sizes: Sequence[int]) -> float:
    """Wall-clock seconds per image, drawn in blocks and in the random order of a grid."""
    generator = np.random.default_rng(0)
    factors = np.stack([generator.integers(0, n, IMAGES) for n in sizes], axis=1)
    start = time.perf_counter()
    for first in range(0, IMAGES, BLOCK):
        draw(factors[first : first + BLOCK])
    return (time.perf_counter() - start) / IMAGES


def main() -> None:
    """Measure and print."""
    for smooth in (False, True):
        speed = 1 / seconds_per_image(sprites.drawer(64, SPRITES, smooth), SPRITES)
        print(f"sprites, {'anti-aliased' if smooth else '0/255'}: {speed:,.0f} images/s (goal 20,000)")
    start = time.perf_counter()
    draw = scenes3d.drawer(64, SCENES)
    tracing = time.perf_counter() - start
    n = math.prod(SCENES)
    speed = n / (tracing + n * seconds_per_image(draw, SCENES))
    print(f"scenes3d: {speed:,.0f} images/s, {tracing:.0f} s of tracing included (goal 2,000)")


if __name__ == "__main__":
    main()
