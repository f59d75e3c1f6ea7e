"""Tests over seeds, intervals and ranks: closed forms, scipy, published examples, coverage on simulated data."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from lvm_bench.report.tables import statistics

TENTHS = st.integers(-50, 50).map(lambda i: i / 10)


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_paired_t_is_scipys(n: int) -> None:
    draws = np.random.default_rng(n).normal(size=(4, n))
    assert statistics.paired_t(draws) == pytest.approx(stats.ttest_1samp(draws, 0, axis=1).pvalue, rel=1e-12)


def test_differences_without_spread() -> None:
    table = np.array([[0.0, 0.0, 0.0], [2.0, 2.0, 2.0], [1.0, math.nan, 2.0], [1.0, math.inf, 2.0]])
    found = statistics.paired_t(table)
    assert found[0] == 1.0
    assert np.isnan(found[1:]).all()
    assert np.isnan(statistics.paired_t(table[:, :1])).all()


def test_holm_on_a_known_table() -> None:
    # Steps 4 x .005, 3 x .01, 2 x .03 and 1 x .04, never falling.
    assert statistics.holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    found = statistics.holm(np.array([math.nan, 0.02, 0.9, 0.8]))
    assert math.isnan(found[0])
    assert found[1:] == pytest.approx([0.06, 1.0, 1.0])


@given(arrays.arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 1)))
def test_holm_lies_between_the_raw_and_bonferronis(p: np.ndarray) -> None:
    found = statistics.holm(p)
    assert (found >= p).all()
    assert (found <= np.minimum(p * len(p), 1) + 1e-15).all()
    assert (np.diff(found[np.argsort(p, kind="stable")]) >= 0).all()


@pytest.mark.parametrize("n", [1, 3, 5, 8])
def test_the_smallest_p_of_wilcoxon_is_scipys(n: int) -> None:
    exact = stats.wilcoxon(np.arange(1.0, n + 1), method="exact").pvalue
    assert statistics.smallest_wilcoxon_p(n) == pytest.approx(exact)
    assert statistics.smallest_wilcoxon_p(5) == 0.0625


@pytest.mark.parametrize("n", [4, 5, 10])
def test_bootstrap_intervals_cover_the_mean(n: int) -> None:
    stream = np.random.default_rng(0)
    inside = 0
    for _ in range(1000):
        low, high = statistics.bootstrap_interval(stream.normal(3.0, 2.0, n))
        inside += low <= 3.0 <= high
    assert 0.94 <= inside / 1000 <= 0.99  # a percentile bootstrap of five covers .83


def test_resamples_are_all_that_there_are() -> None:
    counts, weights = statistics._resamples(3)
    assert len(counts) == math.comb(5, 2)
    assert (counts.sum(1) == 3).all()
    assert weights.sum() == pytest.approx(1)
    assert dict(zip(map(tuple, counts), weights, strict=True))[1, 1, 1] == pytest.approx(6 / 27)


def test_no_interval_from_three() -> None:
    assert np.isnan(statistics.bootstrap_interval(np.array([1.0, 2.0, 3.0]))).all()
    assert np.isnan(statistics.bootstrap_interval(np.array([1.0, 2.0, 3.0, math.inf]))).all()
    assert statistics.bootstrap_interval(np.full(4, 2.5)) == (2.5, 2.5)


@given(arrays.arrays(np.float64, 5, elements=TENTHS, unique=True), st.floats(0.5, 4), st.floats(-100, 100))
def test_intervals_move_with_the_values(values: np.ndarray, scale: float, shift: float) -> None:
    low, high = statistics.bootstrap_interval(values)
    moved = statistics.bootstrap_interval(values * scale + shift)
    assert moved == pytest.approx((low * scale + shift, high * scale + shift), rel=1e-6, abs=1e-6)


def test_t_interval_is_scipys() -> None:
    values = np.array([1.0, 2.0, 4.0, 7.0])
    expected = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    assert statistics.t_interval(values) == pytest.approx(expected)
    assert np.isnan(statistics.t_interval(values[:1])).all()
    wider = stats.t.interval(0.99, 3, loc=values.mean(), scale=stats.sem(values))
    assert statistics.t_interval(values, 0.01) == pytest.approx(wider)


def test_the_interval_of_a_deviation_is_that_of_chi_squared() -> None:
    values = np.array([1.0, 2.0, 4.0, 7.0])
    expected = [(3 * values.var(ddof=1) / stats.chi2.ppf(tail, 3)) ** 0.5 for tail in (0.975, 0.025)]
    assert statistics.deviation_interval(values) == pytest.approx(expected)
    assert np.isnan(statistics.deviation_interval(values[:1])).all()


@given(arrays.arrays(np.float64, st.integers(4, 12), elements=st.integers(-5, 5).map(float)))
def test_spearman_is_scipys(x: np.ndarray) -> None:
    y = np.sin(np.arange(len(x)) * 1.7) + x / 10
    rho, low, high = statistics.spearman(x, y)
    if np.ptp(x) == 0:
        assert math.isnan(rho)
    else:
        assert rho == pytest.approx(stats.spearmanr(x, y).statistic)
        assert -1 <= low <= rho <= high <= 1


def test_spearman_leaves_out_what_is_missing() -> None:
    x, y = np.array([1.0, math.nan, 2.0, 3.0, 5.0]), np.array([1.0, 9.0, 3.0, 2.0, math.inf])
    assert statistics.spearman(x, y)[0] == pytest.approx(stats.spearmanr([1, 2, 3, 5], [1, 3, 2, 9]).statistic)
    assert np.isnan(statistics.spearman(x[:3], y[:3])).all()
    assert statistics.spearman(np.arange(4.0), np.arange(4.0)) == (1.0, 1.0, 1.0)


@given(arrays.arrays(np.float64, st.integers(1, 20), elements=st.integers(-3, 3).map(float)))
def test_ranks_are_scipys(values: np.ndarray) -> None:
    assert statistics.ranks(values).tolist() == stats.rankdata(values).tolist()


def test_friedman_is_scipys() -> None:
    table = np.random.default_rng(0).integers(0, 4, (9, 5)).astype(float)
    assert statistics.friedman_p(table) == pytest.approx(stats.friedmanchisquare(*table.T).pvalue)
    assert statistics.friedman_p(np.ones((3, 4))) == 1.0


def test_the_critical_difference_of_the_published_example() -> None:
    # Demsar 2006, sec. 3.2.2: four classifiers on 14 data sets; and its table 5(a).
    assert statistics.critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)
    for k, q in ((2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)):
        assert statistics.critical_difference(k, 1) == pytest.approx(q * math.sqrt(k * (k + 1) / 6), abs=2e-3)
        studentised = stats.studentized_range.ppf(0.95, k, np.inf) / math.sqrt(2)
        assert statistics.critical_difference(k, 1) == pytest.approx(studentised * math.sqrt(k * (k + 1) / 6), rel=1e-5)


def test_cliques_are_the_longest_runs() -> None:
    average = np.array([1.0, 1.8, 2.1, 4.0, 4.2])
    assert statistics.cliques(average, 1.0) == [(0, 1), (1, 2), (3, 4)]
    assert statistics.cliques(average, 0.1) == []
    assert statistics.cliques(average, 9.0) == [(0, 4)]
