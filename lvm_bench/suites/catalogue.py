"""The rows that `lvm-bench list` prints, found by reading files: neither torch nor an extension is loaded."""

from pathlib import Path
from typing import Any

from lvm_bench.suites import bench_toml, labels
from lvm_bench.suites.discover import extensions
from lvm_bench.suites.job import EXPOST
from lvm_bench.text import listed

KINDS = {
    "methods": "method",
    "datasets": "dataset",
    "networks": "network",
    "metrics": "metric",
    "extractors": "extractor",
}


def rows(what: str, given: Path | None, plugins: tuple[Path, ...]) -> list[tuple[str, ...]]:
    """Suites or one of `KINDS`: the name, its label if it is another and one has a label, one line of description.

    Methods and data sets are listed with their variants.
    """
    file = bench_toml.config_file(given)
    if what == "expost":
        return [*EXPOST.items()]
    if what == "suites":
        return [*bench_toml.suite_names(file).items()]
    entries, tables = extensions(file, plugins), bench_toml.read(file)
    found = {name: entry.description for name, entry in entries[KINDS[what]].items()}
    costly = {name for name, entry in entries[KINDS[what]].items() if entry.options.get("costly")}
    found |= {name: f"{found[name]} Costly: measured where a suite names it." for name in costly}
    if what in ("methods", "datasets"):
        found |= variants(tables, what)
    said: dict[str, dict[str, Any]] = {}
    for suite in (*tables.get("suites", {}), ""):  # what holds in general comes last, and wins
        said |= labels.facts_of(entries, tables, suite).get(what, {})
    shown = {name: own["label"] for name, own in said.items() if own.get("label", name) != name}
    return [(name, *([shown.get(name, "")] if shown else []), found[name]) for name in sorted(found)]


def variants(tables: dict[str, Any], what: str) -> dict[str, str]:
    """Each variant of a method or data set, general or a suite's own, with what it is a variant of."""
    places: dict[str, dict[str, list[str]]] = {}  # by variant and base, the suites
    for name, table in tables.get(what, {}).items():
        if "base" in table:
            places.setdefault(name, {})[table["base"]] = []
    for suite, own in tables.get("suites", {}).items():
        for name, table in own.get(what[:-1], {}).items():
            if "base" in table:
                places.setdefault(name, {}).setdefault(table["base"], []).append(suite)
    return {name: f"A variant {' and '.join(map(_place, found.items()))}." for name, found in places.items()}


def _place(found: tuple[str, list[str]]) -> str:
    """A base with the suites that a variant of it stands in; without any for a general variant."""
    base, suites = found
    where = f" in the suite{'s' * (len(suites) > 1)} {listed(suites)}" if suites else ""
    return f"of {base}{where}"
