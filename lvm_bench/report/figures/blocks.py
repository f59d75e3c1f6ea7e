"""Images in rows, drawn pixel for pixel: every pixel is a whole number of dots, and a PDF holds each image as it is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from lvm_bench.report.figures.files import DPI, Folder, save
from lvm_bench.report.figures.style import SMALL, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PER_ROW = 8  # images
LARGEST = 0.32  # inches of an image's longer side
GAP, BETWEEN = 0.02, 0.1  # inches between images, and between blocks
LINE = 0.13  # inches of a line of text
FRAME = "#D55E00"

Images = UInt8[np.ndarray, "_ _ _ _"]  # [n c h w], of any number and size


@dataclass(frozen=True)
class Block:
    """Rows of images below a heading, each with its label; of a row whose images are None the place is empty."""

    heading: str
    rows: Sequence[tuple[str, Images | None]]
    framed: int | None = None  # the place in each row of an image with a frame

    @property
    def most(self) -> int:
        """The number of images in its longest row."""
        return max((len(images) for _, images in self.rows if images is not None), default=0)

    @property
    def label_width(self) -> float:
        """The width of its labels in inches."""
        return max((text_width(line) + 0.05 for label, _ in self.rows for line in label.splitlines()), default=0.0)


def write_blocks(folder: Folder, name: str, title: str, width: float, table: Sequence[Sequence[Block]]) -> Path:
    """Write rows of blocks as <name>.png and <name>.pdf of this width in inches. Returns the PNG."""
    return save(folder, name, partial(draw_blocks, width, table), title, exact=True)


def resolution(side: float, pixels: int) -> tuple[int, int]:
    """Dots per inch, and dots per pixel of an image with so many pixels, at most `side` inches long."""
    zoom = math.ceil(DPI * side / pixels)
    return math.ceil(zoom * pixels / side), zoom


def draw_blocks(width: float, table: Sequence[Sequence[Block]]) -> "Figure":
    """Blocks in rows and columns. All images are equally large: as large as they fit, and at most LARGEST."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = [[row[at] for row in table if at < len(row)] for at in range(max(map(len, table)))]
    labels = [max(block.label_width for block in column) for column in columns]
    counts = [max(block.most for block in column) for column in columns]
    shapes = [images.shape[2:] for row in table for block in row for _, images in block.rows if images is not None]
    room = width - sum(labels) - BETWEEN * (len(columns) - 1) - GAP * (sum(counts) + 1)
    dpi, zoom = resolution(min(LARGEST, max(room / sum(counts), 0.05)), max(map(max, shapes)))
    gap = round(GAP * dpi)
    across, down = (zoom * max(shape[at] for shape in shapes) + gap for at in (1, 0))
    lefts, left = [], 0.0
    for label, count in zip(labels, counts, strict=True):
        lefts.append(round(left + label * dpi) + gap)
        left = lefts[-1] + count * across + BETWEEN * dpi - gap
    heights = [_height(row, down, dpi) for row in table]
    top = sum(heights)
    made = Figure(figsize=(width, top / dpi), dpi=dpi)
    FigureCanvasAgg(made)
    axes = made.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, width * dpi), ylim=(0, top), autoscale_on=False)
    for row, height in zip(table, heights, strict=True):
        for block, start in zip(row, lefts, strict=False):
            _draw_block(axes, block, (start, top), (across, down), zoom, gap, dpi)
        top -= height
    return made


def _height(row: Sequence[Block], down: int, dpi: int) -> int:
    """The dots of a row of blocks: their lines of headings, their images, and some space below."""
    heading = LINE * dpi * any(block.heading for block in row)
    return round(heading + max(len(block.rows) for block in row) * down + 0.05 * dpi)


def _draw_block(
    axes: "Axes", block: Block, corner: tuple[int, int], step: tuple[int, int], zoom: int, gap: int, dpi: int
) -> None:
    """Draw a block below and to the right of its upper left corner, in dots."""
    from matplotlib.patches import Rectangle

    left, top = corner
    words: dict[str, Any] = {"fontsize": SMALL, "parse_math": False, "va": "center"}
    if block.heading:
        axes.text(left, top - LINE * dpi / 2, block.heading, **words)
        top -= round(LINE * dpi)
    for place, (label, images) in enumerate(block.rows):
        y = top - place * step[1]
        middle = y - (step[1] - gap) / 2
        axes.text(left - 0.05 * dpi, middle, label, ha="right", linespacing=1.05, **words)
        for at, image in enumerate(() if images is None else images):
            x = left + at * step[0]
            height, width = zoom * image.shape[1], zoom * image.shape[2]
            if at == block.framed:
                frame = (x - gap, y - height - gap), width + 2 * gap, height + 2 * gap
                axes.add_patch(Rectangle(*frame, facecolor=FRAME, linewidth=0, zorder=-1))
            pixels = np.ascontiguousarray(np.broadcast_to(image.transpose(1, 2, 0), (*image.shape[1:], 3)))
            axes.imshow(pixels, extent=(x, x + width, y - height, y), aspect="auto", interpolation="none")
