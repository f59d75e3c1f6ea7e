"""CelebA-HQ: repacks in folders and archives, the split by name, two filters, the checksum that is told."""

import io
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from lvm_bench.data import celeba_hq
from lvm_bench.data.images import Data, load
from lvm_bench.errors import UserError

N = 12


@pytest.fixture(autouse=True)
def _small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, value in (("TRAIN", 9), ("TEST", 3), ("SIZE", 8)):
        monkeypatch.setattr(celeba_hq, name, value)


def painted(number: int, size: int = 32) -> np.ndarray:
    """An image [h w c] whose level tells its number."""
    noise = np.random.default_rng(number).integers(0, 20, (size, size, 3))
    return (noise + 19 * number).astype(np.uint8)


def as_file(number: int, kind: str) -> bytes:
    out = io.BytesIO()
    pixels = painted(number)
    if kind == "npy":
        np.save(out, pixels.transpose(2, 0, 1)[None])  # as the official tool wrote them
    elif kind == "hwc.npy":
        np.save(out, pixels)
    else:
        PIL.Image.fromarray(pixels).save(out, {"jpg": "JPEG", "png": "PNG"}[kind], quality=95)
    return out.getvalue()


def put(place: Path, kind: str, **more: bytes) -> None:
    """The images as a folder, or as a zip with a folder in it; further files by name."""
    files = {f"{number:05}.{kind}": as_file(number, kind) for number in reversed(range(N))} | more
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.suffix == ".zip":
        with zipfile.ZipFile(place, "w") as archive:
            for name, content in files.items():
                archive.writestr(name if "/" in name else f"data/{name}", content)
    else:
        for name, content in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)


def read(root: Path, **options: str) -> Data:
    return load("celeba-hq", root, options=options, validation_images=2)


def parts(data: Data) -> np.ndarray:
    return np.concatenate([data.train.pixels, data.validation.pixels, data.test.pixels])


@pytest.mark.parametrize("home", ["celeba-hq", "celeba-hq.zip"])
@pytest.mark.parametrize("kind", ["jpg", "png", "npy", "hwc.npy"])
def test_repacks_are_read_resized_and_split_by_name(home: str, kind: str, tmp_path: Path) -> None:
    put(tmp_path / home, kind, **{"readme.txt": b"no image", "__MACOSX/._00001.jpg": b"none"})
    data = read(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (7, 2, 3)
    assert data.value_range == (-1, 1)
    assert data.train.labels is None
    assert len(parts(data)) == N
    for number, pixels in enumerate(parts(data)):
        expected = PIL.Image.fromarray(painted(number)).resize((8, 8), PIL.Image.Resampling.LANCZOS)
        error = np.abs(pixels.astype(int) - np.asarray(expected).transpose(2, 0, 1)).max()
        assert error <= (8 if kind == "jpg" else 0)


def test_box_means_blocks_and_images_of_that_size_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "celeba-hq", "png")
    boxed = parts(read(tmp_path, resampling="box"))
    blocks = painted(3).reshape(8, 4, 8, 4, 3).mean((1, 3)).transpose(2, 0, 1)
    assert np.abs(boxed[3] - blocks).max() <= 1  # Pillow rounds after each of two passes
    assert not np.array_equal(boxed, parts(read(tmp_path)))
    monkeypatch.setattr(celeba_hq, "SIZE", 32)
    np.testing.assert_array_equal(parts(read(tmp_path))[5], painted(5).transpose(2, 0, 1))


def test_the_checksum_is_told_and_images_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "celeba-hq", "png")
    put(tmp_path / "other" / "faces.zip", "png")
    folder, archive = read(tmp_path), read(tmp_path, path="other/faces.zip")
    told = [data.notes[0].removesuffix(".").split()[-1] for data in (folder, archive)]
    assert told[0] == told[1], "of the same files"
    assert f"{tmp_path / 'celeba-hq'}: 12 images, sha256 of their names and files" in folder.notes[0]

    def again(*_: object) -> None:
        raise AssertionError("the images were made again")

    monkeypatch.setattr(celeba_hq, "_fill", again)
    assert read(tmp_path).fingerprint == folder.fingerprint
    (tmp_path / "celeba-hq" / "00004.png").write_bytes(as_file(5, "png"))
    with pytest.raises(AssertionError, match="again"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"00012.png": as_file(0, "png")}, r"holds 13 images .* and CelebA-HQ has 12\. Set path"),
        ({"00004.png": b"no picture"}, r"00004\.png: cannot be used as an image \(cannot identify"),
        ({"00004.png": as_file(0, "png")[:200]}, r"00004\.png: cannot be used as an image"),
    ],
)
@pytest.mark.parametrize("home", ["celeba-hq", "celeba-hq.zip"])
def test_what_is_no_repack_is_a_sentence(home: str, more: dict[str, bytes], reason: str, tmp_path: Path) -> None:
    put(tmp_path / home, "png", **more)
    with pytest.raises(UserError, match=reason):
        read(tmp_path)


@pytest.mark.parametrize(
    "array", [np.zeros((8, 8), np.uint8), np.zeros((3, 8, 8)), np.zeros((3, 8, 9), np.uint8), np.array([{}, None])]
)
def test_arrays_that_are_no_square_image_are_named(array: np.ndarray, tmp_path: Path) -> None:
    put(tmp_path / "celeba-hq", "npy")
    np.save(tmp_path / "celeba-hq" / "00004.npy", array)
    with pytest.raises(UserError, match=r"00004\.npy: cannot be used as an image"):
        read(tmp_path)


def test_missing_images_and_a_damaged_archive_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"celeba-hq is missing: put a folder or a \.zip of CelebA-HQ's 12 images"):
        read(tmp_path)
    (tmp_path / "celeba-hq.zip").write_bytes(b"PK no archive")
    with pytest.raises(UserError, match=r"celeba-hq\.zip: cannot be read as a zip archive"):
        read(tmp_path)


def test_made_up_images_have_its_shape_and_splits() -> None:
    data = load("celeba-hq", Path(), options={}, validation_images=2, made_up=True)
    assert [part.pixels.shape for part in (data.train, data.validation, data.test)] == [
        (7, 3, 8, 8), (2, 3, 8, 8), (3, 3, 8, 8),
    ]  # fmt: skip
