"""A small made-up suite: two data sets, three methods and a plug-in."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from made import FACTS, make_run

from lvm_bench.runs.comparable import Remarks, outcomes
from lvm_bench.runs.record import Run
from lvm_bench.runs.suite_record import About

METHODS = ["vae", "aae", "avae", "my_method"]


@pytest.fixture
def about() -> About:
    return About(
        suite="small",
        description="made up",
        extractor="classifier",
        protocol="official-test",
        methods=METHODS,
        seeds=[0, 1],
        datasets={"digits": FACTS | {"latent": 8}, "mnist": FACTS},
    )


@pytest.fixture
def remarks() -> Remarks:
    """One method declined a data set, and one run failed."""
    declined = Run("digits", "aae", 0, "declined", "needs l of 10 or more")
    return Remarks(outcomes([declined, Run("mnist", "vae", 1, "failed", "the loss became NaN")]))


@pytest.fixture
def scored() -> Callable[..., pd.DataFrame]:
    """`scored({"vae": [1.0, 2.0]}, metric, dataset)`: one row per method and seed."""

    def make(values: dict[str, list[float]], metric: str = "mse.train", dataset: str = "mnist") -> pd.DataFrame:
        rows = [
            [dataset, name, seed, metric, value] for name, column in values.items() for seed, value in enumerate(column)
        ]
        return pd.DataFrame(rows, columns=["dataset", "method", "seed", "metric", "value"])

    return make


@pytest.fixture
def put_run(tmp_path: Path) -> Callable[..., Path]:
    """`put_run("mnist", "vae", 0, {"mse.train": 1.0})`: a run on disk in `tmp_path`/small."""
    return partial(make_run, tmp_path / "small")
