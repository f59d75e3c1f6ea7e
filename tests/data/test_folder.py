"""A user's image files: found, cropped, resized and labelled by folder; a broken one is named."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from lvm_bench.data.folder import square
from lvm_bench.data.images import Data, load
from lvm_bench.errors import UserError


def paint(file: Path, level: int, width: int = 8, height: int = 8) -> None:
    """A picture of one grey level."""
    file.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (width, height), (level, level, level)).save(file)


def read(folder: Path, **options: object) -> Data:
    return load("folder", folder, options={"path": "pictures", "size": 8, **options})


def levels(split: Data) -> list[int]:
    return [int(p[0, 0, 0]) for part in (split.train, split.validation, split.test) for p in part.pixels]


def test_pictures_of_every_kind_are_found_in_sub_folders(tmp_path: Path) -> None:
    names = ["a.png", "B.PNG", "c.bmp", "deep/er/d.png", "deep/e.webp", "f.jpg", "g.jpeg"]
    for number, name in enumerate(names):
        paint(tmp_path / "pictures" / name, 10 * number)
    (tmp_path / "pictures" / "readme.txt").write_text("no picture")
    (tmp_path / "pictures" / "folder.png").mkdir()
    split = read(tmp_path)
    assert np.abs(np.array(sorted(levels(split))) - np.arange(0, 70, 10)).max() <= 2  # JPEG and WebP round
    assert split.train.pixels.shape[1:] == (3, 8, 8)
    assert split.train.labels is None
    assert split.value_range == (0, 1)
    assert read(tmp_path).fingerprint == split.fingerprint


def test_the_topmost_sub_folder_is_the_class(tmp_path: Path) -> None:
    for number in range(24):
        paint(tmp_path / "pictures" / ["cat", "dog/small", "ant"][number % 3] / f"{number}.png", number % 3 * 50)
    split = read(tmp_path)
    for part in (split.train, split.validation, split.test):
        assert part.labels is not None
        # ant, cat, dog are 0, 1, 2 and were painted 100, 0, 50
        assert [[100, 0, 50][label] for label in part.labels] == part.pixels[:, 0, 0, 0].tolist()
    paint(tmp_path / "pictures" / "loose.png", 0)
    assert read(tmp_path).train.labels is None


def test_one_sub_folder_is_no_class(tmp_path: Path) -> None:
    for number in range(12):
        paint(tmp_path / "pictures" / "all" / f"{number}.png", number)
    assert read(tmp_path).train.labels is None


def test_test_pictures_share_the_numbers_of_the_classes(tmp_path: Path) -> None:
    for number in range(12):
        paint(tmp_path / "pictures" / "ab"[number % 2] / f"{number}.png", number % 2)
        paint(tmp_path / "tests" / "bc"[number % 2] / f"{number}.png", 1 + number % 2)
    split = read(tmp_path, test_path="tests")
    for part in (split.train, split.validation, split.test):
        assert part.labels is not None
        assert part.labels.tolist() == part.pixels[:, 0, 0, 0].tolist()
    assert len(split.test) == 12


def test_the_centre_is_cropped_before_resizing() -> None:
    pixels = np.zeros((10, 20, 3), np.uint8)
    pixels[3:7, 8:12] = np.random.default_rng(0).integers(1, 256, (4, 4, 3))
    image = PIL.Image.fromarray(pixels)
    np.testing.assert_array_equal(square(image, 4, 4), pixels[3:7, 8:12].transpose(2, 0, 1))
    np.testing.assert_array_equal(square(image, 10, 10), pixels[:, 5:15].transpose(2, 0, 1))
    np.testing.assert_array_equal(square(image.rotate(90, expand=True), 10, 10).sum(), pixels.sum())


def test_the_largest_square_is_the_default_crop(tmp_path: Path) -> None:
    for number in range(12):
        picture = np.zeros((4, 12, 3), np.uint8)
        picture[:, 4:8] = 100 + number
        (tmp_path / "pictures").mkdir(exist_ok=True)
        PIL.Image.fromarray(picture).save(tmp_path / "pictures" / f"{number}.png")
    split = read(tmp_path, size=2)
    assert split.train.pixels.shape[1:] == (3, 2, 2)
    assert split.train.pixels.min() >= 100


def test_grey_palette_and_transparent_pictures_become_rgb(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for mode in ["L", "1", "P", "RGBA", "LA", "CMYK", "RGB", "YCbCr"]:
        suffix = "jpg" if mode in ("CMYK", "YCbCr") else "png"
        PIL.Image.new("RGB", (8, 8), (250, 250, 250)).convert(mode).save(folder / f"{mode}.{suffix}")
    for level in levels(read(tmp_path)):
        assert abs(level - 250) <= 5


@pytest.mark.parametrize("content", [b"", b"not a picture", "half"])
def test_one_broken_picture_is_named(tmp_path: Path, content: bytes | str) -> None:
    for number in range(8):
        paint(tmp_path / "pictures" / f"{number}.png", number, 64, 64)
    broken = tmp_path / "pictures" / "deep" / "broken.png"
    paint(broken, 7, 64, 64)
    broken.write_bytes(broken.read_bytes()[:60] if isinstance(content, str) else content)
    with pytest.raises(UserError, match=r"deep/broken.png: cannot be used as an image .*Replace or remove it"):
        read(tmp_path)


def test_pictures_that_would_lose_their_values_or_are_too_small_are_named(tmp_path: Path) -> None:
    file = tmp_path / "pictures" / "x.png"
    paint(file, 0)
    with pytest.raises(UserError, match=r"x.png: .*8 x 8 pixels, smaller than the crop of 9"):
        read(tmp_path, crop=9)
    PIL.Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(file)
    with pytest.raises(UserError, match=r"x.png: .*more than 8 bits"):
        read(tmp_path)


@pytest.mark.parametrize("option", ["size", "crop"])
def test_a_size_or_crop_of_nothing_is_a_sentence(tmp_path: Path, option: str) -> None:
    paint(tmp_path / "pictures" / "x.png", 0)
    with pytest.raises(UserError, match=f"'folder' has {option} = 0. Choose"):
        read(tmp_path, **{option: 0})


def test_a_folder_that_is_missing_or_empty_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pictures: not a folder. Set path of the data set 'folder'"):
        read(tmp_path)
    (tmp_path / "pictures").mkdir()
    with pytest.raises(UserError, match=r"pictures: holds no image \(.*\.png"):
        read(tmp_path)
    paint(tmp_path / "pictures" / "a.png", 0)
    with pytest.raises(UserError, match=r"tests: not a folder. Set test_path"):
        read(tmp_path, test_path="tests")
