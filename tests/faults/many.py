"""10,000 synthetic finished runs: what `run`, `report` and `list runs` need for them, each in its own process."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from lvm_bench import disk
from lvm_bench.execution.job_data import load_data
from lvm_bench.runs.layout import HISTORY, PAGE, RECORD, SCORES, TRAINED, run_folder, site_folder
from lvm_bench.suites import bench_toml
from lvm_bench.suites.job import Job
from lvm_bench.suites.resolve import resolve

from .place import Item, Place

DATASETS, METHODS, SEEDS, EPOCHS = 10, 20, 50, 5
SUITE = "many"
LIMITS = {"run": (4, 400), "report": (60, 2048), "report, again": (60, 2048), "list runs": (2, 400)}  # seconds, MiB
MOST_OF_A_PAGE = 8e6  # bytes
SCORES_OF_A_RUN = 300
KINDS = ("recon", "interpolated", "fake", "expost")
_MEASURED = (
    *(f"{metric}.{kind}@classifier" for metric in ("frechet", "kid", "kid_std") for kind in KINDS),
    *(f"prd_{part}.{kind}@classifier" for part in ("precision", "recall") for kind in KINDS[2:]),
    *(f"knn_{part}.{kind}@classifier" for part in ("precision", "recall", "density", "coverage") for kind in KINDS[2:]),
    *(f"{error}.{split}" for error in ("mse", "sse") for split in ("train", "heldout")),
    *(f"sharpness.{kind}" for kind in ("real", "recon", "fake")),
    *(f"entropy_{part}.{of}" for part in ("raw", "gap", "paper", "cap") for of in ("mean", "sampled")),
    *("gaussian_kl.mean", "gaussian_kl_target.mean", "gaussian_kl_floor.mean", "mmd.mean", "mmd_target.mean"),
    *("collapsed_variance.mean", "collapsed_kl.mean"),
)
_SPACES = tuple(key.replace("@classifier", f"@space-{n}") for n in range(12) for key in _MEASURED if "@" in key)
KEYS = (*_MEASURED, *_SPACES)[:SCORES_OF_A_RUN]
COLUMNS = ("epoch", "learning_rate", "train/loss", "train/recon", "train/kl", "val/loss", "val/recon", "val/kl")
FACTS = {
    "base": "digits", "latent": 8, "likelihood": "bernoulli", "train": 1200, "validation": 200, "heldout": 397,
    "heldout_split": "test split", "reference": 1200, "reference_split": "training split", "samples": 397,
    "kid_subsets": 100, "kid_subset_size": 397, "neighbours": 5, "weights": "last",
}  # fmt: skip
ENVIRONMENT = {
    "versions": {"lvm-bench": "0.1.0", "python": "3.11.7", "torch": "2.11.0", "numpy": "2.4.6", "method": "0" * 12},
    "commit": "0" * 40, "device": "x86_64", "host": "here", "threads": 2, "date": "2026-01-01T00:00:00",
}  # fmt: skip


def many(make: Callable[[str], Place]) -> Item:
    """The commands over a folder of 10,000 finished runs and their controls."""
    item = Item(
        "Many runs",
        f"{DATASETS} data sets x {METHODS} methods x {SEEDS} seeds, all finished, with {len(KEYS)} scores and {EPOCHS} "
        f"epochs each, and {2 * DATASETS * SEEDS:,} controls; `run` has nothing to do.",
        ["command", "seconds", "at most", "MiB", "at most"],
    )
    place = make("many")
    file = bench(place.folder)
    made = [finish(job, place.results) for job in jobs(file)]
    item.notes.append(f"{len(made):,} folders.")
    suite = ("--suite", SUITE, "--results", str(place.results))
    for name, (most_seconds, most_memory) in LIMITS.items():
        words = [*name.removesuffix(", again").split(), *suite, *(["--config", str(file)] if name == "run" else [])]
        code, seconds, memory = measure(*words)
        item.expect(code == 0, f"`{name}` ended with exit code {code}.")
        item.expect(seconds < most_seconds, f"`{name}` took {seconds:.1f} s.")
        item.expect(memory < most_memory, f"`{name}` took {memory:.0f} MiB.")
        item.rows.append([f"`{name}`", f"{seconds:.1f}", most_seconds, f"{memory:.0f}", most_memory])
    page = (site_folder(place.results / SUITE) / PAGE).stat().st_size
    item.notes.append(f"The page has {page / 1e6:.1f} MB, of at most {MOST_OF_A_PAGE / 1e6:.0f}.")
    item.expect(page <= MOST_OF_A_PAGE, f"the page has {page / 1e6:.1f} MB.")
    return item


def bench(folder: Path) -> Path:
    """A bench.toml with a suite of variants of the digits and of the VAE."""
    packaged = bench_toml.defaults_folder()
    text = (packaged / "bench.toml").read_text()
    text = text.replace('packages = ["baselines"]', f'packages = ["{(packaged / "baselines").as_posix()}"]')
    names = [f"data-{i}" for i in range(DATASETS)], [f"method-{i}" for i in range(METHODS)]
    given = 'base = "digits"\nnetwork = "digits"\nlatent = 8\nlikelihood = "bernoulli"\nepochs = 5'
    tables = [f"[datasets.{name}]\n{given}" for name in names[0]] + [f'[methods.{n}]\nbase = "vae"' for n in names[1]]
    suite = f"[suites.{SUITE}]\ndatasets = {names[0]}\nmethods = {names[1]}\nseeds = {[*range(SEEDS)]}"
    extractor = f'[suites.{SUITE}.evaluate]\nextractor = "classifier"\n'
    file = folder / "bench.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([text, *tables, suite, extractor]))
    return file


def jobs(file: Path) -> list[Job]:
    """Every run and control of the suite."""
    suite = resolve(file, SUITE)
    return [*suite.jobs, *suite.controls]


def finish(job: Job, results: Path) -> Path:
    """A finished run without a network: its files hold a word, its numbers are made up."""
    folder = run_folder(results, job.suite, job.dataset, job.method, job.seed)
    folder.mkdir(parents=True)
    keys = KEYS[:3] if job.is_control else KEYS
    scores = {key: (i + 1) * (1 + job.plan.order / 7) + job.seed / 49 for i, key in enumerate(keys)}
    rows = [",".join(COLUMNS), *(",".join(repr((epoch + job.seed) / 3) for _ in COLUMNS) for epoch in range(EPOCHS))]
    contents = {SCORES: json.dumps(scores, indent=2)}
    if not job.is_control:
        contents |= dict.fromkeys(TRAINED, "synthetic") | {HISTORY: "\n".join(rows) + "\n"}
    for name, text in contents.items():  # not `store.write`, which waits for the disk
        (folder / name).write_text(text, encoding="utf-8")
    record = {
        "suite": job.suite, "dataset": job.dataset, "method": job.method, "seed": job.seed, "status": "done",
        "settings": job.scores_settings(), "conditions": job.conditions, "plan": job.plan.model_dump(),
        "digest_weights": disk.digest(job.weights_settings()), "digest_scores": disk.digest(job.scores_settings()),
        "facts": FACTS, "extractor": "classifier", "fingerprint": digits(), "environment": ENVIRONMENT,
        "earlier_environments": [], "parameters": 1000, "seconds_training": 1.5, "seconds_evaluation": 2.5,
        "measured": job.metrics, "files": {name: disk.fingerprint(folder / name) for name in contents},
    }  # fmt: skip
    (folder / RECORD).write_text(disk.sealed(record), encoding="utf-8")
    return folder


@cache
def digits() -> str:
    """The fingerprint of the images of every data set here."""
    (job,) = resolve(bench_toml.defaults_folder() / "bench.toml", "quick", methods=("vae",), seeds=(0,)).jobs
    return load_data(job, Path("none")).fingerprint


def measure(*words: str) -> tuple[int, float, float]:
    """Exit code, seconds and peak memory in MiB of a command."""
    code = (
        "import resource, sys, subprocess\n"
        "done = subprocess.run([sys.executable, '-m', 'lvm_bench', *sys.argv[1:]], stdout=subprocess.DEVNULL)\n"
        "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    started = time.perf_counter()
    out = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True).stdout
    seconds = time.perf_counter() - started
    returned, memory = out.split()
    return int(returned), seconds, float(memory)
