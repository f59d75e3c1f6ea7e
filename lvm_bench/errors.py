"""The reasons why a command ends early: a user's mistake (exit code 2), a failed run or disk (1), a stop (75)."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake that the user can mend. Its sentences say where, which value, what is valid and what to do."""


class TooFewImages(UserError):
    """A data set has fewer images than its splits or its metrics need."""


class Undefined(UserError):
    """A metric has no value for these samples. A run is scored without it, and the reason is told."""


class RunError(Exception):
    """A run could not be finished, for instance because a loss became NaN. Other runs go on."""


class StorageError(RunError):
    """The results cannot be written. All runs stop, because none could be kept."""


class DeviceError(RunError):
    """The GPU fails for the rest of this process. All runs of the process stop."""


class Stopped(Exception):
    """A signal or the time budget asked to stop, and everything is saved."""


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """The end of an error about an unknown name: the nearest valid name, then all valid names."""
    choices = sorted(valid)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{hint} Valid: {', '.join(choices) if choices else '(none)'}."
