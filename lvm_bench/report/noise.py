"""How much of a score's spread over seeds is the training's, and how much the random draws of one evaluation."""

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from lvm_bench import records, store
from lvm_bench.errors import RunError
from lvm_bench.ledger import RESTORE
from lvm_bench.records import Key, Run
from lvm_bench.report.grids import Grid
from lvm_bench.report.scores import RUN, Complain, Scores, check_metric, checked_scores, key_of
from lvm_bench.report.tables import DATASETS, label

MOST = 1000  # redraws of a run
Redraws = dict[Key, list[dict[str, float]]]  # of each run the scores of its further evaluations
AGAIN = "Delete it, or give `lvm-bench run` with --resample again."


@dataclass(frozen=True)
class Noise:
    """A score of a method over seeds, each measured `evaluations` times: its mean and three standard deviations.

    `between` the seeds' means, `within` one seed, and of the `seed` itself: between, less its part of within.
    """

    dataset: str
    method: str
    metric: str
    seeds: int
    evaluations: int
    mean: float
    between: float
    within: float
    seed: float


def variance_components(values: Float64[np.ndarray, "seeds redraws"]) -> tuple[float, float]:
    """(variance of the seeds, variance of sampling) of a balanced one-way layout with random effects.

    Unbiased, but that the first is cut at 0; NaN for what one seed or one redraw cannot tell. Searle, Casella &
    McCulloch 1992, ch. 3.
    """
    seeds, redraws = values.shape
    sampling = float(values.var(axis=1, ddof=1).mean()) if redraws > 1 else math.nan
    between = float(values.mean(axis=1).var(ddof=1)) if seeds > 1 else math.nan
    return float(np.maximum(0, between - sampling / redraws)), sampling  # NaN stays NaN


def measured(scores: Scores, redraws: Redraws) -> list[Noise]:
    """The noise of each score that was drawn again in every seed of a method; `scores` are those that tables show."""
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


def grid(found: list[Noise]) -> Grid:
    """A row per score: how far seeds lie apart, how far evaluations of one seed, and what is left for the seeds."""
    text = (
        "Each trained run was measured again with other random draws. Standard deviations (n - 1): between the means "
        "of seeds, within the evaluations of one seed, and of the seeds alone: the first without the draws' part of it "
        "(0 where nothing is left)."
    )
    header = ["data set", "score", "method", "seeds", "evaluations", "mean", "between", "within", "seeds alone"]
    rows = [
        [DATASETS.get(row.dataset, row.dataset), row.metric, label(row.method), str(row.seeds), str(row.evaluations),
         *("" if math.isnan(value) else f"{value:.4g}" for value in (row.mean, row.between, row.within, row.seed))]
        for row in sorted(found, key=lambda row: (row.dataset, row.metric, row.method))
    ]  # fmt: skip
    return Grid("noise", "Noise of the evaluation", text, header, rows, len(header))


def checked(found: list[Any]) -> list[dict[str, float]]:
    """The scores of some redraws as JSON has them; ValueError where they are none."""
    if len(found) > MOST:
        raise ValueError(f"there are {len(found)}, and at most {MOST}")
    return [checked_scores(scores) for scores in found]


def collect(runs: Iterable[Run], complain: Complain) -> Redraws:
    """The redraws of runs that are done and have some; what is damaged or of other scores is complained about."""
    found: Redraws = {}
    for run in runs:
        if run.folder is None or not (run.folder / records.REDRAWN).is_file():
            continue
        try:
            record = {name: getattr(run, name) for name in ("digest_scores", "fingerprint", "files", "settings")}
            made = checked(records.redraws(run.folder, records.identity(record)))
        except RunError as error:
            complain(f"{error} {AGAIN}")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            complain(f"{run.folder / records.REDRAWN}: holds no scores ({error}). {AGAIN}")
        else:
            if made:
                found[run.key] = made
    return found


def write(file: Path, redraws: Redraws) -> None:
    """One line per run, redraw and score."""
    rows: list[Any] = [
        (*key, place, metric, repr(value))
        for key in sorted(redraws)
        for place, scores in enumerate(redraws[key], 1)
        for metric, value in sorted(scores.items())
    ]
    store.write_text(file, _csv([[*RUN, "redraw", "metric", "value"], *rows]))


def read(file: Path) -> Redraws:
    """What `write` wrote, {} where there is no file; RunError where it is damaged."""
    if not file.exists():
        return {}
    found: dict[Key, dict[int, dict[str, float]]] = {}
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream, strict=True):
                place = int(row["redraw"])
                if not 1 <= place <= MOST:
                    raise ValueError(f"redraw {place} is not within 1 and {MOST}")
                scores = found.setdefault(key_of(row["dataset"], row["method"], row["seed"]), {}).setdefault(place, {})
                scores[check_metric(row["metric"])] = float(row["value"])
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunError(f"{file}: cannot be read as a table of runs ({error}). {RESTORE}") from error
    return {key: [scores for _, scores in sorted(places.items())] for key, places in found.items()}


def _csv(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
