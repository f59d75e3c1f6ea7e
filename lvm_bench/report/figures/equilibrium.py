"""Where training drives the codes: parts of the KL, and variance, balance, dimension and entropy over updates."""

import math
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from lvm_bench.report.figures.arrays import column, histories, ordered, stacked
from lvm_bench.report.figures.files import Folder, save
from lvm_bench.report.figures.style import (
    INK,
    Picture,
    across,
    legend,
    looks,
    name,
    outer,
    panels,
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
FLOOR = "share of codes\nbelow the floor"
VARIANCE, KL, BALANCE, ENTROPY = "variance over target", "KL to target\n(nats)", "balance R", "entropy (nats)"
PARTS = {
    "scale part\n(nats)": "kl_scale", "mean part\n(nats)": "kl_mean", "anisotropy part\n(nats)": "kl_anisotropy",
}  # fmt: skip
LOGGED = {
    BALANCE: "balance", FLOOR: "below_floor", "two-NN dimension": "dimension",
    ENTROPY: "entropy",
}  # fmt: skip
AIMS = {VARIANCE: 1.0, BALANCE: 1.0}  # drawn as lines
PRINTED = {KL: "gaussian_kl_target.mean", ENTROPY: "entropy_paper.mean"}  # what the paper gives
DEEPEST = 1e4  # the ratio of the largest part of the KL to the least that is drawn

Panels = dict[str, dict[str, Float64[np.ndarray, "r e"]]]  # label: method: a row per seed
Published = dict[str, dict[str, float]]  # label: method: number


def write(folder: Folder, about: About, runs: Iterable[Run], history: History) -> list[Picture]:
    """<data set>-kl-parts and <data set>-equilibrium for each data set whose runs logged the parts of the KL."""
    pictures, runs = [], list(runs)
    for dataset in sorted({key[0] for key in history}):
        found, updates = values(history, dataset)
        if not found:
            continue
        theirs = printed([run for run in runs if run.dataset == dataset])
        parts = {label: own for label, own in found.items() if label in (KL, *PARTS)}
        others = {label: own for label, own in found.items() if label not in parts}
        for stem, words, text, shown in (
            ("kl-parts", "Divergence from the target", _PARTS, parts),
            ("equilibrium", "Codes on their way", _OTHERS, others),
        ):
            if shown:
                title = f"{words} {where(dataset, about.suite)}"
                dashed = _PRINTED * any(label in shown for label in theirs)
                file = save(folder, f"{dataset}-{stem}", partial(draw, shown, updates, theirs, about), title)
                pictures.append(Picture(file, title, text + dashed, dataset))
    return pictures


_PARTS = (
    "The KL divergence of a Gaussian fit of the validation images' codes to the method's target, and the three parts "
    "whose sum it is, after each epoch, mean and range over seeds. It passes a minimum while the variance passes the "
    "target, so a low KL is no sign that training has converged."
)
_OTHERS = (
    "Codes of the validation images after each epoch, mean and range over seeds. The balance R is the push of the "
    "kernel density estimate on the codes over the pull of the prior (1: equilibrium under scaling); codes below the "
    "floor of the density estimate are not pushed; the two-NN dimension is the intrinsic dimension of the codes."
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
            for label, key in (PARTS | LOGGED).items()
        }
        if not np.isfinite(shown[KL]).any():
            continue
        updates[method] = across(stacked([column(epochs, "updates") for epochs in seeds.values()]))[0]
        for label, rows in shown.items():
            if np.isfinite(rows).any():
                found.setdefault(label, {})[method] = rows
    order = [KL, *PARTS, VARIANCE, *LOGGED]
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


def draw(found: Panels, updates: dict[str, Float64[np.ndarray, " e"]], theirs: Published, about: About) -> "Figure":
    """A panel per quantity with a line per method. Parts of the KL stand on equal axes."""
    from matplotlib.lines import Line2D

    columns = 4 if KL in found else 3
    figure, places = panels(len(found), columns, 1.45)
    methods = ordered(updates, about)
    look: dict[str, dict[str, Any]] = looks(methods, about)
    for axes, (label, own) in zip(places, found.items(), strict=True):
        for method in filter(own.__contains__, methods):
            _line(axes, updates[method], own[method], look[method])
        if label in AIMS:
            axes.axhline(AIMS[label], color=INK, linewidth=0.8)
        numbers = {method: number for method, number in theirs.get(label, {}).items() if method in own}
        for method, number in numbers.items():
            alone = len({*numbers.values()}) == 1
            axes.axhline(number, color=INK if alone else look[method]["color"], linewidth=0.8, linestyle="--")
        axes.set_ylabel(label)
        if label == FLOOR:
            axes.set_ylim(-0.03, 1.03)
        whole_numbers(axes, "updates")
    if KL in found:
        _equal(places, found)
    outer(places, columns)
    entries: dict[str, Any] = {name(method): Line2D([], [], **look[method]) for method in methods}
    if any(label in found for label in theirs):
        entries["published"] = Line2D([], [], color=INK, linewidth=0.8, linestyle="--")
    legend(figure, entries)
    return figure


def _equal(places: list["Axes"], found: Panels) -> None:
    """Give the panels of the KL and of its parts equal axes, logarithmic ones without what is next to nothing."""
    values = np.concatenate([rows.ravel() for own in found.values() for rows in own.values()])
    top = values[np.isfinite(values)].max()
    set_scale(places, "y", [values[values > top / DEEPEST]])
    ends = [axes.get_ylim() for axes in places]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    for axes in places:
        axes.set_ylim(max(low, top / DEEPEST) if axes.get_yscale() == "log" else low, high)


def _line(
    axes: "Axes", updates: Float64[np.ndarray, " e"], rows: Float64[np.ndarray, "r e"], style: dict[str, Any]
) -> None:
    mean, low, high = across(rows)
    known = np.isfinite(mean)
    axes.plot(updates[known], mean[known], markevery=max(1, int(known.sum()) // 4), markersize=2.8, **style)
    if len(rows) > 1:
        axes.fill_between(updates[known], low[known], high[known], color=style["color"], alpha=0.15, linewidth=0)
