"""Files appear whole or not at all, names stay inside the results folder, digests depend only on values."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvm_bench import disk
from lvm_bench.errors import RunError, StorageError, UserError
from lvm_bench.text import check_name


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    disk.write_text(file, "old")

    def fill_half(beside: Path) -> None:
        beside.write_text("ha")
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match=r"scores\.json: cannot be written \(No space left on device\)"):
        disk.write(file, fill_half)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_non_finite_numbers_are_strings(tmp_path: Path) -> None:
    disk.write_json(tmp_path / "a.json", {"x": math.inf, "y": [math.nan, 1.5]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": "inf", "y": ["nan", 1.5]}


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text('{"status": "do')
    with pytest.raises(RunError, match=r"job\.json: damaged"):
        disk.read_json(tmp_path / "job.json")


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.floats(allow_nan=False), max_size=6))
def test_digests_do_not_depend_on_the_order_of_keys(value: dict[str, float]) -> None:
    assert disk.digest(value) == disk.digest(dict(reversed(value.items())))
    assert disk.digest(value) != disk.digest({**value, "another key": 1})


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a b", "x" * 65, "a\n", "nul\0"])
def test_names_that_are_no_folder_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="cannot name a folder"):
        check_name("method", name)


def test_a_results_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="the results folder cannot be written"):
        disk.check_writable(tmp_path / "file" / "results")
