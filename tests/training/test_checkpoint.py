"""A training resumes from a checkpoint that is whole and its own. Otherwise it takes the one before and says so."""

import errno
import hashlib
import os
import pickle
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lvm_bench import disk
from lvm_bench.errors import StorageError
from lvm_bench.training import checkpoint
from lvm_bench.training.checkpoint import NAMES, Checkpoints

NEWEST, BEFORE = NAMES


def state(step: int) -> checkpoint.Snapshot:
    """A state that holds its step."""
    tensors = {"weights": torch.arange(6.0).reshape(2, 3) + step, "flags": torch.tensor([True, False])}
    return tensors, {"step": step, "history": [{"epoch": 1, "train/loss": 0.1 + step}], "best_value": float("inf")}


def at(folder: Path, identity: str = "this", seconds: float = 0.0) -> tuple[Checkpoints, list[str]]:
    """The checkpoints in a folder, and the list of what they say."""
    said: list[str] = []
    return Checkpoints(folder, identity, seconds, said.append), said


def saved(folder: Path, *steps: int) -> None:
    """Checkpoints of these steps, one after another."""
    made, _ = at(folder)
    for step in steps:
        made.save(state(step))


def full(*arguments: object) -> None:
    """A write to a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_is_saved_comes_back_bit_for_bit(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2, 3)
    again, said = at(tmp_path)
    tensors, facts = again.latest()
    before, expected = state(3)
    assert tensors.keys() == before.keys()
    assert all(torch.equal(tensors[name], value) for name, value in before.items())
    assert {name: facts[name] for name in expected} == expected
    assert again.cost == facts["cost"]
    assert said == []
    assert {file.name for file in tmp_path.iterdir()} == {*NAMES}
    assert all(checkpoint.is_whole(tmp_path / name) for name in NAMES)


def test_without_a_checkpoint_there_is_nothing_to_say(tmp_path: Path) -> None:
    again, said = at(tmp_path)
    assert again.latest() is None
    assert said == []


@given(st.floats(0, 1, exclude_max=True), st.none() | st.integers(0, 7))
def test_a_damaged_one_is_named_and_the_one_before_is_gone_on_with(share: float, bit: int | None) -> None:
    """One bit is flipped, or the rest is cut off, at some share of the file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        saved(folder, 1, 2)
        content = bytearray((folder / NEWEST).read_bytes())
        at_byte = int(share * len(content))
        if bit is None:
            del content[at_byte:]
        else:
            content[at_byte] ^= 1 << bit
        (folder / NEWEST).write_bytes(content)
        again, said = at(folder)
        _, facts = again.latest()
        assert facts["step"] == 1
        assert said == [f"{folder / NEWEST}: damaged, its checksum does not match; it is passed over."]


def test_when_all_are_damaged_it_is_said_that_training_starts_anew(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2)
    for name in NAMES:
        os.truncate(tmp_path / name, 50)
    again, said = at(tmp_path)
    assert again.latest() is None
    assert len(said) == 3
    assert said[-1] == "There is no other checkpoint: the training starts anew."


def test_one_of_another_training_is_passed_over(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    again, said = at(tmp_path, "another")
    assert again.latest() is None
    assert f"{tmp_path / NEWEST}: of another training" in said[0]


def test_a_damaged_one_never_takes_the_place_of_a_sound_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full at the first checkpoint after the damaged one was passed over."""
    saved(tmp_path, 1, 2)
    os.truncate(tmp_path / NEWEST, 50)
    again, _ = at(tmp_path)
    again.latest()
    with monkeypatch.context() as there:
        there.setattr(Path, "write_bytes", full)
        with pytest.raises(StorageError):
            again.save(state(3))
    assert at(tmp_path)[0].latest()[1]["step"] == 1


def test_between_the_rename_and_the_write_the_one_before_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, 1)
    with monkeypatch.context() as there:
        there.setattr(Path, "write_bytes", full)
        with pytest.raises(StorageError, match=rf"{NEWEST}: cannot be written \(No space left on device\)"):
            saved(tmp_path, 2)
    assert [file.name for file in tmp_path.iterdir()] == [BEFORE]
    again, said = at(tmp_path)
    assert again.latest()[1]["step"] == 1
    assert said == []


class Evil:
    """Its pickle creates a file when it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("it-ran",)


@pytest.mark.parametrize(
    "content",
    [b"", b"x", pickle.dumps(Evil()), b"\xff" * 8, disk.safetensors_of({"a": torch.ones(1)}), b"\x02" + 7 * b"\0{}"],
)
def test_whoever_seals_something_else_is_passed_over_and_nothing_runs(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / NEWEST).write_bytes(content + hashlib.sha256(content).digest())
    again, said = at(tmp_path)
    assert again.latest() is None
    assert "not a checkpoint" in said[0]
    assert not (tmp_path / "it-ran").exists()


def test_they_are_taken_at_the_interval_and_cost_a_sixtieth_of_the_time_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    write = disk.write

    def slow(*arguments: object) -> None:
        nonlocal now
        now += 10
        write(*arguments)

    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now)
    made, _ = at(tmp_path, seconds=30.0)
    assert not made.due()
    now = 30.0
    assert made.due()
    assert not made.due(since=20.0)
    monkeypatch.setattr("lvm_bench.disk.write", slow)
    made.save(state(1))
    assert made.cost == 10
    now = 40 + 599.0
    assert not made.due()
    now = 40 + 600.0
    assert made.due()
