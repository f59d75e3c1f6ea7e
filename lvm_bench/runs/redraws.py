"""Further evaluations of a finished run, which differ from its scores in their random draws alone."""

from pathlib import Path
from typing import Any

from lvm_bench import disk
from lvm_bench.errors import RunError
from lvm_bench.runs.layout import REDRAWN


def redraws_of(folder: Path, expected: str) -> list[Any]:
    """The scores of a run's further evaluations, [] if there are none. RunError if they belong to other scores."""
    file = folder / REDRAWN
    if not file.is_file():
        return []
    found = disk.read_record(file)
    if found.get("identity") != expected or not isinstance(found.get("redraws"), list):
        raise RunError(f"{file}: was made with other weights or settings than the scores beside it.")
    return found["redraws"]
