"""Where each method's code stands: package folders, installed entry points, plug-in files."""

import inspect
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lvm_bench import registry
from lvm_bench.errors import UserError
from lvm_bench.suites.bench_toml import misnamed, raise_all, read
from lvm_bench.text import shortened


def method_files(file: Path, plugins: tuple[Path, ...] = ()) -> dict[str, registry.Entry]:
    """Where each method's code stands: the config's packages, installed entry points, then `--plugin` files."""
    found: dict[str, registry.Entry] = {}
    for package in read(file).get("packages", []):
        folder = file.parent / package
        if not folder.is_dir():
            raise UserError(f"{file}, packages: {folder} is not a folder. Name folders relative to this file.")
        found |= registry.index_folder(folder, "method")
    files = [_origin(entry_point) for entry_point in entry_points(group="lvm_bench.plugins")]
    for plugin in (*files, *plugins):
        entries = [entry for entry in registry.index(plugin) if entry.kind == "method"]
        if not entries and plugin in plugins:
            raise UserError(f"{plugin}: registers no method. Decorate its class with @method('name').")
        for entry in entries:
            if entry.name in found and found[entry.name].file.resolve() != plugin.resolve():
                raise UserError(
                    f"{plugin}: the method {shortened(entry.name)} is already registered by {found[entry.name].file}. "
                    "Choose another name."
                )
            found[entry.name] = entry
    raise_all(f"{entry.file}: {reason}" for entry in found.values() for reason in misnamed("method", [entry.name]))
    raise_all(misnamed("method", found))
    return found


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
            f"The installed {owner} says that {shortened(entry_point.value)} registers methods, and there is no such "
            "module. Repair or uninstall it."
        )
    return Path(spec.origin)


def keyword_only(thing: Any) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of a function or of a class's `__init__`, by name."""
    target = thing.__init__ if inspect.isclass(thing) else thing
    parameters = inspect.signature(target).parameters.values()
    return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}
