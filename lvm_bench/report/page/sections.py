"""What the page says of tables, runs, methods and data, as its templates ask for it."""

import json
import math
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from lvm_bench import disk, registry
from lvm_bench.errors import UserError
from lvm_bench.report.page.template import MOST_RUNS
from lvm_bench.report.tables import writers
from lvm_bench.report.tables.cells import Cell, Row, Table
from lvm_bench.report.tables.layouts import LAYOUTS, NORMAL, REAL, TITLES, Column
from lvm_bench.runs.gather import Gathered
from lvm_bench.runs.record import COSTS, Run
from lvm_bench.runs.score_files import Epochs
from lvm_bench.suites import bench_toml
from lvm_bench.suites.discover import method_files
from lvm_bench.suites.job import CONTROLS
from lvm_bench.suites.labels import DATASETS, label

MOST_ENVIRONMENTS = 20  # told of

MOST_SEEDS = 10  # named behind a mean

LEAST_P = 1e-4  # below which a p is not written out

# Tables


@dataclass(frozen=True)
class _Shown:
    """A cell as it is shown: `order` is what it is sorted by, `seeds` the values behind it, `runs` where they are."""

    text: str
    order: str = ""
    mark: str = ""
    tied: bool = False
    beside: str = ""
    far: bool = False
    seeds: str = ""
    runs: str = ""


class TableView:
    """A table as the template asks for it."""

    def __init__(self, table: Table, title: str) -> None:
        self.table, self.title = table, title
        self.metrics = sorted({name for column in table.columns if (name := _metric(column.key))})

    def panels(self) -> Iterator[tuple[str, str, list[Column]]]:
        """Each data set with its heading and those columns that have a number."""
        for dataset, heading in self.table.datasets.items():
            filled = {metric for _, of, metric in self.table.cells if of == dataset}
            columns = [column for column in self.table.columns if column.metric in filled]
            if columns:
                yield dataset, heading, columns

    def parts(self, dataset: str) -> list[list[Row]]:
        """The methods, and below them the controls, that have a number or a footnote on a data set."""
        filled = {name for name, of, _ in self.table.cells if of == dataset}
        rows = [row for row in self.table.rows if row.name in filled or dataset in row.notes]
        split = [[row for row in rows if not row.control], [row for row in rows if row.control]]
        return [part for part in split if part]

    def marks(self, row: Row, dataset: str) -> list[str]:
        """The footnotes of a row on a data set."""
        return [mark for mark in (row.notes.get(dataset, ""), self.table.mark(row, [dataset])) if mark]

    def cell(self, row: Row, dataset: str, column: Column) -> _Shown:
        """What stands in a cell."""
        cell = self.table.cells.get((row.name, dataset, column.metric))
        text, beside = writers.cell_text(cell, column, self.table.spread), writers.published_text(cell)
        if cell is None or not cell.n:
            return _Shown(text, beside=beside)
        value = abs(cell.mean) if column.better == "zero" else cell.mean
        order = "" if math.isnan(value) else f"{value:.17g}".replace("inf", "Infinity")
        runs = f"runs/{dataset}/{_method_of(row.name)}" if len(cell.values) else ""
        far = writers.is_far(cell)
        return _Shown(text, order, cell.mark, cell.tied, beside, far, _seeds(cell, column), runs)


def table_title(table: Table) -> str:
    return TITLES.get(table.name, table.name)


def _method_of(row: str) -> str:
    """The method whose runs a row shows."""
    return _others().get(row, row)


@cache
def _others() -> dict[str, str]:
    return {other.name: other.method for layout in LAYOUTS.values() for other in layout.others}


def _seeds(cell: Cell, column: Column) -> str:
    """The values behind a mean, a line each, and how it was tested against the best."""
    named = zip(cell.seeds[:MOST_SEEDS].tolist(), cell.values[:MOST_SEEDS].tolist(), strict=True)
    lines = [f"seed {seed}: {value * column.scale:,.6g}" for seed, value in named]
    if len(cell.values) > MOST_SEEDS:
        lines.append(f"and {len(cell.values) - MOST_SEEDS:,} more")
    if not math.isnan(cell.p):
        lines.append(f"against the best: p {f'= {cell.p:.2g}' if cell.p >= LEAST_P else f'< {LEAST_P:g}'}")
    return "\n".join(lines)


# Methods, metrics, provenance


@cache
def _index() -> dict[str, registry.Entry]:
    return registry.index_folder(Path(registry.__file__).parent / "metrics", "metric")


@cache
def _metric(key: str) -> str:
    """The metric behind a key, `<metric>[_<part>].<variant>`; "" where it is none of ours."""
    name = key.split(".")[0]
    return max((metric for metric in _index() if f"{name}_".startswith(f"{metric}_")), key=len, default="")


def described_metrics(tables: list[Table]) -> list[registry.Entry]:
    """The metrics that the tables show."""
    shown = {_metric(key) for table in tables for column in table.columns for key in (column.key, column.minus)}
    return [entry for name, entry in sorted(_index().items()) if name in shown]


def described_methods(found: Gathered) -> list[tuple[str, str]]:
    """The methods with a sentence each, those of the suite first."""
    try:
        known = method_files(bench_toml.config_file(None))
    except UserError:  # a broken bench.toml does not keep anybody from looking at results
        known = {}
    bases = {run.method: (run.settings or {}).get("method", run.method) for run in found.runs if not run.is_control}
    names = [*(name for name in found.about.get("methods", []) if name in bases)]
    names += sorted({*bases} - {*names})
    entries = ((name, known.get(name) or known.get(str(bases[name]))) for name in names)
    return [(name, entry.description if entry else "") for name, entry in entries]


def environments(found: Gathered) -> list[tuple[int, dict[str, Any]]]:
    """Where and with what the runs were finished, each once, with the number of its runs."""
    counts = Counter(id(run.environments[-1]) for run in found.runs if run.environments)  # thousands share one table
    distinct: dict[str, tuple[int, dict[str, Any]]] = {}
    for environment in {
        id(run.environments[-1]): run.environments[-1] for run in found.runs if run.environments
    }.values():
        versions = {name: text for name, text in environment["versions"].items() if name != "method"}
        kept = {name: environment[name] for name in ("commit", "device", "threads")} | {"versions": versions}
        before, _ = distinct.get(disk.canonical(kept), (0, None))
        distinct[disk.canonical(kept)] = before + counts[id(environment)], kept
    return list(distinct.values())


def data_sets(found: Gathered) -> dict[str, tuple[list[str], dict[str, Any]]]:
    """For each data set the checksums of what was read, and what is known of it."""
    checksums: dict[str, set[str]] = {}
    for run in found.runs:
        checksums.setdefault(run.dataset, set()).add(run.fingerprint)
    facts = found.about.get("datasets", {})
    return {name: (sorted(own - {""}), _flat(facts.get(name, {}))) for name, own in sorted(checksums.items())}


def _flat(table: dict[str, Any], above: str = "") -> dict[str, str]:
    """A table of tables with dotted keys, its values as JSON, texts as they are."""
    found: dict[str, str] = {}
    for name, value in sorted(table.items()):
        if isinstance(value, dict):
            found |= _flat(value, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return found


# Runs


@dataclass(frozen=True)
class ShownRun:
    """A run of a group, with its id on the page and what is shown of it; without facts where there are many."""

    run: Run
    name: str
    command: str
    epochs: Epochs | None
    facts: dict[str, str] | None


@dataclass(frozen=True)
class _Group:
    """The runs of a method on a data set."""

    dataset: str
    method: str
    title: str
    note: str
    runs: list[ShownRun]
    settings: dict[str, dict[str, str]] = field(default_factory=dict)  # by whose they are

    @property
    def name(self) -> str:
        return f"runs/{self.dataset}/{self.method}"


def run_groups(suite: str, found: Gathered) -> list[_Group]:
    """The runs by data set and method, both in the suite's order, controls last."""
    places: dict[tuple[str, str], list[Run]] = {}
    for run in found.runs:
        places.setdefault(run.place, []).append(run)
    ranks = {
        name: {known: rank for rank, known in enumerate(found.about.get(name, []))} for name in ("datasets", "methods")
    }

    def order(place: tuple[str, str]) -> tuple[Any, ...]:
        dataset, method = place
        first = ranks["datasets"].get(dataset, len(places)), dataset
        return *first, method in CONTROLS, ranks["methods"].get(method, len(places)), method

    return [_group(suite, found, *place, places[place]) for place in sorted(places, key=order)]


def _group(suite: str, found: Gathered, dataset: str, method: str, runs: list[Run]) -> _Group:
    title = f"{dict((*REAL, *NORMAL)).get(method, label(method))} on {DATASETS.get(dataset, dataset)}"
    tables = {id(run.settings): run.settings for run in runs if run.settings is not None}
    texts = {identity: disk.canonical(settings) for identity, settings in tables.items()}  # thousands share one table
    distinct: dict[str, list[Run]] = {}
    for run in runs:
        if run.settings is not None:
            distinct.setdefault(texts[id(run.settings)], []).append(run)
    settings = {
        f"seed {', '.join(str(run.seed) for run in of)}" if len(distinct) > 1 else "": _flat(of[0].settings or {})
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
    return _Group(dataset, method, title, found.remarks.left_out.get((dataset, method), ""), shown, settings)


def _command(suite: str, run: Run) -> str:
    """What is typed to make the run again."""
    words = ["--suite", suite, "--methods", run.method, "--datasets", run.dataset, "--seeds", str(run.seed)]
    return shlex.join(["lvm-bench", "run", *words])


def _facts(run: Run) -> dict[str, str]:
    """What a record says of a run beside its settings, where it says something."""
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
