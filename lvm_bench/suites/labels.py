"""Labels, directions and tables of methods, data sets and metrics, from their decorators and the tables of variants.

A report shows what a results folder has recorded over what is known here: see `show`.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from lvm_bench.errors import UserError
from lvm_bench.suites import bench_toml
from lvm_bench.suites.discover import Extensions, extensions
from lvm_bench.suites.job import Job
from lvm_bench.suites.shipped import is_shipped

Facts = dict[str, dict[str, dict[str, Any]]]  # by kind, name, and `label`, `reference`, `note`, `better` or `table`

LIKELIHOODS = {
    "sse": "N(decode(z), I/2)",
    "gaussian_unit": "N(decode(z), I)",
    "bernoulli": "Bernoulli with the means decode(z)",
}  # p(x|z) by the setting

_SAID = {"method": ("label", "reference", "note"), "dataset": ("label",), "metric": ("better", "label", "table")}


@dataclass(frozen=True)
class Known:
    """The extensions that can be named, and what is said of how they are shown."""

    entries: Extensions
    facts: Facts


def known(config: Path, plugins: tuple[Path, ...] = ()) -> Known:
    """The extensions of a configuration, of plug-ins and of other installed packages."""
    entries = extensions(config, plugins)
    return Known(entries, facts_of(entries, bench_toml.read(config)))


def facts_of(entries: Extensions, tables: Mapping[str, Any], suite: str = "") -> Facts:
    """The facts of each extension: its decorator's, then those of its table in `methods` or `datasets`, then a suite's.

    The methods stand in the order of the tables; those without a table come last.
    """
    facts: Facts = {}
    for kind, keys in _SAID.items():
        said = {name: _only(keys, entry.options) for name, entry in entries[kind].items()}
        named = _named(tables, kind, suite) if kind != "metric" else {}
        of_tables = {name: _of_table(name, table, said) for name, table in named.items()}
        facts[f"{kind}s"] = of_tables | {name: own for name, own in said.items() if name not in of_tables}
    return facts


def _named(tables: Mapping[str, Any], kind: str, suite: str) -> dict[str, dict[str, Any]]:
    """The tables of methods or data sets by name, with what the suite's own add to them."""
    general = tables.get(f"{kind}s", {})
    special = tables["suites"][suite].get(kind, {}) if suite else {}
    return general | {name: general.get(name, {}) | own for name, own in special.items()}


def _of_table(name: str, table: Mapping[str, Any], said: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The facts of a method or data set with a table. A variant is a reference, and has a note, as its base."""
    of_base = _only(("reference", "note"), said.get(table.get("base", name), {}))
    return of_base | _only(("label",), said.get(name, {})) | _only(("label",), table)


def _only(keys: tuple[str, ...], table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: table[key] for key in keys if table.get(key)}


def to_record(facts: Facts, job: Job, metrics: Iterable[str]) -> Facts:
    """The facts of a job's method, data set and metrics that a plain installation does not know; {} as a rule."""
    named = {"methods": {job.method}, "datasets": {job.dataset}, "metrics": {*metrics}}
    differing = _unknown_elsewhere(facts)
    found = {kind: {name: own[name] for name in sorted(named[kind] & own.keys())} for kind, own in differing.items()}
    return {kind: own for kind, own in found.items() if own}


def _unknown_elsewhere(facts: Facts) -> Facts:
    """The facts that a plain installation does not have, or has otherwise."""
    known = plain().facts
    return {
        kind: {name: said for name, said in own.items() if said and said != known[kind].get(name)}
        for kind, own in facts.items()
    }


@cache
def plain() -> Known:
    """The extensions of an installation without plug-ins: its own configuration, and the files that came with it."""
    config = bench_toml.defaults_folder() / "bench.toml"
    everything = extensions(config, installed=False)
    entries = {
        kind: {name: entry for name, entry in own.items() if is_shipped(entry.file)} for kind, own in everything.items()
    }
    return Known(entries, facts_of(entries, bench_toml.read(config)))


_SHOWN: ContextVar[Known] = ContextVar("shown")


def current() -> Known:
    """The extensions that `using` and `show` were given, else those of a plain installation."""
    return _SHOWN.get(None) or plain()


@contextmanager
def using(given: Known) -> Iterator[None]:
    """Inside this context, labels, directions and tables are those of `given`; `show` lasts until its end."""
    token = _SHOWN.set(given)
    try:
        yield
    finally:
        _SHOWN.reset(token)


def show(recorded: Facts) -> None:
    """Show what a results folder has recorded of extensions, unless more is known here; called within `using`."""
    found = current()
    differing = _unknown_elsewhere(found.facts)
    _SHOWN.set(
        replace(
            found, facts={kind: own | recorded.get(kind, {}) | differing[kind] for kind, own in found.facts.items()}
        )
    )


def here(config: Path | None, plugins: tuple[Path, ...] = ()) -> Known:
    """The extensions of the configuration in use and of plug-ins.

    A broken bench.toml that nobody asked for keeps no one from looking at results: then it is what is known without it.
    """
    try:
        return known(bench_toml.config_file(config), plugins)
    except UserError:
        if config or plugins:
            raise
        return plain()


def label(method: str) -> str:
    """The label of a method in tables and pictures; its name where it has none."""
    return current().facts["methods"].get(method, {}).get("label", method)


def note(method: str) -> str:
    """What every table says of the method in a footnote; "" where there is nothing to say."""
    return current().facts["methods"].get(method, {}).get("note", "")


def dataset_label(dataset: str) -> str:
    """The label of a data set in tables and pictures; its name where it has none."""
    return current().facts["datasets"].get(dataset, {}).get("label", dataset)


def references() -> set[str]:
    """The methods that others are compared with: they stand below the rule, and are never the best."""
    return {name for name, said in current().facts["methods"].items() if said.get("reference")}


def first_methods() -> list[str]:
    """The methods of a plain installation that are no references, in the order of its configuration."""
    found = plain()
    said = found.facts["methods"].items()
    return [name for name, own in said if name in found.entries["method"] and "reference" not in own]
