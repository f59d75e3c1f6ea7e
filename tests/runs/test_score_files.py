"""Scores on disk replace committed ones run by run, and nothing committed is ever lost."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import FACTS, change, note

from lvm_bench import disk
from lvm_bench.errors import RunError
from lvm_bench.runs.frames import frame
from lvm_bench.runs.gather import Gathered, gather, write
from lvm_bench.runs.score_files import METRIC, read_history, read_scores, scores_of, write_scores

HEADER = "dataset,method,seed,metric,value\n"
Put = Callable[..., Path]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "small").mkdir()
    return tmp_path / "small"


def collected(suite: Path, complain: Callable[[str], object] = pytest.fail) -> Gathered:
    found = gather(suite, {}, complain)
    write(suite, found, {})
    return found


def test_runs_become_rows_and_a_file(suite: Path, put_run: Put) -> None:
    put_run("mnist", "vae", 0, {"sse.train": 0.1 + 0.2, "mse.train": 1.0})
    assert frame(collected(suite).shown)["metric"].tolist() == ["mse.train", "sse.train"]
    expected = HEADER + "mnist,vae,0,mse.train,1.0\nmnist,vae,0,sse.train,0.30000000000000004\n"
    assert (suite / "scores.csv").read_text() == expected


def test_runs_on_disk_replace_only_their_own_rows(suite: Path, put_run: Put) -> None:
    committed = "mnist,vae,0,mse.train,9.0\nmnist,vae,0,gone.train,9.0\nmnist,vae,1,mse.train,8.0\n"
    (suite / "scores.csv").write_text(HEADER + committed)
    put_run("mnist", "vae", 0, {"mse.train": 1.0})
    collected(suite)
    expected = HEADER + "mnist,vae,0,mse.train,1.0\nmnist,vae,1,mse.train,8.0\n"
    assert (suite / "scores.csv").read_text() == expected


def test_without_runs_scores_are_read_and_never_written(suite: Path) -> None:
    text = "dataset,method,seed,metric,value,digest\nmnist,vae,1,mse.train,8.00,x\nmnist,vae,0,mse.train,nan,x\n"
    (suite / "scores.csv").write_text(text)  # neither sorted nor canonical, with a column of old
    (suite / "history.csv").write_text("dataset,method,seed,epoch,loss\nmnist,vae,0,1,2.50\n")
    (suite / "about.json").write_text('{"methods": ["vae"]}')
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in suite.iterdir()}
    found = collected(suite)
    assert {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in suite.iterdir()} == before
    assert found.scores["mnist", "vae", 1] == {"mse.train": 8.0}
    assert math.isnan(found.scores["mnist", "vae", 0]["mse.train"])
    assert found.history["mnist", "vae", 0] == (["epoch", "loss"], [["1", "2.50"]])


def test_numbers_that_are_not_finite_survive(suite: Path, put_run: Put) -> None:
    folder = put_run("mnist", "vae", 0, {"a": math.inf, "b": math.nan, "c": -math.inf, "e": 1e-300})
    first = frame(collected(suite).shown)["value"].tolist()
    text = (suite / "scores.csv").read_bytes()
    for file in folder.iterdir():
        file.unlink()
    second = frame(collected(suite).shown)["value"].tolist()
    assert repr(first) == repr(second) == "[inf, nan, -inf, 1e-300]"
    assert (suite / "scores.csv").read_bytes() == text


NAMES = st.from_regex(METRIC, fullmatch=True)


@given(st.dictionaries(NAMES, st.floats(), min_size=1))
def test_whatever_is_written_is_read_back(scores: dict[str, float]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        write_scores(Path(place) / "scores.csv", {("mnist", "vae", 3): scores})
        assert repr(read_scores(Path(place) / "scores.csv")) == repr(
            {("mnist", "vae", 3): dict(sorted(scores.items()))}
        )


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1',
        "[1]",
        '{"a": "many"}',
        '{"a": true}',
        '{"a,b": 1}',
        '{"\\\\input": 1}',
        '{"a": null}',
        "[" * 10**5,
        f'{{"a": {10**400}}}',
    ],
)
def test_what_is_no_table_of_numbers_is_no_scores(text: str) -> None:
    with pytest.raises((ValueError, RecursionError)):
        scores_of(text.encode())


@pytest.mark.parametrize(
    ("damage", "noted"),
    [
        ('{"mse.train": 7.0}', False),
        *((text, noted) for text in ('{"mse.train": 1.', "[1, 2]", '{"mse.train": "many"}') for noted in (False, True)),
    ],
)
def test_a_damaged_run_is_named_and_the_others_go_on(suite: Path, put_run: Put, damage: str, noted: bool) -> None:
    folder = put_run("mnist", "aae", 0, {})
    (folder / "scores.json").write_text(damage)
    if noted:  # as somebody would who meant harm
        note(folder, "scores.json")
    put_run("mnist", "vae", 0, {"mse.train": 1.0})
    said: list[str] = []
    assert {key[1] for key in collected(suite, said.append).shown} == {"vae"}
    assert len(said) == 1
    assert said[0].startswith(str(folder / "scores.json"))
    assert "lvm-bench run" in said[0]


def test_a_run_that_is_damaged_is_not_averaged_by_what_was_gathered_of_it_before(suite: Path, put_run: Put) -> None:
    folder = put_run("mnist", "vae", 0, {"mse.train": 1.0})
    collected(suite)
    (folder / "scores.json").write_text("{}")
    found = collected(suite, lambda text: None)
    assert found.shown == {}
    assert found.scores == {("mnist", "vae", 0): {"mse.train": 1.0}}  # and stays committed


@pytest.mark.parametrize("file", ["scores.json", "job.json", "history.csv"])
def test_files_of_two_runs_that_changed_places_are_damage(suite: Path, put_run: Put, file: str) -> None:
    one, other = put_run("mnist", "vae", 0), put_run("mnist", "vae", 1)
    (one / file).rename(one / "aside")
    (other / file).rename(one / file)
    (one / "aside").rename(other / file)
    said: list[str] = []
    found = collected(suite, said.append)
    assert len(said) == 2
    assert all(str(folder / file) in text for folder, text in zip((one, other), said, strict=True))
    assert (found.shown == {}) == (file != "history.csv")
    assert found.history == {}


def test_a_record_of_the_old_format_counts_as_damaged(suite: Path, put_run: Put) -> None:
    folder = put_run("mnist", "vae", 0)
    (folder / "job.json").write_text('{"status": "done"}')
    said: list[str] = []
    assert collected(suite, said.append).shown == {}
    assert "do not match its seal" in said[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "perfect"},
        {"status": 5},
        {"settings": []},
        {"settings": {"seed": 7}},
        {"environment": {}},
        {"files": {"../../other": {"bytes": 1, "sha256": ""}}},
        {"files": {"scores.json": 3}},
        {"facts": {"samples": "many"}},
        {"facts": FACTS | {"latent": 10**1000}},
        {"seconds_training": 10**400},
        {"seconds_training": "nan"},
        {"method": "\\input{x}"},
        {"seed": 1},
        {"seconds_training": "long"},
    ],
)
def test_a_sealed_record_of_another_form_is_damage_and_not_a_traceback(
    suite: Path, put_run: Put, changes: dict[str, object]
) -> None:
    change(put_run("mnist", "vae", 0), **changes)
    said: list[str] = []
    assert collected(suite, said.append).shown == {}
    assert len(said) == 1


@pytest.mark.parametrize("name", ["seed-0-old", "seed-00", "seed--1", "seed-", "0", "seed-٣", "seed-1" + "0" * 30])
def test_a_folder_that_is_no_run_is_passed_over(suite: Path, put_run: Put, name: str) -> None:
    folder = put_run("mnist", "vae", 0, {"mse.train": 1.0})
    folder.rename(folder.parent / name)
    assert collected(suite).shown == {}


@pytest.mark.parametrize("status", ["failed", "declined"])
def test_a_run_that_ended_otherwise_takes_its_committed_scores_away(suite: Path, put_run: Put, status: str) -> None:
    (suite / "scores.csv").write_text(HEADER + "mnist,vae,0,mse.train,9.0\nmnist,vae,1,mse.train,8.0\n")
    put_run("mnist", "vae", 0, status=status, reason="no")
    collected(suite)
    assert (suite / "scores.csv").read_text() == HEADER + "mnist,vae,1,mse.train,8.0\n"


@pytest.mark.parametrize("status", ["running", "trained"])
def test_a_run_that_is_not_done_is_not_shown_and_keeps_what_was_committed(
    suite: Path, put_run: Put, status: str
) -> None:
    (suite / "scores.csv").write_text(HEADER + "mnist,vae,0,mse.train,9.0\n")
    put_run("mnist", "vae", 0, status=status)
    found = collected(suite)
    assert found.shown == {}
    assert (suite / "scores.csv").read_text() == HEADER + "mnist,vae,0,mse.train,9.0\n"


@pytest.mark.parametrize(
    "text",
    [
        "mnist,vae,zero,mse.train,1.0\n",
        "mnist,vae,0,mse.train,many\n",
        "mnist\n",
        "../x,vae,0,mse.train,1.0\n",
        f"mnist,vae,{10**30},mse.train,1.0\n",
    ],
)
def test_a_damaged_scores_csv_is_a_sentence(suite: Path, text: str) -> None:
    (suite / "scores.csv").write_text(HEADER + text)
    with pytest.raises(RunError, match=r"scores\.csv: cannot be read as a table of runs .*Restore it"):
        collected(suite)


def test_a_table_without_its_columns_is_a_sentence(suite: Path) -> None:
    (suite / "history.csv").write_bytes(b"\xff\x00\n")
    with pytest.raises(RunError, match=r"history\.csv: cannot be read"):
        collected(suite)


def test_histories_are_merged_text_for_text(suite: Path, put_run: Put) -> None:
    (suite / "history.csv").write_text(
        "dataset,method,seed,epoch,loss,kl\nmnist,avae,0,1,3.0,1e-08\nmnist,vae,0,1,9.0,\n"
    )
    put_run("mnist", "vae", 0, {"mse.train": 1.0})
    collected(suite)
    expected = "dataset,method,seed,epoch,loss,kl\nmnist,avae,0,1,3.0,1e-08\nmnist,vae,0,1,0.50,\n"
    assert (suite / "history.csv").read_text() == expected
    assert read_history(suite / "history.csv")["mnist", "vae", 0] == (["epoch", "loss"], [["1", "0.50"]])


def test_a_history_whose_rows_are_short_is_complained_about(suite: Path, put_run: Put) -> None:
    folder = put_run("mnist", "vae", 0)
    disk.write_text(folder / "history.csv", "epoch,loss\n1\n")
    note(folder, "history.csv")
    said: list[str] = []
    collected(suite, said.append)
    assert "history.csv: cannot be read as a table" in said[0]


def test_a_folder_without_its_record_is_damage_and_an_empty_one_is_not(suite: Path, put_run: Put) -> None:
    folder = put_run("mnist", "vae", 0)
    (folder / "job.json").unlink()
    (suite / "runs" / "mnist" / "vae" / "seed-1").mkdir()
    (suite / "runs" / "mnist" / "vae" / "seed-1" / ".lock").touch()
    said: list[str] = []
    collected(suite, said.append)
    assert [text.split(":")[0] for text in said] == [str(folder / "job.json")]
    assert json.loads((folder / "scores.json").read_text())  # nothing is deleted
