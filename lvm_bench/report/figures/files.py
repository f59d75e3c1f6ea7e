"""Figures as files: a PNG for screens of any theme, and a PDF for print. The same figure gives the same bytes."""

import io
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lvm_bench import disk
from lvm_bench.report.figures import workers
from lvm_bench.report.figures.style import INK, look, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

DPI = 200
COLOURED = ("color", "edgecolor", "facecolor", "markeredgecolor", "markerfacecolor")  # parts of lines, patches, texts


@dataclass(frozen=True)
class Folder:
    """Where figures are written, and whether their titles stand in them."""

    path: Path
    titles: bool = False


def save(folder: Folder, name: str, draw: Callable[[], "Figure"], title: str, exact: bool = False) -> Path:
    """Draw a figure and write it as <name>.png and <name>.pdf, without dates, by a worker. Returns the PNG.

    The PNG is transparent and in INK, the PDF in black. An `exact` one has a resolution of its own and every colour.
    """
    png = folder.path / f"{name}.png"
    workers.do(_save, png, draw, title if folder.titles else None, exact)
    return png


def _save(png: Path, draw: Callable[[], "Figure"], title: str | None, exact: bool) -> None:
    with look():
        figure = draw()
        if title is not None:
            entitle(figure, title)
        write_png(png, figure, round(figure.dpi) if exact else DPI, exact)
        figure.set_layout_engine("none")  # keep the layout of the PNG
        blacken(figure)
        write_pdf(png.with_suffix(".pdf"), figure)


def entitle(figure: "Figure", title: str) -> None:
    """Put a title above a figure, which grows by its height."""
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(plain(title, 200), round(width * 12.5))
    taller = height + 0.15 * len(lines) + 0.05
    figure.set_size_inches(width, taller)
    made = figure.suptitle("\n".join(lines), parse_math=False)
    if figure.get_layout_engine() is None:  # nothing moves the panels below the title
        made.set_y(1 - 0.03 / taller)
        for axes in figure.axes:
            left, bottom, across, up = axes.get_position().bounds
            axes.set_position((left, bottom * height / taller, across, up * height / taller))


def blacken(figure: "Figure") -> None:
    """Make what is drawn in INK black, as on paper."""
    from matplotlib.colors import same_color
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.text import Text

    for artist in figure.findobj(lambda artist: isinstance(artist, (Line2D, Patch, Text))):
        for part in COLOURED:
            if hasattr(artist, f"get_{part}") and same_color(getattr(artist, f"get_{part}")(), INK):
                getattr(artist, f"set_{part}")("black")


def write_pdf(file: Path, figure: "Figure") -> None:
    """Write a figure as a PDF without dates. Images in it have their own resolution."""
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
    """A transparent image in grey if all of it is grey, else in the 256 colours nearest to its own.

    An `exact` one keeps every colour.
    """
    from PIL import Image

    pixels = np.array(image.convert("RGBA"))
    pixels[pixels[..., 3] == 0] = 0
    if (pixels[..., :1] == pixels[..., 1:3]).all():
        return Image.fromarray(np.ascontiguousarray(pixels[..., 2:]))
    coloured = Image.fromarray(pixels)
    return coloured if exact else coloured.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
