"""The parts of a score's spread over seeds: from training, and from the draws of one evaluation."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from lvm_bench.report.tables.word_table import WordTable
from lvm_bench.runs.layout import Key
from lvm_bench.runs.redraw_files import Redraws
from lvm_bench.runs.score_files import ScoresByRun
from lvm_bench.suites.labels import dataset_label, label


@dataclass(frozen=True)
class Noise:
    """A score of a method, measured `evaluations` times for each seed: its mean and three standard deviations."""

    dataset: str
    method: str
    metric: str
    seeds: int
    evaluations: int
    mean: float
    between: float  # of the means of seeds
    within: float  # of the evaluations of one seed
    seed: float  # of the seeds alone: `between` without the part that `within` causes


def variance_components(values: Float64[np.ndarray, "seeds redraws"]) -> tuple[float, float]:
    """The variance of the seeds and the variance of sampling, in a balanced one-way layout with random effects.

    Both are unbiased, except that the first is cut at 0. A variance that one seed or one redraw cannot tell is NaN.
    Searle, Casella & McCulloch 1992, ch. 3.
    """
    seeds, redraws = values.shape
    sampling = float(values.var(axis=1, ddof=1).mean()) if redraws > 1 else math.nan
    between = float(values.mean(axis=1).var(ddof=1)) if seeds > 1 else math.nan
    return float(np.maximum(0, between - sampling / redraws)), sampling  # NaN stays NaN


def measured_noise(scores: ScoresByRun, redraws: Redraws) -> list[Noise]:
    """The noise of each shown score that was drawn again in every seed of a method."""
    places: dict[tuple[str, str], list[Key]] = {}
    for key in sorted(redraws.keys() & scores.keys()):
        places.setdefault(key[:2], []).append(key)
    found = []
    for (dataset, method), keys in places.items():
        count = min(len(redraws[key]) for key in keys)
        tables = [[scores[key], *redraws[key][:count]] for key in keys]
        for metric in sorted(set.intersection(*({*table} for rows in tables for table in rows))):
            values = np.array([[table[metric] for table in rows] for rows in tables])
            if np.isfinite(values).all():
                found.append(_noise(dataset, method, metric, values))
    return found


def _noise(dataset: str, method: str, metric: str, values: Float64[np.ndarray, "seeds redraws"]) -> Noise:
    seed, sampling = variance_components(values)
    between = float(values.mean(axis=1).std(ddof=1)) if len(values) > 1 else math.nan
    seeds, evaluations = values.shape
    mean, within = float(values.mean()), math.sqrt(sampling)
    return Noise(dataset, method, metric, seeds, evaluations, mean, between, within, math.sqrt(seed))


def noise_table(found: list[Noise]) -> WordTable:
    """A row per score with its mean and its three standard deviations."""
    text = (
        "Each trained run was measured again with other random draws. Standard deviations (n - 1): between the means "
        "of seeds, within the evaluations of one seed, and of the seeds alone: the first without the draws' part of it "
        "(0 where nothing is left)."
    )
    header = ["data set", "score", "method", "seeds", "evaluations", "mean", "between", "within", "seeds alone"]
    rows = [
        [dataset_label(row.dataset), row.metric, label(row.method), str(row.seeds), str(row.evaluations),
         *("" if math.isnan(value) else f"{value:.4g}" for value in (row.mean, row.between, row.within, row.seed))]
        for row in sorted(found, key=lambda row: (row.dataset, row.metric, row.method))
    ]  # fmt: skip
    return WordTable("noise", "Noise of the evaluation", text, header, rows, len(header), 3)
