"""A user's own folder of image files, and the decoding of images that CelebA shares."""

import struct
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, NoReturn, TypeVar

import numpy as np
from jaxtyping import Int64, UInt8

from lvm_bench.data.file_tree import ImageFiles, image_files
from lvm_bench.data.images import Images, Splits, dataset, own_splits
from lvm_bench.data.labels import class_indices
from lvm_bench.data.npz import alone
from lvm_bench.errors import UserError
from lvm_bench.text import counted, shortened

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")

FORMATS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
}  # by Pillow's names
LARGEST_SIZE = 4096  # pixels along a side, far beyond any network here


GREY = {"1", "L"}  # Pillow's modes without colour


class Look(NamedTuple):
    """How image files become arrays."""

    size: int | None  # along a side; None: as in the files, which must have one size
    crop: int | None
    channels: int | None  # None: 1 if all files are grey, else 3
    background: str


class Decoded(NamedTuple):
    """The pixels of an image file, and what is told of it."""

    pixels: UInt8[np.ndarray, "c h w"]
    is_transparent: bool
    frames: int
    is_grey: bool
    size: tuple[int, int]  # w, h in the file


class Whole(NamedTuple):
    """All images of a folder in the order of their paths, the topmost sub-folder of each ("" for none), and notes."""

    pixels: UInt8[np.ndarray, "n c h w"]
    classes: list[str]
    notes: list[str]
    files: list[Path]
    sizes: set[tuple[int, int]]  # w, h in the files


@dataset("folder", later=("channels", "background"))
def folder(
    root: Path,
    *,
    path: str,
    test_path: str | None = None,
    size: int = 64,
    crop: int | None = None,
    channels: Literal[1, 3] = 3,
    background: str = "white",
) -> Splits:
    """Your own image files, channels x size x size: centre crop (`crop` pixels, else the largest square), LANCZOS.

    Sub-folders are searched too, hidden ones are not. If every file lies in one, and there are two or more, the topmost
    is its class. Transparent pixels show the `background`: a name, or "#rrggbb".
    Without `test_path`, a sixth of the images, in a fixed random order, are the test images. One of the two may be an
    .npz file of images of that shape, whose labels are the names of the classes.
    """
    _check_options(size, crop, background)
    look = Look(size, crop, channels, background)
    homes = {"path": path} if test_path is None else {"path": path, "test_path": test_path}
    read = [_read(root / Path(place).expanduser(), key, look) for key, place in homes.items()]
    notes = [note for own in read for note in own.notes]
    classes = [own.classes for own in read]
    one_of_each = len({Path(place).suffix.lower() == ".npz" for place in homes.values()}) == 2
    if one_of_each and not {*classes[0]} & {*classes[1]}:
        notes.append(
            f"{test_path}: none of its labels is one of {path}: labels are left out. Name sub-folders like them."
        )
        classes = [[""] * len(own) for own in classes]
    labels = labels_of(classes, root / path)
    train, *tests = (Images(found.pixels, own) for found, own in zip(read, labels, strict=True))
    return own_splits("folder", train, tests[0] if tests else None, notes)


def _check_options(size: int, crop: int | None, background: str) -> None:
    """UserError for a size or crop of nothing, and for a background that is no colour."""
    from PIL.ImageColor import getrgb

    for key, value in (("size", size), ("crop", crop)):
        if value is not None and not 1 <= value <= LARGEST_SIZE:
            raise UserError(f"The data set 'folder' has {key} = {value}. Choose 1 to {LARGEST_SIZE:,} pixels.")
    try:
        getrgb(background)
    except ValueError as error:
        raise UserError(
            f"The data set 'folder' has background = {shortened(background)}, which is no colour. "
            'Valid: a name such as "white", or "#rrggbb".'
        ) from error


def _read(home: Path, key: str, look: Look) -> Whole:
    """The images of a folder, or of an .npz file beside one."""
    if home.is_file() and home.suffix.lower() == ".npz":
        return _read_arrays(home, look)
    if not home.is_dir():
        raise UserError(f"{home}: not a folder. Set {key} of the data set 'folder' to a folder of images.")
    return read_folder(home, key, look)


def read_folder(home: Path, key: str, look: Look) -> Whole:
    """The image files of a folder as arrays. UserError for what is no image, and for several sizes without `size`."""
    formats = readable_formats()
    found = image_files(home, {suffix for name in formats for suffix in FORMATS[name]}, key)
    files = found.images
    first = _decode(home / files[0], look, formats)
    try:
        pixels = np.empty((len(files), *first.pixels.shape), np.uint8)
    except MemoryError as error:
        size = look.size or " x ".join(map(str, first.size))
        raise UserError(f"{home}: {len(files):,} images with size = {size} do not fit into memory.") from error
    counts: Counter[str] = Counter()
    sizes = set()
    for index, file in enumerate(progress(files, f"Reading {home.name}")):
        decoded = _decode(home / file, look, formats)
        if decoded.pixels.shape != first.pixels.shape:
            _refuse_sizes(home, (files[0], first), (file, decoded))
        pixels[index] = decoded.pixels
        sizes.add(decoded.size)
        counts["transparent"] += decoded.is_transparent
        counts["of frames"] += decoded.frames > 1
        counts["grey"] += decoded.is_grey
    if look.channels is None and counts["grey"] == len(files):
        pixels = pixels[:, :1]
    classes = ["" if len(file.parts) == 1 else file.parts[0] for file in files]
    return Whole(pixels, classes, _notes(home, found, counts, look), files, sizes)


def _refuse_sizes(home: Path, *two: tuple[Path, Decoded]) -> NoReturn:
    (one, first), (other, second) = two
    raise UserError(
        f"{home}: its images have several sizes: {one} has {_pixels(first.size)} pixels and {other} has "
        f"{_pixels(second.size)}. Give --size {min(*first.size, *second.size)}, say: centre squares are resized to it."
    )


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _read_arrays(file: Path, look: Look) -> Whole:
    """The images of an .npz file, with the label of each as the name of a class ("" for none)."""
    pixels, labels, notes = alone(file)
    expected = (look.channels, look.size, look.size)
    if pixels.shape[1:] != expected:
        raise UserError(
            f"{file}: its images are {pixels.shape[1:]} (c, h, w), and the folder beside it gives {expected}. "
            "Set channels and size of the data set 'folder' to those of the file, whose images must be squares."
        )
    classes = [""] * len(pixels) if labels is None else [str(label) for label in labels]
    return Whole(pixels, classes, notes, [], {(pixels.shape[3], pixels.shape[2])})


def _notes(home: Path, found: ImageFiles, counts: Counter[str], look: Look) -> list[str]:
    """What is told of how the files of a folder were read."""
    notes = [*found.notes]
    whole = f"of {counted(len(found.images), 'image')}"
    if counts["transparent"]:
        other = "" if look.background != "white" else ' (background = "black", say, chooses another)'
        notes.append(f"{home}: {counts['transparent']:,} {whole} are transparent: shown on {look.background}{other}.")
    if counts["of frames"]:
        notes.append(f"{home}: {counts['of frames']:,} {whole} have several frames: the first of each is read.")
    return notes


def readable_formats() -> list[str]:
    """Those of the formats that the installed Pillow reads."""
    from PIL import features

    # Without a list Pillow would try every format whatever the suffix, and hand some to programs such as Ghostscript.
    return [name for name in FORMATS if name != "AVIF" or "avif" in features.get_supported_modules()]


def labels_of(classes: list[list[str]], where: Path) -> Sequence[Int64[np.ndarray, " n"] | None]:
    """The number of each image's class among those of all splits; None if an image has none, or there is one class."""
    names = {name for part in classes for name in part}
    if "" in names or len(names) == 1:
        return [None] * len(classes)
    return class_indices([np.array(part) for part in classes], f"{where}, its sub-folders")[0]


def _decode(file: Path, look: Look, formats: list[str]) -> Decoded:
    """The image in a file; UserError if it cannot be decoded or is smaller than the crop."""
    import PIL.Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            opened = PIL.Image.open(file, formats=formats)
        with opened as image:
            image.load()
            # Pillow clips 16-bit and float pixels to 255 when it converts them to RGB: images become nearly white.
            if image.mode[0] in "IF":
                raise ValueError(f"pixels of mode {image.mode}, more than 8 bits")
            shown, is_transparent = opaque(upright(image), look.background)
            channels = 3 if look.channels is None else look.channels
            if look.size is None:
                pixels = np.asarray(shown.convert("RGB" if channels == 3 else "L"))
                pixels = pixels.reshape(*pixels.shape[:2], channels).transpose(2, 0, 1)
            else:
                pixels = square(shown, look.crop or min(shown.size), look.size, channels)
            frames = getattr(image, "n_frames", 1)
            return Decoded(pixels, is_transparent, frames, image.mode in GREY, shown.size)
    except (
        OSError, ValueError, SyntaxError, LookupError, TypeError, OverflowError, MemoryError, struct.error,
        PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning,
    ) as error:  # fmt: skip
        raise UserError(f"{file}: cannot be used as an image ({error}). Replace or remove it.") from error


def upright(image: "Image") -> "Image":
    """The image as viewers show it: turned as its EXIF orientation says, as it is where that cannot be read."""
    from PIL.ImageOps import exif_transpose

    try:
        with warnings.catch_warnings(action="ignore"):  # of damaged EXIF data
            return exif_transpose(image)
    except (OSError, ValueError, SyntaxError, LookupError, TypeError, OverflowError, struct.error):
        return image


def opaque(image: "Image", background: str) -> tuple["Image", bool]:
    """The image over a background of one colour in RGB, and whether any pixel of it was transparent."""
    import PIL.Image

    if not image.has_transparency_data:
        return image.convert("RGB"), False
    layer = image.convert("RGBA")
    if layer.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB"), False
    below = PIL.Image.new("RGBA", layer.size, background)
    return PIL.Image.alpha_composite(below, layer).convert("RGB"), True


def square(
    image: "Image", crop: int, size: int, channels: int = 3, resampling: str = "LANCZOS"
) -> UInt8[np.ndarray, "c h w"]:
    """The central `crop` x `crop` pixels, RGB or grey, resized. ValueError if there are fewer pixels.

    `resampling` is a filter by Pillow's name.
    """
    from PIL.Image import Resampling

    if crop > min(image.size):
        raise ValueError(f"{image.width} x {image.height} pixels, smaller than the crop of {crop}")
    left, top = (image.width - crop) // 2, (image.height - crop) // 2
    box = (left, top, left + crop, top + crop)
    small = image.convert("RGB" if channels == 3 else "L").crop(box).resize((size, size), Resampling[resampling])
    return np.asarray(small).reshape(size, size, channels).transpose(2, 0, 1)


def progress(items: list[T], title: str) -> Iterable[T]:
    """The items, with a progress bar on stderr if that is a terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, escape(title), console=console, disable=not console.is_terminal)
