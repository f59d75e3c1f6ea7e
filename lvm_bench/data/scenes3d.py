"""Rendered scenes: a cube, a cylinder, a sphere or a capsule in the corner of a coloured room.

x points to the right, y into the room, z upwards. The largest cube is 1.5 wide.
"""

import colorsys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from lvm_bench.data.images import Outline, Splits, dataset
from lvm_bench.data.rendered import Draw, Factors, rendered, require_settings, spread, varying_sizes

NAMES = ("floor hue", "wall hue", "object hue", "scale", "shape", "orientation")
SHAPES = ("cube", "cylinder", "sphere", "capsule")
FLOOR, WALL, OBJECT = range(3)  # materials, in the order of their hues

DISTANCE, HEIGHT = 5.5, 3.0  # of the camera from the axis and from the floor
TARGET = 0.75  # the height on the axis to which the camera looks
HALF_VIEW = 0.37  # tangent of half the angle of view
CORNER = 2.6  # from the axis to the corner, which is right behind the object at orientation 0
TO_LIGHT = np.array([-0.5, -0.75, 1.0]) / np.sqrt(0.5**2 + 0.75**2 + 1)  # one wall is brighter than the other
AMBIENT = 0.45  # share of the light that reaches shadows
SAMPLES = 3  # rays along each side of a pixel
MIDDLE, BOUND = np.array([0, 0, 1]), 1.5  # centre and radius of a sphere that holds any object
STEPS, TOUCH = 64, 1e-3  # of sphere tracing: the number of steps, and the distance at which a ray meets a surface

Points = Float64[np.ndarray, "n 3"]
Distance = Callable[[Points], Float64[np.ndarray, " n"]]


def _outline(size: int, factor_sizes: Sequence[int]) -> Outline:
    require_settings("scenes3d", size, factor_sizes, NAMES, SHAPES)
    return Outline((3, size, size), factor_sizes=varying_sizes(factor_sizes))


@dataset("scenes3d", label="scenes3d (rendered)", licence="MIT", outline=_outline)
def scenes3d(root: Path, *, size: int = 64, factor_sizes: Sequence[int] = (10, 10, 10, 8, 4, 15)) -> Splits:
    """A coloured object in a coloured room, rendered: a stand-in with the factor structure of 3D Shapes.

    3 x size x size. `factor_sizes` counts the values of floor, wall and object hue (around the colour circle),
    scale (0.5 to 1), shape (cube, cylinder, sphere, capsule) and orientation (the camera's, -30 to 30 degrees).
    """
    require_settings("scenes3d", size, factor_sizes, NAMES, SHAPES)
    causes = [Path(__file__).read_text(encoding="utf-8")]
    return rendered(
        "scenes3d", NAMES, factor_sizes, (3, size, size), causes, lambda: drawer(size, factor_sizes)
    ).splits()


def drawer(size: int, factor_sizes: Sequence[int]) -> Draw:
    """A function that draws scenes from the indices of their factors: light, which is traced once, times colours."""
    colours = [hues(n) for n in factor_sizes[:3]]
    light = traced(size, *factor_sizes[3:])

    def draw(factors: Factors) -> UInt8[np.ndarray, "m 3 size size"]:
        maps = light[tuple(factors[:, 3:].T)]
        images = np.full((len(factors), 3, size, size), 0.5, np.float32)
        for material, colour in enumerate(colours):
            images += maps[:, material, None] * colour[factors[:, material]][:, :, None, None]
        return images.astype(np.uint8)

    return draw


def hues(n: int) -> Float32[np.ndarray, "n 3"]:
    """n saturated colours evenly around the circle, red first, 0..255."""
    return np.array([colorsys.hsv_to_rgb(i / n, 1, 255) for i in range(n)], np.float32)


def traced(size: int, scales: int, shapes: int, orientations: int) -> Float32[np.ndarray, "s k o 3 size size"]:
    """The light of each material in each pixel, 0..1: the share it covers times its mean brightness."""
    light = np.empty((scales, shapes, orientations, 3, size, size), np.float32)
    for o, degrees in enumerate(spread(-30, 30, orientations)):
        camera, rays = view(size, np.radians(degrees))
        room, normals, material = background(camera, rays)
        for s, scale in enumerate(spread(0.5, 1, scales)):
            for k in range(shapes):
                solid = object_of(SHAPES[k], scale)
                brightness = lambert(normals, ~np.isfinite(trace(solid, room, TO_LIGHT[None])))
                t = trace(solid, camera[None], rays)
                seen = np.isfinite(t)
                brightness[seen] = lambert(gradient(solid, camera + t[seen, None] * rays[seen]))
                kind = np.where(seen, OBJECT, material)
                for m in (FLOOR, WALL, OBJECT):
                    fine = np.where(kind == m, brightness, 0).reshape(size, SAMPLES, size, SAMPLES)
                    light[s, k, o, m] = fine.mean((1, 3))
    return light


def view(size: int, angle: float) -> tuple[Float64[np.ndarray, " 3"], Points]:
    """The place of the camera and the directions of its rays, row by row from the upper left. `angle` is in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    camera = np.array([DISTANCE * sin, -DISTANCE * cos, HEIGHT])
    forward = np.array([0, 0, TARGET]) - camera
    forward /= np.linalg.norm(forward)
    right = np.array([cos, sin, 0])
    across = HALF_VIEW * ((np.arange(size * SAMPLES) + 0.5) / (size * SAMPLES) * 2 - 1)
    rays = forward + across[None, :, None] * right - across[:, None, None] * np.cross(right, forward)
    rays = rays.reshape(-1, 3)
    return camera, rays / np.linalg.norm(rays, axis=1, keepdims=True)


def background(camera: Float64[np.ndarray, " 3"], rays: Points) -> tuple[Points, Points, Int64[np.ndarray, " n"]]:
    """The points where rays meet the empty room, the normals there, and the materials."""
    slope = np.sqrt(0.5)
    inward = np.array([[0, 0, 1], [slope, -slope, 0], [-slope, -slope, 0]])  # floor, left wall, right wall
    offset = np.array([0, -CORNER * slope, -CORNER * slope])
    towards = rays @ inward.T
    t = np.where(towards < 0, (offset - inward @ camera) / np.minimum(towards, -1e-9), np.inf)
    nearest = t.argmin(1)
    points = camera + t.min(1)[:, None] * rays
    return points, inward[nearest], np.where(nearest == 0, FLOOR, WALL)


def lambert(normals: Points, lit: Bool[np.ndarray, " n"] | bool = True) -> Float64[np.ndarray, " n"]:
    """The brightness 0..1 of surfaces with these normals. Only the ambient share of the light reaches shadows."""
    return AMBIENT + (1 - AMBIENT) * np.maximum(normals @ TO_LIGHT, 0) * lit


def object_of(shape: str, scale: float) -> Distance:
    """The signed distance from an object that stands on the floor and on the axis; negative inside."""

    def cube(p: Points) -> Float64[np.ndarray, " n"]:
        return outside(np.abs(p - [0, 0, 0.75 * scale]) - 0.75 * scale)

    def cylinder(p: Points) -> Float64[np.ndarray, " n"]:
        radial = np.hypot(p[:, 0], p[:, 1]) - 0.75 * scale
        return outside(np.stack([radial, np.abs(p[:, 2] - 0.9 * scale) - 0.9 * scale], 1))

    def sphere(p: Points) -> Float64[np.ndarray, " n"]:
        return np.linalg.norm(p - [0, 0, 0.9 * scale], axis=1) - 0.9 * scale

    def capsule(p: Points) -> Float64[np.ndarray, " n"]:
        above = p[:, 2] - np.clip(p[:, 2], 0.55 * scale, 1.65 * scale)
        return np.sqrt(p[:, 0] ** 2 + p[:, 1] ** 2 + above**2) - 0.55 * scale

    return {"cube": cube, "cylinder": cylinder, "sphere": sphere, "capsule": capsule}[shape]


def outside(excess: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, " n"]:
    """The signed distance from a box, given the excess of a point beyond the box along each axis."""
    return np.linalg.norm(np.maximum(excess, 0), axis=1) + np.minimum(excess.max(1), 0)


def trace(
    distance: Distance, origins: Float64[np.ndarray, "#n 3"], rays: Float64[np.ndarray, "#n 3"]
) -> Float64[np.ndarray, " n"]:
    """The distance along unit rays to an object, infinity if they miss it. Sphere tracing, Hart 1996."""
    origins, rays = np.broadcast_arrays(origins, rays)
    closest = origins + np.sum((MIDDLE - origins) * rays, axis=1, keepdims=True) * rays
    near = np.sum((closest - MIDDLE) ** 2, axis=1) < BOUND**2
    o, d = origins[near], rays[near]
    t = np.zeros(len(o))
    for _ in range(STEPS):
        t += distance(o + t[:, None] * d)
    far = np.full(len(origins), np.inf)
    far[near] = np.where(distance(o + t[:, None] * d) < TOUCH, t, np.inf)
    return far


def gradient(distance: Distance, points: Points) -> Points:
    """The unit normals of an object at points on its surface, by central differences."""
    steps = TOUCH * np.eye(3)
    normals = np.stack([distance(points + step) - distance(points - step) for step in steps], axis=1)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)
