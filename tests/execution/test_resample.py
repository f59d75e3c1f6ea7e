"""`run --resample`: further evaluations of the same weights, kept one by one, and nothing else changed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lvm_bench import disk
from lvm_bench.evaluation.score import evaluate, is_drawn
from lvm_bench.runs.layout import REDRAWING, REDRAWN
from lvm_bench.runs.redraws import redraws_of

Call = Callable[..., Result]
METRICS = ["mse", "gaussian_kl", "mmd", "frechet"]
VAE = (
    "run", "--suite", "quick", "--seeds", "0", "--methods", "vae", "--set=epochs=1", "--set=classifier_epochs=1",
    "--set=train_images=200", "--set=test_images=60", f"--set=metrics={json.dumps(METRICS)}",
)  # fmt: skip


def folder(results: Path) -> Path:
    return results / "quick" / "runs" / "digits" / "vae" / "seed-0"


def contents(place: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder(place).iterdir() if file.name != "job.json"}


def redraws(place: Path) -> list[dict[str, float]]:
    return [made.scores for made in redraws_of(folder(place), disk.read_record(folder(place) / "job.json"))]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one run, measured three times at once."""
    from lvm_bench.cli import main

    results = tmp_path_factory.mktemp("finished") / "results"
    result = CliRunner().invoke(main, [*VAE, "--resample", "2", "--results", str(results)])
    assert result.exit_code == 0, result.output
    return results


def test_what_draws_is_measured_again_with_other_draws_and_the_rest_is_not(finished: Path) -> None:
    scores = json.loads((folder(finished) / "scores.json").read_text())
    made = redraws(finished)
    drawn = {
        "frechet.fake@classifier", "frechet.expost@classifier", "frechet.interpolated@classifier", "mmd.mean",
        "mmd.sampled", "gaussian_kl.sampled",
    }  # fmt: skip
    assert [scores.keys() & one.keys() for one in made] == [drawn, drawn]
    for metric in drawn:
        values = [scores[metric], *(one[metric] for one in made)]
        assert len({*values}) == 3
    assert not (folder(finished) / REDRAWING).exists()


def test_the_same_bytes_come_of_runs_that_are_measured_later_one_by_one(
    finished: Path, lvm_bench: Call, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    assert lvm_bench(*VAE).exit_code == 0
    record = (folder(results) / "job.json").read_bytes()
    for count in (1, 2, 2, 1):
        assert lvm_bench(*VAE, "--resample", count).exit_code == 0
    assert contents(results) == contents(finished)
    assert (folder(results) / "job.json").read_bytes() == record
    assert lvm_bench("verify").exit_code == 0


def test_a_redraw_that_was_interrupted_goes_on_and_one_that_fails_takes_nothing_away(
    lvm_bench: Call, tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"
    assert lvm_bench(*VAE, "--resample", 1).exit_code == 0
    whole, calls = evaluate, []

    def failing(*given: object, **options: object) -> object:
        calls.append(whole(*given, **options))  # type: ignore[arg-type]
        raise RuntimeError("on purpose")

    monkeypatch.setattr("lvm_bench.execution.run.evaluate", failing)
    result = lvm_bench(*VAE, "--resample", 2)
    assert result.exit_code == 1
    assert "on purpose" in result.stderr
    assert disk.read_record(folder(results) / "job.json")["status"] == "done"
    assert len(redraws(results)) == 1
    kept = disk.read_record(folder(results) / REDRAWING)["scores"]
    assert len(kept) == 6
    assert lvm_bench("verify").exit_code == 0
    monkeypatch.setattr("lvm_bench.execution.run.evaluate", whole)
    assert lvm_bench(*VAE, "--resample", 2).exit_code == 0
    assert contents(results) == contents(finished)


def test_damaged_redraws_are_made_anew_and_those_of_other_scores_do_not_stay(
    lvm_bench: Call, tmp_path: Path, finished: Path
) -> None:
    results = tmp_path / "results"
    assert lvm_bench(*VAE, "--resample", 1).exit_code == 0
    file = folder(results) / REDRAWN
    file.write_text("{}")
    result = lvm_bench(*VAE, "--resample", 2)
    assert "do not match its seal. It is made anew." in result.stderr
    assert contents(results) == contents(finished)
    (folder(results) / "scores.json").unlink()
    assert lvm_bench(*VAE, "--set=samples=50").exit_code == 0
    assert not file.exists()


@pytest.mark.parametrize(
    ("parameters", "variant", "drawn"),
    [
        ({"codes"}, "mean", False), ({"codes"}, "sampled", True), ({"codes", "seed"}, "mean", True),
        ({"reference_features", "fake_features"}, "recon", False), ({"fake_features"}, "fake", True),
        ({"fake_features"}, "expost", True), ({"fake_features"}, "expost-flow", True),
        ({"fake_features"}, "interpolated", True),
        ({"codes", "prior_codes", "neighbours"}, "mean", True), ({"real", "recon"}, "grid", True),
        ({"grid_codes", "factor_sizes"}, "grid", False), ({"grid_codes", "directions"}, "grid", True),
    ],
)  # fmt: skip
def test_what_changes_with_the_draws_of_an_evaluation(parameters: set[str], variant: str, drawn: bool) -> None:
    assert is_drawn(parameters, variant) == drawn
