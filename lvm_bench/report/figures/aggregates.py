"""Interquartile means and performance profiles of Agarwal et al. 2021, arXiv:2108.13264, with bootstrap intervals."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from lvm_bench.report.figures.files import Folder, save
from lvm_bench.report.figures.style import Picture, looks, name, panels
from lvm_bench.report.tables.aggregate_tables import MOST, Aggregates
from lvm_bench.runs.suite_record import About

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKED = 25  # points of a profile, of which one is marked
LOWEST, HIGHEST = -1.0, 2.0  # scaled scores: a run far away would take the room of the others


def write(folder: Folder, about: About, found: Aggregates | None) -> list[Picture]:
    """Write aggregates.png and aggregates.pdf if at least two methods can be compared by at least two scores."""
    if found is None or len(found.methods) > MOST:
        return []
    text = (
        f"Scores of all runs over {len(found.blocks)} blocks (a data set and a score, {found.compared.seeds}), scaled "
        "in each block so that the worst mean of these methods is 0 and the best is 1. Left: the mean of the middle "
        "half of a method's scores, in the colour and with the marker that it has at the right. Right: the share of "
        "its scores above each value; the higher curve is better, and where two cross, neither method is better "
        "throughout."
    )
    if found.resamples:
        text += (
            " Lines and bands: 95 % intervals by the stratified bootstrap over seeds. They are too narrow where seeds "
            "are few and as a run's scores depend on each other."
        )
    title = f"Scores over {len(found.blocks)} blocks"
    return [Picture(save(folder, "aggregates", partial(draw, found, about), title), title, text)]


def draw(found: Aggregates, about: About) -> "Figure":
    """A point with its interval per method, the best at the top; beside it a profile with its band per method."""
    figure, (means, profiles) = panels(2, 2, max(2.0, 0.6 + 0.16 * len(found.methods)))
    look = looks(found.methods, about)
    thresholds = _thresholds(found)
    for place, method in enumerate(found.methods):
        style = look[method]
        mean, *ends = found.mean(method)
        if np.isfinite(mean):
            means.plot(mean, place, **style)
        means.plot(np.maximum(ends, LOWEST), [place, place], color=style["color"])
        shares, band = found.profile(method, thresholds)
        start = place * MARKED // len(found.methods)  # so that markers of equal curves lie side by side
        profiles.plot(thresholds, shares, drawstyle="steps-mid", markevery=(start, MARKED), markersize=2.5, **style)
        if band is not None:
            low, high = band
            profiles.fill_between(thresholds, low, high, color=style["color"], alpha=0.12, linewidth=0, step="mid")
    means.set_yticks(range(len(found.methods)), [name(method) for method in found.methods], parse_math=False)
    means.invert_yaxis()
    means.set_xlabel("interquartile mean of scaled scores")
    profiles.set(xlabel="scaled score τ", ylabel="share of scores above τ", ylim=(-0.02, 1.02))
    return figure


def _thresholds(found: Aggregates) -> Float64[np.ndarray, " t"]:
    """Values from just below the lowest to just above the highest scaled score, within what can be drawn."""
    every = np.concatenate([own for tasks in found.scores.values() for own in tasks])
    known = np.clip(every[np.isfinite(every)], LOWEST, HIGHEST)
    return np.linspace(known.min() - 0.02, known.max() + 0.02, 151)
