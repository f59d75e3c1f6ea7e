"""Committed reports are not stale: the tables of every committed suite follow from its scores."""

import shutil
from pathlib import Path

import pytest
from rich.console import Console

from lvm_bench.report.write import write_report

RESULTS = Path(__file__).parents[2] / "results"
SUITES = sorted(file.parent.name for file in RESULTS.glob("*/scores.csv"))


@pytest.mark.parametrize("suite", SUITES)
def test_tables_follow_from_the_scores(suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lvm_bench.report.figures.draw.write_all", lambda *_: [])  # which take most of the time
    shutil.copytree(RESULTS / suite, tmp_path / suite, ignore=shutil.ignore_patterns("runs", "tables", "claims.csv"))
    shutil.copytree(RESULTS / "bandwidth", tmp_path / "bandwidth")
    assert write_report(tmp_path, suite, [], None, "std", Console(quiet=True)) == 0
    for name in ("claims.csv", *(f"tables/{file.name}" for file in (RESULTS / suite / "tables").iterdir())):
        assert (tmp_path / suite / name).read_bytes() == (RESULTS / suite / name).read_bytes(), name


def test_suites_are_committed_with_their_reports() -> None:
    assert {"quick", "mnist-small", "disentanglement-small"} <= {*SUITES}
    assert all((RESULTS / suite / "report.html").is_file() for suite in SUITES)
