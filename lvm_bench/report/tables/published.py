"""The published numbers of results/published."""

from typing import Any

import pandas as pd

from lvm_bench.errors import UserError, did_you_mean
from lvm_bench.suites.bench_toml import published_sources


def load(source: str) -> pd.DataFrame:
    """The published numbers of one source, one per row, in our units and with their printed text.

    UserError for an unknown source.
    """
    files = published_sources()
    if source not in files:
        raise UserError(f"Unknown published source {source!r}.{did_you_mean(source, files)}")
    frame = pd.read_csv(files[source], dtype=str, keep_default_na=False)
    frame["printed"] = frame["bound"] + frame["mean"] + (" ± " + frame["std"]).where(frame["std"] != "", "")
    frame = frame.assign(**{name: pd.to_numeric(frame[name]) for name in ("l", "m", "mean", "std", "n")})
    percent = frame["unit"] == "%"
    return frame.assign(**{name: frame[name].where(~percent, frame[name] / 100) for name in ("mean", "std")})


def scores(source: str, l: float) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The published scores by (data set, method, metric): those of latent size l, and those that name no size.

    Where a paper prints a score in several tables, the one over the most runs stands, else the first.
    """
    frame = load(source)
    frame = frame[(frame["method"] != "") & (frame["l"].isna() | (frame["l"] == l))]
    rows = frame.sort_values("n", ascending=False, kind="stable").to_dict("records")
    return {(row["dataset"], row["method"], row["metric"]): row for row in reversed(rows)}
