"""A user's own arrays in an .npz file."""

import lzma
import math
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64, UInt8

from lvm_bench.data.images import Images, Splits, dataset, own_splits
from lvm_bench.data.labels import class_indices
from lvm_bench.errors import UserError

Layout = Literal["channels-first", "channels-last"]
Take = Callable[[zipfile.ZipFile, str, str], np.ndarray]  # an array of an archive, by name
LABELS = "labels"
HALF_LEVEL = 1 / 510  # half of the step between two of the 256 grey levels of [0, 1]
INFLATION = 1032  # bytes that deflate makes of one byte, at most
# Errors that a damaged archive raises. RuntimeError means a password or an unknown compression.
UNREADABLE = (
    OSError, ValueError, EOFError, LookupError, RuntimeError, MemoryError, OverflowError, struct.error,
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError,
)  # fmt: skip


@dataset("npz")
def npz(
    root: Path,
    *,
    path: str,
    test_path: str | None = None,
    images: str = "images",
    labels: str = LABELS,
    layout: Layout | None = None,
) -> Splits:
    """Your own arrays: [n h w], [n c h w] or [n h w c] with c = 1 or 3, uint8, bool or floats in [0, 1].

    `images` and `labels` name the arrays in the file. A file may lack labels if `labels` keeps its default. Labels are
    class indices; other integers, text and dates become their ranks.
    Without `test_path`, a sixth of the images, in a fixed random order, are the test images.
    """
    files = [root / Path(each).expanduser() for each in (path, test_path) if each is not None]
    if _AHEAD and (made := _AHEAD.pop()) and made[0] == _stamp(files, (images, labels, layout)):
        return made[1]
    arrays = [_read(file, images, labels, stored) for file in files]
    places = [f"{file}, array {images!r}" for file in files]
    pixels = [channels_first(found[images], layout, at) for found, at in zip(arrays, places, strict=True)]
    if len({part.shape[1:] for part in pixels}) > 1:
        raise UserError(
            f"{test_path}: its images are {pixels[1].shape[1:]} (c, h, w), those of {path} "
            f"{pixels[0].shape[1:]}. Give both files images of one shape."
        )
    data, notes = to_bytes(pixels, places)
    numbers, more = _labels([found.get(labels) for found in arrays], data, files, labels)
    train, *tests = (Images(*each) for each in zip(data, numbers, strict=True))
    return own_splits("npz", train, tests[0] if tests else None, [*notes, *more])


def read_ahead(path: str, test_path: str | None = None) -> Splits:
    """What `npz` gives for these files: the next call for them gives it again, and does not read them again."""
    files = [Path(each) for each in (path, test_path) if each is not None]
    stamp = _stamp(files, ("images", LABELS, None))  # before the files are read, which may change meanwhile
    splits = npz(Path(), path=path, test_path=test_path)
    _AHEAD[:] = [(stamp, splits)]
    return splits


_AHEAD: list[tuple[tuple[Any, ...], Splits]] = []  # one at most


def _stamp(files: Sequence[Path], how: tuple[str | None, ...]) -> tuple[Any, ...]:
    """How files are read, and what changes with their contents; (), which no other stamp is, where one is missing."""
    try:
        found = [(file.absolute(), file.stat()) for file in files]
    except OSError:
        return ()
    return (*how, *((str(file), stat.st_size, stat.st_mtime_ns, stat.st_ino) for file, stat in found))


def shape_alone(file: Path) -> tuple[int, int, int]:
    """The shape c, h, w of the images of one file, of which the header alone is read."""
    array = _read(file, "images", LABELS, _promised)["images"]
    _, c, h, w = channels_first(array, None, f"{file}, array 'images'").shape
    return c, h, w


def alone(file: Path, images: str = "images") -> tuple[UInt8[np.ndarray, "n c h w"], np.ndarray | None, list[str]]:
    """The pixels of one file, its labels as they stand, and notes; UserError unless each image has a label, or none."""
    arrays, place = _read(file, images, LABELS, stored), f"{file}, array {images!r}"
    (pixels,), notes = to_bytes([channels_first(arrays[images], None, place)], [place])
    labels = arrays.get(LABELS)
    _labels([labels], [pixels], [file], LABELS)
    return pixels, labels, notes


def _read(file: Path, images: str, labels: str, take: Take) -> dict[str, np.ndarray]:
    """The arrays of images and labels of a file; UserError if it cannot be read or lacks one."""
    with opened(file) as archive:
        keys = arrays_in(archive)
        for name in [images] if labels == LABELS else [images, labels]:
            if name not in keys:
                raise _missing(file, archive, name, "images" if name == images else "labels")
        return {name: take(archive, name, str(file)) for name in {images, labels} if name in keys}


def arrays_in(archive: zipfile.ZipFile) -> list[str]:
    """The names of the arrays of an .npz archive."""
    return [member.removesuffix(".npy") for member in archive.namelist()]


@contextmanager
def opened(file: Path) -> Iterator[zipfile.ZipFile]:
    """The archive of an .npz file. UserError if it cannot be read, or what is read of it inside this context."""
    try:
        if file.exists() and not file.is_file():  # a pipe may have no end
            raise ValueError("it is no file")
        with file.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            yield archive
    except FileNotFoundError as error:
        raise UserError(f"{file}: does not exist. Set path or test_path of the data set 'npz' to a file.") from error
    except UserError:
        raise
    except UNREADABLE as error:
        raise UserError(f"{file}: cannot be read as .npz ({error}). Write it again with numpy.savez.") from error


def _missing(file: Path, archive: zipfile.ZipFile, name: str, key: str) -> UserError:
    """The error about an array that a file lacks; it says which arrays there are, and how to name another one."""
    members = [member for member in archive.namelist() if member.endswith(".npy")]
    shapes = {}
    for member in members:
        with archive.open(member) as stream:
            shapes[member.removesuffix(".npy")] = array_header(stream)[0]
    if not shapes:
        return UserError(f"{file}: has no array {name!r}, nor any other. Write it with numpy.savez(file, {name}=...).")
    likely = [other for other, shape in shapes.items() if (len(shape) > 1) == (key == "images")] or [*shapes]
    found = ", ".join(f"{other!r} {shape}" for other, shape in shapes.items())
    return UserError(
        f'{file}: has no array {name!r}; it has {found}. Name the one that holds the {key}: {key} = "{likely[0]}".'
    )


def array_header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, whether it is column-major, dtype) of an array in the format of NumPy. The stream moves to its data."""
    version = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return header(stream)


def stored(archive: zipfile.ZipFile, name: str, where: str) -> np.ndarray:
    """An array of an .npz archive. ValueError, before memory is taken, if its header promises other data.

    UserError for an array of Python objects, which are not loaded: they could run code.
    """
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as stream:
        shape, _, dtype = array_header(stream)
        there = member.file_size - stream.tell()
    if dtype.hasobject:
        raise UserError(
            f"{where}, array {name!r}: holds Python objects ({dtype}, shape {shape}). Give it numbers or text: "
            "labels.astype(str) or labels.astype(int), and images of one size as numpy.stack(images)."
        )
    possible = member.file_size <= INFLATION * member.compress_size
    if math.prod(shape) * dtype.itemsize != there or min(shape, default=0) < 0 or not possible:
        raise ValueError(f"the array {name!r} promises {dtype} {shape}, and there are other bytes")
    with archive.open(member) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _promised(archive: zipfile.ZipFile, name: str, _: str) -> np.ndarray:
    """An array of the shape that the header of a stored one tells, without its values."""
    with archive.open(f"{name}.npy") as stream:
        return np.broadcast_to(np.uint8(0), array_header(stream)[0])


def channels_first(array: np.ndarray, layout: Layout | None, where: str) -> np.ndarray:
    """[n h w], [n c h w] or [n h w c], c = 1 or 3, as [n c h w]. UserError if the shape is ambiguous."""
    if array.ndim == 3 and array.size:
        return array[:, None]
    fits: dict[Layout, bool] = {
        "channels-first": array.ndim == 4 and array.shape[1] in (1, 3),
        "channels-last": array.ndim == 4 and array.shape[3] in (1, 3),
    }
    if layout is None and all(fits.values()):
        raise UserError(
            f"{where}: the shape {array.shape} can be read as channels first or last. "
            'Say which with layout = "channels-first" or layout = "channels-last".'
        )
    chosen = layout or next((name for name, fit in fits.items() if fit), None)
    if chosen is None or not fits[chosen] or not array.size:
        rows = " Give the rows of a table as images of height 1: images[:, None, :]." if array.ndim == 2 else ""
        raise UserError(
            f"{where}: the shape {array.shape} is not that of images{f' with {layout}' if layout else ''}. "
            f"Valid: (n, h, w), (n, c, h, w) and (n, h, w, c) with c = 1 or 3, and n, h, w at least 1.{rows}"
        )
    return array if chosen == "channels-first" else array.transpose(0, 3, 1, 2)


def to_bytes(
    parts: Sequence[np.ndarray], places: Sequence[str]
) -> tuple[list[UInt8[np.ndarray, "_ c h w"]], list[str]]:
    """The pixels of all files as uint8, and notes: floats v in [0, 1] as round(255 v), False and True as 0 and 255.

    uint8 pixels are unchanged, unless those of all files are 0 and 1: these are masks, and 1 becomes 255.
    UserError for anything else.
    """
    bytes_alone = [part for part in parts if part.dtype == np.uint8]
    are_masks = max((int(part.max()) for part in bytes_alone), default=0) == 1
    pixels, notes = [], []
    for part, where in zip(parts, places, strict=True):
        if part.dtype == bool or (part.dtype == np.uint8 and are_masks):
            pixels.append(255 * np.ascontiguousarray(part, np.uint8))
        elif part.dtype == np.uint8:
            pixels.append(np.ascontiguousarray(part))
        elif np.issubdtype(part.dtype, np.floating):
            notes += _check_range(part, where)
            scaled = np.multiply(part, 255, dtype=np.result_type(part, np.float32))
            pixels.append(np.rint(scaled).clip(0, 255).astype(np.uint8, order="C"))
        else:
            raise UserError(
                f"{where}: pixels are {part.dtype}. Valid: uint8 from 0 to 255, floats from 0 to 1, or bool."
            )
    if are_masks:
        notes.append(f"{places[0]}: the uint8 pixels are 0 and 1 alone: taken for masks, 1 becomes white (255).")
    return pixels, notes


def _check_range(array: np.ndarray, where: str) -> list[str]:
    """The note that floats were clipped to [0, 1]; UserError if one lies outside by half a grey level or more."""
    low, high = (float(value) for value in (array.min(), array.max()))
    if not (low > -HALF_LEVEL and high < 1 + HALF_LEVEL):  # NaN fails both comparisons
        raise UserError(
            f"{where}: float pixels go from {low} to {high}. Valid: 0 to 1, or uint8 from 0 to 255. Rescale them."
        )
    if low >= 0 and high <= 1:
        return []
    return [f"{where}: float pixels go from {low} to {high}: clipped to 0 to 1, by less than half a grey level."]


def _labels(
    arrays: Sequence[np.ndarray | None], pixels: Sequence[np.ndarray], files: Sequence[Path], name: str
) -> tuple[list[Int64[np.ndarray, " _"] | None], list[str]]:
    """The labels of each file as class indices, None without any, and notes. UserError unless each image has one."""
    given = []
    for array, images, file in zip(arrays, pixels, files, strict=True):
        if array is not None and array.shape != images.shape[:1]:
            raise UserError(
                f"{file}, array {name!r}: labels are {array.dtype} of shape {array.shape}. "
                f"Valid: one per image, of shape {images.shape[:1]}."
            )
        given += [] if array is None else [array]
    if not given:
        return [None] * len(files), []
    ranked, notes = class_indices(given, f"{files[0]}, array {name!r}")
    numbers = iter(ranked)
    return [None if array is None else next(numbers) for array in arrays], notes
