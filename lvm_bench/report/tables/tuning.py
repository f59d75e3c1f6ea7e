"""A search for settings: what was tried and chosen, what that is worth on the test split, and which setting matters."""

import math
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64

from lvm_bench.report.tables import statistics
from lvm_bench.report.tables.cells import Cell, cells_of
from lvm_bench.report.tables.digits import number
from lvm_bench.report.tables.layouts import ARROWS, Column
from lvm_bench.report.tables.word_table import WordTable
from lvm_bench.runs.choice import Choice
from lvm_bench.suites.labels import dataset_label
from lvm_bench.suites.search import tuned_name
from lvm_bench.text import duration, one_line, setting_text

NONE = "–"

OWN = "own settings"


def tuning_tables(choices: list[Choice], frame: pd.DataFrame) -> list[WordTable]:
    """The tables of a tuned suite; none of another."""
    return [search_table(choices), tuned_table(choices, frame), importance_table(choices)] if choices else []


def ranked_scores(choice: Choice) -> Float64[np.ndarray, " n"]:
    """The scores of the trials. One without a score has the worst of the others; all are NaN where none has one."""
    known = [trial.score for trial in choice.trials if trial.score is not None]
    worst = (max if choice.better == "lower" else min)(known, default=math.nan)
    return np.array([worst if trial.score is None else trial.score for trial in choice.trials], dtype=np.float64)


def search_table(choices: list[Choice]) -> WordTable:
    """A row per data set and method: its score before and after, what was chosen, and what the search cost."""
    text = (
        "The search for settings. Each method had the same number of draws (scrambled Sobol points, shared by methods "
        "for settings of one name); the first draw has its own settings. One training each, with one seed for all "
        f"({', '.join(sorted({str(choice.seed) for choice in choices}))}), scored on the validation split; the best "
        "was chosen, the first of equal ones. A draw that failed, or has no finite score, counts as the worst. "
        f"All of it took {duration(sum(_seconds(choice) for choice in choices))}."
    )
    header = ["data set", "method", "score", OWN, "best", "chosen", "draws", "without score", "time"]
    rows = [
        [dataset_label(choice.dataset), choice.label, f"{choice.score}{ARROWS[choice.better]}",
         _number(choice.own.score), _number(choice.best.score), _chosen(choice), str(len(choice.trials)),
         str(choice.failed), duration(_seconds(choice))]
        for choice in choices
    ]  # fmt: skip
    return WordTable("search", "Search for settings", text, header, rows)


def tuned_table(choices: list[Choice], frame: pd.DataFrame) -> WordTable:
    """A row per data set and method: its score on the test split with its own settings, tuned, and the difference."""
    rows, differences = [], []
    for choice in choices:
        cells = cells_of(frame, Column("", choice.score))
        own = cells.get((choice.dataset, choice.method))
        tuned = cells.get((choice.dataset, tuned_name(choice.method))) if choice.chosen else None
        differences.append(_differences(own, tuned))
        shown = [_mean(own), OWN if not choice.chosen else _mean(tuned), *_interval(differences[-1])]
        score = f"{choice.score}{ARROWS[choice.better]}"
        rows.append([dataset_label(choice.dataset), choice.label, score, *shown, str(len(differences[-1]))])
    p = [float(statistics.paired_t(each[None])[0]) for each in differences]
    adjusted = statistics.holm(np.array(p))
    rows = [[*row[:-1], _number(value), row[-1]] for row, value in zip(rows, adjusted, strict=True)]
    text = (
        "Tuned settings against a method's own, on the test split, which the search did not read, and with seeds that "
        "it did not use: mean ± population standard deviation; tuned minus own over common seeds with a 95 % interval "
        "(t), and p of a paired t-test with Holm's correction over the rows. The other tables have a row for each."
    )
    header = ["data set", "method", "score", OWN, "tuned", "difference", "95 % interval", "p", "seeds"]
    return WordTable("tuned", "Tuned against own settings", text, header, rows)


def importance_table(choices: list[Choice]) -> WordTable:
    """A row per setting that was drawn: how the score goes with it, by ranks."""
    rows = []
    for choice in choices:
        scores = ranked_scores(choice)
        for name, written in choice.ranges.items():
            values = _values(choice, name)
            rho, low, high = statistics.spearman(values, scores)
            interval = NONE if math.isnan(low) or low == high else f"[{low:.2f}, {high:.2f}]"
            n = str(int((~np.isnan(values) & ~np.isnan(scores)).sum()))
            score = f"{choice.score}{ARROWS[choice.better]}"
            shown = NONE if math.isnan(rho) else f"{rho:.2f}"
            where = setting_text(written)
            rows.append([dataset_label(choice.dataset), choice.label, name, where, score, shown, interval, n])
    text = (
        "How much each setting matters: Spearman's rank correlation of its value with the score over the draws of the "
        "search (above 0 the score grows with it), with a 95 % interval (Bonett & Wright 2000; none for ranks that "
        "agree wholly). It sees what rises or falls all the way, and no optimum in the middle. A list of choices is "
        "ranked by its order. A draw without a score counts as the worst; a value of another kind than its range, such "
        "as the name of a rule, is left out."
    )
    header = ["data set", "method", "setting", "range", "score", "correlation", "95 % interval", "draws"]
    return WordTable("importance", "What each setting matters", text, header, rows)


def _values(choice: Choice, name: str) -> Float64[np.ndarray, " n"]:
    """The value of a setting in each trial as a number: of a choice its place in the list; NaN where it has none."""
    written, values = choice.ranges[name], [trial.settings.get(name) for trial in choice.trials]
    if isinstance(written, list):
        places: list[Any] = [written.index(value) if value in written else math.nan for value in values]
    else:
        places = [value if type(value) in (int, float) else math.nan for value in values]
    return np.array(places, dtype=np.float64)


def _chosen(choice: Choice) -> str:
    """The settings of the chosen trial."""
    if not choice.chosen:
        return OWN
    return one_line(", ".join(f"{name} = {_setting(value)}" for name, value in choice.best.settings.items()))


def _setting(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else setting_text(value)


def _seconds(choice: Choice) -> float:
    return sum(trial.seconds for trial in choice.trials)


def _number(value: float | None) -> str:
    return NONE if value is None or math.isnan(value) else f"{value:.4g}"


def _mean(cell: Cell | None) -> str:
    return number(cell.mean, cell.std, cell.n) if cell else NONE


def _differences(own: Cell | None, tuned: Cell | None) -> Float64[np.ndarray, " n"]:
    """Tuned minus own, seed by seed."""
    if own is None or tuned is None:
        return np.empty(0)
    _, first, second = np.intersect1d(own.seeds, tuned.seeds, return_indices=True)
    return np.asarray(tuned.values[second] - own.values[first], dtype=np.float64)


def _interval(differences: Float64[np.ndarray, " n"]) -> tuple[str, str]:
    if not len(differences):
        return NONE, NONE
    low, high = statistics.t_interval(differences)
    return f"{differences.mean():.4g}", NONE if math.isnan(low) else f"[{low:.4g}, {high:.4g}]"
