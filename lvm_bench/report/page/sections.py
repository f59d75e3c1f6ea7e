"""The sentences and rows of the page about methods, metrics, environments and data sets."""

import json
from collections import Counter
from typing import Any

from lvm_bench import disk, registry
from lvm_bench.report.tables.cells import Table
from lvm_bench.report.tables.layouts import known_metric
from lvm_bench.runs.gather import Gathered
from lvm_bench.suites.labels import current

MOST_ENVIRONMENTS = 20  # that are written out


def shown_metrics(tables: list[Table]) -> list[registry.Entry]:
    """The metrics that the tables show."""
    shown = {known_metric(key) for table in tables for column in table.columns for key in (column.key, column.minus)}
    return [entry for name, entry in sorted(current().entries["metric"].items()) if name in shown]


def method_sentences(found: Gathered) -> list[tuple[str, str]]:
    """The methods of the runs with a sentence each. The methods of the suite stand first."""
    known = current().entries["method"]
    bases = {run.method: (run.settings or {}).get("method", run.method) for run in found.runs if not run.is_control}
    names = [*(name for name in found.about.methods if name in bases)]
    names += sorted({*bases} - {*names})
    entries = ((name, known.get(name) or known.get(str(bases[name]))) for name in names)
    return [(name, entry.description if entry else "") for name, entry in entries]


def environments(found: Gathered) -> list[tuple[int, dict[str, Any]]]:
    """The distinct environments in which runs were finished, with the number of their runs."""
    counts = Counter(id(run.environments[-1]) for run in found.runs if run.environments)  # thousands share a table
    distinct: dict[str, tuple[int, dict[str, Any]]] = {}
    finished = {id(run.environments[-1]): run.environments[-1] for run in found.runs if run.environments}
    for environment in finished.values():
        versions = {name: text for name, text in environment["versions"].items() if name != "method"}
        kept = {name: environment[name] for name in ("commit", "device", "threads")} | {"versions": versions}
        before, _ = distinct.get(disk.canonical(kept), (0, None))
        distinct[disk.canonical(kept)] = before + counts[id(environment)], kept
    return list(distinct.values())


def data_sets(found: Gathered) -> dict[str, tuple[list[str], dict[str, Any]]]:
    """For each data set, the checksums of its files and its facts."""
    checksums: dict[str, set[str]] = {}
    for run in found.runs:
        checksums.setdefault(run.dataset, set()).add(run.fingerprint)
    return {name: (sorted(own - {""}), flat(found.about.facts(name))) for name, own in sorted(checksums.items())}


def flat(table: dict[str, Any], above: str = "") -> dict[str, str]:
    """A table of tables with dotted keys. Texts stay as they are, and other values become JSON."""
    found: dict[str, str] = {}
    for name, value in sorted(table.items()):
        if isinstance(value, dict):
            found |= flat(value, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return found
