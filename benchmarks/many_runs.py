"""10,000 synthetic finished runs: seconds and peak memory of `report` and `list runs`, each in a process of its own.

python benchmarks/many_runs.py
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lvm_bench import config, store

DATASETS, METHODS, SEEDS, SCORES, EPOCHS = 10, 20, 50, 46, 5
SUITE = "many"
KINDS = ("recon", "interpolated", "fake", "expost")
KEYS = (
    *(f"{metric}.{kind}@classifier" for metric in ("frechet", "kid", "kid_std") for kind in KINDS),
    *(f"prd_{part}.{kind}@classifier" for part in ("precision", "recall") for kind in KINDS[2:]),
    *(f"knn_{part}.{kind}@classifier" for part in ("precision", "recall", "density", "coverage") for kind in KINDS[2:]),
    *(f"{error}.{split}" for error in ("mse", "sse") for split in ("train", "heldout")),
    *(f"sharpness.{kind}" for kind in ("real", "recon", "fake")),
    *(f"entropy_{part}.{of}" for part in ("raw", "gap", "paper", "cap") for of in ("mean", "sampled")),
    *("gaussian_kl.mean", "gaussian_kl_target.mean", "gaussian_kl_floor.mean", "mmd.mean", "mmd_target.mean"),
    *("collapsed_variance.mean", "collapsed_kl.mean"),
)
COLUMNS = ("epoch", "learning_rate", "train/loss", "train/recon", "train/kl", "val/loss", "val/recon", "val/kl")


def make(results: Path) -> None:
    """A results folder of one suite with all of these runs done."""
    job = config.resolve(config.config_file(None), "mnist-small").jobs[0]
    for d in range(DATASETS):
        for m in range(METHODS):
            for seed in range(SEEDS):
                settings = {**job.scores_settings(), "dataset": f"data-{d}", "method": f"method-{m}", "seed": seed}
                one(results, settings, job.conditions, m)


def one(results: Path, settings: dict[str, Any], conditions: dict[str, Any], order: int) -> None:
    """One finished run, without the weights and the pictures that neither command reads."""
    dataset, method, seed = settings["dataset"], settings["method"], settings["seed"]
    folder = store.run_folder(results, SUITE, dataset, method, seed)
    folder.mkdir(parents=True)
    scores = {key: (i + 1) * (1 + order / 7) + seed / 49 for i, key in enumerate(KEYS)}
    rows = [",".join(COLUMNS), *(",".join(repr((epoch + seed) / 3) for _ in COLUMNS) for epoch in range(EPOCHS))]
    _write(folder / "scores.json", json.dumps(scores, indent=2))
    _write(folder / "history.csv", "\n".join(rows) + "\n")
    environment = {
        "versions": {"lvm-bench": "0.1.0", "python": "3.11.7", "torch": "2.11.0", "numpy": "2.4.6", "method": method},
        "commit": "0" * 40, "device": "x86_64", "host": "here", "threads": 1, "date": f"2026-01-01T00:00:{seed:02}",
    }  # fmt: skip
    facts = {
        "base": "mnist", "latent": 16, "likelihood": "sse", "train": 12000, "validation": 2000, "heldout": 10000,
        "heldout_split": "official test split", "reference": 12000, "reference_split": "training split",
        "samples": 10000, "kid_subsets": 100, "kid_subset_size": 1000, "neighbours": 5, "weights": "last",
    }  # fmt: skip
    record = {
        "suite": SUITE, "dataset": dataset, "method": method, "seed": seed, "status": "done", "settings": settings,
        "conditions": conditions, "digest_weights": "0" * 64, "digest_scores": store.digest(settings),
        "plan": {"description": "synthetic", "order": order, "seeds": [*range(SEEDS)]}, "facts": facts,
        "extractor": "classifier", "fingerprint": "f" * 64, "environment": environment, "earlier_environments": [],
        "parameters": 1000, "seconds_training": 1.5, "seconds_evaluation": 2.5,
        "files": {name: store.fingerprint(folder / name) for name in ("history.csv", "scores.json")},
    }  # fmt: skip
    _write(folder / "job.json", store.sealed(record))


def _write(file: Path, text: str) -> None:
    """Not `store.write`, which waits for the disk 30,000 times."""
    file.write_text(text, encoding="utf-8")


def measure(*arguments: str) -> tuple[float, float]:
    """Seconds and peak memory in MiB of one command."""
    code = (
        "import resource, sys, subprocess\n"
        "done = subprocess.run([sys.executable, '-m', 'lvm_bench', *sys.argv[1:]], stdout=subprocess.DEVNULL)\n"
        "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    started = time.perf_counter()
    out = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True).stdout
    seconds = time.perf_counter() - started
    returned, memory = out.split()
    if returned != "0":
        raise SystemExit(f"{' '.join(arguments)} ended with exit code {returned}.")
    return seconds, float(memory)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        results = Path(place)
        make(results)
        print(f"{DATASETS * METHODS * SEEDS:,} runs, {len(KEYS)} scores and {EPOCHS} epochs each")
        print(f"{'command':<24}{'seconds':>8}{'MiB':>8}")
        for arguments in (["report"], ["report"], ["list", "runs"], ["verify"]):
            seconds, memory = measure(*arguments, "--suite", SUITE, "--results", place)
            print(f"{' '.join(arguments):<24}{seconds:>8.1f}{memory:>8.0f}")
