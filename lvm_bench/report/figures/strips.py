"""Rows of images: real, reconstructed, interpolated and sampled ones, and paths between two."""

import textwrap
from collections.abc import Container, Iterable
from typing import Any

import numpy as np

from lvm_bench.report.figures.arrays import arrays_of, firsts, ordered
from lvm_bench.report.figures.blocks import PER_ROW, Block, Images, write_blocks
from lvm_bench.report.figures.files import Folder
from lvm_bench.report.figures.style import COLUMN, WIDE, Picture, name, where
from lvm_bench.runs.layout import IMAGES
from lvm_bench.runs.record import Run
from lvm_bench.runs.score_files import Complain
from lvm_bench.runs.suite_record import About
from lvm_bench.text import counted

KINDS = {"real": "real", "recon": "reconstructed", "interpolated": "interpolated", "fake": "sampled"}
Found = dict[str, tuple[int, dict[str, np.ndarray]]]  # method: its seed and images


def write(
    folder: Folder, about: About, runs: Iterable[Run], standing: Container[str], complain: Complain
) -> list[Picture]:
    """A picture per data set and method, from the lowest seed with images; one of all methods, and one of paths.

    Files that are `standing` are left alone.
    """
    pictures = []
    for dataset, methods in firsts(runs, IMAGES).items():
        found: Found = {}
        for method in ordered(methods, about):
            images = arrays_of(methods[method], IMAGES, _images, complain)
            if images:
                found[method] = (methods[method].seed, images)
        place = where(dataset, about.suite)
        for method, (seed, images) in found.items():
            title = f"{name(method)} {place}, seed {seed}"
            file = write_blocks(folder, f"{dataset}-{method}-images", title, COLUMN, [[Block("", _kinds(images))]])
            pictures.append(Picture(file, title, _TEXT, dataset, method, from_runs=True))
        if found and f"{dataset}.png" not in standing:
            title = f"Images of {counted(len(found), 'method')} {place}, {_seeds(found)}"
            file = write_blocks(folder, dataset, title, WIDE, _table(found))
            pictures.append(Picture(file, title, f"{_TEXT} {_SAME}", dataset, from_runs=True))
        paths = {method: both for method, both in found.items() if "path" in both[1]}
        if paths and f"{dataset}-interpolations.png" not in standing:
            title = f"Interpolations {place}, {_seeds(paths)}"
            rows = [(_row(method, True), images["path"]) for method, (_, images) in paths.items()]
            file = write_blocks(folder, f"{dataset}-interpolations", title, COLUMN, [[Block("", rows)]])
            pictures.append(Picture(file, title, _PATH, dataset, from_runs=True))
    return pictures


_TEXT = (
    "Real held-out images, their reconstructions, the spherical midpoints of pairs of held-out codes, and samples, "
    "each the first eight in the order of the data or of the draws."
)
_SAME = "Every method shows the same images: reconstructions stand below the real ones."
_PATH = (
    "Decoded images along the spherical path from the code of one held-out image to that of another. The seed draws "
    "the two, the same for every method: smooth changes through plausible images are what one wants to see."
)


def _seeds(found: Found) -> str:
    return f"seed {', '.join(map(str, sorted({seed for seed, _ in found.values()})))}"


def _images(stored: Any) -> dict[str, np.ndarray]:
    # Some methods cannot sample, and older runs left no path.
    images = {kind: stored[kind] for kind in (*KINDS, "path") if kind in stored or kind not in ("fake", "path")}
    for kind, array in images.items():
        if array.ndim != 4 or array.dtype != np.uint8 or array.shape[1] not in (1, 3) or not array.size:
            raise ValueError(f"{kind} is {array.dtype} {array.shape}, not uint8 [n, 1 or 3, h, w]")
    return images


def _kinds(images: dict[str, Images]) -> list[tuple[str, Images | None]]:
    """A row per kind of image, with its first images."""
    return [(words, images[kind][:PER_ROW]) for kind, words in KINDS.items() if kind in images]


def _table(found: Found) -> list[list[Block]]:
    """The real images, and below them a block per kind of made ones, with a row for each method."""
    real = next(iter(found.values()))[1]["real"][:PER_ROW]
    blocks: list[Block] = []
    for kind, words in list(KINDS.items())[1:]:
        made = {method: images[kind][:PER_ROW] for method, (_, images) in found.items() if kind in images}
        if made:
            blocks.append(Block(words, [(_row(method, not blocks), made.get(method)) for method in found]))
    return [[Block("", [("real", real)])], blocks]


def _row(method: str, labelled: bool) -> str:
    """The label of a method's row, which the first block alone has, in lines of at most 16 characters."""
    return "\n".join(textwrap.wrap(name(method), 16)) if labelled else ""
