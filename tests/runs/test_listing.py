"""`lvm-bench list runs`: how far each run is, for readers and for machines."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from made import change, make_run

from lvm_bench.runs.layout import LEASE
from lvm_bench.runs.lease import Leases
from lvm_bench.training.checkpoint import Checkpoints

Call = Callable[..., Result]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    suite = tmp_path / "results" / "small"
    make_run(suite, "mnist", "vae", 0)
    make_run(suite, "mnist", "vae", 1, status="running")
    make_run(suite, "mnist", "aae", 0, status="trained")
    make_run(suite, "mnist", "aae", 1, status="failed", reason="line 3:\nthe loss\x1b[31m became NaN")
    make_run(suite, "mnist", "avae", 0, status="declined", reason="needs colour")
    make_run(suite, "mnist", "real-images", 0, {})
    (make_run(suite, "mnist", "wae-mmd", 0) / "job.json").write_text("{")
    return tmp_path / "results"


@pytest.fixture
def rows(lvm_bench: Call, results: Path) -> Callable[..., dict[str, dict[str, Any]]]:
    """`rows("--state", "done")`: what `--json` says, by method and seed."""

    def call(*options: str) -> dict[str, dict[str, Any]]:
        result = lvm_bench("list", "runs", "--results", results, "--json", *options)
        assert result.exit_code == 0
        return {f"{row['method']}-{row['seed']}": row for row in json.loads(result.stdout)}

    return call


Rows = Callable[..., dict[str, dict[str, Any]]]


def says(folder: Path, **doing: Any) -> None:
    """Let a lease say how far the work is."""
    lease = folder / LEASE
    lease.write_text(json.dumps(json.loads(lease.read_text()) | {"doing": doing}))


def test_every_state_is_told_from_the_others(rows: Rows) -> None:
    assert {name: row["state"] for name, row in rows().items()} == {
        "vae-0": "done", "vae-1": "interrupted", "aae-0": "trained", "aae-1": "failed", "avae-0": "declined",
        "real-images-0": "done", "wae-mmd-0": "damaged",
    }  # fmt: skip


def test_a_row_says_epoch_seconds_device_and_reason(rows: Rows) -> None:
    found = rows()
    assert found["vae-0"] == {
        "suite": "small", "dataset": "mnist", "method": "vae", "seed": 0, "state": "done", "epoch": 2, "epochs": 2,
        "seconds": 1.75, "device": "x86_64", "reason": "",
    }  # fmt: skip
    assert (found["vae-1"]["epoch"], found["vae-1"]["epochs"], found["vae-1"]["seconds"]) == (0, 2, None)
    assert (found["aae-0"]["epoch"], found["aae-0"]["seconds"]) == (2, 1.25)
    assert found["aae-1"]["reason"] == "line 3: the loss?[31m became NaN"
    assert found["avae-0"]["reason"] == "needs colour"
    assert "job.json: damaged" in found["wae-mmd-0"]["reason"]
    assert "lvm-bench run" in found["wae-mmd-0"]["reason"]


@pytest.mark.parametrize("method", ["vae", "wae-mmd", "new"])
def test_what_somebody_works_on_is_running_and_its_lease_says_how_far(rows: Rows, results: Path, method: str) -> None:
    lease = Leases().take(results / "small" / "runs" / "mnist" / method / "seed-1")
    assert lease
    with lease:
        says(lease.folder, epoch=3, epochs=9)
        row = rows()[f"{method}-1"]
    assert (row["state"], row["epoch"], row["epochs"]) == ("running", 3, 9)


def test_a_lease_that_says_nonsense_says_nothing(rows: Rows, results: Path) -> None:
    lease = Leases().take(results / "small" / "runs" / "mnist" / "vae" / "seed-1")
    assert lease
    with lease:
        says(lease.folder, epoch="\x1b[31m", epochs=[9])
        row = rows()["vae-1"]
    assert (row["state"], row["epoch"], row["epochs"]) == ("running", None, 2)


def test_of_an_interrupted_run_its_checkpoint_says_how_far(rows: Rows, results: Path) -> None:
    folder = results / "small" / "runs" / "mnist" / "vae" / "seed-1"
    checkpoints = Checkpoints(folder, "of this run", 0.0, print)
    checkpoints.save(({}, {"history": [{"epoch": 1.0}]}))
    assert rows()["vae-1"]["epoch"] == 1


def test_a_folder_that_was_taken_and_left_is_an_interrupted_run(rows: Rows, results: Path) -> None:
    folder = results / "small" / "runs" / "mnist" / "vae" / "seed-2"
    folder.mkdir()
    (folder / ".lock").touch()
    assert rows()["vae-2"]["state"] == "interrupted"


def test_states_are_chosen_and_a_misspelt_one_is_a_sentence(rows: Rows, results: Path, lvm_bench: Call) -> None:
    assert rows("--state", "failed", "--state", "trained").keys() == {"aae-0", "aae-1"}
    assert rows("--state", "committed") == {}
    result = lvm_bench("list", "runs", "--results", results, "--state", "faild")
    assert result.exit_code == 2
    assert "Unknown state 'faild'. Did you mean 'failed'?" in result.stderr


def test_the_table_has_one_line_per_run(results: Path, lvm_bench: Call) -> None:
    make_run(results / "other")
    lines = lvm_bench("list", "runs", "--results", results).stdout.splitlines()
    assert lines[0].split() == ["RUN", "STATE", "EPOCH", "SECONDS", "DEVICE", "REASON"]
    assert len(lines) == 1 + 7 + 1
    assert "small/mnist/vae/seed-0          done         2/2    2        x86_64" in lines
    assert all(line.isprintable() for line in lines)
    assert "small" not in lvm_bench("list", "runs", "--results", results, "--suite", "other").stdout


def test_a_reason_of_several_failures_is_told_once_and_controls_are_not_counted(results: Path, lvm_bench: Call) -> None:
    for method in ("vae", "aae", "real-images"):
        make_run(results / "broken", "mnist", method, 0, status="failed", reason="its loss is not finite")
    told = lvm_bench("list", "runs", "--results", results, "--suite", "broken", "--state", "failed,done")
    assert told.stdout.count("its loss is not finite") == 1
    assert told.stdout.count("the same as of broken/mnist/aae/seed-0") == 2
    assert told.stderr == "2 runs: 2 failed.\n"


def test_what_only_a_report_tells_of_is_committed(results: Path, rows: Rows, lvm_bench: Call) -> None:
    shutil.rmtree(results / "small" / "runs" / "mnist" / "wae-mmd")
    assert lvm_bench("report", "--results", results).exit_code == 0
    for method in ("vae", "aae"):
        shutil.rmtree(results / "small" / "runs" / "mnist" / method)
    found = rows()
    assert {name for name, row in found.items() if row["state"] == "committed"} == {"vae-0", "aae-1"}
    assert (found["vae-0"]["seconds"], found["vae-0"]["device"]) == (1.75, "x86_64")
    assert found["aae-1"]["reason"].startswith("failed: line 3")
    assert found["avae-0"]["state"] == "declined"


def test_a_damaged_about_is_a_sentence_beside_the_rows(results: Path, lvm_bench: Call) -> None:
    (results / "small" / "about.json").write_text("{")
    result = lvm_bench("list", "runs", "--results", results, "--json")
    assert result.exit_code == 1
    assert len(json.loads(result.stdout)) == 7
    assert "about.json: damaged" in result.stderr


def test_no_results_are_a_sentence(tmp_path: Path, lvm_bench: Call) -> None:
    result = lvm_bench("list", "runs", "--results", tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "Run a suite first" in result.stderr


def test_a_sealed_record_of_another_form_is_a_damaged_run(results: Path, rows: Rows) -> None:
    change(results / "small" / "runs" / "mnist" / "vae" / "seed-0", seconds_training="long")
    assert rows()["vae-0"]["state"] == "damaged"


def test_listing_and_verifying_import_neither_torch_nor_pandas(results: Path) -> None:
    """Of `report` see `test_report`."""
    code = (
        "import sys; from click.testing import CliRunner; from lvm_bench.cli import main\n"
        "for command in (['list', 'runs'], ['verify']):\n"
        f"    CliRunner().invoke(main, [*command, '--results', {str(results)!r}])\n"
        "    print([name for name in ('torch', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"
