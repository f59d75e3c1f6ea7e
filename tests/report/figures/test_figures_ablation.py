"""Scores against the axis of an ablation: which points are drawn, from runs and from what was committed of them."""

import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result

from lvm_bench.report.figures import ablation
from lvm_bench.runs.record import Run

PLAN = {"description": "made up", "order": 0, "seeds": [0, 1], "axis": "m"}
SCORES = {"frechet.fake@classifier": 3.0, "gaussian_kl.mean": 1.5}


def run(method: str, arguments: object, **settings: object) -> Run:
    return Run("mnist", method, 0, "done", settings={"arguments": arguments, **settings})


def test_the_value_of_a_method_is_that_of_its_argument_or_setting() -> None:
    runs = [run("a", {"m": 10}), run("b", {"m": 0.5}), run("c", {"m": "none"}), run("d", {}, m=3), run("e", {}, m=None)]
    assert ablation.values(runs, "m") == {
        ("mnist", "a"): 10.0, ("mnist", "b"): 0.5, ("mnist", "c"): "none", ("mnist", "d"): 3.0,
    }  # fmt: skip


@pytest.mark.parametrize("value", [10**400, True, [1, 2], {"a": "$x$"}, "\x1b[2J" * 50])
def test_what_is_no_number_is_a_short_text(value: object) -> None:
    found = ablation.values([run("a", {"m": value})], "m")["mnist", "a"]
    assert isinstance(found, str)
    assert found.isprintable()
    assert len(found) <= ablation.LONGEST


def test_settings_of_another_shape_have_no_value() -> None:
    assert ablation.values([run("a", "text"), Run("mnist", "b", 0, "done")], "m") == {}


def test_points_are_the_finite_scores_in_the_order_of_the_values(scored: Callable[..., pd.DataFrame]) -> None:
    frame = scored({"b": [1.0, 2.0], "a": [3.0, math.inf], "other": [5.0, 5.0]})
    at: dict[tuple[str, str], ablation.Value] = {("mnist", "a"): 1.0, ("mnist", "b"): 2.0, ("digits", "a"): 3.0}
    assert ablation.points(frame, at, "mnist", "mse.train") == [(1.0, 0, 3.0), (2.0, 0, 1.0), (2.0, 1, 2.0)]
    assert ablation.points(frame, at, "mnist", "other") == []


@pytest.mark.parametrize(
    "along", [[1.0, 2.0, 3.0], [0.0, 1.0, 1000.0], ["a", "$b", 2.0], [5.0, 5.0, 5.0], ["x", "y", "z"]]
)
def test_any_axis_is_drawn_without_a_warning(along: list[ablation.Value]) -> None:
    points = [(value, seed, 10.0**seed) for value in along[:2] for seed in (0, 1)]
    figure = ablation.draw({"a score": points, "one run": points[:1]}, along, "m_$")
    figure.draw_without_rendering()
    shown = figure.axes[0].collections[0].get_offsets()
    assert len(shown) == 4
    assert sorted(shown[:, 1]) == [1.0, 1.0, 10.0, 10.0]


@pytest.mark.usefixtures("few_figures", "drawn")
def test_an_ablation_is_drawn_from_its_runs_and_again_without_them(
    lvm_bench: Callable[..., Result], tmp_path: Path, put_run: Callable[..., Path]
) -> None:
    for order, m in enumerate((100, 2000)):
        for seed in (0, 1):
            weights = {"dataset": "mnist", "method": "avae", "options": {}, "arguments": {"m": m}, "seed": seed}
            put_run("mnist", f"m-{m}", seed, SCORES, plan=PLAN | {"order": order}, settings=weights)
    result = lvm_bench("report", "--results", tmp_path)
    assert result.exit_code == 0, result.output
    drawn = {
        name: (tmp_path / "site/small/figures" / name).read_bytes()
        for name in ("mnist-ablation.png", "mnist-ablation.pdf")
    }
    (tmp_path / "small" / "runs").rename(tmp_path / "elsewhere")
    for name in drawn:
        (tmp_path / "site/small/figures" / name).unlink()
    assert lvm_bench("report", "--results", tmp_path).exit_code == 0
    assert {name: (tmp_path / "site/small/figures" / name).read_bytes() for name in drawn} == drawn
