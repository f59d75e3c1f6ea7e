"""bench.toml -> a validated suite -> the list of its jobs. Every error is reported at once."""

import inspect
import json
import math
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lvm_bench import registry, store, text
from lvm_bench.errors import UserError, did_you_mean
from lvm_bench.records import CONTROLS
from lvm_bench.text import shortened

# Upper limits stand where a slip of the pen would fill the memory, or a year, before anybody notices.
MOST = 10_000_000  # images, draws or epochs
MOST_RUNS = 100_000  # of one suite
SEEDS = 2**63  # seeds are below: TOML's own limit

Count = Annotated[int, Field(ge=1, le=MOST)] | Literal["all"]
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]


class Training(BaseModel):
    """The settings that decide a run's weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str
    width: float = Field(gt=0, le=64)
    latent: int = Field(ge=2, le=16_384)  # more than the numbers of a 64 x 64 colour image
    likelihood: Literal["bernoulli", "sse", "gaussian_unit"]
    train_images: Count
    validation_images: Count
    epochs: int = Field(ge=1, le=MOST)
    batch_size: int = Field(ge=2, le=MOST)
    learning_rate: float = Field(gt=0)
    patience: int = Field(ge=1)
    factor: float = Field(gt=0, lt=1)
    threshold: float = Field(ge=0)
    threads: int = Field(ge=1, le=1024)  # torch starts them all at once
    precision: Literal["float32", "tf32", "bf16"] = "float32"  # of the networks' matrix products
    seeds_per_batch: int = Field(default=1, ge=1, le=1000)  # seeds of a method that are trained together


class Evaluation(BaseModel):
    """The settings that decide a run's scores, given its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    extractor: str
    protocol: Literal["official-test", "avae-paper"]
    test_images: Count
    weights: Literal["last", "best"]
    samples: int = Field(ge=2, le=MOST)
    kid_subsets: int = Field(ge=1, le=MOST)
    kid_subset_size: int = Field(ge=2, le=MOST)
    neighbours: int = Field(ge=1, le=MOST)
    metrics: list[str] | Literal["all"]
    sap_samples: int = Field(ge=3, le=MOST)
    dci_samples: int = Field(ge=3, le=MOST)
    votes: int = Field(ge=2, le=MOST)
    direction_images: int = Field(ge=2, le=MOST)
    classifier_epochs: int = Field(ge=1, le=MOST)


class Running(BaseModel):
    """The settings that change how a suite is run, and no result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checkpoint_seconds: float = Field(ge=0)
    gpus_per_job: float = Field(gt=0)


Names = Annotated[list[str], Field(max_length=1000)]
Seeds = Annotated[list[Seed], Field(max_length=MOST_RUNS)]


class _Named(BaseModel):
    """The shape of a table of a method or data set."""

    base: str | None = None


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
    run: dict[str, Any] = {}
    train: dict[str, Any] = {}
    evaluate: dict[str, Any] = {}
    method: dict[str, _Named] = {}
    dataset: dict[str, _Fewer] = {}


class _File(BaseModel):
    """The shape of a bench.toml; what its tables may hold is checked for the suite in use."""

    packages: Names = []
    run: dict[str, Any] = {}
    train: dict[str, Any] = {}
    evaluate: dict[str, Any] = {}
    datasets: dict[str, _Named] = {}
    methods: dict[str, _Named] = {}
    suites: dict[str, _SuiteTable] = {}


SETTINGS = {**Training.model_fields, **Evaluation.model_fields}
_TAKEN = {"method": CONTROLS, "suite": ("published", "bandwidth")}  # folders of results/ that are no suites
_WORDS = {"method": "method", "dataset": "data set", "suite": "suite"}
_DEEPEST, _LONGEST, _LONGEST_KEY, _MOST_DOTS, _MOST_ERRORS = 8, 4096, 64, 1000, 50
_SUITE_KEYS = {"description", "methods", "datasets", "seeds", "axis", "run", "train", "evaluate"}
_OF_CONTROLS = ("dataset", "options", "latent", "train_images", "validation_images", "seed", "threads")
_TABLES = {"packages", "run", "train", "evaluate", "datasets", "methods", "suites"}
_FEWER = ("methods", "seeds")  # what a suite's table of a data set may narrow down


@dataclass(frozen=True)
class Plan:
    """What a suite says around a job: what tables need and no result depends on."""

    description: str
    order: int  # of the method in the suite
    seeds: tuple[int, ...]  # of the suite on this data set
    axis: str = ""  # the setting or argument that an ablation's methods differ in


@dataclass(frozen=True)
class Job:
    """One run: a method on a data set from one seed, with every setting resolved."""

    suite: str
    dataset: str
    method: str
    seed: int
    dataset_base: str
    method_base: str
    options: dict[str, Any]  # of the data set
    arguments: dict[str, Any]  # of the method
    training: Training
    evaluation: Evaluation
    conditions: dict[str, Any]  # what the suite gives every method on this data set
    plan: Plan

    @property
    def name(self) -> str:
        return f"{self.dataset}/{self.method}/seed-{self.seed}"

    @property
    def is_control(self) -> bool:
        """Whether it measures the floor of a metric, without a model."""
        return self.method in CONTROLS

    def control(self, name: str) -> "Job":
        """The control of that name for this job's data set and seed."""
        return replace(self, method=name, method_base=name, arguments={})

    def weights_settings(self) -> dict[str, Any]:
        """What changes the weights, as plain JSON; its digest is half of the run's identity."""
        return {
            "dataset": self.dataset_base,
            "options": self.options,
            "method": self.method_base,
            "arguments": self.arguments,
            "seed": self.seed,
            # A setting that came later is left out at its default: runs from before it keep their identity.
            **self.training.model_dump(exclude_defaults=True),
        }

    def scores_settings(self) -> dict[str, Any]:
        """What changes the scores, as plain JSON: the weights' settings and the evaluation's.

        Of a control: the data and the evaluation alone.
        """
        weights = self.weights_settings()
        if self.is_control:
            weights = {key: weights[key] for key in _OF_CONTROLS}
        return {**weights, **self.evaluation.model_dump()}


@dataclass
class Suite:
    """A named set of jobs, the files of methods that were loaded for them, and the plug-ins that would not load."""

    name: str
    description: str
    methods: list[str]
    datasets: list[str]
    seeds: list[int]
    jobs: list[Job]
    running: Running
    loaded: list[Path]
    broken: dict[str, str]  # method: why its file cannot be loaded

    @property
    def controls(self) -> list[Job]:
        """The controls of every data set and seed, each once."""
        firsts = {(job.dataset, job.seed): job for job in reversed(self.jobs)}
        return [job.control(name) for job in reversed(firsts.values()) for name in CONTROLS]


def defaults_folder() -> Path:
    """The folder of the packaged bench.toml: inside an installed wheel, or the checkout's root."""
    package = Path(__file__).parent
    return package / "defaults" if (package / "defaults").is_dir() else package.parent


def config_file(given: Path | None) -> Path:
    """`--config`, else bench.toml in the working folder, else the packaged one."""
    here = Path("bench.toml")
    file = given or (here if here.is_file() else defaults_folder() / "bench.toml")
    if not file.is_file():
        raise UserError(f"{file}: there is no such configuration file. Give an existing bench.toml with --config.")
    return file.resolve()


def read(file: Path) -> dict[str, Any]:
    """The tables of a bench.toml; UserError where it is not TOML, or with every value that no setting can have."""
    content = text.read(file)
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
        more = [f"... and {len(found) - _MOST_ERRORS:,} more."] if len(found) > _MOST_ERRORS else []
        raise UserError("\n".join(found[:_MOST_ERRORS] + more))


def unfit(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Where, and why, values are none that a setting can have: what TOML says, JSON and digests must keep."""
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
    """Where, and why, a table is not what it must be, a name cannot name a folder, or a list says a thing twice."""
    try:
        _File.model_validate_json(json.dumps(tables), strict=True)
    except ValidationError as error:
        for item in error.errors():
            path = ".".join(map(str, item["loc"]))
            is_table = item["type"] in ("dict_type", "model_type")
            told = f"must be a table, written [{path}]." if is_table else f"{_reason(item)}."
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
    """Why names of methods, data sets or suites cannot be those of folders side by side."""
    spelt: dict[str, str] = {}
    for name in names:
        try:
            store.check_name(_WORDS[kind], name)
        except UserError as error:
            yield str(error)
            continue
        if name.lower() in _TAKEN.get(kind, ()):
            yield f"the name {name!r} is the benchmark's own. Choose another for a {_WORDS[kind]}."
        twin = spelt.setdefault(name.lower(), name)
        if twin != name:
            yield f"{twin!r} and {name!r} differ in capitals alone, and are one folder on some systems. Rename one."


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


class _Resolver:
    """Collects every error of a suite before it gives up."""

    def __init__(self, file: Path, tables: dict[str, Any], suite: str, bare: list[tuple[str, Any]]):
        self.file, self.tables, self.suite, self.bare = file, tables, suite, bare
        self.errors: dict[str, None] = {}
        self.used_bare: set[str] = set()

    def error(self, path: str, reason: str) -> None:
        self.errors[f"{self.file.name}, {path}: {reason}"] = None

    def chain(self, kind: str, name: str) -> list[str]:
        """The tables that a name stands for: its base's, when it is a variant, then its own."""
        suite = self.tables["suites"][self.suite]
        own = {**self.tables.get(f"{kind}s", {}).get(name, {}), **suite.get(kind, {}).get(name, {})}
        return [own["base"], name] if "base" in own else [name]

    def fewer(self, dataset: str) -> dict[str, list[Any]]:
        """The suite's methods and seeds, or those of them that its table of this data set names."""
        suite = self.tables["suites"][self.suite]
        chosen = {}
        for key in _FEWER:
            all_of_them = suite.get(key, [])
            chosen[key] = suite.get("dataset", {}).get(dataset, {}).get(key, all_of_them)
            unknown = set(chosen[key]) - set(all_of_them)
            for name in sorted(unknown)[:_MOST_ERRORS]:
                self.error(
                    f"suites.{self.suite}.dataset.{dataset}.{key}",
                    f"{name!r} is none of the suite's {key}.{did_you_mean(str(name), map(str, all_of_them))}",
                )
        return chosen

    def layers(self, dataset: str, method: str | None) -> list[tuple[str, dict[str, Any]]]:
        """The tables that apply to a job, or without a method to every job, general to special, with their paths."""
        suite, found = self.tables["suites"][self.suite], []
        data_chain, method_chain = self.chain("dataset", dataset), self.chain("method", method) if method else []
        for prefix, tables, plural in (("", self.tables, "s"), (f"suites.{self.suite}.", suite, "")):
            methods, datasets = tables.get(f"method{plural}", {}), tables.get(f"dataset{plural}", {})
            found += [(f"{prefix}{key}", tables.get(key, {})) for key in ("train", "evaluate")]
            found += [(f"{prefix}dataset{plural}.{d}", datasets.get(d, {})) for d in data_chain]
            for name in method_chain:
                own = methods.get(name, {})
                path = f"{prefix}method{plural}.{name}"
                found.append((path, {k: v for k, v in own.items() if not isinstance(v, dict)}))
                found += [(f"{path}.{d}", own[d]) for d in data_chain if isinstance(own.get(d), dict)]
        return [(path, table) for path, table in found if table]

    def conditions(self, dataset: str) -> dict[str, Any]:
        """What the suite gives every method on a data set, whatever the methods' own tables change."""
        given = [item for _, table in self.layers(dataset, None) for item in table.items()]
        return {key: value for key, value in (*given, *self.bare) if key in SETTINGS}

    def running(self) -> Running | None:
        """How to run the suite; None when an error was noted."""
        suite = self.tables["suites"][self.suite]
        values: dict[str, tuple[str, Any]] = {}
        for path, table in (("run", self.tables.get("run", {})), (f"suites.{self.suite}.run", suite.get("run", {}))):
            for key, value in table.items():
                values[key] = (f"{path}.{key}", value)
                if key not in Running.model_fields:
                    self.error(f"{path}.{key}", f"unknown key.{did_you_mean(key, Running.model_fields)}")
        for key, value in self.bare:
            if key in Running.model_fields:
                values[key] = (f"--set {key}", value)
                self.used_bare.add(key)
        return self._model(Running, values, "run")

    def job(self, dataset: str, method: str, options: Any, arguments: Any) -> Job | None:
        """A job, of seed 0; None when an error was noted. `options` and `arguments` are the signatures' parameters."""
        count = len(self.errors)
        values: dict[str, tuple[str, Any]] = {}
        known = set(SETTINGS) | set(options) | set(arguments)
        for path, table in self.layers(dataset, method):
            for key, value in table.items():
                if key == "base" or (key in _FEWER and path == f"suites.{self.suite}.dataset.{dataset}"):
                    continue
                if key not in known:
                    self.error(f"{path}.{key}", f"unknown key.{did_you_mean(key, known)}")
                else:
                    values[key] = (f"{path}.{key}", value)
        for key, value in self.bare:
            if key in known:
                values[key] = (f"--set {key}", value)
                self.used_bare.add(key)
        checked = {
            name: self._typed(parameter.annotation, *values[name])
            for parameters in (options, arguments)
            for name, parameter in parameters.items()
            if name in values
        }
        for name, parameter in {**options, **arguments}.items():
            if name not in values and parameter.default is parameter.empty:
                where = f"methods.{method}.{name}" if name in arguments else f"datasets.{dataset}.{name}"
                self.error(where, "has no value and no default. Add it to the table.")
        models = [self._model(model, values, f"datasets.{dataset}") for model in (Training, Evaluation)]
        if len(self.errors) > count or None in models:
            return None
        return Job(
            self.suite,
            dataset,
            method,
            0,
            self.chain("dataset", dataset)[0],
            self.chain("method", method)[0],
            {name: checked.get(name, parameter.default) for name, parameter in options.items()},
            {name: checked.get(name, parameter.default) for name, parameter in arguments.items()},
            training=models[0],
            evaluation=models[1],
            conditions=self.conditions(dataset),
            plan=Plan("", 0, ()),
        )

    def _typed(self, annotation: Any, path: str, value: Any) -> Any:
        try:
            return TypeAdapter(annotation).validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            self.error(path, f"{shortened(value)} is not valid: {_reasons(error)}.")
            return None

    def _model(self, model: type[BaseModel], values: dict[str, tuple[str, Any]], table: str) -> Any:
        chosen = {key: values[key][1] for key in model.model_fields if key in values}
        try:
            return model.model_validate_json(json.dumps(chosen), strict=True)
        except ValidationError as error:
            for item in error.errors():
                key = str(item["loc"][0])
                path = values[key][0] if key in values else f"{table}.{key}"
                value = f"{shortened(values[key][1])} is not valid: " if key in values else ""
                self.error(path, f"{value}{_reason(item)}.")
            return None


def _reason(item: Any) -> str:
    message = item["msg"]
    told = {"missing": "is missing", "list_type": "give a list"}
    return told.get(item["type"], message[0].lower() + message[1:])


def _reasons(error: ValidationError) -> str:
    return "; ".join(dict.fromkeys(_reason(item) for item in error.errors()))


def keyword_only(thing: Any) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of a function or of a class's `__init__`, by name."""
    target = thing.__init__ if inspect.isclass(thing) else thing
    parameters = inspect.signature(target).parameters.values()
    return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}


def suite_names(file: Path) -> dict[str, str]:
    """Each suite of a configuration with its description, on one line."""
    suites = read(file).get("suites", {})
    return {name: " ".join(table.get("description", "").split()) for name, table in suites.items()}


def resolve(
    file: Path,
    suite: str,
    *,
    methods: tuple[str, ...] = (),
    datasets: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (),
    plugins: tuple[Path, ...] = (),
    extractor: str | None = None,
    settings: tuple[str, ...] = (),
) -> Suite:
    """The jobs of a suite, every setting checked; imports only the files of the methods that it names.

    Raises UserError listing every mistake, each with its path, the value and the valid choices.
    """
    from lvm_bench import data, features, metrics, networks  # noqa: F401  (importing fills their registries)

    tables = read(file)
    suites = tables.get("suites", {})
    if suite not in suites:
        raise UserError(f"{file.name}: unknown suite {shortened(suite)}.{did_you_mean(suite, suites)}")
    bare = override(tables, suite, settings)
    check_tables(file, tables)
    if extractor:
        bare.append(("extractor", extractor))
    files = method_files(file, plugins)
    data_entries = registry.index_folder(Path(data.__file__).parent, "dataset")
    resolver = _Resolver(file, tables, suite, bare)
    for key in tables.keys() - _TABLES:
        resolver.error(key, f"unknown table.{did_you_mean(key, _TABLES)}")
    table = suites[suite]
    for key in table.keys() - (_SUITE_KEYS | {"method", "dataset"}):
        resolver.error(f"suites.{suite}.{key}", f"unknown key.{did_you_mean(key, _SUITE_KEYS)}")
    for seed in seeds:
        if not 0 <= seed < SEEDS:
            resolver.error("--seeds", f"{shortened(seed)} is not valid: a seed is 0 or more and has at most 63 bits.")

    from_plugins = [e.name for p in plugins for e in registry.index(p) if e.kind == "method"]
    in_suite = list(dict.fromkeys((*table.get("methods", ()), *from_plugins)))
    chosen = {
        "method": list(dict.fromkeys(methods or in_suite)),
        "dataset": list(dict.fromkeys(datasets or table.get("datasets", ()))),
    }
    found: dict[str, dict[str, Any]] = {"method": {}, "dataset": {}}
    known: dict[str, set[str]] = {}
    loaded: dict[Path, None] = {}
    broken: dict[str, str] = {}
    for kind, entries in (("method", files), ("dataset", data_entries)):
        variants = {
            name: own["base"]
            for tables_of in (tables.get(f"{kind}s", {}), table.get(kind, {}))
            for name, own in tables_of.items()
            if "base" in own
        }
        known[kind] = {*entries, *variants}
        for reason in misnamed(kind, dict.fromkeys((*entries, *variants))):
            resolver.error(f"{kind}s", reason)
        for name in chosen[kind]:
            base = variants.get(name, name)
            if name in variants and name in entries:
                resolver.error(f"{kind}s.{name}.base", f"{name!r} is no variant. Give the variant a name of its own.")
                continue
            if base not in entries:
                path = f"{kind}s.{name}.base" if name in variants else f"suites.{suite}.{kind}s"
                valid = entries if name in variants else known[kind]
                own = " A method of your own comes with --plugin FILE." if kind == "method" and not plugins else ""
                resolver.error(path, f"unknown {_WORDS[kind]} {shortened(base)}.{did_you_mean(base, valid)}{own}")
                continue
            if kind == "method":
                try:
                    registry.load(entries[base].file)
                except UserError as error:
                    if entries[base].file not in plugins:
                        raise
                    broken[name] = str(error)
                    continue
                loaded[entries[base].file.resolve()] = None
                found[kind][name] = keyword_only(registry.METHODS[base])
            else:
                found[kind][name] = keyword_only(registry.DATASETS[base])
    for path, kind, name in (*_tables_of(tables, suite), *_set_on(settings)):
        if name not in known[kind]:
            resolver.error(path, f"unknown {_WORDS[kind]} {shortened(name)}.{did_you_mean(name, known[kind])}")
    axis, arguments = table.get("axis", ""), {name for own in found["method"].values() for name in own}
    if axis and found["method"] and axis not in {*SETTINGS, *arguments}:
        resolver.error(
            f"suites.{suite}.axis",
            f"{shortened(axis)} is no setting and no argument of its methods."
            f"{did_you_mean(axis, {*SETTINGS, *arguments})}",
        )
    fewer = {dataset: resolver.fewer(dataset) for dataset in found["dataset"]}
    # Counted before a job is made: each has kilobytes of settings.
    count = sum(len(found["method"]) * len(seeds or chosen_here["seeds"]) for chosen_here in fewer.values())
    if count > MOST_RUNS:
        raise UserError(f"{file.name}, suites.{suite}: has {count:,} runs, and at most {MOST_RUNS:,}. Split it.")
    jobs = []
    for dataset, options in found["dataset"].items():
        here = []
        for method, arguments in found["method"].items():
            if not methods and method not in (*fewer[dataset]["methods"], *from_plugins):
                continue
            job = resolver.job(dataset, method, options, arguments)
            if job is None:
                continue
            _check_choice(resolver, job, "network", registry.NETWORKS, job.training.network)
            _check_choice(resolver, job, "extractor", registry.EXTRACTORS, job.evaluation.extractor)
            for name in job.evaluation.metrics if job.evaluation.metrics != "all" else ():
                _check_choice(resolver, job, "metrics", registry.METRICS, name)
            order = in_suite.index(method) if method in in_suite else len(in_suite)
            plan = Plan(table.get("description", ""), order, tuple(fewer[dataset]["seeds"]), axis)
            here.append(replace(job, plan=plan))
        for seed in dict.fromkeys(seeds or fewer[dataset]["seeds"]):
            jobs += [replace(job, seed=seed) for job in here]
    running = resolver.running()
    for key, value in bare:
        if key not in resolver.used_bare and found["method"] and found["dataset"]:
            resolver.error(
                f"--set {key}={shortened(value)}",
                f"unknown key.{did_you_mean(key, {*SETTINGS, *Running.model_fields, *arguments})}",
            )
    raise_all(resolver.errors)
    assert running is not None  # without an error it is there
    if not jobs and not broken:
        raise UserError(f"{file.name}, suites.{suite}: names no job. Give it methods, datasets and seeds.")
    return Suite(
        suite,
        table.get("description", ""),
        chosen["method"],
        chosen["dataset"],
        list(dict.fromkeys(seeds or table.get("seeds", ()))),
        jobs,
        running,
        list(loaded),
        broken,
    )


def _tables_of(tables: dict[str, Any], suite: str) -> Iterator[tuple[str, str, str]]:
    """(path, kind, name) of each table about a data set. Those of methods may be of a plug-in that is not given."""
    own = tables["suites"][suite]
    for prefix, named, plural in (("", tables, "s"), (f"suites.{suite}.", own, "")):
        yield from ((f"{prefix}dataset{plural}.{name}", "dataset", name) for name in named.get(f"dataset{plural}", {}))
        for method, table in named.get(f"method{plural}", {}).items():
            inner = (name for name, value in table.items() if isinstance(value, dict))
            yield from ((f"{prefix}method{plural}.{method}.{name}", "dataset", name) for name in inner)


def _set_on(settings: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """(path, kind, name) of each method or data set that a `--set` names."""
    for setting in settings:
        path = setting.partition("=")[0].strip().split(".")
        if len(path) > 1 and path[0] in ("methods", "datasets"):
            yield f"--set {'.'.join(path)}", path[0][:-1], path[1]


def _check_choice(resolver: _Resolver, job: Job, key: str, choices: registry.Registry, value: str) -> None:
    if value not in choices:
        resolver.error(
            f"datasets.{job.dataset}.{key}",
            f"unknown {choices.kind} {shortened(value)}.{did_you_mean(value, choices)}",
        )
