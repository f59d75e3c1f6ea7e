"""Grids of real, reconstructed, interpolated and sampled images; a PNG's bytes depend on the images alone."""

import io
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lvm_bench import store
from lvm_bench.errors import RunError
from lvm_bench.records import DELETE, IMAGES, Run
from lvm_bench.report.scores import Complain
from lvm_bench.report.tables import DATASETS, label

KINDS = {"real": "real", "recon": "reconstructed", "interpolated": "interpolated", "fake": "sampled"}
GAP = 2  # white pixels between images, after enlargement
BLOCK_GAP = 10  # white pixels above the images of a method
DPI = 100
Found = dict[str, tuple[int, dict[str, np.ndarray]]]  # method: its seed and images
Strip = tuple[str, np.ndarray]  # a label and the pixels of its row


def write_figures(suite: Path, about: dict[str, Any], runs: Iterable[Run], complain: Complain) -> list[Path]:
    """A grid per data set and method, from the lowest seed with images, and one per data set of them all."""
    written = []
    firsts: dict[str, dict[str, Run]] = {}
    for run in sorted(runs, key=lambda run: run.key):
        if IMAGES in run.files:
            firsts.setdefault(run.dataset, {}).setdefault(run.method, run)
    for dataset, methods in firsts.items():
        found: Found = {}
        for method in ordered({*methods}, about):
            images = arrays_of(methods[method], IMAGES, _images, complain)
            if images:
                found[method] = (methods[method].seed, images)
        place = f"on {DATASETS.get(dataset, dataset)}, suite {about.get('suite', suite.name)}"
        for method, (seed, images) in found.items():
            strips = [(words, strip(images[kind])) for kind, words in KINDS.items() if kind in images]
            title = f"{label(method)} {place}, seed {seed}"
            written.append(write_strips(suite / "figures" / f"{dataset}-{method}.png", title, strips))
        if found:
            seeds = sorted({seed for seed, _ in found.values()})
            title = f"{len(found)} methods {place}, seed {', '.join(map(str, seeds))}"
            written.append(write_strips(suite / "figures" / f"{dataset}.png", title, _combined(found)))
    return written


def arrays_of(
    run: Run, name: str, choose: Callable[[Any], dict[str, np.ndarray]], complain: Complain
) -> dict[str, np.ndarray] | None:
    """What `choose` takes out of a run's .npz file; None, and a complaint, where that cannot be drawn."""
    try:
        with np.load(io.BytesIO(run.content(name)), allow_pickle=False) as stored:
            return choose(stored)
    except RunError as error:
        complain(str(error))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        complain(f"{run.folder}/{name}: cannot be drawn ({error}). {DELETE}")
    return None


def ordered(names: set[str], about: dict[str, Any]) -> list[str]:
    """Names of methods in the order of the suite, unknown ones last."""
    known = [name for name in about.get("methods", []) if name in names]
    return known + sorted(names - {*known})


def _images(stored: Any) -> dict[str, np.ndarray]:
    images = {kind: stored[kind] for kind in KINDS if kind != "fake" or kind in stored}  # not every method can sample
    for kind, array in images.items():
        if array.ndim != 4 or array.dtype != np.uint8 or array.shape[1] not in (1, 3):
            raise ValueError(f"{kind} is {array.dtype} {array.shape}, not uint8 [n, 1 or 3, h, w]")
    return images


def strip(images: np.ndarray) -> np.ndarray:
    """uint8 images [n c h w] side by side as [H W 3], each enlarged by a whole factor to about 64 pixels."""
    factor = max(1, 64 // max(images.shape[2:]))
    large = images.repeat(factor, axis=2).repeat(factor, axis=3)
    framed = np.pad(large, ((0, 0), (0, 0), (GAP, GAP), (GAP, GAP)), constant_values=255)
    row = np.concatenate(list(framed), axis=2).transpose(1, 2, 0)
    return np.broadcast_to(row, (*row.shape[:2], 3)) if row.shape[2] == 1 else row


def _combined(found: Found) -> list[Strip]:
    """The real images once, then each method's reconstructions, interpolations and samples."""
    first = next(iter(found.values()))[1]
    strips: list[Strip] = [("real", strip(first["real"]))]
    for method, (_, images) in found.items():
        strips.append(("", np.full((BLOCK_GAP, 1, 3), 255, np.uint8)))
        for kind, words in KINDS.items():
            if kind != "real" and kind in images:
                strips.append((f"{label(method)}\n{words}", strip(images[kind])))
    return strips


def write_strips(file: Path, title: str, strips: list[Strip]) -> Path:
    """Draw labelled strips pixel for pixel, without pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    left, top = 130, 34
    height = top + sum(pixels.shape[0] for _, pixels in strips)
    width = left + max(pixels.shape[1] for _, pixels in strips)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    y = height - top
    figure.text(8 / width, 1 - top / 2 / height, title, va="center", fontsize=11, weight="bold", parse_math=False)
    for words, pixels in strips:
        y -= pixels.shape[0]
        figure.figimage(pixels, left, y, origin="upper")
        middle = (y + pixels.shape[0] / 2) / height
        figure.text((left - 8) / width, middle, words, ha="right", va="center", fontsize=10, parse_math=False)
    store.write(file, lambda beside: figure.savefig(beside, format="png", dpi=DPI, metadata={"Software": None}))
    return file
