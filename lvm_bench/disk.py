"""Files on disk: written whole or not at all, sealed, checked, and read with an error that names the file."""

import errno
import gc
import hashlib
import json
import math
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

from lvm_bench.errors import RunError, StorageError, UserError

TEMPORARY = ".tmp-"  # the start of a file's name while it is being written

_PART = 2**16  # bytes of a file that are read at once: more than most records have

_SEAL = '{{\n  "seal": "{}",\n'  # the first lines of a record, with the digest of the rest

# Errors of the disk: no other file could be written either, whatever the job.
_STORAGE = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO", "EACCES", "EPERM", "ESTALE", "ENOTDIR", "EEXIST", "ELOOP")
    if hasattr(errno, name)
}


def check_inside(root: Path, folder: Path) -> Path:
    """`folder` itself; RunError if a link below `root` leads out of it. `root` itself may be a link."""
    if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root)):
        raise RunError(f"{folder}: a link leads it out of {root}. Replace the link by the folder itself.")
    return folder


def canonical(value: Any) -> str:
    """JSON text that is equal for equal values: sorted keys, no spaces, NaN and infinities as strings."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError:  # _finite is slow and rarely needed
        return json.dumps(_finite(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """The SHA-256 of the canonical JSON of a value, in hexadecimal."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def _finite(value: Any) -> Any:
    """The value with NaN and infinities as strings."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def storage(path: Path) -> Iterator[None]:
    """Inside this context a full, failing or forbidden disk raises a StorageError that names the path."""
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
    """Create or replace a file at once: `fill` writes a file beside it, which is flushed to disk and renamed.

    Raises StorageError if the disk is full, cannot be written or fails.
    """
    write_all({path: fill})


def write_all(fills: dict[Path, Callable[[Path], object]]) -> None:
    """Create or replace files, each at once. Flushing them together is quicker than flushing one after the other."""
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
        # mkstemp makes private files. Results get the permissions that the umask allows.
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
    """Make renames in a folder survive a power cut, if the system can open folders."""
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
    """Write a file of the cache unless it is there and whole. Of several processes one writes and the others wait."""
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
    """The file that holds the digest of a cached file."""
    return path.with_name(f"{path.name}.sha256")


def _is_kept(path: Path) -> bool:
    """Whether a cached file is there and matches its digest."""
    try:
        return _digest_of(path).read_text() == _sha256(path)
    except (OSError, ValueError):
        return False


def sweep(folder: Path, name: str = "") -> None:
    """Delete the half-written files of killed processes: all in a folder, or those of `name`. Call it under a lock."""
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
    """Create or replace a JSON file at once, with sorted keys, indented, non-finite numbers as strings."""
    write_text(path, _pretty(value))


def _pretty(value: Any) -> str:
    """Indented JSON with sorted keys, which ends with a line end."""
    try:
        return json.dumps(value, sort_keys=True, indent=2, allow_nan=False) + "\n"
    except ValueError:  # see `canonical`
        return json.dumps(_finite(value), sort_keys=True, indent=2, allow_nan=False) + "\n"


def write_weights(path: Path, weights: dict[str, Any], header: dict[str, str] | None = None) -> None:
    """Create or replace a safetensors file at once. The header may have one key: the order of several is not fixed."""
    # safetensors' save_file hides a full disk behind an error of its own.
    write(path, lambda beside: beside.write_bytes(safetensors_of(weights, header)))


def safetensors_of(tensors: dict[str, Any], header: dict[str, str] | None = None) -> bytes:
    """The bytes of a safetensors file with these tensors and this header."""
    from safetensors.torch import save

    # `save` needs contiguous tensors on the CPU that share no memory.
    packed = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    return save(packed, metadata=header)


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Create or replace a JSON file at once, with a seal that shows later whether any byte was changed."""
    write_text(path, sealed(record))


def sealed(record: dict[str, Any]) -> str:
    """The text of a record with its seal."""
    text = _pretty(record)
    return _SEAL.format(hashlib.sha256(text.encode()).hexdigest()) + text.removeprefix("{\n")


def content(path: Path | str) -> bytes:
    """The bytes of a file. RunError if it cannot be read or is not a regular file: a pipe may have no end."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise RunError(f"{path}: cannot be read, it is no file.")
        with open(path, "rb", buffering=0) as stream:  # in half the time of `path.read_bytes`
            return stream.read()
    except FileNotFoundError as error:
        raise RunError(f"{path}: is missing.") from error
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}).") from error


def read_record(path: Path | str) -> dict[str, Any]:
    """The record that `write_record` wrote, without its seal. RunError if the file is missing, damaged or changed."""
    text = content(path)
    length = len(_SEAL.format("-" * 64))
    rest = b"{\n" + text[length:]
    if text[:length] != _SEAL.format(hashlib.sha256(rest).hexdigest()).encode():
        raise RunError(f"{path}: damaged, its contents do not match its seal.")
    try:
        return parsed(rest)
    except ValueError as error:  # somebody else made the seal
        raise RunError(f"{path}: damaged, not JSON ({error}).") from error


def parsed(content: bytes) -> Any:
    """The value of a JSON text, in half the time of `json`. ValueError if it is not JSON or is nested hundreds deep."""
    from pydantic_core import from_json  # imported here, so that `--help` does not wait for it

    return from_json(content, allow_inf_nan=False)


@contextmanager
def nothing_to_collect() -> Iterator[None]:
    """Inside this context Python collects no garbage. Reading thousands of records makes none and is twice as quick."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def fingerprint(path: Path) -> dict[str, Any]:
    """The facts that a record keeps of a file: its size in bytes and its SHA-256."""
    return {"bytes": path.stat().st_size, "sha256": _sha256(path)}


def _sha256(path: Path | str) -> str:
    found = hashlib.sha256()
    with open(path, "rb", buffering=0) as stream:
        while part := stream.read(_PART):
            found.update(part)
    return found.hexdigest()


def fault(path: Path | str, expected: dict[str, Any], *, whole: bool = True) -> str | None:
    """A sentence on how a file differs from its fingerprint, or None. Unless `whole`, only its size is compared."""
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            return f"{path}: is missing."
        if found.st_size != expected["bytes"]:
            return f"{path}: damaged, it has {found.st_size:,} bytes and not {expected['bytes']:,}."
        if whole and {"bytes": found.st_size, "sha256": _sha256(path)} != expected:
            return f"{path}: damaged, its checksum is not the recorded one."
    except (FileNotFoundError, NotADirectoryError):
        return f"{path}: is missing."
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror})."
    return None


def read_whole(path: Path, expected: dict[str, Any]) -> bytes:
    """The bytes of a file. RunError unless they match its fingerprint."""
    found = content(path)
    if {"bytes": len(found), "sha256": hashlib.sha256(found).hexdigest()} != expected:
        raise RunError(fault(path, expected) or f"{path}: changed while it was read.")
    return found


def read_json(path: Path) -> Any:
    """The value of a JSON file. RunError, which names it, if it is missing or damaged."""
    try:
        return json.loads(content(path).decode())
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or a number of thousands of digits
        raise RunError(f"{path}: damaged, not JSON ({error}).") from error


def check_writable(folder: Path) -> None:
    """UserError unless files can be created in `folder`. A missing folder is created."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # without a name if the system can, so that a kill leaves nothing
            pass
    except OSError as error:
        raise UserError(
            f"{folder}: the results folder cannot be written ({error.strerror}). "
            "Give another one with --results, or change its permissions."
        ) from error


def user_folder() -> Path:
    """The folder of this package in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lvm-bench"


def cache_folder() -> Path:
    """The folder of files that can be computed again: processed images, features, embedded codes."""
    return user_folder() / "cache"


@contextmanager
def cache_apart() -> Iterator[None]:
    """Inside this context, the cache is an empty folder that is deleted at the end."""
    before = os.environ.get("XDG_CACHE_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        try:
            yield
        finally:
            del os.environ["XDG_CACHE_HOME"]
            os.environ |= {} if before is None else {"XDG_CACHE_HOME": before}
