"""A search for the settings of a suite's methods: the points that all methods share, and the two suites of `tune`.

The first suite trains each method with every drawn setting and measures it on the validation split. The second trains
the methods with their own settings and with the chosen ones, and measures them on the test split.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float64

from lvm_bench.errors import UserError, did_you_mean
from lvm_bench.registry import METHODS
from lvm_bench.seeding import derive
from lvm_bench.suites import given, labels
from lvm_bench.suites.bench_toml import SEARCH, TUNED, raise_all
from lvm_bench.suites.discover import keyword_only
from lvm_bench.suites.job import Job, Plan, Suite, TrainingSettings
from lvm_bench.suites.ranges import Range, parsed
from lvm_bench.text import check_name, counted

MOST_COLUMNS = 64  # different settings that a suite's methods may tune

MOST_TRIALS = 1000

_SHARED = ("learning_rate",)  # settings of the training that a range may name beside the method's own


@dataclass(frozen=True)
class Search:
    """The trials of one method on one data set: its job, its ranges, and what each trial sets. The first sets nothing.

    A method without a range has that one alone.
    """

    job: Job  # with its own settings
    ranges: dict[str, Range]
    trials: list[dict[str, Any]]

    @property
    def own(self) -> dict[str, Any]:
        """The method's own value of each setting that has a range."""
        known = {"learning_rate": self.job.training.learning_rate, **self.job.arguments}
        return {name: known[name] for name in self.ranges}


def searches(whole: Suite, chosen: Suite, trials: int) -> list[Search]:
    """The search of each chosen method on each data set. UserError with every range that is not valid.

    `whole` is the suite with all its methods: they decide which point a trial has, whichever of them are chosen.
    """
    if not 2 <= trials <= MOST_TRIALS:
        raise UserError(
            f"--trials {trials}: a search has 2 to {MOST_TRIALS:,} trials of each method. The first has the method's "
            "own settings."
        )
    errors: list[str] = []
    ranges = {_place(job): _ranges(job, errors) for job in _firsts([*whole.jobs, *chosen.jobs])}
    raise_all(errors)
    ordered = sorted(_firsts([*whole.jobs, *chosen.jobs]), key=lambda job: job.plan.order)
    columns = list(dict.fromkeys(name for job in ordered for name in sorted(ranges[_place(job)])))
    if len(columns) > MOST_COLUMNS:
        raise UserError(f"The methods of {whole.name} tune {len(columns)} settings, and at most {MOST_COLUMNS}.")
    points = unit_points(trials - 1, derive(0, "tune", whole.name))
    found = []
    for job in _firsts(chosen.jobs):
        own = ranges[_place(job)]
        drawn = [{name: own[name].at(float(row[columns.index(name)])) for name in own} for row in points if own]
        found.append(Search(job, own, [{}, *drawn]))
    if not any(search.ranges for search in found):
        raise UserError(
            f"No method of the suite {whole.name} has a range to draw from, so each keeps its own settings: "
            f"`lvm-bench run --suite {whole.name}` measures them. To tune one, add a table such as [methods.vae.tune] "
            'with beta = "log 0.1..10".'
        )
    return found


def unit_points(count: int, seed: int) -> Float64[np.ndarray, "count d"]:
    """The first points of a scrambled Sobol sequence in [0, 1)^64. More points, or fewer axes, leave the others alone.

    Owen 1998 and Matousek 1998, as scipy has them.
    """
    from scipy.stats.qmc import Sobol  # its import takes a second

    power = max(count - 1, 0).bit_length()  # a Sobol sequence is balanced in powers of two
    made = Sobol(MOST_COLUMNS, scramble=True, rng=np.random.default_rng(seed)).random_base2(power)
    return made[:count]


def search_seed(suite: Suite) -> int:
    """The seed that all trials have: the least that is none of the suite's, which measure what was chosen."""
    taken = {seed for job in suite.jobs for seed in (job.seed, *job.plan.seeds)}
    return next(seed for seed in range(len(taken) + 1) if seed not in taken)


def search_suite(chosen: Suite, found: list[Search], seed: int, metric: str) -> Suite:
    """Every trial as a run, scored with one metric on the validation split."""
    name = check_name("suite", f"{chosen.name}{SEARCH}")
    count = max(len(search.trials) for search in found)
    plan = Plan(
        description=f"{counted(count, 'trial')} of each method of {chosen.name}, on the validation split",
        order=0,
        seeds=[seed],
    )
    jobs = []
    for dataset in chosen.datasets:
        own = [search for search in found if search.job.dataset == dataset]
        for k in range(count):
            for search in own:
                if k < len(search.trials):
                    order = search.job.plan.order * count + k
                    jobs.append(_trial(search, k, _ordered(plan, order), name, seed, metric))
    return _suite(chosen, name, plan.description, jobs)


def trial_name(method: str, k: int) -> str:
    """The name of the k-th trial of a method in the suite of the search."""
    return check_name("method", f"{method}-trial-{k}")


def tuned_name(method: str) -> str:
    """The name of a method with its chosen settings in the tuned suite."""
    return check_name("method", f"{method}{TUNED}")


def tuned_suite(chosen: Suite, settings: dict[tuple[str, str], dict[str, Any]], text: str) -> Suite:
    """The chosen methods with their own settings, and with `settings` by data set and method where these are others.

    UserError where a method of the suite has the name that a tuned one is to have.
    """
    name, jobs = check_name("suite", f"{chosen.name}{TUNED}"), []
    for taken in {job.method for job in chosen.jobs} & {tuned_name(job.method) for job in chosen.jobs}:
        raise UserError(f"The suite {chosen.name} has a method {taken!r}, as a tuned one is called. Rename it.")
    for job in chosen.jobs:
        plan = job.plan.model_copy(update={"description": text, "axis": ""})
        jobs.append(replace(job, suite=name, plan=_ordered(plan, 2 * job.plan.order)))
        if other := settings.get(_place(job)):
            tuned = _with(job, other, tuned_name(job.method), "tuned")
            jobs.append(replace(tuned, suite=name, plan=_ordered(plan, 2 * job.plan.order + 1)))
    return replace(_suite(chosen, name, text, jobs), broken={})  # the search told of them


def _trial(search: Search, k: int, plan: Plan, suite: str, seed: int, metric: str) -> Job:
    job = _with(search.job, search.trials[k], trial_name(search.job.method, k), f"trial {k}")
    evaluation = job.evaluation.model_copy(update={"protocol": "validation", "metrics": [metric]})
    metrics = {metric: job.metrics[metric]}
    return replace(job, suite=suite, seed=seed, plan=plan, evaluation=evaluation, metrics=metrics)


def _with(job: Job, settings: dict[str, Any], name: str, told: str) -> Job:
    """The job under another name with other settings; its label ends with what it is."""
    said = job.shown.get("methods", {}).get(job.method) or {"reference": job.method in labels.references()}
    label = str(said.get("label") or labels.label(job.method))
    shown = {**said, "label": f"{label[:40]}, {told}"}
    shared = {key: value for key, value in settings.items() if key not in job.arguments}
    arguments = job.arguments | {key: value for key, value in settings.items() if key in job.arguments}
    return replace(
        job,
        method=name,
        arguments=arguments,
        files=given.checksums(job.method_base, arguments),
        training=job.training.model_copy(update=shared),
        shown={**job.shown, "methods": {name: {key: value for key, value in shown.items() if value}}},
    )


def _ordered(plan: Plan, order: int) -> Plan:
    """The plan with the order of one method."""
    return plan.model_copy(update={"order": order})


def _suite(chosen: Suite, name: str, text: str, jobs: list[Job]) -> Suite:
    methods, seeds = (list(dict.fromkeys(getattr(job, key) for job in jobs)) for key in ("method", "seed"))
    return replace(chosen, name=name, description=text, methods=methods, seeds=seeds, jobs=jobs)


def _place(job: Job) -> tuple[str, str]:
    return job.dataset, job.method


def _firsts(jobs: Iterable[Job]) -> list[Job]:
    """The first job of each method on each data set."""
    found: dict[tuple[str, str], Job] = {}
    for job in jobs:
        found.setdefault(_place(job), job)
    return list(found.values())


def tunable(job: Job) -> dict[str, Any]:
    """The type of each setting of a job that a range may name."""
    fields = {name: TrainingSettings.model_fields[name] for name in _SHARED}
    shared = {name: Annotated[(field.annotation, *field.metadata)] for name, field in fields.items()}
    return shared | {name: own.annotation for name, own in keyword_only(METHODS[job.method_base]).items()}


def _ranges(job: Job, errors: list[str]) -> dict[str, Range]:
    """The ranges of a job's settings, by name; what is not valid is noted."""
    known, found = tunable(job), {}
    for name in sorted(job.ranges):
        path, written = job.ranges[name]
        if name not in known:
            errors.append(f"{path}: is no setting of the method {job.method_base!r}.{did_you_mean(name, known)}")
            continue
        try:
            found[name] = parsed(written, known[name])
        except ValueError as error:
            errors.append(f"{path}: {error}.")
    return found
