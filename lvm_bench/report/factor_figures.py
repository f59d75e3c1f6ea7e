"""Pictures of data with ground-truth factors: what a factor is, traversals, angles, axes against directions."""

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float64, UInt8

from lvm_bench import store
from lvm_bench.records import CONTROLS, IMAGES, SWEEPS, Run
from lvm_bench.report.figures import GAP, Strip, arrays_of, ordered, strip, write_strips
from lvm_bench.report.scores import Complain
from lvm_bench.report.tables import DATASETS, METHODS, label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRAME = (213, 94, 0)  # around the image of the real code
# Colours that colour-blind readers tell apart (Okabe & Ito). One marker more: 56 pairs before the first returns.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000", "#E69F00")
MARKERS = "osD^vPX*"
PAIRS = (
    ("mig.grid", "pca_mig.grid", "MIG (20 bins)", 1),
    ("factor_vae_score.grid", "pca_factor_vae_score.grid", "FactorVAE score (%)", 100),
)
PANEL = 3.1  # inches
Runs = dict[str, tuple[int, dict[str, np.ndarray]]]  # method: its median seed and that run's arrays
Points = dict[str, dict[str, np.ndarray]]  # score: method: [n 2], along axes and along directions


def write_figures(
    suite: Path, about: dict[str, Any], runs: Collection[Run], scores: pd.DataFrame, complain: Complain
) -> list[Path]:
    """For each data set with factors: its sweeps, traversals, angle matrices, and axis against PCA scores.

    A method is shown by the run whose PCA MIG is the median of its seeds.
    """
    written: list[Path] = []
    for dataset, facts in about.get("datasets", {}).items():
        if "factors" not in facts:
            continue
        names, own = facts["factors"]["names"], scores[scores["dataset"] == dataset]
        place = f"on {DATASETS.get(dataset, dataset)}, suite {about.get('suite', suite.name)}"
        here = [run for run in runs if run.dataset == dataset]
        medians = median_runs(here, own, about, complain)
        stem = suite / "figures" / dataset
        swept = next((run for run in here if SWEEPS in run.files), None)
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(names, (0, 0, 0, 0))
        sweeps = arrays_of(swept, SWEEPS, partial(shaped, shapes=shapes), complain) if swept else None
        if sweeps:
            rows = [(name, strip(sweeps[name])) for name in names]
            title = f"{DATASETS.get(dataset, dataset)}: one factor at a time"
            written.append(write_strips(stem.with_name(f"{dataset}-sweeps.png"), title, rows))
        if medians:
            title = f"Traversals {place} (framed: a real code)"
            written.append(write_strips(stem.with_name(f"{dataset}-traversals.png"), title, traversals(medians, names)))
            written.append(_save(stem.with_name(f"{dataset}-angles.png"), angle_panels(medians, names, own, place)))
        points = paired(own)
        if points:
            written.append(_save(stem.with_name(f"{dataset}-axes-against-pca.png"), scatter(points, about, place)))
    return written


def median_runs(here: Collection[Run], scores: pd.DataFrame, about: dict[str, Any], complain: Complain) -> Runs:
    """For each method on a data set the run of the median PCA MIG with pictures: of an even number the lower one."""
    runs = {(run.method, run.seed): run for run in here if IMAGES in run.files}
    k = len(about["datasets"][next(iter(runs.values())).dataset]["factors"]["names"]) if runs else 0
    choose = partial(shaped, shapes={"directions": (k, 0), "traversal": (k, 0, 0, 0, 0)})
    found: Runs = {}
    for method in ordered({method for method, _ in runs}, about):
        ranked = _of(scores, method, "pca_mig.grid").dropna().sort_values(kind="stable")
        if ranked.empty:
            continue
        seed = int(ranked.index[(len(ranked) - 1) // 2])
        arrays = arrays_of(runs[method, seed], IMAGES, choose, complain) if (method, seed) in runs else None
        if arrays:
            found[method] = (seed, arrays)
    return found


def shaped(stored: Any, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Arrays by their names and shapes (0: any size); ValueError or KeyError where they are not so."""
    return {name: _checked(name, stored[name], shape) for name, shape in shapes.items()}


def _checked(name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array; ValueError unless it has the shape (0: any size) and is images, or of two dimensions and finite."""
    fits = array.ndim == len(shape) and all(want in (0, size) for want, size in zip(shape, array.shape, strict=True))
    if fits and (array.dtype == np.uint8 and array.shape[-3] in (1, 3) if len(shape) > 2 else np.isfinite(array).all()):
        return array
    raise ValueError(f"{name} is {array.dtype} {array.shape} or not finite, not what can be drawn")


def _of(scores: pd.DataFrame, method: str, metric: str) -> pd.Series:
    """The values of one metric by seed."""
    chosen = scores[(scores["method"] == method) & (scores["metric"] == metric)]
    return chosen.set_index("seed")["value"]


def traversals(runs: Runs, names: list[str]) -> list[Strip]:
    """A row per method and direction, each image a step along it; the middle one, of the real code, framed."""
    rows = []
    for method, (seed, arrays) in runs.items():
        for name, images in zip(names, arrays["traversal"], strict=True):
            rows.append((f"{label(method)}\nseed {seed}\n{name}", framed(strip(images), len(images))))
    return rows


def framed(row: UInt8[np.ndarray, "h w 3"], n: int) -> UInt8[np.ndarray, "h w 3"]:
    """A strip of n images with a frame around the middle one."""
    row, width = row.copy(), row.shape[1] // n
    left = n // 2 * width
    inner = row[GAP:-GAP, left + GAP : left + width - GAP].copy()
    row[:, left : left + width] = FRAME
    row[GAP:-GAP, left + GAP : left + width - GAP] = inner
    return row


def angles(directions: Float64[np.ndarray, "k l"]) -> Float64[np.ndarray, "k k"]:
    """The angle in degrees between the lines along each two directions, 0 on the diagonal."""
    degrees = np.degrees(np.arccos(np.clip(np.abs(directions @ directions.T), 0, 1)))
    np.fill_diagonal(degrees, 0)
    return degrees


def angle_panels(runs: Runs, names: list[str], scores: pd.DataFrame, place: str) -> "Figure":
    """Figure 4 of the AVAE paper: the angles between the directions of each method, above its PCA MIG."""
    columns = min(4, len(runs))
    rows = -(-len(runs) // columns)
    figure = _figure(max(PANEL * columns, 6.5), (PANEL + 0.5) * rows + 0.4)
    figure.suptitle(f"Angles between latent directions in degrees {place}", fontsize=11, weight="bold")
    for position, (method, (seed, arrays)) in enumerate(runs.items(), 1):
        axes = figure.add_subplot(rows, columns, position)
        degrees = angles(arrays["directions"])
        axes.imshow(degrees, cmap="cividis", vmin=0, vmax=90)
        for (i, j), value in np.ndenumerate(degrees):
            axes.text(
                j, i, f"{value:.0f}", ha="center", va="center", fontsize=7, color="white" if value < 50 else "black"
            )
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=7)
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.set_title(label(method), fontsize=10, parse_math=False)
        below = f"PCA MIG {_of(scores, method, 'pca_mig.grid')[seed]:.2f} (20 bins, seed {seed})"
        off = _of(scores, method, "angle_deviation.grid")
        if len(off):
            below += f"\nfrom 90 degrees: {off.mean():.0f} ± {off.std(ddof=0):.0f} over {len(off)} seeds"
        axes.set_xlabel(below, fontsize=8)
    return figure


def paired(scores: pd.DataFrame) -> Points:
    """The scores along axes and along latent directions of the methods' runs that have both."""
    found: Points = {}
    for axis, pca, name, scale in PAIRS:
        for method in sorted({*scores["method"].unique()} - {*CONTROLS}):
            both = pd.concat([_of(scores, method, axis), _of(scores, method, pca)], axis=1, join="inner").dropna()
            if len(both):
                found.setdefault(name, {})[method] = both.to_numpy() * scale
    return found


def style(method: str, methods: list[str]) -> tuple[str, str]:
    """A method's colour and marker: those of `METHODS` are the same in every picture, the others come after."""
    position = [*METHODS, *(name for name in methods if name not in METHODS)].index(method)
    return COLOURS[position % len(COLOURS)], MARKERS[position % len(MARKERS)]


def scatter(points: Points, about: dict[str, Any], place: str) -> "Figure":
    """Each run's score along its axes against that along its latent directions; on the diagonal they are equal."""
    figure = _figure(9.5, 4.6)
    figure.suptitle(f"Scores along axes and along latent directions {place}", fontsize=11, weight="bold")
    methods = ordered({method for runs in points.values() for method in runs}, about)
    handles = {}
    for position, (name, runs) in enumerate(points.items(), 1):
        axes = figure.add_subplot(1, len(points), position)
        for method in filter(runs.__contains__, methods):
            colour, marker = style(method, methods)
            along, directions = runs[method].T
            handles[method] = axes.scatter(along, directions, c=colour, marker=marker, s=36, edgecolors="white")
        top = 1.05 * max(axes.get_xlim()[1], axes.get_ylim()[1])
        axes.plot([0, top], [0, top], color="0.6", linewidth=1, zorder=0)
        axes.set(xlim=(0, top), ylim=(0, top), xlabel=f"{name} along axes", ylabel=f"PCA {name}", aspect="equal")
    shown = [handles[method] for method in methods]
    figure.legend(shown, [label(method) for method in methods], loc="outside right center", frameon=False)
    return figure


def _figure(width: float, height: float) -> "Figure":
    """An empty figure with a canvas of its own, without pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _save(file: Path, figure: "Figure") -> Path:
    store.write(file, lambda beside: figure.savefig(beside, format="png", dpi=120, metadata={"Software": None}))
    return file
