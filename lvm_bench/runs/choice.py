"""choices/<data set>/<method>.json: the trials of a method, and the one that was chosen by its validation score."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lvm_bench import disk
from lvm_bench.errors import RunError
from lvm_bench.runs.layout import CHOICES
from lvm_bench.runs.record import Count, Label, Name, Seconds, reason_of
from lvm_bench.suites.job import Seed

AGAIN = "Delete it, and give its `lvm-bench tune` again."


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class Trial(_Checked):
    """What a trial set, its score on the validation split, or why it has none, and what it cost."""

    settings: dict[str, bool | int | float | str | list[Any] | None]
    score: float | None = None
    reason: str = ""
    seconds: Seconds = 0.0


class Choice(_Checked):
    """The trials of a method on a data set, and the place of the chosen one. The first trial had its own settings."""

    suite: Name
    dataset: Name
    method: Name
    label: Label
    score: str
    better: Literal["lower", "higher"]
    seed: Seed
    ranges: dict[str, str | list[Any]]
    trials: Annotated[list[Trial], Field(min_length=1, max_length=1000)]
    chosen: Count

    @property
    def own(self) -> Trial:
        """The trial with the method's own settings."""
        return self.trials[0]

    @property
    def best(self) -> Trial:
        """The chosen trial."""
        return self.trials[self.chosen]

    @property
    def failed(self) -> int:
        """How many trials have no finite score."""
        return sum(trial.score is None for trial in self.trials)


def best_of(scores: list[float | None], better: str) -> int:
    """The place of the best score, the first of equal ones; 0 where there is none. None is worse than any."""
    sign = -1 if better == "higher" else 1
    rated = [math.inf if score is None else sign * score for score in scores]
    return rated.index(min(rated))


def write(folder: Path, choice: Choice) -> None:
    """Write a choice into the folder of a tuned suite, unless the same stands there."""
    file = _file(folder, choice)
    text = disk.sealed(choice.model_dump())
    if not file.is_file() or file.read_bytes() != text.encode():
        disk.write_text(file, text)


def read(folder: Path) -> list[Choice]:
    """The choices of a tuned suite, sorted; [] elsewhere. RunError with what to do when one is damaged."""
    return [read_file(file) for file in files(folder)]


def files(folder: Path) -> list[Path]:
    """The files of the choices in the folder of a suite, sorted."""
    return sorted((folder / CHOICES).glob("*/*.json"))


def _file(folder: Path, choice: Choice) -> Path:
    return folder / CHOICES / choice.dataset / f"{choice.method}.json"


def read_file(file: Path) -> Choice:
    """The choice in a file. RunError with what to do when it is damaged."""
    try:
        found = Choice.model_validate(disk.read_record(file))
    except ValidationError as error:
        raise RunError(f"{file}: not what `lvm-bench tune` writes ({reason_of(error)}). {AGAIN}") from error
    except RunError as error:
        raise RunError(f"{error} {AGAIN}") from error
    if found.chosen >= len(found.trials) or (found.dataset, found.method) != (file.parent.name, file.stem):
        raise RunError(f"{file}: is of another method, or chooses a trial that there is not. {AGAIN}")
    return found
