"""Who works on a folder: a kernel lock among the processes of one machine, a lease for those of other machines.

Host names and process numbers are for people: two machines, or two containers, may have the same.
"""

import errno
import json
import os
import platform
import secrets
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from lvm_bench import disk, process
from lvm_bench.runs.layout import LEASE, LOCK

TOUCH = 30.0  # seconds between two signs of life

STALE = 600.0  # seconds without one after which a lease is void

CONFIRM = 90.0  # seconds for which a lease is watched before it is taken over: the clock may have jumped


_SECRET = secrets.token_hex(16)


class Lost(Exception):
    """Another machine has taken over a folder that was held here."""

    def __init__(self, folder: Path):
        super().__init__(
            f"{folder}: another machine has taken over this run, because no sign of life of this one was "
            f"seen for {STALE:.0f} s. It goes on there."
        )


@dataclass(frozen=True)
class Holder:
    """The process that holds a folder, from its lease."""

    token: str  # of its process alone
    host: str
    machine: str  # changes when the machine is started anew
    pid: int
    started: str  # tells a process from a later one of the same number
    doing: dict[str, Any]  # how far it is: epoch, epochs

    @property
    def is_near(self) -> bool:
        """Whether it is of this machine and sees the same processes, so that its number means the same here."""
        return bool(self.machine) and self.machine == _machine()

    @property
    def is_dead(self) -> bool:
        """Whether it is known to have ended."""
        return self.is_near and process.has_ended(self.pid, self.started)

    @property
    def is_running(self) -> bool:
        """Whether it is known to run."""
        return self.is_near and bool(self.started) and process.started(self.pid) == self.started


class Lease:
    """The right to work on a folder, until `release`; its lease is touched every 30 s by a thread of its own."""

    def __init__(self, folder: Path, lock: FileLock, handle: int):
        self.folder, self._lock, self._handle = folder, lock, handle
        self._doing: dict[str, Any] = {}
        self._ended = threading.Event()
        self._beats = threading.Thread(target=self._beat, name=f"lease of {folder}", daemon=True)
        self._beats.start()

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    def progress(self, **facts: Any) -> None:
        """Note how far the work is, for whoever reads the lease. Raises Lost when another machine holds the folder."""
        self._doing = facts
        self.check_held()

    def check_held(self) -> None:
        """Raise Lost when another machine holds the folder."""
        if not self.is_held():
            raise Lost(self.folder)

    def is_held(self) -> bool:
        """Whether the lease is still ours: a machine that slept for too long has lost it."""
        try:
            return os.path.samestat((self.folder / LEASE).stat(), os.fstat(self._handle))
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno != errno.ESTALE:  # of a network file system: ours was removed on another machine
                raise
            return False

    def release(self) -> None:
        """Give the folder back and leave nothing behind."""
        self._ended.set()
        self._beats.join()
        with suppress(OSError):  # a disk that fails: what is left is taken over as that of a dead process
            if self.is_held():
                (self.folder / LEASE).unlink(missing_ok=True)
                # While it is held: whoever opened it before sees that it has no name any more, and opens it anew.
                (self.folder / LOCK).unlink(missing_ok=True)
        with suppress(OSError):
            os.close(self._handle)
        self._lock.release()

    def _beat(self) -> None:
        while not self._ended.wait(TOUCH):
            try:
                _sign(self._handle, self._doing)
            except OSError:  # a full disk: the time of the last sign decides
                continue


class Leases:
    """Takes folders, and remembers since when it has seen each foreign lease unchanged."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[Any, float]] = {}

    def take(self, folder: Path) -> Lease | None:
        """The right to work on a folder, which is created where it is missing; None while somebody else has it.

        Deletes what a killed process left half written in it. Raises StorageError where it cannot be written.
        """
        with disk.storage(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / LOCK, blocking=False)
            try:
                lock.acquire()
            except Timeout:
                return None
            try:
                handle = self._lease(folder)
            except OSError:
                (folder / LOCK).unlink(missing_ok=True)
                lock.release()
                raise
            if handle is None:  # the lock's file may be that of the lease's owner, whose kernel is not ours
                lock.release()
                return None
            disk.sweep(folder)
            return Lease(folder, lock, handle)

    def tidy(self, folder: Path) -> None:
        """Delete what a process left that was killed between its last write and its release of a folder."""
        if any(os.path.exists(os.path.join(folder, name)) for name in (LOCK, LEASE)):
            lease = self.take(folder)
            if lease:
                lease.release()

    def _lease(self, folder: Path) -> int | None:
        """A new lease, in the place of one that is void; None while that of another process is valid."""
        file, known = folder / LEASE, holder(folder)
        # With the lock in hand, a lease of this very process is one that it could not delete.
        is_left = known is not None and (known.is_dead or known.token == _token())
        if not is_left and not self._is_void(file):
            return None
        # Two machines may judge it at once: only one can put its own there, and the other sees that it is not its own.
        aside, beside = (file.with_name(f"{disk.TEMPORARY}{_token()}-{n}") for n in ("old", "new"))
        with suppress(FileNotFoundError):
            file.rename(aside)
            aside.unlink()
        handle = os.open(beside, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o666)
        try:
            _sign(handle, {})  # before it appears: nobody could tell whose an empty one is
            if _appears(beside, file):
                return handle
        except OSError:
            os.close(handle)
            raise
        finally:
            beside.unlink(missing_ok=True)
        os.close(handle)
        return None

    def _is_void(self, file: Path) -> bool:
        """Whether a lease shows no sign of life by the file system's clock, and did not change while we watched."""
        now, changed = time.monotonic(), _changed(file)
        if changed is None:
            return True
        before, since = self._seen.get(file, (None, now))
        self._seen[file] = (changed, since if before == changed else now)
        if before != changed or now - since < CONFIRM:
            return False
        probe = file.with_name(f"{disk.TEMPORARY}{_token()}-clock")
        probe.touch()
        age = (probe.stat().st_mtime_ns - changed) / 1e9
        probe.unlink()
        return not 0 <= age < STALE


def _sign(handle: int, doing: dict[str, Any]) -> None:
    pid = os.getpid()
    who = {"token": _token(), "host": platform.node(), "machine": _machine(), "pid": pid}
    text = json.dumps({**who, "started": process.started(pid), "doing": doing})
    os.pwrite(handle, f"{text:<1000}\n".encode(), 0)


def _appears(beside: Path, file: Path) -> bool:
    """Whether a file could be given this name, which nothing else had."""
    try:
        os.link(beside, file)
    except FileExistsError:
        return False
    except OSError:  # a file system without links: who comes last has it, and the other learns that it lost
        beside.rename(file)
    return True


def _changed(file: Path) -> int | None:
    """The time of a file's last change in nanoseconds; None where there is no file."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def holder(folder: Path) -> Holder | None:
    """The holder of a folder, from its lease; None where there is no lease that can be read."""
    try:
        if not (folder / LEASE).is_file():
            return None
        found = json.loads((folder / LEASE).read_text(encoding="utf-8"))
        pid = int(found["pid"])
        if not 0 < pid < 2**31:  # os.kill means something else by others
            return None
        token, started = (str(found.get(name, "")) for name in ("token", "started"))
        return Holder(token, str(found["host"]), str(found["machine"]), pid, started, dict(found["doing"]))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def is_free(folder: Path) -> bool:
    """Whether nothing says that somebody holds a folder."""
    return not (folder / LEASE).exists()


def is_alive(folder: Path) -> bool:
    """Whether somebody seems to work on a folder, judged without writing: for listings alone."""
    found = holder(folder)
    if found is None or found.is_dead or found.is_running:
        return found is not None and found.is_running
    try:
        changed = _changed(folder / LEASE)
    except OSError:
        return False
    return changed is not None and abs(time.time() - changed / 1e9) < STALE


def _token() -> str:
    """What tells this process from every other on any machine; a forked one has its own."""
    return f"{_SECRET}-{os.getpid()}"


def _machine() -> str:
    """What tells one start of one machine from every other, and its containers; "" where the system does not say so."""
    boot, processes = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    try:
        return f"{boot.read_text().strip()} {os.readlink(processes)}"
    except OSError:
        # Without Linux's containers, the address of a network card tells machines apart.
        return "" if Path("/proc").is_dir() else f"{uuid.getnode():x}"
