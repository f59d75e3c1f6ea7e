"""A suite's runs as the page shows them: grouped, with their facts, settings and commands."""

import shlex
from dataclasses import dataclass, field
from typing import Any

from lvm_bench import disk
from lvm_bench.report.page.sections import flat
from lvm_bench.report.page.template import MOST_RUNS
from lvm_bench.report.tables.layouts import NORMAL, REAL
from lvm_bench.runs.gather import Gathered
from lvm_bench.runs.record import COSTS, Run
from lvm_bench.runs.score_files import Epochs
from lvm_bench.suites.bench_toml import SEARCH, TUNED
from lvm_bench.suites.job import is_control
from lvm_bench.suites.labels import dataset_label, label


@dataclass(frozen=True)
class ShownRun:
    """A run of a group as the page shows it. Where there are many runs, their facts are left out."""

    run: Run
    name: str  # its id on the page
    command: str
    epochs: Epochs | None
    facts: dict[str, str] | None


@dataclass(frozen=True)
class RunGroup:
    """The runs of a method on a data set."""

    dataset: str
    method: str
    title: str
    note: str
    runs: list[ShownRun]
    settings: dict[str, dict[str, str]] = field(default_factory=dict)  # by the seeds that have them

    @property
    def name(self) -> str:
        """The id of the group on the page."""
        return f"runs/{self.dataset}/{self.method}"


def run_groups(suite: str, found: Gathered) -> list[RunGroup]:
    """The runs by data set and method, in the order of the suite, with controls last."""
    places: dict[tuple[str, str], list[Run]] = {}
    for run in found.runs:
        places.setdefault(run.place, []).append(run)
    orders = {"datasets": found.about.datasets, "methods": found.about.methods}
    ranks = {name: {known: rank for rank, known in enumerate(order)} for name, order in orders.items()}

    def order(place: tuple[str, str]) -> tuple[Any, ...]:
        dataset, method = place
        first = ranks["datasets"].get(dataset, len(places)), dataset
        return *first, is_control(method), ranks["methods"].get(method, len(places)), method

    return [_group(suite, found, *place, places[place]) for place in sorted(places, key=order)]


def _group(suite: str, found: Gathered, dataset: str, method: str, runs: list[Run]) -> RunGroup:
    title = f"{dict((*REAL, *NORMAL)).get(method, label(method))} on {dataset_label(dataset)}"
    tables = {id(run.settings): run.settings for run in runs if run.settings is not None}
    texts = {identity: disk.canonical(settings) for identity, settings in tables.items()}  # thousands share a table
    distinct: dict[str, list[Run]] = {}
    for run in runs:
        if run.settings is not None:
            distinct.setdefault(texts[id(run.settings)], []).append(run)
    settings = {
        f"seed {', '.join(str(run.seed) for run in of)}" if len(distinct) > 1 else "": flat(of[0].settings or {})
        for of in distinct.values()
    }
    few = len(found.runs) <= MOST_RUNS
    shown = [
        ShownRun(
            run,
            f"run/{dataset}/{method}/{run.seed}",
            "" if run.is_control else _command(suite, run),
            found.history.get(run.key),
            _facts(run) if few else None,
        )
        for run in runs
    ]
    return RunGroup(dataset, method, title, found.remarks.left_out.get((dataset, method), ""), shown, settings)


def _command(suite: str, run: Run) -> str:
    """The command that makes the run again; "" for one that `tune` makes, whose own is that of the whole search."""
    if suite.endswith((SEARCH, TUNED)):
        return ""
    words = ["--suite", suite, "--methods", run.method, "--datasets", run.dataset, "--seeds", str(run.seed)]
    return shlex.join(["lvm-bench", "run", *words])


def _facts(run: Run) -> dict[str, str]:
    """The costs, environment and digests of a run, if its record has them."""
    last = run.environments[-1] if run.environments else {}
    versions = last.get("versions", {})
    found = {
        **{name.replace("_", " "): f"{getattr(run, name) or 0:,}" for name in COSTS if getattr(run, name) is not None},
        "device": f"{last['device']}, threads: {last['threads']}" if last else "",
        "commit": str(last.get("commit") or ""),
        "code of the method": str(versions.get("method", "")),
        "data": run.fingerprint,
        "digest for weights": run.digest_weights,
        "digest for scores": run.digest_scores,
    }
    return {name: text for name, text in found.items() if text}
