"""What a user's own images are, before any setting is chosen for them."""

from pathlib import Path
from typing import Any, NamedTuple

from lvm_bench.data.file_tree import image_files
from lvm_bench.data.folder import FORMATS, GREY, folder, readable_formats
from lvm_bench.data.images import OWN_SPLIT
from lvm_bench.data.npz import read_ahead, shape_alone
from lvm_bench.errors import UserError

LARGEST = 64  # pixels along a side that larger image files are resized to
_LOOKED_AT = 100  # image files whose sizes are read


class Glance(NamedTuple):
    """The data set that reads some images, its options, the number and the shape of its training images."""

    base: str
    options: dict[str, Any]
    n_train: int  # before a validation split is taken off
    shape: tuple[int, int, int]  # c, h, w
    has_labels: bool


def glance(path: Path, test_path: Path | None) -> Glance:
    """What a folder of image files, or an .npz file, holds; UserError for anything else, and where a pair does not fit.

    `test_path` may be of the other kind.
    """
    options = {"path": str(path.absolute())} | ({"test_path": str(test_path.absolute())} if test_path else {})
    kinds = {kind_of(each): each for each in (path, test_path) if each}
    if len(kinds) == 2:
        return _of_one_of_each(kinds["npz"], options)
    return _of_folder(path, options) if "folder" in kinds else _of_npz(options)


def kind_of(path: Path) -> str:
    """`folder` or `npz`; UserError for anything else."""
    if path.is_dir():
        return "folder"
    if path.is_file() and path.suffix.lower() == ".npz":
        return "npz"
    found = "is neither a folder nor an .npz file" if path.exists() else "does not exist"
    raise UserError(f"{path}: {found}. Give a folder of image files, or an .npz file with an array `images`.")


def _of_one_of_each(file: Path, options: dict[str, Any]) -> Glance:
    """Of a folder and an .npz file, whose images have the shape that those of the folder get."""
    c, size, w = shape_alone(file)
    if size != w:
        raise UserError(
            f"{file}: its images have {size}x{w} pixels. Beside a folder, whose images become squares, give squares."
        )
    splits = folder(Path(), **options, size=size, channels=c)
    has_labels = splits.train.labels is not None
    return Glance("folder", options | {"size": size, "channels": c}, len(splits.train), (c, size, size), has_labels)


def _of_npz(options: dict[str, Any]) -> Glance:
    splits = read_ahead(**options)
    _, c, h, w = splits.train.pixels.shape
    has_labels = splits.train.labels is not None and splits.test.labels is not None
    return Glance("npz", options, len(splits.train), (c, h, w), has_labels)


def _of_folder(path: Path, options: dict[str, Any]) -> Glance:
    """Images are squares of the smallest side of the first files, up to 64 pixels, grey where these are."""
    import PIL.Image

    formats = readable_formats()
    files = image_files(path, {suffix for name in formats for suffix in FORMATS[name]}, "path").images
    sides, modes = [LARGEST], set()
    for file in files[:_LOOKED_AT]:
        try:
            with PIL.Image.open(path / file, formats=formats) as image:
                sides.append(min(image.size))
                modes.add(image.mode)
        except (OSError, ValueError, SyntaxError) as error:
            raise UserError(f"{path / file}: cannot be used as an image ({error}). Replace or remove it.") from error
    size, channels = min(sides), 1 if modes <= GREY else 3
    classes = {"" if len(file.parts) == 1 else file.parts[0] for file in files}
    n_train = len(files) if "test_path" in options else len(files) - len(files) // OWN_SPLIT
    options |= {"size": size, "channels": channels}
    return Glance("folder", options, n_train, (channels, size, size), "" not in classes and len(classes) > 1)
