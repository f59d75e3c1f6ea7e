"""An ablation: every score against the axis of the suite, which is the one setting in which its methods differ."""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from lvm_bench.report.figures.files import Folder, save
from lvm_bench.report.figures.style import COLOURS, Picture, outer, panels, plain, where
from lvm_bench.report.figures.words import score_name, setting_name
from lvm_bench.runs.comparable import Place
from lvm_bench.runs.record import Run
from lvm_bench.runs.suite_record import About

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = (
    "frechet.recon@", "frechet.fake@", "frechet.expost@", "sse.heldout", "gaussian_kl.mean", "gaussian_kl_target.mean",
    "entropy_gap.mean", "collapsed_variance.mean",
)  # fmt: skip
COLUMNS = 4
COLOUR = COLOURS[0]
LONGEST = 24  # characters of a value on the axis
FAR = 10  # ratio of the largest value to the smallest at which the axis becomes logarithmic

Value = float | str


def values(runs: Iterable[Run], axis: str) -> dict[Place, Value]:
    """The value of the axis for each method: a number, or the text of another value."""
    found: dict[Place, Value] = {}
    for run in runs:
        settings = run.settings or {}
        arguments = settings.get("arguments")
        value = {**settings, **(arguments if isinstance(arguments, dict) else {})}.get(axis)
        if run.is_control or value is None:
            continue
        is_number = type(value) in (int, float) and abs(value) < 1e300
        found[run.place] = float(value) if is_number else plain(str(value), LONGEST)
    return found


def points(scores: pd.DataFrame, at: dict[Place, Value], dataset: str, metric: str) -> list[tuple[Value, int, float]]:
    """(value, seed, score) of each run on a data set that has a value and a finite score, in the order of `at`."""
    own = scores[(scores["dataset"] == dataset) & (scores["metric"] == metric)].dropna(subset="value")
    of = {method: group for method, group in own.groupby(own["method"].astype(str), sort=False)}
    return [
        (value, int(seed), float(score))
        for (place, method), value in at.items()
        if place == dataset and method in of
        for seed, score in zip(of[method]["seed"], of[method]["value"], strict=True)
        if abs(score) < float("inf")
    ]


def write(folder: Folder, about: About, runs: Iterable[Run], scores: pd.DataFrame) -> list[Picture]:
    """<data set>-ablation.png and .pdf with a panel per score; nothing for a suite without an axis."""
    if not (axis := about.axis):
        return []
    ranks = {name: place for place, name in enumerate(about.methods)}
    at = values(sorted(runs, key=lambda run: (ranks.get(run.method, len(ranks)), run.key)), axis)
    pictures = []
    for dataset in sorted({dataset for dataset, _ in at}):
        own = {place: value for place, value in at.items() if place[0] == dataset}
        keys = [key + about.extractor * key.endswith("@") for key in PANELS]
        found = {score_name(key): drawn for key in keys if (drawn := points(scores, own, dataset, key))}
        if found:
            title = f"Scores against {plain(axis)} {where(dataset, about.suite)}"
            file = save(folder, f"{dataset}-ablation", partial(draw, found, list(own.values()), axis), title)
            pictures.append(Picture(file, title, _TEXT, dataset))
    return pictures


_TEXT = (
    "Every score against the one setting in which the methods of this suite differ: a point per run, means as a line."
)


def draw(found: dict[str, list[tuple[Value, int, float]]], along: list[Value], axis: str) -> "Figure":
    """A panel per score: a point per seed, and the means over seeds, joined by a line if the values are numbers."""
    figure, places = panels(len(found), COLUMNS, 1.55)
    for axes, (label, own) in zip(places, found.items(), strict=True):
        _panel(axes, own, along)
        axes.set_ylabel(label, parse_math=False)
        axes.set_xlabel(setting_name(axis), parse_math=False)
    outer(places, COLUMNS)
    return figure


def _panel(axes: "Axes", found: list[tuple[Value, int, float]], along: list[Value]) -> None:
    numbers = [value for value in along if isinstance(value, float)]
    numeric = len(numbers) == len(along)
    texts = list(dict.fromkeys(map(str, along)))
    places = {value: value if numeric else texts.index(str(value)) for value in along}
    xs = [places[value] for value, _, _ in found]
    means = pd.Series([score for _, _, score in found]).groupby(xs).mean()
    style = {"linestyle": "-"} if numeric else {"linestyle": "none", "marker": "_", "markersize": 16}
    axes.plot(means.index, means, color=COLOUR, linewidth=1.2, **style)
    axes.scatter(xs, [score for _, _, score in found], s=12, color=COLOUR, linewidths=0, zorder=3)
    if len({score for _, _, score in found}) == 1:
        axes.set_yticks([found[0][2]])  # one tick: equal scores have no scale
    if numeric:
        if min(numbers) > 0 and max(numbers) >= FAR * min(numbers):
            axes.set_xscale("log")
        ticks = sorted(set(numbers))
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    else:
        axes.set_xticks(range(len(texts)), texts, parse_math=False)
        axes.set_xlim(-0.5, len(texts) - 0.5)
