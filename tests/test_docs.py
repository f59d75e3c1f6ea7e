"""README and the documentation: short, with files and links that are there, and commands that the command line takes.

`make docs` runs every command; a sample is run here.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_check", ROOT / "docs" / "check.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["docs_check"] = module
    spec.loader.exec_module(module)
    return module


def test_the_readme_is_read_in_minutes() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 110
    assert text.count("![") == 1


def test_the_command_line_takes_every_command_that_is_shown(check: ModuleType) -> None:
    shown = [
        (block.place, command.line)
        for page in check.pages()
        for block in check.blocks(page)
        for command in check.commands(block)
    ]
    assert len(shown) > 60
    assert [(place, line, reason) for place, line in shown if (reason := check.parse(line))] == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("lvm-bench run --suite quick --epochs 3", "--epochs"),
        ("lvm-bench run --suite quik", "quik"),
        ("lvm-bench rum", "rum"),
        ("lvm-bench run --suite quik || echo no", "quik"),
    ],
)
def test_a_command_that_would_be_refused_is_found(check: ModuleType, line: str, reason: str) -> None:
    assert reason in check.parse(line)


def test_what_is_shown_of_an_output_may_leave_lines_and_words_out(check: ModuleType) -> None:
    printed = "first line\nsecond  line 12.5 s\nthird\n"
    assert check.is_like("...\nsecond line ... s\nthird\n", printed)
    assert check.is_like("first ...\n...\n", printed)
    assert not check.is_like("...\nfourth\n", printed)
    assert not check.is_like("first line\n", printed)
    assert check.is_like(*map(check.without_numbers, ("A 1.29 ± 0.27  ≈ B\n", "A 33 ± 4\n")))


def test_no_markdown_file_links_to_what_is_not_there(check: ModuleType) -> None:
    assert check.of_markdown() == []


def test_files_are_shown_as_they_lie_and_scripts_are_well_formed(check: ModuleType) -> None:
    examples = {file.name: file for file in (ROOT / "docs" / "examples").glob("*.py")}
    for page in check.pages():
        for block in check.blocks(page):
            if block.what in examples:
                assert check.same(block, examples[block.what]) == []
    text = "".join(page.read_text() for page in check.pages())
    assert [name for name in examples if name not in text] == []
    assert check.scripts() == []


def test_a_sample_of_what_the_documentation_shows_runs(check: ModuleType, tmp_path: Path) -> None:
    wrong, ran, _ = check.tried(ROOT / "docs" / "extend" / "table.md", tmp_path)
    assert wrong == []
    assert ran == 2


@pytest.mark.parametrize(
    ("codes", "jobs"), [((75, 75, 0), 3), ((0,), 1), ((1,), 1), ((75, 2), 2)], ids=lambda given: str(given)
)
def test_a_slurm_job_submits_itself_again_while_work_is_left(
    codes: tuple[int, ...], jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sbatch` and `srun` are stand-ins, and `lvm-bench` ends with one exit code after the other."""
    (tmp_path / "left").write_text("".join(f"{code}\n" for code in codes))
    runner = tmp_path / "lvm-bench"
    runner.write_text('#!/bin/bash\necho "$@"; code=$(head -1 left); sed -i 1d left; exit "$code"\n')
    runner.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{ROOT / 'docs' / 'stubs'}:{os.environ['PATH']}")
    script = ROOT / "docs" / "examples" / "slurm" / "one_job.sbatch"
    done = subprocess.run(["sbatch", str(script), "paper"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == codes[-1]
    assert done.stdout.count("run --suite paper --time-budget") == jobs
    assert done.stdout.count("Submitted batch job") == jobs


@pytest.mark.parametrize("kind", ["method", "metric"])
def test_every_method_and_metric_has_what_its_section_of_the_documentation_shows(kind: str) -> None:
    from lvm_bench.suites import bench_toml
    from lvm_bench.suites.discover import extensions

    entries = extensions(bench_toml.defaults_folder() / "bench.toml", installed=False)[kind]
    assert entries
    if kind == "method":
        assert [name for name, entry in entries.items() if not entry.options.get("formula")] == []
    assert [name for name, entry in entries.items() if not entry.description] == []
