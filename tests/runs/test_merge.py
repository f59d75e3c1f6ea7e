"""`lvm-bench merge` and `lvm-bench drop`: results of two machines in one folder, and committed scores that go."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from made import CONDITIONS, VERSIONS, make_run

from lvm_bench.runs import checksums, suite_record
from lvm_bench.runs.gather import gather, write

Call = Callable[..., Result]

PLAN = {"description": "made up", "order": 0, "seeds": [0, 1]}


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders of results: on each one seed of two methods and a control."""
    for seed, name in enumerate("ab"):
        for order, method in enumerate(("vae", "avae")):
            scores = {"mse.train": 1.0 + seed + order}
            make_run(tmp_path / name / "small", "mnist", method, seed, scores, plan=PLAN | {"order": order})
        make_run(tmp_path / name / "small", "mnist", "real-images", seed, {"mse.train": 0.5})
    return tmp_path / "a", tmp_path / "b"


def means(results: Path) -> dict[str, tuple[float, int]]:
    """The mean and the number of runs of each method that tables would show."""
    frame = gather(results / "small", checksums.read(results / "small"), pytest.fail).frame
    own = frame[(frame["metric"] == "mse.train") & (frame["method"] != "real-images")]
    return {str(name): (rows["value"].mean(), len(rows)) for name, rows in own.groupby("method", observed=True)}


def commit(results: Path) -> None:
    """What a report leaves of the runs, without their folders."""
    small = results / "small"
    write(small, gather(small, {}, pytest.fail), {})
    shutil.rmtree(small / "runs")


def said(result: Result) -> str:
    return " ".join((result.stdout + result.stderr).split())


@pytest.mark.parametrize("committed", ["none", "b", "both"])
def test_runs_and_committed_scores_of_two_machines_become_one_suite(
    lvm_bench: Call, machines: tuple[Path, Path], tmp_path: Path, committed: str
) -> None:
    for folder in machines:
        if committed in (folder.name, "both"):
            commit(folder)
    result = lvm_bench("merge", *machines, "--into", tmp_path / "all")
    assert result.exit_code == 0, result.output
    assert "6 runs joined, 0 there already, 0 left out." in result.stdout
    assert lvm_bench("verify", "--results", tmp_path / "all").exit_code == 0
    assert means(tmp_path / "all") == {"vae": (1.5, 2), "avae": (2.5, 2)}
    again = lvm_bench("merge", *machines, "--into", tmp_path / "all")
    assert (again.exit_code, again.stderr) == (0, "")
    assert "0 runs joined, 6 there already, 0 left out." in again.stdout
    assert len([*tmp_path.glob("all/small/runs/*/*/*/job.json")]) == {"none": 6, "b": 3, "both": 0}[committed]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"settings": CONDITIONS | {"seed": 2, "arguments": {"beta": 4}}},
            "arguments.beta = 4 there and not set here",
        ),
        ({"fingerprint": "e" * 64}, "the data's checksum = eeeeeeeeee there and ffffffffff here"),
        ({"environment": {"versions": VERSIONS | {"method": "ba98"}}}, "the file of its method is another than that"),
        ({"status": "trained"}, "is not finished"),
    ],
)
def test_a_run_that_does_not_fit_is_left_out_and_named(
    lvm_bench: Call, machines: tuple[Path, Path], tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    make_run(tmp_path / "b" / "small", "mnist", "vae", 2, {"mse.train": 99.0}, **{"plan": PLAN} | changes)
    if "status" not in changes:  # the other seeds of this folder are of the same method
        shutil.rmtree(tmp_path / "b" / "small" / "runs" / "mnist" / "vae" / "seed-1")
    result = lvm_bench("merge", *machines, "--into", tmp_path / "all")
    assert result.exit_code == 1
    assert words in said(result)
    assert "mnist/vae/seed-2" in said(result)
    assert "1 left out" in said(result)
    assert means(tmp_path / "all")["vae"] == ((1.5, 2) if "status" in changes else (1.0, 1))


def test_methods_under_other_conditions_are_not_joined(
    lvm_bench: Call, machines: tuple[Path, Path], tmp_path: Path
) -> None:
    make_run(tmp_path / "b" / "small", "mnist", "aae", 0, {"mse.train": 99.0}, conditions={"epochs": 3})
    result = lvm_bench("merge", *machines, "--into", tmp_path / "all")
    assert "was run under other conditions than" in said(result)
    assert "(epochs = 3 there and 2 here)" in said(result)
    assert {*means(tmp_path / "all")} == {"vae", "avae"}


def test_other_versions_are_joined_and_told(lvm_bench: Call, machines: tuple[Path, Path], tmp_path: Path) -> None:
    other = {"versions": VERSIONS | {"torch": "2.11.0", "method": "0123456789ab"}}
    make_run(tmp_path / "b" / "small", "mnist", "vae", 2, plan=PLAN, environment=other)
    result = lvm_bench("merge", *machines, "--into", tmp_path / "all")
    assert result.exit_code == 0
    assert "Not all runs were made with the same versions and machines (torch 2.11.0 in 1 run" in said(result)


def test_a_run_that_both_have_otherwise_and_a_damaged_one_are_left_out(
    lvm_bench: Call, machines: tuple[Path, Path]
) -> None:
    a, b = machines
    make_run(b / "small", "mnist", "vae", 0, {"mse.train": 77.0}, plan=PLAN)
    (b / "small/runs/mnist/avae/seed-1/model.safetensors").write_bytes(b"damaged")
    result = lvm_bench("merge", b, "--into", a)
    assert result.exit_code == 1
    assert "mnist/vae/seed-0: is here already, not made alike" in said(result)
    assert "mnist/avae/seed-1: is damaged" in said(result)
    assert means(a) == {"vae": (1.5, 2), "avae": (2.0, 1)}


def test_mistakes_are_sentences(lvm_bench: Call, machines: tuple[Path, Path], tmp_path: Path) -> None:
    a, _ = machines
    same = lvm_bench("merge", a, "--into", a)
    assert same.exit_code == 2
    assert "Leave it out" in same.stderr
    assert lvm_bench("merge", tmp_path / "nowhere", "--into", a).exit_code == 2
    unknown = lvm_bench("drop", "--results", a, "--suite", "small", "--methods", "avea")
    assert unknown.exit_code == 2
    assert "Did you mean 'avae'?" in unknown.stderr
    here = lvm_bench("drop", "--results", a, "--suite", "small", "--methods", "avae")
    assert here.exit_code == 2
    assert "The folders of 1 run are here (mnist/avae/seed-0): delete these." in here.stderr


def test_committed_scores_of_a_method_are_dropped_and_its_folders_stay(
    lvm_bench: Call, machines: tuple[Path, Path]
) -> None:
    a, b = machines
    lvm_bench("merge", b, "--into", a)
    shutil.rmtree(a / "small/runs/mnist/vae/seed-1")
    result = lvm_bench("drop", "--results", a, "--suite", "small", "--methods", "vae")
    assert result.exit_code == 0
    assert "Removed 1 run: mnist/vae/seed-1." in said(result)
    assert "The folders of 1 run are here (mnist/vae/seed-0): these stay" in said(result)
    assert means(a) == {"vae": (1.0, 1), "avae": (2.5, 2)}
    shutil.rmtree(a / "small/runs")
    assert lvm_bench("drop", "--results", a, "--suite", "small", "--methods", "vae").exit_code == 0
    assert means(a) == {"avae": (2.5, 2)}
    assert suite_record.read(a / "small").methods == ["avae"]
    for name in ("scores.csv", "history.csv"):
        assert ",vae," not in (a / "small" / name).read_text()
    assert lvm_bench("verify", "--results", a).exit_code == 0
    everything = [option for name in ("avae", "real-images") for option in ("--methods", name)]
    assert lvm_bench("drop", "--results", a, "--suite", "small", *everything).exit_code == 0
    assert means(a) == {}
