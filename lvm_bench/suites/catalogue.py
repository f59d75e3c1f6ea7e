"""What `lvm-bench list` prints, found by reading files: no torch, and no code of an extension is loaded."""

from pathlib import Path
from typing import Any

from lvm_bench.suites import bench_toml
from lvm_bench.suites.discover import extensions

KINDS = {
    "methods": "method",
    "datasets": "dataset",
    "networks": "network",
    "metrics": "metric",
    "extractors": "extractor",
}


def rows(what: str, given: Path | None, plugins: tuple[Path, ...]) -> dict[str, str]:
    """Name -> one line of description, for suites or one of `KINDS`; methods and data sets with their variants."""
    file = bench_toml.config_file(given)
    if what == "suites":
        return bench_toml.suite_names(file)
    found = {name: entry.description for name, entry in extensions(file, plugins)[KINDS[what]].items()}
    if what in ("methods", "datasets"):
        found |= variants(bench_toml.read(file), what)
    return dict(sorted(found.items()))


def variants(tables: dict[str, Any], what: str) -> dict[str, str]:
    """Each variant of a method or data set, general or a suite's own, with what it is a variant of."""
    places: dict[str, list[str]] = {}
    for name, table in tables.get(what, {}).items():
        if "base" in table:
            places.setdefault(name, []).append(f"of {table['base']}")
    for suite, own in tables.get("suites", {}).items():
        for name, table in own.get(what[:-1], {}).items():
            if "base" in table:
                places.setdefault(name, []).append(f"of {table['base']} in the suite {suite}")
    return {name: f"A variant {' and '.join(found)}." for name, found in places.items()}
