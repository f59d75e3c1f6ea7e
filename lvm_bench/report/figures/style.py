"""The style of every figure: sizes, colours, markers, names, axes and legends."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float64

from lvm_bench.runs.suite_record import About
from lvm_bench.suites.labels import dataset_label, first_methods, label, references

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN, WIDE = 3.3, 6.9  # inches: one column of a two-column page, and both columns
SMALLEST, SMALL = 6, 6.5  # points of the smallest texts, and of numbers and names
# Text and lines on a transparent ground: their contrast is 4.2 on white and on the dark pages of ours and of GitHub.
INK = "#7b7b7b"
# Colours that colour-blind readers tell apart (Okabe & Ito), the light ones darkened and purple in the place of black,
# so that each has a contrast of 3 on white and on dark. One marker more: 56 pairs before the first returns.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#3A9BD6", "#9D5BD2", "#C98500")
MARKERS = "osD^vPX*"
GREY = "0.45"
LONGEST = 28  # characters of a name
MOST_IN_COLUMN = 9  # entries of the legend of a figure that is as wide as a column
LEGEND = 0.1  # of a figure's area, which its legend takes at most
LOG_FROM = 10.0  # the ratio of the largest to the smallest value from which an axis is logarithmic
LOOK: dict[Any, Any] = {
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), SMALL),
    "legend.frameon": False,
    **dict.fromkeys(("figure.facecolor", "axes.facecolor"), "none"),
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    "figure.titlesize": 8.5,
    "figure.titleweight": "bold",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.2,
    "grid.linewidth": 0.5,
    "image.interpolation": "none",
    "image.composite_image": False,  # which would resample images in a PDF
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "pdf.fonttype": 42,  # TrueType, which publishers ask for
}


@dataclass(frozen=True)
class Picture:
    """A figure on disk, as PNG and as PDF; of one whose runs are not here there may be the PNG alone."""

    file: Path
    title: str
    text: str  # what it shows and how to read it
    dataset: str = ""
    method: str = ""
    from_runs: bool = False  # it shows what the runs alone hold: nothing that is committed gives it again

    @property
    def files(self) -> list[Path]:
        """The PNG, and the PDF if there is one."""
        return [file for file in (self.file, self.file.with_name(f"{self.file.stem}.pdf")) if file.is_file()]


@contextmanager
def look() -> Iterator[None]:
    """Inside this context figures have this style, whatever the user's own settings are."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(LOOK)
        yield


def figure(width: float, height: float) -> "Figure":
    """An empty figure with a canvas of its own, without pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def panels(count: int, columns: int, height: float) -> tuple["Figure", list["Axes"]]:
    """A figure of `count` panels, each `height` inches high, in at most `columns` columns.

    One column of panels is as wide as a column of the page, several as the page.
    """
    columns = balanced(count, columns)
    rows = -(-count // columns)
    width = WIDE if columns > 1 else COLUMN
    made = figure(width, rows * height)
    return made, [made.add_subplot(rows, columns, place + 1) for place in range(count)]


def single(height: float, entries: int) -> tuple["Figure", "Axes"]:
    """A figure of one panel: as wide as a column, or as the page where its legend has many entries."""
    made = figure(COLUMN if entries <= MOST_IN_COLUMN else WIDE, height)
    return made, made.add_subplot()


def balanced(count: int, most: int) -> int:
    """The number of columns, at most `most`, that fills the rows of `count` panels evenly: 3 for 6 panels, not 4."""
    return -(-count // -(-count // most))


def outer(places: list["Axes"], columns: int, alike: bool = False) -> None:
    """Remove the horizontal label of panels that have another panel below them.

    With `alike` axes, these lose their numbers too, and so do panels that have another one at their left. Axes are not
    shared, because the cost of sharing grows with the square of their number.
    """
    columns = balanced(len(places), columns)
    for place, axes in enumerate(places):
        lowest = place + columns >= len(places)
        if not lowest:
            axes.set_xlabel("")
        if alike and place % columns:
            axes.set_ylabel("")
        if alike:
            axes.tick_params(which="both", labelbottom=lowest, labelleft=place % columns == 0)


def looks(methods: Iterable[str], about: About) -> dict[str, dict[str, Any]]:
    """A colour and a marker for each method. A packaged method or one of the suite has the same in every figure.

    Methods without a prior are grey.
    """
    names = list(methods)
    order = list(dict.fromkeys([*first_methods(), *about.methods, *names]))
    found = {name: order.index(name) for name in names}
    return {
        name: {"color": GREY, "marker": "h"}
        if name in references()
        else {"color": COLOURS[at % len(COLOURS)], "marker": MARKERS[at % len(MARKERS)]}
        for name, at in found.items()
    }


def whole_numbers(axes: "Axes", name: str) -> None:
    """Label a horizontal axis with what it counts, and number it in whole steps."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(name)
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))


def set_scale(places: Iterable["Axes"], which: Literal["x", "y"], values: Iterable[Any]) -> None:
    """Make an axis of these panels logarithmic, with few ticks, if its values are positive and far apart.

    Panels in which an axis means the same are given together: all of them have the same kind of axis.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    ratio = log_ratio(values)
    if ratio < LOG_FROM:
        return
    for axes in places:
        set_to, axis = (axes.set_xscale, axes.xaxis) if which == "x" else (axes.set_yscale, axes.yaxis)
        set_to("log")
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter("{x:g}")  # powers of ten would have exponents in a smaller type
        if ratio < 300:
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))


def legend(figure: "Figure", entries: dict[str, Any]) -> None:
    """Put a legend below the panels. The figure grows: it covers no data and has at most a tenth of the area."""
    if not entries:
        return
    width, height = figure.get_size_inches()
    made = figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower center",
        ncols=legend_columns(list(map(text_width, entries)), width),
        handlelength=1.6,
        handletextpad=0.5,
        columnspacing=1.5,
        labelspacing=0.25,
        borderpad=0.1,
    )
    for text in made.get_texts():
        text.set_parse_math(False)
    extent = made.get_window_extent()
    across, down = extent.width / figure.dpi, extent.height / figure.dpi
    figure.set_size_inches(width, max(height + down + 0.08, 1.02 * across * down / LEGEND / width))


def legend_columns(widths: list[float], room: float) -> int:
    """The most columns, of equally many entries of these widths in inches, that fit in some room."""
    em = SMALL / 72
    for columns in range(len(widths), 1, -1):
        rows = -(-len(widths) // columns)
        # The first columns are those with one entry more, as in matplotlib.
        starts = np.cumsum([0, *(rows - (place >= (len(widths) - 1) % columns + 1) for place in range(columns))])
        lines = [max(widths[start:end], default=0) for start, end in pairwise(starts)]
        if sum(lines) + em * (2.1 * columns + 1.5 * (columns - 1) + 0.2) <= room - 0.1:
            return balanced(len(widths), columns)
    return 1


def text_width(text: str) -> float:
    """The width in inches of a line of SMALL text."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    return float(text_to_path.get_text_width_height_descent(text, FontProperties(size=SMALL), ismath=False)[0]) / 72


def plain(text: str, most: int = LONGEST) -> str:
    """A text on one line, in characters of the font. The middle of a text longer than `most` is left out."""
    line = "".join(c if (c.isprintable() and ord(c) < 0x400) or c in "–—…" else "?" for c in " ".join(text.split()))
    if len(line) <= most:
        return line
    end = most * 2 // 5
    return f"{line[: most - end - 1]}…{line[-end:]}"


def name(method: str) -> str:
    """The name of a method in a figure."""
    return plain(label(method))


def dataset_name(dataset: str) -> str:
    """The name of a data set in a figure."""
    return plain(dataset_label(dataset))


def where(dataset: str, suite: str) -> str:
    """The end of a title: `on MNIST, suite quick`."""
    return f"on {dataset_name(dataset)}, suite {plain(suite)}"


def log_ratio(values: Iterable[Any]) -> float:
    """The largest finite number over the smallest; 0 if one is not positive or there is none."""
    found = np.concatenate([np.ravel(np.asarray(value, dtype=np.float64)) for value in values] or [np.empty(0)])
    found = found[np.isfinite(found)]
    return math.exp(min(math.log(found.max()) - math.log(found.min()), 700)) if len(found) and found.min() > 0 else 0.0


def across(
    rows: Float64[np.ndarray, "r n"],
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """The mean, least and largest finite value of each column; NaN if there is none."""
    known = np.isfinite(rows)
    count = known.sum(0)
    mean = np.divide(np.where(known, rows, 0).sum(0), count, out=np.full(rows.shape[1], math.nan), where=count > 0)
    low = np.where(count > 0, np.where(known, rows, math.inf).min(0, initial=math.inf), math.nan)
    high = np.where(count > 0, np.where(known, rows, -math.inf).max(0, initial=-math.inf), math.nan)
    return mean, low, high
