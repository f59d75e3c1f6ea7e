"""CelebA-HQ from a folder or a zip archive of its 30,000 images, in whatever repack one has."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import UInt8

from lvm_bench.data.file_tree import image_files
from lvm_bench.data.folder import progress, square
from lvm_bench.data.images import Images, Outline, Splits, dataset
from lvm_bench.data.npz import UNREADABLE
from lvm_bench.data.processed import processed
from lvm_bench.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

TRAIN, TEST, SIZE = 24_000, 6_000, 256
SUFFIXES = {".jpg", ".jpeg", ".png", ".npy"}
MOST_BYTES = 1 << 26  # of a file that holds one image: 1024 x 1024 pixels are three million

Read = Callable[[str], bytes]  # the content of a file by its name


def _outline(**_: str) -> Outline:
    return Outline((3, SIZE, SIZE), TRAIN, 0, TEST)


@dataset(
    "celeba-hq",
    label="CelebA-HQ",
    value_range=(-1, 1),
    licence="non-commercial research only",
    outline=_outline,
)
def celeba_hq(root: Path, *, path: str = "celeba-hq", resampling: Literal["lanczos", "box"] = "lanczos") -> Splits:
    """Faces, 3 x 256 x 256, of a folder or zip of 30,000 files, sorted by name. Karras, Aila, Laine & Lehtinen 2018.

    Files are JPEG, PNG, or .npy of one image each. The first 24,000 train, the other 6,000 test. There is no official
    archive with a checksum: that of the files that are found is told.
    """
    place = root / Path(path).expanduser()
    if not place.exists() and place.with_name(f"{place.name}.zip").is_file():
        place = place.with_name(f"{place.name}.zip")
    with _opened(place) as (names, read):
        if len(names) != TRAIN + TEST:
            raise UserError(
                f"{place}: holds {len(names):,} images ({', '.join(sorted(SUFFIXES))}), and CelebA-HQ has "
                f"{TRAIN + TEST:,}. Set path of the data set 'celeba-hq' to a folder or zip of exactly these."
            )
        checksum = _checksum(place, names, read)
        causes = [checksum, resampling, SIZE]
        pixels = processed(
            "celeba-hq", causes, (len(names), 3, SIZE, SIZE), partial(_fill, place, names, read, resampling)
        )
    note = f"{place}: {len(names):,} images, sha256 of their names and files {checksum}."
    return Splits(Images(pixels[:TRAIN]), Images(pixels[TRAIN:]), notes=(note,))


@contextmanager
def _opened(place: Path) -> Iterator[tuple[list[str], Read]]:
    """Inside this context: the names of the images in a folder or zip, sorted, and what reads one of them."""
    if place.is_dir():
        names = [str(file) for file in image_files(place, SUFFIXES, "path").images]
        yield sorted(names), lambda name: (place / name).read_bytes()
    elif place.is_file():
        try:
            with zipfile.ZipFile(place) as archive:
                names = [name for name in archive.namelist() if _is_shown(PurePosixPath(name))]
                yield sorted(names), partial(_member, archive)
        except UNREADABLE as error:
            raise UserError(f"{place}: cannot be read as a zip archive ({error}). Get it anew.") from error
    else:
        raise UserError(
            f"{place} is missing: put a folder or a .zip of CelebA-HQ's {TRAIN + TEST:,} images there, such as "
            "CelebA-HQ-img of CelebAMask-HQ, or set path of the data set 'celeba-hq'."
        )


def _is_shown(name: PurePosixPath) -> bool:
    """Whether a member of an archive is an image, and not hidden or of macOS."""
    return name.suffix.lower() in SUFFIXES and not any(part.startswith((".", "__MACOSX")) for part in name.parts)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > MOST_BYTES:
        raise ValueError(f"{name} has more than {MOST_BYTES:,} bytes")
    return archive.read(name)


def _checksum(place: Path, names: list[str], read: Read) -> str:
    """The SHA-256 of the names and contents of the images in order, in hexadecimal."""
    total = hashlib.sha256()
    for name in progress(names, f"Checksum of {place.name}"):
        total.update(f"{Path(name).name} {hashlib.sha256(read(name)).hexdigest()}\n".encode())
    return total.hexdigest()


def _fill(place: Path, names: list[str], read: Read, resampling: str, pixels: UInt8[np.ndarray, "n 3 h w"]) -> None:
    import PIL.Image

    for index, name in enumerate(progress(names, "CelebA-HQ: resize, once")):
        try:
            with _decoded(name, read(name)) as image:
                if image.width != image.height:
                    raise ValueError(f"{image.width} x {image.height} pixels, no square")
                pixels[index] = square(image, image.width, SIZE, resampling=resampling.upper())
        except (*UNREADABLE, SyntaxError, TypeError, PIL.Image.DecompressionBombError) as error:
            raise UserError(f"{place}, {name}: cannot be used as an image ({error}). Replace it.") from error


def _decoded(name: str, content: bytes) -> "Image":
    """The image in a file: JPEG or PNG, or an array [c h w], [1 c h w] or [h w c] of bytes."""
    import PIL.Image

    if not name.lower().endswith(".npy"):
        return PIL.Image.open(io.BytesIO(content), formats=["JPEG", "PNG"])
    array = np.load(io.BytesIO(content), allow_pickle=False)
    array = array[0] if array.ndim == 4 and len(array) == 1 else array
    if array.dtype != np.uint8 or array.ndim != 3 or 3 not in (array.shape[0], array.shape[2]):
        raise ValueError(f"an array {array.dtype} {array.shape}, not uint8 of one image of 3 channels")
    return PIL.Image.fromarray(np.ascontiguousarray(array if array.shape[2] == 3 else array.transpose(1, 2, 0)))
