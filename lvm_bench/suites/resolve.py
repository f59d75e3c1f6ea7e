"""bench.toml -> a validated suite -> the list of its jobs. Every error is reported at once."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from lvm_bench import registry
from lvm_bench.errors import UserError, did_you_mean
from lvm_bench.registry import REGISTRIES, Entry
from lvm_bench.suites import given, labels
from lvm_bench.suites.bench_toml import (
    MOST_RUNS,
    WORDS,
    misnamed,
    published_sources,
    raise_all,
    validation_reason,
    validation_reasons,
)
from lvm_bench.suites.discover import Extensions, extensions, keyword_only, of_plugin
from lvm_bench.suites.job import (
    SEEDS,
    SETTINGS,
    EvaluationSettings,
    Job,
    Plan,
    RunningSettings,
    Suite,
    TrainingSettings,
    is_chosen,
)
from lvm_bench.suites.layers import Layers
from lvm_bench.text import setting_text, shortened

Parameters = dict[str, Any]  # the keyword-only parameters of a method or data set


@dataclass
class _Found:
    """The methods and data sets of a suite by name, and what was loaded for them."""

    parameters: dict[str, dict[str, Parameters]] = field(default_factory=lambda: {"method": {}, "dataset": {}})
    known: dict[str, set[str]] = field(default_factory=dict)  # by kind: the names that may stand in a suite
    loaded: dict[Path, None] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    def load(self, entry: Entry) -> None:
        """Load the file of an extension, and note it where it is none of the package's own."""
        registry.load(entry.file)
        if not registry.is_own(entry.file):
            self.loaded[entry.file.resolve()] = None


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
    under: dict[str, Any] | None = None,
) -> Suite:
    """The jobs of a suite, every setting checked; imports only the files of the extensions that it may need.

    `under` are tables below those of the file, such as of a data set that it does not have.
    Raises UserError listing every mistake, each with its path, the value and the valid choices.
    """
    layers = Layers(file, suite, settings, extractor, under or {})
    plain = Layers(file, suite, (), None, under or {}) if layers.given else None
    entries = extensions(file, plugins)
    for seed in seeds:
        if not 0 <= seed < SEEDS:
            layers.error("--seeds", f"{shortened(seed)} is not valid: a seed is 0 or more and has at most 63 bits.")
    joined = [entry.name for plugin in plugins for entry in of_plugin(plugin) if entry.kind == "method"]
    in_suite = list(dict.fromkeys((*layers.own.get("methods", ()), *joined)))
    chosen = {
        "method": list(dict.fromkeys(methods or in_suite)),
        "dataset": list(dict.fromkeys(datasets or layers.own.get("datasets", ()))),
    }
    found = _find(layers, entries, chosen, plugins)
    for path, kind, name in layers.named(settings):
        if name not in found.known[kind]:
            layers.error(path, f"unknown {WORDS[kind]} {shortened(name)}.{did_you_mean(name, found.known[kind])}")
    _check_axis(layers, found)
    _check_published(layers)
    jobs = _jobs(layers, plain, entries, found, in_suite, methods, joined, seeds)
    _load_needed(found, entries, jobs)
    running = _model(layers, RunningSettings, layers.merged(layers.running(), RunningSettings.model_fields), "run")
    _check_bare(layers, found)
    raise_all(layers.errors)
    if not jobs and not found.broken:
        raise UserError(f"{file.name}, suites.{suite}: names no job. Give it methods, datasets and seeds.")
    return Suite(
        suite,
        layers.own.get("description", ""),
        chosen["method"],
        chosen["dataset"],
        list(dict.fromkeys(seeds or layers.own.get("seeds", ()))),
        jobs,
        running,
        list(found.loaded),
        found.broken,
    )


# The methods and data sets of a suite


def _find(layers: Layers, entries: Extensions, chosen: dict[str, list[str]], plugins: tuple[Path, ...]) -> _Found:
    """Load the methods and data sets that were chosen; what is unknown is noted, what a plug-in breaks is kept."""
    found = _Found()
    for kind, names in chosen.items():
        variants = layers.variants(kind)
        found.known[kind] = {*entries[kind], *variants}
        for reason in misnamed(kind, dict.fromkeys((*entries[kind], *variants))):
            layers.error(f"{kind}s", reason)
        for name in names:
            entry = _entry(layers, entries, kind, name, found.known[kind], plugins)
            if entry is None:
                continue
            try:
                found.load(entry)
            except UserError as error:
                if entry.file not in plugins or {other.kind for other in registry.index(entry.file)} != {"method"}:
                    raise
                found.broken[name] = str(error)
                continue
            found.parameters[kind][name] = keyword_only(REGISTRIES[kind][entry.name])
    return found


def _entry(
    layers: Layers, entries: Extensions, kind: str, name: str, known: set[str], plugins: tuple[Path, ...]
) -> Entry | None:
    """The method or data set behind a name, that of its base for a variant; None when an error was noted."""
    variants = layers.variants(kind)
    base = variants.get(name, name)
    if name in variants and name in entries[kind]:
        reason = f"{name!r} is a variant here and a {WORDS[kind]} of {entries[kind][name].file}. Rename one of the two."
        layers.error(layers.base_path(kind, name), reason)
        return None
    if base not in entries[kind]:
        is_own = name in layers.own.get(f"{kind}s", ())
        path = f"suites.{layers.suite}.{kind}s" if is_own else f"--{kind}s"
        path = layers.base_path(kind, name) if name in variants else path
        valid = entries[kind] if name in variants else known
        own = f" A {WORDS[kind]} of your own comes with --plugin FILE." if not plugins else ""
        layers.error(path, f"unknown {WORDS[kind]} {shortened(base)}.{did_you_mean(base, valid)}{own}")
        return None
    return entries[kind][base]


def _load_needed(found: _Found, entries: Extensions, jobs: list[Job]) -> None:
    """Load the networks and extractors that jobs name, their metrics, and the data sets that are novel to theirs."""
    named = {
        "network": {job.training.network for job in jobs},
        "extractor": {job.evaluation.extractor for job in jobs},
        "metric": {name for job in jobs for name in job.metrics},
        "dataset": {REGISTRIES["dataset"][job.dataset_base].info.novel for job in jobs},
    }
    for kind, names in named.items():
        for name in sorted(names & entries[kind].keys()):
            found.load(entries[kind][name])


def _metrics(job: Job, entries: Extensions) -> list[str]:
    """The names of the metrics that a job is scored with."""
    chosen = job.evaluation.metrics
    known = entries["metric"]
    unknown = [] if chosen == "all" else [name for name in chosen if name not in {*known, "all"}]
    return [*(n for n, entry in known.items() if is_chosen(n, entry.options.get("costly", False), chosen)), *unknown]


# From tables to jobs


def _jobs(
    layers: Layers,
    plain: Layers | None,
    entries: Extensions,
    found: _Found,
    in_suite: list[str],
    methods: tuple[str, ...],
    joined: list[str],
    seeds: tuple[int, ...],
) -> list[Job]:
    """The jobs data set by data set, seed by seed; `methods` are what the user asks for, `joined` come of plug-ins.

    `plain` are the suite's own tables, where `--set` or `--extractor` change some.
    """
    fewer = {dataset: layers.fewer(dataset) for dataset in found.parameters["dataset"]}
    # Counted before a job is made: each has kilobytes of settings.
    count = sum(len(found.parameters["method"]) * len(seeds or here["seeds"]) for here in fewer.values())
    if count > MOST_RUNS:
        raise UserError(
            f"{layers.file.name}, suites.{layers.suite}: has {count:,} runs, and at most {MOST_RUNS:,}. Split it."
        )
    facts = labels.facts_of(entries, layers.tables, layers.suite)
    said = {name: layers.own.get(name, "") for name in ("description", "axis", "published")}
    jobs: list[Job] = []
    for dataset, chosen in fewer.items():
        here = []
        for method in found.parameters["method"]:
            if not methods and method not in (*chosen["methods"], *joined):
                continue
            job = _job(layers, dataset, method, found)
            if job is None or not _are_known(layers, job, entries):
                continue
            order = in_suite.index(method) if method in in_suite else len(in_suite)
            shown = labels.to_record(facts, job, _metrics(job, entries))
            changed = _changed(_job(plain, dataset, method, found), job) if plain else []
            plan = Plan(order=order, seeds=[*chosen["seeds"]], changed=changed, **said)
            versions = {name: entries["metric"][name].options.get("version", 1) for name in _metrics(job, entries)}
            here.append(replace(job, plan=plan, metrics=versions, shown=shown))
        for seed in dict.fromkeys(seeds or chosen["seeds"]):
            jobs += [replace(job, seed=seed) for job in here]
    return jobs


def _job(layers: Layers, dataset: str, method: str, found: _Found) -> Job | None:
    """A job of seed 0; None when an error was noted."""
    count = len(layers.errors)
    options, arguments = found.parameters["dataset"][dataset], found.parameters["method"][method]
    values = layers.merged(layers.of(dataset, method), {*SETTINGS, *options, *arguments})
    given_options = _arguments(layers, options, values, f"datasets.{dataset}")
    for name in registry.DATASETS[layers.chain("dataset", dataset)[0]].info.later:
        if given_options[name] == options[name].default:  # runs from before it keep their identity
            del given_options[name]
    given_arguments = _arguments(layers, arguments, values, f"methods.{method}")
    training = _model(layers, TrainingSettings, values, f"datasets.{dataset}")
    evaluation = _model(layers, EvaluationSettings, values, f"datasets.{dataset}")
    if len(layers.errors) > count or training is None or evaluation is None:  # the same error is noted once
        return None
    method_base = layers.chain("method", method)[0]
    try:
        files = given.checksums(method_base, given_arguments)
    except UserError as error:
        layers.error(f"methods.{method}", str(error))
        return None
    return Job(
        layers.suite,
        dataset,
        method,
        0,
        layers.chain("dataset", dataset)[0],
        method_base,
        given_options,
        given_arguments,
        training=training,
        evaluation=evaluation,
        conditions=layers.conditions(dataset),
        plan=Plan(description="", order=0, seeds=[]),
        ranges=layers.ranges(dataset, method),
        files=files,
        staged=len(registry.METHODS[method_base].stages) > 1,
    )


def _changed(own: Job | None, job: Job) -> list[str]:
    """What differs from the suite's own settings, a text each: `epochs 60 -> 10`; [] where those are not whole."""
    if own is None:
        return []
    before, now = (
        {**each.options, **each.arguments, **each.training.model_dump(), **each.evaluation.model_dump()}
        for each in (own, job)
    )
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return [f"{name} {setting_text(before.get(name))} -> {setting_text(now.get(name))}" for name in names]


def _arguments(
    layers: Layers, parameters: Parameters, values: dict[str, tuple[str, Any]], table: str
) -> dict[str, Any]:
    """The value of each parameter, checked by its annotation, else its default."""
    found = {}
    for name, parameter in parameters.items():
        found[name] = parameter.default
        if name in values:
            found[name] = _typed(layers, parameter.annotation, *values[name])
        elif parameter.default is parameter.empty:
            layers.error(f"{table}.{name}", f"has no value and no default. {_way_to_give(layers, table, name)}")
    return found


def _typed(layers: Layers, annotation: Any, path: str, value: Any) -> Any:
    try:
        return TypeAdapter(annotation).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        layers.error(path, f"{shortened(value)} is not valid: {validation_reasons(error)}.")
        return None


def _model(layers: Layers, model: type[BaseModel], values: dict[str, tuple[str, Any]], table: str) -> Any:
    """The settings of a model; None when an error was noted."""
    chosen = {key: values[key][1] for key in model.model_fields if key in values}
    try:
        return model.model_validate_json(json.dumps(chosen), strict=True)
    except ValidationError as error:
        for item in error.errors():
            key = str(item["loc"][0])
            if key in values:
                path, value = values[key]
                layers.error(path, f"{shortened(value)} is not valid: {validation_reason(item)}.")
            else:
                layers.error(f"{table}.{key}", f"{validation_reason(item)}. {_way_to_give(layers, table, key)}")
        return None


def _way_to_give(layers: Layers, table: str, key: str) -> str:
    """A sentence on how to give a missing value, with the value of another data set as an example."""
    others = (own[key] for own in layers.tables.get("datasets", {}).values() if key in own)
    example = next(others, "VALUE")
    return f"Give --set {table}.{key}={example} (for instance), or add it to the table [{table}]."


# What is checked of jobs


def _are_known(layers: Layers, job: Job, entries: Extensions) -> bool:
    """Whether a job's network, extractor and metrics are extensions that there are; others are noted."""
    named = [("network", "network", job.training.network), ("extractor", "extractor", job.evaluation.extractor)]
    named += [("metrics", "metric", name) for name in _metrics(job, entries)]
    unknown = [(key, kind, name) for key, kind, name in named if name not in entries[kind]]
    for key, kind, name in unknown:
        reason = f"unknown {REGISTRIES[kind].kind} {shortened(name)}.{did_you_mean(name, entries[kind])}"
        layers.error(f"datasets.{job.dataset}.{key}", reason)
    return not unknown


def _check_axis(layers: Layers, found: _Found) -> None:
    """Note an axis that is neither a setting nor an argument of the methods."""
    axis, known = layers.own.get("axis", ""), {*SETTINGS, *_names(found.parameters["method"].values())}
    if axis and found.parameters["method"] and axis not in known:
        reason = f"{shortened(axis)} is no setting and no argument of its methods.{did_you_mean(axis, known)}"
        layers.error(f"suites.{layers.suite}.axis", reason)


def _check_published(layers: Layers) -> None:
    """Note a source of published numbers that does not exist."""
    source, known = layers.own.get("published", ""), published_sources()
    if source and source not in known:
        reason = f"unknown published source {shortened(source)}.{did_you_mean(source, known)}"
        layers.error(f"suites.{layers.suite}.published", reason)


def _check_bare(layers: Layers, found: _Found) -> None:
    """Note each `--set` of a key that no job has."""
    if not all(found.parameters.values()):
        return
    known = {*SETTINGS, *RunningSettings.model_fields, *_names(found.parameters["method"].values())}
    for key, value in layers.bare:
        if key not in layers.used_bare:
            layers.error(f"--set {key}={shortened(value)}", f"unknown key.{did_you_mean(key, known)}")


def _names(parameters: Iterable[Parameters]) -> set[str]:
    return {name for own in parameters for name in own}
