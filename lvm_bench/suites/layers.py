"""The tables of a configuration that apply to one suite, laid over each other from the general to the special."""

from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from lvm_bench.errors import UserError, did_you_mean
from lvm_bench.suites.bench_toml import MOST_ERRORS, check_tables, layered, override, read
from lvm_bench.suites.job import SETTINGS
from lvm_bench.text import shortened

SUITE_KEYS = {"description", "methods", "datasets", "seeds", "axis", "published", "run", "train", "evaluate"}

TABLES = {"packages", "run", "train", "evaluate", "datasets", "methods", "suites"}

_FEWER = ("methods", "seeds")  # what a suite's table of a data set may narrow down

_SAID = ("base", "label")  # what a table says of a method or data set beside its settings

TUNE = "tune"  # the table of a method that names ranges, which are no settings

Layer = tuple[str, dict[str, Any]]  # the path of a table, and its settings


class Layers:
    """The tables for one suite, and every mistake that is found in them: all are told at once.

    `bare` are the `--set` of keys without a table, which go over all layers. `under` are tables below the file's.
    """

    def __init__(self, file: Path, suite: str, settings: tuple[str, ...], extractor: str | None, under: dict[str, Any]):
        self.file, self.suite = file, suite
        self.tables = layered(deepcopy(under), read(file))  # a copy: `override` writes into it
        suites = self.tables.get("suites", {})
        if suite not in suites:
            raise UserError(f"{file.name}: unknown suite {shortened(suite)}.{did_you_mean(suite, suites)}")
        self.bare = override(self.tables, suite, settings) + ([("extractor", extractor)] if extractor else [])
        self.given = bool(settings or extractor)
        check_tables(file, self.tables)
        self.own: dict[str, Any] = self.tables["suites"][suite]
        self.errors: dict[str, None] = {}
        self.used_bare: set[str] = set()
        for key in self.tables.keys() - TABLES:
            self.error(key, f"unknown table.{did_you_mean(key, TABLES)}")
        for key in self.own.keys() - (SUITE_KEYS | {"method", "dataset"}):
            self.error(f"suites.{suite}.{key}", f"unknown key.{did_you_mean(key, SUITE_KEYS)}")

    def error(self, path: str, reason: str) -> None:
        """Note a mistake, and go on to find the others."""
        self.errors[f"{self.file.name}, {path}: {reason}"] = None

    def variants(self, kind: str) -> dict[str, str]:
        """The base of each variant of a method or data set, general or the suite's own."""
        places = (self.tables.get(f"{kind}s", {}), self.own.get(kind, {}))
        return {name: table["base"] for tables in places for name, table in tables.items() if "base" in table}

    def base_path(self, kind: str, name: str) -> str:
        """The path where a variant says its base."""
        is_own = "base" in self.own.get(kind, {}).get(name, {})
        return f"suites.{self.suite}.{kind}.{name}.base" if is_own else f"{kind}s.{name}.base"

    def chain(self, kind: str, name: str) -> list[str]:
        """The names whose tables apply: a variant's base, then its own."""
        base = self.variants(kind).get(name)
        return [name] if base is None else [base, name]

    def fewer(self, dataset: str) -> dict[str, list[Any]]:
        """The suite's methods and seeds, or those of them that its table of this data set names."""
        chosen = {}
        for key in _FEWER:
            all_of_them = self.own.get(key, [])
            chosen[key] = self.own.get("dataset", {}).get(dataset, {}).get(key, all_of_them)
            for name in sorted(set(chosen[key]) - set(all_of_them))[:MOST_ERRORS]:
                self.error(
                    f"suites.{self.suite}.dataset.{dataset}.{key}",
                    f"{name!r} is none of the suite's {key}.{did_you_mean(str(name), map(str, all_of_them))}",
                )
        return chosen

    def of(self, dataset: str, method: str | None) -> list[Layer]:
        """The tables that apply to a method on a data set, or without a method to every one, general to special."""
        found: list[Layer] = []
        data_chain, method_chain = self.chain("dataset", dataset), self.chain("method", method) if method else []
        for prefix, tables, plural, left_out in (
            ("", self.tables, "s", _SAID),
            (f"suites.{self.suite}.", self.own, "", (*_SAID, *_FEWER)),
        ):
            methods, datasets = tables.get(f"method{plural}", {}), tables.get(f"dataset{plural}", {})
            found += [(f"{prefix}{key}", tables.get(key, {})) for key in ("train", "evaluate")]
            found += [(f"{prefix}dataset{plural}.{d}", _without(datasets.get(d, {}), left_out)) for d in data_chain]
            for name in method_chain:
                own, path = methods.get(name, {}), f"{prefix}method{plural}.{name}"
                inner = [key for key, value in own.items() if isinstance(value, dict)]
                found.append((path, _without(own, (*_SAID, *inner))))
                found += [(f"{path}.{d}", _without(own[d], (TUNE,))) for d in data_chain if d in inner]
        return [(path, table) for path, table in found if table]

    def ranges(self, dataset: str, method: str) -> dict[str, tuple[str, Any]]:
        """The range of each setting that `tune` draws of a method, with the path where it stands, special ones last."""
        found: dict[str, tuple[str, Any]] = {}
        places = (
            ("methods", self.tables.get("methods", {})),
            (f"suites.{self.suite}.method", self.own.get("method", {})),
        )
        for prefix, tables in places:
            for name in self.chain("method", method):
                own = tables.get(name, {})
                inner = [(f".{d}", own[d]) for d in self.chain("dataset", dataset) if isinstance(own.get(d), dict)]
                for below, table in (("", own), *inner):
                    path, given = f"{prefix}.{name}{below}.{TUNE}", table.get(TUNE, {})
                    if isinstance(given, dict):
                        found |= {key: (f"{self.file.name}, {path}.{key}", value) for key, value in given.items()}
                    else:
                        self.error(path, f"must be a table, written [{path}].")
        return found

    def conditions(self, dataset: str) -> dict[str, Any]:
        """The settings that the suite gives every method on a data set, before the methods' own tables change them."""
        given = [item for _, table in self.of(dataset, None) for item in table.items()]
        return {key: value for key, value in (*given, *self.bare) if key in SETTINGS}

    def running(self) -> list[Layer]:
        """The tables that say how to run the suite."""
        return [("run", self.tables.get("run", {})), (f"suites.{self.suite}.run", self.own.get("run", {}))]

    def merged(self, layers: Iterable[Layer], known: Iterable[str]) -> dict[str, tuple[str, Any]]:
        """Each setting's last value with the path where it stands, `--set` last; other keys than `known` are noted."""
        known, values = {*known}, dict[str, tuple[str, Any]]()
        for path, table in layers:
            for key, value in table.items():
                if key in known:
                    values[key] = (f"{path}.{key}", value)
                else:
                    self.error(f"{path}.{key}", f"unknown key.{did_you_mean(key, known)}")
        for key, value in self.bare:
            if key in known:
                values[key] = (f"--set {key}", value)
                self.used_bare.add(key)
        return values

    def named(self, settings: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
        """(path, kind, name) of each data set that has a table, and of what a `--set` names.

        Tables of methods are left out: they may be of a plug-in that is not given.
        """
        for prefix, tables, plural in (("", self.tables, "s"), (f"suites.{self.suite}.", self.own, "")):
            for name in tables.get(f"dataset{plural}", {}):
                yield f"{prefix}dataset{plural}.{name}", "dataset", name
            for method, table in tables.get(f"method{plural}", {}).items():
                inner = (name for name, value in table.items() if isinstance(value, dict) and name != TUNE)
                yield from ((f"{prefix}method{plural}.{method}.{name}", "dataset", name) for name in inner)
        for setting in settings:
            path = setting.partition("=")[0].strip().split(".")
            if len(path) > 1 and path[0] in ("methods", "datasets"):
                yield f"--set {'.'.join(path)}", path[0][:-1], path[1]


def _without(table: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    left_out = {*keys}
    return {key: value for key, value in table.items() if key not in left_out}
