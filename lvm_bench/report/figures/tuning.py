"""What a search of n draws is worth: the expected best score against n, for each method. Dodge et al. 2019."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lvm_bench.report.figures.files import Folder, save
from lvm_bench.report.figures.style import Picture, legend, looks, plain, set_scale, single, where
from lvm_bench.report.figures.words import score_name
from lvm_bench.report.tables import statistics
from lvm_bench.report.tables.tuning import ranked_scores
from lvm_bench.runs.choice import Choice
from lvm_bench.runs.suite_record import About

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TEXT = (
    "The best validation score that n draws of a method's settings are expected to give, and its standard deviation, "
    "both in closed form from the draws that were made (Dodge et al. 2019, arXiv:1909.03004). At the left, the score "
    "with the method's own settings, which are one of the draws. Curves are a little too modest where n comes near to "
    "the number of draws, since they take them with replacement; a draw without a score counts as the worst."
)


def write(folder: Folder, about: About, choices: list[Choice]) -> list[Picture]:
    """<data set>-search.png and .pdf for each score that was searched by; none without a search."""
    pictures = []
    for dataset in sorted({choice.dataset for choice in choices}):
        found = [each for each in choices if each.dataset == dataset and np.isfinite(ranked_scores(each)).all()]
        if found:
            title = f"Expected best of n draws {where(dataset, about.suite)}"
            file = save(folder, f"{dataset}-search", partial(draw, found, about), title)
            pictures.append(Picture(file, title, _TEXT, dataset))
    return pictures


def draw(found: list[Choice], about: About) -> "Figure":
    """A curve per method, with its standard deviation as a band, and a marker at the score of its own settings."""
    made, axes = single(2.4, len(found))
    style = looks((choice.method for choice in found), about)
    lines = {}
    for choice in found:
        look = style[choice.method]
        mean, deviation = statistics.expected_best(ranked_scores(choice), choice.better == "higher")
        n = np.arange(1, len(mean) + 1)
        (line,) = axes.plot(n, mean, color=look["color"], marker=look["marker"])
        low, high = ranked_scores(choice).min(), ranked_scores(choice).max()
        band = [np.clip(mean + sign * deviation, low, high) for sign in (-1, 1)]
        axes.fill_between(n, *band, color=look["color"], alpha=0.12, linewidth=0)
        if choice.own.score is not None:
            axes.plot(0, choice.own.score, color=look["color"], marker=look["marker"], fillstyle="none")
        lines[plain(choice.label)] = line
    most = max(len(choice.trials) for choice in found)
    step = -(-most // 8)
    ticks = [*range(step, most + 1, step)]
    axes.set_xticks([0, *ticks], ["own", *map(str, ticks)])
    axes.set_xlabel("number n of draws")
    axes.set_ylabel(score_name(found[0].score, 40), parse_math=False)
    set_scale([axes], "y", [ranked_scores(choice) for choice in found])
    legend(made, lines)
    return made
