"""Tables I and II of the AVAE paper: the KDE bandwidth for each l and m, as computed here and as published."""

from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table as RichTable
from rich.text import Text

from lvm_bench import disk
from lvm_bench.errors import RunError
from lvm_bench.output import tracked
from lvm_bench.report.tables import published

LATENTS = (10, 20, 40, 50, 70, 100)

POINTS = (500, 1000, 2000, 5000, 10000)

SOURCE = "avae-2024"

FILE = "bandwidth.csv"

_AGAIN = "Restore it, or give `lvm-bench report --tables bandwidth`, which computes it again."

TITLES = {
    "bandwidth": "Table I. Bandwidth h0 that maximises the mean log-density of N(0, I) draws under a "
    "Gaussian KDE on m other draws in l dimensions: mean ± population standard deviation over 3 trials",
    "corrected_bandwidth": "Table II. The bandwidths of Table I times alpha = (1 + h0^2)^(-1/2)",
}


def _number(text: str) -> float:
    """The number that a text is, to the last bit; NaN where it is empty."""
    return float(text or "nan")


COLUMNS: dict[str, Callable[[str], Any]] = {  # each with what reads it
    "metric": str, "l": int, "m": int, "mean": _number, "std": _number, "n": int,
    "published_mean": _number, "published_std": _number, "published": str,
}  # fmt: skip

Cells = dict[tuple[int, int], list[float]]


def compute() -> Cells:
    """Three trials of h0 for every l and m. They take some minutes."""
    from lvm_bench.modelling.kde import bandwidth_trials

    pairs = [(l, m) for l in LATENTS for m in POINTS]
    return {(l, m): bandwidth_trials(l, m) for l, m in tracked(pairs, "computing bandwidths")}


def tidy(cells: Cells) -> pd.DataFrame:
    """One row per table, l and m, with the mean and population std over the trials and the published value."""
    from lvm_bench.modelling.kde import corrected_bandwidth

    printed = {(row["metric"], row["l"], row["m"]): row for row in published.load(SOURCE).to_dict("records")}
    rows = []
    for metric in TITLES:
        for (l, m), trials in cells.items():
            values = trials if metric == "bandwidth" else [corrected_bandwidth(h0) for h0 in trials]
            theirs = printed[metric, l, m]
            rows.append([metric, l, m, float(np.mean(values)), float(np.std(values)), len(values)])
            rows[-1] += [theirs["mean"], theirs["std"], theirs["printed"]]
    return pd.DataFrame(rows, columns=[*COLUMNS])


def write(folder: Path, frame: pd.DataFrame) -> None:
    """bandwidth.csv."""
    disk.write_text(folder / FILE, frame.to_csv(index=False, lineterminator="\n"))


def read(folder: Path) -> pd.DataFrame:
    """The numbers in bandwidth.csv, as `write` takes them. RunError where the file is damaged."""
    try:
        frame = pd.read_csv(folder / FILE, converters=COLUMNS)
    except (ValueError, OSError) as error:
        raise RunError(f"{folder / FILE}: damaged ({error}). {_AGAIN}") from error
    if [*frame.columns] != [*COLUMNS] or not {*frame["metric"]} <= {*TITLES}:
        raise RunError(f"{folder / FILE}: damaged, not what `report` writes. {_AGAIN}")
    return frame


def to_latex(frame: pd.DataFrame) -> str:
    """Both tables."""
    lines = ["% needs \\usepackage{booktabs}"]
    for metric, title in TITLES.items():
        lines += [
            r"\begin{table*}",
            r"\centering",
            rf"\caption{{{_latex(caption(title))}}}",
            rf"\label{{tab:{metric}}}",
        ]
        lines += [rf"\begin{{tabular}}{{r{'c' * len(POINTS)}}}", r"\toprule"]
        lines += [" & ".join(["$l$", *(f"$m = {m}$" for m in POINTS)]) + r" \\", r"\midrule"]
        lines += [" & ".join([str(l), *map(_latex, texts)]) + r" \\" for l, texts in _rows(frame, metric)]
        lines += [r"\bottomrule", r"\end{tabular}", r"\end{table*}", ""]
    return "\n".join(lines)


def _latex(text: str) -> str:
    """Text as LaTeX sets it. The captions and cells hold no special characters but these."""
    return text.replace("±", r"$\pm$").replace(">", "$>$").replace("^(-1/2)", "$^{-1/2}$").replace("h0^2", "$h_0^2$")


def caption(title: str) -> str:
    """A table's title, and the source of the values in brackets."""
    return f"{title}. In brackets: {SOURCE}."


def render(frame: pd.DataFrame) -> list[RichTable | Text]:
    """Both tables for the terminal, each under its caption."""
    shown: list[RichTable | Text] = []
    for metric, title in TITLES.items():
        view = RichTable("l", *(f"m = {m:,}" for m in POINTS), box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for l, texts in _rows(frame, metric):
            view.add_row(str(l), *(text.replace(" (", "\n(") for text in texts))
        shown += [Text(caption(title), style="italic"), view, Text("")]
    return shown


def _rows(frame: pd.DataFrame, metric: str) -> Iterator[tuple[int, list[str]]]:
    """Each l with the texts of its cells."""
    rows = frame[frame["metric"] == metric].to_dict("records")
    for l in dict.fromkeys(row["l"] for row in rows):
        yield l, [_cell(row) for row in rows if row["l"] == l]


def _cell(row: dict[Hashable, Any]) -> str:
    return f"{row['mean']:.3f} ± {row['std']:.3f} ({row['published']})"
