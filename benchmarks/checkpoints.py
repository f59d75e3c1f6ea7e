"""The cost of checkpoints: `python benchmarks/checkpoints.py results/mnist-small` prints a table in Markdown.

The table has one checkpoint of the AAE on the networks of the paper, which is the largest model with its
discriminator, and then all checkpoints of the runs in a results folder, from their records.
"""

import math
import statistics
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import torch

from lvm_bench import disk
from lvm_bench.errors import Stopped
from lvm_bench.modelling.contract import Spec
from lvm_bench.registry import METHODS
from lvm_bench.suites import bench_toml
from lvm_bench.suites.resolve import resolve
from lvm_bench.training.build import build
from lvm_bench.training.checkpoint import NAMES, SHARE, Checkpoints
from lvm_bench.training.loop import train

SHAPES = {"mnist": (1, 32, 32), "cifar10": (3, 32, 32), "celeba": (3, 64, 64)}
REPEATS = 3


def cost(dataset: str) -> tuple[float, float]:
    """The median seconds and the megabytes of a checkpoint after one step."""
    (job,) = resolve(bench_toml.config_file(None), "paper", methods=("aae",), datasets=(dataset,), seeds=(0,)).jobs
    settings = job.training
    spec = Spec(SHAPES[dataset], (0, 1), settings.latent, 1000, settings.batch_size, settings.likelihood)
    images = torch.zeros(20, *spec.shape, dtype=torch.uint8)
    took = []
    for _ in range(REPEATS):
        method = build(METHODS["aae"], job.arguments, spec, settings.network, settings.width, 0)
        with tempfile.TemporaryDirectory() as folder:
            checkpoints = Checkpoints(Path(folder), "benchmark", math.inf, print)
            with suppress(Stopped):
                train(method, images, images, settings, 0, checkpoints=checkpoints, stop=lambda: True)
            size = (Path(folder) / NAMES[0]).stat().st_size
        took.append(checkpoints.cost)
    return statistics.median(took), size / 1e6


def main() -> None:
    """Measure and print."""
    pause = resolve(bench_toml.config_file(None), "paper").running.checkpoint_seconds
    print("| what | one checkpoint | size | share of the training | goal |\n|---|---|---|---|---|")
    for dataset in SHAPES:
        seconds, size = cost(dataset)
        share = seconds / max(pause, seconds / SHARE)
        print(f"| AAE, network {dataset} | {seconds:.2f} s | {size:.0f} MB | {share:.2%} | 2 % |")
    for folder in map(Path, sys.argv[1:]):
        records = [disk.read_record(file) for file in sorted(folder.glob("runs/*/*/*/job.json"))]
        records = [record for record in records if "seconds_checkpoints" in record]
        all_of_them, training = (sum(r[key] for r in records) for key in ("seconds_checkpoints", "seconds_training"))
        share = all_of_them / training
        print(f"| {len(records)} runs of {folder.name} | {all_of_them:.1f} s in all | | {share:.2%} | 2 % |")


if __name__ == "__main__":
    main()
