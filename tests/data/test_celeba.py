"""CelebA: the official partition, the 140-pixel crop, LANCZOS, and an array that is made only once."""

import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from lvm_bench.data import celeba
from lvm_bench.data.images import Data, load
from lvm_bench.disk import cache_folder
from lvm_bench.errors import StorageError, UserError

Release = Callable[[str, Sequence[bytes]], Path]
PARTS = [0, 0, 0, 1, 1, 2]


def jpeg(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (218, 178, 3), np.uint8)
    pixels[39:179, 19:159] //= 2  # so that the crop has a mean of its own
    out = io.BytesIO()
    PIL.Image.fromarray(pixels).save(out, "JPEG", quality=95)
    return out.getvalue()


@pytest.fixture
def root(release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as content:
        for number in reversed(range(6)):
            content.writestr(f"img_align_celeba/{number + 1:06}.jpg", jpeg(number))
    lines = [f"{number + 1:06}.jpg {part}\n" for number, part in enumerate(PARTS)]
    return release("celeba", [out.getvalue(), "".join(lines).encode()])


def parts(split: Data) -> np.ndarray:
    return np.concatenate([split.train.pixels, split.validation.pixels, split.test.pixels])


def test_images_are_cropped_resized_and_split_by_the_partition(root: Path) -> None:
    split = load("celeba", root, options={})
    assert (len(split.train), len(split.validation), len(split.test)) == (3, 2, 1)
    assert split.train.labels is None
    assert split.value_range == (-1, 1)
    for number, pixels in enumerate(parts(split)):
        image = PIL.Image.open(io.BytesIO(jpeg(number)))
        expected = image.resize((64, 64), PIL.Image.Resampling.LANCZOS, box=(19, 39, 159, 179))
        # Resampling a box uses the pixels around it, resampling a crop does not. They agree away from the border.
        np.testing.assert_array_equal(pixels[:, 3:-3, 3:-3], np.asarray(expected).transpose(2, 0, 1)[:, 3:-3, 3:-3])
        cropped = image.crop((19, 39, 159, 179)).resize((64, 64), PIL.Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(pixels, np.asarray(cropped).transpose(2, 0, 1))


def test_the_array_is_made_once_memory_mapped_and_outside_the_data_root(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(root.rglob("*"))
    first = load("celeba", root, options={})
    assert isinstance(first.train.pixels, np.memmap)
    assert len(list((cache_folder() / "celeba").glob("*.npy"))) == 1

    def again(*arguments: object) -> None:
        raise AssertionError("the images were processed again")

    monkeypatch.setattr(celeba, "_process", again)
    assert load("celeba", root, options={}).fingerprint == first.fingerprint
    assert sorted(root.rglob("*")) == before
    monkeypatch.setattr(celeba, "CROP", 100)
    with pytest.raises(AssertionError, match="again"):
        load("celeba", root, options={})


def test_a_process_that_stops_half_way_leaves_no_array(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(celeba, "square", stop)
        with pytest.raises(KeyboardInterrupt):
            load("celeba", root, options={})
    assert list((cache_folder() / "celeba").iterdir()) == []
    assert parts(load("celeba", root, options={})).any()


def test_a_cache_that_cannot_be_written_is_a_sentence(root: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder must be")
    with pytest.raises(StorageError, match=r"cannot be written .* XDG_CACHE_HOME"):
        load("celeba", root, options={})


def test_a_damaged_partition_is_named(root: Path) -> None:
    (root / "celeba/list_eval_partition.txt").write_text("000001.jpg 0\n")
    with pytest.raises(UserError, match=r"list_eval_partition.txt: its sha256 .*`lvm-bench data fetch celeba`"):
        load("celeba", root, options={})


def test_a_missing_archive_names_the_official_page_and_md5(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"img_align_celeba.zip and .* are missing: .*md5 00d2c5bc.*CelebA.html"):
        load("celeba", tmp_path, options={})
