"""The critical-difference diagram of Demsar 2006: average ranks, with bars over those that cannot be told apart."""

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from lvm_bench.report.figures.files import Folder, save
from lvm_bench.report.figures.style import COLUMN, GREY, INK, SMALL, WIDE, Picture, figure, name
from lvm_bench.report.tables import ranking, statistics
from lvm_bench.report.tables.ranking import Ranking
from lvm_bench.runs.suite_record import About

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 12  # methods: with more of them nobody can follow the lines, and a table is in its place


def write(folder: Folder, about: About, frame: pd.DataFrame) -> list[Picture]:
    """Write ranks.png and ranks.pdf if at least two methods can be ranked by at least two scores."""
    found = ranking.ranking(frame, about)
    if found is None or len(found.methods) > MOST:
        return []
    text = (
        f"Average ranks over {len(found.blocks)} blocks (a data set and a score, means over {found.compared.seeds}); "
        "left is better. Bars join methods nearer to each other than the critical difference CD (Nemenyi, 5 %): they "
        "cannot be told apart."
    )
    title = f"Average ranks over {len(found.blocks)} scores"
    return [Picture(save(folder, "ranks", partial(diagram, found), title), title, text)]


def diagram(found: Ranking) -> "Figure":
    """The ranks on a line, with names below, a bar over each clique, and the critical difference above."""
    k, average = len(found.methods), found.average
    groups = statistics.cliques(average, found.difference)
    half = -(-k // 2)
    longest = max(len(name(method)) for method in found.methods)
    made = figure(COLUMN if k < 10 and longest < 16 else WIDE, 0.5 + 0.16 * half + 0.09 * len(groups))
    axes = made.add_subplot()
    axes.set_axis_off()
    lowest = -(0.5 + 0.35 * len(groups)) - 0.7 * half
    axes.set(xlim=(0.6, k + 0.4), ylim=(lowest, 1.9))
    axes.plot([1, k], [0, 0], color=INK, linewidth=0.8, clip_on=False)
    for rank in range(1, k + 1):
        axes.plot([rank, rank], [0, 0.18], color=INK, linewidth=0.8)
        axes.text(rank, 0.28, str(rank), ha="center", va="bottom", fontsize=SMALL)
    width = min(found.difference, k - 1)
    axes.plot([1, 1 + width], [1.35, 1.35], color=INK, linewidth=1.4)
    axes.text(1 + width / 2, 1.45, f"CD = {found.difference:.2f}", ha="center", va="bottom", fontsize=SMALL)
    axes.annotate("average rank", (k, 0.28), (7, 0), textcoords="offset points", va="bottom", fontsize=SMALL)
    for place, (first, last) in enumerate(groups):
        y = -0.3 - 0.35 * place
        axes.plot([average[first] - 0.03, average[last] + 0.03], [y, y], color=GREY, linewidth=2.2)
    for place, (method, rank) in enumerate(zip(found.methods, average, strict=True)):
        left = place < half
        depth = place if left else k - 1 - place
        y = -(0.5 + 0.35 * len(groups)) - 0.7 * depth
        end = 0.95 if left else k + 0.05
        axes.plot([rank, rank, end], [0, y, y], color=INK, linewidth=0.6)
        words = f"{name(method)} {rank:.2f}" if left else f"{rank:.2f} {name(method)}"
        axes.text(
            end,
            y,
            f"{words} " if left else f" {words}",
            ha="right" if left else "left",
            va="center",
            fontsize=7,
            parse_math=False,
        )
    return made
