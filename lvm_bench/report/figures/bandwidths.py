"""The KDE bandwidth h0 against m and against l, as computed here and as published."""

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from lvm_bench.report.figures.files import Folder, save
from lvm_bench.report.figures.style import COLOURS, INK, Picture, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORDS = {"m": "number m of points", "l": "dimension l"}
TITLE = "KDE bandwidth h0 against the number m of points and the dimension l"
_TEXT = (
    "The bandwidth that maximises the mean log-density of N(0, I) draws, computed (lines, mean over trials) and as "
    "published (circles; triangles where that is “> 1”). It falls slowly with m and passes 1 as l grows."
)


def write(folder: Folder, frame: pd.DataFrame) -> list[Picture]:
    """Write bandwidth.png and bandwidth.pdf from the frame of `bandwidth.tidy`."""
    rows = frame[frame["metric"] == "bandwidth"]
    return [Picture(save(folder, "bandwidth", partial(draw, rows), TITLE), TITLE, _TEXT)]


def draw(rows: pd.DataFrame) -> "Figure":
    """h0 against m with a line per l, and against l with a line per m."""
    figure, places = panels(2, 2, 2.6)
    for axes, x, of in zip(places, WORDS, reversed(WORDS), strict=True):
        _panel(axes, rows, x, of)
    return figure


def _panel(axes: "Axes", rows: pd.DataFrame, x: str, of: str) -> None:
    for place, value in enumerate(sorted(rows[of].unique())):
        own = rows[rows[of] == value].sort_values(x)
        colour = COLOURS[place % len(COLOURS)]
        axes.errorbar(own[x], own["mean"], yerr=own["std"], color=colour, marker=".")
        bound = own["published"].str.startswith(">").to_numpy(dtype=bool)
        for marker, theirs in (("o", own[~bound]), ("^", own[bound])):
            axes.plot(
                theirs[x], theirs["published_mean"], linestyle="none", marker=marker, color=colour, markersize=6,
                markerfacecolor="none", markeredgewidth=0.8,
            )  # fmt: skip
        words = f"{of} = {value:,}"
        axes.annotate(words, (own[x].iloc[-1], own["mean"].iloc[-1]), (5, 0), textcoords="offset points", va="center")
    axes.axhline(1, color=INK, linewidth=0.7, linestyle="--", zorder=1)
    axes.set_xscale("log")
    ticks = sorted(rows[x].unique())
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel=WORDS[x], ylabel="bandwidth h0")
