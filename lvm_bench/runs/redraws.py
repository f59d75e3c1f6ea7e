"""Further evaluations of a finished run, which differ from its scores in their random draws alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lvm_bench import disk
from lvm_bench.errors import RunError
from lvm_bench.runs.layout import REDRAWN
from lvm_bench.runs.measured import measured
from lvm_bench.runs.record import Versions, reason_of, scores_identity

_VERSIONS = TypeAdapter(list[Versions])


@dataclass(frozen=True)
class Redraw:
    """The scores of one further evaluation, and the versions of the metrics that it was asked for."""

    scores: dict[str, Any]
    measured: dict[str, int]


def redraws_of(folder: Path, record: dict[str, Any]) -> list[Redraw]:
    """A run's further evaluations, [] if there are none. RunError if they belong to other scores than its record's.

    A file without versions is from when every metric was in its first.
    """
    file = folder / REDRAWN
    if not file.is_file():
        return []
    found = disk.read_record(file)
    scores = found.get("redraws")
    if found.get("identity") != scores_identity(record) or not isinstance(scores, list):
        raise RunError(f"{file}: was made with other weights or settings than the scores beside it.")
    first = [dict.fromkeys(measured(record), 1)] * len(scores)
    try:
        versions = _VERSIONS.validate_python(found.get("measured", first), strict=True)
    except ValidationError as error:
        raise RunError(f"{file}: holds no versions of metrics ({reason_of(error)}).") from error
    if len(versions) != len(scores):
        raise RunError(f"{file}: holds {len(scores)} further evaluations, and versions of metrics for {len(versions)}.")
    return [Redraw(*each) for each in zip(scores, versions, strict=True)]


def store_redraws(folder: Path, record: dict[str, Any], redraws: Sequence[Redraw]) -> None:
    """Write a run's further evaluations, which belong to the scores of this record."""
    scores, versions = [each.scores for each in redraws], [each.measured for each in redraws]
    disk.write_record(folder / REDRAWN, {"identity": scores_identity(record), "redraws": scores, "measured": versions})
