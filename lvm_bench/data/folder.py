"""A user's own folder of image files, and the decoding of images that CelebA shares."""

import struct
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jaxtyping import UInt8

from lvm_bench.data.images import Images, Splits, dataset, own_splits
from lvm_bench.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
# Without this list Pillow would try every format whatever the suffix, and hand some to programs such as Ghostscript.
FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
LARGEST_SIZE = 4096  # pixels along a side, far beyond any network here


@dataset("folder")
def folder(root: Path, *, path: str, test_path: str | None = None, size: int = 64, crop: int | None = None) -> Splits:
    """Your own image files, 3 x size x size: centre crop (`crop` pixels, else the largest square), LANCZOS.

    Sub-folders are searched too. If every file lies in one, and there are two or more, the topmost is its class.
    Without `test_path`, a sixth of the images, in a fixed random order, are the test images.
    """
    for key, value in (("size", size), ("crop", crop)):
        if value is not None and not 1 <= value <= LARGEST_SIZE:
            raise UserError(f"The data set 'folder' has {key} = {value}. Choose 1 to {LARGEST_SIZE:,} pixels.")
    train, classes = _read(root / Path(path).expanduser(), "path", size, crop)
    if test_path is None:
        return own_splits("folder", Images(train, _labels(classes, classes)), None)
    test, test_classes = _read(root / Path(test_path).expanduser(), "test_path", size, crop)
    both = [*classes, *test_classes]
    return own_splits("folder", Images(train, _labels(classes, both)), Images(test, _labels(test_classes, both)))


def _read(home: Path, key: str, size: int, crop: int | None) -> tuple[UInt8[np.ndarray, "n 3 h w"], list[str]]:
    """The images of a folder in the order of their paths, and the topmost sub-folder of each ("" for none)."""
    if not home.is_dir():
        raise UserError(f"{home}: not a folder. Set {key} of the data set 'folder' to a folder of images.")
    files = sorted(
        file.relative_to(home) for file in home.rglob("*") if file.is_file() and file.suffix.lower() in SUFFIXES
    )
    if not files:
        raise UserError(f"{home}: holds no image ({', '.join(sorted(SUFFIXES))}). Set {key} to a folder of images.")
    try:
        pixels = np.empty((len(files), 3, size, size), np.uint8)
    except MemoryError as error:
        raise UserError(f"{home}: {len(files):,} images with size = {size} do not fit into memory.") from error
    for index, file in enumerate(progress(files, f"Reading {home.name}")):
        pixels[index] = _decode(home / file, size, crop)
    return pixels, ["" if len(file.parts) == 1 else file.parts[0] for file in files]


def _labels(classes: list[str], everywhere: list[str]) -> np.ndarray | None:
    """The number of each class among those of all splits; None if an image has no class, or there is one class."""
    names = sorted(set(everywhere))
    if "" in names or len(names) == 1:
        return None
    return np.array([names.index(name) for name in classes], np.int64)


def _decode(file: Path, size: int, crop: int | None) -> UInt8[np.ndarray, "3 h w"]:
    """The image in a file; UserError if it cannot be decoded or is smaller than the crop."""
    import PIL.Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            opened = PIL.Image.open(file, formats=FORMATS)
        with opened as image:
            image.load()
            # Pillow clips 16-bit and float pixels to 255 when it converts them to RGB: images become nearly white.
            if image.mode[0] in "IF":
                raise ValueError(f"pixels of mode {image.mode}, more than 8 bits")
            return square(image, crop or min(image.size), size)
    except (
        OSError, ValueError, SyntaxError, LookupError, TypeError, OverflowError, MemoryError, struct.error,
        PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning,
    ) as error:  # fmt: skip
        raise UserError(f"{file}: cannot be used as an image ({error}). Replace or remove it.") from error


def square(image: "Image", crop: int, size: int) -> UInt8[np.ndarray, "3 h w"]:
    """The central `crop` x `crop` pixels in RGB, resized with LANCZOS. ValueError if there are fewer pixels."""
    from PIL.Image import Resampling

    if crop > min(image.size):
        raise ValueError(f"{image.width} x {image.height} pixels, smaller than the crop of {crop}")
    left, top = (image.width - crop) // 2, (image.height - crop) // 2
    box = (left, top, left + crop, top + crop)
    small = image.convert("RGB").crop(box).resize((size, size), Resampling.LANCZOS)
    return np.asarray(small).transpose(2, 0, 1)


def progress(items: list[T], title: str) -> Iterable[T]:
    """The items, with a progress bar on stderr if that is a terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, escape(title), console=console, disable=not console.is_terminal)
