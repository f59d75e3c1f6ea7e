"""Every figure of a suite, from what stands in its results folder; no torch."""

from pathlib import Path

import pandas as pd

from lvm_bench.report.figures import ablation, codes, curves, factors, ranks, strips, trade_off
from lvm_bench.report.figures.style import Picture
from lvm_bench.report.gathered import Gathered
from lvm_bench.report.scores import Complain

__all__ = ["MOST_RUNS", "Picture", "left_out", "write_all"]

MOST_RUNS = 1000  # with controls: of more, figures would take minutes and show nothing


def write_all(folder: Path, found: Gathered, frame: pd.DataFrame, complain: Complain) -> list[Picture]:
    """Draw every figure of a suite that its runs, scores and histories allow, into figures/.

    Where a run's file cannot be drawn, `complain` gets a sentence and the other figures are drawn.
    """
    place, about = folder / "figures", found.about
    about = {"suite": folder.name, **about}
    drawn = [run for run in found.runs if run.folder and run.key in found.shown]
    pictures = strips.write(place, about, drawn, complain)
    pictures += factors.write(place, about, drawn, frame, complain)
    pictures += ablation.write(place, about, [run for run in found.runs if run.key in found.shown], frame)
    if not left_out(found):
        pictures += codes.write(place, about, drawn, complain)
        pictures += curves.write(place, about, {key: found.history[key] for key in found.shown if key in found.history})
        pictures += trade_off.write(place, about, frame)
        pictures += ranks.write(place, about, frame)
    return pictures


def left_out(found: Gathered) -> str:
    """Why figures of codes, curves and scores are left out; "" where they are drawn."""
    if len(found.shown) <= MOST_RUNS:
        return ""
    return f"Figures of codes, curves and scores are left out above {MOST_RUNS:,} runs; here are {len(found.shown):,}."
