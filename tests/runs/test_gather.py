"""about.json and files.json: what `report` says its tables come from, and refuses to read when it was changed."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from made import CONDITIONS, FACTS, make_run, seal

from lvm_bench import disk
from lvm_bench.cli import main
from lvm_bench.errors import RunError
from lvm_bench.runs import checksums, suite_record
from lvm_bench.runs.gather import gather
from lvm_bench.runs.layout import site_folder
from lvm_bench.runs.lease import Leases
from lvm_bench.runs.score_files import write_scores

pytestmark = pytest.mark.usefixtures("undrawn")
RESULTS = Path(__file__).parents[2] / "results"
Call = Callable[..., Result]
Put = Callable[..., Path]


def killed(*_: object) -> None:
    """In the place of a step at which the command is killed."""
    raise KeyboardInterrupt


@pytest.fixture
def report(lvm_bench: Call, tmp_path: Path) -> Callable[[], Result]:
    def call() -> Result:
        return lvm_bench("report", "--results", tmp_path, "--suite", "small")

    return call


@pytest.fixture(scope="module")
def _reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("reported")
    put_run = partial(make_run, results / "small")
    plan = {"description": "made up", "order": 1, "seeds": [0, 1, 2]}
    for seed in (0, 1):
        put_run("mnist", "vae", seed, {"mse.train": 1.0 + seed}, plan=plan)
    put_run("mnist", "aae", 0, {"mse.train": 3.0}, plan=plan | {"order": 0})
    put_run("mnist", "real-images", 0, {"mse.train": 0.5}, plan=plan)
    put_run("mnist", "aae", 1, status="failed", reason="the loss became NaN", plan=plan | {"order": 0})
    put_run("digits", "avae", 0, status="declined", reason="needs colour", plan=plan | {"order": 2}, facts=None)
    put_run("mnist", "rae-l2", 0, status="running")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("lvm_bench.report.figures.draw.write_all", lambda *_: [])
        done = CliRunner().invoke(main, ["report", "--results", str(results)], catch_exceptions=False)
    assert done.exit_code == 0
    return results


@pytest.fixture
def suite(_reported: Path, tmp_path: Path) -> Path:
    """A reported suite: two methods and a control done, one run failed, a method declined, one at work."""
    shutil.copytree(_reported, tmp_path, dirs_exist_ok=True)
    return tmp_path / "small"


def test_about_says_what_the_scores_come_from(suite: Path) -> None:
    found = disk.read_record(suite / "about.json")
    assert found["suite"] == "small"
    assert (found["description"], found["extractor"]) == ("made up", "classifier")
    assert found["methods"] == ["aae", "vae", "avae"]
    assert found["seeds"] == [0, 1, 2]
    assert found["datasets"] == {"mnist": FACTS | {"seeds": [0, 1, 2]}, "digits": {"seeds": [0, 1, 2]}}
    assert [environment["device"] for environment in found["environments"]] == ["x86_64"] * 2  # a control has no code
    assert found["conditions"] == [CONDITIONS]
    assert all("seed" not in settings for settings in found["settings"])
    runs = {(run["dataset"], run["method"], run["seed"]): run for run in found["runs"]}
    assert {key: run["status"] for key, run in runs.items()} == {
        ("digits", "avae", 0): "declined", ("mnist", "aae", 0): "done", ("mnist", "aae", 1): "failed",
        ("mnist", "real-images", 0): "done", ("mnist", "vae", 0): "done", ("mnist", "vae", 1): "done",
    }  # fmt: skip
    one = runs["mnist", "vae", 1]
    assert found["settings"][one["settings"]]["method"] == "vae"
    assert one["seconds_training"] == 1.25
    assert runs["mnist", "aae", 1]["reason"] == "the loss became NaN"


def test_tables_say_why_runs_are_missing_here_and_without_the_runs(suite: Path, report: Callable[[], Result]) -> None:
    latex = (site_folder(suite) / "tables" / "reconstruction.tex").read_text()
    assert "AAE on MNIST: mean over 1 of 3 seeds; seed 1 failed: the loss became NaN" in latex
    assert "AVAE on digits: declined: needs colour" in latex
    shutil.rmtree(suite / "runs")

    def files() -> dict[Path, bytes]:
        """What needs no run's folder: all but the page, which shows runs."""
        places = [*suite.rglob("*"), *site_folder(suite).rglob("*")]
        return {file: file.read_bytes() for file in places if file.is_file() and file.name != "report.html"}

    before = files()
    assert report().exit_code == 0
    assert before == files()


def test_runs_that_are_gone_stay_and_those_here_come_over_them(
    suite: Path, put_run: Put, report: Callable[[], Result]
) -> None:
    shutil.rmtree(suite / "runs")
    put_run("mnist", "aae", 1, {"mse.train": 4.0}, facts=FACTS | {"samples": 7})
    report()
    found = suite_record.read(suite)
    assert len(found.runs) == 6
    assert {run.status for run in found.runs if run.method == "aae"} == {"done"}
    assert found.facts("mnist")["samples"] == 7
    assert "mnist,aae,1,mse.train,4.0\n" in (suite / "scores.csv").read_text()
    assert "mnist,vae,1,mse.train,2.0\n" in (suite / "scores.csv").read_text()


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*/about.json")), ids=lambda file: file.parent.name)
def test_what_is_committed_is_written_again_byte_for_byte(file: Path, tmp_path: Path) -> None:
    about = suite_record.read(file.parent)
    suite_record.write(tmp_path, about)
    assert (tmp_path / "about.json").read_bytes() == file.read_bytes()
    assert suite_record.read(tmp_path) == about


def test_an_about_of_old_is_read_and_its_failures_become_runs(tmp_path: Path) -> None:
    old = {"datasets": {"mnist": FACTS | {"seeds": [0, 1]}}, "methods": ["vae", "aae"]}
    disk.write_json(tmp_path / "about.json", old | {"declined": {"mnist/aae": "no"}, "failed": {"mnist/vae/1": "NaN"}})
    write_scores(tmp_path / "scores.csv", {("mnist", "vae", 0): {"mse.train": 1.0}})
    runs = gather(tmp_path, {}, pytest.fail).runs
    assert {(run.method, run.seed): (run.status, run.reason) for run in runs} == {
        ("vae", 0): ("done", ""), ("vae", 1): ("failed", "NaN"), ("aae", 0): ("declined", "no"),
        ("aae", 1): ("declined", "no"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"runs": [{"dataset": "mnist", "method": "vae", "seed": 0, "status": "done", "settings": 99}]},
        {"runs": [{"dataset": "..", "method": "vae", "seed": 0, "status": "done"}]},
        {"datasets": {"../../x": FACTS}},
        {"datasets": {"mnist": {"latent": "many"}}},
        {"methods": ["\\input{x}"]},
        {"settings": [json.loads('{"a":' * 400 + "1" + "}" * 400)]},
    ],
)
def test_a_sealed_about_of_another_form_is_a_sentence(suite: Path, changes: dict[str, Any]) -> None:
    file = suite / "about.json"
    seal(file, disk.read_record(file) | changes)
    with pytest.raises(RunError, match=r"about\.json: damaged.*Restore it"):
        suite_record.read(suite)


def test_everything_that_report_wrote_is_listed_last(suite: Path) -> None:
    listed = disk.read_record(suite / "files.json")
    there = {str(file.relative_to(suite)) for file in suite.rglob("*") if file.is_file()}
    assert listed.keys() == {name for name in there if not name.startswith("runs/")} - {"files.json"}
    assert all(disk.fault(suite / name, known) is None for name, known in listed.items())
    assert (suite / "files.json").stat().st_mtime_ns == max(
        file.stat().st_mtime_ns for file in suite.rglob("*") if file.is_file()
    )


@pytest.mark.parametrize("name", ["scores.csv", "history.csv", "about.json"])
def test_a_changed_file_that_report_reads_again_is_refused(
    suite: Path, report: Callable[[], Result], name: str
) -> None:
    text = (suite / name).read_text()
    (suite / name).write_text(text.replace("1", "2", 1))
    tables = {file: file.read_bytes() for file in (suite / "tables").iterdir()}
    result = report()
    assert result.exit_code == 1
    assert f"{suite / name}: damaged" in result.stderr
    assert "Restore it; or, when all its runs are here, delete it" in result.stderr
    assert tables == {file: file.read_bytes() for file in (suite / "tables").iterdir()}
    (suite / name).unlink()
    assert report().exit_code == 0
    assert (suite / name).read_text() == text


@pytest.mark.parametrize("name", ["scores.csv", "history.csv", "about.json"])
def test_a_file_that_is_gone_is_not_made_up_without_the_runs(
    suite: Path, report: Callable[[], Result], name: str
) -> None:
    (suite / name).unlink()
    shutil.rmtree(suite / "runs" / "mnist" / "vae")
    result = report()
    assert result.exit_code == 1
    assert f"{suite / name}: is missing, and 2 runs that it told of are not here (mnist/vae/seed-0" in result.stderr


@pytest.mark.parametrize("text", ["", "{}", '{"seal": "x"}', None])
def test_a_damaged_files_json_is_refused(suite: Path, report: Callable[[], Result], text: str | None) -> None:
    file = suite / "files.json"
    file.write_text(file.read_text().replace('"bytes": 1', '"bytes": 2', 1) if text is None else text)
    result = report()
    assert result.exit_code == 1
    assert "files.json: damaged" in result.stderr
    assert "delete it" in result.stderr
    file.unlink()
    assert report().exit_code == 0


@pytest.mark.parametrize("name", ["../other", "/etc/passwd", "tables/../../x", "runs/x", "tables/a/b", "tables/"])
def test_a_files_json_never_names_a_file_elsewhere(suite: Path, name: str) -> None:
    disk.write_record(suite / "files.json", {name: {"bytes": 1, "sha256": "0"}})
    with pytest.raises(RunError, match="which `report` never writes"):
        checksums.read(suite)


def test_what_a_report_of_one_table_does_not_write_stays_listed(suite: Path, lvm_bench: Call) -> None:
    before = disk.read_record(suite / "files.json")
    (suite / "tables" / "reconstruction.md").write_text("changed")
    lvm_bench("report", "--results", suite.parent, "--tables", "kl")
    after = disk.read_record(suite / "files.json")
    assert {name: after[name] for name in before} == before  # the changed one as it was written
    assert after.keys() - before.keys() == {"tables/kl.md"}


def test_two_reports_do_not_write_at_once(suite: Path, report: Callable[[], Result]) -> None:
    lease = Leases().take(suite)
    assert lease
    with lease:
        result = report()
    assert result.exit_code == 1
    assert "another `lvm-bench report` is writing here" in result.stderr
    assert report().exit_code == 0
    assert not [file for file in suite.iterdir() if file.name.startswith(".")]


def test_reports_leave_no_half_written_files(suite: Path, report: Callable[[], Result]) -> None:
    for place in (suite, site_folder(suite)):
        (place / "tables" / ".tmp-kl.csv-abc.csv").write_text("half")
        (place / ".tmp-report.html-abc.html").write_text("half")
    report()
    assert not list(suite.parent.rglob(".tmp-*"))


def test_a_report_that_was_killed_after_new_runs_leaves_no_false_alarm(
    suite: Path, put_run: Put, report: Callable[[], Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_run("mnist", "vae", 2, {"mse.train": 9.0}, plan={"description": "", "order": 1, "seeds": [0, 1, 2]})

    with monkeypatch.context() as patched:
        patched.setattr("lvm_bench.report.figures.draw.write_all", killed)
        assert report().exit_code != 0
    shutil.rmtree(suite / "runs")  # what was gathered then counts
    result = report()
    assert result.exit_code == 0, result.output
    assert "vae,2,mse.train,9.0" in (suite / "scores.csv").read_text()


@pytest.mark.parametrize("step", ["write_scores", "write_history"])
def test_a_first_report_that_was_killed_is_simply_made_again(
    step: str, put_run: Put, report: Callable[[], Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_run("mnist", "vae", 0, {"mse.train": 9.0})

    for _ in range(2):
        with monkeypatch.context() as patched:
            patched.setattr(f"lvm_bench.runs.gather.{step}", killed)
            assert report().exit_code != 0
    result = report()
    assert result.exit_code == 0, result.output


def test_a_report_that_was_killed_while_it_gathered_leaves_no_false_alarm(
    suite: Path, put_run: Put, report: Callable[[], Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_run("mnist", "vae", 2, {"mse.train": 9.0}, plan={"description": "", "order": 1, "seeds": [0, 1, 2]})

    with monkeypatch.context() as patched:
        patched.setattr("lvm_bench.runs.gather.write_history", killed)  # scores.csv is new then
        assert report().exit_code != 0
    assert report().exit_code == 0
