"""One registry class for the five kinds of extension, and how a file is indexed and loaded.

A file is indexed by reading it (`ast`), not by importing it, so that `lvm-bench list` needs no torch and
loads no code; importing the file runs its decorators and fills the registry.
"""

import ast
import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
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
        """The extension of that name; the package's own is loaded at its first use. UserError for an unknown name."""
        if name not in self._entries:
            own = {entry.name: file for file in own_files() for entry in index(file) if REGISTRIES[entry.kind] is self}
            if name not in own:
                raise UserError(f"Unknown {self.kind} {name!r}.{did_you_mean(name, {*self._entries, *own})}")
            load(own[name])
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

REGISTRIES = {
    "method": METHODS,
    "dataset": DATASETS,
    "network": NETWORKS,
    "metric": METRICS,
    "extractor": EXTRACTORS,
}  # by the name of the decorator

PACKAGE = Path(__file__).resolve().parent

_OWN = tuple(PACKAGE / wing for wing in ("data", "metrics", "modelling", "evaluation"))

DIRECTIONS = ("lower", "higher", "none")  # in which a metric is better

TABLES = {
    "frechet": "Fréchet distance",
    "precision-recall": "Precision and recall",
    "kl": "KL divergence of codes",
    "entropy": "Entropy of codes",
    "reconstruction": "Reconstruction",
    "fidelity": "Fidelity and coverage",
    "latent": "Latent codes",
    "disentanglement": "Disentanglement, as in the paper",
    "factors": "Disentanglement",
    "likelihood": "Likelihood",
    "reviewers": "What reviewers ask for",
    "cost": "Cost",
    "other": "Further scores",
}  # the tables of scores that `@metric(table=...)` may name, with their titles

_LONGEST_LABEL = 60  # characters


@dataclass(frozen=True)
class Entry:
    """One extension as its file tells of it: the first line of its docstring, and the constants of its decorator."""

    kind: str
    name: str
    file: Path
    description: str
    options: dict[str, Any]


def source_file(thing: Any) -> str:
    """The file a registered class or function was defined in."""
    module = sys.modules.get(thing.__module__)
    return str(getattr(module, "__file__", thing.__module__))


def own_files() -> list[Path]:
    """The package's own files that may register extensions: those of four of its folders."""
    return [file for folder in _OWN for file in python_files(folder)]


def is_own(file: Path) -> bool:
    """Whether a file is one of the package's own that may register extensions."""
    return file.resolve().parent in _OWN


def python_files(folder: Path) -> list[Path]:
    """The Python files of a folder that are read for extensions, sorted by name."""
    return sorted(file for file in folder.glob("*.py") if not file.name.startswith("_"))


def index(file: Path) -> list[Entry]:
    """The extensions that `file` would register, found by reading it.

    UserError where it is no Python file, or says of an extension what no decorator may say.
    """
    if file.suffix != ".py":
        raise UserError(f"{file}: not a Python file. Give the path of a .py file.")
    return _index(file, text.read(file))


@lru_cache(maxsize=1000)
def _index(file: Path, source: str) -> list[Entry]:
    tree = _parsed(file, source)
    _check_named(file, tree)
    entries: list[Entry] = []
    for node, call in _decorated(tree):
        kind, name = _decorator(call), call.args[0].value  # type: ignore[attr-defined]
        if any((entry.kind, entry.name) == (kind, name) for entry in entries):
            what = f"{REGISTRIES[kind].kind} {name!r}"
            raise UserError(f"{file}, line {node.lineno}: registers the {what} again. Choose another name.")
        described = ast.get_docstring(node) or ast.get_docstring(tree) or ""
        entries.append(Entry(kind, name, file, described.split("\n")[0], _options(file, call)))
    return entries


def _parsed(file: Path, source: str | bytes) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise UserError(f"{file}, line {error.lineno}: not valid Python ({error.msg}).") from error
    except (ValueError, RecursionError, MemoryError) as error:  # a NUL, or nested too deeply for the parser
        raise UserError(f"{file}: not valid Python ({error or 'nested too deeply'}).") from error


def _decorated(tree: ast.Module) -> Iterator[tuple[ast.ClassDef | ast.FunctionDef, ast.Call]]:
    """Each class or function of a file that is registered under a name, with the call of its decorator."""
    ours = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == __package__
    }
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            for call in node.decorator_list:
                if isinstance(call, ast.Call) and _decorator(call) in REGISTRIES and call.args:
                    base = call.func.value if isinstance(call.func, ast.Attribute) else None
                    is_foreign = base is not None and not (isinstance(base, ast.Name) and base.id in ours)
                    first = call.args[0]
                    if not is_foreign and isinstance(first, ast.Constant) and isinstance(first.value, str):
                        yield node, call


def _check_named(file: Path, tree: ast.Module) -> None:
    """UserError where a decorator of this package's has no name for what it registers: `@method`, `@method()`."""
    imported = {
        alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == __package__
        for alias in node.names
        if alias.asname in (None, alias.name)
    }
    for node in tree.body:
        for found in node.decorator_list if isinstance(node, ast.ClassDef | ast.FunctionDef) else ():
            name, given = (found.func, found.args) if isinstance(found, ast.Call) else (found, [])
            if isinstance(name, ast.Name) and name.id in {*REGISTRIES} & imported and not given:
                raise UserError(
                    f"{file}, line {found.lineno}: @{name.id} has no name. Write the name first, as in "
                    f'@{name.id}("mine"): it is how commands, tables and bench.toml call it.'
                )


def _decorator(call: ast.Call) -> str:
    """The name of the decorator that is called, without its module's."""
    function = call.func
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _options(file: Path, call: ast.Call) -> dict[str, Any]:
    """The constant keywords of a decorator. UserError where a keyword that tables need is no constant, or not valid."""
    found: dict[str, Any] = {}
    for keyword in call.keywords:
        if isinstance(keyword.value, ast.Constant) and keyword.arg:
            found[keyword.arg] = keyword.value.value
        elif keyword.arg in ("label", "better", "table", "reference", "note", "formula", "version", "costly"):
            raise UserError(
                f"{file}, line {keyword.value.lineno}: {keyword.arg} is not written out. Give a constant: "
                "files are read for it, not run."
            )
    for key in (name for name in CHECKS if name in found):
        try:
            CHECKS[key](found[key])
        except UserError as error:
            shown = text.shortened(found[key])
            raise UserError(f"{file}, line {call.lineno}, {key}: {shown} is not valid: {error}.") from error
    return found


def check_label(label: Any) -> str:
    """`label` itself, if it is a short line; UserError otherwise."""
    if not isinstance(label, str) or len(label) > _LONGEST_LABEL or not label.isprintable():
        raise UserError(f"give a line of at most {_LONGEST_LABEL} characters as a label")
    return label


def check_table(table: Any) -> str:
    """`table` itself, if a table of scores has that name, or it is ""; UserError otherwise."""
    if table != "" and table not in TABLES:
        raise UserError(f"there is no such table.{did_you_mean(str(table), TABLES)}".removesuffix("."))
    return table


def check_better(better: Any) -> str:
    """`better` itself, if it is a direction, or ""; UserError otherwise."""
    if better not in ("", *DIRECTIONS):
        raise UserError(f"there is no such direction.{did_you_mean(str(better), DIRECTIONS)}".removesuffix("."))
    return better


def check_version(version: Any) -> int:
    """`version` itself, if it is an integer from 1; UserError otherwise."""
    if type(version) is not int or not 1 <= version < 10**6:
        raise UserError("give an integer from 1 as a version")
    return version


def check_costly(costly: Any) -> bool:
    """`costly` itself, if it is True or False; UserError otherwise."""
    if type(costly) is not bool:
        raise UserError("give True or False as costly")
    return costly


def check_variants(of: Any) -> tuple[str, ...]:
    """`of` itself, if it is a tuple of texts, a metric's variants; UserError otherwise."""
    if not isinstance(of, tuple) or not of or not all(isinstance(variant, str) for variant in of):
        raise UserError(f"give a tuple of variants, such as of=({of if isinstance(of, str) else 'mean'!r},)")
    return of


# What a decorator says for tables and records, and what is valid.
CHECKS: dict[str, Callable[[Any], object]] = {
    "label": check_label,
    "table": check_table,
    "better": check_better,
    "of": check_variants,
    "version": check_version,
    "costly": check_costly,
}


def metric_of(key: str, names: Iterable[str]) -> str:
    """The metric of a score's key, `<metric>.<variant>` or `<metric>_<part>.<variant>`; "" if it is none of `names`."""
    stem = key.partition(".")[0]
    return max((name for name in names if stem == name or stem.startswith(f"{name}_")), key=len, default="")


def without_keywords(file: Path, kind: str) -> bytes:
    """The content of a file without the keyword arguments of its decorators of one kind.

    Those of `@method` say how a method is shown, and change no number: `@method("vae", label="VAE")` becomes
    `@method("vae")`.
    """
    content = file.read_bytes()
    starts = [0, *(found.end() for found in re.finditer(rb"\r\n|\r|\n", content))]
    calls = [call for _, call in _decorated(_parsed(file, content)) if _decorator(call) == kind and call.keywords]
    for call in reversed(calls):  # from the last on, so that the places of those before stay
        begin, end = (starts[(node.end_lineno or 1) - 1] + (node.end_col_offset or 0) for node in (call.args[-1], call))
        content = content[:begin] + content[end - 1 :]  # the closing parenthesis stays
    return content


def load(file: Path) -> ModuleType:
    """The module of one file: the package's own by its name, any other by its path under a private module name.

    The latter leaves `sys.path` and names alone. Raises UserError with the file and line when the file itself raises.
    """
    file = file.resolve()
    if not file.is_file():
        raise UserError(f"{file}: there is no such file. Give the path of a .py file.")
    try:
        if is_own(file):
            return importlib.import_module(f"{__package__}.{file.parent.name}.{file.stem}")
        return _import_by_path(file)
    except UserError as error:
        raise UserError(f"{where(error, file)}: {text.one_line(str(error))}") from error
    except (Exception, SystemExit) as error:
        raise UserError(f"{where(error, file)}: raised {text.of_error(error)}") from error


def _import_by_path(file: Path) -> ModuleType:
    name = f"_lvm_bench_plugin_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UserError("not a Python file that can be loaded. Give the path of a .py file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        _check_read(file)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _check_read(file: Path) -> None:
    """UserError where a file has registered what reading it does not show: `list` and `report` would not know it."""
    read = {(entry.kind, entry.name) for entry in index(file)}
    unread = [
        f"the {registry.kind} {name!r}"
        for kind, registry in REGISTRIES.items()
        for name, thing in registry._entries.items()
        if source_file(thing) == str(file) and (kind, name) not in read
    ]
    if unread:
        raise UserError(
            f"registers {', '.join(unread)} under a name that is not written out. Write the name itself as the first "
            "argument of the decorator, at the top level: files are read to list what they hold."
        )


def code_digest(method: str) -> str:
    """The first digits of the SHA-256 of the file that defines a method.

    How a method is shown is no part of it: the keywords of `@method` are left out.
    """
    return hashlib.sha256(without_keywords(Path(source_file(METHODS[method])), "method")).hexdigest()[:12]


def load_all(entries: Iterable[Entry]) -> None:
    """Load the file of each extension, once."""
    for file in dict.fromkeys(entry.file for entry in entries):
        load(file)


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
