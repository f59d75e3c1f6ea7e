"""A user's own arrays in an .npz file."""

import lzma
import math
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64, UInt8

from lvm_bench.data.images import Images, Splits, dataset, own_splits
from lvm_bench.errors import UserError

Layout = Literal["channels-first", "channels-last"]
LABELS = "labels"
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
    """Your own arrays: [n h w], [n c h w] or [n h w c] with c = 1 or 3, uint8 or floats in [0, 1].

    `images` and `labels` name the arrays in the file. A file may lack labels if `labels` keeps its default.
    Without `test_path`, a sixth of the images, in a fixed random order, are the test images.
    """
    train = _read(root / Path(path).expanduser(), images, labels, layout)
    test = None if test_path is None else _read(root / Path(test_path).expanduser(), images, labels, layout)
    if test is not None and test.pixels.shape[1:] != train.pixels.shape[1:]:
        raise UserError(
            f"{test_path}: its images are {test.pixels.shape[1:]} (c, h, w), those of {path} "
            f"{train.pixels.shape[1:]}. Give both files images of one shape."
        )
    return own_splits("npz", train, test)


def _read(file: Path, images: str, labels: str, layout: Layout | None) -> Images:
    """The images and labels of a file; UserError unless its arrays can be used."""
    try:
        if file.exists() and not file.is_file():  # a pipe may have no end
            raise ValueError("it is no file")
        with file.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            keys = [member.removesuffix(".npy") for member in archive.namelist()]
            found = {name: stored(archive, name) for name in {images, labels} if name in keys}
    except FileNotFoundError as error:
        raise UserError(f"{file}: does not exist. Set path or test_path of the data set 'npz' to a file.") from error
    except UNREADABLE as error:
        raise UserError(f"{file}: cannot be read as .npz ({error}). Write it again with numpy.savez.") from error
    for name in [images] if labels == LABELS else [images, labels]:
        if name not in found:
            raise UserError(f"{file}: has no array {name!r}; it has {', '.join(map(repr, keys))}.")
    pixels = channels_first(found[images], layout, f"{file}, array {images!r}")
    return Images(to_bytes(pixels, f"{file}, array {images!r}"), _labels(found.get(labels), len(pixels), file, labels))


def array_header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, whether it is column-major, dtype) of an array in the format of NumPy. The stream moves to its data."""
    version = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return header(stream)


def stored(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array of an .npz archive. ValueError, before memory is taken, if its header promises other data."""
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as stream:
        shape, _, dtype = array_header(stream)
        there = member.file_size - stream.tell()
    possible = member.file_size <= INFLATION * member.compress_size
    if not dtype.hasobject and (
        math.prod(shape) * dtype.itemsize != there or min(shape, default=0) < 0 or not possible
    ):
        raise ValueError(f"the array {name!r} promises {dtype} {shape}, and there are other bytes")
    with archive.open(member) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


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
        raise UserError(
            f"{where}: the shape {array.shape} is not that of images{f' with {layout}' if layout else ''}. "
            "Valid: (n, h, w), (n, c, h, w) and (n, h, w, c) with c = 1 or 3, and n, h, w at least 1."
        )
    return array if chosen == "channels-first" else array.transpose(0, 3, 1, 2)


def to_bytes(array: np.ndarray, where: str) -> UInt8[np.ndarray, "n c h w"]:
    """uint8 pixels unchanged, floats v in [0, 1] as round(255 v). UserError for anything else."""
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise UserError(f"{where}: pixels are {array.dtype}. Valid: uint8 from 0 to 255, or floats from 0 to 1.")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):  # NaN fails both comparisons
        raise UserError(
            f"{where}: float pixels go from {low:g} to {high:g}. Valid: 0 to 1, or uint8 from 0 to 255. Rescale them."
        )
    return np.rint(np.multiply(array, 255, dtype=np.result_type(array, np.float32))).astype(np.uint8, order="C")


def _labels(array: Any, n: int, file: Path, name: str) -> Int64[np.ndarray, " n"] | None:
    """Labels as int64, None without any; UserError unless they are n integers from 0."""
    if array is None:
        return None
    if array.shape != (n,) or not np.issubdtype(array.dtype, np.integer) or array.min() < 0:
        raise UserError(
            f"{file}, array {name!r}: labels are {array.dtype} of shape {array.shape}. "
            f"Valid: integers from 0, of shape ({n},)."
        )
    return array.astype(np.int64)
