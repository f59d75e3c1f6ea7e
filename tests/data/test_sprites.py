"""Sprites: areas and places equal closed forms and polygons, every factor is visible, images are drawn once."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from lvm_bench.data import sprites
from lvm_bench.data.images import Data, load
from lvm_bench.disk import cache_folder
from lvm_bench.errors import UserError

FULL, SMALL = (3, 6, 40, 32, 32), (3, 2, 8, 4, 3)
SQUARE, ELLIPSE, HEART = range(3)
RADIUS = 15.5  # of the circle around the largest sprite of a 64-pixel image
TURNS = {SQUARE: 10, ELLIPSE: 20, HEART: 40}  # orientations of 40 that look different


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache_folder()


def small(**options: object) -> Data:
    return load("sprites", Path(), options={"size": 32, "factor_sizes": SMALL} | options)


def draw(*factors: int, smooth: bool = True) -> np.ndarray:
    """One image of the full grid, 0..1."""
    return sprites.drawer(64, FULL, smooth)(np.array([factors]))[0, 0] / 255


def centre_of_mass(image: np.ndarray) -> tuple[float, float]:
    """Along x and y, in pixels from the upper left corner."""
    y, x = np.indices(image.shape) + 0.5
    return (image * x).sum() / image.sum(), (image * y).sum() / image.sum()


def outline(shape: int, radius: float, angle: float) -> np.ndarray:
    """The corners of a polygon around the origin, y upwards."""
    turn = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    if shape == SQUARE:
        points = radius * np.exp(1j * np.pi * np.array([1, 3, 5, 7]) / 4)
    elif shape == ELLIPSE:
        points = radius * (np.cos(turn) + 0.5j * np.sin(turn))
    else:  # a unit square on its corner, with half circles on its upper sides
        bow = np.exp(1j * np.linspace(-np.pi / 2, np.pi / 2, 200)) / 2
        points = np.concatenate([[-0.5 - 0.5j], 0.5 + bow, 0.5j + 1j * bow]) * np.exp(0.25j * np.pi)
        a, b = points, np.roll(points, -1)
        cross = (a.conj() * b).imag
        points = points - ((a + b) * cross).sum() / (3 * cross.sum())
        points = points * radius / np.abs(points).max()
    points = points * np.exp(1j * angle)
    return np.stack([points.real, points.imag], 1)


def inside(polygon: Outline, at: np.ndarray) -> np.ndarray:
    """Whether a polygon contains each point of the lattice `at` x `at`, [y x]."""
    return polygon.contains_points(np.stack(np.meshgrid(at, at), -1).reshape(-1, 2)).reshape(len(at), len(at))


@pytest.mark.parametrize("shape", [SQUARE, ELLIPSE, HEART])
@pytest.mark.parametrize("scale", [0, 3, 5])
@pytest.mark.parametrize("orientation", [0, 7, 31])
def test_a_sprite_covers_what_its_outline_does(shape: int, scale: int, orientation: int) -> None:
    fine = 8
    x, y = 16 + 32 * 5 / 31, 16 + 32 * 22 / 31
    polygon = Outline(outline(shape, RADIUS * (0.5 + scale / 10), orientation * 2 * np.pi / 40) * [1, -1] + [x, y])
    at = (np.arange(64 * fine) + 0.5) / fine
    expected = inside(polygon, at).reshape(64, fine, 64, fine).mean((1, 3))
    image = draw(shape, scale, orientation, 5, 22)
    assert np.abs(image - expected).max() < 0.26  # a corner in a pixel counts as an edge: 1/2 instead of 1/4
    assert np.abs(image - expected).sum() < 0.02 * expected.sum()
    # Without smoothing a pixel is white if its centre is inside.
    np.testing.assert_array_equal(
        draw(shape, scale, orientation, 5, 22, smooth=False), inside(polygon, np.arange(64) + 0.5)
    )


@pytest.mark.parametrize(
    ("shape", "area"),
    # a square of diagonal 2, an ellipse of semi-axes 1 and 1/2, a square of side s with two half discs
    [(SQUARE, 2), (ELLIPSE, np.pi / 2), (HEART, (1 + np.pi / 4) / (2 * (0.5 + sprites.HEART_CENTROID) ** 2))],
)
def test_area_and_centre_are_those_of_the_shape(shape: int, area: float) -> None:
    for scale, orientation, x, y in [(0, 0, 0, 31), (2, 11, 31, 31), (5, 23, 0, 0), (5, 35, 31, 0), (5, 17, 17, 4)]:
        image = draw(shape, scale, orientation, x, y)
        # Also in the four corners of the picture: nothing is cut off.
        assert image.sum() == pytest.approx(area * (RADIUS * (0.5 + scale / 10)) ** 2, rel=0.01)
        expected = (16 + 32 * x / 31, 16 + 32 * y / 31)
        assert centre_of_mass(image) == pytest.approx(expected, abs=0.03)


def test_values_are_black_and_white_unless_smooth() -> None:
    factors = np.stack([np.random.default_rng(0).integers(0, n, 200) for n in FULL], 1)
    sharp, smooth = (sprites.drawer(64, FULL, way)(factors) for way in (False, True))
    assert set(np.unique(sharp)) == {0, 255}
    assert len(np.unique(smooth)) > 100
    edge = (smooth == 127) | (smooth == 128)
    np.testing.assert_array_equal(sharp[~edge] == 255, smooth[~edge] > 128)


@given(st.tuples(*(st.integers(0, n - 1) for n in FULL)), st.booleans())
def test_every_value_of_every_factor_gives_another_image(factors: tuple[int, ...], smooth: bool) -> None:
    drawer = sprites.drawer(64, FULL, smooth)
    for factor, n in enumerate(FULL):
        line = np.tile(factors, (n, 1))
        line[:, factor] = np.arange(n)
        different = {image.tobytes() for image in drawer(line)}
        assert len(different) == (TURNS[factors[0]] if factor == 2 else n)


def test_an_image_depends_on_nothing_but_its_factors() -> None:
    factors = np.stack([np.random.default_rng(1).integers(0, n, 50) for n in FULL], 1)
    drawer = sprites.drawer(64, FULL, True)
    np.testing.assert_array_equal(drawer(factors), np.concatenate([drawer(one[None]) for one in factors]))


def test_the_grid_holds_every_combination() -> None:
    data = small()
    grid = data.grid
    assert grid is not None
    assert (grid.names, grid.sizes) == (("shape", "scale", "orientation", "x", "y"), SMALL)
    assert grid.pixels.shape == (576, 1, 32, 32)
    assert (len(data.train), len(data.validation), len(data.test)) == (480, 48, 48)
    combinations = np.stack(np.unravel_index(np.arange(576), SMALL), 1)
    np.testing.assert_array_equal(grid.at(combinations), sprites.drawer(32, SMALL, False)(combinations))
    assert small(smooth=True).fingerprint != data.fingerprint


def test_what_has_one_value_is_drawn_and_is_no_factor(cache: Path) -> None:
    data = small(factor_sizes=(1, 1, 2, 12, 1))
    assert data.grid is not None
    assert (data.grid.names, data.grid.sizes) == (("orientation", "x"), (2, 12))
    image = data.grid.at(np.array([[0, 0]]))[0, 0]
    # A square of three quarters of the largest, halfway down.
    np.testing.assert_array_equal(np.flatnonzero(image.any(1)), np.arange(12, 20))
    np.testing.assert_array_equal(image, image[::-1])


def test_the_array_is_drawn_once_and_mapped(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = small()
    with monkeypatch.context() as patch:
        patch.setattr(sprites, "drawer", lambda *_: pytest.fail("drawn again"))
        again = small()
    assert again.fingerprint == first.fingerprint
    assert isinstance(again.train.pixels, np.memmap)
    assert len(list((cache / "sprites").glob("*.npy"))) == 1
    small(smooth=True)
    files = list((cache / "sprites").glob("*.npy"))
    assert len(files) == 2
    for file in files:
        file.unlink()
    assert small().fingerprint == first.fingerprint


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": 15}, r"'sprites' has size = 15, too few .*Choose 16 to 1,024"),
        ({"factor_sizes": (3, 6, 40, 32)}, r"factor_sizes = \[3, 6, 40, 32\]. Give 5 numbers.*shape, scale, orient"),
        ({"factor_sizes": ()}, r"factor_sizes = \[\]. Give 5 numbers"),
        ({"factor_sizes": (3, 6, 0, 32, 32)}, r"\[3, 6, 0, 32, 32\]. Give 5 numbers, each 1 or more"),
        ({"factor_sizes": (4, 1, 1, 4, 4)}, r"asks for 4 shapes. There are 3: square, ellipse, heart"),
        ({"factor_sizes": (1, 1, 1, 2, 5)}, r"a grid of 10 images. Raise them to 12 images or more"),
        ({"factor_sizes": (1, 1, 1, 1, 40)}, r"at least two factors two values or more"),
    ],
)
def test_wrong_settings_are_sentences(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        small(**options)
