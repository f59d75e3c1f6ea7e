"""The files that a method's weights come from, and their checksums, which are part of a run's identity."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from lvm_bench.errors import UserError
from lvm_bench.registry import METHODS, source_file, where
from lvm_bench.text import of_error

SHORT = 12  # digits of a checksum that a record keeps


def checksums(method: str, arguments: dict[str, Any]) -> list[str]:
    """`name checksum` of each file that a method with these arguments names; [] for most methods.

    The folder is left out: a file may move. UserError, without the method's name, for a file that cannot be read.
    """
    cls = METHODS[method]
    try:
        files = [Path(file) for file in cls.files(arguments)]
    except Exception as error:
        source = Path(source_file(cls))
        raise UserError(f"{where(error, source)}: files(arguments) raised {of_error(error)}") from error
    found = []
    for file in files:
        try:
            state = file.stat()
            found.append(f"{file.name} {_checksum(file, state.st_size, state.st_mtime_ns, state.st_ino)}")
        except OSError as error:
            raise UserError(
                f"its weights come from {file}, which cannot be read ({error.strerror}). Put the file there, or name "
                "another in the method's settings."
            ) from error
    return found


@cache
def _checksum(file: Path, *_: int) -> str:
    """The first digits of a file's SHA-256. It is read again when its size, time or place on the disk is another."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:SHORT]
