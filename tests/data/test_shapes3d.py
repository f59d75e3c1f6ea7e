"""3D Shapes: each image has its factors, channels first, and is read once, by whole chunks; faults are sentences."""

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from lvm_bench.data import shapes3d
from lvm_bench.data.images import load
from lvm_bench.disk import cache_folder
from lvm_bench.errors import UserError

Release = Callable[[str, Sequence[bytes]], Path]
SIZES = (2, 2, 2, 3, 2, 3)
N = math.prod(SIZES)
FACTORS = np.stack(np.unravel_index(np.arange(N), SIZES), axis=1)
RANGES = ((0, 0.9), (0, 0.9), (0, 0.9), (0.75, 1.25), (0, 3), (-30, 30))
LABELS = np.stack([np.linspace(*ends, size)[f] for ends, size, f in zip(RANGES, SIZES, FACTORS.T, strict=True)], axis=1)
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 64, 64, 3), np.uint8)
CHUNK = 7  # images; a chunk of the official file also holds only a part of each


def archive(arrays: dict[str, Any], chunk: int | None = CHUNK) -> bytes:
    """A file in the official format: two arrays in compressed chunks, contiguous if `chunk` is None."""
    out = io.BytesIO()
    with h5py.File(out, "w") as content:
        for name, array in arrays.items():
            split = {} if chunk is None else {"chunks": (chunk, *array.shape[1:-1], 1), "compression": "gzip"}
            content.create_dataset(name, data=array, **split)
    return out.getvalue()


def official(**changed: np.ndarray) -> dict[str, np.ndarray]:
    return {"images": IMAGES, "labels": LABELS} | changed


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def root(release: Release) -> Path:
    return release("shapes3d", [archive(official())])


@pytest.mark.parametrize("chunk", [CHUNK, N, None])
def test_every_image_is_found_by_its_factors(release: Release, chunk: int | None) -> None:
    grid = load("shapes3d", release("shapes3d", [archive(official(), chunk)]), options={}).grid
    assert grid is not None
    assert grid.names == ("floor hue", "wall hue", "object hue", "scale", "shape", "orientation")
    assert grid.sizes == SIZES
    np.testing.assert_array_equal(grid.at(FACTORS), IMAGES.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(grid.pixels, grid.at(grid.factors()))
    assert grid.pixels.shape == (N, 3, 64, 64)
    assert (grid.order != np.arange(N)).any()


def test_the_splits_are_disjoint_and_complete(root: Path) -> None:
    data = load("shapes3d", root, options={})
    parts = [data.train, data.validation, data.test]
    assert [len(part) for part in parts] == [N - N // 6, N // 12, N // 12]
    together = {image.tobytes() for part in parts for image in part.pixels}
    assert together == {image.tobytes() for image in IMAGES.transpose(0, 3, 1, 2)}
    assert len(together) == N
    assert data.value_range == (0, 1)
    assert data.train.labels is None


def test_the_array_is_made_once_and_memory_mapped(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load("shapes3d", root, options={})
    assert isinstance(first.train.pixels, np.memmap)
    assert len(list((cache_folder() / "shapes3d").glob("*.npy"))) == 1

    def again(*arguments: object) -> None:
        raise AssertionError("the images were unpacked again")

    monkeypatch.setattr(shapes3d, "_images", again)
    assert load("shapes3d", root, options={}).fingerprint == first.fingerprint


@pytest.mark.parametrize(("block", "step"), [(25, 21), (3, 7)])
def test_images_are_read_by_whole_chunks_near_a_block(
    root: Path, monkeypatch: pytest.MonkeyPatch, block: int, step: int
) -> None:
    slices: list[tuple[int, int]] = []
    read = h5py.Dataset.__getitem__

    def noting(array: h5py.Dataset, which: slice) -> np.ndarray:
        if array.name == "/images":
            slices.append((which.start, which.stop))
        return read(array, which)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", noting)
    monkeypatch.setattr(shapes3d, "BLOCK", block)
    grid = load("shapes3d", root, options={}).grid
    assert slices == [(start, start + step) for start in range(0, N, step)]
    assert grid is not None
    np.testing.assert_array_equal(grid.at(FACTORS), IMAGES.transpose(0, 3, 1, 2))


def test_a_missing_file_names_its_address_and_sha256(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"3dshapes.h5 is missing: .*fetch shapes3d`, .*googleapis.com/3d-shapes/.*sha256 0a0f6ed98baff"
    ):
        load("shapes3d", tmp_path, options={})


def test_a_damaged_file_is_named(root: Path) -> None:
    file = root / shapes3d.FILE.path
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"3dshapes.h5: its sha256 .* damaged .*`lvm-bench data fetch shapes3d`"):
        load("shapes3d", root, options={})


def labels(column: int, row: int | slice, value: float) -> np.ndarray:
    """The labels with one value or one column changed."""
    result = LABELS.copy()
    result[row, column] = value
    return result


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"images": IMAGES}, "no array 'labels', only: images"),
        ({"labels": LABELS}, "no array 'images', only: labels"),
        (official(images=IMAGES.astype(np.float32)), r"images are float32 \(144, 64, 64, 3\), not uint8"),
        (official(images=IMAGES[..., 0]), r"images are uint8 \(144, 64, 64\), not uint8 \(144, 64, 64, 3\)"),
        (official(images=IMAGES[:-1]), r"images are uint8 \(143, 64, 64, 3\), not uint8 \(144, 64, 64, 3\)"),
        (official(labels=FACTORS), r"labels are int64 \(144, 6\), not floats \(n, 6\)"),
        (official(labels=LABELS[:, 1:]), r"labels are float64 \(144, 5\), not floats \(n, 6\)"),
        (official(labels=LABELS[:-1]), r"143 factors are not every combination of \(2, 2, 2, 3, 2, 3\)"),
        (official(labels=LABELS[np.r_[1, 0, 2:N]]), "144 factors are not every combination"),
        (official(labels=labels(5, 0, 1.5)), r"not every combination of \(2, 2, 2, 3, 2, 4\)"),
        (official(labels=labels(5, 0, np.nan)), "are not every combination"),
        (official(labels=labels(3, slice(None), 1.0)), "factor 'scale' has fewer than two values"),
    ],
)
def test_a_file_with_other_content_is_a_sentence(arrays: dict[str, Any], sentence: str, release: Release) -> None:
    root = release("shapes3d", [archive(arrays)])
    with pytest.raises(
        UserError, match=rf"3dshapes.h5: .*{sentence}.*: delete it and run `lvm-bench data fetch shapes3d`"
    ):
        load("shapes3d", root, options={})
    assert list(cache_folder().rglob("*.npy")) == []


def test_a_group_in_place_of_an_array_is_a_sentence(release: Release) -> None:
    out = io.BytesIO()
    with h5py.File(out, "w") as content:
        content.create_group("labels")
    with pytest.raises(UserError, match="no array 'labels'"):
        load("shapes3d", release("shapes3d", [out.getvalue()]), options={})


@pytest.mark.parametrize("kept", [0.5, 0.0])
def test_a_truncated_file_is_a_sentence(release: Release, kept: float) -> None:
    content = archive(official())
    root = release("shapes3d", [content[: int(kept * len(content))]])
    with pytest.raises(UserError, match=r"3dshapes.h5: it cannot be read \(.*fetch shapes3d`"):
        load("shapes3d", root, options={})


def test_damage_inside_a_compressed_chunk_is_a_sentence(release: Release) -> None:
    content = bytearray(archive(official()))
    middle = len(content) // 2
    content[middle : middle + 50_000] = bytes(50_000)
    with pytest.raises(UserError, match=r"3dshapes.h5: it cannot be read \(.*fetch shapes3d`"):
        load("shapes3d", release("shapes3d", [bytes(content)]), options={})
    assert list(cache_folder().rglob("*.npy")) == []
