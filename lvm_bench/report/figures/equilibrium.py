"""Where training drives the codes: variance, parts of the KL, balance, dimension and entropy over updates."""

import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from lvm_bench.report.figures.arrays import column, histories, ordered, stacked
from lvm_bench.report.figures.style import (
    GREY,
    Picture,
    across,
    legend,
    looks,
    name,
    outer,
    panels,
    save,
    set_scale,
    where,
    whole_numbers,
)
from lvm_bench.report.tables import published
from lvm_bench.runs.record import Run
from lvm_bench.runs.score_files import Epochs, History
from lvm_bench.runs.suite_record import About

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SOURCE = "avae-2024"
VARIANCE, KL, BALANCE, ENTROPY = "variance over target", "KL to target, nats", "balance R", "entropy, nats"
PARTS = {"of it scale": "kl_scale", "of it mean": "kl_mean", "of it anisotropy": "kl_anisotropy"}
LOGGED = {
    **PARTS, BALANCE: "balance", "codes below the floor": "below_floor", "two-NN dimension": "dimension",
    ENTROPY: "entropy",
}  # fmt: skip
AIMS = {VARIANCE: 1.0, BALANCE: 1.0}  # drawn as lines
PRINTED = {KL: "gaussian_kl_target.mean", ENTROPY: "entropy_paper.mean"}  # what the paper gives
COLUMNS = 3

Panels = dict[str, dict[str, Float64[np.ndarray, "r e"]]]  # label: method: a row per seed
Published = dict[str, dict[str, float]]  # label: method: number


def write(folder: Path, about: About, runs: Iterable[Run], history: History) -> list[Picture]:
    """<data set>-equilibrium for each data set whose runs logged the parts of the KL."""
    pictures, runs = [], list(runs)
    for dataset in sorted({key[0] for key in history}):
        found, updates = values(history, dataset)
        if not found:
            continue
        title = f"Codes on their way {where(dataset, about.suite)}"
        theirs = printed([run for run in runs if run.dataset == dataset])
        file = save(folder, f"{dataset}-equilibrium", partial(draw, found, updates, theirs, about, title))
        pictures.append(Picture(file, title, _TEXT + _PRINTED * bool(theirs), dataset))
    return pictures


_TEXT = (
    "Codes of the validation images after each epoch, mean and range over seeds. The KL of their Gaussian fit to the "
    "method's target has three parts: it passes a minimum while the variance passes the target, so a low KL is no sign "
    "that training has converged. The balance R is the push of the kernel density estimate on the codes over the pull "
    "of the prior (1: equilibrium under scaling)."
)
_PRINTED = f" Dashed: what {SOURCE} prints."


def values(history: History, dataset: str) -> tuple[Panels, dict[str, Float64[np.ndarray, " e"]]]:
    """What each panel shows, and the updates after each epoch of each method; {} where no parts were logged."""
    found: Panels = {}
    updates = {}
    for method, seeds in histories(history, dataset).items():
        shown = {label: stacked([own[label] for own in map(_values, seeds.values())]) for label in (VARIANCE, KL)}
        shown |= {
            label: stacked([column(epochs, f"codes/{key}") for epochs in seeds.values()])
            for label, key in LOGGED.items()
        }
        if not np.isfinite(shown[KL]).any():
            continue
        updates[method] = across(stacked([column(epochs, "updates") for epochs in seeds.values()]))[0]
        for label, rows in shown.items():
            if np.isfinite(rows).any():
                found.setdefault(label, {})[method] = rows
    order = [VARIANCE, KL, *LOGGED]
    return {label: found[label] for label in order if label in found}, updates


def _values(epochs: Epochs) -> dict[str, Float64[np.ndarray, " e"]]:
    """The mean variance over the target, and the sum of the parts of the KL, after each epoch."""
    axes = [name for name in epochs[0] if name.startswith("aggregate_variance/")]
    variance = across(np.stack([column(epochs, axis) for axis in axes]))[0] if axes else column(epochs, "")
    parts = sum(column(epochs, f"codes/{key}") for key in PARTS.values())
    return {VARIANCE: variance / column(epochs, "target_variance"), KL: np.asarray(parts)}


def printed(runs: list[Run]) -> Published:
    """The published numbers of the methods of these runs, by panel; variants have those of their base."""
    theirs = {
        (row["dataset"], row["method"], row["metric"]): float(row["mean"])
        for row in published.load(SOURCE).to_dict("records")
    }
    found: Published = {}
    for run in runs:
        dataset, method = (str((run.settings or {}).get(key)) for key in ("dataset", "method"))
        for label, metric in PRINTED.items():
            number = theirs.get((dataset, method, metric), math.nan)
            if math.isfinite(number):
                found.setdefault(label, {})[run.method] = number
    return found


def draw(
    found: Panels, updates: dict[str, Float64[np.ndarray, " e"]], theirs: Published, about: About, title: str
) -> "Figure":
    """A panel per quantity with a line per method."""
    from matplotlib.lines import Line2D

    figure, places = panels(len(found), title, COLUMNS, 1.4)
    methods = ordered(updates, about)
    look: dict[str, dict[str, Any]] = looks(methods, about)
    for axes, (label, own) in zip(places, found.items(), strict=True):
        for method in filter(own.__contains__, methods):
            _line(axes, updates[method], own[method], look[method])
        if label in AIMS:
            axes.axhline(AIMS[label], color="black", linewidth=0.8)
        numbers = {method: number for method, number in theirs.get(label, {}).items() if method in own}
        for method, number in numbers.items():
            alone = len({*numbers.values()}) == 1
            axes.axhline(number, color="black" if alone else look[method]["color"], linewidth=0.8, linestyle="--")
        axes.set_title(label)
        set_scale(axes, "y", own.values())
        whole_numbers(axes, "updates")
    outer(places, COLUMNS)
    entries: dict[str, Any] = {name(method): Line2D([], [], **look[method]) for method in methods}
    if theirs:
        entries["published"] = Line2D([], [], color=GREY, linewidth=0.8, linestyle="--")
    legend(figure, entries)
    return figure


def _line(
    axes: "Axes", updates: Float64[np.ndarray, " e"], rows: Float64[np.ndarray, "r e"], style: dict[str, Any]
) -> None:
    mean, low, high = across(rows)
    known = np.isfinite(mean)
    axes.plot(updates[known], mean[known], markevery=max(1, int(known.sum()) // 4), markersize=2.8, **style)
    if len(rows) > 1:
        axes.fill_between(updates[known], low[known], high[known], color=style["color"], alpha=0.15, linewidth=0)
