"""Images as uint8 arrays with labels or ground-truth factors, the splits of a data set, and loading them for a run."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from lvm_bench.data.files import RemoteFile
from lvm_bench.data.labels import MOST_CLASSES
from lvm_bench.errors import TooFewImages, UserError
from lvm_bench.registry import DATASETS
from lvm_bench.seeding import generator
from lvm_bench.text import counted

OWN_SPLIT = 6  # one in six images becomes another split if the data come without splits
GRID_ASIDE = 20_000  # images of a grid that are set aside at most, half to validate and half to test


@dataclass(frozen=True, eq=False)
class Images:
    """Pixels 0..255, in memory or memory-mapped, and class labels, if there are any."""

    pixels: UInt8[np.ndarray, "n c h w"]
    labels: Int64[np.ndarray, " n"] | None = None

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 4:
            raise ValueError(f"pixels are {self.pixels.dtype} {self.pixels.shape}, not uint8 of shape (n, c, h, w)")
        if self.labels is not None and (self.labels.dtype != np.int64 or self.labels.shape != self.pixels.shape[:1]):
            raise ValueError(f"labels are {self.labels.dtype} {self.labels.shape}, not int64 ({len(self.pixels)},)")

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, which: slice | Int64[np.ndarray, " m"]) -> "Images":
        """The images at a slice (a view) or at indices (a copy)."""
        return Images(self.pixels[which], None if self.labels is None else self.labels[which])


@dataclass(frozen=True, eq=False)
class Grid:
    """One image of every combination of values of the ground-truth factors, in a fixed random order.

    Combinations are numbered row-major, the last factor fastest; `pixels[i]` shows combination `order[i]`.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    pixels: UInt8[np.ndarray, "n c h w"]
    order: Int64[np.ndarray, " n"]

    def __post_init__(self) -> None:
        n = int(np.prod(self.sizes))
        if len(self.names) != len(self.sizes) or self.pixels.shape[:1] != (n,) or self.order.shape != (n,):
            raise ValueError(f"{len(self.pixels)} images are no grid of {self.names} with {self.sizes} values")

    def at(self, factors: Int64[np.ndarray, "m k"]) -> UInt8[np.ndarray, "m c h w"]:
        """The images of combinations, which are given by the indices of their factors."""
        places = np.empty_like(self.order)
        places[self.order] = np.arange(len(self.order))
        return np.asarray(self.pixels[places[np.ravel_multi_index(tuple(factors.T), self.sizes)]])

    def factors(self) -> Int64[np.ndarray, "n k"]:
        """The indices of the factors of each image."""
        return np.stack(np.unravel_index(self.order, self.sizes), axis=1).astype(np.int64)

    def sweeps(self, most: int) -> list[UInt8[np.ndarray, "t c h w"]]:
        """For each factor the images of its values, `most` of them at most, while the other factors stay fixed."""
        k = len(self.sizes)
        # Not all in the middle: factors with equally many values, such as hues, should look different.
        fixed = np.array([(k - i) * size // (k + 1) for i, size in enumerate(self.sizes)])
        found = []
        for factor, size in enumerate(self.sizes):
            combinations = np.tile(fixed, (min(size, most), 1))
            combinations[:, factor] = np.linspace(0, size - 1, min(size, most)).round()
            found.append(self.at(combinations))
        return found

    def splits(self) -> "Splits":
        """The last 20,000 images (at most a sixth) validate and test, half each. All others train."""
        n = len(self.order)
        aside = min(GRID_ASIDE, n // OWN_SPLIT)
        images = Images(self.pixels)
        middle = n - aside + aside // 2
        train, validation, test = slice(n - aside), slice(n - aside, middle), slice(middle, None)
        return Splits(images.take(train), images.take(test), images.take(validation), self)


@dataclass(frozen=True, eq=False)
class Splits:
    """The result of a data-set function. `validation` is None if the official release has no such split.

    `notes` are sentences on how the user's files were read.
    """

    train: Images
    test: Images
    validation: Images | None = None
    grid: Grid | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outline:
    """The facts of a data set that are known without its files: shape of an image, sizes of splits or factors."""

    shape: tuple[int, int, int]  # c, h, w
    train: int = 0
    validation: int = 0
    test: int = 0
    classes: int = 0
    factor_sizes: tuple[int, ...] = ()  # of a grid; its splits follow from them

    def made_up(self) -> Splits:
        """Splits of these sizes, made of random pixels."""
        if self.factor_sizes:
            n = int(np.prod(self.factor_sizes))
            names = tuple(f"factor {i}" for i in range(len(self.factor_sizes)))
            return Grid(names, self.factor_sizes, overlapping(n, self.shape), np.arange(n)).splits()
        train, validation, test = (
            Images(overlapping(n, self.shape), np.arange(n) % self.classes if self.classes else None)
            for n in (self.train, self.validation, self.test)
        )
        return Splits(train, test, validation if self.validation else None)


def overlapping(n: int, shape: tuple[int, int, int]) -> UInt8[np.ndarray, "n c h w"]:
    """Images of random pixels that overlap in memory. Each begins one byte after the image before it."""
    c, h, w = shape
    stream = np.random.default_rng(0).integers(256, size=n + c * h * w - 1, dtype=np.uint8)
    return np.lib.stride_tricks.as_strided(stream, (n, c, h, w), (1, h * w, w, 1))


@dataclass(frozen=True)
class Info:
    """The arguments of `@dataset`: the value range that networks see, the files to download, their licence."""

    name: str
    value_range: tuple[float, float]
    files: tuple[RemoteFile, ...]
    licence: str
    novel: str  # a data set of equal shape, whose images a model of this one should find novel
    outline: Callable[..., Outline] | None  # from the options; None if only the files tell it
    later: tuple[str, ...] = ()  # options that came later: at their defaults they are no part of a run's identity


@dataclass(frozen=True, eq=False)
class Data:
    """The images of a run. `fingerprint` is the SHA-256 of all pixels, labels and shapes of the splits.

    `test` is empty in a search, which must not know it. `novel` are test images of another data set, if one is declared
    and its files are here. `notes` are those of `Splits`.
    """

    name: str
    train: Images
    validation: Images
    test: Images
    value_range: tuple[float, float]
    fingerprint: str
    grid: Grid | None = None
    novel: Images | None = None
    notes: tuple[str, ...] = ()


Loader = Callable[..., Splits]


def dataset(
    name: str,
    *,
    label: str = "",
    value_range: tuple[float, float] = (0, 1),
    files: Sequence[RemoteFile] = (),
    licence: str = "",
    novel: str = "",
    outline: Callable[..., Outline] | None = None,
    later: Sequence[str] = (),
) -> Callable[[Loader], Loader]:
    """Register a function from the data root to Splits under `name`.

    Its keyword-only arguments are the options that bench.toml may set; `outline` gets the same. `label` is how tables
    write it, else its name; it is read from the file. `later` names the options that runs of before did not know.
    """

    def add(function: Loader) -> Loader:
        function.info = Info(name, value_range, tuple(files), licence, novel, outline, tuple(later))  # type: ignore[attr-defined]
        return DATASETS.register(name)(function)

    return add


def load(
    name: str,
    root: Path,
    *,
    options: dict[str, Any],
    train_images: int | None = None,
    validation_images: int | None = None,
    test_images: int | None = None,
    made_up: bool = False,
    called: str = "",
) -> Data:
    """The first images of each split of a data set; None means all of them.

    If there is no official validation split, the last `validation_images` (None: a sixth) of the training images
    become one before `train_images` are taken. With 0 `test_images` no pixel of the test split is looked at, and what
    shows its images is left out: the grid, and the novel images, which are the test split of another data set.
    `made_up` takes random pixels and reads no file, if the outline of the data set is known. Messages and the result
    have the name that the data set is `called`. Raises UserError if there are fewer images than asked for.
    """
    function, info, called = DATASETS[name], DATASETS[name].info, called or name
    outline: Outline | None = info.outline(**options) if made_up and info.outline else None
    splits: Splits = outline.made_up() if outline else function(root, **options)
    train, validation = splits.train, splits.validation
    if validation is None:
        count = len(train) // OWN_SPLIT if validation_images is None else validation_images
        if count == 0 and validation_images is None:
            raise TooFewImages(
                f"The data set {called!r} has {len(train)} training images, too few to split a sixth off as validation "
                "images. Give some dozens."
            )
        if not 0 < count < len(train):
            raise UserError(
                f"The data set {called!r} has {len(train):,} training images, from which "
                f"validation_images = {count} cannot be split off. Choose 1 to {len(train) - 1:,}."
            )
        train, validation = train.take(slice(None, -count)), train.take(slice(-count, None))
    train = _first(called, "training", train, "train_images", train_images)
    validation = _first(called, "validation", validation, "validation_images", validation_images)
    tested = test_images != 0
    test = _first(called, "test", splits.test, "test_images", test_images) if tested else splits.test.take(slice(0))
    grid = splits.grid if tested else None
    novel = None
    if (
        tested
        and info.novel
        and all((root / file.here(root).path).is_file() for file in DATASETS[info.novel].info.files)
    ):
        novel = test if outline else DATASETS[info.novel](root).test.take(slice(test_images))
    if outline:
        return Data(called, train, validation, test, info.value_range, "made up", grid, novel)
    _check_classes(called, [train, validation, test])
    # A grid holds the images of all splits and fixes their order.
    digest = fingerprint([Images(grid.pixels)] if grid else [train, validation, *([test] if tested else [])])
    return Data(called, train, validation, test, info.value_range, digest, grid, novel, splits.notes)


def _check_classes(name: str, parts: Sequence[Images]) -> None:
    """UserError for labels beyond the most classes: whatever learns from labels has a place for each index up to it."""
    largest = max((int(images.labels.max(initial=0)) for images in parts if images.labels is not None), default=0)
    if largest >= MOST_CLASSES:
        raise UserError(
            f"The data set {name!r} has labels up to {largest:,}. Valid: indices of at most {MOST_CLASSES:,} classes, "
            "from 0, as numpy.unique(labels, return_inverse=True)[1] gives them."
        )


def _first(name: str, split: str, images: Images, key: str, count: int | None) -> Images:
    """The first `count` images of a split; UserError, which names the setting `key`, if there are fewer."""
    if count is not None and not 0 < count <= len(images):
        raise UserError(
            f"The data set {name!r} has {len(images):,} {split} images, and {key} = {count}. "
            f"Choose 1 to {len(images):,}."
        )
    return images.take(slice(count))


def fingerprint(parts: Sequence[Images]) -> str:
    """The SHA-256 of the shapes, pixels and labels of images in order, in hexadecimal."""
    total = hashlib.sha256()
    for images in parts:
        total.update(f"{images.pixels.shape} {images.labels is not None}".encode())
        for start in range(0, len(images), 10_000):  # so that a memory-mapped split is never in memory as a whole
            total.update(np.ascontiguousarray(images.pixels[start : start + 10_000]).data)
        if images.labels is not None:
            total.update(images.labels.astype("<i8").tobytes())
    return total.hexdigest()


def random_order(n: int, name: str) -> Int64[np.ndarray, " n"]:
    """The fixed random order of the n images of a data set. The first m are a fair sample of all."""
    import torch

    return torch.randperm(n, generator=generator(0, "order", name)).numpy()


def shuffled(images: Images, name: str) -> Images:
    """Images in the fixed random order of their data set."""
    return images.take(random_order(len(images), name))


def own_splits(name: str, train: Images, test: Images | None, notes: Sequence[str] = ()) -> Splits:
    """Splits of a user's own images in a fixed random order. A sixth becomes the test split if there is none.

    Test images that are equal to another image, pixel for pixel, are told in a note.
    """
    train = shuffled(train, name)
    if test is not None:
        test = shuffled(test, name)
    else:
        count = len(train) // OWN_SPLIT
        if count == 0:
            raise TooFewImages(
                f"The data set {name!r} has {len(train)} images, too few to split a sixth off as test images. "
                "Give some dozens of images, or test images of their own with test_path."
            )
        train, test = train.take(slice(None, -count)), train.take(slice(-count, None))
    return Splits(train, test, notes=(*notes, *_shared(train, test)))


def _shared(train: Images, test: Images) -> list[str]:
    """The note on test images that are training images too, if there are any."""
    known = {_pixels_digest(image) for image in train.pixels}
    count = sum(_pixels_digest(image) in known for image in test.pixels)
    if count == 0:
        return []
    return [
        f"Duplicates: {counted(count, 'test image')} of {len(test):,} {'is' if count == 1 else 'are'} equal to a "
        "training image, pixel for pixel. Scores of held-out images flatter there: keep one image of each."
    ]


def _pixels_digest(image: UInt8[np.ndarray, "c h w"]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
