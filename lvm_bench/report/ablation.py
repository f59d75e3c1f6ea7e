"""An ablation: every score against the one setting or argument that the suite's methods differ in, its axis."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lvm_bench import store
from lvm_bench.records import Run, one_line
from lvm_bench.report.tables import DATASETS, Place

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = (
    ("FD, reconstructions", "frechet.recon@"),
    ("FD, samples", "frechet.fake@"),
    ("FD, ex-post samples", "frechet.expost@"),
    ("SSE, held-out", "sse.heldout"),
    ("KL to N(0, I), nats", "gaussian_kl.mean"),
    ("KL to own target, nats", "gaussian_kl_target.mean"),
    ("entropy gap, nats", "entropy_gap.mean"),
    ("dead axes", "collapsed_variance.mean"),
)
COLUMNS = 4
COLOUR = "#0072B2"
LONGEST = 24  # characters of a value on the axis
WIDE = 10  # from this ratio of the largest value to the smallest on, the axis is logarithmic

Value = float | str


def values(runs: Iterable[Run], axis: str) -> dict[Place, Value]:
    """What each method has for the axis: a number, or the text of what is none."""
    found: dict[Place, Value] = {}
    for run in runs:
        settings = run.settings or {}
        arguments = settings.get("arguments")
        value = {**settings, **(arguments if isinstance(arguments, dict) else {})}.get(axis)
        if run.is_control or value is None:
            continue
        is_number = type(value) in (int, float) and abs(value) < 1e300
        found[run.place] = float(value) if is_number else one_line(str(value))[:LONGEST]
    return found


def points(scores: pd.DataFrame, at: dict[Place, Value], dataset: str, metric: str) -> list[tuple[Value, int, float]]:
    """(value, seed, score) of each run on a data set with a value and a finite score, in the order of `at`."""
    own = scores[(scores["dataset"] == dataset) & (scores["metric"] == metric)].dropna(subset="value")
    of = {method: group for method, group in own.groupby(own["method"].astype(str), sort=False)}
    return [
        (value, int(seed), float(score))
        for (place, method), value in at.items()
        if place == dataset and method in of
        for seed, score in zip(of[method]["seed"], of[method]["value"], strict=True)
        if abs(score) < float("inf")
    ]


def write_figures(folder: Path, about: dict[str, Any], runs: Iterable[Run], scores: pd.DataFrame) -> list[Path]:
    """figures/<data set>-ablation.png and .pdf of a suite that has an axis: a panel per score."""
    axis = about.get("axis", "")
    if not axis:
        return []
    ranks = {name: place for place, name in enumerate(about.get("methods", []))}
    at = values(sorted(runs, key=lambda run: (ranks.get(run.method, len(ranks)), run.key)), axis)
    written = []
    for dataset in sorted({dataset for dataset, _ in at}):
        own = {place: value for place, value in at.items() if place[0] == dataset}
        keys = {label: key + (about.get("extractor") or "") * key.endswith("@") for label, key in PANELS}
        panels = {label: found for label, key in keys.items() if (found := points(scores, own, dataset, key))}
        if panels:
            place = f"{DATASETS.get(dataset, dataset)}, suite {about.get('suite', folder.name)}"
            figure = draw(panels, list(own.values()), axis, place)
            written += [
                _save(folder / "figures" / f"{dataset}-ablation{suffix}", figure) for suffix in (".png", ".pdf")
            ]
    return written


def draw(panels: dict[str, list[tuple[Value, int, float]]], along: list[Value], axis: str, place: str) -> "Figure":
    """A panel per score: a point per seed, and the mean over seeds as a line where the values are numbers."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(2.6 * min(COLUMNS, len(panels)) + 0.3, 2.3 * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"Scores against {one_line(axis)} on {one_line(place)}", fontsize=10, parse_math=False)
    for position, (label, found) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(rows, min(COLUMNS, len(panels)), position)
        _panel(axes, found, along)
        axes.set_title(label, fontsize=9)
        axes.set_xlabel(one_line(axis), fontsize=8, parse_math=False)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3, linewidth=0.5)
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
    axes.scatter(xs, [score for _, _, score in found], s=14, color=COLOUR, edgecolors="white", linewidths=0.4, zorder=3)
    if numeric:
        if min(numbers) > 0 and max(numbers) >= WIDE * min(numbers):
            axes.set_xscale("log")
        ticks = sorted(set(numbers))
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    else:
        axes.set_xticks(range(len(texts)), texts, parse_math=False)
        axes.set_xlim(-0.5, len(texts) - 0.5)


def _save(file: Path, figure: "Figure") -> Path:
    kind = file.suffix[1:]
    metadata = {"Software": None} if kind == "png" else {"CreationDate": None}
    store.write(file, lambda beside: figure.savefig(beside, format=kind, dpi=150, metadata=metadata))
    return file
