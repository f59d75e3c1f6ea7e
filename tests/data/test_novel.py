"""A data set with a counterpart brings the images of that one, if its files are here."""

import gzip
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from lvm_bench.data import mnist
from lvm_bench.data.images import load

PAIRS = [("mnist", "fashion-mnist"), ("fashion-mnist", "mnist")]


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0)


def files(seed: int) -> list[bytes]:
    draw = np.random.default_rng(seed).integers
    return [idx(draw(0, 256, (n, 28, 28)) if images else draw(0, 10, n)) for n in (12, 5) for images in (True, False)]


@pytest.mark.parametrize(("name", "other"), PAIRS)
def test_the_test_images_of_the_counterpart_come_with_a_data_set(
    name: str, other: str, release: Callable[[str, Sequence[bytes]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnist, "VALIDATION", 3)
    alone = load(name, release(name, files(0)), options={})
    assert alone.novel is None
    root = release(other, files(1))
    both, theirs = load(name, root, options={}, test_images=4), load(other, root, options={})
    assert both.novel is not None
    np.testing.assert_array_equal(both.novel.pixels, theirs.test.pixels[:4])
    assert load(name, root, options={}).fingerprint == alone.fingerprint


def test_other_data_sets_have_none(tmp_path: Path) -> None:
    assert load("digits", tmp_path, options={}).novel is None
