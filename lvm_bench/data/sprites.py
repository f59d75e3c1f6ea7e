"""Rendered sprites: a square, an ellipse or a heart somewhere in a black image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from lvm_bench.data.images import Outline, Splits, dataset
from lvm_bench.data.rendered import Draw, Factors, rendered, require_settings, spread, varying_sizes

NAMES = ("shape", "scale", "orientation", "x", "y")
SHAPES = ("square", "ellipse", "heart")
# The centroid of the heart along either of its axes. The heart is a unit square with half discs on two sides.
HEART_CENTROID = (np.pi / 16 + 1 / 12) / (1 + np.pi / 4)

Window = Float32[np.ndarray, "m w w"]


def _outline(size: int, factor_sizes: Sequence[int], smooth: bool) -> Outline:
    require_settings("sprites", size, factor_sizes, NAMES, SHAPES)
    return Outline((1, size, size), factor_sizes=varying_sizes(factor_sizes))


@dataset("sprites", label="sprites (rendered)", licence="MIT", outline=_outline)
def sprites(
    root: Path, *, size: int = 64, factor_sizes: Sequence[int] = (3, 6, 40, 32, 32), smooth: bool = False
) -> Splits:
    """A white square, ellipse or heart on black, rendered: a stand-in with the factor structure of dSprites.

    1 x size x size; values 0 and 255, or anti-aliased if `smooth`. `factor_sizes` counts the values of shape,
    scale (0.5 to 1), orientation (a full turn), x and y. Images of different factors are equal only if the square
    turns by 90 degrees, the ellipse by 180, or if a step is too small for `size`.
    """
    require_settings("sprites", size, factor_sizes, NAMES, SHAPES)
    causes = [Path(__file__).read_text(encoding="utf-8"), smooth]
    shape = (1, size, size)
    return rendered("sprites", NAMES, factor_sizes, shape, causes, lambda: drawer(size, factor_sizes, smooth)).splits()


def window_width(size: int) -> int:
    """Pixels along a side of the window around the centre of a sprite. Everything outside the window is black."""
    return size // 2


def drawer(size: int, factor_sizes: Sequence[int], smooth: bool) -> Draw:
    """A function that draws sprites from the indices of their factors."""
    width = window_width(size)
    radius = (width - 1) / 2  # of the circle around a sprite of scale 1; coverage reaches half a pixel further
    _, scales, orientations, xs, ys = factor_sizes
    radii = radius * spread(0.5, 1, scales)
    angles = np.linspace(0, 2 * np.pi, orientations, endpoint=False)
    x_centres, y_centres = (spread(width / 2, size - width / 2, n) for n in (xs, ys))
    pixel = np.arange(width) + 0.5

    def draw(factors: Factors) -> UInt8[np.ndarray, "m 1 size size"]:
        shape, scale, orientation, x, y = factors.T
        left, top = (np.rint(c - width / 2).astype(int) for c in (x_centres[x], y_centres[y]))
        # Offsets from the centre, y upwards. Only offsets inside the window are small enough for single precision.
        right = (left[:, None] + pixel - x_centres[x][:, None]).astype(np.float32)[:, None, :]
        up = (y_centres[y][:, None] - top[:, None] - pixel).astype(np.float32)[:, :, None]
        turn = angles[orientation] + np.where(shape == SHAPES.index("heart"), np.pi / 4, 0)
        cos, sin = (f(turn).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
        u, v = cos * right + sin * up, cos * up - sin * right
        r = radii[scale].astype(np.float32)[:, None, None]
        out = np.empty(u.shape, np.float32)
        for index, distance in enumerate((square_distance, ellipse_distance, heart_distance)):
            mine = shape == index
            out[mine] = distance(u[mine], v[mine], r[mine])
        white = np.rint(255 * np.clip(0.5 - out, 0, 1)) if smooth else 255 * (out < 0)
        images = np.zeros((len(factors), 1, size, size), np.uint8)
        windows = np.lib.stride_tricks.sliding_window_view(images[:, 0], (width, width), (1, 2), writeable=True)
        windows[np.arange(len(factors)), top, left] = white
        return images

    return draw


def square_distance(u: Window, v: Window, r: Float32[np.ndarray, "m 1 1"]) -> Window:
    """Signed distance in pixels of the square in a circle, negative inside. Beyond corners it is below Euclid's."""
    return np.maximum(np.abs(u), np.abs(v)) - r * np.float32(np.sqrt(0.5))


def ellipse_distance(u: Window, v: Window, r: Float32[np.ndarray, "m 1 1"]) -> Window:
    """Signed distance in pixels of the ellipse with semi-axes r and r / 2, to first order."""
    u, v = u / r, v / r * 2
    tiny = np.float32(1e-12)  # keeps 0 / 0 out of the centre
    level = np.sqrt(u * u + v * v + tiny)
    return r * level * (level - 1) / np.sqrt(u * u + 4 * v * v + tiny)


def heart_distance(u: Window, v: Window, r: Float32[np.ndarray, "m 1 1"]) -> Window:
    """Signed distance in pixels of a heart: a diamond with discs on its upper sides. u and v run along its sides.

    The origin is the centroid, and the lowest corner lies on the circle of radius r.
    """
    side = r / np.float32(np.sqrt(2) * (0.5 + HEART_CENTROID))
    half = side / 2
    u, v = u + side * np.float32(HEART_CENTROID), v + side * np.float32(HEART_CENTROID)
    diamond = np.maximum(np.abs(u), np.abs(v)) - half
    discs = np.sqrt(np.minimum((u - half) ** 2 + v * v, u * u + (v - half) ** 2)) - half
    return np.minimum(diamond, discs)
