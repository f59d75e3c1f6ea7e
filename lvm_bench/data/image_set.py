"""A set of images as it lies on disk, whole and in the order of its files: a folder, or an .npz or .npy file."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from lvm_bench.data.folder import LARGEST_SIZE, Look, labels_of, read_folder, square
from lvm_bench.data.glance import kind_of
from lvm_bench.data.images import Images, fingerprint
from lvm_bench.data.labels import class_indices
from lvm_bench.data.npy import read_npy
from lvm_bench.data.npz import LABELS, alone, arrays_in, channels_first, opened, to_bytes
from lvm_bench.errors import UserError

SHAPE = "shape (c x h x w)"  # the key of a protocol
UNCHANGED = "none"  # in the place of a resize
ARRAYS = ("images", "arr_0")  # of an .npz file: ours, and the name that numpy.savez gives to an array without one


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with the file of each (none of an array), the resize that they went through, and notes on both."""

    place: Path
    images: Images
    resize: str = UNCHANGED
    files: Sequence[Path] = ()
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """c, h, w."""
        return self.images.pixels.shape[1:]

    @property
    def shape_in_words(self) -> str:
        """Such as 3 x 32 x 32."""
        return " x ".join(map(str, self.shape))

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of the pixels and their shape."""
        return fingerprint([Images(self.images.pixels)])


def read_images(place: Path, option: str, size: int | None) -> ImageSet:
    """All images of a folder or an array's file; with a `size` their centre squares, resized with Pillow's LANCZOS.

    UserError for what cannot be read, for a single image, and for several sizes without a `size`.
    """
    if size is not None and not 1 <= size <= LARGEST_SIZE:
        raise UserError(f"--size {size}: choose 1 to {LARGEST_SIZE:,} pixels.")
    if place.suffix.lower() == ".npy" and place.is_file():
        found = _of_array(place, option, size)
    else:
        found = (_of_folder if kind_of(place) == "folder" else _of_arrays)(place, option, size)
    if len(found) < 2:
        raise UserError(f"{option} {place}: holds one image, and a set of images is measured. Give two or more.")
    return found


def _of_folder(place: Path, option: str, size: int | None) -> ImageSet:
    found = read_folder(place, option, Look(size, None, None, "white"))
    [labels] = labels_of([found.classes], place)
    resize = UNCHANGED if size is None else _resize(found.sizes, size)
    return ImageSet(place, Images(found.pixels, labels), resize, found.files, found.notes)


def _of_array(place: Path, option: str, size: int | None) -> ImageSet:
    (pixels,), notes = to_bytes([channels_first(read_npy(place, option), None, str(place))], [str(place)])
    return _set_of(place, pixels, None, notes, size)


def _of_arrays(place: Path, option: str, size: int | None) -> ImageSet:
    with opened(place) as archive:
        names = arrays_in(archive)
    others = [name for name in names if name != LABELS]
    chosen = next((name for name in ARRAYS if name in names), others[0] if len(others) == 1 else None)
    if chosen is None:
        raise UserError(
            f"{option} {place}: has the arrays {', '.join(names) or '(none)'}. Call the one of images {ARRAYS[0]!r}."
        )
    pixels, labels, notes = alone(place, chosen)
    return _set_of(place, pixels, None if labels is None else class_indices([labels], str(place))[0][0], notes, size)


def _set_of(
    place: Path, pixels: UInt8[np.ndarray, "n c h w"], labels: np.ndarray | None, notes: list[str], size: int | None
) -> ImageSet:
    """Images of a file without paths of their own, resized where a size is given."""
    h, w = pixels.shape[2:]
    resized, resize = (pixels, UNCHANGED) if size is None else (_resized(pixels, size), _resize({(w, h)}, size))
    return ImageSet(place, Images(resized, labels), resize, (), notes)


def _resize(sizes: set[tuple[int, int]], size: int) -> str:
    """The resize of images of these sizes (w, h) in words."""
    if sizes == {(size, size)}:
        return UNCHANGED
    before = "{} x {}".format(*next(iter(sizes))) if len(sizes) == 1 else "several sizes"
    return f"from {before}: centre square, Pillow's LANCZOS"


def _resized(pixels: UInt8[np.ndarray, "n c h w"], size: int) -> UInt8[np.ndarray, "n c s s"]:
    """The centre squares of images, resized as image files are."""
    from PIL.Image import fromarray

    c, h, w = pixels.shape[1:]
    if (h, w) == (size, size):
        return pixels
    found = np.empty((len(pixels), c, size, size), np.uint8)
    for index, image in enumerate(pixels):
        picture = fromarray(image[0] if c == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
        found[index] = square(picture, min(h, w), size, c)
    return found


def check_alike(sets: dict[str, ImageSet]) -> None:
    """UserError unless the images of all sets, which are named by their options, have one shape."""
    (first, one), *others = sets.items()
    for option, other in others:
        if other.shape[0] != one.shape[0]:
            told = (f"{option} {other.place} holds {_colour(other)}", f"{first} {one.place} holds {_colour(one)}")
            raise UserError(f"{told[0]}, and {told[1]}: they are not compared. Save both sets in one mode.")
        if other.shape != one.shape:
            shapes = (f"{option} {other.place} has images of {other.shape_in_words}", f"{first} {one.place} of")
            raise UserError(
                f"{shapes[0]} (c x h x w) and {shapes[1]} {one.shape_in_words}: they are compared at one size. Give "
                f"--size {min(*one.shape[1:], *other.shape[1:])}, say: centre squares of all sets are resized to it "
                "with Pillow's LANCZOS."
            )


def _colour(found: ImageSet) -> str:
    return "grey images (1 channel)" if found.shape[0] == 1 else f"colour images ({found.shape[0]} channels)"


def check_pairs(real: ImageSet, recon: ImageSet) -> list[str]:
    """A note where paired files have other names. UserError unless each real image has a reconstruction."""
    if len(real) != len(recon):
        raise UserError(
            f"--recon {recon.place} has {len(recon):,} images and --real {real.place} {len(real):,}: give the "
            "reconstruction of each real image, in the same order."
        )
    pairs = zip(real.files, recon.files, strict=False)
    other = next((pair for pair in pairs if pair[0].with_suffix("") != pair[1].with_suffix("")), None)
    if other is None:
        return []
    return [f"--recon: files are paired in the order of their paths: {other[1]} is taken for {other[0]}, for instance."]
