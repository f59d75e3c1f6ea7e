"""Text: reading what others wrote, making it safe for a terminal, and putting words into lines and columns."""

import json
import math
import re
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any

from lvm_bench.errors import UserError

LONGEST = 80  # characters of a setting in a sentence

MOST_BYTES = 1_000_000  # of a file that a person writes, a hundred times the packaged configuration


def printable(text: str) -> str:
    """Text in which each character that is neither printable nor a line end is an escape, such as \\x1b."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def counted(count: int, what: str) -> str:
    """A count with its noun: `1 run`, `2,000 runs`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def shortened(value: object, most: int = 80) -> str:
    """The repr of a value, cut to `most` characters and three dots."""
    shown = repr(value)
    return shown if len(shown) <= most else f"{shown[:most]}..."


def read(file: Path) -> str:
    """The text of a file that a person wrote. UserError unless it is UTF-8 and of a sensible size."""
    try:
        # A device or a pipe may have no end.
        if file.exists() and not file.is_file():
            raise UserError(f"{file}: cannot be read, it is no file.")
        with file.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise UserError(f"{file}: cannot be read, it has more than {MOST_BYTES:,} bytes.")
        return content.decode()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: cannot be read, it is not UTF-8 ({error.reason} at byte {error.start:,}).") from error


def one_line(text: str) -> str:
    """A text on one line, in which characters that a terminal would not print become question marks."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def of_error(error: BaseException) -> str:
    """`Error: its text` on one line; `Error` alone where it has no text."""
    return ": ".join(filter(None, (type(error).__name__, one_line(str(error)))))


def setting_text(value: Any) -> str:
    """A setting's value as a sentence shows it, on one line and cut to a few words."""
    if value is None:
        return "not set"
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))
    return one_line(text if len(text) <= LONGEST else f"{text[:LONGEST]}...")


def listed(items: Iterable[Any], most: int = 6, between: str = ", ") -> str:
    """The first `most` items as text, and the number of the others."""
    texts = list(map(str, items))
    return between.join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")


_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?")  # Windows drops a dot at the end

_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}  # of Windows


def is_name(name: str) -> bool:
    """Whether a name can be the name of a folder on every system."""
    return bool(_NAME.fullmatch(name)) and name.split(".")[0].lower() not in _DEVICES


def check_name(kind: str, name: str) -> str:
    """`name` itself. UserError unless it can be the name of a folder on every system."""
    if not is_name(name):
        raise UserError(
            f"The {kind} name {shortened(name)} cannot name a folder. Use letters, digits, '.', '_' and '-', a letter "
            "or digit first, no '.' last, at most 64 characters, and no name of a device such as 'con' or 'nul'."
        )
    return name


def columns(rows: Iterable[Sequence[str]], right: Container[int] = ()) -> list[str]:
    """Rows as lines with aligned columns: those in `right` to the right, the others to the left."""
    table = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            f"{cell:>{width}}" if place in right else f"{cell:<{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def duration(seconds: float) -> str:
    """Seconds with two digits, as ms, s, min or h; a dash for NaN."""
    if seconds < 1:
        return f"{_two_digits(1000 * seconds)} ms"
    if seconds < 100:
        return f"{_two_digits(seconds)} s"
    if math.isnan(seconds):
        return "-"
    return f"{_two_digits(seconds / 60)} min" if seconds < 6000 else f"{_two_digits(seconds / 3600)} h"


def clock(seconds: float) -> str:
    """Seconds as 7s, 3m05s or 2h04m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def size(count: float) -> str:
    """Bytes with two digits, as MiB or GiB; a dash for NaN."""
    if math.isnan(count):
        return "-"
    return f"{_two_digits(count / 2**30)} GiB" if count >= 2**30 else f"{_two_digits(count / 2**20)} MiB"


def _two_digits(value: float) -> str:
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:.2g}"
