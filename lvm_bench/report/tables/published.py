"""The published numbers of results/published."""

from pathlib import Path

import pandas as pd

from lvm_bench.errors import UserError, did_you_mean
from lvm_bench.suites import bench_toml


def published_folder() -> Path:
    """The folder of the published numbers: beside the packaged bench.toml, or in the checkout's results."""
    folder = bench_toml.defaults_folder()
    return folder / "published" if (folder / "published").is_dir() else folder / "results" / "published"


def load(source: str) -> pd.DataFrame:
    """The published numbers of one source, one per row, in our units and with their printed text.

    UserError for an unknown source.
    """
    files = {file.stem: file for file in published_folder().glob("*.csv")}
    if source not in files:
        raise UserError(f"Unknown published source {source!r}.{did_you_mean(source, files)}")
    frame = pd.read_csv(files[source], dtype=str, keep_default_na=False)
    frame["printed"] = frame["bound"] + frame["mean"] + (" ± " + frame["std"]).where(frame["std"] != "", "")
    frame = frame.assign(**{name: pd.to_numeric(frame[name]) for name in ("l", "m", "mean", "std", "n")})
    percent = frame["unit"] == "%"
    return frame.assign(**{name: frame[name].where(~percent, frame[name] / 100) for name in ("mean", "std")})
