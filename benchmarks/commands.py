"""Commands from nothing to the table: alone, and beside pythae's trainer with the packages that measure samples."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from benchmarks.distances import by_prdc, published_prd, pytorch_fid_distance, torch_fidelity_kid
from benchmarks.measure import quiet, timed
from benchmarks.rows import Equality, Goal, Measured, NotMeasured, row
from benchmarks.training import BATCH, RANGE
from benchmarks.whole import command_seconds
from lvm_bench.data.files import data_root, require
from lvm_bench.errors import UserError
from lvm_bench.evaluation.features import Request
from lvm_bench.evaluation.of_model import ModelEvidence
from lvm_bench.execution.job_data import load_data
from lvm_bench.execution.task import spec_of
from lvm_bench.metrics import frechet_distance, gaussian_kl, knn
from lvm_bench.modelling.contract import to_float
from lvm_bench.registry import EXTRACTORS, METHODS
from lvm_bench.suites import bench_toml
from lvm_bench.suites.job import Job
from lvm_bench.suites.resolve import resolve
from lvm_bench.training.build import build

RESULTS = Path(__file__).parents[1] / "results"
SCORES = ("frechet", "prd", "knn", "kid", "gaussian_kl")  # what both sides measure
SETTINGS = ("epochs=10", "train_images=10000", f"metrics={list(SCORES)}".replace("'", '"'))
NAMES = ("vae", "rae-l2", "wae-mmd")  # methods that pythae has, with one optimiser loop each


@row("quick", "`make quick` after set-up: 18 runs and the report", "", Goal(most=75.0))
def quick(small: bool) -> Measured:
    """Both commands, into a new folder."""
    with tempfile.TemporaryDirectory() as results:
        options = ["--suite", "quick", "--results", results, *(["--seeds", "0"] if small else [])]
        return Measured(
            [command_seconds("run", *options) + command_seconds("report", "--suite", "quick", *options[2:4])]
        )


@row("report-quick", "`lvm-bench report --suite quick` after the runs", "", Goal(most=5.0))
def report_quick(small: bool) -> Measured:
    """Tables, figures and the page."""
    with tempfile.TemporaryDirectory() as results:
        options = ["--suite", "quick", "--results", results]
        command_seconds("run", *options, *(["--seeds", "0"] if small else []))
        return Measured([command_seconds("report", *options) for _ in range(1 if small else 3)])


@row("report-mnist-small", "`lvm-bench report --suite mnist-small` of the committed scores", "", Goal(most=25.0))
def report_mnist_small(small: bool) -> Measured:
    """What a clone renders."""
    with tempfile.TemporaryDirectory() as results:
        shutil.copytree(RESULTS / "mnist-small", Path(results) / "mnist-small", ignore=shutil.ignore_patterns("runs"))
        options = ["--suite", "mnist-small", "--results", results]
        return Measured([command_seconds("report", *options) for _ in range(1 if small else 3)])


def over_many_runs(words: str, small: bool) -> tuple[float, float]:
    """Seconds and MiB of a command over 10,000 finished runs."""
    from faults import many

    with tempfile.TemporaryDirectory() as name, mock.patch.object(many, "SEEDS", 1 if small else many.SEEDS):
        file, results = many.bench(Path(name)), Path(name) / "results"
        for job in many.jobs(file):
            many.finish(job, results)
        options = ["--suite", many.SUITE, "--results", str(results)]
        code, seconds, memory = many.measure(*words.split(), *options, *(["--config", str(file)] * (words == "run")))
        assert code == 0
        return seconds, memory


@row("list-many", "`lvm-bench list runs`, 10,000 runs", "", Goal(most=2.0))
def list_many(small: bool) -> Measured:
    """One command over made-up runs."""
    seconds, memory = over_many_runs("list runs", small)
    return Measured([seconds], note=f"{memory:.0f} MiB")


@row("run-many", "`lvm-bench run` with nothing to do, 10,000 runs", "", Goal(most=4.0))
def run_many(small: bool) -> Measured:
    """One command over made-up runs."""
    seconds, memory = over_many_runs("run", small)
    return Measured([seconds], note=f"{memory:.0f} MiB")


def job_of(method: str, seed: int) -> Job:
    """The job of a method on 10,000 images of MNIST."""
    file = bench_toml.defaults_folder() / "bench.toml"
    return resolve(file, "mnist-small", methods=(method,), seeds=(seed,), settings=SETTINGS).jobs[0]


def by_packages(method: str, seed: int) -> dict[str, float]:
    """Ten epochs of pythae's trainer, then the scores of 10,000 samples by the packages. Features are ours."""
    from benchmarks.pythae_models import epoch_of, model_of

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    job, root = job_of(method, seed), data_root()
    data = load_data(job, root)
    settings, spec = job.training, spec_of(job, data)
    ours = build(METHODS[method], job.arguments, spec, settings.network, settings.width, seed)
    images = to_float(torch.from_numpy(data.train.pixels), RANGE)
    with tempfile.TemporaryDirectory() as folder, quiet():
        epoch = epoch_of(model_of(ours), images, BATCH, settings.learning_rate, Path(folder), lambda: None)
        for _ in range(settings.epochs):
            epoch()
    extractor = EXTRACTORS["classifier"](Request(data, root, "cpu", job.evaluation.classifier_epochs))
    evidence = ModelEvidence(ours.eval(), data, extractor, job.evaluation, seed, "cpu")
    return scores_by_packages(evidence)


def scores_by_packages(evidence: ModelEvidence) -> dict[str, float]:
    """Frechet distance, PRD, k-NN shares, KID and the KL of the Gaussian fit, each by the package of its paper."""
    reference, codes = evidence.reference_features().numpy(), evidence.codes("mean").double().numpy()
    scores = {}
    for variant in ("recon", "interpolated", "fake", "expost"):
        fake = evidence.features(variant).numpy()
        scores[f"frechet.{variant}"] = pytorch_fid_distance(reference, fake)
        scores[f"kid.{variant}"] = torch_fidelity_kid(reference, fake, 100, min(1000, len(fake)))["mean"]
        if variant in ("fake", "expost"):
            real = reference[: len(fake)]
            published_prd(real, fake, seed=0)
            scores |= {f"knn_{part}.{variant}": value for part, value in by_prdc(real, fake).items()}
    mean, covariance = codes.mean(0), np.cov(codes.T)
    trace = np.trace(covariance) + mean @ mean - len(mean)
    scores["gaussian_kl"] = float(0.5 * (trace - np.linalg.slogdet(covariance)[1]))
    return scores


def equality_of_scores() -> Equality:
    """The largest difference of the scores of one model by us and by the packages."""
    job, root = job_of("vae", 0), data_root()
    data = load_data(job, root)
    settings = job.training
    method = build(METHODS["vae"], job.arguments, spec_of(job, data), settings.network, settings.width, 0).eval()
    extractor = EXTRACTORS["classifier"](Request(data, root, "cpu", job.evaluation.classifier_epochs))
    evidence = ModelEvidence(method, data, extractor, job.evaluation, 0, "cpu")
    theirs, reference = scores_by_packages(evidence), evidence.reference_features()
    ours = {"gaussian_kl": gaussian_kl(evidence.codes("mean"))}
    for variant in ("fake", "expost"):
        fake = evidence.features(variant)
        ours[f"frechet.{variant}"] = frechet_distance(reference, fake)
        shares = knn(reference[: len(fake)], fake)
        ours |= {f"knn_{part}.{variant}": value for part, value in shares.items()}
    difference = max(abs(ours[key] - theirs[key]) / max(1.0, abs(theirs[key])) for key in ours)
    return Equality("FD, k-NN shares and KL of one model", difference, 1e-3)


def beside_packages(methods: tuple[str, ...], seeds: int, small: bool) -> Measured:
    """`lvm-bench run` of methods and seeds, and a process of the packages for each of them, one after another."""
    try:
        require("mnist", data_root())
    except UserError as error:
        raise NotMeasured("needs MNIST (`lvm-bench data fetch mnist`)") from error
    importable = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(importable)}
    equality = equality_of_scores()  # trains the classifier, which is not timed on either side

    def ours() -> None:
        with tempfile.TemporaryDirectory() as results:
            chosen = [word for name in methods for word in ("--methods", name)]
            chosen += [word for seed in range(seeds) for word in ("--seeds", str(seed))]
            chosen += [word for setting in SETTINGS for word in ("--set", setting)]
            command = [sys.executable, "-m", "lvm_bench", "run", "--suite", "mnist-small", "--results", results]
            subprocess.run([*command, *chosen], check=True, capture_output=True, env=environment)

    def theirs() -> None:
        for name in methods:
            for seed in range(seeds):
                line = f"from benchmarks.commands import by_packages; by_packages({name!r}, {seed})"
                subprocess.run([sys.executable, "-c", line], check=True, capture_output=True, env=environment)

    pairs = [(timed(ours)[0], timed(theirs)[0]) for _ in range(1 if small or seeds > 1 else 3)]
    mine, others = map(list, zip(*pairs, strict=True))
    return Measured(mine, others, equality)


def _add(name: str, what: str, methods: tuple[str, ...], seeds: int, least: float) -> None:
    measure: Callable[[bool], Measured] = partial(beside_packages, methods, seeds)
    peer = "its trainer, then pytorch-fid, torch-fidelity, prdc, the published PRD"
    row(name, what, "pythae", Goal(faster=least), peer=peer)(measure)


_add("run-one", "VAE on 10,000 images of MNIST, ten epochs, and scores of 10,000 samples, one core", NAMES[:1], 1, 2.0)
_add("run-fifteen", "the same for three methods and five seeds, all cores", NAMES, 5, 3.0)
