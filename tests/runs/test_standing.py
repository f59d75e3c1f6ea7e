"""What state a run is in by its folder, and what is left to do of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from made import make_run

from lvm_bench import disk
from lvm_bench.runs.layout import RECORD, REDRAWN, SCORES, TRAINED
from lvm_bench.runs.lease import Leases
from lvm_bench.runs.record import Status
from lvm_bench.runs.redraws import Redraw, store_redraws
from lvm_bench.runs.standing import Left, Standing, State, at_rest, left, stand

ALL, SCORE, NONE = Left(train=True, score=True), Left(score=True), Left()
KEY = ("mnist", "vae", 0)


def made(place: Path, status: str, method: str = "vae") -> Standing:
    return stand(make_run(place / "small", "mnist", method, 0, status=status), ("mnist", method, 0))


def test_the_states_of_a_record_are_states() -> None:
    assert {*get_args(Status)} < {*State}


@pytest.mark.parametrize(
    ("status", "state", "todo", "retried", "resampled"),
    [
        ("running", State.INTERRUPTED, ALL, NONE, Left(train=True, score=True, redraws=3)),
        ("trained", State.TRAINED, SCORE, NONE, Left(score=True, redraws=3)),
        ("done", State.DONE, NONE, NONE, Left(redraws=3)),
        ("declined", State.DECLINED, NONE, NONE, NONE),
        ("failed", State.FAILED, NONE, ALL, NONE),
    ],
)
def test_a_sound_record_says_the_state_and_what_is_left(
    status: str, state: State, todo: Left, retried: Left, resampled: Left, tmp_path: Path
) -> None:
    found = made(tmp_path, status)
    assert found.state == state
    assert found.notices == []
    assert left(found) == todo
    assert left(found, retry_failed=True) == retried
    assert left(found, resample=3) == resampled


def test_a_control_is_never_trained_and_never_measured_more_than_once(tmp_path: Path) -> None:
    assert left(made(tmp_path, "running", "real-images"), resample=3) == SCORE
    assert left(made(tmp_path, "done", "real-images"), resample=3) == NONE


def test_where_there_is_no_folder_a_run_is_new_and_an_empty_one_was_begun(tmp_path: Path) -> None:
    assert stand(tmp_path / "none", KEY).state == State.NEW
    assert stand(tmp_path, KEY).state == State.INTERRUPTED
    assert left(stand(tmp_path / "none", KEY)) == left(stand(tmp_path, KEY)) == ALL


@pytest.mark.parametrize("status", get_args(Status))
def test_whoever_works_on_a_run_makes_it_running_unless_nothing_is_left(status: str, tmp_path: Path) -> None:
    rest = made(tmp_path, status)
    lease = Leases().take(rest.folder)
    assert lease
    with lease:
        assert at_rest(rest.folder, KEY) == rest
        assert (stand(rest.folder, KEY).state == State.RUNNING) == (status not in ("done", "declined"))
        assert left(stand(rest.folder, KEY)) == (ALL if status == "failed" else left(rest))


def test_redraws_that_were_made_are_not_left(tmp_path: Path) -> None:
    found = made(tmp_path, "done")
    store_redraws(found.folder, found.record, [Redraw({"mse.train": 1.0}, {"mse": 1})] * 2)
    assert [left(found, resample=wanted).redraws for wanted in (0, 1, 2, 3)] == [0, 0, 0, 1]
    newer = replace(found, wanted={"mse": 2}, record=found.record | {"measured": {"mse": 2}})
    assert [left(newer, resample=wanted) for wanted in (1, 3)] == [Left(redraws=1), Left(redraws=3)]
    assert left(replace(found, wanted={"mse": 2}), resample=3) == Left(score=True, redraws=3, adds=True)
    drawn = disk.read_record(found.folder / REDRAWN)
    disk.write_record(found.folder / REDRAWN, drawn | {"identity": "of other scores"})
    assert left(found, resample=1).redraws == 1


@pytest.mark.parametrize("status", ["trained", "done"])
@pytest.mark.parametrize("name", TRAINED)
def test_weights_or_history_that_are_gone_are_to_be_trained_and_scores_stay(
    name: str, status: str, tmp_path: Path
) -> None:
    folder = made(tmp_path, status).folder
    (folder / name).unlink()
    found = stand(folder, KEY)
    assert found.state == State.DAMAGED
    assert found.notices == [f"{folder / name}: is missing. `lvm-bench run` trains this run anew."]
    assert left(found) == Left(train=True, score=status == "trained")


@pytest.mark.parametrize("method", ["vae", "real-images"])
def test_scores_that_were_changed_are_to_be_measured(method: str, tmp_path: Path) -> None:
    folder = made(tmp_path, "done", method).folder
    (folder / SCORES).write_text(json.dumps({"mse.train": 7.0}))
    found = stand(folder, ("mnist", method, 0))
    assert found.state == State.DAMAGED
    assert found.notices[0].endswith("`lvm-bench run` measures this run anew.")
    assert left(found) == SCORE


def test_of_a_failed_run_what_is_whole_is_kept_when_it_is_tried_again(tmp_path: Path) -> None:
    folder = made(tmp_path, "trained").folder
    disk.write_record(folder / RECORD, disk.read_record(folder / RECORD) | {"status": "failed"})
    assert left(stand(folder, KEY), retry_failed=True) == SCORE
    (folder / TRAINED[0]).unlink()
    found = stand(folder, KEY)
    assert found.state == State.FAILED
    assert found.notices[0].endswith("`lvm-bench run --retry-failed` trains this run anew.")
    assert left(found, retry_failed=True) == ALL


def test_without_a_record_that_can_be_trusted_everything_is_left(tmp_path: Path) -> None:
    folder = made(tmp_path, "done").folder
    (folder / RECORD).unlink()
    found = stand(folder, KEY)
    assert found.state == State.DAMAGED
    assert found.notices == [f"{folder / RECORD}: is missing. `lvm-bench run` trains and measures this run anew."]
    assert left(found) == ALL
