"""What git holds of each suite: data, tables that follow from them, the pictures that do not, and nothing rendered."""

import shutil
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from lvm_bench.report.tables import bandwidth
from lvm_bench.report.write import write_report
from lvm_bench.runs import checksums
from lvm_bench.runs.layout import CHECKSUMS
from lvm_bench.runs.verify import verify

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
SUITES = sorted(file.parent.name for file in RESULTS.glob("*/scores.csv"))
BY_HAND = {"NOTE.md", CHECKSUMS}  # of a suite's files those that no list names


@pytest.mark.parametrize("suite", SUITES)
def test_what_is_committed_follows_from_the_data(suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lvm_bench.report.figures.draw.write_all", lambda *_: [])  # which take most of the time
    shutil.copytree(RESULTS / suite, tmp_path / suite, ignore=shutil.ignore_patterns("runs", "tables", "claims.csv"))
    shutil.copytree(RESULTS / "bandwidth", tmp_path / "bandwidth")
    assert write_report(tmp_path, suite, [], None, "std", Console(quiet=True)) == 0
    made = {file.relative_to(tmp_path / suite): file.read_bytes() for file in (tmp_path / suite).rglob("*.*")
            if file.is_file()}  # fmt: skip
    there = {file.relative_to(RESULTS / suite): file.read_bytes() for file in (RESULTS / suite).rglob("*.*")
             if file.is_file() and "runs" not in file.relative_to(RESULTS / suite).parts}  # fmt: skip
    assert made.keys() == there.keys()
    assert [name for name in made if made[name] != there[name]] == []
    assert verify(tmp_path, suite).problems == []


def test_the_committed_bandwidths_are_read_and_written_again_as_they_are(tmp_path: Path) -> None:
    bandwidth.write(tmp_path, bandwidth.read(RESULTS / "bandwidth"))
    assert (tmp_path / bandwidth.FILE).read_bytes() == (RESULTS / "bandwidth" / bandwidth.FILE).read_bytes()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout")
def test_git_holds_nothing_that_is_rendered_and_little_in_all() -> None:
    command = ["git", "ls-files", "-z", "results"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")[:-1]
    files = [ROOT / name for name in names if (ROOT / name).is_file()]
    for suite in SUITES:
        own = {str(file.relative_to(RESULTS / suite)) for file in files if file.is_relative_to(RESULTS / suite)}
        assert own - BY_HAND == checksums.read(RESULTS / suite).keys(), suite
        assert all(map(checksums.is_committed, own - BY_HAND)), suite
        assert sum((RESULTS / suite / name).stat().st_size for name in own) < 3_000_000, suite
    assert {file.suffix for file in files} == {".csv", ".json", ".md", ".png", ".toml"}
    assert sum(file.stat().st_size for file in files) < 20_000_000


IN_README = [  # the columns of README's table of mnist-small, in their order: the table and its column
    ("frechet", "N ↓"), ("frechet", "N ex-post ↓"), ("frechet", "REC ↓"),
    ("precision-recall", "precision ↑"), ("precision-recall", "recall ↑"), ("kl", "to target ↓"),
]  # fmt: skip


def written_rows() -> list[list[str]]:
    """README's rows of the methods of mnist-small, from its committed tables: the label and the cells with marks."""
    cells: dict[str, dict[tuple[str, str], str]] = {}
    for table in dict.fromkeys(table for table, _ in IN_README):
        header: list[str] = []
        for line in (RESULTS / "mnist-small" / "tables" / f"{table}.md").read_text().splitlines():
            row = [cell.strip() for cell in line.split("|")[1:-1]]
            if line.startswith("| ") and not header:
                header = row
            elif line.startswith("| "):
                found = {(table, name): cell for name, cell in zip(header, row, strict=True)}
                cells.setdefault(row[0], {}).update(found)
    found = [[label, *(own.get(place, "–") for place in IN_README)] for label, own in cells.items()]
    return [row for row in found if "–" not in row]


def test_the_readmes_rows_are_those_of_the_committed_tables_with_their_marks() -> None:
    section = (ROOT / "README.md").read_text().partition("## Results: `mnist-small`")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    rows = written_rows()
    assert len(rows) == 7
    assert [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines] == rows


def test_suites_are_committed() -> None:
    assert {"quick", "mnist-small", "disentanglement-small"} <= {*SUITES}
