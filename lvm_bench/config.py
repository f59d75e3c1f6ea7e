"""bench.toml -> a validated suite -> the list of its jobs. Every error is reported at once."""

import inspect
import json
import tomllib
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lvm_bench import registry, store
from lvm_bench.errors import UserError, did_you_mean

Count = Annotated[int, Field(ge=1)] | Literal["all"]


class Training(BaseModel):
    """The settings that decide a run's weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str
    width: float = Field(gt=0)
    latent: int = Field(ge=2)
    likelihood: Literal["bernoulli", "sse", "gaussian_unit"]
    train_images: Count
    validation_images: Count
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    patience: int = Field(ge=1)
    factor: float = Field(gt=0, lt=1)
    threshold: float = Field(ge=0)
    threads: int = Field(ge=1)


class Evaluation(BaseModel):
    """The settings that decide a run's scores, given its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    extractor: str
    protocol: Literal["official-test", "avae-paper"]
    test_images: Count
    weights: Literal["last", "best"]
    samples: int = Field(ge=2)
    kid_subsets: int = Field(ge=1)
    kid_subset_size: int = Field(ge=2)
    neighbours: int = Field(ge=1)
    metrics: list[str] | Literal["all"]
    sap_samples: int = Field(ge=3)
    dci_samples: int = Field(ge=3)
    votes: int = Field(ge=2)
    direction_images: int = Field(ge=2)
    classifier_epochs: int = Field(ge=1)


class Running(BaseModel):
    """The settings that change how a suite is run, and no result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checkpoint_seconds: float = Field(ge=0, allow_inf_nan=False)
    gpus_per_job: float = Field(gt=0, allow_inf_nan=False)


SETTINGS = {**Training.model_fields, **Evaluation.model_fields}
CONTROLS = ("real-images", "standard-normal")  # held-out images as samples, exact prior draws as codes
_SUITE_KEYS = {"description", "methods", "datasets", "seeds", "run", "train", "evaluate"}
_OF_CONTROLS = ("dataset", "options", "latent", "train_images", "validation_images", "seed", "threads")
_TABLES = {"packages", "run", "train", "evaluate", "datasets", "methods", "suites"}
_FEWER = ("methods", "seeds")  # what a suite's table of a data set may narrow down


@dataclass(frozen=True)
class Plan:
    """What a suite says around a job: what tables need and no result depends on."""

    description: str
    order: int  # of the method in the suite
    seeds: tuple[int, ...]  # of the suite on this data set


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
            **self.training.model_dump(),
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
    """The tables of a bench.toml; UserError with the line when it is not TOML."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not valid TOML: {error}.") from error


def method_files(file: Path, plugins: tuple[Path, ...] = ()) -> dict[str, registry.Entry]:
    """Where each method's code stands: the config's packages, installed entry points, then `--plugin` files."""
    found: dict[str, registry.Entry] = {}
    for package in read(file).get("packages", []):
        folder = file.parent / package
        if not folder.is_dir():
            raise UserError(f"{file}, packages: {folder} is not a folder. Name folders relative to this file.")
        found |= registry.index_folder(folder, "method")
    files = [Path(origin) for origin in map(_origin, entry_points(group="lvm_bench.plugins")) if origin]
    for plugin in (*files, *plugins):
        entries = [entry for entry in registry.index(plugin) if entry.kind == "method"]
        if not entries and plugin in plugins:
            raise UserError(f"{plugin}: registers no method. Decorate its class with @method('name').")
        for entry in entries:
            if entry.name in found and found[entry.name].file.resolve() != plugin.resolve():
                raise UserError(
                    f"{plugin}: the method {entry.name!r} is already registered by {found[entry.name].file}. "
                    "Choose another name."
                )
            found[entry.name] = entry
    return found


def _origin(entry_point: Any) -> str | None:
    spec = find_spec(entry_point.module)
    return spec.origin if spec else None


def override(tables: dict[str, Any], suite: str, settings: tuple[str, ...]) -> list[tuple[str, Any]]:
    """`--set` texts as (key, value): a dotted key goes into the tables, a bare key is returned for every job."""
    bare = []
    for text in settings:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise UserError(f"--set {text!r}: write key=value, for instance --set epochs=3.")
        try:
            parsed = tomllib.loads(f"value = {value.strip()}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value.strip()
        *path, last = key.strip().split(".")
        if not path:
            bare.append((last, parsed))
            continue
        table = tables.setdefault("suites", {}).setdefault(suite, {})
        if path[0] in ("methods", "datasets"):
            # in a suite, `methods` is the list of names: its tables live beside the list
            path[0] = f"{path[0][:-1]}"
        for part in path:
            table = table.setdefault(part, {})
        table[last] = parsed
    return bare


class _Resolver:
    """Collects every error of a suite before it gives up."""

    def __init__(self, file: Path, tables: dict[str, Any], suite: str, bare: list[tuple[str, Any]]):
        self.file, self.tables, self.suite, self.bare = file, tables, suite, bare
        self.errors: dict[str, None] = {}
        self.used_bare: set[str] = set()

    def error(self, path: str, text: str) -> None:
        self.errors[f"{self.file.name}, {path}: {text}"] = None

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
            own, all_of_them = suite.get("dataset", {}).get(dataset, {}).get(key), suite.get(key, [])
            path = f"suites.{self.suite}.dataset.{dataset}.{key}"
            if own is not None and not isinstance(own, list):
                self.error(path, f"{own!r} is not valid: give a list.")
            chosen[key] = own if isinstance(own, list) else all_of_them
            for name in chosen[key]:
                if name not in all_of_them:
                    self.error(
                        path, f"{name!r} is none of the suite's {key}.{did_you_mean(str(name), map(str, all_of_them))}"
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
                found += [(f"{path}.{d}", own.get(d, {})) for d in data_chain]
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
            self.error(path, f"{value!r} is not valid: {_reasons(error)}.")
            return None

    def _model(self, model: type[BaseModel], values: dict[str, tuple[str, Any]], table: str) -> Any:
        chosen = {key: values[key][1] for key in model.model_fields if key in values}
        try:
            return model.model_validate_json(json.dumps(chosen), strict=True)
        except ValidationError as error:
            for item in error.errors():
                key = str(item["loc"][0])
                path = values[key][0] if key in values else f"{table}.{key}"
                value = f"{values[key][1]!r} is not valid: " if key in values else ""
                self.error(path, f"{value}{_reason(item)}.")
            return None


def _reason(item: Any) -> str:
    message = item["msg"]
    return "is missing" if item["type"] == "missing" else message[0].lower() + message[1:]


def _reasons(error: ValidationError) -> str:
    return "; ".join(dict.fromkeys(_reason(item) for item in error.errors()))


def keyword_only(thing: Any) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of a function or of a class's `__init__`, by name."""
    target = thing.__init__ if inspect.isclass(thing) else thing
    parameters = inspect.signature(target).parameters.values()
    return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}


def suite_names(file: Path) -> dict[str, str]:
    """Each suite of a configuration with its description."""
    return {name: table.get("description", "") for name, table in read(file).get("suites", {}).items()}


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
    _check_tables(file, tables)
    suites = tables.get("suites", {})
    if suite not in suites:
        raise UserError(f"{file.name}: unknown suite {suite!r}.{did_you_mean(suite, suites)}")
    files = method_files(file, plugins)
    data_entries = registry.index_folder(Path(data.__file__).parent, "dataset")
    bare = override(tables, suite, settings)
    if extractor:
        bare.append(("extractor", extractor))
    resolver = _Resolver(file, tables, suite, bare)
    for key in tables.keys() - _TABLES:
        resolver.error(key, f"unknown table.{did_you_mean(key, _TABLES)}")
    table = suites[suite]
    for key in table.keys() - (_SUITE_KEYS | {"method", "dataset"}):
        resolver.error(f"suites.{suite}.{key}", f"unknown key.{did_you_mean(key, _SUITE_KEYS)}")

    from_plugins = [e.name for p in plugins for e in registry.index(p) if e.kind == "method"]
    in_suite = list(dict.fromkeys((*table.get("methods", ()), *from_plugins)))
    chosen = {
        "method": list(dict.fromkeys(methods or in_suite)),
        "dataset": list(dict.fromkeys(datasets or table.get("datasets", ()))),
    }
    found: dict[str, dict[str, Any]] = {"method": {}, "dataset": {}}
    loaded: dict[Path, None] = {}
    broken: dict[str, str] = {}
    for kind, entries in (("method", files), ("dataset", data_entries)):
        own_tables = {**tables.get(f"{kind}s", {}), **table.get(kind, {})}
        for name in chosen[kind]:
            base = resolver.chain(kind, name)[0]
            valid = {*entries, *(n for n, t in own_tables.items() if isinstance(t, dict) and "base" in t)}
            if base not in entries:
                word = {"method": "method", "dataset": "data set"}[kind]
                resolver.error(f"suites.{suite}.{kind}s", f"unknown {word} {name!r}.{did_you_mean(name, valid)}")
                continue
            store.check_name(kind, name)
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
    jobs = []
    for dataset, options in found["dataset"].items():
        fewer = resolver.fewer(dataset)
        chosen_methods = [
            resolver.job(dataset, method, options, arguments)
            for method, arguments in found["method"].items()
            if methods or method in (*fewer["methods"], *from_plugins)
        ]
        for job in filter(None, chosen_methods):
            _check_choice(resolver, job, "network", registry.NETWORKS, job.training.network)
            _check_choice(resolver, job, "extractor", registry.EXTRACTORS, job.evaluation.extractor)
            for name in job.evaluation.metrics if job.evaluation.metrics != "all" else ():
                _check_choice(resolver, job, "metrics", registry.METRICS, name)
        for seed in seeds or fewer["seeds"]:
            for job in filter(None, chosen_methods):
                order = in_suite.index(job.method) if job.method in in_suite else len(in_suite)
                plan = Plan(table.get("description", ""), order, tuple(fewer["seeds"]))
                jobs.append(replace(job, seed=seed, plan=plan))
    running = resolver.running()
    for key, value in bare:
        if key not in resolver.used_bare and found["method"] and found["dataset"]:
            arguments = {name for parameters in found["method"].values() for name in parameters}
            resolver.error(
                f"--set {key}={value}",
                f"unknown key.{did_you_mean(key, {*SETTINGS, *Running.model_fields, *arguments})}",
            )
    if resolver.errors or running is None:
        raise UserError("\n".join(resolver.errors))
    if not jobs and not broken:
        raise UserError(f"{file.name}, suites.{suite}: names no job. Give it methods, datasets and seeds.")
    return Suite(
        suite,
        table.get("description", ""),
        chosen["method"],
        chosen["dataset"],
        list(dict.fromkeys(seeds or table["seeds"])),
        jobs,
        running,
        list(loaded),
        broken,
    )


def _check_tables(file: Path, tables: dict[str, Any]) -> None:
    """UserError naming each key that should be a table, or a table of tables, and is not."""
    wrong = [key for key in ("run", "train", "evaluate") if not isinstance(tables.get(key, {}), dict)]
    for kind in ("datasets", "methods", "suites"):
        entries = tables.get(kind, {})
        if isinstance(entries, dict):
            wrong += [f"{kind}.{name}" for name, table in entries.items() if not isinstance(table, dict)]
        else:
            wrong.append(kind)
    if wrong:
        raise UserError("\n".join(f"{file.name}, {key}: must be a table, written [{key}]." for key in wrong))


def _check_choice(resolver: _Resolver, job: Job, key: str, choices: registry.Registry, value: str) -> None:
    if value not in choices:
        resolver.error(
            f"datasets.{job.dataset}.{key}", f"unknown {choices.kind} {value!r}.{did_you_mean(value, choices)}"
        )
