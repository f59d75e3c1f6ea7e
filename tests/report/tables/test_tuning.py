"""A search in the report: the expected best of n draws by brute force, and the tables of choices made by hand."""

import csv
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from lvm_bench.report.figures import tuning as figures
from lvm_bench.report.figures.files import Folder
from lvm_bench.report.tables import statistics
from lvm_bench.report.tables.tuning import importance_table, ranked_scores, search_table
from lvm_bench.runs import choice as choices
from lvm_bench.runs.choice import Choice, Trial, best_of
from lvm_bench.runs.suite_record import About

Put = Callable[..., Path]
KEY = "frechet.fake@classifier"


@given(st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=4), st.booleans())
def test_the_expected_best_is_that_of_all_ways_to_draw(values: list[float], higher: bool) -> None:
    mean, deviation = statistics.expected_best(np.array(values), higher)
    for n in range(1, len(values) + 1):
        best = [(max if higher else min)(drawn) for drawn in product(values, repeat=n)]
        assert mean[n - 1] == pytest.approx(np.mean(best), abs=1e-12)
        assert deviation[n - 1] == pytest.approx(np.std(best), abs=1e-9)


def test_the_expected_best_of_two_by_hand() -> None:
    """Of 0 and 1, two draws give 1 unless both are 0: 3/4, with a variance of 3/16."""
    mean, deviation = statistics.expected_best(np.array([1.0, 0.0]), higher=True)
    assert mean == pytest.approx([0.5, 0.75])
    assert deviation == pytest.approx([0.5, (3 / 16) ** 0.5])


def made(scores: list[float | None], better: str = "lower", method: str = "vae") -> Choice:
    """Trials of beta = 1, 2, ... and of a rule, which alternates."""
    trials = [
        Trial(settings={"beta": 1.0 + k, "rule": ("a", "b")[k % 2]}, score=score, seconds=30.0)
        for k, score in enumerate(scores)
    ]
    return Choice.model_validate(
        {
            "suite": "small", "dataset": "mnist", "method": method, "label": "VAE", "score": KEY, "better": better,
            "seed": 3, "ranges": {"beta": "1..9", "rule": ["a", "b"]}, "trials": trials,
            "chosen": best_of(scores, better),
        }
    )  # fmt: skip


def test_a_draw_without_a_score_is_counted_and_ranked_as_the_worst() -> None:
    assert ranked_scores(made([2.0, None, 5.0])).tolist() == [2, 5, 5]
    assert ranked_scores(made([2.0, None, 5.0], "higher")).tolist() == [2, 2, 5]
    assert np.isnan(ranked_scores(made([None, None]))).all()
    (row,) = search_table([made([3.0, None, 1.25])]).rows
    assert row == ["MNIST", "VAE", f"{KEY} ↓", "3", "1.25", "beta = 3, rule = a", "3", "1", "90 s"]
    (row,) = search_table([made([1.0, 2.0])]).rows
    assert row[5] == "own settings"
    (row,) = search_table([made([None, None])]).rows
    assert row[3:6] == ["–", "–", "own settings"]


def test_importance_is_a_rank_correlation_with_its_interval() -> None:
    beta, rule = importance_table([made([1.0, 2.0, 3.0, 5.0, 4.0])]).rows
    rho, low, high = statistics.spearman(np.arange(5.0), np.array([1.0, 2.0, 3.0, 5.0, 4.0]))
    assert beta[2:4] == ["beta", "1..9"]
    assert beta[5:] == [f"{rho:.2f}", f"[{low:.2f}, {high:.2f}]", "5"]
    assert rule[2:4] == ["rule", '["a","b"]']
    assert importance_table([made([1.0, 2.0, 3.0, 4.0])]).rows[0][5:] == ["1.00", "–", "4"], "ranks agree wholly"


@pytest.mark.usefixtures("undrawn")
def test_report_sets_tuned_beside_own_settings_seed_by_seed(
    lvm_bench: Callable[..., Result], put_run: Put, tmp_path: Path
) -> None:
    for seed in (0, 1, 2):
        put_run("mnist", "vae", seed, {KEY: 5.0 + seed})
        put_run("mnist", "vae-tuned", seed, {KEY: 4.0 + 2 * seed})
        put_run("mnist", "aae", seed, {KEY: 7.0})
    place = tmp_path / "small"
    choices.write(place, made([3.0, 1.0]))
    choices.write(place, made([1.0, 3.0], method="aae"))
    result = lvm_bench("report", "--results", tmp_path)
    assert result.exit_code == 0, result.stderr
    with (tmp_path / "site" / "small" / "tables" / "tuned.csv").open(newline="") as stream:
        aae, vae = csv.DictReader(stream)
    assert (vae["own settings"], vae["tuned"], vae["difference"]) == ("6.00 ± 0.82", "6.0 ± 1.6", "0")
    low, high = statistics.t_interval(np.array([-1.0, 0.0, 1.0]))
    assert (vae["95 % interval"], vae["p"], vae["seeds"]) == (f"[{low:.4g}, {high:.4g}]", "1", "3")
    assert (aae["tuned"], aae["difference"], aae["p"]) == ("own settings", "–", "–")
    assert "Search for settings" in (tmp_path / "site" / "small" / "report.html").read_text()
    assert {"search.md", "tuned.md", "importance.md"} <= {file.name for file in (place / "tables").iterdir()}


@pytest.mark.usefixtures("drawn")
def test_the_curve_starts_at_the_mean_of_the_draws_and_falls(tmp_path: Path, about: About) -> None:
    found = made([3.0, None, 1.0, 2.0])
    (picture,) = figures.write(Folder(tmp_path), about, [found])
    assert picture.file.name == "mnist-search.png"
    axes = figures.draw([found], about).axes[0]
    curve, own = axes.lines
    assert curve.get_ydata()[0] == pytest.approx(np.mean([3, 3, 1, 2]))
    assert (np.diff(curve.get_ydata()) < 0).all()
    assert (own.get_xdata().tolist(), own.get_ydata().tolist()) == ([0], [3.0])
    assert figures.write(Folder(tmp_path), about, [made([None, None])]) == []
