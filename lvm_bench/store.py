"""What stands on disk: where a run lives, and writing so that a reader never sees half a file."""

import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lvm_bench.errors import RunError, UserError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_name(kind: str, name: str) -> str:
    """`name` itself, if it can be a folder's name on every system; UserError otherwise."""
    if not _NAME.fullmatch(name) or len(name) > 64:
        raise UserError(
            f"The {kind} name {name!r} cannot name a folder. "
            "Use letters, digits, '.', '_' and '-', a letter or digit first, at most 64 characters."
        )
    return name


def run_folder(results: Path, suite: str, dataset: str, method: str, seed: int) -> Path:
    """Where the files of one run live; the readable path is the run's identity."""
    return results / suite / "runs" / dataset / method / f"seed-{seed}"


def canonical(value: Any) -> str:
    """JSON text that is the same for equal values: sorted keys, no spaces; NaN and infinities as strings."""
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


def write(path: Path, fill: Callable[[Path], object]) -> None:
    """Create or replace a file at once: `fill` writes beside it, then it is flushed to disk and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    beside = Path(name)
    try:
        fill(beside)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        # mkstemp makes private files; results are for sharing, as the umask allows.
        umask = os.umask(0)
        os.umask(umask)
        beside.chmod(0o666 & ~umask)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Create or replace a text file (UTF-8, Unix line ends) at once."""
    write(path, lambda beside: beside.write_bytes(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Create or replace a JSON file at once: sorted keys, indented, non-finite numbers as strings."""
    write_text(path, json.dumps(_finite(value), sort_keys=True, indent=2, allow_nan=False) + "\n")


def write_weights(path: Path, weights: dict[str, Any], header: dict[str, str] | None = None) -> None:
    """Create or replace a safetensors file at once. One header key at most: the order of several is not fixed."""
    from safetensors.torch import save_file

    packed = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    write(path, lambda beside: save_file(packed, beside, metadata=header))


def read_json(path: Path) -> Any:
    """The contents of a JSON file; RunError naming it when it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RunError(
            f"{path}: damaged, not JSON ({error}). Delete the folder {path.parent} to run it again."
        ) from error


def check_writable(folder: Path) -> None:
    """UserError unless files can be made in `folder`, which is created where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".writable."):
            pass
    except OSError as error:
        raise UserError(
            f"{folder}: the results folder cannot be written ({error.strerror}). "
            "Give another one with --results, or change its permissions."
        ) from error
