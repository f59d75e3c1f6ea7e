"""about.json: what a suite's scores come from. `report` writes it, so that its tables need no run's folder."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from lvm_bench import disk
from lvm_bench.errors import RunError
from lvm_bench.runs.checksums import RESTORE
from lvm_bench.runs.layout import ABOUT
from lvm_bench.runs.record import (
    COSTS,
    LONGEST,
    Architecture,
    Count,
    Environment,
    Facts,
    Kept,
    Name,
    Reasons,
    Run,
    Shown,
    Versions,
    reason_of,
)
from lvm_bench.suites.job import MOST_LATENT, is_control

_KEPT = ("digest_weights", "digest_scores", *COSTS, "fingerprint", "stale")

# The file holds equal ones once, and a run gives their places.
_LISTS = ("settings", "conditions", "architecture", "versions", "absent")

_TEXTS = ("suite", "description", "extractor", "protocol", "axis", "published")


@dataclass(frozen=True)
class About:
    """A suite's description, the facts of its data sets, and the origin of each of its runs."""

    suite: str = ""
    description: str = ""
    extractor: str = ""  # "" where no score needs one
    protocol: str = ""
    axis: str = ""  # the setting in which the methods of an ablation differ
    published: str = ""  # the source of published numbers that stand beside the suite's
    methods: list[str] = field(default_factory=list)  # in the suite's order
    seeds: list[int] = field(default_factory=list)
    shown: dict[str, dict[str, Any]] = field(default_factory=dict)  # how plug-ins and variants are shown
    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)  # facts as `record.Facts` has them, and `seeds`
    runs: list[Run] = field(default_factory=list)
    lists_done: bool = True  # a file of old leaves out the runs that are done: only scores.csv tells of them

    def facts(self, dataset: str) -> dict[str, Any]:
        """The facts of a data set; {} where none are known."""
        return self.datasets.get(dataset, {})

    @cached_property
    def latents(self) -> dict[tuple[str, str], int]:
        """The latent size of each method and control on each data set, as far as runs record it."""
        sizes = {run.place: (run.settings or {}).get("latent") for run in self.runs}
        return {place: size for place, size in sizes.items() if type(size) is int and 0 < size <= MOST_LATENT}

    def latent(self, dataset: str, method: str) -> int:
        """The latent size of a method on a data set: that of the data set where no run tells it; 0 if it is unknown.

        Of a control that is named by its size, that size.
        """
        size = method.rpartition("-")[2]
        if is_control(method) and size.isdecimal() and len(size) <= len(str(MOST_LATENT)):
            return int(size)
        return int(self.latents.get((dataset, method)) or self.facts(dataset).get("latent") or 0)

    def sizes(self, dataset: str) -> list[int]:
        """The latent sizes that methods have on a data set; [] in an ablation of it, where their labels tell them."""
        found = {size for (name, method), size in self.latents.items() if name == dataset and not is_control(method)}
        return [] if self.axis == "latent" else sorted(found)

    def seeds_of(self, dataset: str) -> list[int]:
        """The seeds over which a data set is run."""
        return self.facts(dataset).get("seeds", self.seeds)


class _ListedRun(Kept):
    """A run in about.json. It gives its settings, conditions and environments by their places in the lists."""

    settings: int | None = None
    conditions: int | None = None
    architecture: int | None = None
    versions: int | None = None
    absent: int | None = None
    environment: int | None = None
    earlier_environments: list[int] = Field(default_factory=list)
    digest_weights: str = ""
    digest_scores: str = ""
    stale: bool = False
    changed: list[str] = Field(default_factory=list, max_length=1000)


class _Dataset(Facts):
    seeds: list[Count] = Field(default_factory=list)


class _Unmeasured(BaseModel):
    """A data set whose facts no run has recorded."""

    model_config = ConfigDict(strict=True, extra="forbid")

    seeds: list[Count]


class _Format(BaseModel):
    """The format of about.json."""

    model_config = ConfigDict(strict=True)

    suite: str = ""
    description: str = ""
    extractor: str | None = None
    protocol: str | None = None
    methods: list[Name] = []
    seeds: list[Count] = []
    axis: str = ""
    published: str = ""
    shown: Shown = Shown()
    datasets: dict[Name, _Dataset | _Unmeasured] = {}
    declined: dict[str, str] = {}  # a file of old has these two in place of its runs
    failed: dict[str, str] = {}
    settings: list[dict[str, Any]] = []
    conditions: list[dict[str, Any]] = []
    architecture: list[Architecture] = []
    versions: list[Versions] = []
    absent: list[Reasons] = []
    environments: list[Environment] = []
    runs: list[_ListedRun] = []


def read(folder: Path) -> About:
    """The content of a suite's about.json, empty where there is no file. RunError with what to do when it is damaged.

    A file of old has neither its runs nor a seal.
    """
    file = folder / ABOUT
    if not file.exists():
        return About(lists_done=False)
    try:
        found = disk.read_json(file)
        if not isinstance(found, dict) or {"seal", "runs"} & found.keys():
            found = disk.read_record(file)
        _Format.model_validate(found)
        for name in ("datasets", "settings", "conditions", "environments"):
            disk.canonical(found.get(name))
        return _about(found)
    except (ValueError, RecursionError, IndexError) as error:
        raise RunError(f"{file}: damaged, not what `report` writes ({reason_of(error)}). {RESTORE}") from error
    except RunError as error:
        raise RunError(f"{error} {RESTORE}") from error


def _about(found: dict[str, Any]) -> About:
    texts: dict[str, Any] = {name: found.get(name) or "" for name in _TEXTS}
    known = {name: found[name] for name in ("methods", "seeds", "datasets", "shown") if name in found}
    about = About(**texts, **known, lists_done="runs" in found)
    about.runs.extend(_run(found, entry) for entry in found.get("runs", []))
    about.runs.extend(_runs_of_old(about, found))
    return about


def _run(found: dict[str, Any], entry: dict[str, Any]) -> Run:
    def listed(name: str, place: int | None) -> Any:
        return None if place is None else found[name][place]

    places = [*entry.get("earlier_environments", []), entry.get("environment")]
    return Run(
        entry["dataset"],
        entry["method"],
        entry["seed"],
        entry["status"],
        entry.get("reason", "")[:LONGEST],
        **{name: listed(name, entry.get(name)) for name in _LISTS},
        environments=tuple(listed("environments", place) for place in places if place is not None),
        facts=found.get("datasets", {}).get(entry["dataset"], {}),
        changed=tuple(entry.get("changed", ())),
        **{name: entry[name] for name in _KEPT if name in entry},
    )


def _runs_of_old(about: About, found: dict[str, Any]) -> Iterator[Run]:
    """The runs that `failed` and `declined` name."""
    for name, reason in found.get("failed", {}).items():
        dataset, method, seed = name.split("/")
        yield Run(dataset, method, int(seed), "failed", reason)
    for name, reason in found.get("declined", {}).items():
        dataset, method = name.split("/")
        yield from (Run(dataset, method, seed, "declined", reason) for seed in about.seeds_of(dataset))


def compose(suite: str, runs: list[Run], before: About) -> About:
    """The suite as these runs record it. What no run here records is taken from `before`."""
    here = [run for run in runs if run.folder]
    ranks = {name: place for place, name in enumerate(before.methods)}
    ranks |= {run.method: run.plan["order"] for run in here if not run.is_control}
    datasets = _datasets(runs, before)
    protocols = ((run.settings or {}).get("protocol") for run in here)
    return About(
        suite,
        description=next((run.plan["description"] for run in here), before.description),
        extractor=next((run.extractor for run in here if run.extractor), before.extractor),
        protocol=next(filter(None, protocols), before.protocol),
        axis=next((run.plan.get("axis", "") for run in here), before.axis),
        published=next((run.plan.get("published", "") for run in here), before.published),
        methods=sorted(ranks, key=lambda name: (ranks[name], name)),
        seeds=sorted({seed for facts in datasets.values() for seed in facts["seeds"]}),
        datasets=datasets,
        shown=shown_of(runs, before),
        runs=runs,
    )


def joined(first: About, second: About) -> About:
    """What two records say of one suite, the first where both say something. The runs are those of the first."""
    texts = {name: getattr(first, name) or getattr(second, name) for name in _TEXTS}
    datasets = {}
    for name in sorted({*first.datasets, *second.datasets}):
        seeds = sorted({*first.facts(name).get("seeds", []), *second.facts(name).get("seeds", [])})
        datasets[name] = {**second.facts(name), **first.facts(name), "seeds": seeds}
    return replace(
        first,
        **texts,
        methods=list(dict.fromkeys([*first.methods, *second.methods])),
        seeds=sorted({*first.seeds, *second.seeds}),
        datasets=datasets,
        shown={
            kind: second.shown.get(kind, {}) | first.shown.get(kind, {}) for kind in {**second.shown, **first.shown}
        },
    )


def shown_of(runs: Iterable[Run], before: About) -> dict[str, dict[str, Any]]:
    """The labels of plug-ins and variants that runs, and about.json before them, record; {} as a rule."""
    found: dict[str, dict[str, Any]] = {kind: dict(own) for kind, own in before.shown.items()}
    for run in runs:
        for kind, own in run.shown.items():
            found.setdefault(kind, {}).update(own)
    return found


def _datasets(runs: list[Run], before: About) -> dict[str, dict[str, Any]]:
    """The facts of each data set, from a run here where one has them, and all its seeds."""
    found: dict[str, dict[str, Any]] = {}
    for name in sorted({*before.datasets, *(run.dataset for run in runs)}):
        own = [run for run in runs if run.dataset == name]
        here = [run for run in own if run.folder]
        known = before.facts(name)
        planned = {seed for run in here for seed in run.plan["seeds"]} if here else {*known.get("seeds", [])}
        facts = next((run.facts for run in here if run.facts), known)
        found[name] = {**facts, "seeds": sorted(planned | {run.seed for run in own})}
    return found


def write(folder: Path, about: About) -> None:
    """Write about.json with its seal."""
    lists = _Lists()
    record: dict[str, Any] = {
        "suite": about.suite,
        "description": about.description,
        "extractor": about.extractor or None,
        "protocol": about.protocol or None,
        "methods": about.methods,
        "seeds": about.seeds,
        "datasets": about.datasets,
        "runs": [lists.entry(run) for run in about.runs],
    }
    record |= {name: value for name in ("axis", "published", "shown") if (value := getattr(about, name))}
    for name in ("versions", "absent"):
        if not lists.distinct[name]:  # as in a file of old
            del lists.distinct[name]
    disk.write_record(folder / ABOUT, record | lists.distinct)


class _Lists:
    """The distinct settings, conditions, architectures and environments of runs, each once."""

    def __init__(self) -> None:
        self.distinct: dict[str, list[Any]] = {name: [] for name in (*_LISTS, "environments")}
        self.places: dict[tuple[str, str], int] = {}
        self.seen: dict[tuple[str, int], int] = {}  # by identity: thousands of runs share a table

    def place(self, name: str, value: dict[str, Any]) -> int:
        """The place of a value in its list."""
        if (name, id(value)) not in self.seen:
            found = self.distinct[name]
            self.seen[name, id(value)] = at = self.places.setdefault((name, disk.canonical(value)), len(found))
            if at == len(found):
                found.append(value)
        return self.seen[name, id(value)]

    def entry(self, run: Run) -> dict[str, Any]:
        """The entry of a run, as `_ListedRun` describes it."""
        entry: dict[str, Any] = {"dataset": run.dataset, "method": run.method, "seed": run.seed, "status": run.status}
        entry |= {
            name: value for name in ("reason", *_KEPT) if (value := getattr(run, name)) not in ("", None, False, {})
        }
        for name in _LISTS:
            if (value := getattr(run, name)) is not None:
                entry[name] = self.place(name, value)
        places = [self.place("environments", value) for value in run.environments]
        if run.changed:
            entry["changed"] = list(run.changed)
        if places:
            entry["environment"] = places[-1]
        if places[1:]:
            entry["earlier_environments"] = places[:-1]
        return entry
