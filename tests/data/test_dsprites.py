"""dSprites: each image has its factors, is unpacked once, in blocks, without pickles; each fault is a sentence."""

import io
import math
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lvm_bench.data import dsprites
from lvm_bench.data.images import load
from lvm_bench.disk import cache_folder
from lvm_bench.errors import UserError

Release = Callable[[str, Sequence[bytes]], Path]
NAMES = ("color", "shape", "scale", "orientation", "posX", "posY")
SIZES = (1, 2, 3, 4, 2, 3)
N = math.prod(SIZES)
CLASSES = np.stack(np.unravel_index(np.arange(N), SIZES), axis=1)
IMAGES = np.random.default_rng(0).integers(0, 2, (N, 64, 64), np.uint8)


def official() -> dict[str, np.ndarray]:
    """The arrays of a file in the official format with fewer values per factor."""
    values = [np.linspace(0, 1, size) for size in SIZES]
    metadata = {
        "date": "April 2017",
        "description": "Disentanglement test Sprites dataset.",
        "version": 1,
        "latents_names": NAMES,
        "latents_possible_values": dict(zip(NAMES, values, strict=True)),
        "latents_sizes": np.array(SIZES),
        "title": "dSprites dataset",
        "author": "somebody@example.org",
    }
    return {
        "metadata": np.array(metadata, dtype=object),
        "imgs": IMAGES,
        "latents_classes": CLASSES,
        "latents_values": np.stack([v[c] for v, c in zip(values, CLASSES.T, strict=True)], axis=1),
    }


def archive(arrays: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def root(release: Release) -> Path:
    return release("dsprites", [archive(official())])


def test_every_image_is_found_by_its_factors_and_colour_is_none(root: Path) -> None:
    grid = load("dsprites", root, options={}).grid
    assert grid is not None
    assert grid.names == ("shape", "scale", "orientation", "x", "y")
    assert grid.sizes == SIZES[1:]
    np.testing.assert_array_equal(grid.at(CLASSES[:, 1:]), 255 * IMAGES[:, None])
    np.testing.assert_array_equal(grid.pixels, grid.at(grid.factors()))
    assert grid.pixels.shape == (N, 1, 64, 64)
    assert (grid.order != np.arange(N)).any()


def test_the_splits_are_disjoint_and_complete_and_keep_0_and_1_apart(root: Path) -> None:
    data = load("dsprites", root, options={})
    parts = [data.train, data.validation, data.test]
    assert [len(part) for part in parts] == [N - N // 6, N // 12, N // 12]
    together = {image.tobytes() for part in parts for image in part.pixels}
    assert together == {image.tobytes() for image in 255 * IMAGES}
    assert len(together) == N
    assert data.value_range == (0, 1)
    assert data.train.labels is None


def test_the_array_is_made_once_and_memory_mapped(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load("dsprites", root, options={})
    assert isinstance(first.train.pixels, np.memmap)
    assert len(list((cache_folder() / "dsprites").glob("*.npy"))) == 1

    def again(*arguments: object) -> None:
        raise AssertionError("the images were unpacked again")

    monkeypatch.setattr(dsprites, "_images", again)
    assert load("dsprites", root, options={}).fingerprint == first.fingerprint


def test_another_release_or_another_order_makes_another_array(
    root: Path, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load("dsprites", root, options={})
    release("dsprites", [archive(official() | {"imgs": 1 - IMAGES})])
    inverted = load("dsprites", root, options={})
    np.testing.assert_array_equal(inverted.train.pixels, 255 - first.train.pixels)
    monkeypatch.setattr("lvm_bench.data.official.random_order", lambda n, name: np.arange(n))
    ordered = load("dsprites", root, options={}).grid
    assert ordered is not None
    np.testing.assert_array_equal(ordered.pixels, 255 * (1 - IMAGES[:, None]))


def test_no_more_than_a_block_of_images_is_read_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    read = zipfile.ZipExtFile.read

    def counting(stream: zipfile.ZipExtFile, n: int = -1) -> bytes:
        content = read(stream, n)
        if stream.name == "imgs.npy":
            reads.append(len(content))
        return content

    monkeypatch.setattr(zipfile.ZipExtFile, "read", counting)
    monkeypatch.setattr(dsprites, "BLOCK", 25)  # does not divide the number of images
    grid = load("dsprites", root, options={}).grid
    assert max(reads) == 25 * 64 * 64
    assert sum(reads) > N * 64 * 64
    assert grid is not None
    np.testing.assert_array_equal(grid.at(CLASSES[:, 1:]), 255 * IMAGES[:, None])


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("the pickle was loaded",)


def test_the_pickled_metadata_are_never_loaded(release: Release) -> None:
    root = release("dsprites", [archive(official() | {"metadata": np.array({"author": Trap()}, dtype=object)})])
    with (
        np.load(root / dsprites.FILE.path, allow_pickle=True) as content,
        pytest.raises(pytest.fail.Exception, match="was loaded"),
    ):
        content["metadata"]
    assert load("dsprites", root, options={}).grid is not None


def test_a_missing_file_names_its_address_and_md5(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"64x64.npz is missing: .*fetch dsprites`, .*/raw/fa310c6.*md5 7da33b31b13a06f4b04a70402ce90c2e",
    ):
        load("dsprites", tmp_path, options={})


def test_a_damaged_file_is_named(root: Path) -> None:
    file = root / dsprites.FILE.path
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"64x64.npz: its sha256 .* damaged .*`lvm-bench data fetch dsprites`"):
        load("dsprites", root, options={})


def without(name: str) -> dict[str, np.ndarray]:
    return {key: value for key, value in official().items() if key != name}


def classes(**changed: int) -> np.ndarray:
    """The classes, one column of which has a single value."""
    result = CLASSES.copy()
    for name, value in changed.items():
        result[:, NAMES.index(name)] = value
    return result


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        (without("imgs"), r"no array 'imgs', only: metadata, latents_classes, latents_values"),
        (without("latents_classes"), r"no array 'latents_classes', only: metadata, imgs, latents_values"),
        (official() | {"imgs": IMAGES.astype(np.float32)}, r"imgs are float32 \(144, 64, 64\), not uint8"),
        (official() | {"imgs": IMAGES[:, :32]}, r"imgs are uint8 \(144, 32, 64\), not uint8 \(144, 64, 64\)"),
        (official() | {"imgs": IMAGES[:-1]}, r"imgs are uint8 \(143, 64, 64\), not uint8 \(144, 64, 64\)"),
        (official() | {"imgs": np.asfortranarray(IMAGES)}, "not uint8 .* row-major"),
        (official() | {"imgs": 255 * IMAGES}, "value 255, not only 0 and 1"),
        (
            official() | {"latents_classes": CLASSES.astype(float)},
            r"latents_classes are float64 \(144, 6\), not integers",
        ),
        (
            official() | {"latents_classes": CLASSES[:, 1:]},
            r"latents_classes are int64 \(144, 5\), not integers \(n, 6\)",
        ),
        (official() | {"latents_classes": CLASSES[:, 0]}, r"int64 \(144,\), not integers \(n, 6\)"),
        (official() | {"latents_classes": CLASSES.astype(object)}, "cannot be read .*allow_pickle=False"),
        (official() | {"latents_classes": CLASSES[:0]}, "factor 'shape' has fewer than two values"),
        (official() | {"latents_classes": classes(scale=0)}, "factor 'scale' has fewer than two values"),
        (
            official() | {"latents_classes": CLASSES[::-1]},
            r"144 factors are not every combination of \(2, 3, 4, 2, 3\)",
        ),
        (official() | {"latents_classes": CLASSES[:-1]}, r"143 factors are not every combination"),
        (official() | {"latents_classes": CLASSES - (CLASSES == 0)}, "are not every combination"),
        (official() | {"latents_classes": CLASSES + 2**40}, "are not every combination"),
    ],
)
def test_a_file_with_other_content_is_a_sentence(arrays: dict[str, Any], sentence: str, release: Release) -> None:
    root = release("dsprites", [archive(arrays)])
    with pytest.raises(
        UserError, match=rf"64x64.npz: .*{sentence}.*: delete it and run `lvm-bench data fetch dsprites`"
    ):
        load("dsprites", root, options={})
    assert list(cache_folder().rglob("*.npy")) == []


def test_a_truncated_archive_is_a_sentence(release: Release) -> None:
    content = archive(official())
    for part in (content[: len(content) // 2], b""):
        root = release("dsprites", [part])
        with pytest.raises(UserError, match=r"cannot be read \(File is not a zip file\)"):
            load("dsprites", root, options={})


def test_an_array_that_ends_early_is_a_sentence(release: Release) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as content:
        for name, value in official().items():
            array = io.BytesIO()
            np.save(array, value, allow_pickle=True)
            content.writestr(f"{name}.npy", array.getvalue()[: -1 if name == "imgs" else None])
    with pytest.raises(UserError, match="imgs end before image 144 of 144"):
        load("dsprites", release("dsprites", [out.getvalue()]), options={})


def test_damage_inside_the_compressed_images_is_a_sentence(release: Release) -> None:
    content = bytearray(archive(official()))
    middle = content.index(b"imgs.npy") + 20_000
    content[middle : middle + 1000] = bytes(1000)
    with pytest.raises(UserError, match="cannot be read"):
        load("dsprites", release("dsprites", [bytes(content)]), options={})
    assert list(cache_folder().rglob("*.npy")) == []
