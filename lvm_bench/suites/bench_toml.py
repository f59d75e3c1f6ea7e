"""bench.toml: which file is used, how it is read, and the shape that its tables must have.

A file without [train] is layered over the packaged one.
"""

import json
import math
import tomllib
from collections.abc import Iterable, Iterator
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from lvm_bench import text
from lvm_bench.errors import UserError
from lvm_bench.registry import check_label
from lvm_bench.suites.job import SEEDS, Seed, is_control
from lvm_bench.text import check_name, shortened

MOST_RUNS = 100_000  # of one suite

Names = Annotated[list[str], Field(max_length=1000)]

Seeds = Annotated[list[Seed], Field(max_length=MOST_RUNS)]


Label = Annotated[str, AfterValidator(check_label)]


class _Named(BaseModel):
    """The shape of a table of a method or data set."""

    base: str | None = None
    label: Label = ""


class _Method(_Named):
    """The shape of a table of a method; `tune` names the ranges of its settings."""

    tune: dict[str, Any] = {}


class _Fewer(_Named):
    """The shape of a suite's table of a data set."""

    methods: Names = []
    seeds: Seeds = []


class _SuiteTable(BaseModel):
    """The shape of a suite's table."""

    description: str = ""
    methods: Names = []
    datasets: Names = []
    seeds: Seeds = []
    axis: str = ""
    published: str = ""
    run: dict[str, Any] = {}
    train: dict[str, Any] = {}
    evaluate: dict[str, Any] = {}
    method: dict[str, _Method] = {}
    dataset: dict[str, _Fewer] = {}


class _File(BaseModel):
    """The shape of a bench.toml; what its tables may hold is checked for the suite in use."""

    packages: Names = []
    run: dict[str, Any] = {}
    train: dict[str, Any] = {}
    evaluate: dict[str, Any] = {}
    datasets: dict[str, _Named] = {}
    methods: dict[str, _Method] = {}
    suites: dict[str, _SuiteTable] = {}


# Folders of results/ that are no suites, and a table of a method that is no data set's.
_TAKEN = {"suite": ("published", "bandwidth", "site"), "dataset": ("tune",)}

SEARCH, TUNED = "-search", "-tuned"  # the ends of the names of the suites that `tune` makes

WORDS = {
    "method": "method",
    "dataset": "data set",
    "suite": "suite",
    "network": "network",
    "metric": "metric",
    "extractor": "feature extractor",
}

_DEEPEST, _LONGEST, _LONGEST_KEY, _MOST_DOTS, MOST_ERRORS = 8, 4096, 64, 1000, 50


def defaults_folder() -> Path:
    """The folder of the packaged bench.toml: inside an installed wheel, or the checkout's root."""
    package = Path(__file__).parents[1]
    return package / "defaults" if (package / "defaults").is_dir() else package.parent


def published_folder() -> Path:
    """The folder of the published numbers, in the results beside the packaged bench.toml."""
    return defaults_folder() / "results" / "published"


def shipped_results() -> Path | None:
    """The results that an installed wheel carries, without runs and pictures; None in a checkout, which has its own."""
    folder = defaults_folder()
    return folder / "results" if folder.name == "defaults" else None


def published_sources() -> dict[str, Path]:
    """The files of published numbers, by the name of their source."""
    return {file.stem: file for file in sorted(published_folder().glob("*.csv"))}


def packaged() -> Path:
    """The bench.toml that came with the package."""
    return defaults_folder() / "bench.toml"


def config_file(given: Path | None) -> Path:
    """`--config`, else bench.toml in the working folder, else the packaged one."""
    here = Path("bench.toml")
    file = given or (here if here.is_file() else packaged())
    if not file.is_file():
        raise UserError(f"{file}: there is no such configuration file. Give an existing bench.toml with --config.")
    return file.resolve()


def read(file: Path) -> dict[str, Any]:
    """The tables of a bench.toml, over those of the packaged one where it has no [train] of its own.

    `packages` are absolute. UserError where it is not TOML, or with every value that no setting can have.
    """
    tables = _read_alone(file)
    folders = [str(file.parent / package) for package in tables.get("packages", [])]
    if "train" in tables or file.resolve() == packaged().resolve():
        return tables | {"packages": folders}
    general = read(packaged())
    return layered(general, tables) | {"packages": [*general["packages"], *folders]}


def layered(general: dict[str, Any], special: dict[str, Any]) -> dict[str, Any]:
    """Both tables as one: what `special` says wins, key by key in tables within tables."""
    both = [key for key in general.keys() & special.keys() if isinstance(general[key], dict)]
    joined = {key: layered(general[key], special[key]) for key in both if isinstance(special[key], dict)}
    return general | special | joined


def _read_alone(file: Path) -> dict[str, Any]:
    """The tables of a file as they stand in it, of the caller's own."""
    return deepcopy(_parsed(file, text.read(file)))


@lru_cache(maxsize=8)
def _parsed(file: Path, content: str) -> dict[str, Any]:
    """The tables that a file of this content has. A command reads its bench.toml several times."""
    for number, line in enumerate(content.split("\n"), 1):
        # The parser's time grows with the square of a dotted key's parts.
        if line.count(".") > _MOST_DOTS:
            raise UserError(f"{file}, line {number}: has more than {_MOST_DOTS:,} dots. Break it into several lines.")
    try:
        tables = tomllib.loads(content)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise UserError(f"{file}: not valid TOML: {error}.") from error
    check_tables(file, tables)
    return tables


def check_tables(file: Path, tables: dict[str, Any]) -> None:
    """UserError with each value that no setting can have, and each table or name that is not what it must be."""
    # The shape of what is nested without end, or holds a number without end, is not looked at.
    raise_all(f"{file.name}, {path}: {reason}" for path, reason in unfit(tables))
    raise_all(f"{file.name}, {path}: {reason}" for path, reason in misshapen(tables))


def raise_all(errors: Iterable[str]) -> None:
    """UserError with every sentence, up to fifty, if there is one."""
    found = list(dict.fromkeys(errors))
    if found:
        more = [f"... and {len(found) - MOST_ERRORS:,} more."] if len(found) > MOST_ERRORS else []
        raise UserError("\n".join(found[:MOST_ERRORS] + more))


def unfit(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """The path of each value that no setting can have, with the reason: JSON and digests must keep what TOML says."""
    match value:
        case dict() | list() if depth > _DEEPEST:
            yield path, f"is nested more than {_DEEPEST} deep."
        case dict():
            for key, item in value.items():
                if len(key) > _LONGEST_KEY:
                    yield path, f"the key {shortened(key)} has more than {_LONGEST_KEY} characters."
                else:
                    yield from unfit(item, f"{path}.{key}" if path else key, depth + 1)
        case list():
            for place, item in enumerate(value):
                yield from unfit(item, f"{path}[{place}]", depth + 1)
        case str() if len(value) > _LONGEST:
            yield path, f"{shortened(value)} is not valid: a text has at most {_LONGEST:,} characters."
        case int() if not -SEEDS <= value < SEEDS:
            yield path, "is not valid: an integer has at most 64 bits."  # Python may refuse to write it in decimals
        case float() if not math.isfinite(value):
            yield path, f"{value!r} is not valid: a number is finite."
        case str() | int() | float() | None:
            pass
        case _:
            yield path, f"{shortened(value)} is not valid: no setting is a date or a time."


def misshapen(tables: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The path and the reason of each misshapen table, bad name of a folder, or list with repeats."""
    try:
        _File.model_validate_json(json.dumps(tables), strict=True)
    except ValidationError as error:
        for item in error.errors():
            path = ".".join(map(str, item["loc"]))
            is_table = item["type"] in ("dict_type", "model_type")
            told = f"must be a table, written [{path}]." if is_table else f"{validation_reason(item)}."
            yield path, told if is_table else f"{shortened(item['input'])} is not valid: {told}"
        return
    named: list[tuple[str, str, Iterable[str]]] = [
        (f"{kind}s", kind, tables.get(f"{kind}s", {})) for kind in ("method", "dataset", "suite")
    ]
    for suite, table in tables.get("suites", {}).items():
        for kind in ("method", "dataset"):
            named += [(f"suites.{suite}.{key}", kind, table.get(key, ())) for key in (kind, f"{kind}s")]
        for key in ("methods", "datasets", "seeds"):
            values = table.get(key, [])
            if len(set(values)) < len(values):
                twice = next(value for place, value in enumerate(values) if value in values[:place])
                yield f"suites.{suite}.{key}", f"names {twice!r} twice."
    for path, kind, names in named:
        yield from ((path, reason) for reason in misnamed(kind, names))


def misnamed(kind: str, names: Iterable[str]) -> Iterator[str]:
    """The reasons that names of methods, data sets or suites cannot be those of folders side by side."""
    spelt: dict[str, str] = {}
    for name in names:
        try:
            check_name(WORDS[kind], name)
        except UserError as error:
            yield str(error)
            continue
        if name.lower() in _TAKEN.get(kind, ()) or (kind == "method" and is_control(name.lower())):
            yield f"the name {name!r} is the benchmark's own. Choose another for a {WORDS[kind]}."
        if kind == "suite" and name.endswith((SEARCH, TUNED)):
            yield f"the name {name!r} is one that `lvm-bench tune` gives. Choose another end than {SEARCH} and {TUNED}."
        twin = spelt.setdefault(name.lower(), name)
        if twin != name:
            yield f"{twin!r} and {name!r} differ in capitals alone, and are one folder on some systems. Rename one."


def override(tables: dict[str, Any], suite: str, settings: tuple[str, ...]) -> list[tuple[str, Any]]:
    """`--set` texts as (key, value): a dotted key goes into the tables, a bare key is returned for every job."""
    bare = []
    for setting in settings:
        key, sign, value = setting.partition("=")
        *path, last = key.strip().split(".")
        if not sign or not all((*path, last)) or len(path) > _DEEPEST:
            raise UserError(f"--set {shortened(setting)}: write key=value, for instance --set epochs=3.")
        parsed = _value(value.strip())
        raise_all(f"--set {where}: {reason}" for where, reason in unfit({key.strip(): parsed}))
        if not path:
            bare.append((last, parsed))
            continue
        table = tables.setdefault("suites", {}).setdefault(suite, {})
        if path[0] in ("methods", "datasets"):
            # in a suite, `methods` is the list of names: its tables live beside the list
            path[0] = f"{path[0][:-1]}"
        for part in path:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise UserError(f"--set {key.strip()}: {part!r} is no table, so it holds no {last!r}.")
        table[last] = parsed
    return bare


def _value(written: str) -> Any:
    """The value that a text is in TOML, and the text itself where it is none."""
    try:
        found = tomllib.loads(f"value = {written}")
    except tomllib.TOMLDecodeError:
        return written
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, lists in lists
        raise UserError(f"--set: {shortened(written)} is not valid: {error}.") from error
    return found["value"] if len(found) == 1 else written


def validation_reason(item: Any) -> str:
    message = item["msg"].removeprefix("Value error, ")
    told = {"missing": "is missing", "list_type": "give a list"}
    return told.get(item["type"], message[0].lower() + message[1:])


def validation_reasons(error: ValidationError) -> str:
    return "; ".join(dict.fromkeys(validation_reason(item) for item in error.errors()))


def suite_names(file: Path) -> dict[str, str]:
    """Each suite of a configuration with its description, on one line."""
    suites = read(file).get("suites", {})
    return {name: " ".join(table.get("description", "").split()) for name, table in suites.items()}
