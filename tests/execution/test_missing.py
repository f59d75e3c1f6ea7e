"""`run --missing`: a clone that holds committed scores, and no run folders, goes on where the last machine stopped."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

pytestmark = pytest.mark.usefixtures("undrawn")
Call = Callable[..., Result]
FEW = (
    "train_images=300", "validation_images=50", "test_images=60", "samples=60", "epochs=1",
    'metrics=["mse", "gaussian_kl"]',
)  # fmt: skip
RUN = ("run", "--suite", "quick", "--methods", "vae", *(word for setting in FEW for word in ("--set", setting)))
SUITE = Path("results", "quick")


def trained(folder: Path) -> set[str]:
    return {file.parent.name for file in folder.rglob("vae/seed-*/scores.json")}


def test_only_runs_without_committed_scores_are_run_and_the_report_shows_all(lvm_bench: Call, tmp_path: Path) -> None:
    assert lvm_bench(*RUN, "--seeds", "0", "--seeds", "1").exit_code == 0
    assert lvm_bench("report", "--suite", "quick").exit_code == 0
    before = (tmp_path / SUITE / "scores.csv").read_text()
    shutil.rmtree(tmp_path / SUITE / "runs")

    seeds = ("--seeds", "0", "--seeds", "1")
    assert "Nothing is left to do." in lvm_bench(*RUN, *seeds, "--missing", "--dry-run").stderr
    again = lvm_bench(*RUN, *seeds, "--missing")
    assert again.exit_code == 0
    assert "2 of 2 runs are finished already.\nNothing to do." in again.stderr
    assert trained(tmp_path / SUITE / "runs") == set()

    assert lvm_bench(*RUN, *seeds, "--seeds", "2", "--missing").exit_code == 0
    assert trained(tmp_path / SUITE / "runs") == {"seed-2"}
    assert lvm_bench("report", "--suite", "quick").exit_code == 0
    after = (tmp_path / SUITE / "scores.csv").read_text().splitlines()
    assert set(before.splitlines()) < set(after)
    assert {line.split(",")[2] for line in after if ",vae," in line} == {"0", "1", "2"}


def test_committed_scores_of_other_settings_do_not_count(lvm_bench: Call, tmp_path: Path) -> None:
    assert lvm_bench(*RUN, "--seeds", "0").exit_code == 0
    assert lvm_bench("report", "--suite", "quick").exit_code == 0
    shutil.rmtree(tmp_path / SUITE / "runs")
    assert lvm_bench(*RUN, "--seeds", "0", "--missing", "--set", "learning_rate=0.1").exit_code == 0
    assert trained(tmp_path / SUITE / "runs") == {"seed-0"}


def test_a_damaged_record_of_the_suite_is_a_sentence(lvm_bench: Call, tmp_path: Path) -> None:
    (tmp_path / SUITE).mkdir(parents=True)
    (tmp_path / SUITE / "about.json").write_text("{")
    result = lvm_bench(*RUN, "--seeds", "0", "--missing")
    assert result.exit_code == 1
    assert "about.json" in result.stderr
    assert "Traceback" not in result.output
