"""Who is best at what, with known answers, and as the tables mark it."""

import pandas as pd
import pytest

from lvm_bench.report.tables.build import build_table
from lvm_bench.report.tables.headline import headline_scores
from lvm_bench.runs.suite_record import About

ABOUT = About("s", extractor="classifier", methods=["a", "b", "c"], seeds=[0, 1, 2], datasets={"mnist": {}})
FRECHET = "frechet.fake@classifier"


def frame_of(values: dict[str, list[float]], metric: str = FRECHET) -> pd.DataFrame:
    rows = [("mnist", name, seed, metric, value) for name, own in values.items() for seed, value in enumerate(own)]
    return pd.DataFrame(rows, columns=["dataset", "method", "seed", "metric", "value"])


def test_the_best_is_told_with_its_mean_and_with_those_that_may_be_as_good() -> None:
    """b differs from a by 0.1 with a spread of 1, c by 10 with a spread of 0.01; the control is better than all."""
    values = {"a": [1.0, 2.0, 3.0], "b": [2.1, 1.1, 3.1], "c": [11.0, 12.01, 12.99], "real-images": [0.0, 0.0, 0.0]}
    (found,) = headline_scores(frame_of(values), ABOUT)
    assert (found.dataset, found.words, found.table, found.compared) == ("mnist", "FD of samples", "frechet", 3)
    assert (found.best, found.tied, found.untested) == (["a"], ["b"], [])
    assert (found.cell.mean, found.cell.n) == (2.0, 3)
    assert found.cell.std == pytest.approx((2 / 3) ** 0.5)


def test_one_seed_tells_no_difference_and_equal_means_are_all_best() -> None:
    (found,) = headline_scores(frame_of({"a": [1.0], "b": [2.0], "c": [1.0]}), ABOUT)
    assert (found.best, found.tied, found.untested) == (["a", "c"], [], ["b"])
    (found,) = headline_scores(frame_of({"a": [1.0], "b": [1.0]}), ABOUT)
    assert (found.best, found.untested) == (["a", "b"], [])


def test_a_method_alone_is_compared_with_none_and_the_gap_is_best_at_zero() -> None:
    assert headline_scores(frame_of({"a": [1.0, 2.0]}), ABOUT) == []
    (found,) = headline_scores(frame_of({"a": [1.0, 2.0]}), ABOUT, least=1)
    assert (found.best, found.tied, found.untested, found.compared) == (["a"], [], [], 1)
    assert headline_scores(frame_of({"real-images": [1.0, 2.0]}), ABOUT, least=1) == []
    (found,) = headline_scores(frame_of({"a": [-1.0, -1.5], "b": [0.2, 0.3]}, "entropy_gap.mean"), ABOUT)
    assert found.best == ["b"]


def test_the_marks_are_those_of_the_table() -> None:
    values = {"a": [1.0, 2.0, 3.0], "b": [2.1, 1.1, 3.1], "c": [11.0, 12.01, 12.99], "d": [1.3, 2.1, 3.4]}
    (found,) = headline_scores(frame_of(values), ABOUT)
    table = build_table("frechet", frame_of(values), ABOUT)
    marks = {row: cell for (row, _, key), cell in table.cells.items() if key == FRECHET}
    assert {row for row, cell in marks.items() if cell.mark == "best"} == {*found.best}
    assert {row for row, cell in marks.items() if cell.tied} == {*found.tied}
