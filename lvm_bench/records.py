"""The runs of a results folder, as their own records tell: what `report`, `list runs` and `verify` read."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf, ValidationError

from lvm_bench import store
from lvm_bench.errors import RunError, UserError, did_you_mean

RECORD, SCORES, HISTORY, IMAGES, SWEEPS = "job.json", "scores.json", "history.csv", "images.npz", "sweeps.npz"
CODES = "codes.npz"
MOST_CODES = 1000  # held-out codes that a run leaves for figures
REDRAWN, REDRAWING = "resampled.json", "resampled.partial.json"  # sealed, and in no record: they belong to no digest
WEIGHTS = {"last": "model.safetensors", "best": "best.safetensors"}
TRAINED = (HISTORY, "model.safetensors", "best.safetensors")
MADE = (*TRAINED, SCORES, IMAGES, CODES, SWEEPS)  # what a record may list
FINISHED = ("done", "declined")  # status of runs with nothing left to do
CONTROLS = ("real-images", "standard-normal")  # held-out images as samples, exact prior draws as codes
AGAIN = "Delete it, if it is there, and give its `lvm-bench run` again: it is made again."
COSTS = ("parameters", "updates", "images_encoded", "seconds_training", "seconds_evaluation", "peak_memory")
DELETE = "Delete the folder and give its `lvm-bench run` again."

Key = tuple[str, str, int]  # data set, method, seed
Status = Literal["running", "trained", "done", "failed", "declined"]
# Bounds for what somebody who means harm may have sealed: names become paths, numbers are summed and written out.
SEEDS = 2**63  # seeds are below
MOST_SECONDS = 1e12
DEEPEST = 8  # tables in tables
LONGEST = 1000  # characters of a reason that are shown
Name = Annotated[str, AfterValidator(cache(partial(store.check_name, "run's")))]
Count = Annotated[int, Field(ge=0, lt=SEEDS)]
Seconds = Annotated[float, Field(ge=0, le=MOST_SECONDS)]


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class Factors(_Checked):
    """The ground-truth factors of a data set."""

    names: Annotated[list[str], Field(max_length=64)]
    sizes: Annotated[list[Count], Field(max_length=64)]


class Facts(_Checked):
    """What captions say of a data set."""

    latent: Count
    heldout: Count
    heldout_split: str
    reference: Count
    reference_split: str
    samples: Count
    kid_subsets: Count
    kid_subset_size: Count
    neighbours: Count = 5
    weights: str = "last"
    extractor_note: str = ""
    novel: str = ""
    factors: Factors | None = None


class Environment(_Checked):
    """Where and with what a run was made."""

    model_config = ConfigDict(extra="forbid")

    versions: dict[str, str]
    commit: str | None
    device: str
    host: str = ""
    threads: Count
    date: str = ""


class Plan(_Checked):
    """What a suite says around a run."""

    model_config = ConfigDict(extra="forbid")

    description: str
    order: Count
    seeds: list[Count]
    axis: str = ""


class Fingerprint(_Checked):
    """A file's size and SHA-256."""

    bytes: Count
    sha256: str


Layer = Annotated[str, Field(max_length=100)]
Architecture = dict[Literal["encoder", "decoder", "adversary"], Annotated[list[Layer], Field(max_length=1000)]]


class _Record(_Checked):
    """The format of job.json."""

    suite: str
    dataset: Name
    method: Name
    seed: Count
    status: Status
    reason: str = ""
    settings: InstanceOf[dict]
    conditions: InstanceOf[dict]
    digest_weights: str
    digest_scores: str
    plan: Plan
    facts: Annotated[Facts | None, BeforeValidator(lambda facts: facts or None)] = None
    extractor: str | None = None
    fingerprint: str = ""
    environment: Environment
    earlier_environments: list[Environment] = []
    parameters: Count | None = None
    updates: Count | None = None
    images_encoded: Count | None = None
    seconds_training: Seconds | None = None
    seconds_evaluation: Seconds | None = None
    peak_memory: Count | None = None
    architecture: Architecture | None = None
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
    architecture: dict[str, list[str]] | None = None  # the layers of each part
    extractor: str | None = None
    plan: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """What tells it from the other runs of its suite."""
        return self.dataset, self.method, self.seed

    @property
    def is_control(self) -> bool:
        """Whether it measures the floor of a metric, without a model."""
        return self.method in CONTROLS

    @property
    def place(self) -> tuple[str, str]:
        """The data set and the method, whose seeds are averaged."""
        return self.dataset, self.method

    def content(self, name: str) -> bytes:
        """What one of its files holds; RunError with what to do unless it is the recorded one."""
        assert self.folder is not None
        if name not in self.files:
            raise RunError(f"{self.folder / name}: is not in the record of a finished run. {DELETE}")
        try:
            return store.read_whole(self.folder / name, self.files[name])
        except RunError as error:
            raise RunError(f"{error} {AGAIN}") from error


def suites(results: Path, suite: str | None) -> list[Path]:
    """The folders with results: the named one, or all. UserError when there is none, or one of no name."""
    found = {
        folder.name: folder
        for folder in sorted(results.glob("*"))
        if store.is_name(folder.name)
        if (folder / "runs").is_dir() or any((folder / name).is_file() for name in ("scores.csv", "files.json"))
    }
    if not found:
        raise UserError(f"{results}: no results here. Run a suite first, for instance: lvm-bench run --suite quick")
    if suite is not None and suite not in found:
        raise UserError(f"{results}: no results of a suite {suite!r}.{did_you_mean(suite, found)}")
    return [found[store.check_name("suite", name)] for name in ([suite] if suite is not None else found)]


def folders(suite: Path) -> Iterator[tuple[Path, Key]]:
    """The folders of a suite's runs and controls with what their paths say, sorted; others are passed over."""
    for dataset in _subfolders(suite / "runs"):
        for method in _subfolders(dataset):
            found = {int(digits): folder for folder in _subfolders(method) if (digits := _seed_of(folder.name))}
            for seed, folder in sorted(found.items()):
                yield folder, (dataset.name, method.name, seed)


def _subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir())
    except OSError:
        return []
    return [folder / name for name in names]


def _seed_of(name: str) -> str:
    """The seed in the name of a run's folder; "" where it is none."""
    digits = name.removeprefix("seed-")
    return digits if is_seed(digits) and name == f"seed-{int(digits)}" else ""


def is_seed(digits: str) -> bool:
    """Whether a text is a number that a seed can be."""
    return digits.isascii() and digits.isdecimal() and len(digits) < 20 and int(digits) < SEEDS


def read(suite: Path) -> tuple[list[Run], dict[Key, str]]:
    """The runs of a suite with a sound record, sorted, and for each damaged one a sentence with what to do.

    RunError when a link leads its runs out of the results.
    """
    store.check_inside(suite.parent, suite / "runs")
    pool = _Pool()
    runs, damaged = [], {}
    for folder, key in folders(suite):
        try:
            if any(map(os.path.islink, (folder, folder.parent, folder.parent.parent))):
                store.check_inside(suite.parent, folder)
            runs.append(_run(folder, key, pool))
        except OSError as error:
            damaged[key] = f"{folder}: cannot be read ({error.strerror}). Change its permissions, or delete it."
        except RunError as error:
            if (folder / RECORD).exists() or not is_empty(folder):
                damaged[key] = f"{error} {DELETE}"
    return runs, damaged


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but what somebody at work leaves first: a claim and half-written files."""
    return all(name.startswith((".lock", ".lease", store.TEMPORARY)) for name in os.listdir(folder))


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


def checked(folder: Path, key: Key) -> dict[str, Any]:
    """The record in a run's folder; RunError unless it is whole, of the known format and of this very run."""
    file = folder / RECORD
    record = store.read_record(file)
    try:
        _Record.model_validate(record)
    except ValidationError as error:
        raise RunError(f"{file}: not the record of a run ({reason_of(error)}).") from error
    if any(_is_deep(record.get(name) or {}) for name in ("settings", "conditions", "facts")):
        raise RunError(f"{file}: not the record of a run (a setting is nested more than {DEEPEST} deep).")
    if (record["dataset"], record["method"], record["seed"]) != key or record["settings"].get("seed") != key[2]:
        raise RunError(
            f"{file}: is the record of {record['dataset']!r}, {record['method']!r}, seed {record['seed']}, "
            "not of the run whose folder it is in."
        )
    return record


def identity(record: dict[str, Any]) -> str:
    """A digest of whatever decides a run's scores: settings, data, the weights that are scored."""
    weights = record["files"].get(WEIGHTS[record["settings"].get("weights", "last")])
    return store.digest([record["digest_scores"], record["fingerprint"], weights])


def redraws(folder: Path, expected: str) -> list[Any]:
    """What further evaluations of a run scored, [] where there are none; RunError where they are of other scores."""
    file = folder / REDRAWN
    if not file.is_file():
        return []
    found = store.read_record(file)
    if found.get("identity") != expected or not isinstance(found.get("redraws"), list):
        raise RunError(f"{file}: was made with other weights or settings than the scores beside it.")
    return found["redraws"]


def _is_deep(value: dict[str, Any] | list[Any], levels: int = DEEPEST) -> bool:
    """Whether there are more tables in tables than settings have."""
    items = value.values() if isinstance(value, dict) else value
    return levels < 0 or any(_is_deep(item, levels - 1) for item in items if isinstance(item, dict | list))


def reason_of(error: Exception) -> str:
    """What is wrong, and where, in a few words."""
    if not isinstance(error, ValidationError):
        return "a place outside its list" if isinstance(error, IndexError) else "too deep"
    first = error.errors()[0]
    return one_line(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")


def _run(folder: Path, key: Key, pool: _Pool) -> Run:
    record = checked(folder, key)
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
        facts=pool.one(record.get("facts") or {}, "facts", *place),
        architecture=pool.one(record["architecture"], "architecture", *place) if "architecture" in record else None,
        files=record["files"],
        **{name: record[name] for name in known if name in record},
    )


def without(table: dict[str, Any], key: str) -> dict[str, Any]:
    """The table without one of its keys."""
    return {name: value for name, value in table.items() if name != key}


def one_line(text: str) -> str:
    """A text on one line; what a terminal would not print becomes a question mark."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def listed(items: Iterable[Any], most: int = 6, between: str = ", ") -> str:
    """A few items as text, and how many more there are."""
    texts = list(map(str, items))
    return between.join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
