"""Rows of images: real, reconstructed, interpolated and sampled ones, and paths between two."""

from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lvm_bench.report.figures import workers
from lvm_bench.report.figures.arrays import arrays_of, firsts, ordered
from lvm_bench.report.figures.style import Picture, look, name, where, write_png
from lvm_bench.runs.layout import IMAGES
from lvm_bench.runs.record import Run
from lvm_bench.runs.score_files import Complain
from lvm_bench.runs.suite_record import About
from lvm_bench.text import counted

KINDS = {"real": "real", "recon": "reconstructed", "interpolated": "interpolated", "fake": "sampled"}
GAP = 2  # white pixels between images, after enlargement
BLOCK_GAP = 10  # white pixels above the images of a method
DPI = 100
Found = dict[str, tuple[int, dict[str, np.ndarray]]]  # method: its seed and images
Strip = tuple[str, np.ndarray]  # a label and the pixels of its row


def write(
    folder: Path, about: About, runs: Iterable[Run], standing: Container[str], complain: Complain
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
            strips = [(words, strip(images[kind])) for kind, words in KINDS.items() if kind in images]
            title = f"{name(method)} {place}, seed {seed}"
            file = write_strips(folder / f"{dataset}-{method}-images.png", title, strips)
            pictures.append(Picture(file, title, _TEXT, dataset, method, from_runs=True))
        if found and f"{dataset}.png" not in standing:
            title = f"{counted(len(found), 'method')} {place}, {_seeds(found)}"
            file = write_strips(folder / f"{dataset}.png", title, _combined(found))
            pictures.append(Picture(file, f"Images of {title}", f"{_TEXT} {_SAME}", dataset, from_runs=True))
        paths = {method: both for method, both in found.items() if "path" in both[1]}
        if paths and f"{dataset}-interpolations.png" not in standing:
            title = f"Interpolations {place}, {_seeds(paths)}"
            rows = [(name(method), strip(images["path"])) for method, (_, images) in paths.items()]
            file = write_strips(folder / f"{dataset}-interpolations.png", title, rows)
            pictures.append(Picture(file, title, _PATH, dataset, from_runs=True))
    return pictures


_TEXT = (
    "Real held-out images, their reconstructions, the spherical midpoints of pairs of held-out codes, and samples, "
    "each the first ones in the order of the data or of the draws."
)
_SAME = "Every method shows the same images."
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


def strip(images: UInt8[np.ndarray, "n c h w"]) -> UInt8[np.ndarray, "H W 3"]:
    """Images side by side. Each is enlarged by a whole factor to about 64 pixels."""
    factor = max(1, 64 // max(images.shape[2:]))
    large = images.repeat(factor, axis=2).repeat(factor, axis=3)
    framed = np.pad(large, ((0, 0), (0, 0), (GAP, GAP), (GAP, GAP)), constant_values=255)
    row = np.concatenate(list(framed), axis=2).transpose(1, 2, 0)
    return np.broadcast_to(row, (*row.shape[:2], 3)) if row.shape[2] == 1 else row


def _combined(found: Found) -> list[Strip]:
    """The real images, then the reconstructions, interpolations and samples of each method."""
    first = next(iter(found.values()))[1]
    strips: list[Strip] = [("real", strip(first["real"]))]
    for method, (_, images) in found.items():
        strips.append(("", np.full((BLOCK_GAP, 1, 3), 255, np.uint8)))
        for kind, words in KINDS.items():
            if kind != "real" and kind in images:
                strips.append((f"{name(method)}\n{words}", strip(images[kind])))
    return strips


def write_strips(file: Path, title: str, strips: list[Strip]) -> Path:
    """Write labelled strips as a PNG, pixel for pixel and with room for the labels, by a worker."""
    workers.do(_write_strips, file, title, strips)
    return file


def _write_strips(file: Path, title: str, strips: list[Strip]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    longest = max(len(line) for words, _ in strips for line in words.splitlines() or [""])
    left, top = max(130, 20 + 8 * longest), 34
    height = top + sum(pixels.shape[0] for _, pixels in strips)
    width = max(left + max(pixels.shape[1] for _, pixels in strips), 20 + 10 * len(title))
    with look():
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        y = height - top
        figure.text(8 / width, 1 - top / 2 / height, title, va="center", fontsize=11, weight="bold", parse_math=False)
        for words, pixels in strips:
            y -= pixels.shape[0]
            figure.figimage(pixels, left, y, origin="upper")
            middle = (y + pixels.shape[0] / 2) / height
            figure.text((left - 8) / width, middle, words, ha="right", va="center", fontsize=10, parse_math=False)
        write_png(file, figure, DPI, exact=True)
