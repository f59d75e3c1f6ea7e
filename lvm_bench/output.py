"""What a command prints: a device that takes no more, or an encoding with few letters, does not end its work."""

import io
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import Any, TypeVar

from lvm_bench.text import clock, one_line, printable

Item = TypeVar("Item")


class Output(io.TextIOBase):
    """A standard stream that replaces what it cannot encode, and keeps the first error of its device in `error`."""

    def __init__(self, stream: Any):
        self._stream = stream
        self.error: OSError | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream."""
        return self._stream.encoding or "utf-8"

    def write(self, text: str) -> int:
        """Write what can be written. Raises BrokenPipeError, which means that nobody reads on."""
        with self._kept():
            self._stream.write(text.encode(self.encoding, "replace").decode(self.encoding))
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        with self._kept():
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The descriptor of the stream."""
        return self._stream.fileno()

    def settle(self) -> None:
        """Flush it, and let go of what its device does not take: Python would try once more at its end."""
        try:
            self._stream.flush()
        except OSError as error:
            self.error = self.error or error
            with suppress(OSError):
                nothing = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nothing, self._stream.fileno())
                os.close(nothing)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            self.error = self.error or error


@contextmanager
def guarded() -> Iterator[None]:
    """Inside this context standard output and error are Outputs. A command whose output is lost exits with 1, not 0."""
    before = sys.stdout, sys.stderr
    out, err = (Output(stream) if stream else None for stream in before)
    sys.stdout, sys.stderr = out, err
    try:
        yield
    except SystemExit as end:
        if out and _lost(out) and not end.code:
            end.code = 1
        raise
    finally:
        if out and err and (why := _lost(out)):
            err.write(f"Error: standard output: {why}. What was to be printed there is lost.\n")
        if err:
            err.settle()
        sys.stdout, sys.stderr = before


def _lost(out: Output) -> str:
    """Why a device did not take all that was written, though somebody reads it; "" if it did."""
    out.settle()
    return "" if out.error is None or isinstance(out.error, BrokenPipeError) else str(out.error.strerror)


class Volume(StrEnum):
    """How much a command tells on standard error while it works."""

    QUIET = "quiet"  # warnings and errors alone
    NORMAL = "normal"  # on a terminal also what is going on, in a line that changes
    VERBOSE = "verbose"  # what is going on, in lines that stay


_CURRENT: list["Steps"] = []  # of the command at work, the innermost last


def tracked(items: Sequence[Item], words: str) -> Iterator[Item]:
    """The items in turn, while the steps of the command at work tell how many are done."""
    for done, item in enumerate(items):
        if _CURRENT:
            _CURRENT[-1].step(f"{words}: {done} of {len(items)}")
        yield item


class Steps:
    """The steps of a command, told on standard error: in one line of a terminal, or with -v in a line each."""

    def __init__(self, volume: Volume = Volume.NORMAL):
        self.volume, self._begun, self._shown = volume, time.monotonic(), False

    def step(self, text: str) -> None:
        """Say what begins now."""
        if self.volume == Volume.VERBOSE:
            self._write(f"[{clock(time.monotonic() - self._begun)}] {one_line(text)}\n")
        elif self.volume == Volume.NORMAL and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            width = shutil.get_terminal_size().columns - 1  # in the last column a line would wrap
            self._write(f"\r\x1b[2K{one_line(text)[:width]}")
            self._shown = True

    def note(self, text: str) -> None:
        """Say what --quiet leaves out."""
        if self.volume != Volume.QUIET:
            self.warn(text)

    def warn(self, text: str) -> None:
        """Say what is always told."""
        self.clear()
        self._write(f"{printable(text)}\n")

    def clear(self) -> None:
        """Take the line off the terminal, so that others may be printed."""
        if self._shown:
            self._write("\r\x1b[2K")
            self._shown = False

    def __enter__(self) -> "Steps":
        _CURRENT.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _CURRENT.pop()
        self.clear()

    def end(self) -> None:
        """Say how long it took."""
        self.clear()
        if self.volume != Volume.QUIET:
            self._write(f"Took {clock(time.monotonic() - self._begun)}.\n")

    def _write(self, text: str) -> None:
        with suppress(OSError):  # a terminal that was closed: the work goes on unseen
            sys.stderr.write(text)
            sys.stderr.flush()
