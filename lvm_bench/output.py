"""What a command prints: a device that takes no more, or an encoding with few letters, does not end its work."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


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
