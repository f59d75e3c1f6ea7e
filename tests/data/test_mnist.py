"""MNIST and Fashion-MNIST: the official order, splits, padding and numbers; damage is named."""

import gzip
import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

from lvm_bench.data import mnist
from lvm_bench.data.files import fetch, inventory
from lvm_bench.data.images import load
from lvm_bench.errors import UserError
from lvm_bench.registry import DATASETS

Release = Callable[[str, Sequence[bytes]], Path]


def idx(array: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes, as the official ones are written, gzipped."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0)


def arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0).integers
    return draw(0, 256, (12, 28, 28)), draw(0, 10, 12), draw(0, 256, (5, 28, 28)), draw(0, 10, 5)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_a_small_release_is_padded_and_split_in_file_order(
    name: str, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnist, "VALIDATION", 3)
    images, labels, test_images, test_labels = arrays()
    root = release(name, [idx(array) for array in arrays()])
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    split = load(name, root, options={})
    for part, pixels, numbers in [
        (split.train, images[:9], labels[:9]),
        (split.validation, images[9:], labels[9:]),
        (split.test, test_images, test_labels),
    ]:
        assert part.pixels.shape == (len(pixels), 1, 32, 32)
        np.testing.assert_array_equal(part.pixels[:, 0, 2:-2, 2:-2], pixels)
        assert part.pixels.sum() == pixels.sum()  # the padding is zero
        np.testing.assert_array_equal(part.labels, numbers)
    assert split.value_range == (0, 1)
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*")}


def test_idx_agrees_with_torchvisions_reader(tmp_path: Path) -> None:
    array = np.random.default_rng(1).integers(0, 256, (3, 5, 7))
    (tmp_path / "a.gz").write_bytes(idx(array))
    (tmp_path / "a").write_bytes(gzip.decompress(idx(array)))
    theirs = read_sn3_pascalvincent_tensor(str(tmp_path / "a"))
    assert torch.equal(torch.from_numpy(mnist.read_idx(tmp_path / "a.gz").copy()), theirs)


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("damage", [lambda b: b[:-20], lambda b: b[:30] + bytes([b[30] ^ 1]) + b[31:]])
def test_a_damaged_file_is_named_with_what_to_do(
    release: Release, which: int, damage: Callable[[bytes], bytes]
) -> None:
    root = release("mnist", [idx(array) for array in arrays()])
    file = root / "mnist/MNIST/raw" / mnist.NAMES[which]
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UserError, match=rf"{mnist.NAMES[which]}: its sha256 is .*`lvm-bench data fetch mnist`"):
        load("mnist", root, options={})


def test_missing_files_are_named_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        load("fashion-mnist", tmp_path, options={})
    (told,) = str(error.value).splitlines()
    for name in mnist.NAMES:
        assert str(tmp_path / "fashion-mnist/FashionMNIST/raw" / name) in told
    assert told.count("sha256 ") == 4
    assert told.count("`lvm-bench data fetch fashion-mnist`") == 1
    assert list(tmp_path.iterdir()) == []


def test_real_mnist_has_its_known_counts_labels_and_moments(real: Callable[[str], Path]) -> None:
    root = real("mnist")
    split = load("mnist", root, options={})
    assert (len(split.train), len(split.validation), len(split.test)) == (50_000, 10_000, 10_000)
    assert split.train.labels is not None
    assert split.validation.labels is not None
    assert split.test.labels is not None
    assert split.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert split.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    counts = np.bincount(np.concatenate([split.train.labels, split.validation.labels]))
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    both = np.concatenate([split.train.pixels, split.validation.pixels])[:, 0, 2:-2, 2:-2]
    histogram = np.bincount(both.ravel(), minlength=256)
    values = np.arange(256) / 255
    mean = (histogram * values).sum() / both.size
    assert mean == pytest.approx(0.1307, abs=5e-5)
    assert np.sqrt((histogram * values**2).sum() / both.size - mean**2) == pytest.approx(0.3081, abs=5e-5)
    limited = load("mnist", root, options={}, train_images=12_000, validation_images=2_000, test_images=100)
    np.testing.assert_array_equal(limited.train.pixels, split.train.pixels[:12_000])
    np.testing.assert_array_equal(limited.validation.pixels, split.validation.pixels[:2_000])
    assert limited.fingerprint != split.fingerprint


def test_real_mnist_files_have_the_md5_that_torchvision_expects(real: Callable[[str], Path]) -> None:
    from torchvision.datasets import MNIST

    folder = real("mnist") / "mnist/MNIST/raw"
    for name, md5 in MNIST.resources:
        assert hashlib.md5((folder / name).read_bytes()).hexdigest() == md5


@pytest.mark.parametrize("between", ["-", "."])
def test_unpacked_files_are_read_in_the_place_of_the_packed_ones(
    release: Release, monkeypatch: pytest.MonkeyPatch, between: str
) -> None:
    monkeypatch.setattr(mnist, "VALIDATION", 3)
    packed = [idx(array) for array in arrays()]
    root = release("mnist", packed)
    reference = load("mnist", root, options={})
    files = []
    for file, content in zip(DATASETS["mnist"].info.files, packed, strict=True):
        plain = gzip.decompress(content)
        known = {"checksum": f"sha256:{hashlib.sha256(plain).hexdigest()}", "size": len(plain)}
        unpacked = tuple(replace(each, **known) for each in file.unpacked)
        files.append(replace(file, unpacked=unpacked))
        (root / file.path).unlink()
        name = Path(file.path).stem.replace("-idx", f"{between}idx")
        (root / file.path).with_name(name).write_bytes(plain)
    monkeypatch.setattr(DATASETS["mnist"], "info", replace(DATASETS["mnist"].info, files=tuple(files)))
    assert load("mnist", root, options={}).fingerprint == reference.fingerprint
    assert [row.state for row in inventory(root) if row.owner == "mnist"] == ["present"] * 4
    fetch("mnist", root)  # nothing is left to download
    broken = (root / files[0].path).with_name(f"train-images{between}idx3-ubyte")
    broken.write_bytes(broken.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=rf"train-images{between}idx3-ubyte: its sha256 is .* Delete it and run"):
        load("mnist", root, options={})


def test_real_unpacked_mnist_has_the_declared_checksums(real: Callable[[str], Path]) -> None:
    for file in mnist.MNIST:
        plain = gzip.decompress((real("mnist") / file.path).read_bytes())
        for unpacked in file.unpacked:
            assert (unpacked.checksum, unpacked.size) == (f"sha256:{hashlib.sha256(plain).hexdigest()}", len(plain))
