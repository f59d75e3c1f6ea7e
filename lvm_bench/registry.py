"""One registry class for methods, data sets, networks, metrics and feature extractors, and their discovery.

A file is indexed by reading it (`ast`), not by importing it, so that `lvm-bench list` needs no torch and
loads no code; importing the file runs its decorators and fills the registry.
"""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lvm_bench import text
from lvm_bench.errors import UserError, did_you_mean

T = TypeVar("T")


class Registry(Mapping[str, Any]):
    """Names of one kind of extension, each bound to what its decorator wrapped and the file it came from."""

    def __init__(self, kind: str):
        self.kind = kind
        self._entries: dict[str, Any] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """The decorator behind `@method("vae")` and its siblings; a name stands for one object only."""

        def add(thing: T) -> T:
            known = self._entries.get(name)
            if known is not None and source_file(known) != source_file(thing):
                raise UserError(
                    f"{source_file(thing)}: the {self.kind} {name!r} is already registered by "
                    f"{source_file(known)}. Choose another name."
                )
            self._entries[name] = thing
            return thing

        return add

    def __getitem__(self, name: str) -> Any:
        if name not in self._entries:
            raise UserError(f"Unknown {self.kind} {name!r}.{did_you_mean(name, self._entries)}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


METHODS = Registry("method")
DATASETS = Registry("data set")
NETWORKS = Registry("network")
METRICS = Registry("metric")
EXTRACTORS = Registry("feature extractor")

_DECORATORS = {
    "method": METHODS,
    "dataset": DATASETS,
    "network": NETWORKS,
    "metric": METRICS,
    "extractor": EXTRACTORS,
}


@dataclass(frozen=True)
class Entry:
    """What reading a file tells of one extension: the first line of its docstring, its decorator's constants."""

    kind: str
    name: str
    file: Path
    description: str
    options: dict[str, Any]


def source_file(thing: Any) -> str:
    """The file a registered class or function was defined in."""
    module = sys.modules.get(thing.__module__)
    return str(getattr(module, "__file__", thing.__module__))


def index(file: Path) -> list[Entry]:
    """The extensions that `file` would register, found by reading it; UserError where it is no Python file."""
    if file.suffix != ".py":
        raise UserError(f"{file}: not a Python file. Give the path of a .py file.")
    source = text.read(file)
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise UserError(f"{file}, line {error.lineno}: not valid Python ({error.msg}).") from error
    except (ValueError, RecursionError, MemoryError) as error:  # a NUL, or nested too deeply for the parser
        raise UserError(f"{file}: not valid Python ({error or 'nested too deeply'}).") from error
    entries: list[Entry] = []
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        for call in node.decorator_list:
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Name | ast.Attribute)
                and (kind := call.func.id if isinstance(call.func, ast.Name) else call.func.attr) in _DECORATORS
                and call.args
                and isinstance(call.args[0], ast.Constant)
                and isinstance(call.args[0].value, str)
            ):
                described = ast.get_docstring(node) or ast.get_docstring(tree) or ""
                options = {k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant) and k.arg}
                name = call.args[0].value
                if any((entry.kind, entry.name) == (kind, name) for entry in entries):
                    what = f"{_DECORATORS[kind].kind} {name!r}"
                    raise UserError(f"{file}, line {node.lineno}: registers the {what} again. Choose another name.")
                entries.append(Entry(kind, name, file, described.split("\n")[0], options))
    return entries


def index_folder(folder: Path, kind: str) -> dict[str, Entry]:
    """The extensions of one kind in the Python files of a folder, by name."""
    files = sorted(file for file in folder.glob("*.py") if not file.name.startswith("_"))
    return {entry.name: entry for file in files for entry in index(file) if entry.kind == kind}


def load(file: Path) -> None:
    """Import one file by its path under a private module name, which leaves `sys.path` and names alone.

    Raises UserError with the file and line when the file itself raises.
    """
    file = file.resolve()
    name = f"_lvm_bench_plugin_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise UserError(f"{file}: not a Python file that can be loaded. Give the path of a .py file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except UserError as error:
        del sys.modules[name]
        raise UserError(f"{where(error, file)}: {error}") from error
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UserError(f"{where(error, file)}: raised {type(error).__name__} while loading: {error}") from error


def where(error: BaseException, file: Path) -> str:
    """`file, line n`: the deepest line of `file` in the traceback of `error`."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    if line is None and isinstance(error, SyntaxError):
        line = error.lineno
    return f"{file}, line {line}" if line else str(file)
