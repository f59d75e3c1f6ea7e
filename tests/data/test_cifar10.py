"""CIFAR-10's binary archive: records in file order, whatever the order inside the archive."""

import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from lvm_bench.data import cifar10
from lvm_bench.data.images import load
from lvm_bench.errors import UserError

Release = Callable[[str, Sequence[bytes]], Path]


def archive(records: np.ndarray) -> bytes:
    """Four records per batch in the layout of the official archive, with its text files, in random order."""
    parts = {f"data_batch_{i}.bin": records[4 * i - 4 : 4 * i].tobytes() for i in (5, 3, 1, 2, 4)}
    parts = {"batches.meta.txt": b"airplane\n", "test_batch.bin": records[20:].tobytes(), **parts}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        folder = tarfile.TarInfo("cifar-10-batches-bin")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in parts.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture
def records() -> np.ndarray:
    draw = np.random.default_rng(0).integers
    return np.hstack([draw(0, 10, (24, 1), np.uint8), draw(0, 256, (24, 3072), np.uint8)])


def test_a_small_release_is_read_record_by_record(
    release: Release, records: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10, "VALIDATION", 5)
    split = load("cifar10", release("cifar10", [archive(records)]), options={})
    assert (len(split.train), len(split.validation), len(split.test)) == (15, 5, 4)
    parts = [split.train, split.validation, split.test]
    pixels = np.concatenate([part.pixels for part in parts])
    assert np.concatenate([part.labels for part in parts if part.labels is not None]).tolist() == records[:, 0].tolist()
    for n, c, y, x in [(0, 0, 0, 0), (7, 1, 0, 31), (14, 2, 31, 0), (15, 0, 5, 9), (23, 2, 31, 31)]:
        assert pixels[n, c, y, x] == records[n, 1 + 1024 * c + 32 * y + x]
    assert pixels.sum() == records[:, 1:].sum()
    assert split.value_range == (0, 1)


def test_a_truncated_archive_is_named_with_what_to_do(release: Release, records: np.ndarray) -> None:
    root = release("cifar10", [archive(records)])
    file = root / "cifar10/cifar-10-binary.tar.gz"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"tar.gz: its sha256 is .*truncated. .*`lvm-bench data fetch cifar10`"):
        load("cifar10", root, options={})
