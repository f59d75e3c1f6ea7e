"""The shape of a run's record, job.json: what else stands in one was not written by a run."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from lvm_bench import config, store
from lvm_bench.errors import RunError

FileName = Literal[
    "history.csv", "model.safetensors", "best.safetensors", "scores.json", "images.npz", "sweeps.npz"
]  # no path: a name is joined to the run's folder
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Fingerprint(BaseModel):
    bytes: int = Field(ge=0)
    sha256: Hex


class _Plan(BaseModel):
    description: str
    order: int
    seeds: list[config.Seed]


class _Environment(BaseModel):
    versions: dict[str, str]
    commit: str | None
    device: str
    host: str
    threads: int
    date: str


class _Record(BaseModel):
    suite: str
    dataset: str
    method: str
    seed: config.Seed
    status: Literal["running", "trained", "done", "failed", "declined"]
    reason: str = ""
    traceback: str = ""
    settings: dict[str, Any]
    conditions: dict[str, Any]
    digest_weights: Hex
    digest_scores: Hex
    plan: _Plan
    facts: dict[str, Any] = {}
    extractor: str | None = None
    fingerprint: Hex | None = None
    environment: _Environment
    earlier_environments: list[_Environment]
    parameters: int | None = None
    seconds_training: float | None = None
    seconds_evaluation: float | None = None
    files: dict[FileName, _Fingerprint]


def read(file: Path) -> dict[str, Any]:
    """A run's record; RunError where it is missing, damaged, or not what a run writes."""
    record = store.read_record(file)
    try:
        _Record.model_validate(record, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RunError(f"{file}: not the record of a run ({where}: {first['msg'].lower()}).") from error
    for path, reason in config.unfit({key: record.get(key, {}) for key in ("settings", "conditions", "facts")}):
        raise RunError(f"{file}: not the record of a run ({path}: {reason})")
    return record
