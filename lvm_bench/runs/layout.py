"""Where everything stands in a results folder: the name of every file and folder, once.

The names of a training's checkpoints stand in training/checkpoint.py, which knows nothing of results.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from lvm_bench import disk
from lvm_bench.errors import UserError, did_you_mean
from lvm_bench.suites.bench_toml import shipped_results
from lvm_bench.text import check_name, is_name

RESULTS = Path("results")  # the default folder of results

# Of a run

RECORD, SCORES, HISTORY = "job.json", "scores.json", "history.csv"

PARTIAL = "scores.partial.json"  # the scores of an evaluation that is not finished

FITTING = ("expost.safetensors", "expost.previous.safetensors")  # checkpoints of an ex-post sampler that is fitted

IMAGES, SWEEPS, CODES = "images.npz", "sweeps.npz", "codes.npz"

PICTURES = "pictures.npz"  # what a method draws of itself

REDRAWN, REDRAWING = "resampled.json", "resampled.partial.json"  # sealed, and in no record: they belong to no digest

WEIGHTS = {"last": "model.safetensors", "best": "best.safetensors"}

TRAINED = (HISTORY, *WEIGHTS.values())

SITE = "site"  # the folder of all that `report` renders from what it commits; git need not hold it

DOCUMENTATION = "docs/index.html"  # in the site, if it was built

MADE = (*TRAINED, SCORES, IMAGES, CODES, SWEEPS, PICTURES)  # what a record may list

LOCK, LEASE = ".lock", ".lease.json"  # of whoever works on a folder, a run's or a suite's

# Of a suite: what `report` writes

SUITE_SCORES, SUITE_HISTORY, SUITE_REDRAWS = "scores.csv", "history.csv", "resampled.csv"

ABOUT, CLAIMS, PAGE = "about.json", "claims.csv", "report.html"

NOTE = "NOTE.md"  # what a person wrote about the scores; the page shows it

TAKEAWAY = "takeaway.json"  # beside the page: what the leaderboard shows of it

GATHERED = (SUITE_SCORES, SUITE_HISTORY, ABOUT)  # what `report` reads again

TABLES, FIGURES = "tables", "figures"  # folders

CHECKSUMS = "files.json"  # of all of these

CHOICES = "choices"  # the folder in which `tune` keeps what it chose, sealed: it changes as searches go on

Key = tuple[str, str, int]  # data set, method, seed

# Bounds for what somebody who means harm may have sealed: names become paths, numbers are summed and written out.
SEEDS = 2**63  # seeds are below


def suite_folders(results: Path, suite: str | None) -> list[Path]:
    """The folders with results: the named one, or all. UserError when there is none, or one of no name."""
    found = {
        folder.name: folder
        for folder in sorted(results.glob("*"))
        if is_name(folder.name)
        if (folder / "runs").is_dir() or any((folder / name).is_file() for name in (SUITE_SCORES, CHECKSUMS))
    }
    if not found:
        raise UserError(f"{results}: no results here. Run a suite first, for instance: lvm-bench run --suite quick")
    if suite is not None and suite not in found:
        raise UserError(f"{results}: no results of a suite {suite!r}.{did_you_mean(suite, found)}")
    return [found[check_name("suite", name)] for name in ([suite] if suite is not None else found)]


def reported_folders(results: Path, suite: str | None) -> list[Path]:
    """As `suite_folders`; the named one may also be one whose committed scores the installed package carries."""
    if suite is not None and is_name(suite) and committed_folder(results / suite) != results / suite:
        return [results / suite]
    return suite_folders(results, suite)


def committed_folder(suite: Path) -> Path:
    """The folder that holds what `report` committed of a suite: its own.

    In the default results folder, where nothing was committed of it yet, that of the installed package.
    """
    shipped = shipped_results()
    if shipped is None or suite.parent != RESULTS or any((suite / name).exists() for name in GATHERED):
        return suite
    return shipped / suite.name if (shipped / suite.name / SUITE_SCORES).is_file() else suite


def site_folder(suite: Path) -> Path:
    """The folder that `report` renders a suite into: pages, figures, and tables for programs and papers."""
    return suite.parent / SITE / suite.name


def run_folders(suite: Path) -> Iterator[tuple[Path, Key, bool]]:
    """The folders of a suite's runs and controls with what their paths say, sorted; others are passed over.

    The last entry says whether a link stands on the way to the folder from the suite's folder of runs.
    """
    for dataset, in_link in _subfolders(suite / "runs", False):
        for method, in_links in _subfolders(dataset, in_link):
            found = _subfolders(method, in_links)
            seeds = [(int(digits), *each) for each in found if (digits := _seed_of(each[0].name))]
            for seed, folder, linked in sorted(seeds):
                yield folder, (dataset.name, method.name, seed), linked


def _subfolders(folder: Path, linked: bool) -> list[tuple[Path, bool]]:
    """The folders in a folder, sorted, and whether each is a link, or all are as the folder itself is `linked`."""
    try:
        with os.scandir(folder) as entries:  # it tells links without a look at each, which takes longer
            found = sorted((entry.name, linked or entry.is_symlink()) for entry in entries if entry.is_dir())
    except OSError:
        return []
    return [(folder / name, is_link) for name, is_link in found]


def _seed_of(name: str) -> str:
    """The seed in the name of a run's folder; "" where it is none."""
    digits = name.removeprefix("seed-")
    return digits if is_seed(digits) and name == f"seed-{int(digits)}" else ""


def is_seed(digits: str) -> bool:
    """Whether a text is a number that a seed can be."""
    return digits.isascii() and digits.isdecimal() and len(digits) < 20 and int(digits) < SEEDS


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but what somebody at work leaves first: a lease and half-written files."""
    return all(name in (LOCK, LEASE) or name.startswith(disk.TEMPORARY) for name in os.listdir(folder))


def run_folder(results: Path, suite: str, dataset: str, method: str, seed: int) -> Path:
    """The folder of one run. Its readable path is the run's identity."""
    return Path(results, suite, "runs", dataset, method, f"seed-{seed}")
