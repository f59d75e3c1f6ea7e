"""How a command ends early: the user's mistake (exit code 2), a run or a disk that failed (1), asked to stop."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake the user can mend. Its text is whole sentences: where, what value, what is valid, what to do."""


class RunError(Exception):
    """A run that could not be finished, for instance because a loss became NaN; other runs go on."""


class StorageError(RunError):
    """The results cannot be written: no run could be kept, so that all of them stop."""


class DeviceError(RunError):
    """The GPU computes nothing more in this process, whatever run comes next: all of them stop."""


class Stopped(Exception):
    """Asked to stop, after everything was saved: by a signal or by the time budget."""


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """The tail of an error about an unknown name: the nearest valid names, then all of them."""
    choices = sorted(valid)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{hint} Valid: {', '.join(choices) if choices else '(none)'}."
