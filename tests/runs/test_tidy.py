"""Scores as a tidy table, and the scores that an installed package carries behind the default results folder."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from click.testing import Result
from made import make_run

import lvm_bench as package
from lvm_bench.errors import UserError
from lvm_bench.report.write import emit
from lvm_bench.runs.layout import committed_folder, reported_folders

pytestmark = pytest.mark.usefixtures("undrawn")

COLUMNS = ["dataset", "method", "seed", "metric", "value"]


@pytest.fixture
def carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The suite `small` as an installed package carries it: scores of a VAE, without runs. The folder is empty else."""
    folder = tmp_path / "package" / "small"
    for seed in (0, 1):
        make_run(folder, method="vae", seed=seed, scores={"mse.train": 1.0 + seed})
    emit(folder)
    shutil.rmtree(folder / "runs")
    monkeypatch.setattr("lvm_bench.runs.layout.shipped_results", lambda: folder.parent)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


@pytest.fixture
def call(lvm_bench: Callable[..., Result], carried: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(carried.parents[1] / "work")
    return lvm_bench


def of(frame: object, method: str) -> list[float]:
    return [*frame[(frame.method == method) & (frame.metric == "mse.train")].value]  # type: ignore[attr-defined, index]


def test_scores_of_runs_and_of_what_was_committed_are_one_table(put_run: Callable[..., Path], tmp_path: Path) -> None:
    for seed in (0, 1):
        put_run("mnist", "vae", seed, {"mse.train": 1.0 + seed})
    emit(tmp_path / "small")
    shutil.rmtree(tmp_path / "small/runs/mnist/vae/seed-0")
    frame = package.scores("small", tmp_path)
    assert [*frame.columns] == COLUMNS
    assert of(frame, "vae") == [1.0, 2.0]


def test_the_committed_scores_of_a_checkout_are_read_without_torch() -> None:
    assert {"vae", "avae"} <= {*package.scores("mnist-small", Path(__file__).parents[2] / "results").method}
    assert package.scores.__module__ == "lvm_bench.runs.tidy"


def test_the_package_answers_where_nothing_is_here(carried: Path) -> None:
    assert of(package.scores("small"), "vae") == [1.0, 2.0]
    assert committed_folder(Path("results/small")) == carried
    assert not Path("results").exists()
    with pytest.raises(UserError, match="no results here"):
        package.scores("other")


def test_other_folders_than_the_default_have_nothing_behind_them(carried: Path) -> None:
    with pytest.raises(UserError, match="trial: no results here"):
        reported_folders(Path("trial"), "small")


def test_an_own_row_stands_beside_those_of_the_package(carried: Path, call: Callable[..., Result]) -> None:
    make = partial(make_run, Path("results/small"), scores={"mse.train": 7.0})
    make(method="mine", seed=0)
    for _ in range(2):  # the second time from what the first has written
        report = call("report", "--suite", "small", "--tables", "reconstruction")
        assert report.exit_code == 0, report.output
        assert "mine" in report.stdout
        assert "VAE" in report.stdout
    frame = package.scores("small")
    assert (of(frame, "vae"), of(frame, "mine")) == ([1.0, 2.0], [7.0])
    make(method="vae", seed=0)
    assert of(package.scores("small"), "vae") == [7.0, 2.0]


def test_the_report_of_a_carried_suite_needs_no_run(carried: Path, call: Callable[..., Result]) -> None:
    report = call("report", "--suite", "small", "--tables", "reconstruction")
    assert report.exit_code == 0, report.output
    assert "VAE" in report.stdout
