"""Scores against scores: the points, the rank correlations, and the published ones beside them."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from lvm_bench.report.figures import bandwidths, trade_off
from lvm_bench.report.tables.paper_claims import COMPARED
from lvm_bench.runs.suite_record import About
from lvm_bench.suites import bench_toml

Scored = Callable[..., pd.DataFrame]
FD, SSE = "frechet.fake@classifier", "sse.heldout"


def test_a_point_needs_both_scores_of_a_run_and_controls_have_none(scored: Scored) -> None:
    errors = scored({"vae": [1.0, 2.0], "aae": [3.0], "real-images": [9.0]}, SSE)
    distances = scored({"vae": [10.0], "aae": [math.inf], "avae": [5.0], "real-images": [0.1]}, FD)
    found = trade_off.pairs(pd.concat([errors, distances]), SSE, FD)
    assert {method: points.tolist() for method, points in found.items()} == {
        "aae": [[3.0, math.inf]], "vae": [[1.0, 10.0]],
    }  # fmt: skip
    assert trade_off.finite(found["vae"])
    assert not trade_off.finite(found["aae"])
    assert trade_off._missing(found) == " Left out, as a score is not finite: 1 run."


def relations(scored: Scored, kl: dict[str, list[float]], distance: dict[str, list[float]]) -> list[trade_off.Relation]:
    frame = pd.concat([scored(kl, trade_off.KL), scored(distance, FD)])
    return trade_off.ours(frame, FD, "distance")


def test_methods_are_related_by_their_means_and_ranks(scored: Scored) -> None:
    kl = {"vae": [1.0, 3.0], "aae": [5.0], "avae": [0.5], "wae-mmd": [4.0], "ae": [99.0], "standard-normal": [0.0]}
    distance = {"vae": [10.0, 20.0], "aae": [40.0], "avae": [5.0], "wae-mmd": [2.0], "ae": [1.0]}
    (relation,) = relations(scored, kl, distance)
    assert relation.points["vae"].tolist() == [[2.0, 15.0]]
    assert relation.rho == pytest.approx(spearmanr([2, 5, 0.5, 4], [15, 40, 5, 2]).statistic)
    assert relation.low < relation.rho < relation.high
    assert relation.n == 4  # a method without a prior is drawn, and does not count
    assert {*relation.points} == {"vae", "aae", "avae", "wae-mmd", "ae"}


def test_a_score_that_is_not_finite_has_no_point(scored: Scored) -> None:
    kl = {"vae": [1.0], "aae": [math.nan], "avae": [2.0]}
    (relation,) = relations(scored, kl, {"vae": [math.inf], "aae": [3.0], "avae": [4.0]})
    assert {*relation.points} == {"avae"}
    assert math.isnan(relation.rho)
    assert trade_off.correlation(relation) == "no rank correlation of 1 method"
    assert relations(scored, {"vae": [1.0]}, {"vae": [math.inf]}) == []


def test_an_entropy_gap_counts_by_its_size(scored: Scored) -> None:
    frame = pd.concat([scored({"vae": [-2.0], "aae": [1.0]}, trade_off.GAP), scored({"vae": [3.0], "aae": [4.0]}, FD)])
    (relation,) = trade_off.ours(frame, FD, "distance")
    assert relation.cause == trade_off.GAP
    assert {method: points.tolist() for method, points in relation.points.items()} == {
        "vae": [[2.0, 3.0]], "aae": [[1.0, 4.0]],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("dataset", "kl", "gap"),
    [
        ("mnist", [19.86, 41.63, 7.61, 0.57, 0.84, 0.31], [3.29, 4.56, 3.11, 2.21, 3.33, 0.44]),
        ("celeba", [0.92, 1.51, 70.7, 1.30, 12.61, 1.63], [3.12, 3.58, 4.92, 0.94, 3.68, 1.04]),
    ],
)
def test_published_relations_are_those_of_the_papers_tables(dataset: str, kl: list[float], gap: list[float]) -> None:
    """Tables V and VI beside Table III, read off by hand; the gap is to l/2 of the same table."""
    found = {relation.cause: relation for relation in trade_off.theirs(dataset)}
    fid = [found[trade_off.KL].points[method][0, 1] for method in COMPARED]
    for cause, values in ((trade_off.KL, kl), (trade_off.GAP, gap)):
        points = [found[cause].points[method][0, 0] for method in COMPARED]
        assert points == pytest.approx(values)
        assert found[cause].rho == pytest.approx(spearmanr(values, fid).statistic)
        assert found[cause].n == 6
    if dataset == "mnist":
        assert fid == [28.78, 50.62, 18.79, 19.03, 25.42, 13.27]


def test_a_data_set_that_nobody_published_has_none() -> None:
    assert trade_off.theirs("digits") == []


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((0.5, -0.25, 0.75, 6), "ρ = 0.50 [−0.25, 0.75], 6 methods"),
        ((1.0, math.nan, math.nan, 3), "ρ = 1.00, 3 methods"),
        ((math.nan, math.nan, math.nan, 2), "no rank correlation of 2 methods"),
    ],
)
def test_a_correlation_in_words(numbers: tuple[float, float, float, int], words: str) -> None:
    assert trade_off.correlation(trade_off.Relation(trade_off.OURS, trade_off.KL, "distance", {}, *numbers)) == words


def test_bandwidths_stand_beside_the_published_points() -> None:
    file = bench_toml.published_folder().parent / "bandwidth" / "bandwidth.csv"
    rows = pd.read_csv(file)
    rows = rows[rows["metric"] == "bandwidth"]
    against_m, against_l = bandwidths.draw(rows).axes
    assert (against_m.get_xlabel(), against_l.get_xlabel()) == ("number m of points", "dimension l")
    assert [text.get_text() for text in against_m.texts] == [f"l = {l}" for l in (10, 20, 40, 50, 70, 100)]
    computed, equal, bound = against_m.lines[:3]
    own = rows[rows["l"] == 10]
    np.testing.assert_array_equal(computed.get_ydata(), own["mean"])
    np.testing.assert_array_equal(equal.get_ydata(), own["published_mean"])
    assert len(bound.get_xdata()) == 0


@pytest.mark.parametrize(("real", "drawn"), [(0.9, False), (1.1, True), (math.nan, False), (math.inf, False)])
def test_the_line_of_real_images_leaves_the_room_to_the_points(real: float, drawn: bool) -> None:
    points = {"vae": np.array([[1.0, 10.0], [2.0, math.inf]]), "aae": np.array([[1.0, math.nan]])}
    (axes,) = trade_off.draw(points, "x", "y", real, About()).axes
    assert [line.get_ydata()[0] for line in axes.lines] == [real] * drawn
    (vae,) = axes.collections
    np.testing.assert_array_equal(vae.get_offsets(), [[1, 10]])
