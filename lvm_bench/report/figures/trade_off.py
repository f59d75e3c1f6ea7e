"""Scores against scores: reconstruction against samples, and samples against their causes in the AVAE paper."""

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float64

from lvm_bench.report.figures.arrays import ordered
from lvm_bench.report.figures.files import Folder, save
from lvm_bench.report.figures.style import (
    INK,
    Picture,
    legend,
    looks,
    name,
    panels,
    set_scale,
    single,
    where,
)
from lvm_bench.report.figures.words import score_name
from lvm_bench.report.tables import published
from lvm_bench.report.tables.statistics import spearman
from lvm_bench.runs.suite_record import About
from lvm_bench.suites.job import is_control
from lvm_bench.suites.labels import references
from lvm_bench.text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SOURCE, OURS = "avae-2024", "this suite"
ERRORS = {
    "sse.heldout": "squared error per held-out image",
    "mse.heldout": "squared error per value of held-out images",
}
KL, GAP, ENTROPY = "gaussian_kl_target.mean", "entropy_gap.mean", "entropy_paper.mean"
FAR = 10.0  # a line this many times below the nearest point would take the room of the points
CAUSES = {KL: "KL divergence to target (nats)", GAP: "size of the entropy gap (nats)"}

Points = dict[str, Float64[np.ndarray, "_ 2"]]  # by method


@dataclass(frozen=True)
class Relation:
    """The means of a cause and of the distance of samples, by method, and their rank correlation (95 % interval)."""

    whose: str
    cause: str  # a key of CAUSES
    distance: str
    points: Points  # one point (cause, distance) per method
    rho: float
    low: float
    high: float
    n: int  # methods with a prior and two finite means: only these count


def write(folder: Folder, about: About, scores: pd.DataFrame) -> list[Picture]:
    """<data set>-trade-off and <data set>-explanation for each data set that has distances of samples."""
    pictures = []
    extractor = about.extractor
    samples = f"frechet.fake@{extractor}"
    needed = scores[scores["metric"].isin([samples, *ERRORS, *CAUSES])]
    distance = score_name(samples, 30)
    for dataset in sorted(needed.loc[needed["metric"] == samples, "dataset"].unique()):
        own = needed[needed["dataset"] == dataset]
        place = where(dataset, about.suite)
        for error, words in ERRORS.items():
            found = pairs(own, error, samples)
            if any(map(finite, found.values())):
                title = f"Reconstruction against samples {place}"
                real = own.loc[(own["method"] == "real-images") & (own["metric"] == samples), "value"].mean()
                drawing = partial(draw, found, words, distance, float(real), about)
                text = _TRADE_OFF + _missing(found)
                pictures.append(Picture(save(folder, f"{dataset}-trade-off", drawing, title), title, text, dataset))
                break
        relations = [*ours(own, samples, distance), *theirs(dataset)]
        if any(relation.whose == OURS for relation in relations):
            title = f"Samples and the aggregate posterior {place}"
            file = save(folder, f"{dataset}-explanation", partial(draw_relations, relations, about), title)
            pictures.append(Picture(file, title, _EXPLANATION + _said(relations), dataset))
    return pictures


_TRADE_OFF = (
    "One point per run, the lower left corner is best: the error of reconstructions against the Fréchet distance of "
    "samples to real images. The dashed line is the distance of real held-out images, if it is not far below."
)
_EXPLANATION = (
    "The AVAE paper explains the quality of samples by how well the aggregate posterior matches what is sampled from. "
    "One point per method (mean over seeds): Fréchet distance of samples against the KL divergence of a Gaussian fit "
    "of the codes to the target, and against the size of the entropy gap, which sees what a Gaussian fit does not; "
    "above each panel Spearman's rank correlation with its 95 % interval. Hollow points, of methods without a prior, "
    "do not count."
)


def pairs(scores: pd.DataFrame, x: str, y: str) -> Points:
    """Two scores of each run that has both, by method. Controls are left out."""
    columns = [scores[scores["metric"] == key].set_index(["method", "seed"])["value"] for key in (x, y)]
    both = pd.concat(columns, axis=1, join="inner").sort_index()
    methods = both.index.get_level_values("method")
    return {str(m): both[methods == m].to_numpy() for m in methods.unique() if not is_control(m)}


def finite(points: Float64[np.ndarray, "n 2"]) -> bool:
    """Whether one of the points can be drawn."""
    return bool(np.isfinite(points).all(1).any())


def _missing(found: Points) -> str:
    count = sum(int((~np.isfinite(points).all(1)).sum()) for points in found.values())
    return f" Left out, as a score is not finite: {counted(count, 'run')}." if count else ""


def draw(found: Points, x: str, y: str, real: float, about: About) -> "Figure":
    """A point per run, and the distance of real images as a line."""
    figure, axes = single(2.4, len(found) + 1)
    look, entries = looks(ordered(found, about), about), {}
    for method in ordered(found, about):
        points = found[method][np.isfinite(found[method]).all(1)]
        if len(points):
            entries[name(method)] = _points(axes, points, look[method], hollow=method in references())
    axes.set(xlabel=x, ylabel=y)
    drawn = [points for points in found.values() if finite(points)]
    set_scale([axes], "x", (points[:, 0] for points in drawn))
    set_scale([axes], "y", (points[:, 1] for points in drawn))
    nearest = min(points[np.isfinite(points).all(1), 1].min(initial=math.inf) for points in found.values())
    if nearest / FAR < real < math.inf:
        entries["real images"] = axes.axhline(real, color=INK, linewidth=0.9, linestyle="--", zorder=1)
    legend(figure, entries)
    return figure


def _points(axes: "Axes", points: Float64[np.ndarray, "n 2"], style: dict[str, Any], hollow: bool) -> Any:
    inside = "none" if hollow else style["color"]
    look = {"facecolors": inside, "edgecolors": style["color"], "linewidths": 0.8 * hollow}
    return axes.scatter(points[:, 0], points[:, 1], marker=style["marker"], s=22, **look)


def ours(scores: pd.DataFrame, samples: str, distance: str) -> list[Relation]:
    """The relations between the two causes and samples, in a suite."""
    means = scores.groupby(["method", "metric"], observed=True)["value"].mean().unstack()
    return _relations(OURS, means, samples, distance)


def theirs(dataset: str) -> list[Relation]:
    """The same relations in the published tables; none for a data set that they lack.

    The published entropy gap is taken to the standard normal of the same table.
    """
    frame = published.load(SOURCE)
    frame = frame[(frame["dataset"] == dataset) & (frame["method"] != "")]
    means = frame.pivot_table(index="method", columns="metric", values="mean")
    if ENTROPY in means and "standard-normal" in means.index:
        means[GAP] = means[ENTROPY] - means[ENTROPY].to_dict()["standard-normal"]
    return _relations(
        f"published ({SOURCE})", means, "frechet.fake@inception", score_name("frechet.fake@inception", 30)
    )


def _relations(whose: str, means: pd.DataFrame, samples: str, distance: str) -> list[Relation]:
    """A relation for each cause that stands in `means` beside the distance."""
    found = []
    means = means[[not is_control(name) for name in means.index]]
    for cause in CAUSES:
        if not {cause, samples} <= {*means.columns}:
            continue
        both = means[[cause, samples]].astype(np.float64).abs()
        both = both[np.isfinite(both.to_numpy()).all(axis=1)]
        counted = both[~both.index.isin(references())]
        if len(both):
            rho = spearman(counted[cause].to_numpy(), counted[samples].to_numpy())
            points = {str(method): both.loc[[method]].to_numpy() for method in both.index}
            found.append(Relation(whose, cause, distance, points, *rho, len(counted)))
    return found


def correlation(relation: Relation) -> str:
    """A rank correlation with its interval, as text."""
    if math.isnan(relation.rho):
        return f"no rank correlation of {relation.n} method{'' if relation.n == 1 else 's'}"
    interval = "" if math.isnan(relation.low) else f" [{relation.low:.2f}, {relation.high:.2f}]"
    return f"ρ = {relation.rho:.2f}{interval}, {relation.n} methods".replace("-", "−")


def _said(relations: list[Relation]) -> str:
    return (
        " "
        + "; ".join(f"{relation.whose}, {CAUSES[relation.cause]}: {correlation(relation)}" for relation in relations)
        + "."
    )


def draw_relations(relations: list[Relation], about: About) -> "Figure":
    """A panel per relation. Ours stand above the published ones."""
    figure, places = panels(len(relations), 2, 2.05)
    methods = ordered({method for relation in relations for method in relation.points}, about)
    look = looks(methods, about)
    entries: dict[str, Any] = {}
    for axes, relation in zip(places, relations, strict=True):
        for method in filter(relation.points.__contains__, methods):
            made = _points(axes, relation.points[method], look[method], hollow=method in references())
            entries.setdefault(name(method), made)
        axes.set_title(f"{relation.whose}\n{correlation(relation)}", parse_math=False)
        axes.set(xlabel=CAUSES[relation.cause], ylabel=relation.distance)
    set_scale(places, "y", (points[:, 1] for relation in relations for points in relation.points.values()))
    for cause in CAUSES:
        alike = {axes: r.points for axes, r in zip(places, relations, strict=True) if r.cause == cause}
        set_scale(alike, "x", (points[:, 0] for own in alike.values() for points in own.values()))
    legend(figure, entries)
    return figure
