"""Checkpoints: the state of a training in one file with a checksum at its end. The last two are kept.

This module imports no torch at its top, so that listings can read a history without it.
"""

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvm_bench import disk

if TYPE_CHECKING:
    from torch import Tensor


Snapshot = tuple[dict[str, "Tensor"], dict[str, Any]]  # tensors, and facts as plain JSON

NAMES = ("resume.safetensors", "resume.previous.safetensors")

SHARE = 1 / 60  # of the training time, at most, goes into checkpoints

MOST_HEADER = 2**26  # bytes that `history` reads of a header, at most

_DIGEST = 32  # bytes of the SHA-256 at the end of a file


def is_whole(path: Path) -> bool:
    """Whether a file ends with the checksum of the bytes before it."""
    return path.is_file() and _is_whole(path.read_bytes())


def _is_whole(content: bytes) -> bool:
    return hashlib.sha256(content[:-_DIGEST]).digest() == content[-_DIGEST:]


def history(folder: Path) -> list[dict[str, float]]:
    """The history in the newest readable checkpoint of a folder, [] if there is none. Its checksum is not tested."""
    for file in (folder / name for name in NAMES):
        try:
            with file.open("rb") as stream:
                size = int.from_bytes(stream.read(8), "little")
                rows = _facts(stream.read(min(size, MOST_HEADER)))["history"]
            return [{str(name): float(value) for name, value in row.items()} for row in rows]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return []


def _facts(header: bytes) -> dict[str, Any]:
    return json.loads(json.loads(header)["__metadata__"]["facts"])


class Checkpoints:
    """The checkpoints of one training, one every `seconds` or more.

    `identity` tells everything that decides the weights: a checkpoint with another identity is not used.
    `seeds` that are trained together share the time that checkpoints may take.
    """

    def __init__(
        self,
        folder: Path,
        identity: str,
        seconds: float,
        say: Callable[[str], object],
        seeds: int = 1,
        names: tuple[str, str] = NAMES,
    ):
        self.files = [folder / name for name in names]
        self.identity, self.seconds, self.say, self.seeds = identity, seconds, say, seeds
        self.cost = 0.0  # seconds that all checkpoints of the training took
        self._last, self._pause = time.monotonic(), seconds

    def due(self, since: float = 0.0) -> bool:
        """Whether enough time has passed since the last checkpoint and since `since` (seconds, monotonic)."""
        return time.monotonic() - max(self._last, since) >= self._pause

    def save(self, state: Snapshot) -> None:
        """Write a checkpoint and keep the one before it. Raises StorageError."""
        started = time.monotonic()
        tensors, facts = state
        header = {"facts": json.dumps({"identity": self.identity, "cost": self.cost, **facts})}
        content = disk.safetensors_of(tensors, header)
        newest, before = self.files
        if newest.is_file():
            with disk.storage(newest):
                newest.replace(before)
        disk.write(newest, lambda beside: beside.write_bytes(content + hashlib.sha256(content).digest()))
        self._last = time.monotonic()
        cost = self._last - started
        self.cost += cost
        self._pause = max(self.seconds, cost * self.seeds / SHARE)

    def latest(self) -> Snapshot | None:
        """The newest checkpoint that is whole and of this training, or None. Says why it passes over the others."""
        for file in self.files:
            if not file.exists():
                continue
            found = self._read(file)
            if isinstance(found, str):
                self.say(f"{file}: {found}; it is passed over.")
                continue
            self.cost = found[1]["cost"]
            with disk.storage(file):
                file.replace(self.files[0])  # so that `save` does not overwrite it with a damaged one
            return found
        if any(file.exists() for file in self.files):
            self.say("There is no other checkpoint: the training starts anew.")
        return None

    def _read(self, file: Path) -> Snapshot | str:
        """The state in a file, or the reason why it cannot be used."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            if not file.is_file():
                return "no file"
            content = file.read_bytes()
            if not _is_whole(content):
                return "damaged, its checksum does not match"
            content = content[:-_DIGEST]
            size = int.from_bytes(content[:8], "little")
            facts = _facts(content[8 : 8 + size])
            if facts.pop("identity") != self.identity:
                return "of another training (its settings, its data, its method's code or its device were others)"
            return load(content), facts
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            return f"not a checkpoint ({error})"
