"""about.json: what a suite's scores come from, written by `report` so that its tables need no run's folder."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from lvm_bench import disk
from lvm_bench.errors import RunError
from lvm_bench.runs.checksums import RESTORE
from lvm_bench.runs.layout import Key
from lvm_bench.runs.record import (
    COSTS,
    LONGEST,
    Architecture,
    Count,
    Environment,
    Facts,
    Name,
    Run,
    Seconds,
    Status,
    reason_of,
)

FILE = "about.json"

_KEPT = ("digest_weights", "digest_scores", *COSTS, "fingerprint")

_LISTS = ("settings", "conditions", "architecture")  # of which equal ones stand once


class _Entry(BaseModel):
    """A run in about.json; its settings, conditions and environments by their places in the lists."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    dataset: Name
    method: Name
    seed: Count
    status: Status
    reason: str = ""
    settings: int | None = None
    conditions: int | None = None
    architecture: int | None = None
    environment: int | None = None
    earlier_environments: list[int] = []
    digest_weights: str = ""
    digest_scores: str = ""
    parameters: Count | None = None
    updates: Count | None = None
    images_encoded: Count | None = None
    seconds_training: Seconds | None = None
    seconds_evaluation: Seconds | None = None
    peak_memory: Count | None = None
    fingerprint: str = ""


class _Dataset(Facts):
    seeds: list[Count] = Field(default_factory=list)


class _Unmeasured(BaseModel):
    """A data set of which no run came as far as its facts."""

    model_config = ConfigDict(strict=True, extra="forbid")

    seeds: list[Count]


class _About(BaseModel):
    model_config = ConfigDict(strict=True)

    suite: str = ""
    description: str = ""
    extractor: str | None = None
    protocol: str | None = None
    methods: list[Name] = []
    seeds: list[Count] = []
    axis: str = ""
    datasets: dict[Name, _Dataset | _Unmeasured] = {}
    declined: dict[str, str] = {}  # these two where the runs themselves do not stand in it, as of old
    failed: dict[str, str] = {}
    settings: list[dict[str, Any]] = []
    conditions: list[dict[str, Any]] = []
    architecture: list[Architecture] = []
    environments: list[Environment] = []
    runs: list[_Entry] = []


def read(folder: Path) -> dict[str, Any]:
    """A suite's about.json, {} where there is none; RunError with what to do when it is damaged.

    One of old, without its runs, has no seal.
    """
    file = folder / FILE
    if not file.exists():
        return {}
    try:
        about = disk.read_json(file)
        if not isinstance(about, dict) or {"seal", "runs"} & about.keys():
            about = disk.read_record(file)
        _About.model_validate(about)
        committed(about, ())
        for name in ("datasets", "settings", "conditions", "environments"):
            disk.canonical(about.get(name))
    except (ValueError, RecursionError, IndexError) as error:
        raise RunError(f"{file}: damaged, not what `report` writes ({reason_of(error)}). {RESTORE}") from error
    except RunError as error:
        raise RunError(f"{error} {RESTORE}") from error
    return about


def committed(about: dict[str, Any], scored: Iterable[Key]) -> list[Run]:
    """The runs that about.json tells of, and those that only their scores tell of."""
    runs = [_of(about, entry) for entry in about.get("runs", [])]
    for name, reason in about.get("failed", {}).items():
        dataset, method, seed = name.split("/")
        runs.append(Run(dataset, method, int(seed), "failed", reason))
    for name, reason in about.get("declined", {}).items():
        dataset, method = name.split("/")
        seeds = about.get("datasets", {}).get(dataset, {}).get("seeds", about.get("seeds", []))
        runs += [Run(dataset, method, seed, "declined", reason) for seed in seeds]
    known = {run.key for run in runs}
    return runs + [Run(*key, "done") for key in scored if key not in known]


def _of(about: dict[str, Any], entry: dict[str, Any]) -> Run:
    places = [*entry.get("earlier_environments", []), entry.get("environment")]
    return Run(
        entry["dataset"],
        entry["method"],
        entry["seed"],
        entry["status"],
        entry.get("reason", "")[:LONGEST],
        **{name: _at(about, name, entry.get(name)) for name in _LISTS},
        environments=tuple(_at(about, "environments", place) for place in places if place is not None),
        **{name: entry[name] for name in _KEPT if name in entry},
    )


def _at(about: dict[str, Any], name: str, place: int | None) -> Any:
    return None if place is None else about[name][place]


def compose(suite: str, runs: list[Run], before: dict[str, Any]) -> dict[str, Any]:
    """What about.json says of these runs (those with a folder first among equals), over what it said before."""
    here = [run for run in runs if run.folder]
    ranks = {name: place for place, name in enumerate(before.get("methods", []))}
    ranks |= {run.method: run.plan["order"] for run in here if not run.is_control}
    lists = _Lists()
    about = {
        "suite": suite,
        "description": next((run.plan["description"] for run in here), before.get("description", "")),
        "extractor": next((run.extractor for run in here if run.extractor), before.get("extractor")),
        "protocol": next(filter(None, ((run.settings or {}).get("protocol") for run in here)), before.get("protocol")),
        "methods": sorted(ranks, key=lambda name: (ranks[name], name)),
        "datasets": _datasets(runs, before),
        "runs": [lists.entry(run) for run in runs],
    }
    if axis := next((run.plan.get("axis", "") for run in here), before.get("axis", "")):
        about["axis"] = axis
    about["seeds"] = sorted({seed for facts in about["datasets"].values() for seed in facts["seeds"]})
    return about | lists.distinct


def _datasets(runs: list[Run], before: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The facts of each data set: of a run here that was measured, else those of before; and all of its seeds."""
    found: dict[str, dict[str, Any]] = {}
    for name in sorted({*before.get("datasets", {}), *(run.dataset for run in runs)}):
        own = [run for run in runs if run.dataset == name]
        here = [run for run in own if run.folder]
        facts = before.get("datasets", {}).get(name, {})
        planned = {seed for run in here for seed in run.plan["seeds"]} if here else {*facts.get("seeds", [])}
        facts = next((run.facts for run in here if run.facts), facts)
        found[name] = {**facts, "seeds": sorted(planned | {run.seed for run in own})}
    return found


class _Lists:
    """The distinct settings, conditions and environments of runs, each once."""

    def __init__(self) -> None:
        self.distinct: dict[str, list[Any]] = {name: [] for name in (*_LISTS, "environments")}
        self.places: dict[tuple[str, str], int] = {}
        self.seen: dict[tuple[str, int], int] = {}  # the same by identity, for thousands of runs that share a table

    def place(self, name: str, value: dict[str, Any]) -> int:
        """Where a value stands in its list."""
        if (name, id(value)) not in self.seen:
            found = self.distinct[name]
            self.seen[name, id(value)] = at = self.places.setdefault((name, disk.canonical(value)), len(found))
            if at == len(found):
                found.append(value)
        return self.seen[name, id(value)]

    def entry(self, run: Run) -> dict[str, Any]:
        """What about.json keeps of a run."""
        entry: dict[str, Any] = {"dataset": run.dataset, "method": run.method, "seed": run.seed, "status": run.status}
        entry |= {name: value for name in ("reason", *_KEPT) if (value := getattr(run, name)) not in ("", None)}
        for name in _LISTS:
            if (value := getattr(run, name)) is not None:
                entry[name] = self.place(name, value)
        places = [self.place("environments", value) for value in run.environments]
        if places:
            entry["environment"] = places[-1]
        if places[1:]:
            entry["earlier_environments"] = places[:-1]
        return entry
