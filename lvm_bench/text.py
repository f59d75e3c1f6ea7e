"""Text that comes from elsewhere: read within bounds, shown so that it cannot steer a terminal."""

from pathlib import Path

from lvm_bench.errors import UserError

MOST_BYTES = 1_000_000  # of a file that a person writes: a hundred times the packaged configuration


def printable(text: str) -> str:
    """Text with each character that is neither printable nor a line end written as an escape, such as \\x1b."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def counted(count: int, what: str) -> str:
    """A count with its noun: `1 run`, `2,000 runs`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def shortened(value: object, most: int = 80) -> str:
    """How Python writes a value, at most `most` characters of it and three dots."""
    shown = repr(value)
    return shown if len(shown) <= most else f"{shown[:most]}..."


def read(file: Path) -> str:
    """The text of a file that a person wrote; UserError unless it is UTF-8 and of a sensible size."""
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
