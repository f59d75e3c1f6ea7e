"""job.json, the record of a run: its format, and the runs of a suite as their records tell."""

import os
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, ValidationError

from lvm_bench import disk
from lvm_bench.errors import RunError
from lvm_bench.registry import check_label
from lvm_bench.runs.layout import MADE, RECORD, SEEDS, WEIGHTS, Key, is_empty, run_folders
from lvm_bench.runs.measured import later_versions
from lvm_bench.suites.job import MOST_SECONDS, Plan, is_control
from lvm_bench.text import check_name, one_line

AGAIN = "Delete it, if it is there, and give its `lvm-bench run` again: it is made again."

DELETE = "Delete the folder and give its `lvm-bench run` again."

Status = Literal["running", "trained", "done", "failed", "declined"]  # states of `standing.State` that are kept

DEEPEST = 8  # tables in tables

LONGEST = 1000  # characters of a reason that are shown

Name = Annotated[str, AfterValidator(cache(partial(check_name, "run's")))]

Label = Annotated[str, AfterValidator(check_label)]

Count = Annotated[int, Field(ge=0, lt=SEEDS)]

Seconds = Annotated[float, Field(ge=0, le=MOST_SECONDS)]


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class Factors(_Checked):
    """The ground-truth factors of a data set."""

    names: Annotated[list[str], Field(max_length=64)]
    sizes: Annotated[list[Count], Field(max_length=64)]


class Facts(_Checked):
    """The facts of a data set that captions state."""

    latent: Count
    heldout: Count
    heldout_split: str
    reference: Count
    reference_split: str
    samples: Count
    kid_subsets: Count
    kid_subset_size: Count
    neighbours: Count = 5
    importance_samples: Count = 500
    bound_images: Count = 1000
    weights: str = "last"
    extractor_note: str = ""
    expost_note: str = ""
    novel: str = ""
    factors: Factors | None = None


class Environment(_Checked):
    """The machine, the versions and the date of a run."""

    model_config = ConfigDict(extra="forbid")

    versions: dict[str, str]
    commit: str | None
    device: str
    host: str = ""
    threads: Count
    date: str = ""


class _Shown(_Checked):
    """The label of a method or data set that a plain installation does not know."""

    model_config = ConfigDict(extra="forbid")

    label: Label = ""
    reference: bool = False
    note: str = ""


class _ShownMetric(_Checked):
    """The label, direction and table of a metric that a plain installation does not know."""

    model_config = ConfigDict(extra="forbid")

    better: Literal["lower", "higher", "none"]
    label: Label = ""
    table: str = ""


class Shown(_Checked):
    """Labels and directions from decorators and tables of variants, by name; see `suites.labels`."""

    model_config = ConfigDict(extra="forbid")

    # Of thousands of records, pydantic would copy a default of {} deeply.
    methods: dict[Name, _Shown] = Field(default_factory=dict)
    datasets: dict[Name, _Shown] = Field(default_factory=dict)
    metrics: dict[str, _ShownMetric] = Field(default_factory=dict)


class Fingerprint(_Checked):
    """A file's size and SHA-256."""

    bytes: Count
    sha256: str


LONGEST_LAYER = 100  # characters

STAGE = "stage "  # begins the name of a part that a later stage of the training optimises

Layer = Annotated[str, Field(max_length=LONGEST_LAYER)]

Architecture = dict[Annotated[str, Field(max_length=LONGEST_LAYER)], Annotated[list[Layer], Field(max_length=1000)]]


Reasons = Annotated[
    dict[Annotated[str, Field(max_length=200)], Annotated[str, Field(max_length=LONGEST)]], Field(max_length=1000)
]  # why a run has no number, by metric and variant

Versions = dict[Annotated[str, Field(max_length=100)], Annotated[int, Field(ge=1, lt=10**6)]]  # of metrics


class Costs(_Checked):
    """The costs of a run."""

    parameters: Count | None = None
    updates: Count | None = None  # of the model
    images_encoded: Count | None = None  # in training
    seconds_training: Seconds | None = None
    seconds_evaluation: Seconds | None = None
    peak_memory: Count | None = None  # MiB


COSTS = tuple(Costs.model_fields)


class Kept(Costs):
    """The entries of a run that both job.json and about.json keep."""

    dataset: Name
    method: Name
    seed: Count
    status: Status
    reason: str = ""
    fingerprint: str = ""  # of the data


class _Record(Kept):
    """The format of job.json."""

    suite: str
    settings: InstanceOf[dict]
    conditions: InstanceOf[dict]
    digest_weights: str
    digest_scores: str
    plan: Plan
    shown: Shown = Field(default_factory=Shown)
    facts: Annotated[Facts | None, BeforeValidator(lambda facts: facts or None)] = None
    extractor: str | None = None
    environment: Environment
    earlier_environments: list[Environment] = Field(default_factory=list)
    architecture: Architecture | None = None
    measured: Versions = Field(default_factory=dict)
    absent: Reasons = Field(default_factory=dict)
    files: dict[Literal[MADE], Fingerprint]  # type: ignore[valid-type]


@dataclass(frozen=True, slots=True)
class Run:
    """A run as its record tells, or as about.json does: then without a folder, and with what that keeps alone."""

    dataset: str
    method: str
    seed: int
    status: Status
    reason: str = ""
    folder: Path | None = None
    settings: dict[str, Any] | None = None  # without the seed
    conditions: dict[str, Any] | None = None
    environments: tuple[dict[str, Any], ...] = ()  # without dates; the last one is where it was finished
    fingerprint: str = ""  # of the data
    digest_weights: str = ""
    digest_scores: str = ""
    parameters: int | None = None
    updates: int | None = None  # of the model
    images_encoded: int | None = None  # in training
    seconds_training: float | None = None
    seconds_evaluation: float | None = None
    peak_memory: int | None = None  # MiB
    architecture: dict[str, list[str]] | None = None  # the layers of each part; what follows from an argument
    changed: tuple[str, ...] = ()  # from the suite's own settings: `epochs 60 -> 10`
    stale: bool = False  # committed, and other seeds of its method were run anew with other settings since
    extractor: str | None = None
    plan: dict[str, Any] = field(default_factory=dict)
    shown: dict[str, Any] = field(default_factory=dict)  # of plug-ins and variants
    facts: dict[str, Any] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, int] | None = None  # of the metrics that it was measured with, where one is not the first
    absent: dict[str, str] | None = None  # by metric and variant, what its method lacks for a number

    @property
    def key(self) -> Key:
        """Its data set, method and seed: no other run of its suite has the same."""
        return self.dataset, self.method, self.seed

    @property
    def is_control(self) -> bool:
        """Whether it measures the floor of a metric, without a model."""
        return is_control(self.method)

    @property
    def place(self) -> tuple[str, str]:
        """The data set and the method, whose seeds are averaged."""
        return self.dataset, self.method

    def content(self, name: str) -> bytes:
        """The content of one of its files. RunError with what to do unless it is the recorded file."""
        assert self.folder is not None
        if name not in self.files:
            raise RunError(f"{self.folder / name}: is not in the record of a finished run. {DELETE}")
        try:
            return disk.read_whole(self.folder / name, self.files[name])
        except RunError as error:
            raise RunError(f"{error} {AGAIN}") from error


def read_runs(suite: Path) -> tuple[list[Run], dict[Key, str]]:
    """The runs of a suite with a sound record, sorted, and for each damaged one a sentence with what to do.

    RunError when a link leads its runs out of the results.
    """
    disk.check_inside(suite.parent, suite / "runs")
    pool = _Pool()
    runs, damaged = [], {}
    for folder, key, linked in run_folders(suite):
        try:
            if linked:
                disk.check_inside(suite.parent, folder)
            runs.append(_run(folder, key, pool))
        except OSError as error:
            damaged[key] = unreadable(folder, error)
        except RunError as error:
            if (folder / RECORD).exists() or not is_empty(folder):
                damaged[key] = f"{error} {DELETE}"
    return runs, damaged


def unreadable(folder: Path, error: OSError) -> str:
    """A sentence on a folder that the system does not let us read."""
    return f"{folder}: cannot be read ({error.strerror}). Change its permissions, or delete it."


class _Pool:
    """Keeps equal tables of thousands of records once."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, ...], list[dict[str, Any]]] = {}

    def one(self, table: dict[str, Any], *place: str) -> dict[str, Any]:
        """The table itself, or the equal one that came before it in the same place."""
        known = self.known.setdefault(place, [])
        for other in known:
            if other == table:
                return other
        known.append(table)
        return table


def checked_record(folder: Path, key: Key) -> dict[str, Any]:
    """The record in a run's folder; RunError unless it is whole, of the known format and of this very run."""
    file = os.path.join(folder, RECORD)
    record = disk.read_record(file)
    try:
        _Record.model_validate(record)
    except ValidationError as error:
        raise RunError(f"{file}: not the record of a run ({reason_of(error)}).") from error
    if _is_deep([record["settings"], record["conditions"], record.get("facts") or {}], DEEPEST + 1):
        raise RunError(f"{file}: not the record of a run (a setting is nested more than {DEEPEST} deep).")
    if (record["dataset"], record["method"], record["seed"]) != key or record["settings"].get("seed") != key[2]:
        raise RunError(
            f"{file}: is the record of {record['dataset']!r}, {record['method']!r}, seed {record['seed']}, "
            "not of the run whose folder it is in."
        )
    return record


def scores_identity(record: dict[str, Any]) -> str:
    """A digest of whatever decides a run's scores: settings, data, the weights that are scored."""
    weights = record["files"].get(WEIGHTS[record["settings"].get("weights", "last")])
    return disk.digest([record["digest_scores"], record["fingerprint"], weights])


def _is_deep(value: dict[str, Any] | list[Any], levels: int = DEEPEST) -> bool:
    """Whether there are more tables in tables than settings have."""
    items = value.values() if type(value) is dict else value
    inner = [item for item in items if type(item) is dict or type(item) is list]  # of JSON there are no others
    return levels < 0 or any([_is_deep(item, levels - 1) for item in inner])


def reason_of(error: Exception) -> str:
    """A few words on what is wrong, and where."""
    if not isinstance(error, ValidationError):
        return "a place outside its list" if isinstance(error, IndexError) else "too deep"
    first = error.errors()[0]
    return one_line(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")


def _run(folder: Path, key: Key, pool: _Pool) -> Run:
    record = checked_record(folder, key)
    dataset, method, seed = key
    place = (dataset, method)
    environments = [*record.get("earlier_environments", ()), record["environment"]]
    known = ("fingerprint", *COSTS, "extractor")
    return Run(
        dataset,
        method,
        seed,
        record["status"],
        record.get("reason", "")[:LONGEST],
        folder,
        settings=pool.one(without(record["settings"], "seed"), "settings", *place),
        conditions=pool.one(record["conditions"], "conditions", *place),
        environments=tuple(pool.one(without(found, "date"), "environment", method) for found in environments),
        digest_weights=record["digest_weights"],
        digest_scores=record["digest_scores"],
        plan=pool.one(record["plan"], "plan", *place),
        shown=pool.one(record.get("shown", {}), "shown", *place),
        facts=pool.one(record.get("facts") or {}, "facts", *place),
        architecture=pool.one(record["architecture"], "architecture", *place) if "architecture" in record else None,
        files=record["files"],
        versions=pool.one(versions, "versions") if (versions := later_versions(record)) else None,
        absent=pool.one(record["absent"], "absent") if record.get("absent") else None,
        changed=tuple(record["plan"].get("changed", ())),
        **{name: record[name] for name in known if name in record},
    )


def without(table: dict[str, Any], key: str) -> dict[str, Any]:
    """The table without one of its keys."""
    return {name: value for name, value in table.items() if name != key}
