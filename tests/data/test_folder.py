"""A user's image files: found, cropped, resized and labelled by folder; a broken one is named."""

import os
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
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


def paint_many(folder: Path, count: int = 12, suffix: str = "png") -> None:
    """Different pictures of one level each."""
    for number in range(count):
        paint(folder / f"{number}.{suffix}", 20 * number)


def count_of(split: Data) -> int:
    return len(levels(split))


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


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    stored = np.zeros((16, 16, 3), np.uint8)
    stored[:8, :8] = 255
    picture = PIL.Image.fromarray(stored)
    (tmp_path / "pictures").mkdir()
    for number in range(8):
        exif = PIL.Image.Exif()  # a new one for each: what writes AVIF takes the orientation out
        exif[0x112] = orientation
        picture.save(tmp_path / "pictures" / f"{number}.{suffix}", exif=exif)
    picture.getexif()[0x112] = orientation
    shown = np.asarray(PIL.ImageOps.exif_transpose(picture))[4::8, 4::8, 0] > 127  # a quarter is white: where?
    pixels = read(tmp_path, size=16).train.pixels[0, 0]
    np.testing.assert_array_equal(pixels[4::8, 4::8] > 127, shown)


def test_a_picture_with_damaged_exif_is_shown_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for number in range(8):
        PIL.Image.new("L", (8, 8), 250).save(tmp_path / "pictures" / f"{number}.jpg", exif=b"Exif\0\0II*\0\xff\xff")
    assert set(levels(read(tmp_path))) == {250}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
@pytest.mark.parametrize(("background", "level"), [("white", 255), ("black", 0), ("#808080", 128)])
def test_transparent_pixels_show_the_background_and_half_transparent_ones_a_mixture(
    tmp_path: Path, mode: str, background: str, level: int
) -> None:
    alpha = np.full((8, 8), 255, np.uint8)
    alpha[0], alpha[7] = 0, 0 if mode == "P" else 51
    picture = PIL.Image.merge("RGBA", [PIL.Image.new("L", (8, 8), 100)] * 3 + [PIL.Image.fromarray(alpha)])
    if mode == "P":
        palette = PIL.Image.fromarray((alpha == 0).astype(np.uint8))
        palette.putpalette([100] * 3 + [7, 8, 9])
        palette.info["transparency"] = 1
    (tmp_path / "pictures").mkdir()
    for number in range(8):
        (palette if mode == "P" else picture.convert(mode)).save(tmp_path / "pictures" / f"{number}.png")
    split = read(tmp_path, background=background)
    pixels = split.train.pixels[0]
    assert set(pixels[:, 0].ravel()) == {level}
    assert set(pixels[:, 1:7].ravel()) == {100}
    if mode != "P":
        np.testing.assert_allclose(pixels[:, 7], level + (100 - level) * 51 / 255, atol=1)
    assert any(f"8 of 8 images are transparent: shown on {background}" in note for note in split.notes)


def test_opaque_pictures_with_an_alpha_channel_are_as_without(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), np.uint8)
    for number, picture in enumerate(map(PIL.Image.fromarray, pixels)):
        for name, saved in (("with", picture.convert("RGBA")), ("without", picture)):
            (tmp_path / name).mkdir(exist_ok=True)
            saved.save(tmp_path / name / f"{number}.png")
    one, other = (read(tmp_path, path=name) for name in ("with", "without"))
    assert one.fingerprint == other.fingerprint
    assert one.notes == ()


def test_hidden_files_and_folders_of_systems_are_left_out(tmp_path: Path) -> None:
    for name in "ab":
        paint_many(tmp_path / "pictures" / name, 6)
    for hidden in (
        ".ipynb_checkpoints/0.png",
        "a/.Trash-1000/deep/0.png",
        "a/._0.png",
        "@eaDir/0.png",
        "__MACOSX/0.png",
    ):
        paint(tmp_path / "pictures" / hidden, 200)
    split = read(tmp_path)
    assert count_of(split) == 12
    assert split.train.labels is not None
    assert {*split.train.labels} == {0, 1}
    (tmp_path / ".hidden").mkdir()
    paint_many(tmp_path / ".hidden" / "pictures")
    assert count_of(read(tmp_path / ".hidden")) == 12  # the folder that was asked for


@pytest.mark.parametrize("kind", ["heic", "ppm", "npy", ""])
def test_a_class_of_which_nothing_is_read_is_an_error_and_single_files_are_counted(tmp_path: Path, kind: str) -> None:
    for name in "ab":
        paint_many(tmp_path / "pictures" / name, 6)
    for number in range(3):
        (tmp_path / "pictures" / "a" / f"x{number}.{kind}".removesuffix(".")).write_bytes(b"x")
    shown = f".{kind}" if kind else "without a suffix"
    assert any(f"3 files left out, not read as images: 3 {shown}." in note for note in read(tmp_path).notes)
    (tmp_path / "pictures" / "c").mkdir()
    (tmp_path / "pictures" / "c" / f"x.{kind}".removesuffix(".")).write_bytes(b"x")
    with pytest.raises(
        UserError, match=f"pictures/c: holds 1 {shown}, none of which is read as an image, so this class"
    ):
        read(tmp_path)


def test_a_folder_that_describes_the_pictures_is_no_class(tmp_path: Path) -> None:
    for name in "ab":
        paint_many(tmp_path / "pictures" / name, 6)
    (tmp_path / "pictures" / "annotations").mkdir()
    (tmp_path / "pictures" / "annotations" / "0.xml").write_text("<x/>")
    assert any("1 file left out, not read as images: 1 .xml." in note for note in read(tmp_path).notes)


def test_a_folder_of_other_kinds_alone_names_them(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "x.heic").write_bytes(b"x")
    with pytest.raises(UserError, match=r"holds no image .* It holds 1 \.heic; convert these"):
        read(tmp_path)


@pytest.mark.parametrize("suffix", ["tif", "TIFF", "gif", "jfif", "jpe", "avif"])
def test_more_kinds_of_pictures_are_read(tmp_path: Path, suffix: str) -> None:
    paint_many(tmp_path / "pictures", 6)
    for number in range(8):
        file = tmp_path / "pictures" / f"{number}.{suffix}"
        PIL.Image.new("RGB", (8, 8), (100 + number,) * 3).save(
            file, format="JPEG" if suffix in ("jfif", "jpe") else None
        )
    split = read(tmp_path)
    assert count_of(split) == 14
    assert any(f"14 images read: 8 .{suffix.lower()}, 6 .png." in note for note in split.notes)


@pytest.mark.parametrize("suffix", ["gif", "tif", "webp", "png"])
def test_of_several_frames_the_first_is_read(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "pictures").mkdir()
    for number in range(8):
        frames = [PIL.Image.new("RGB", (8, 8), (level, level, level)) for level in (40, 200)]
        options = {"lossless": True} if suffix == "webp" else {}
        file = tmp_path / "pictures" / f"{number}.{suffix}"
        frames[0].save(file, save_all=True, append_images=frames[1:], **options)
    split = read(tmp_path)
    assert set(levels(split)) == {40}
    assert any("8 of 8 images have several frames: the first of each is read." in note for note in split.notes)


def test_linked_folders_are_followed_and_loops_are_left_out(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        paint(tmp_path / "pictures" / name / "deep" / "x.png", number)
        paint_many(tmp_path / "pictures" / name, 6)
    paint_many(tmp_path / "elsewhere" / "c", 6)
    home = tmp_path / "pictures"
    (home / "c").symlink_to(tmp_path / "elsewhere" / "c")
    split = read(tmp_path)
    assert count_of(split) == 20
    assert split.train.labels is not None
    assert {*split.train.labels} == {0, 1, 2}
    plain = split.notes
    (home / "a" / "up").symlink_to(home)
    (home / "out").symlink_to(tmp_path)
    (tmp_path / "elsewhere" / "c" / "back").symlink_to(home / "a")
    (home / "a" / "there").symlink_to(tmp_path / "elsewhere" / "c")
    notes = {*read(tmp_path).notes} - {*plain}
    (loops,) = [note for note in notes if "lead back" in note]
    assert "a/up" in loops
    assert "out" in loops


@pytest.mark.parametrize("target", ["nowhere", "itself"])
def test_a_link_that_leads_nowhere_is_named(tmp_path: Path, target: str) -> None:
    paint_many(tmp_path / "pictures" / "a")
    (tmp_path / "pictures" / "b").symlink_to(tmp_path / ("pictures/b" if target == "itself" else target))
    with pytest.raises(UserError, match=r"pictures/b: this link leads nowhere. Mend or remove it"):
        read(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    paint_many(tmp_path / "pictures" / "a")
    (tmp_path / "pictures" / "a").chmod(0)
    with pytest.raises(UserError, match=r"pictures/a: cannot be read \(Permission denied\)"):
        read(tmp_path)


def test_one_channel_is_the_grey_of_three(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    colours = np.random.default_rng(0).integers(0, 256, (8, 3))
    for number, colour in enumerate(colours):
        PIL.Image.new("RGB", (8, 8), tuple(map(int, colour))).save(tmp_path / "pictures" / f"{number}.png")
    split = read(tmp_path, channels=1)
    assert split.train.pixels.shape[1:] == (1, 8, 8)
    np.testing.assert_allclose(sorted(levels(split)), sorted(colours @ [0.299, 0.587, 0.114]), atol=0.51)


@pytest.mark.parametrize("background", ["whitish", "", "#12"])
def test_a_background_that_is_no_colour_is_a_sentence(tmp_path: Path, background: str) -> None:
    paint_many(tmp_path / "pictures")
    with pytest.raises(UserError, match=r'background = .* is no colour. Valid: a name such as "white"'):
        read(tmp_path, background=background)


def test_duplicates_on_both_sides_of_the_split_are_told(tmp_path: Path) -> None:
    paint_many(tmp_path / "pictures")
    paint_many(tmp_path / "tests", 5)
    paint(tmp_path / "tests" / "new.png", 255)
    assert read(tmp_path).notes == ()
    (note,) = read(tmp_path, test_path="tests").notes
    assert "5 test images of 6 are equal to a training image" in note
