"""bench.toml -> a validated suite -> the list of its jobs. Every error is reported at once."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from lvm_bench import registry
from lvm_bench.errors import UserError, did_you_mean
from lvm_bench.suites.bench_toml import (
    MOST_ERRORS,
    MOST_RUNS,
    WORDS,
    check_tables,
    misnamed,
    override,
    raise_all,
    read,
    validation_reason,
    validation_reasons,
)
from lvm_bench.suites.discover import keyword_only, method_files
from lvm_bench.suites.job import (
    SEEDS,
    SETTINGS,
    EvaluationSettings,
    Job,
    Plan,
    RunningSettings,
    Suite,
    TrainingSettings,
)
from lvm_bench.text import shortened

_SUITE_KEYS = {"description", "methods", "datasets", "seeds", "axis", "run", "train", "evaluate"}

_TABLES = {"packages", "run", "train", "evaluate", "datasets", "methods", "suites"}

_FEWER = ("methods", "seeds")  # what a suite's table of a data set may narrow down


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
            for name in sorted(unknown)[:MOST_ERRORS]:
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

    def running(self) -> RunningSettings | None:
        """How to run the suite; None when an error was noted."""
        suite = self.tables["suites"][self.suite]
        values: dict[str, tuple[str, Any]] = {}
        for path, table in (("run", self.tables.get("run", {})), (f"suites.{self.suite}.run", suite.get("run", {}))):
            for key, value in table.items():
                values[key] = (f"{path}.{key}", value)
                if key not in RunningSettings.model_fields:
                    self.error(f"{path}.{key}", f"unknown key.{did_you_mean(key, RunningSettings.model_fields)}")
        for key, value in self.bare:
            if key in RunningSettings.model_fields:
                values[key] = (f"--set {key}", value)
                self.used_bare.add(key)
        return self._model(RunningSettings, values, "run")

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
        models = [self._model(model, values, f"datasets.{dataset}") for model in (TrainingSettings, EvaluationSettings)]
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
            plan=Plan(description="", order=0, seeds=[]),
        )

    def _typed(self, annotation: Any, path: str, value: Any) -> Any:
        try:
            return TypeAdapter(annotation).validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            self.error(path, f"{shortened(value)} is not valid: {validation_reasons(error)}.")
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
                self.error(path, f"{value}{validation_reason(item)}.")
            return None


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
    from lvm_bench import data, metrics  # noqa: F401  (importing fills their registries)
    from lvm_bench.evaluation import features  # noqa: F401
    from lvm_bench.modelling import networks  # noqa: F401

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
                resolver.error(path, f"unknown {WORDS[kind]} {shortened(base)}.{did_you_mean(base, valid)}{own}")
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
            resolver.error(path, f"unknown {WORDS[kind]} {shortened(name)}.{did_you_mean(name, known[kind])}")
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
            planned = [*fewer[dataset]["seeds"]]
            plan = Plan(description=table.get("description", ""), order=order, seeds=planned, axis=axis)
            here.append(replace(job, plan=plan))
        for seed in dict.fromkeys(seeds or fewer[dataset]["seeds"]):
            jobs += [replace(job, seed=seed) for job in here]
    running = resolver.running()
    for key, value in bare:
        if key not in resolver.used_bare and found["method"] and found["dataset"]:
            resolver.error(
                f"--set {key}={shortened(value)}",
                f"unknown key.{did_you_mean(key, {*SETTINGS, *RunningSettings.model_fields, *arguments})}",
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
