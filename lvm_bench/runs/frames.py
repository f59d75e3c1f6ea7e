"""Scores as a pandas frame. It stands alone, so that what reads a few scores does not wait for pandas."""

import numpy as np
import pandas as pd

from lvm_bench.runs.score_files import ScoresByRun


def frame(scores: ScoresByRun) -> pd.DataFrame:
    """One row per score, sorted by run and metric: dataset, method, seed, metric, value."""
    keys = sorted(scores)
    rows = [sorted(scores[key].items()) for key in keys]
    counts = [len(row) for row in rows]
    datasets, methods, seeds = zip(*keys, strict=True) if keys else ((), (), ())
    names = {
        "dataset": _repeated(datasets, counts),
        "method": _repeated(methods, counts),
        "seed": np.repeat(np.array(seeds, dtype=np.int64), counts),
        "metric": pd.Categorical([metric for row in rows for metric, _ in row]),
        "value": np.array([value for row in rows for _, value in row], dtype=np.float64),
    }
    return pd.DataFrame(names)


def _repeated(names: tuple[str, ...], counts: list[int]) -> pd.Categorical:
    once = pd.Categorical(names)
    return pd.Categorical.from_codes(np.repeat(once.codes, counts), categories=once.categories)
