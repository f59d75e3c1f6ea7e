"""A small made-up suite: two data sets, three methods and a plug-in, one run declined and one failed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lvm_bench import store

METHODS = ["vae", "aae", "avae", "my_method"]


def facts(latent: int) -> dict[str, Any]:
    return {
        "base": "mnist",
        "latent": latent,
        "likelihood": "sse",
        "train": 12000,
        "validation": 2000,
        "heldout": 10000,
        "heldout_split": "official test split",
        "reference": 12000,
        "reference_split": "training split",
        "samples": 10000,
        "kid_subsets": 100,
        "kid_subset_size": 1000,
        "neighbours": 5,
        "extractor_note": "classifier trained on this data set's labels, test accuracy 98.9 %",
    }


@pytest.fixture
def about() -> dict[str, Any]:
    return {
        "suite": "small",
        "description": "made up",
        "extractor": "classifier",
        "protocol": "official-test",
        "methods": METHODS,
        "seeds": [0, 1],
        "datasets": {"digits": facts(8), "mnist": facts(16)},
        "declined": {"digits/aae": "needs l of 10 or more"},
        "failed": {"mnist/vae/1": "the loss became NaN"},
    }


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

    def put(
        dataset: str, method: str, seed: int, scores: dict[str, float], status: str = "done", images: bool = False
    ) -> Path:
        folder = tmp_path / "small" / "runs" / dataset / method / f"seed-{seed}"
        store.write_json(folder / "scores.json", scores)
        record = {"dataset": dataset, "method": method, "seed": seed, "status": status, "digest_scores": "d"}
        store.write_json(folder / "job.json", record)
        store.write_text(folder / "history.csv", f"epoch,loss\n1,{seed}.50\n")
        if images:
            pixels = np.random.default_rng(seed).integers(0, 256, (16, 1, 8, 8), dtype=np.uint8)
            kinds = dict.fromkeys(("real", "recon", "interpolated", "fake"), pixels)
            np.savez(folder / "images.npz", **kinds)
        return folder

    return put
