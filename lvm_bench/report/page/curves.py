"""Training curves as small SVG drawings."""

import math
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from lvm_bench.report.page.template import MOST_COLUMNS, only_printable
from lvm_bench.runs.score_files import Epochs

MOST_EPOCHS = 60  # drawn of a curve

MOST_LINES = 8  # in a panel, as many as page.css has colours

WIDTH, HEIGHT, LEFT, TOP = 240, 96, 44, 8  # of a panel of curves, and where its lines begin

LOG = 4  # largest over smallest value above which positive curves are drawn on a logarithmic scale


@dataclass(frozen=True)
class Curve:
    """A panel of curves: its title, the names of its lines, and its SVG."""

    title: str
    lines: list[str]
    drawing: Markup
    log: bool


def curves(epochs: Epochs | None) -> list[Curve]:
    """A panel for each term of a history. Training and validation share a panel."""
    columns, rows = epochs or ([], [])
    panels: dict[str, dict[str, list[float]]] = {}
    chosen = np.unique(np.linspace(0, max(len(rows) - 1, 0), min(len(rows), MOST_EPOCHS)).round().astype(int))
    for place, name in enumerate(columns[:MOST_COLUMNS]):
        before, _, after = name.partition("/")
        title, line = (after, before) if before in ("train", "val") else (before, after)
        if before == "codes":  # of different units
            title, line = after, ""
        if name not in ("epoch", "stage", "updates"):
            panels.setdefault(title, {})[line] = [_float(rows[row][place]) for row in chosen]
    return [_curve(title, lines, len(rows)) for title, lines in panels.items()]


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _curve(title: str, lines: dict[str, list[float]], epochs: int) -> Curve:
    known = list(lines)[:MOST_LINES]
    shown = title if len(lines) <= MOST_LINES else f"{title} (the first {MOST_LINES} of {len(lines)})"
    heights = np.array([lines[name] for name in known], dtype=np.float64)
    finite = heights[np.isfinite(heights)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    log = low > 0 and high > LOG * low
    with np.errstate(all="ignore"):
        scaled = np.log(heights) if log else heights
        bottom, top = (math.log(low), math.log(high)) if log else (low, high)
        share = (scaled - bottom) / (top - bottom) if top > bottom else scaled * 0 + 0.5
        y = np.where(np.isfinite(share), TOP + (1 - share) * (HEIGHT - 2 * TOP), np.nan)
    x = LEFT + np.linspace(0, 1, heights.shape[1]) * (WIDTH - LEFT - 4)
    drawn = Markup("").join(_line(place, x, row) for place, row in enumerate(y))
    ends = "; ".join(
        f"{name or title} from {lines[name][0]:.4g} to {lines[name][-1]:.4g}" for name in known if lines[name]
    )
    described = f"{title} over {epochs} epochs: {ends}"
    drawing = Markup(
        '<svg viewBox="0 0 {w} {h}" role="img" aria-label="{described}">'
        '<text x="{x}" y="{top}">{high}</text><text x="{x}" y="{bottom}">{low}</text>{drawn}</svg>'
    ).format(
        w=WIDTH, h=HEIGHT, described=only_printable(described), x=LEFT - 5, top=TOP + 6, bottom=HEIGHT - 3,
        high=f"{high:.3g}", low=f"{low:.3g}", drawn=drawn,
    )  # fmt: skip
    return Curve(shown, [name for name in known if name], drawing, log)


def _line(place: int, x: np.ndarray, y: np.ndarray) -> Markup:
    """A curve in pieces: it is broken at values that cannot be drawn."""
    pieces = np.split(np.arange(len(y)), np.flatnonzero(~np.isfinite(y)))
    shown = [piece[np.isfinite(y[piece])] for piece in pieces]
    return Markup("").join(
        Markup('<polyline class="line-{}" points="{}"/>').format(
            place, " ".join(f"{x[at]:.1f},{y[at]:.1f}" for at in (piece if len(piece) > 1 else [*piece, *piece]))
        )
        for piece in shown
        if len(piece)
    )
