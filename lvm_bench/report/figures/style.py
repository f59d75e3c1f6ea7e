"""The style of every figure: sizes, colours, markers, names and legends. The same figure gives the same bytes."""

import io
import math
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float64

from lvm_bench import disk
from lvm_bench.report.figures import workers
from lvm_bench.runs.suite_record import About
from lvm_bench.suites.labels import dataset_label, first_methods, label, references

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

COLUMN, WIDE = 3.3, 6.9  # inches: one column of a two-column page, and both columns
DPI = 200
# Colours that colour-blind readers tell apart (Okabe & Ito). One marker more: 56 pairs before the first returns.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000", "#E69F00")
MARKERS = "osD^vPX*"
GREY = "0.45"
LONGEST = 28  # characters of a name
LOG_FROM = 10.0  # the ratio of the largest to the smallest value from which an axis is logarithmic
LOOK: dict[Any, Any] = {
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "figure.titlesize": 8.5,
    "figure.titleweight": "bold",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.92",
    "grid.linewidth": 0.5,
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
    """A figure on disk, as PNG, and also as PDF unless it is made of pixels alone."""

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


def save(folder: Path, name: str, draw: Callable[[], "Figure"]) -> Path:
    """Draw a figure and write it as <name>.png and <name>.pdf, without dates, by a worker. Returns the PNG."""
    png = folder / f"{name}.png"
    workers.do(_save, png, draw)
    return png


def _save(png: Path, draw: Callable[[], "Figure"]) -> None:
    with look():
        figure = draw()
        write_png(png, figure, DPI)
        figure.set_layout_engine("none")  # keep the layout of the PNG
        write_pdf(png.with_suffix(".pdf"), figure)


def write_pdf(file: Path, figure: "Figure") -> None:
    """Write a figure as a PDF without dates."""
    undated = dict.fromkeys(("Creator", "Producer", "CreationDate"))
    disk.write(file, lambda beside: figure.savefig(beside, format="pdf", metadata=undated))


def write_png(file: Path, figure: "Figure", dpi: int, exact: bool = False) -> None:
    """Write a figure as a PNG that is `compact`."""
    from PIL import Image

    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, pil_kwargs={"compress_level": 1})
    with Image.open(stream) as drawn:
        image = compact(drawn, exact)
    disk.write(file, lambda beside: image.save(beside, "PNG", optimize=True, dpi=(dpi, dpi)))


def compact(image: "Image", exact: bool) -> "Image":
    """An opaque image in grey if all of it is grey, else in the 256 colours nearest to its own.

    An `exact` one keeps every colour.
    """
    from PIL import Image, ImageChops

    coloured, grey = image.convert("RGB"), image.convert("L")
    if ImageChops.difference(coloured, grey.convert("RGB")).getbbox() is None:
        return grey
    if exact:
        return coloured
    return coloured.quantize(256, Image.Quantize.MEDIANCUT, kmeans=3, dither=Image.Dither.NONE)


def figure(width: float, height: float, title: str) -> "Figure":
    """An empty figure with a title and a canvas of its own, without pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = textwrap.wrap(plain(title, 200), round(width * 12.5))
    made = Figure(figsize=(width, height + 0.14 * len(lines)), layout="constrained", facecolor="white")
    FigureCanvasAgg(made)
    made.suptitle("\n".join(lines), parse_math=False)
    return made


def panels(count: int, title: str, columns: int, height: float) -> tuple["Figure", list["Axes"]]:
    """A figure of `count` panels, each `height` inches high, in at most `columns` columns."""
    columns = balanced(count, columns)
    rows = -(-count // columns)
    width = WIDE if columns > 1 else COLUMN
    made = figure(width, rows * height, title)
    return made, [made.add_subplot(rows, columns, place + 1) for place in range(count)]


def balanced(count: int, most: int) -> int:
    """The number of columns, at most `most`, that fills the rows of `count` panels evenly: 3 for 6 panels, not 4."""
    return -(-count // -(-count // most))


def outer(places: list["Axes"], columns: int, alike: bool = False) -> None:
    """Remove the horizontal label of panels that have another panel below them.

    With `alike` axes, only outer panels keep their numbers. Axes are not shared, because the cost of sharing grows
    with the square of their number.
    """
    columns = balanced(len(places), columns)
    last = (len(places) - 1) // columns * columns
    for place, axes in enumerate(places):
        if place < last if alike else place + columns < len(places):
            axes.set_xlabel("")
        if alike:
            axes.tick_params(which="both", labelbottom=place >= last, labelleft=place % columns == 0)


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
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def set_scale(axes: "Axes", which: Literal["x", "y"], values: Iterable[Any]) -> None:
    """Make an axis logarithmic, with few ticks, if its values are positive and far apart."""
    from matplotlib.ticker import LogLocator, NullLocator

    ratio = log_ratio(values)
    if ratio < LOG_FROM:
        return
    set_to, axis = (axes.set_xscale, axes.xaxis) if which == "x" else (axes.set_yscale, axes.yaxis)
    set_to("log")
    axis.set_minor_locator(NullLocator())
    if ratio < 300:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")


def legend(figure: "Figure", entries: dict[str, Any]) -> None:
    """Put a legend below the panels. The figure grows by its height, so that it covers no data."""
    if not entries:
        return
    width, height = figure.get_size_inches()
    columns = max(1, min(len(entries), int(width / (0.42 + 0.058 * max(map(len, entries))))))
    rows = math.ceil(len(entries) / columns)
    figure.set_size_inches(width, height + 0.135 * rows + 0.08)
    made = figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower center",
        ncols=columns,
        handlelength=1.6,
        columnspacing=1.2,
        labelspacing=0.35,
    )
    for text in made.get_texts():
        text.set_parse_math(False)


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
