"""Splits are taken in order, limits are checked, fingerprints see every byte; digits; the whole registry."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from sklearn.datasets import load_digits

from lvm_bench.data.images import Grid, Images, Splits, dataset, fingerprint, load, own_splits, random_order
from lvm_bench.errors import UserError
from lvm_bench.registry import DATASETS, load_all
from lvm_bench.suites import bench_toml
from lvm_bench.suites.discover import extensions


def numbered(n: int, start: int = 0, labels: bool = True) -> Images:
    """n tiny images whose pixels and labels are their number."""
    numbers = np.arange(start, start + n)
    pixels = np.broadcast_to(numbers.astype(np.uint8)[:, None, None, None], (n, 1, 2, 2)).copy()
    return Images(pixels, numbers if labels else None)


@pytest.fixture
def toy() -> Iterator[str]:
    """A registered data set: 0..19 to train (no validation split unless asked for), 100..109 to test."""

    @dataset("toy", value_range=(-1, 1))
    def toy(root: Path, *, official: bool = False) -> Splits:
        """Numbers."""
        return Splits(numbered(20), numbered(10, 100), numbered(5, 50) if official else None)

    yield "toy"
    del DATASETS._entries["toy"]


def first_pixels(images: Images) -> list[int]:
    return images.pixels[:, 0, 0, 0].tolist()


def test_the_last_training_images_become_the_validation_split(toy: str, tmp_path: Path) -> None:
    split = load(toy, tmp_path, options={}, train_images=10, validation_images=4, test_images=3)
    assert first_pixels(split.train) == list(range(10))
    assert first_pixels(split.validation) == [16, 17, 18, 19]
    assert first_pixels(split.test) == [100, 101, 102]
    assert split.value_range == (-1, 1)
    for part in (split.train, split.validation, split.test):
        assert part.labels is not None
        assert part.labels.tolist() == first_pixels(part)


def test_none_takes_all_images_and_a_sixth_to_validate(toy: str, tmp_path: Path) -> None:
    split = load(toy, tmp_path, options={})
    assert (len(split.train), len(split.validation), len(split.test)) == (17, 3, 10)


def test_an_official_validation_split_leaves_the_training_images_alone(toy: str, tmp_path: Path) -> None:
    split = load(toy, tmp_path, options={"official": True}, validation_images=2)
    assert first_pixels(split.train) == list(range(20))
    assert first_pixels(split.validation) == [50, 51]


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        (
            {"train_images": 18, "validation_images": 3},
            r"17 training images, and train_images = 18. .* 1 to 17",
        ),
        ({"train_images": 0}, "train_images = 0"),
        ({"test_images": 11}, r"10 test images, and test_images = 11"),
        ({"validation_images": 20}, r"20 training images, .* validation_images = 20 .* Choose 1 to 19"),
        ({"validation_images": 0}, "validation_images = 0"),
        (
            {"options": {"official": True}, "validation_images": 6},
            r"5 validation images, .* validation_images = 6",
        ),
    ],
)
def test_more_images_than_there_are_is_a_sentence(toy: str, tmp_path: Path, limits: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=f"data set 'toy' has {sentence}" if sentence[0].isdigit() else sentence):
        load(toy, tmp_path, **{"options": {}, **limits})


def test_an_unknown_data_set_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'mnist'"):
        load("mnits", tmp_path, options={})


def test_fingerprint_sees_every_pixel_label_shape_and_split() -> None:
    def of(train: Images, test: Images) -> str:
        return fingerprint([train, test])

    base = numbered(6), numbered(3, 10)
    pixels, labels = base[0].pixels.copy(), np.arange(6)
    pixels[5, 0, 1, 1] += 1
    labels[5] += 1
    variants = [
        of(*base),
        of(Images(pixels, base[0].labels), base[1]),
        of(Images(base[0].pixels, labels), base[1]),
        of(Images(base[0].pixels), base[1]),
        of(Images(base[0].pixels.reshape(6, 1, 4, 1), base[0].labels), base[1]),
        of(Images(base[0].pixels.reshape(6, 4, 1, 1), base[0].labels), base[1]),
        of(base[0].take(slice(5)), base[1]),
        of(base[1], base[0]),
    ]
    assert len(set(variants)) == len(variants)
    assert of(*base) == of(numbered(6), numbered(3, 10))


def test_fingerprint_does_not_depend_on_memory_layout() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (11, 3, 4, 5), np.uint8)
    reordered = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert fingerprint([Images(pixels)]) == fingerprint([Images(reordered)])


def test_own_images_are_shuffled_and_split_without_overlap() -> None:
    splits = own_splits("npz", numbered(60), None)
    assert (len(splits.train), len(splits.test), splits.validation) == (50, 10, None)
    numbers = first_pixels(splits.train) + first_pixels(splits.test)
    assert sorted(numbers) == list(range(60))
    assert numbers != sorted(numbers)
    for part in (splits.train, splits.test):
        assert part.labels is not None
        assert part.labels.tolist() == first_pixels(part)
    again = own_splits("npz", numbered(60), None)
    assert first_pixels(again.train) + first_pixels(again.test) == numbers


def test_own_images_that_are_too_few_to_split_are_a_sentence() -> None:
    with pytest.raises(UserError, match=r"'npz' has 5 images, too few .* some dozens of images, or .* test_path"):
        own_splits("npz", numbered(5), None)


def test_images_that_are_too_few_to_validate_on_are_a_sentence(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=numbered(6).pixels)
    with pytest.raises(UserError, match=r"'npz' has 5 training images, too few to split a sixth off as validation"):
        load("npz", tmp_path, options={"path": "x.npz"})


def test_digits_are_all_of_scikit_learns_once_with_rounded_pixels(tmp_path: Path) -> None:
    split = load("digits", tmp_path, options={})
    assert [len(split.train), len(split.validation), len(split.test)] == [1200, 200, 397]
    assert split.train.pixels.shape[1:] == (1, 8, 8)
    values, labels = load_digits(return_X_y=True)
    expected = sorted(
        (*(int(v * 255 / 16 + 0.5) for v in image), int(k)) for image, k in zip(values, labels, strict=True)
    )
    found = []
    for part in (split.train, split.validation, split.test):
        assert part.labels is not None
        found += [(*map(int, p.ravel()), int(k)) for p, k in zip(part.pixels, part.labels, strict=True)]
        assert np.bincount(part.labels).min() >= len(part) * 0.05  # no class is left out of a split
    assert sorted(found) == expected


def test_images_refuse_arrays_of_another_kind() -> None:
    # Made with `__new__`, which avoids the shape checks of the tests.
    for pixels, labels in [
        (np.zeros((2, 1, 3, 3)), None),
        (np.zeros((2, 3, 3), np.uint8), None),
        (np.zeros((2, 1, 3, 3), np.uint8), np.zeros(3, np.int64)),
        (np.zeros((2, 1, 3, 3), np.uint8), np.zeros(2, np.int32)),
    ]:
        images = object.__new__(Images)
        object.__setattr__(images, "pixels", pixels)
        object.__setattr__(images, "labels", labels)
        with pytest.raises(ValueError, match=r"pixels are|labels are"):
            images.__post_init__()


def test_every_data_set_is_found_by_reading_and_by_importing_and_describes_itself() -> None:
    read = extensions(bench_toml.defaults_folder() / "bench.toml")["dataset"]
    assert {"digits", "mnist", "fashion-mnist", "cifar10", "celeba", "npz", "folder"} <= set(read)
    for name, entry in read.items():
        assert entry.description, name
        assert DATASETS[name].info.value_range in [(0, 1), (-1, 1)]


def test_every_file_to_download_comes_over_https_with_a_whole_checksum() -> None:
    from lvm_bench.data.files import fetchable

    load_all(extensions(bench_toml.defaults_folder() / "bench.toml")["dataset"].values())
    assert {"mnist", "celeba", "dsprites"} <= fetchable().keys()
    for owner, files in fetchable().items():
        for file in files:
            assert urlsplit(file.url).scheme == "https"
            algorithm, digest = file.checksum.split(":")
            assert len(bytes.fromhex(digest)) == {"md5": 16, "sha256": 32}[algorithm]
            assert file.owner == owner
            assert ".." not in file.path


def test_importing_the_data_sets_loads_no_torch() -> None:
    code = "import sys, lvm_bench.data.files; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


SIZES = (3, 1, 4, 5)


def grid(sizes: tuple[int, ...] = SIZES) -> Grid:
    """Images that show the number of their combination, in a random order."""
    n = int(np.prod(sizes))
    order = random_order(n, "grid")
    return Grid(tuple("abcdef"[: len(sizes)]), sizes, order.astype(np.uint8)[:, None, None, None], order)


def test_a_grid_finds_images_by_their_factors() -> None:
    made = grid()
    combinations = np.array([[0, 0, 0, 0], [2, 0, 3, 4], [1, 0, 2, 3], [0, 0, 0, 0]])
    assert made.at(combinations).ravel().tolist() == [0, 59, 33, 0]
    assert np.array_equal(made.at(made.factors()), made.pixels)


def test_a_grid_sweeps_one_factor_at_a_time() -> None:
    made = grid()
    sweeps = made.sweeps(3)
    assert [len(images) for images in sweeps] == [3, 1, 3, 3]
    fixed = np.ravel_multi_index((2, 0, 1, 1), SIZES)
    assert sweeps[1].ravel().tolist() == [fixed]
    assert sweeps[3].ravel().tolist() == [fixed - 1, fixed + 1, fixed + 3]


@pytest.mark.parametrize(("sizes", "counts"), [((3, 4, 5), (50, 5, 5)), ((2, 100, 700), (120_000, 10_000, 10_000))])
def test_a_grid_sets_a_sixth_or_20000_images_aside(sizes: tuple[int, ...], counts: tuple[int, ...]) -> None:
    splits = grid(sizes).splits()
    assert splits.validation is not None
    assert (len(splits.train), len(splits.validation), len(splits.test)) == counts
    parts = [splits.train.pixels, splits.validation.pixels, splits.test.pixels]
    assert np.array_equal(np.concatenate(parts), grid(sizes).pixels)


def test_a_grid_needs_an_image_for_every_combination() -> None:
    made = grid()
    with pytest.raises(ValueError, match="60 images are no grid of"):
        Grid(made.names, (3, 1, 4, 4), made.pixels, made.order)


def test_the_fingerprint_of_a_grid_knows_its_order(tmp_path: Path) -> None:
    prints = set()
    for turn in (0, 1):

        @dataset("turned")
        def turned(root: Path, turn: int = turn) -> Splits:
            """A grid."""
            made = grid()
            return Grid(made.names, made.sizes, np.roll(made.pixels, turn, 0), np.roll(made.order, turn)).splits()

        loaded = load("turned", tmp_path, options={})
        assert loaded.grid is not None
        prints.add(loaded.fingerprint)
        del DATASETS._entries["turned"]
    assert len(prints) == 2


def test_labels_beyond_the_most_classes_are_refused_whatever_the_data_set(tmp_path: Path) -> None:
    for largest in (9_999, 10_000):

        @dataset("of ids")
        def of_ids(root: Path, largest: int = largest) -> Splits:
            """Two classes by name, and ten thousand outputs of whatever learns from them."""
            images = Images(np.zeros((12, 1, 2, 2), np.uint8), np.array([0, largest] * 6))
            return Splits(images, images)

        if largest < 10_000:
            assert load("of ids", tmp_path, options={}).train.labels is not None
        else:
            with pytest.raises(UserError, match=r"'of ids' has labels up to 10,000. Valid: indices of at most 10,000"):
                load("of ids", tmp_path, options={})
        del DATASETS._entries["of ids"]
