"""The one discovery of extensions: the package's own folders, a config's packages, entry points, plug-in files."""

import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lvm_bench import registry
from lvm_bench.errors import UserError
from lvm_bench.registry import REGISTRIES, Entry
from lvm_bench.suites.bench_toml import misnamed, raise_all, read
from lvm_bench.text import shortened

Extensions = dict[str, dict[str, Entry]]  # by kind, then by name


def extensions(config: Path, plugins: tuple[Path, ...] = (), installed: bool = True) -> Extensions:
    """Every extension that can be named, by kind (`method`, `dataset`, ...) and name; no code is run.

    Without `installed` those of other installed packages are left out. UserError for a plug-in that registers nothing,
    and for a name that two files register.
    """
    others = [_origin(entry_point) for entry_point in _installed(tuple(sys.path))] if installed else []
    found: Extensions = {kind: {} for kind in REGISTRIES}
    for file in (*registry.own_files(), *_of_packages(config), *others):
        _add(found, registry.index(file))
    for file in plugins:
        _add(found, of_plugin(file))
    for kind in ("method", "dataset", "network", "extractor"):
        raise_all(f"{e.file}: {reason}" for e in found[kind].values() for reason in misnamed(kind, [e.name]))
        raise_all(misnamed(kind, found[kind]))
    raise_all(
        f"{entry.file}: the metric {shortened(entry.name)} has a name with other characters than letters, digits and "
        "'_'. Rename it: the name is part of the keys of its scores."
        for entry in found["metric"].values()
        if not re.fullmatch("[A-Za-z0-9_]+", entry.name)
    )
    return found


def of_plugin(file: Path) -> list[Entry]:
    """The extensions of a file that the user names; UserError where there is none."""
    entries = registry.index(file)
    if not entries:
        raise UserError(
            f"{file}: registers nothing. Decorate a class with @method('name'), or a function with @dataset('name'), "
            "@network('name'), @metric('name', ...) or @extractor('name')."
        )
    return entries


def _of_packages(config: Path) -> Iterator[Path]:
    for package in read(config).get("packages", []):
        folder = Path(package)
        if not folder.is_dir():
            raise UserError(f"{config}, packages: {folder} is not a folder. Name folders relative to this file.")
        yield from registry.python_files(folder)


def _add(found: Extensions, entries: Iterable[Entry]) -> None:
    """Add the extensions of one file; UserError where another file has registered one of their names."""
    for entry in entries:
        known = found[entry.kind].setdefault(entry.name, entry)
        if known is not entry and known.file.resolve() != entry.file.resolve():
            raise UserError(
                f"{entry.file}: the {REGISTRIES[entry.kind].kind} {shortened(entry.name)} is already registered by "
                f"{known.file}. Choose another name."
            )


@lru_cache
def _installed(path: tuple[str, ...]) -> EntryPoints:
    """The plug-ins of the packages on `sys.path`, which a command asks for several times."""
    return entry_points(group="lvm_bench.plugins")


def _origin(entry_point: EntryPoint) -> Path:
    """The file that an installed package's entry point names, found without running any of the package's code."""
    found = entry_point.pattern.match(entry_point.value)
    top, *rest = found["module"].split(".") if found else ("",)
    try:
        spec = find_spec(top) if top else None
        for part in rest:  # find_spec would import the packages around a module
            places = spec.submodule_search_locations if spec else None
            spec = PathFinder.find_spec(f"{spec.name}.{part}", places) if spec and places else None
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.has_location or not spec.origin:
        owner = entry_point.dist.name if entry_point.dist else "a package"
        raise UserError(
            f"The installed {owner} says that {shortened(entry_point.value)} is a plug-in, and there is no such "
            "module. Repair or uninstall it."
        )
    return Path(spec.origin)


def keyword_only(thing: Any) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of a function or of a class's `__init__`, by name."""
    target = thing.__init__ if inspect.isclass(thing) else thing
    parameters = inspect.signature(target).parameters.values()
    return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}
