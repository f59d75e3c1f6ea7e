"""Where a score's spread comes from: closed form and simulation of the variance components, and what stays on disk."""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from scipy.stats import f_oneway

from lvm_bench import disk
from lvm_bench.errors import RunError, UserError
from lvm_bench.report.tables import noise
from lvm_bench.runs.layout import REDRAWN
from lvm_bench.runs.record import scores_identity
from lvm_bench.runs.redraw_files import MOST, read_redraws, write_redraws

pytestmark = pytest.mark.usefixtures("undrawn")
Call = Callable[..., Result]
Put = Callable[..., Path]


def test_the_components_are_those_of_an_analysis_of_variance() -> None:
    values = np.random.default_rng(0).normal(size=(5, 4)) + 3 * np.random.default_rng(1).normal(size=(5, 1))
    seed, sampling = noise.variance_components(values)
    assert f_oneway(*values).statistic == pytest.approx(1 + 4 * seed / sampling)
    assert sampling == pytest.approx(np.mean([row.var(ddof=1) for row in values]))


def test_the_components_of_a_table_by_hand() -> None:
    """Means 1 and 4, of variance 4.5; each seed's evaluations have variance 2: 4.5 - 2/2 = 3.5."""
    assert noise.variance_components(np.array([[0.0, 2.0], [3.0, 5.0]])) == pytest.approx((3.5, 2.0))
    assert noise.variance_components(np.array([[0.0, 2.0], [0.0, 2.0]])) == pytest.approx((0.0, 2.0))


def test_one_seed_or_one_evaluation_tells_nothing_of_the_other_component() -> None:
    assert np.isnan(noise.variance_components(np.array([[1.0, 3.0]]))[0])
    assert noise.variance_components(np.array([[1.0, 3.0]]))[1] == 2
    assert np.isnan(noise.variance_components(np.array([[1.0], [3.0]]))).all()


@pytest.mark.parametrize(("of_seed", "of_sampling"), [(1.0, 0.2), (0.5, 2.0)])
def test_the_components_are_found_in_simulated_data(of_seed: float, of_sampling: float) -> None:
    rng = np.random.default_rng(2)
    found = [
        noise.variance_components(of_seed * rng.normal(size=(20, 1)) + of_sampling * rng.normal(size=(20, 6)))
        for _ in range(400)
    ]
    error = np.std(found, axis=0) / 20
    assert (np.abs(np.mean(found, axis=0) - [of_seed**2, of_sampling**2]) < 4 * error).all()


def redrawn(folder: Path, redraws: list[Any], identity: str | None = None, **more: Any) -> None:
    """Put redraws beside a run's scores, as they were before metrics had versions."""
    record = disk.read_record(folder / "job.json")
    own = scores_identity(record)
    disk.write_record(folder / REDRAWN, {"identity": identity or own, "redraws": redraws} | more)


@pytest.fixture
def results(tmp_path: Path, put_run: Put) -> Path:
    """Two seeds of two methods; of one method each seed is measured three times."""
    for seed in (0, 1):
        put_run("mnist", "vae", seed, {"frechet.fake@classifier": 3.0 * seed, "mse.train": 1.0})
        folder = put_run("mnist", "aae", seed, {"frechet.fake@classifier": 5.0, "mse.train": 1.0})
        redrawn(folder, [{"frechet.fake@classifier": 5.0 + seed}, {"frechet.fake@classifier": 5.0 + 2 * seed}])
    return tmp_path


def table(results: Path) -> list[dict[str, str]]:
    with (results / "site" / "small" / "tables" / "noise.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_report_gathers_redraws_and_keeps_them_without_the_runs(lvm_bench: Call, results: Path) -> None:
    assert lvm_bench("report", "--results", results).exit_code == 0
    (row,) = table(results)
    assert {key: row[key] for key in ("data set", "score", "method", "seeds", "evaluations")} == {
        "data set": "MNIST", "score": "frechet.fake@classifier", "method": "AAE", "seeds": "2", "evaluations": "3",
    }  # fmt: skip
    # Seed 0 scores 5, 5, 5 and seed 1 scores 5, 6, 7: means 5 and 6, variances 0 and 1.
    expected = {"mean": 5.5, "between": 0.5**0.5, "within": 0.5**0.5, "seeds alone": (0.5 - 0.5 / 3) ** 0.5}
    assert {key: float(row[key]) for key in expected} == pytest.approx(expected, rel=1e-3)
    assert lvm_bench("verify", "--results", results).exit_code == 0
    written = {name: (results / "small" / name).read_bytes() for name in ("resampled.csv", "tables/noise.md")}
    (results / "small" / "runs").rename(results / "elsewhere")
    assert lvm_bench("report", "--results", results).exit_code == 0
    assert {name: (results / "small" / name).read_bytes() for name in written} == written


def test_redraws_that_are_gone_leave_no_table(lvm_bench: Call, results: Path) -> None:
    lvm_bench("report", "--results", results)
    for file in results.rglob(REDRAWN):
        file.unlink()
    assert lvm_bench("report", "--results", results).exit_code == 0
    assert not list(results.rglob("noise.*")) + list((results / "small").glob("resampled.csv"))
    assert lvm_bench("verify", "--results", results).exit_code == 0


@pytest.mark.parametrize(
    ("redraws", "identity", "told"),
    [
        ([{"frechet.fake@classifier": 1.0}], "other", "was made with other weights or settings"),
        ([{"frechet.fake@classifier": "high"}], None, "holds no scores"),
        ([{"<script>": 1.0}], None, "holds no scores"),
        (["text", 3], None, "holds no scores"),
        ([{}] * (MOST + 1), None, "holds no scores"),
    ],
)
def test_redraws_that_are_none_are_left_out_with_a_sentence(
    redraws: list[Any], identity: str | None, told: str, lvm_bench: Call, results: Path
) -> None:
    folder = results / "small" / "runs" / "mnist" / "aae" / "seed-1"
    redrawn(folder, redraws, identity)
    result = lvm_bench("report", "--results", results)
    assert result.exit_code == 1
    assert told in result.stderr
    assert table(results)[0]["seeds"] == "1"
    found = lvm_bench("verify", "--results", results)
    assert found.exit_code == 1
    assert f"{folder / REDRAWN}" in found.stdout


@pytest.mark.parametrize(
    ("of_scores", "of_redraws", "shown"),
    [(2, None, False), (2, 2, True), (1, 2, False)],
)
def test_redraws_of_other_versions_than_the_scores_are_left_out_with_a_word(
    of_scores: int, of_redraws: int | None, shown: bool, lvm_bench: Call, results: Path
) -> None:
    both = ("frechet", "gaussian_kl")
    for seed in (0, 1):
        folder = results / "small" / "runs" / "mnist" / "aae" / f"seed-{seed}"
        record = disk.read_record(folder / "job.json")
        disk.write_record(folder / "job.json", record | {"measured": dict.fromkeys(both, of_scores)})
        more = {} if of_redraws is None else {"measured": [dict.fromkeys(both, of_redraws)]}
        redrawn(folder, [{"frechet.fake@classifier": 1.0, "gaussian_kl_floor.mean": 2.0}], **more)
    result = lvm_bench("report", "--full", "--results", results)
    assert result.exit_code == 0, result.stderr
    told = "2 runs of AAE have further evaluations of the metric 'frechet' in another version than the scores"
    assert (told in " ".join(result.stdout.split())) is not shown
    assert (results / "site" / "small" / "tables" / "noise.csv").exists() == shown
    (drawn,) = read_redraws(results / "small" / "resampled.csv")["mnist", "aae", 0]
    assert ("frechet.fake@classifier" in drawn) == shown
    assert "gaussian_kl_floor.mean" in drawn, "another metric, of version 1"


def test_damaged_redraws_are_left_out(lvm_bench: Call, results: Path) -> None:
    file = results / "small" / "runs" / "mnist" / "aae" / "seed-0" / REDRAWN
    file.write_bytes(file.read_bytes().replace(b"5.0", b"4.0"))
    result = lvm_bench("report", "--results", results)
    assert result.exit_code == 1
    assert "its contents do not match its seal" in result.stderr


def test_redraws_are_read_as_they_were_written(tmp_path: Path) -> None:
    redraws = {("mnist", "vae", 3): [{"b.fake": 0.1, "a.fake": math.inf}, {"b.fake": 1 / 3}]}
    write_redraws(tmp_path / "resampled.csv", redraws)
    assert read_redraws(tmp_path / "resampled.csv") == redraws
    assert read_redraws(tmp_path / "none.csv") == {}


@pytest.mark.parametrize(
    "row", ["mnist,vae,0,0,a.fake,1.0", "mnist,vae,0,1,a.fake,x", "../up,vae,0,1,a.fake,1.0", "mnist,vae,0,1", "\x00"]
)
def test_a_table_of_redraws_that_is_none_is_a_sentence(row: str, tmp_path: Path) -> None:
    (tmp_path / "resampled.csv").write_text(f"dataset,method,seed,redraw,metric,value\n{row}\n")
    with pytest.raises((RunError, UserError), match=r"cannot be read as a table|cannot name a folder"):
        read_redraws(tmp_path / "resampled.csv")


def test_scores_that_are_not_shown_and_infinite_ones_have_no_noise() -> None:
    key, other = ("mnist", "vae", 0), ("mnist", "aae", 0)
    redraws = {key: [{"a.fake": 1.0, "b.fake": math.inf, "c.fake": 1.0}], other: [{"a.fake": 1.0}]}
    found = noise.measured_noise({key: {"a.fake": 3.0, "b.fake": 1.0}}, redraws)
    assert [(row.method, row.metric, row.mean, row.within) for row in found] == [("vae", "a.fake", 2.0, 2**0.5)]
