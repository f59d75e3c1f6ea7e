"""A user's arrays: every layout gives the same images; ambiguous shapes and mistakes are sentences."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvm_bench.data.images import Data, load
from lvm_bench.data.npz import channels_first, to_bytes
from lvm_bench.errors import UserError

sizes = st.integers(1, 6)


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def read(folder: Path, arrays: dict[str, np.ndarray], **options: object) -> Data:
    np.savez(folder / "mine.npz", **arrays)  # type: ignore[arg-type]
    return load("npz", folder, options={"path": "mine.npz", **options})


def in_order(split: Data) -> np.ndarray:
    """Every image of the three splits, sorted by content."""
    every = np.concatenate([split.train.pixels, split.validation.pixels, split.test.pixels])
    return np.array(sorted(every.tolist()))


@given(n=sizes, c=st.sampled_from([1, 3]), h=sizes, w=sizes)
def test_layouts_are_told_apart_unless_both_fit(n: int, c: int, h: int, w: int) -> None:
    first = pixels(n, c, h, w)
    last = first.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(channels_first(first, "channels-first", "x"), first)
    np.testing.assert_array_equal(channels_first(last, "channels-last", "x"), first)
    for array, doubt in [(first, w in (1, 3)), (last, h in (1, 3))]:
        if doubt:
            with pytest.raises(UserError, match=r'layout = "channels-first" or layout = "channels-last"'):
                channels_first(array, None, "x")
        else:
            np.testing.assert_array_equal(channels_first(array, None, "x"), first)


@given(shape=st.lists(st.integers(0, 6), min_size=0, max_size=5))
def test_any_shape_becomes_one_or_three_channels_or_a_sentence(shape: list[int]) -> None:
    array = np.zeros(shape, np.uint8)
    with contextlib.suppress(UserError):
        images = channels_first(array, None, "x")
        assert images.ndim == 4
        assert images.shape[1] in (1, 3)
        assert images.shape[0] == shape[0]
        assert images.size == array.size > 0


@given(st.integers(0, 255))
def test_floats_round_to_the_nearest_byte(value: int) -> None:
    for kind in (np.float16, np.float32, np.float64):
        array = np.full((1, 1, 1, 1), value / 255, kind)
        assert to_bytes([array], ["x"])[0][0].item() == value


@pytest.mark.parametrize("values", [[-0.01, 0.5], [0.0, 1.01], [0.0, 255.0], [0.5, np.nan], [0.0, np.inf]])
def test_floats_outside_the_range_are_a_sentence(values: list[float]) -> None:
    with pytest.raises(UserError, match=r"float pixels go from .* Valid: 0 to 1"):
        to_bytes([np.array(values).reshape(2, 1, 1, 1)], ["x"])


@pytest.mark.parametrize("kind", [np.int64, np.int8, np.uint16, complex])
def test_other_types_of_pixels_are_a_sentence(kind: type) -> None:
    with pytest.raises(UserError, match=r"pixels are .* Valid: uint8"):
        to_bytes([np.zeros((2, 1, 1, 1), kind)], ["x"])


def test_every_layout_and_type_gives_the_same_images(tmp_path: Path) -> None:
    array = pixels(30, 3, 4, 5)
    reference = read(tmp_path, {"images": array})
    assert (len(reference.train), len(reference.validation), len(reference.test)) == (21, 4, 5)
    np.testing.assert_array_equal(in_order(reference), np.array(sorted(array.tolist())))
    for variant in (array.transpose(0, 2, 3, 1), array / 255, (array / 255).astype(np.float32)):
        assert read(tmp_path, {"images": variant}).fingerprint == reference.fingerprint
    grey = read(tmp_path, {"images": array[:, 0]})
    assert grey.train.pixels.shape == (21, 1, 4, 5)
    assert reference.train.labels is None


def test_labels_stay_with_their_images_and_test_files_stay_apart(tmp_path: Path) -> None:
    labels = np.arange(40, dtype=np.int32)
    images = np.broadcast_to(labels[:, None, None].astype(np.uint8), (40, 2, 4)).copy()
    np.savez(tmp_path / "test.npz", x=images[30:], y=labels[30:])
    names = {"images": "x", "labels": "y", "test_path": str(tmp_path / "test.npz")}
    split = read(tmp_path, {"x": images[:30], "y": labels[:30]}, **names)
    for part, low, high in [(split.train, 0, 30), (split.validation, 0, 30), (split.test, 30, 40)]:
        assert part.labels is not None
        assert part.labels.tolist() == part.pixels[:, 0, 0, 0].tolist()
        assert all(low <= label < high for label in part.labels)
    assert split.test.labels is not None
    assert sorted(split.test.labels) == list(range(30, 40))
    assert split.test.labels.tolist() != list(range(30, 40))  # "the first n" is a fair sample


@pytest.mark.parametrize(
    ("arrays", "options", "sentence"),
    [
        ({"x_train": pixels(9, 4, 4)}, {}, r"has no array 'images'; it has 'x_train' .*: images = \"x_train\""),
        (
            {"images": pixels(9, 4, 4), "y": np.zeros(9)},
            {"labels": "z"},
            r"no array 'z'; it has 'images' .*: labels = \"y\"",
        ),
        ({"images": pixels(9, 3, 3, 3)}, {}, r"\(9, 3, 3, 3\) can be read as channels first or last"),
        ({"images": pixels(9, 4, 4, 2)}, {}, r"\(9, 4, 4, 2\) is not that of images"),
        ({"images": pixels(9, 4)}, {}, r"rows of a table as images of height 1: images\[:, None, :\]"),
        ({"images": pixels(9, 4, 4, 3)}, {"layout": "channels-first"}, "with channels-first"),
        ({"images": pixels(0, 4, 4)}, {}, "not that of images"),
        ({"images": pixels(9, 4, 4), "labels": np.zeros(8, int)}, {}, r"'labels': labels .*of shape \(9,\)"),
        ({"images": pixels(9, 4, 4), "labels": np.zeros(9)}, {}, r"labels are float64"),
        ({"images": pixels(9, 4, 4), "labels": np.full(9, 1j)}, {}, r"labels are complex128.*integers, text or dates"),
        ({"images": np.array([{}] * 9)}, {}, r"array 'images': holds Python objects .*numpy.stack"),
        ({"images": pixels(9, 4, 4)}, {"test_path": "other.npz"}, r"other.npz: does not exist"),
        ({"images": pixels(3, 4, 4)}, {}, "3 images, too few"),
    ],
)
def test_a_file_that_does_not_fit_is_a_sentence(
    tmp_path: Path, arrays: dict[str, np.ndarray], options: dict[str, str], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        read(tmp_path, arrays, **options)


def test_test_images_of_another_shape_are_a_sentence(tmp_path: Path) -> None:
    np.savez(tmp_path / "test.npz", images=pixels(9, 5, 5))
    with pytest.raises(UserError, match=r"test.npz: its images are \(1, 5, 5\) \(c, h, w\), those of mine.npz"):
        read(tmp_path, {"images": pixels(9, 4, 4)}, test_path="test.npz")


@pytest.mark.parametrize("how", ["truncated", "flipped", "text", "npy", "folder"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, how: str) -> None:
    file = tmp_path / "mine.npz"
    np.savez_compressed(file, images=pixels(9, 40, 40))
    content = bytearray(file.read_bytes())
    if how == "truncated":
        file.write_bytes(content[:-200])
    elif how == "flipped":
        content[len(content) // 2] ^= 255
        file.write_bytes(content)
    elif how == "text":
        file.write_text("not an archive")
    elif how == "npy":
        with file.open("wb") as stream:
            np.save(stream, pixels(9, 4, 4))
    else:
        file.unlink()
        file.mkdir()
    with pytest.raises(UserError, match=r"mine.npz: cannot be read as .npz"):
        load("npz", tmp_path, options={"path": "mine.npz"})


def test_real_cifar10_has_its_known_channel_means(real: Callable[[str], Path]) -> None:
    root = real("cifar10")
    options = {"path": "cifar10/train_1.npz", "test_path": "cifar10/test.npz"}
    split = load("npz", root, options=options, validation_images=1000)
    assert split.train.pixels.shape == (9000, 3, 32, 32)
    means = split.test.pixels.mean((0, 2, 3)) / 255
    np.testing.assert_allclose(means, [0.49421428, 0.48513139, 0.45040909], atol=5e-9)
    some = split.train.pixels.mean((0, 2, 3)) / 255
    np.testing.assert_allclose(some, [0.49139968, 0.48215841, 0.44653091], atol=0.01)  # 9,000 of 50,000 images
    assert split.test.labels is not None
    assert np.bincount(split.test.labels).tolist() == [1000] * 10


D = np.dtype("datetime64[D]")


@pytest.mark.parametrize(
    "values",
    [
        np.array([7, 10**9, 9 * 10**12]),
        np.array([-1, 0, 1], np.int8),
        np.array([2**63, 2**63 + 1, 2**64 - 1], np.uint64),
        np.array([1990, 2004, 2020], np.uint16),
        np.array(["10", "9", "cat"]),
        np.array([b"a", b"b", b"bb"]),
        np.array(["2001-02-03", "2001-02-04", "2020-01-01"], D),
    ],
    ids=lambda values: str(values.dtype),
)
@pytest.mark.parametrize("apart", [False, True])
def test_labels_that_are_no_indices_become_their_ranks_and_it_is_told_once(
    tmp_path: Path, values: np.ndarray, apart: bool
) -> None:
    ranks = np.arange(40) % 3
    images = np.broadcast_to((10 * ranks)[:, None, None].astype(np.uint8), (40, 2, 4)).copy()
    images[:, 0, 0] = np.arange(40)  # all are different
    options = {}
    if apart:  # the first class is in the test file alone
        ranks[ranks == 0] = 1
        ranks[30:] = np.arange(10) % 3
        np.savez(tmp_path / "test.npz", images=images[30:], labels=values[ranks[30:]])
        options = {"test_path": "test.npz"}
    count = 30 if apart else 40
    split = read(tmp_path, {"images": images[:count], "labels": values[ranks[:count]]}, **options)
    for part in (split.train, split.validation, split.test):
        assert part.labels is not None
        assert part.labels.tolist() == ranks[part.pixels[:, 0, 0, 0]].tolist()
    (note,) = split.notes
    first, last = (each.decode() if isinstance(each, bytes) else each for each in (min(values), max(values)))
    assert f"array 'labels': the 3 distinct labels, from {first} to {last}, became" in note
    assert "became the classes 0 to 2 in sorted order" in note


def test_labels_of_two_files_are_of_one_kind_and_large_numbers_stay_apart(tmp_path: Path) -> None:
    test = {"images": pixels(9, 4, 4)}
    np.savez(tmp_path / "test.npz", **test, labels=np.full(9, 2**53 + 1, np.uint64))  # type: ignore[arg-type]
    train = {"images": pixels(40, 4, 4)[::-1], "labels": np.full(40, 2**53, np.int64)}
    split = read(tmp_path, train, test_path="test.npz")
    assert split.train.labels is not None
    assert split.test.labels is not None
    assert ({*split.train.labels}, {*split.test.labels}) == ({0}, {1})
    np.savez(tmp_path / "test.npz", **test, labels=np.full(9, "a"))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"labels are int64 and <U1. Valid: integers, text or dates, of one kind"):
        read(tmp_path, train, test_path="test.npz")


@pytest.mark.parametrize("kind", [np.int64, str])
def test_too_many_classes_are_a_sentence_that_names_the_labels(tmp_path: Path, kind: type) -> None:
    labels = np.arange(10_001).astype(kind)
    images = np.zeros((10_001, 1, 2), np.uint8)
    with pytest.raises(UserError, match=r"array 'labels': labels have 10,001 distinct values.* 10,000 classes at most"):
        read(tmp_path, {"images": images, "labels": labels})
    assert read(tmp_path, {"images": images, "labels": labels % 10_000 if kind is np.int64 else labels.astype("U2")})


def test_a_date_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    labels = np.full(9, "2001-02-03", D)
    labels[3] = "NaT"
    with pytest.raises(UserError, match="array 'labels': some labels are no date"):
        read(tmp_path, {"images": pixels(9, 4, 4), "labels": labels})


@pytest.mark.parametrize("kind", [np.uint8, bool, np.float32])
def test_masks_are_black_and_white(tmp_path: Path, kind: type) -> None:
    masks = pixels(30, 4, 4) % 2
    split = read(tmp_path, {"images": masks.astype(kind)})
    np.testing.assert_array_equal(in_order(split), np.array(sorted((255 * masks[:, None]).tolist())))
    assert any("taken for masks" in note for note in split.notes) == (kind is np.uint8)


def test_dark_images_stay_dark_beside_brighter_ones_or_black_ones(tmp_path: Path) -> None:
    dark = pixels(30, 4, 4) % 2
    np.savez(tmp_path / "test.npz", images=pixels(9, 4, 4))
    assert read(tmp_path, {"images": dark}, test_path="test.npz").train.pixels.max() == 1
    np.savez(tmp_path / "test.npz", images=np.zeros((9, 4, 4), np.uint8))
    assert read(tmp_path, {"images": dark}, test_path="test.npz").train.pixels.max() == 255
    assert read(tmp_path, {"images": 0 * dark}).train.pixels.max() == 0


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_that_rounding_took_out_of_the_range_are_clipped_with_a_word(tmp_path: Path, kind: type) -> None:
    images = (pixels(30, 4, 4) / 255).astype(kind)
    reference = read(tmp_path, {"images": images})
    images[images == 1] = np.nextafter(kind(1), kind(2))
    images[images == 0] = np.nextafter(kind(0), kind(-1))
    split = read(tmp_path, {"images": images})
    assert split.fingerprint == reference.fingerprint
    assert any(
        f"float pixels go from {float(images.min())} to {float(images.max())}: clipped" in n for n in split.notes
    )
    assert reference.notes == ()


@pytest.mark.parametrize("name", ["images", "labels"])
def test_an_array_of_objects_is_named_with_what_helps(tmp_path: Path, name: str) -> None:
    arrays = {"images": pixels(9, 4, 4), "labels": np.zeros(9, int)}
    with pytest.raises(UserError, match=rf"array '{name}': holds Python objects .*labels\.astype\(str\)"):
        read(tmp_path, arrays | {name: np.array([None] * 9)})
    assert read(tmp_path, arrays | {"other": np.array([None] * 9)})  # which nobody asked for
