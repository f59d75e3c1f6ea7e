"""Histories as curves: which numbers are drawn."""

import math

import numpy as np
import pytest

from lvm_bench.report.figures import arrays, curves
from lvm_bench.runs.score_files import History
from lvm_bench.runs.suite_record import About

HEADER = ["epoch", "learning_rate", "train/loss", "val/loss", "train/kl"]


def history(**rows: list[list[str]]) -> History:
    """Runs on mnist by `method_seed`."""
    keys = [name.rsplit("_", 1) for name in rows]
    return {
        ("mnist", method, int(seed)): (HEADER, own) for (method, seed), own in zip(keys, rows.values(), strict=True)
    }


TWO = history(
    vae_0=[["1", "0.1", "4.0", "5.0", "1.0"], ["2", "0.1", "2.0", "3.0", ""]],
    vae_1=[["1", "0.1", "6.0", "7.0", "nan"]],
    mine_0=[["1", "0.2", "1.0", "inf", "text"]],
)


def test_a_term_has_a_row_for_each_seed_filled_up_with_nan() -> None:
    found = curves.terms(TWO, "mnist")
    assert list(found) == ["loss", "kl", "learning_rate"]
    np.testing.assert_array_equal(found["loss"]["vae"]["train"], [[4, 2], [6, np.nan]])
    np.testing.assert_array_equal(found["loss"]["vae"]["val"], [[5, 3], [7, np.nan]])
    np.testing.assert_array_equal(found["kl"]["vae"]["train"], [[1, np.nan], [np.nan, np.nan]])


def test_a_term_without_a_finite_number_is_not_drawn() -> None:
    found = curves.terms(TWO, "mnist")
    assert list(found["loss"]["mine"]) == ["train"]
    assert "mine" not in found["kl"]
    assert curves.terms(TWO, "cifar10") == {}
    assert curves.terms({("mnist", "vae", 0): (["epoch", "loss"], [["1", "2.0"]])}, "mnist") == {}


def test_a_column_that_a_run_lacks_is_nan() -> None:
    assert np.isnan(arrays.column((["epoch"], [["1"], ["2"]]), "train/loss")).tolist() == [True, True]


def test_variances_are_of_the_lowest_seed_with_the_means_of_all() -> None:
    columns = ["epoch", "aggregate_variance/0", "aggregate_variance/1", "aggregate_variance/10", "target_variance"]
    found = curves.variances(
        {
            ("mnist", "avae", 1): (columns, [["1", "1.0", "2.0", "6.0", "0.5"], ["2", "1.0", "1.0", "1.0", "0.5"]]),
            ("mnist", "avae", 3): (columns, [["1", "4.0", "4.0", "4.0", "0.5"]]),
            ("mnist", "vae", 0): (["epoch", "train/loss"], [["1", "2.0"]]),
        },
        "mnist",
    )
    assert list(found) == ["avae"]
    np.testing.assert_array_equal(found["avae"].axes, [[1, 2, 6], [1, 1, 1]])
    np.testing.assert_array_equal(found["avae"].means, [[3, 1], [4, np.nan]])
    assert found["avae"].target == 0.5


def test_without_a_target_there_is_no_line_of_it() -> None:
    logged = (["epoch", "aggregate_variance/0"], [["1", "1.0"]])
    found = curves.variances({("mnist", "vae", 0): logged}, "mnist")
    assert math.isnan(found["vae"].target)
    (panel,) = curves.draw_variances(found, About()).axes
    assert len(panel.lines) == 2


def test_what_is_drawn_are_the_means_over_seeds() -> None:
    figure = curves.draw_terms(curves.terms(TWO, "mnist"), About(methods=["vae", "mine"]))
    panel = figure.axes[0]
    assert panel.get_ylabel() == "loss, each method's\nown"
    drawn = [line.get_ydata() for line in panel.lines]
    np.testing.assert_array_equal(drawn[0], [5, 2])
    np.testing.assert_array_equal(drawn[1], [6, 3])
    np.testing.assert_array_equal(drawn[2], [1])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["VAE", "mine", "validation", "training"]


@pytest.mark.parametrize("count", [1, 100])
def test_at_most_so_many_terms_are_drawn(count: int) -> None:
    columns = ["epoch", *(f"train/term-{i}" for i in range(count))]
    found = curves.terms({("mnist", "vae", 0): (columns, [["1"] * (count + 1)])}, "mnist")
    assert len(found) == min(count, curves.MOST_TERMS)
