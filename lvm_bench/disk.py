"""What stands on disk: where a run lives, and writing so that a reader never sees half a file."""

import errno
import gc
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

from lvm_bench.errors import RunError, StorageError, UserError

TEMPORARY = ".tmp-"  # how the name of a file begins while it is being written

_SEAL = '{{\n  "seal": "{}",\n'  # how a record begins; the digest is that of the file without this line

# Not the job's fault: no other file could be written either.
_STORAGE = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO", "EACCES", "EPERM", "ESTALE", "ENOTDIR", "EEXIST", "ELOOP")
    if hasattr(errno, name)
}


def check_inside(root: Path, folder: Path) -> Path:
    """`folder` itself, if no link on the way leads it out of `root`; RunError otherwise. `root` may be a link."""
    if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root)):
        raise RunError(f"{folder}: a link leads it out of {root}. Replace the link by the folder itself.")
    return folder


def canonical(value: Any) -> str:
    """JSON text that is the same for equal values: sorted keys, no spaces; NaN and infinities as strings."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError:  # rare, and slow
        return json.dumps(_finite(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value, in hexadecimal."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turns a full, failing or forbidden disk into a StorageError that names the path."""
    try:
        yield
    except OSError as error:
        if error.errno not in _STORAGE:
            raise
        raise StorageError(
            f"{path}: cannot be written ({error.strerror}). Whatever was finished is kept: make space or change the "
            "permissions, then give the same command again."
        ) from error


def write(path: Path, fill: Callable[[Path], object]) -> None:
    """Create or replace a file at once: `fill` writes beside it, then it is flushed to disk and renamed.

    Raises StorageError when the disk is full, cannot be written or fails.
    """
    write_all({path: fill})


def write_all(fills: dict[Path, Callable[[Path], object]]) -> None:
    """Create or replace files, each at once. Flushed together: the first takes the others' data to disk with it."""
    beside: dict[Path, Path] = {}
    try:
        for path, fill in fills.items():
            with storage(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{TEMPORARY}{path.name}-", suffix=path.suffix)
                os.close(handle)
                beside[path] = Path(name)
                fill(beside[path])
        for path, file in beside.items():
            with storage(path), file.open("rb") as stream:
                os.fsync(stream.fileno())
        # mkstemp makes private files; results are for sharing, as the umask allows.
        umask = os.umask(0)
        os.umask(umask)
        for path, file in beside.items():
            with storage(path):
                file.chmod(0o666 & ~umask)
                file.replace(path)
    finally:
        for path, file in beside.items():
            with storage(path):
                file.unlink(missing_ok=True)
    for folder in dict.fromkeys(path.parent for path in fills):
        with storage(folder):
            _flush_folder(folder)


def _flush_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the system lets folders be opened."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):  # some network file systems flush no folder
            raise
    finally:
        os.close(handle)


def once(path: Path, fill: Callable[[Path], object]) -> None:
    """Write a file of the cache unless it is there and whole; of several processes one does, and the others wait."""
    if _is_kept(path):
        return
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f"{path.name}.lock")
        with FileLock(lock):
            sweep(path.parent, path.name)
            try:
                if not _is_kept(path):
                    write(path, fill)
                    write_text(_digest_of(path), _sha256(path))
            finally:
                lock.unlink(missing_ok=True)


def _digest_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _is_kept(path: Path) -> bool:
    try:
        return _digest_of(path).read_text() == _sha256(path)
    except (OSError, ValueError):
        return False


def sweep(folder: Path, name: str = "") -> None:
    """Delete what a killed process left half written in a folder that is claimed; of one file where it is named."""
    for file in folder.glob(f"{TEMPORARY}{name}*"):
        file.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Create or replace a text file (UTF-8, Unix line ends) at once."""
    write_texts({path: text})


def write_texts(texts: dict[Path, str]) -> None:
    """Create or replace text files, each at once."""
    write_all({path: partial(_write_text, text) for path, text in texts.items()})


def _write_text(text: str, beside: Path) -> None:
    beside.write_bytes(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Create or replace a JSON file at once: sorted keys, indented, non-finite numbers as strings."""
    write_text(path, _pretty(value))


def _pretty(value: Any) -> str:
    try:
        return json.dumps(value, sort_keys=True, indent=2, allow_nan=False) + "\n"
    except ValueError:  # as in `canonical`
        return json.dumps(_finite(value), sort_keys=True, indent=2, allow_nan=False) + "\n"


def write_weights(path: Path, weights: dict[str, Any], header: dict[str, str] | None = None) -> None:
    """Create or replace a safetensors file at once. One header key at most: the order of several is not fixed."""
    # Not save_file, whose own error hides that a disk is full.
    write(path, lambda beside: beside.write_bytes(safetensors_of(weights, header)))


def safetensors_of(tensors: dict[str, Any], header: dict[str, str] | None = None) -> bytes:
    """Tensors and a header in the format of safetensors."""
    from safetensors.torch import save

    # It takes contiguous tensors on the CPU, and none that shares its memory with another.
    packed = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    return save(packed, metadata=header)


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Create or replace a JSON file at once, with a seal that tells later whether a byte of it was changed."""
    write_text(path, sealed(record))


def sealed(record: dict[str, Any]) -> str:
    """The text of a record with its seal."""
    text = _pretty(record)
    return _SEAL.format(hashlib.sha256(text.encode()).hexdigest()) + text.removeprefix("{\n")


def content(path: Path) -> bytes:
    """The contents of a file; RunError where there is none that can be read: a pipe or a device may have no end."""
    try:
        if path.exists() and not path.is_file():
            raise RunError(f"{path}: cannot be read, it is no file.")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise RunError(f"{path}: is missing.") from error
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}).") from error


def read_record(path: Path) -> dict[str, Any]:
    """What `write_record` wrote, without its seal; RunError when the file is missing, damaged or was changed."""
    text = content(path)
    length = len(_SEAL.format("-" * 64))
    rest = b"{\n" + text[length:]
    if text[:length] != _SEAL.format(hashlib.sha256(rest).hexdigest()).encode():
        raise RunError(f"{path}: damaged, its contents do not match its seal.")
    try:
        return parsed(rest)
    except ValueError as error:  # sealed, but not by us
        raise RunError(f"{path}: damaged, not JSON ({error}).") from error


def parsed(content: bytes) -> Any:
    """The value of a JSON text, in half the time of `json`; ValueError where it is none, or nested hundreds deep."""
    from pydantic_core import from_json  # here: `--help` need not wait for it

    return from_json(content, allow_inf_nan=False)


@contextmanager
def nothing_to_collect() -> Iterator[None]:
    """Python looks for no garbage meanwhile: reading thousands of records makes none, and took twice as long."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def fingerprint(path: Path) -> dict[str, Any]:
    """What a record keeps of a file: its size in bytes and its SHA-256."""
    return {"bytes": path.stat().st_size, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fault(path: Path, expected: dict[str, Any], *, whole: bool = True) -> str | None:
    """How a file differs from its fingerprint, as a sentence; None if it does not. Not `whole`: its size alone."""
    try:
        if not path.is_file():
            return f"{path}: is missing."
        if path.stat().st_size != expected["bytes"]:
            return f"{path}: damaged, it has {path.stat().st_size:,} bytes and not {expected['bytes']:,}."
        if whole and fingerprint(path) != expected:
            return f"{path}: damaged, its checksum is not the recorded one."
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror})."
    return None


def read_whole(path: Path, expected: dict[str, Any]) -> bytes:
    """The contents of a file; RunError unless they match its fingerprint."""
    found = content(path)
    if {"bytes": len(found), "sha256": hashlib.sha256(found).hexdigest()} != expected:
        raise RunError(fault(path, expected) or f"{path}: changes while it is read.")
    return found


def read_json(path: Path) -> Any:
    """The contents of a JSON file; RunError naming it when it is missing or damaged."""
    try:
        return json.loads(content(path).decode())
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or a number of thousands of digits
        raise RunError(f"{path}: damaged, not JSON ({error}).") from error


def check_writable(folder: Path) -> None:
    """UserError unless files can be made in `folder`, which is created where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # without a name, where the system can: a kill leaves nothing
            pass
    except OSError as error:
        raise UserError(
            f"{folder}: the results folder cannot be written ({error.strerror}). "
            "Give another one with --results, or change its permissions."
        ) from error
