"""Scenes: light equals known answers and plain ray marching, colours add up, every factor is visible."""

import colorsys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lvm_bench.data import scenes3d
from lvm_bench.data.images import Data, load
from lvm_bench.data.scenes3d import AMBIENT, FLOOR, OBJECT, SHAPES, TO_LIGHT, WALL
from lvm_bench.disk import cache_folder
from lvm_bench.errors import UserError

SIZES = (3, 4, 5, 2, 4, 3)
NAMES = ("floor hue", "wall hue", "object hue", "scale", "shape", "orientation")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache_folder()


@pytest.fixture(scope="module")
def light() -> np.ndarray:
    """[scale shape orientation material h w]"""
    return scenes3d.traced(24, *SIZES[3:])


@pytest.fixture(scope="module")
def draw() -> Callable[..., np.ndarray]:
    drawer = scenes3d.drawer(24, SIZES)
    return lambda *factors: drawer(np.array([factors]))[0]


def small(**options: object) -> Data:
    return load("scenes3d", Path(), options={"size": 16, "factor_sizes": (2, 2, 2, 2, 2, 2)} | options)


INSIDE = {
    "cube": lambda x, y, z: (abs(x) < 0.75) & (abs(y) < 0.75) & (z > 0) & (z < 1.5),
    "cylinder": lambda x, y, z: (x**2 + y**2 < 0.75**2) & (z > 0) & (z < 1.8),
    "sphere": lambda x, y, z: x**2 + y**2 + (z - 0.9) ** 2 < 0.9**2,
    "capsule": lambda x, y, z: x**2 + y**2 + np.where(z < 0.55, z - 0.55, np.maximum(z - 1.65, 0)) ** 2 < 0.55**2,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_rays_meet_an_object_where_small_steps_do(shape: str, scale: float) -> None:
    camera, rays = scenes3d.view(10, 0.4)
    along = np.arange(3.5, 8, 0.005)
    points = camera + along[:, None, None] * rays
    inside = INSIDE[shape](*np.moveaxis(points / scale, -1, 0))
    expected = np.where(inside.any(0), along[inside.argmax(0)], np.inf)
    found = scenes3d.trace(scenes3d.object_of(shape, scale), camera[None], rays)
    assert np.isfinite(expected).sum() > 10
    assert (np.isfinite(found) != np.isfinite(expected)).sum() <= 2  # rays that graze it
    both = np.isfinite(found) & np.isfinite(expected)
    # At a grazing angle a ray touches too early, by more than TOUCH.
    assert np.quantile(np.abs(found[both] - expected[both]), 0.95) < 0.01


@pytest.mark.parametrize("shape", SHAPES)
def test_every_object_lies_in_the_sphere_that_rays_are_tried_against(shape: str) -> None:
    points = np.random.default_rng(0).uniform([-2, -2, 0], [2, 2, 4], (20_000, 3))
    inside = points[INSIDE[shape](*points.T)]
    assert len(inside) > 100
    assert np.linalg.norm(inside - scenes3d.MIDDLE, axis=1).max() < scenes3d.BOUND
    assert (scenes3d.object_of(shape, 1.0)(inside) < 0).all()


@pytest.mark.parametrize(
    ("shape", "point", "normal"),
    [
        ("cube", (0.75, 0.1, 0.6), (1, 0, 0)),
        ("cylinder", (0.2, 0.3, 1.8), (0, 0, 1)),
        ("cylinder", (0.45, -0.6, 0.9), (0.6, -0.8, 0)),
        ("sphere", (0.54, 0.72, 0.9), (0.6, 0.8, 0)),
        ("capsule", (0, 0, 2.2), (0, 0, 1)),
        ("capsule", (0, -0.55, 1.0), (0, -1, 0)),
    ],
)
def test_normals_point_outwards(
    shape: str, point: tuple[float, float, float], normal: tuple[float, float, float]
) -> None:
    found = scenes3d.gradient(scenes3d.object_of(shape, 1.0), np.array([point], np.float64))
    np.testing.assert_allclose(found, [normal], atol=1e-5)


def test_every_pixel_is_covered_and_none_too_bright(light: np.ndarray) -> None:
    total = light.sum(3)
    assert total.min() >= AMBIENT - 1e-6
    assert total.max() <= 1
    assert (light[:, :, :, FLOOR, 0] == 0).all()
    assert (light[:, :, :, WALL, -1] == 0).all()


def test_brightness_is_lamberts(light: np.ndarray) -> None:
    def lit(x: float, y: float, z: float) -> float:
        return AMBIENT + (1 - AMBIENT) * float(TO_LIGHT @ (x, y, z))

    slope = np.sqrt(0.5)
    left, right = lit(slope, -slope, 0), lit(-slope, -slope, 0)
    for picture in light.reshape(-1, 3, 24, 24):
        assert picture[FLOOR, -1, 0] == pytest.approx(lit(0, 0, 1))
        assert picture[WALL, 0, 0] == pytest.approx(left)
        assert picture[WALL, 0, -1] == pytest.approx(right)
    cube = light[1, 0, 1, OBJECT]
    assert cube[16, 12] == pytest.approx(lit(0, -1, 0), rel=1e-4)  # its front
    # The cast shadow is on the floor, and only the ambient light reaches it.
    floor = light[1, 0, 2, FLOOR]
    assert np.isclose(floor, AMBIENT).sum() >= 5


def test_the_camera_turned_the_other_way_sees_the_mirrored_room(light: np.ndarray) -> None:
    # Not its light: that comes from the left.
    seen = light > 0
    np.testing.assert_array_equal(seen[:, :, 0], seen[:, :, 2, :, :, ::-1])
    np.testing.assert_array_equal(seen[:, :, 1], seen[:, :, 1, :, :, ::-1])
    assert not np.allclose(light[:, :, 0], light[:, :, 2, :, :, ::-1])


def test_an_image_is_the_sum_of_light_times_colour(light: np.ndarray, draw: Callable[..., np.ndarray]) -> None:
    colours = [np.array(colorsys.hsv_to_rgb(i / n, 1, 1)) for i, n in zip((2, 3, 1), SIZES[:3], strict=True)]
    expected = 255 * np.einsum("mhw,mc->chw", light[1, 2, 0].astype(np.float64), np.stack(colours))
    assert np.abs(draw(2, 3, 1, 1, 2, 0) - expected).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("material", [FLOOR, WALL, OBJECT])
def test_a_hue_changes_its_material_alone(material: int, light: np.ndarray, draw: Callable[..., np.ndarray]) -> None:
    base = [0, 0, 0, 1, 3, 2]
    other = base.copy()
    other[material] = 1
    changed = (draw(*base) != draw(*other)).any(0)
    shares = light[1, 3, 2]
    np.testing.assert_array_equal(changed, shares[material] > 0)
    pure = (shares[material] > 0) & (np.delete(shares, material, 0) == 0).all(0)
    assert pure.sum() > 20
    for pixel in draw(*other)[:, pure].T:
        assert colorsys.rgb_to_hsv(*pixel.tolist())[0] == pytest.approx(1 / SIZES[material], abs=0.01)


def test_no_two_combinations_look_alike() -> None:
    combinations = np.stack(np.unravel_index(np.arange(np.prod(SIZES)), SIZES), 1)
    images = scenes3d.drawer(16, SIZES)(combinations)
    assert len({image.tobytes() for image in images}) == len(combinations)


@pytest.mark.parametrize("sizes", [(1, 1, 1, 8, 4, 1), (1, 1, 1, 1, 4, 15)])
def test_every_scale_and_orientation_of_the_full_grid_gives_another_image(sizes: tuple[int, ...]) -> None:
    combinations = np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), 1)
    images = scenes3d.drawer(16, sizes)(combinations)
    assert len({image.tobytes() for image in images}) == len(combinations)


def test_the_grid_holds_every_combination() -> None:
    data = small()
    grid = data.grid
    assert grid is not None
    assert (grid.names, grid.sizes) == (NAMES, (2,) * 6)
    assert (len(data.train), len(data.validation), len(data.test)) == (54, 5, 5)
    combinations = np.stack(np.unravel_index(np.arange(64), grid.sizes), 1)
    np.testing.assert_array_equal(grid.at(combinations), scenes3d.drawer(16, grid.sizes)(combinations))


def test_the_array_is_drawn_once_and_mapped(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = small()
    with monkeypatch.context() as patch:
        patch.setattr(scenes3d, "drawer", lambda *_: pytest.fail("drawn again"))
        again = small()
    assert again.fingerprint == first.fingerprint
    assert isinstance(again.train.pixels, np.memmap)
    (file,) = (cache / "scenes3d").glob("*.npy")
    file.unlink()
    assert small().fingerprint == first.fingerprint


def test_a_single_orientation_is_straight_ahead() -> None:
    np.testing.assert_array_equal(scenes3d.traced(16, 2, 1, 1), scenes3d.traced(16, 2, 1, 3)[:, :, [1]])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": 8}, r"'scenes3d' has size = 8, too few .*Choose 16 to 1,024"),
        ({"factor_sizes": (10, 10)}, r"factor_sizes = \[10, 10\]. Give 6 numbers.*floor hue, wall hue"),
        ({"factor_sizes": (2, 2, -1, 2, 2, 2)}, r"Give 6 numbers, each 1 or more"),
        ({"factor_sizes": (2, 2, 2, 2, 5, 2)}, r"asks for 5 shapes. There are 4: cube, cylinder, sphere, capsule"),
        ({"factor_sizes": (1, 1, 1, 1, 4, 2)}, r"a grid of 8 images. Raise them to 12 images or more"),
    ],
)
def test_wrong_settings_are_sentences(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        small(**options)
