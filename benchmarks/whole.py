"""Whole commands: the evaluation of a run beside the peers in turn, the start, a report, and memory."""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks.codes import scipy_leave_one_out
from benchmarks.distances import by_prdc, published_prd, pytorch_fid_distance, torch_fidelity_kid
from benchmarks.measure import quiet, taking_turns, timed
from benchmarks.rows import Equality, Goal, Measured, NotMeasured, row
from lvm_bench import cli, disk
from lvm_bench.data.files import data_root, require
from lvm_bench.data.image_set import read_images
from lvm_bench.errors import UserError
from lvm_bench.evaluation.features import Request
from lvm_bench.evaluation.of_model import ModelEvidence
from lvm_bench.evaluation.score import evaluate
from lvm_bench.execution import score
from lvm_bench.execution.job_data import load_data
from lvm_bench.execution.score_images import space_of
from lvm_bench.execution.task import spec_of
from lvm_bench.metrics import frechet_distance
from lvm_bench.modelling.kde import PAPER_BANDWIDTHS, corrected_bandwidth, log_floor, optimal_bandwidth
from lvm_bench.output import Steps, Volume
from lvm_bench.registry import EXTRACTORS, METHODS
from lvm_bench.report.page import render
from lvm_bench.report.tables.compose import compose_tables
from lvm_bench.runs import checksums, gather
from lvm_bench.suites import bench_toml, labels
from lvm_bench.suites.resolve import resolve
from lvm_bench.training.build import build
from lvm_bench.training.loop import train

METRICS = ("frechet", "kid", "prd", "knn", "entropy")  # the metrics that peers have
DECODED = ("recon", "interpolated", "fake", "expost")


def trained_run(metrics: tuple[str, ...], small: bool) -> Callable[[], ModelEvidence]:
    """A function that returns fresh evidence for these metrics, of a VAE of `mnist-small` after one epoch."""
    chosen = [f"metrics={list(metrics)}".replace("'", '"')] if metrics else []
    sizes = ["samples=500", "kid_subset_size=100", "kid_subsets=10"] if small else []
    settings = ("epochs=1", *chosen, *sizes)
    file = bench_toml.defaults_folder() / "bench.toml"
    job = resolve(file, "mnist-small", methods=("vae",), seeds=(0,), settings=settings).jobs[0]
    root = data_root()
    try:
        require("mnist", root)
    except UserError as error:
        raise NotMeasured("needs MNIST (`lvm-bench data fetch mnist`)") from error
    data = load_data(job, root)
    extractor = EXTRACTORS["classifier"](Request(data, root, "cpu", job.evaluation.classifier_epochs))
    method = build(METHODS["vae"], job.arguments, spec_of(job, data), job.training.network, job.training.width, 0)
    train(
        method,
        torch.from_numpy(data.train.pixels.copy()),
        torch.from_numpy(data.validation.pixels.copy()),
        job.training,
        0,
    )
    return lambda: ModelEvidence(method, data, extractor, job.evaluation, 0, "cpu")


def ours(evidence: ModelEvidence) -> dict[str, float]:
    """The scores of a run as `lvm-bench run` computes them."""
    with tempfile.TemporaryDirectory() as folder:
        return evaluate(evidence, Path(folder) / "scores.json", "benchmark")


def raw_entropy(rows: np.ndarray) -> float:
    """The entropy of whitened codes at h0, from scipy's distances."""
    n, l = rows.shape
    rows = rows - rows.mean(0)
    spectrum, axes = np.linalg.eigh(np.cov(rows.T))
    logs = scipy_leave_one_out((rows @ axes / np.sqrt(spectrum)) @ axes.T, optimal_bandwidth(l, n))
    return -float(logs.mean())


def paper_entropy(rows: np.ndarray) -> float:
    """The entropy in the authors' form: whitened about 0, with h = alpha h0 and a density floor."""
    n, l = rows.shape
    spectrum, axes = np.linalg.eigh(rows.T @ rows / (n - 1))
    h = corrected_bandwidth(PAPER_BANDWIDTHS.get((l, n)) or optimal_bandwidth(l, n))
    logs = scipy_leave_one_out((rows @ axes / np.sqrt(spectrum + 1e-4)) @ axes.T, h)
    return -float(np.logaddexp(logs, log_floor(l, h, 1 - 5e-4)).mean())


def theirs(evidence: ModelEvidence) -> dict[str, float]:
    """The same scores of the same images by pytorch-fid, torch-fidelity, scikit-learn, prdc and scipy in turn."""
    settings: Any = evidence.settings
    reference = evidence.reference_features().numpy()
    real, scores = reference[: evidence.n], {}
    for variant in DECODED:
        fake = evidence.features(variant).numpy()
        scores[f"frechet.{variant}"] = pytorch_fid_distance(reference, fake)
        subset = min(settings.kid_subset_size, len(fake))
        scores[f"kid.{variant}"] = torch_fidelity_kid(reference, fake, settings.kid_subsets, subset)["mean"]
    for variant in ("fake", "expost"):
        fake = evidence.features(variant).numpy()
        scores[f"prd_precision.{variant}"], scores[f"prd_recall.{variant}"] = published_prd(real, fake, seed=0)
        scores |= {f"knn_{part}.{variant}": value for part, value in by_prdc(real, fake).items()}
    for variant in ("mean", "sampled"):
        rows = evidence.codes(variant).double().numpy()
        scores[f"entropy_raw.{variant}"], scores[f"entropy_paper.{variant}"] = raw_entropy(rows), paper_entropy(rows)
    return scores


def inputs_of(evidence: ModelEvidence) -> None:
    """All evidence that these metrics need."""
    for variant in DECODED:
        evidence.features(variant)
    for variant in ("mean", "sampled"):
        evidence.codes(variant)


@row(
    "evaluation",
    "evaluation of an MNIST run: FD, KID, PRD, k-NN shares and entropy of 10,000 samples, 64 features",
    "pytorch-fid",
    Goal(faster=4.0),
    peer="torch-fidelity, scikit-learn, prdc, scipy one after another",
    smoke=True,
)
def evaluation(small: bool) -> Measured:
    """The metrics that peers have, for one run. Both sides use our encoding, decoding and features."""
    fresh = trained_run(METRICS, small)
    ours(fresh())  # fills the caches of a suite: features of the training images, h0
    with quiet():
        mine, others, a, b = taking_turns(lambda: ours(fresh()), lambda: theirs(fresh()), 2, warm=False)
    plain = {key.removesuffix("@classifier"): value for key, value in a.items()}
    fixed = {key: value for key, value in b.items() if not key.startswith(("kid", "prd"))}
    difference = max(abs(plain[key] - value) / max(1.0, abs(value)) for key, value in fixed.items())
    drawn = max(abs(plain[key] - value) for key, value in b.items() if key.startswith("prd"))
    shared, _ = timed(lambda: inputs_of(fresh()))
    note = (
        f"the {len(b)} scores that both have; PRD, which draws its own clusterings, differs by at most {drawn:.3f}; "
        f"{shared:.1f} s of both sides are encoding, decoding and features, which are ours on both"
    )
    return Measured(mine, others, Equality("FD, k-NN shares and entropies", difference, 1e-3), note=note)


def image_files(folder: Path, n: int) -> dict[str, Path]:
    """Two .npz files of n colour images of 32 px, and labels in both."""
    stream, files = np.random.default_rng(0), {}
    for name in ("real", "fake"):
        files[name] = folder / f"{name}.npz"
        np.savez(files[name], images=stream.integers(0, 256, (n, 3, 32, 32), np.uint8), labels=np.arange(n) % 10)
    return files


@row(
    "score",
    "`lvm-bench score` of 10,000 + 10,000 images of 32 px in .npz files: Fréchet distance, `classifier`",
    "torch",
    Goal(longer=1.15),
    peer="the features of both sets alone",
    smoke=True,
)
def scoring(small: bool) -> Measured:
    """From the options to the JSON file, with the classifier trained before and no feature kept."""
    options: dict[str, Any] = dict.fromkeys(str(option.name) for option in cli.main.commands["score"].params)
    options |= {"extractor": ["classifier"], "metrics": ["frechet"], "device": "cpu"}
    with tempfile.TemporaryDirectory() as name, disk.cache_apart():
        folder = Path(name)
        files, out = image_files(folder, 600 if small else 10_000), folder / "scores.json"
        sets = {key: read_images(file, f"--{key}", None) for key, file in files.items()}
        settings = score.settings_of(bench_toml.config_file(None), ["frechet"])
        space = space_of("classifier", sets["real"], settings, "cpu")

        def ours() -> float:
            shutil.rmtree(disk.cache_folder() / "features", ignore_errors=True)
            score.score(options | files, out, (), None, (), lambda _: None, Steps(Volume.QUIET))
            return json.loads(out.read_text())["scores"]["frechet.fake@classifier"]

        def theirs() -> list[torch.Tensor]:
            return [space.features(torch.from_numpy(own.images.pixels)) for own in sets.values()]

        mine, others, a, features = taking_turns(ours, theirs, 2 if small else 5)
    b = frechet_distance(*features)
    return Measured(mine, others, Equality("the distance, relative", abs(a / b - 1), 1e-12))


@row("evaluation-all", "evaluation of an MNIST run of `mnist-small` with every metric", "", Goal(most=12.0))
def whole_evaluation(small: bool) -> Measured:
    """Seconds of all metrics of a run."""
    fresh = trained_run((), small)
    ours(fresh())
    return Measured([timed(lambda: ours(fresh()))[0] for _ in range(1 if small else 2)])


@row("paper-memory", "peak memory of the AVAE of `paper` on MNIST", "", Goal(most=4.0), unit="GiB")
def paper_memory(small: bool) -> Measured:
    """The full-width network with m = 10,000 and 10,000 samples, measured in its own process."""
    try:
        require("mnist", data_root())
    except UserError as error:
        raise NotMeasured("needs MNIST (`lvm-bench data fetch mnist`)") from error
    with tempfile.TemporaryDirectory() as results:
        command = [sys.executable, "-m", "lvm_bench", "run", "--suite", "paper", "--datasets", "mnist"]
        command += ["--methods", "avae", "--seeds", "0", "--extractor", "classifier", "--results", results]
        # Two thousand images are in minibatches. More would add time, and only 1 KiB of memory each.
        command += ["--set", "epochs=1", "--set", "train_images=12000", "--set", "classifier_epochs=1"]
        subprocess.run(command, check=True, cwd=results)
    return Measured([resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20])


def command_seconds(*words: str) -> float:
    """Seconds of `lvm-bench` in a new process, whose modules are compiled, as in an installation."""
    command = [sys.executable, "-m", "lvm_bench", *words]
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return timed(lambda: subprocess.run(command, check=True, capture_output=True, env=compiled))[0]


@row("help", "`lvm-bench --help`", "", Goal(most=0.4), smoke=True)
def help_seconds(small: bool) -> Measured:
    """The shortest command."""
    return Measured([command_seconds("--help") for _ in range(3 if small else 9)])


@row("report", "`lvm-bench report` on 1,000 runs, written for the first time", "", Goal(most=2.0))
def report_seconds(small: bool) -> Measured:
    """Ten data sets, twenty methods, five seeds of made-up scores and histories."""
    from faults import many

    took = []
    for _ in range(1 if small else 7):
        with tempfile.TemporaryDirectory() as name, mock.patch.object(many, "SEEDS", 1 if small else 5):
            folder = Path(name)
            for job in many.jobs(many.bench(folder)):
                many.finish(job, folder / "results")
            took.append(command_seconds("report", "--suite", many.SUITE, "--results", str(folder / "results")))
    return Measured(took)


@row("page", "the page of the committed `zoo`, beside composing its tables", "", Goal(longer=1.0), smoke=True)
def page_seconds(small: bool) -> Measured:
    """Everything on the page but figures and pictures of runs, which are not committed."""
    suite = Path(__file__).parents[1] / "results" / "zoo"
    found = gather.gather(suite, checksums.read(suite), lambda _: None)
    with labels.using(labels.current()):
        labels.show(found.about.shown)
        composed = compose_tables(suite, found, None, "std")
        page = partial(render.render, suite.name, composed.filled, found, [], composed.words)
        mine, others, *_ = taking_turns(page, lambda: compose_tables(suite, found, None, "std"), 1 if small else 7)
    return Measured(mine, others)
