"""Pictures of data with ground-truth factors: sweeps, traversals, angles, and scores along axes and directions."""

from collections.abc import Collection
from functools import partial
from itertools import filterfalse
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float64

from lvm_bench.report.figures.arrays import arrays_of, ordered
from lvm_bench.report.figures.blocks import Block, write_blocks
from lvm_bench.report.figures.files import Folder, save
from lvm_bench.report.figures.style import (
    COLUMN,
    INK,
    SMALLEST,
    WIDE,
    Picture,
    balanced,
    dataset_name,
    legend,
    looks,
    name,
    outer,
    panels,
    plain,
    where,
)
from lvm_bench.runs.layout import IMAGES, SWEEPS
from lvm_bench.runs.record import Run
from lvm_bench.runs.score_files import Complain
from lvm_bench.runs.suite_record import About
from lvm_bench.suites.job import is_control

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 4
PAIRS = (
    ("mig.grid", "pca_mig.grid", "MIG (20 bins)", 1),
    ("factor_vae_score.grid", "pca_factor_vae_score.grid", "FactorVAE score (%)", 100),
)
Runs = dict[str, tuple[int, dict[str, np.ndarray]]]  # by method, its median seed and the arrays of that run
Points = dict[str, dict[str, np.ndarray]]  # by score and method, [n 2]: along axes and along directions


def write(
    folder: Folder, about: About, runs: Collection[Run], scores: pd.DataFrame, complain: Complain
) -> list[Picture]:
    """Sweeps, traversals, angles, and scores along axes and directions, for each data set with factors.

    A method is shown by the run whose PCA MIG is the median of its seeds.
    """
    pictures: list[Picture] = []
    for dataset, facts in about.datasets.items():
        if "factors" not in facts:
            continue
        names, own = facts["factors"]["names"], scores[scores["dataset"] == dataset]
        place = where(dataset, about.suite)
        here = [run for run in runs if run.dataset == dataset]
        medians = median_runs(here, own, about, complain)
        swept = next((run for run in here if SWEEPS in run.files), None)
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(names, (0, 0, 0, 0))
        sweeps = arrays_of(swept, SWEEPS, partial(shaped, shapes=shapes), complain) if swept else None
        if sweeps:
            block = Block("", [(plain(factor), sweeps[factor]) for factor in names])
            title = f"{dataset_name(dataset)}: one factor at a time"
            file = write_blocks(folder, f"{dataset}-sweeps", title, COLUMN, [[block]])
            pictures.append(Picture(file, title, _SWEEPS, dataset, from_runs=True))
        if medians:
            title = f"Traversals {place} (framed: a real code)"
            file = write_blocks(folder, f"{dataset}-traversals", title, WIDE, traversals(medians, names))
            pictures.append(Picture(file, title, _TRAVERSALS, dataset, from_runs=True))
            title = f"Angles between latent directions {place}"
            file = save(folder, f"{dataset}-angles", partial(angle_panels, medians, names, own), title)
            pictures.append(Picture(file, title, _ANGLES, dataset, from_runs=True))
        points = paired(own)
        if points:
            title = f"Scores along axes and along latent directions {place}"
            file = save(folder, f"{dataset}-axes-against-pca", partial(scatter, points, about), title)
            pictures.append(Picture(file, title, _SCATTER, dataset))
    return pictures


_SWEEPS = "Images of the data set along which one factor changes."
_TRAVERSALS = (
    "The code of one real image, framed, moved along the latent direction of each factor; one wants to see that "
    "factor change and no other. Each method by the run of the median PCA MIG."
)
_ANGLES = (
    "Figure 4 of the AVAE paper: the angle in degrees between each two latent directions of the run of the median PCA "
    "MIG. Independent factors are at right angles, 90 degrees. Above each: its PCA MIG with 20 bins, and over all "
    "seeds the mean deviation from 90 degrees with its standard deviation."
)
_SCATTER = "One point per run; above the diagonal the latent directions separate factors better than the axes do."


def median_runs(here: Collection[Run], scores: pd.DataFrame, about: About, complain: Complain) -> Runs:
    """For each method, the run with pictures whose PCA MIG is the median; of an even number of runs, the lower one."""
    runs = {(run.method, run.seed): run for run in here if IMAGES in run.files}
    k = len(about.datasets[next(iter(runs.values())).dataset]["factors"]["names"]) if runs else 0
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
    """The named arrays; ValueError or KeyError unless they have these shapes (0: any size)."""
    return {name: _checked(name, stored[name], shape) for name, shape in shapes.items()}


def _checked(name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array; ValueError unless it has the shape (0: any size) and holds images or, in 2-D, finite numbers."""
    fits = (
        array.ndim == len(shape)
        and array.size
        and all(want in (0, size) for want, size in zip(shape, array.shape, strict=True))
    )
    if fits and (array.dtype == np.uint8 and array.shape[-3] in (1, 3) if len(shape) > 2 else np.isfinite(array).all()):
        return array
    raise ValueError(f"{name} is {array.dtype} {array.shape} or not finite, not what can be drawn")


def _of(scores: pd.DataFrame, method: str, metric: str) -> pd.Series:
    """The values of one metric by seed."""
    chosen = scores[(scores["method"] == method) & (scores["metric"] == metric)]
    return chosen.set_index("seed")["value"]


def traversals(runs: Runs, names: list[str]) -> list[list[Block]]:
    """A block per method with a row per direction, two abreast. The middle image, of the real code, is framed."""
    blocks = [
        Block(
            f"{name(method)}, seed {seed}",
            [(plain(factor), images) for factor, images in zip(names, arrays["traversal"], strict=True)],
            arrays["traversal"].shape[1] // 2,
        )
        for method, (seed, arrays) in runs.items()
    ]
    return [blocks[at : at + 2] for at in range(0, len(blocks), 2)]


def angles(directions: Float64[np.ndarray, "k l"]) -> Float64[np.ndarray, "k k"]:
    """The angle in degrees between the lines along each two directions; 0 on the diagonal."""
    degrees = np.degrees(np.arccos(np.clip(np.abs(directions @ directions.T), 0, 1)))
    np.fill_diagonal(degrees, 0)
    return degrees


def angle_panels(runs: Runs, names: list[str], scores: pd.DataFrame) -> "Figure":
    """Figure 4 of the AVAE paper: the angles between the directions of each method, under its PCA MIG."""
    figure, places = panels(len(runs), COLUMNS, 1.0)
    width, rows = figure.get_size_inches()
    panel = 0.5 + (width - 0.8) / balanced(len(runs), COLUMNS)
    figure.set_size_inches(width, rows * panel + 0.6)  # the last row has labels below
    ticks = [plain(factor, 12) for factor in names]
    for axes, (method, (seed, arrays)) in zip(places, runs.items(), strict=True):
        degrees = angles(arrays["directions"])
        axes.imshow(degrees, cmap="cividis", vmin=0, vmax=90)
        for (i, j), value in np.ndenumerate(degrees):
            shade = "white" if value < 50 else "black"
            axes.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=SMALLEST, color=shade)
        axes.set_xticks(range(len(names)), ticks, rotation=45, ha="right", parse_math=False)
        axes.set_yticks(range(len(names)), ticks, parse_math=False)
        axes.grid(False)
        above = f"{plain(name(method), 22)}\nPCA MIG {_of(scores, method, 'pca_mig.grid')[seed]:.2f} (seed {seed})"
        off = _of(scores, method, "angle_deviation.grid")
        if len(off):
            above += f"\nfrom 90°: {off.mean():.0f} ± {off.std(ddof=0):.0f} ({len(off)} seeds)"
        axes.set_title(above, parse_math=False)
        axes.set(xlabel="latent direction of", ylabel="latent direction of")
    outer(places, COLUMNS, alike=True)
    figure.draw_without_rendering()  # panels of a fixed aspect take two layouts to find their places
    return figure


def paired(scores: pd.DataFrame) -> Points:
    """The scores along axes and along latent directions of the runs that have both."""
    found: Points = {}
    for axis, pca, words, scale in PAIRS:
        for method in sorted(filterfalse(is_control, scores["method"].unique())):
            both = pd.concat([_of(scores, method, axis), _of(scores, method, pca)], axis=1, join="inner").dropna()
            if len(both):
                found.setdefault(words, {})[method] = both.to_numpy() * scale
    return found


def scatter(points: Points, about: About) -> "Figure":
    """A point per run: its score along axes and its score along directions. They are equal on the diagonal."""
    figure, places = panels(len(points), 2, 2.9)
    methods = ordered({method for runs in points.values() for method in runs}, about)
    look = looks(methods, about)
    handles: dict[str, Any] = {}
    for axes, (score, runs) in zip(places, points.items(), strict=True):
        for method in filter(runs.__contains__, methods):
            along, directions = runs[method].T
            style = look[method]
            handles[name(method)] = axes.scatter(
                along, directions, c=style["color"], marker=style["marker"], s=26, linewidths=0
            )
        top = 1.05 * max(axes.get_xlim()[1], axes.get_ylim()[1])
        axes.plot([0, top], [0, top], color=INK, linewidth=0.8, zorder=0)
        axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
        axes.set(xlabel=f"{score} along axes", ylabel=f"{score} along latent directions")
    legend(figure, handles)
    return figure
