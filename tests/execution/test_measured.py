"""Metrics are added to finished runs one by one, and settings that mean the same are the same."""

import json
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from lvm_bench import disk
from lvm_bench.registry import METRICS
from lvm_bench.runs.standing import surveyed
from lvm_bench.suites import bench_toml
from lvm_bench.suites.resolve import resolve

Call = Callable[..., Result]
FEW = (
    "--set=epochs=1", "--set=train_images=300", "--set=validation_images=50", "--set=test_images=60",
    "--set=samples=60", "--set=threads=1",
)  # fmt: skip
RUN = ("run", "--suite", "quick", "--methods", "vae", "--seeds", "0", *FEW)
TWO = "--set=metrics=['mse','gaussian_kl']"
PLUGIN = """
from lvm_bench import metric

@metric("brightness", better="none", of=("fake",), version={version})
def brightness(fake):
    {body}
"""
RUNS = ("real-images", "standard-normal", "vae")


@pytest.fixture
def done(lvm_bench: Call, tmp_path: Path) -> Iterator[Path]:
    """Finished runs that two metrics were measured of, twice."""
    result = lvm_bench(*RUN, TWO, "--resample", "1")
    assert result.exit_code == 0, result.stderr
    yield tmp_path / "results/quick/runs/digits"
    METRICS._entries.pop("brightness", None)


def not_again(**_: Any) -> float:
    raise AssertionError("a metric of before was called")


def plugin(body: str, version: int = 1) -> str:
    METRICS._entries.pop("brightness", None)
    file = Path(f"brightness_{version}_{len(body)}.py")  # a file is loaded once
    file.write_text(PLUGIN.format(version=version, body=body))
    return f"--plugin={file}"


def scores(run: Path) -> dict[str, Any]:
    return json.loads((run / "scores.json").read_text())


def test_a_metric_that_is_added_is_measured_alone(done: Path, lvm_bench: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: scores(done / name / "seed-0") for name in RUNS}
    files = {file: file.read_bytes() for file in (done / "vae/seed-0").iterdir() if file.suffix != ".json"}
    redraws = disk.read_record(done / "vae/seed-0/resampled.json")["redraws"]
    three, given = "--set=metrics=['gaussian_kl','brightness']", plugin("return float(fake.mean())")
    with monkeypatch.context() as patch:
        patch.setitem(METRICS._entries, "mse", wraps(METRICS["mse"])(not_again))
        patch.setitem(METRICS._entries, "gaussian_kl", wraps(METRICS["gaussian_kl"])(not_again))
        added = lvm_bench(*RUN, three, given)
    assert added.exit_code == 0, added.stderr
    for name in ("real-images", "vae"):
        now = scores(done / name / "seed-0")
        assert now.pop("brightness.fake") > 0
        assert now == before[name]
    assert {file: file.read_bytes() for file in files} == files
    assert disk.read_record(done / "vae/seed-0/resampled.json")["redraws"] == redraws
    assert not [*done.rglob("*partial*")]
    assert "Nothing is left" in lvm_bench(*RUN, "--set=metrics=['brightness','mse']", given, "--dry-run").stderr
    assert lvm_bench("verify").exit_code == 0


def test_a_costly_metric_is_measured_where_it_is_named(tmp_path: Path, lvm_bench: Call) -> None:
    file = tmp_path / "dear.py"
    file.write_text(PLUGIN.format(version="1, costly=True", body="return 0.0"))

    def chosen(*metrics: str) -> dict[str, int]:
        own = bench_toml.defaults_folder() / "bench.toml"
        said = json.dumps(metrics or "all")
        return resolve(own, "quick", plugins=(file,), settings=(f"metrics={said}",)).jobs[0].metrics

    every = chosen()
    assert "brightness" not in every
    assert chosen("all", "brightness") == every | {"brightness": 1}
    assert chosen("all") == every
    assert {*chosen("brightness", "mse")} == {"brightness", "mse"}
    assert "Costly" in lvm_bench("list", "metrics", "--plugin", str(file)).stdout
    METRICS._entries.pop("brightness", None)


def test_redraws_of_an_older_version_are_measured_anew_alone(
    done: Path, lvm_bench: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = done / "vae/seed-0/resampled.json"
    before = disk.read_record(file)
    three = "--set=metrics=['mse','gaussian_kl','brightness']"
    assert lvm_bench(*RUN, three, plugin("return 1.0"), "--resample", "1").exit_code == 0
    (one,) = disk.read_record(file)["redraws"]
    assert one == before["redraws"][0] | {"brightness.fake": 1.0}
    assert [{*measured} for measured in disk.read_record(file)["measured"]] == [{"brightness", "gaussian_kl", "mse"}]
    monkeypatch.setitem(METRICS._entries, "gaussian_kl", wraps(METRICS["gaussian_kl"])(not_again))
    given = (*RUN, three, plugin("return 2.0", version=2))
    assert lvm_bench(*given).exit_code == 0
    assert disk.read_record(file)["redraws"] == before["redraws"], "those of version 1 are gone"
    assert lvm_bench(*given, "--resample", "1").exit_code == 0
    assert disk.read_record(file)["redraws"] == [one | {"brightness.fake": 2.0}]
    assert lvm_bench("verify").exit_code == 0


def test_a_newer_version_is_measured_anew_and_listed_until_then(done: Path, lvm_bench: Call) -> None:
    three = "--set=metrics=['mse','gaussian_kl','brightness']"
    assert lvm_bench(*RUN, three, plugin("return 1.0")).exit_code == 0
    assert "lacks" not in lvm_bench("list", "runs").stdout
    assert lvm_bench(*RUN, "--seeds", "1", three, plugin("return 2.0", version=2)).exit_code == 0
    run = done / "vae/seed-1"
    assert scores(run)["brightness.fake"] == 2.0
    assert scores(done / "vae/seed-0")["brightness.fake"] == 2.0, "both seeds were asked for"
    record = disk.read_record(run / "job.json")
    assert record["measured"] == {name: METRICS[name].metric.version for name in ("mse", "gaussian_kl")} | {
        "brightness": 2
    }


def test_a_run_that_lacks_what_others_have_is_listed(done: Path, lvm_bench: Call) -> None:
    other = tuple(word if word != "0" else "1" for word in RUN)
    assert lvm_bench(*other, "--set=metrics=['mse','sse']").exit_code == 0
    lines = [line for line in lvm_bench("list", "runs").stdout.splitlines() if "/vae/" in line]
    assert "It lacks sse: `lvm-bench run` measures what it lacks." in next(line for line in lines if "seed-0" in line)
    assert "It lacks gaussian_kl:" in next(line for line in lines if "seed-1" in line)


def test_an_added_metric_that_raises_takes_nothing_away(done: Path, lvm_bench: Call) -> None:
    asked = (done / "real-images/seed-0", done / "vae/seed-0")  # draws from the prior have no brightness
    before = {file: file.read_bytes() for run in asked for file in run.iterdir()}
    three = "--set=metrics=['mse','gaussian_kl','brightness']"
    failed = lvm_bench(*RUN, three, plugin("raise ValueError('too dark')"))
    assert failed.exit_code == 1
    assert "ValueError: too dark" in failed.stderr
    assert {file: file.read_bytes() for file in before} == before
    assert lvm_bench("verify").exit_code == 0
    assert lvm_bench(*RUN, three, plugin("return 1.0")).exit_code == 0
    assert not [*done.rglob("*partial*")]


@pytest.mark.parametrize(
    "same",
    [
        ("--set=metrics=['gaussian_kl','mse']",),
        ("--set=metrics=['mse']",),
        (TWO, "--set=precision='float32'"),
        (TWO, "--set=votes=17", "--set=dci_samples=99"),
    ],
)
def test_settings_that_mean_the_same_are_the_same(same: tuple[str, ...], done: Path, lvm_bench: Call) -> None:
    assert "Nothing is left to do." in lvm_bench(*RUN, *same, "--dry-run").stderr
    other = lvm_bench(*RUN, *same, "--dry-run", "--set=samples=50")
    assert other.exit_code == 2
    assert "was run with other settings (samples = 60 then, 50 now)." in other.stderr


def test_runs_of_before_have_all_metrics_of_then(tmp_path: Path) -> None:
    found = resolve(bench_toml.defaults_folder() / "bench.toml", "quick", methods=("vae",), seeds=(0,))
    from lvm_bench.runs.measured import lacking, measured

    old, now = {"settings": {"metrics": "all"}}, found.jobs[0].metrics
    later = {"equilibrium_variance", "frechet_originals", "gaussian_kl_parts", "psnr"}
    assert lacking(measured(old), now) == [name for name, version in now.items() if version > 1 or name in later]
    assert lacking(measured(old), {"mse": 2, "new": 1}) == ["mse", "new"]
    assert lacking(measured({"settings": {"metrics": ["mse"]}}), {"mse": 1, "sse": 1}) == ["sse"]
    assert all(standing.lacks == [] for _, standing in surveyed(found, tmp_path))
