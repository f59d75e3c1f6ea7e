"""The KDE bandwidth h0 against m and against l, as computed here and as published."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lvm_bench.report.figures.style import GREY, Picture, legend, panels, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "KDE bandwidth h0 against the number m of points and the dimension l"
_TEXT = (
    "The bandwidth that maximises the mean log-density of N(0, I) draws, computed (lines, mean over trials) and as "
    "published (hollow). It falls slowly with m and passes 1 as l grows."
)


def write(folder: Path, frame: pd.DataFrame) -> list[Picture]:
    """Write bandwidth.png and bandwidth.pdf from the frame of `bandwidth.tidy`."""
    rows = frame[frame["metric"] == "bandwidth"]
    return [Picture(save(folder, "bandwidth", partial(draw, rows)), TITLE, _TEXT)]


def draw(rows: pd.DataFrame) -> "Figure":
    """h0 against m with a line per l, and against l with a line per m."""
    from matplotlib.lines import Line2D

    figure, places = panels(2, TITLE, 2, 2.2)
    for axes, x, of in zip(places, ("m", "l"), ("l", "m"), strict=True):
        _panel(axes, rows, x, of)
    hollow: dict[str, Any] = {"color": GREY, "linestyle": "none", "markerfacecolor": "none", "markersize": 6}
    legend(
        figure,
        {
            "computed": Line2D([], [], color=GREY, marker="o"),
            "published": Line2D([], [], marker="o", **hollow),
            "published as > 1": Line2D([], [], marker="^", **hollow),
        },
    )
    return figure


def _panel(axes: "Axes", rows: pd.DataFrame, x: str, of: str) -> None:
    from matplotlib import colormaps

    values = sorted(rows[of].unique())
    shades = colormaps["cividis"](np.linspace(0, 0.85, len(values)))
    for shade, value in zip(shades, values, strict=True):
        own = rows[rows[of] == value].sort_values(x)
        axes.errorbar(own[x], own["mean"], yerr=own["std"], color=shade, marker="o", label=f"{value:,}")
        bound = own["published"].str.startswith(">").to_numpy(dtype=bool)
        for marker, theirs in (("o", own[~bound]), ("^", own[bound])):
            axes.plot(
                theirs[x], theirs["published_mean"], linestyle="none", marker=marker, color=shade, markersize=6,
                markerfacecolor="none", markeredgewidth=0.8,
            )  # fmt: skip
    axes.axhline(1, color=GREY, linewidth=0.7, linestyle="--", zorder=1)
    axes.set_xscale("log")
    ticks = sorted(rows[x].unique())
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel=x, ylabel="h0")
    axes.legend(title=of, loc="center left", bbox_to_anchor=(1.01, 0.5))
