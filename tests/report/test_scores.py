"""Scores on disk replace committed ones run by run, and nothing committed is ever lost."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from lvm_bench.errors import RunError
from lvm_bench.report.scores import collect, collect_history

HEADER = "dataset,method,seed,metric,value,digest\n"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "small").mkdir()
    return tmp_path / "small"


def test_runs_become_rows_and_a_file(suite: Path, put_run: Callable[..., Path]) -> None:
    put_run("mnist", "vae", 0, {"sse.train": 0.1 + 0.2, "mse.train": 1.0})
    frame = collect(suite, pytest.fail)
    assert frame["metric"].tolist() == ["mse.train", "sse.train"]
    assert (suite / "scores.csv").read_text() == (
        HEADER + "mnist,vae,0,mse.train,1.0,d\nmnist,vae,0,sse.train,0.30000000000000004,d\n"
    )


def test_runs_on_disk_replace_only_their_own_rows(suite: Path, put_run: Callable[..., Path]) -> None:
    committed = "mnist,vae,0,mse.train,9.0,old\nmnist,vae,0,gone.train,9.0,old\nmnist,vae,1,mse.train,8.0,old\n"
    (suite / "scores.csv").write_text(HEADER + committed)
    put_run("mnist", "vae", 0, {"mse.train": 1.0})
    collect(suite, pytest.fail)
    expected = HEADER + "mnist,vae,0,mse.train,1.0,d\nmnist,vae,1,mse.train,8.0,old\n"
    assert (suite / "scores.csv").read_text() == expected


def test_without_runs_scores_are_read_and_never_written(suite: Path) -> None:
    text = HEADER + "mnist,vae,1,mse.train,8.00,x\nmnist,vae,0,mse.train,nan,x\n"  # neither sorted nor canonical
    (suite / "scores.csv").write_text(text)
    (suite / "history.csv").write_text("dataset,method,seed,epoch,loss\nmnist,vae,0,1,2.50\n")
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in suite.iterdir()}
    frame = collect(suite, pytest.fail)
    history = collect_history(suite, pytest.fail)
    assert {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in suite.iterdir()} == before
    assert frame["value"].tolist()[1] == 8.0
    assert math.isnan(frame["value"].tolist()[0])
    assert history["loss"].tolist() == ["2.50"]


def test_numbers_that_are_not_finite_survive(suite: Path, put_run: Callable[..., Path]) -> None:
    folder = put_run("mnist", "vae", 0, {"a": math.inf, "b": math.nan, "c": -math.inf, "e": 1e-300})
    (folder / "scores.json").write_text((folder / "scores.json").read_text().replace('"nan"', "null"))
    first = collect(suite, pytest.fail)
    text = (suite / "scores.csv").read_bytes()
    (folder / "scores.json").unlink()
    second = collect(suite, pytest.fail)
    assert first["value"].tolist()[0] == second["value"].tolist()[0] == math.inf
    assert math.isnan(second["value"].tolist()[1])
    assert second["value"].tolist()[2:] == [-math.inf, 1e-300]
    assert (suite / "scores.csv").read_bytes() == text


@pytest.mark.parametrize("damage", ['{"mse.train": 1.', "[1, 2]", '{"mse.train": "many"}'])
def test_a_damaged_run_is_named_and_the_others_go_on(suite: Path, put_run: Callable[..., Path], damage: str) -> None:
    (put_run("mnist", "aae", 0, {}) / "scores.json").write_text(damage)
    put_run("mnist", "vae", 0, {"mse.train": 1.0})
    said: list[str] = []
    frame = collect(suite, said.append)
    assert frame["method"].tolist() == ["vae"]
    assert len(said) == 1
    assert str(suite / "runs" / "mnist" / "aae" / "seed-0") in said[0]


def test_a_folder_that_is_no_run_is_passed_over(suite: Path, put_run: Callable[..., Path]) -> None:
    folder = put_run("mnist", "vae", 0, {"mse.train": 1.0})
    folder.rename(folder.parent / "seed-0-old")
    assert collect(suite, pytest.fail).empty


def test_a_run_that_failed_has_no_scores(suite: Path, put_run: Callable[..., Path]) -> None:
    put_run("mnist", "vae", 0, {"mse.train": 1.0}, status="failed")
    assert collect(suite, pytest.fail).empty
    assert not (suite / "scores.csv").exists()


def test_a_damaged_scores_csv_is_a_sentence(suite: Path) -> None:
    (suite / "scores.csv").write_text(HEADER + "mnist,vae,zero,mse.train,1.0,x\n")
    with pytest.raises(RunError, match=r"scores\.csv: cannot be read"):
        collect(suite, pytest.fail)


def test_histories_are_merged_text_for_text(suite: Path, put_run: Callable[..., Path]) -> None:
    (suite / "history.csv").write_text(
        "dataset,method,seed,epoch,loss,kl\nmnist,avae,0,1,3.0,1e-08\nmnist,vae,0,1,9.0,\n"
    )
    put_run("mnist", "vae", 0, {"mse.train": 1.0})
    collect_history(suite, pytest.fail)
    expected = "dataset,method,seed,epoch,loss,kl\nmnist,avae,0,1,3.0,1e-08\nmnist,vae,0,1,0.50,\n"
    assert (suite / "history.csv").read_text() == expected
