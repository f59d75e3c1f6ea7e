"""A folder has one holder at a time; the dead are succeeded, the living are not, whatever their clocks say."""

import errno
import json
import os
import platform
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from lvm_bench import disk, process
from lvm_bench.errors import StorageError
from lvm_bench.runs.layout import LEASE, LOCK
from lvm_bench.runs.lease import CONFIRM, STALE, Lease, Leases, Lost, _machine, holder, is_alive, is_free

HOUR = 3600.0


class Clock:
    """A monotonic clock that stands still until it is moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 1000.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


class Unshared(FileLock):
    """A lock of which other machines learn nothing."""

    def acquire(self, *arguments: object, **named: object) -> None: ...


def lease(
    folder: Path, host: str, pid: int, age: float = 0.0, machine: str = "another start", started: str = ""
) -> Path:
    """The lease of some process, last touched `age` seconds ago."""
    file = folder / LEASE
    who = {"token": "another process", "host": host, "machine": machine, "pid": pid, "started": started}
    file.write_text(json.dumps({**who, "doing": {"epoch": 3}}))
    touched = file.stat().st_mtime - age
    os.utime(file, (touched, touched))
    return file


def taken(found: Lease | None) -> bool:
    """Whether the lease was had; it is released."""
    if found:
        found.release()
    return found is not None


def test_a_folder_has_one_holder_and_is_left_clean(tmp_path: Path) -> None:
    with Leases().take(tmp_path / "run") as held:
        assert held.is_held()
        assert Leases().take(tmp_path / "run") is None
        assert {file.name for file in (tmp_path / "run").iterdir()} == {LOCK, LEASE}
    assert list((tmp_path / "run").iterdir()) == []
    assert taken(Leases().take(tmp_path / "run"))


def test_a_lease_deletes_what_was_half_written_and_nothing_else(tmp_path: Path) -> None:
    for name in (f"{disk.TEMPORARY}scores.json-x", "scores.json"):
        (tmp_path / name).touch()
    assert taken(Leases().take(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["scores.json"]


def test_of_many_threads_one_at_a_time_has_it(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    together = threading.Barrier(4)

    def work(_: int) -> int:
        together.wait()
        had = 0
        while had < 5:
            lease = Leases().take(tmp_path / "run")
            if lease:
                with lease:
                    counter.write_text(str(int(counter.read_text()) + 1))
                    had += 1
        return had

    with ThreadPoolExecutor(4) as pool:
        had = sum(pool.map(work, range(4)))
    assert had == 4 * 5
    assert int(counter.read_text()) == had
    assert list((tmp_path / "run").iterdir()) == []


def test_a_lease_says_who_and_how_far_and_is_signed_again_after_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lvm_bench.runs.lease.TOUCH", 0.001)
    pwrite, signed, fails = os.pwrite, threading.Event(), [True]

    def write(handle: int, content: bytes, at: int) -> int:
        if b'"epoch"' in content and fails:
            raise OSError(errno.ENOSPC, fails.pop() and "No space left on device")
        written = pwrite(handle, content, at)
        if b'"epoch"' in content:
            signed.set()
        return written

    with Leases().take(tmp_path) as held:
        monkeypatch.setattr(os, "pwrite", write)
        held.progress(epoch=7, epochs=9)
        assert signed.wait(60)
        found = holder(tmp_path)
        assert (found.host, found.pid, found.doing) == (platform.node(), os.getpid(), {"epoch": 7, "epochs": 9})
        assert found.is_near
        assert found.is_running
        assert is_alive(tmp_path)
        os.utime(tmp_path / LEASE, (1, 1))
        assert is_alive(tmp_path), "a process that was suspended for days is still known to run"
    assert not fails
    assert holder(tmp_path) is None
    assert is_free(tmp_path)
    assert not is_alive(tmp_path)


@pytest.mark.parametrize("host", [platform.node(), "renamed"])
def test_a_dead_process_of_this_machine_is_succeeded_at_once(host: str, tmp_path: Path, dead: int) -> None:
    lease(tmp_path, host, dead, machine=_machine())
    assert not is_alive(tmp_path)
    assert taken(Leases().take(tmp_path))


def test_a_later_process_of_the_same_number_is_not_the_holder(tmp_path: Path) -> None:
    lease(tmp_path, platform.node(), os.getpid(), machine=_machine(), started="1")
    assert not is_alive(tmp_path)
    assert taken(Leases().take(tmp_path))


def test_a_process_that_ended_and_was_not_reaped_is_dead(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        started = process.started(child.pid)
        assert started
        assert not process.has_ended(child.pid, started)
        child.communicate(b"\n")
        assert process.has_ended(child.pid, started)
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert process.has_ended(child.pid, "")
        assert process.started(child.pid) == ""


@pytest.mark.parametrize("machine", ["another start", f"{_machine()} of another container", ""])
@pytest.mark.parametrize(("age", "alive"), [(0.0, True), (3 * 24 * HOUR, False)])
def test_equal_host_names_prove_nothing(
    machine: str, age: float, alive: bool, tmp_path: Path, dead: int, clock: Clock
) -> None:
    """Neither a number that is free here nor one that is taken tells of a process elsewhere: the age decides."""
    for pid in (dead, 1, os.getpid()):
        lease(tmp_path, platform.node(), pid, age, machine)
        assert is_alive(tmp_path) == alive
        watching = Leases()
        assert watching.take(tmp_path) is None
        clock.now += CONFIRM + 1
        assert taken(watching.take(tmp_path)) != alive


def test_machines_of_one_host_name_whose_locks_are_local_do_not_steal_from_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    with Leases().take(tmp_path) as held, monkeypatch.context() as there:
        there.setattr("lvm_bench.runs.lease.FileLock", Unshared)
        there.setattr("lvm_bench.runs.lease._machine", lambda: "another start")
        there.setattr("lvm_bench.runs.lease._SECRET", "another process")
        other = Leases()
        for _ in range(5):
            assert other.take(tmp_path) is None
            clock.now += HOUR
        assert held.is_held()


@pytest.mark.parametrize("age", [STALE + 60, HOUR, -HOUR])
def test_another_machine_is_succeeded_after_its_lease_was_watched_long_enough(
    age: float, tmp_path: Path, clock: Clock
) -> None:
    lease(tmp_path, "elsewhere", 1, age)
    watching = Leases()
    assert watching.take(tmp_path) is None
    clock.now += CONFIRM - 1
    assert watching.take(tmp_path) is None
    clock.now += 2
    assert taken(watching.take(tmp_path))
    assert not (tmp_path / LEASE).exists()


def test_a_fresh_lease_of_another_machine_is_respected_however_long_one_watches(tmp_path: Path, clock: Clock) -> None:
    file = lease(tmp_path, "elsewhere", 1)
    watching = Leases()
    for _ in range(5):
        assert watching.take(tmp_path) is None
        clock.now += HOUR
    assert is_alive(tmp_path)
    assert holder(tmp_path).host == "elsewhere"
    assert file.exists()


@pytest.mark.parametrize("age", [5 * HOUR, -5 * HOUR])
def test_a_lease_that_is_touched_is_alive_whatever_the_clocks_say(age: float, tmp_path: Path, clock: Clock) -> None:
    watching = Leases()
    for beat in range(20):
        lease(tmp_path, "elsewhere", 1, age - 30 * beat)
        assert watching.take(tmp_path) is None
        clock.now += 30


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": "a"}', "\0" * 1000, '{"host":1,"machine":2,"pid":"x"}'])
def test_a_lease_that_cannot_be_read_is_judged_by_its_age_alone(text: str, tmp_path: Path, clock: Clock) -> None:
    (tmp_path / LEASE).write_text(text)
    watching = Leases()
    assert holder(tmp_path) is None
    assert watching.take(tmp_path) is None
    clock.now += HOUR
    assert watching.take(tmp_path) is None
    lease(tmp_path, "x", 1, HOUR).write_text(text)
    os.utime(tmp_path / LEASE, (1, 1))
    assert watching.take(tmp_path) is None
    clock.now += HOUR
    assert taken(watching.take(tmp_path))


def test_who_lost_a_lease_learns_it_and_leaves_the_others_files(tmp_path: Path) -> None:
    held = Leases().take(tmp_path)
    (tmp_path / LEASE).unlink()
    lease(tmp_path, "elsewhere", 1)
    assert not held.is_held()
    with pytest.raises(Lost, match="another machine has taken over this run"):
        held.progress(epoch=1)
    held.release()
    assert holder(tmp_path).host == "elsewhere"
    assert (tmp_path / LOCK).exists()


def test_another_machine_that_looks_leaves_the_lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where kernels do not share locks: without that file a third process would think the folder free."""

    with Leases().take(tmp_path):
        with monkeypatch.context() as there:
            there.setattr("lvm_bench.runs.lease.FileLock", Unshared)
            there.setattr("lvm_bench.runs.lease._machine", lambda: "another start")
            there.setattr("lvm_bench.runs.lease._SECRET", "another process")
            assert Leases().take(tmp_path) is None
        assert Leases().take(tmp_path) is None


def test_a_disk_that_cannot_be_written_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError, match="run: cannot be written"):
        Leases().take(tmp_path / "run")


def test_a_disk_that_is_full_leaves_no_lease_that_nobody_could_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as there:
        there.setattr(os, "pwrite", full)
        with pytest.raises(StorageError, match="No space left"):
            Leases().take(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert taken(Leases().take(tmp_path))


def test_a_file_system_without_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    with Leases().take(tmp_path) as held:
        assert held.is_held()
        assert holder(tmp_path).pid == os.getpid()
        assert Leases().take(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_of_two_machines_that_take_over_at_once_one_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one's lease appears just before ours."""
    link = os.link

    def late(beside: Path, file: Path) -> None:
        lease(tmp_path, "elsewhere", 1)
        link(beside, file)

    monkeypatch.setattr(os, "link", late)
    assert Leases().take(tmp_path) is None
    assert holder(tmp_path).host == "elsewhere"


def test_what_a_living_holder_is_writing_is_left_alone(tmp_path: Path) -> None:
    lease(tmp_path, "elsewhere", 1)
    (tmp_path / f"{disk.TEMPORARY}scores.json-x").touch()
    assert Leases().take(tmp_path) is None
    assert (tmp_path / f"{disk.TEMPORARY}scores.json-x").exists()


def test_tidy_deletes_what_the_dead_left_and_nothing_of_the_living(tmp_path: Path, dead: int) -> None:
    for names in ((LOCK,), (LOCK, LEASE), (LEASE,)):
        (tmp_path / LOCK).touch()
        lease(tmp_path, platform.node(), dead, machine=_machine())
        for other in {LOCK, LEASE} - {*names}:
            (tmp_path / other).unlink()
        Leases().tidy(tmp_path)
        assert list(tmp_path.iterdir()) == []
    Leases().tidy(tmp_path / "never made")
    assert not (tmp_path / "never made").exists()
    with Leases().take(tmp_path) as held:
        Leases().tidy(tmp_path)
        assert held.is_held()


def test_a_listing_does_not_write(tmp_path: Path, dead: int) -> None:
    lease(tmp_path, "elsewhere", dead, HOUR)
    before = sorted((file.name, file.stat().st_mtime_ns) for file in tmp_path.iterdir())
    assert not is_alive(tmp_path)
    assert sorted((file.name, file.stat().st_mtime_ns) for file in tmp_path.iterdir()) == before


def test_a_lease_that_another_machine_removed_is_lost_and_not_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(handle: int) -> os.stat_result:
        raise OSError(errno.ESTALE, "Stale file handle")

    held = Leases().take(tmp_path)
    assert held
    with monkeypatch.context() as patched:
        patched.setattr("os.fstat", stale)
        assert not held.is_held()
    held.release()


def test_a_disk_that_fails_does_not_hide_why_the_work_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    held = Leases().take(tmp_path)
    assert held
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", forbidden)
        held.release()
    assert taken(Leases().take(tmp_path))  # the lock was given back
