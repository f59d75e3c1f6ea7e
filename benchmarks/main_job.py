"""Speed and size of the main job: `python benchmarks/main_job.py` writes benchmarks/RESULTS.md (needs MNIST).

Ratios are taken within one process, alternating; the median of the repeats counts.
"""

import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from lvm_bench import config
from lvm_bench.data.files import data_root
from lvm_bench.evaluate import ModelEvidence, evaluate
from lvm_bench.features import Request
from lvm_bench.registry import EXTRACTORS, METHODS
from lvm_bench.runner import load_data, spec_of
from lvm_bench.train import build, fixed_numerics, train

HERE = Path(__file__).parent
BENCH = config.defaults_folder() / "bench.toml"


def seconds(action: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def epoch_ratio(m: int, repeats: int = 5) -> tuple[float, str]:
    """Seconds of an AVAE epoch over those of the plain auto-encoder's, both on 12,000 images in all."""
    times: dict[str, list[float]] = {"ae": [], "avae": []}
    with fixed_numerics(1):
        for _ in range(repeats):
            for name, own in (("ae", ()), ("avae", (f"m={m}",))):
                settings = ("epochs=1", *own)
                job = config.resolve(BENCH, "mnist-small", methods=(name,), seeds=(0,), settings=settings).jobs[0]
                data = load_data(job, data_root())
                images = torch.from_numpy(data.train.pixels.copy())
                # The plain auto-encoder sees the n - m images that the AVAE makes minibatches of.
                images = images if name == "avae" else images[m:]
                method = build(METHODS[name], job.arguments, spec_of(job, data), "mnist", 0.25, 0)
                validation = torch.from_numpy(data.validation.pixels.copy())
                times[name].append(seconds(lambda: train(method, images, validation, job.training, 0)))  # noqa: B023
    ratio = statistics.median(a / b for a, b in zip(times["avae"], times["ae"], strict=True))
    return ratio, f"{statistics.median(times['avae']):.2f} s against {statistics.median(times['ae']):.2f} s"


def evaluation_seconds() -> float:
    """Seconds of the whole evaluation of a VAE of `mnist-small`, with what a suite computes once at hand."""
    job = config.resolve(BENCH, "mnist-small", methods=("vae",), seeds=(0,)).jobs[0]
    with fixed_numerics(job.training.threads), tempfile.TemporaryDirectory() as folder:
        root = data_root()
        data = load_data(job, root)
        extractor = EXTRACTORS["classifier"](Request(data, root, "cpu", job.evaluation.classifier_epochs))
        method = build(METHODS["vae"], job.arguments, spec_of(job, data), "mnist", 0.25, 0)
        took = []
        for attempt in ("first", "second"):
            evidence = ModelEvidence(method, data, extractor, job.evaluation, 0, "cpu")
            took.append(seconds(lambda: evaluate(evidence, Path(folder) / attempt, "benchmark")))  # noqa: B023
    return took[-1]


def paper_memory() -> float:
    """Peak GiB of the AVAE of `paper` on MNIST: full-width network, m = 10,000, 10,000 samples measured."""
    with tempfile.TemporaryDirectory() as results:
        command = [sys.executable, "-m", "lvm_bench", "run", "--suite", "paper", "--datasets", "mnist"]
        command += ["--methods", "avae", "--seeds", "0", "--extractor", "classifier", "--results", results]
        # Two thousand images make minibatches: more change the time, not the memory but for 1 KiB an image.
        command += ["--set", "epochs=1", "--set", "train_images=12000", "--set", "classifier_epochs=1"]
        subprocess.run(command, check=True, cwd=results)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20


def help_seconds(repeats: int = 9) -> float:
    """Median seconds of `lvm-bench --help` in a new process."""
    command = [sys.executable, "-m", "lvm_bench", "--help"]
    return statistics.median(
        seconds(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(repeats)
    )


def main() -> None:
    """Measure, print and write the table."""
    ratio, detail = epoch_ratio(1000)
    helping, evaluating, memory = help_seconds(), evaluation_seconds(), paper_memory()
    rows = [
        ("`lvm-bench --help`", "0.6 s", f"{helping:.2f} s", helping <= 0.6),
        ("AVAE epoch, m = 1,000, over the plain auto-encoder's", "1.6 x", f"{ratio:.2f} x ({detail})", ratio <= 1.6),
        ("evaluation of a VAE of `mnist-small`, one thread", "40 s", f"{evaluating:.1f} s", evaluating <= 40),
        ("peak memory of the AVAE of `paper` on MNIST", "4 GiB", f"{memory:.2f} GiB", memory <= 4),
    ]
    lines = [
        "# Speed and size of the main job",
        "",
        f"Made by `python benchmarks/main_job.py` with torch {torch.__version__} on {platform.machine()}, "
        f"{torch.get_num_threads()} cores.",
        "",
        "| what | goal, at most | measured | |",
        "|---|---|---|---|",
        *(f"| {what} | {goal} | {shown} | {'met' if met else 'missed'} |" for what, goal, shown, met in rows),
    ]
    (HERE / "RESULTS.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
