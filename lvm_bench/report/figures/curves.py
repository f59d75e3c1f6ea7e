"""Histories over epochs: every logged term, and the variance of each axis of the aggregate posterior."""

import math
import re
from dataclasses import dataclass
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
from lvm_bench.report.figures.words import term_name
from lvm_bench.runs.score_files import History
from lvm_bench.runs.suite_record import About

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPLITS: dict[str, Any] = {"val": "-", "train": ":"}
RATE = "learning_rate"
COLUMNS = 4
MOST_TERMS = 60
MOST_AXES = 512  # of a code
_TERM = re.compile(r"(train|val)/(.+)")
_AXIS = re.compile(r"aggregate_variance/(\d{1,6})")

Terms = dict[str, dict[str, dict[str, Float64[np.ndarray, "_ _"]]]]  # term: method: split: a row per seed


@dataclass(frozen=True)
class Variances:
    """The variance of each axis in one run, the mean over axes in each run, and the target."""

    axes: Float64[np.ndarray, "e l"]
    means: Float64[np.ndarray, "r e"]
    target: float


def write(folder: Folder, about: About, history: History) -> list[Picture]:
    """<data set>-curves for each data set, and <data set>-aggregate-variance if runs logged it."""
    pictures = []
    for dataset in sorted({key[0] for key in history}):
        place = where(dataset, about.suite)
        if found := terms(history, dataset):
            title = f"Training {place}"
            file = save(folder, f"{dataset}-curves", partial(draw_terms, found, about), title)
            pictures.append(Picture(file, title, _CURVES, dataset))
        if varied := variances(history, dataset):
            title = f"Variance of the aggregate posterior {place}"
            file = save(folder, f"{dataset}-aggregate-variance", partial(draw_variances, varied, about), title)
            pictures.append(Picture(file, title, _VARIANCE, dataset))
    return pictures


_CURVES = (
    "Every logged term over epochs, mean and range over seeds: solid lines on the validation images, dotted ones on "
    "the training images. A gap between the two is over-fitting."
)
_VARIANCE = (
    "The variance over validation images of each axis of the aggregate posterior after each epoch: thin lines are the "
    "axes of the lowest seed, the thick one is the mean over axes and seeds. At the dashed line, the method's target, "
    "the aggregate posterior has the variance of what the method samples from."
)


def terms(history: History, dataset: str) -> Terms:
    """Every logged term that has a finite value, by method and split, in the order of the columns."""
    found: Terms = {}
    for method, seeds in histories(history, dataset).items():
        names = dict.fromkeys(name for columns, _ in seeds.values() for name in columns)
        for column_name in names:
            match = _TERM.fullmatch(column_name)
            split, term = match.groups() if match else ("train", column_name)
            if not match and column_name != RATE:
                continue
            rows = stacked([column(epochs, column_name) for epochs in seeds.values()])
            if np.isfinite(rows).any():
                found.setdefault(term, {}).setdefault(method, {})[split] = rows
    order = sorted(found, key=lambda term: (term != "loss", term == RATE))
    return {term: found[term] for term in order[:MOST_TERMS]}


def draw_terms(found: Terms, about: About) -> "Figure":
    """A panel per term, with a line per method and split. All axes are linear, since some terms are negative."""
    from matplotlib.lines import Line2D

    figure, places = panels(len(found), COLUMNS, 1.35)
    methods = ordered({method for own in found.values() for method in own}, about)
    look = looks(methods, about)
    for axes, (term, own) in zip(places, found.items(), strict=True):
        for method in filter(own.__contains__, methods):
            for split, rows in own[method].items():
                marked = split == "val" or "val" not in own[method]
                style = look[method] if marked else look[method] | {"marker": ""}
                _line(axes, rows, style, "-" if term == RATE else SPLITS[split])
        axes.set_ylabel(term_name(term), parse_math=False)
        whole_numbers(axes, "epoch")
    outer(places, COLUMNS)
    entries: dict[str, Any] = {name(method): Line2D([], [], **look[method]) for method in methods}
    entries["validation"] = Line2D([], [], color=INK, linestyle=SPLITS["val"])
    entries["training"] = Line2D([], [], color=INK, linestyle=SPLITS["train"])
    legend(figure, entries)
    return figure


def _line(axes: "Axes", rows: Float64[np.ndarray, "r e"], style: dict[str, Any], line: Any) -> None:
    mean, low, high = across(rows)
    epochs = np.arange(1, rows.shape[1] + 1)
    axes.plot(epochs, mean, linestyle=line, markevery=max(1, len(epochs) // 4), markersize=2.8, **style)
    if len(rows) > 1:
        axes.fill_between(epochs, low, high, color=style["color"], alpha=0.15, linewidth=0)


def variances(history: History, dataset: str) -> dict[str, Variances]:
    """The logged variances of the aggregate posterior, by method."""
    found = {}
    for method, seeds in histories(history, dataset).items():
        tables = []
        for epochs in seeds.values():
            places = sorted(int(match[1]) for name in epochs[0] if (match := _AXIS.fullmatch(name)))[:MOST_AXES]
            columns = [column(epochs, f"aggregate_variance/{place}") for place in places]
            if columns and np.isfinite(table := np.stack(columns, axis=1)).any():
                tables.append((table, column(epochs, "target_variance")))
        if tables:
            means = stacked([across(table.T)[0] for table, _ in tables])
            targets = tables[0][1][np.isfinite(tables[0][1])]
            found[method] = Variances(tables[0][0], means, float(targets[-1]) if len(targets) else math.nan)
    return found


def draw_variances(found: dict[str, Variances], about: About) -> "Figure":
    """A panel per method with equal limits: a thin line per axis, their mean, and the target dashed."""
    from matplotlib.lines import Line2D

    figure, places = panels(len(found), COLUMNS, 1.45)
    methods = ordered(found, about)
    look = looks(methods, about)
    values = np.concatenate([own.axes.ravel() for own in found.values()])
    values = values[np.isfinite(values) & (values > 0)]
    for axes, method in zip(places, methods, strict=True):
        own, colour = found[method], look[method]["color"]
        epochs = np.arange(1, len(own.axes) + 1)
        alone: dict[str, Any] = {"marker": "o", "markersize": 2} if len(epochs) == 1 else {}
        axes.plot(epochs, np.where(own.axes > 0, own.axes, math.nan), color=colour, linewidth=0.5, alpha=0.5, **alone)
        mean = across(own.means)[0]
        axes.plot(np.arange(1, len(mean) + 1), mean, color=colour, linewidth=1.8, **alone)
        if math.isfinite(own.target):
            axes.axhline(own.target, color=INK, linewidth=0.9, linestyle="--")
        axes.set_title(name(method), parse_math=False)
        set_scale([axes], "y", [values])
        axes.set_ylabel("variance of an axis")
        if len(values):
            low, high = min(values.min(), own.target if own.target > 0 else math.inf), max(values.max(), 1)
            axes.set_ylim(low / 1.1, high * 1.1)
        whole_numbers(axes, "epoch")
    outer(places, COLUMNS, alike=True)
    legend(
        figure,
        {
            "one axis, lowest seed": Line2D([], [], color=INK, linewidth=0.5),
            "mean over axes and seeds": Line2D([], [], color=INK, linewidth=1.8),
            "target": Line2D([], [], color=INK, linewidth=0.9, linestyle="--"),
        },
    )
    return figure
