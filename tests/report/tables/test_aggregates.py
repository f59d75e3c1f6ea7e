"""Scores over many tasks: closed forms, the numbers of the rliable package, and what holds for all scores."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lvm_bench.report.tables.aggregates import (
    Tasks,
    counts_of,
    draws_of,
    interquartile_mean,
    percentile_interval,
    performance_profile,
    probability_of_improvement,
    resampled,
    resampled_improvement,
    stratified_bootstrap,
)

Drawn = list[np.ndarray]

# The examples of rliable 1.2.0, as its own tests have them [runs tasks], and two uneven ones. The numbers in this file
# were printed by that package; its resamples come from numpy's global state after `np.random.seed(0)`.
UP = np.arange(80.0).reshape(5, 16)
DOWN = np.flip(UP, 0)
FOUR = np.array([[1.0, 2], [2, 2], [1, 1], [2, 1]])
THREE = np.array([[1.0, 1], [2, 2], [3, 3]])
SINES = np.sin(np.arange(15.0)).reshape(3, 5)
COSINES = np.cos(np.arange(20.0)).reshape(4, 5)
THRESHOLDS = np.array([0, 0.25, 0.5, 1, 20, 40, 60, 78])


def tasks(scores: np.ndarray) -> Drawn:
    """A method's runs in each task, from an array [runs tasks]."""
    return list(scores.T)


def drawn_by_rliable(draws: int, *methods: np.ndarray) -> list[Drawn]:
    """The resamples [draws runs] of each task and method that rliable takes."""
    stream = np.random.RandomState(0)
    made: list[list[np.ndarray]] = [[] for _ in methods]
    for _ in range(draws):
        for scores, own in zip(methods, made, strict=True):
            own.append(scores[stream.choice(len(scores), scores.shape), np.arange(scores.shape[1])])
    return [list(np.stack(own).transpose(2, 0, 1)) for own in made]


def test_estimates_are_rliables() -> None:
    means = [(UP, 39.5), (DOWN, 39.5), (FOUR, 1.5), (THREE, 2), (SINES, 0.12353928739624662)]
    for scores, mean in [*means, (COSINES, 0.08888925408436703)]:
        assert interquartile_mean(tasks(scores)) == pytest.approx(mean, abs=1e-12)
    for x, y, p in [(UP, DOWN, 0.5), (FOUR, THREE, 1 / 3), (THREE, FOUR, 2 / 3), (SINES, COSINES, 0.5)]:
        assert probability_of_improvement(tasks(x), tasks(y)) == pytest.approx(p, abs=1e-12)
    shares = [0.9875, 0.9875, 0.9875, 0.975, 0.7375, 0.4875, 0.2375, 0.0125]
    assert performance_profile(tasks(UP), THRESHOLDS) == pytest.approx(shares, abs=1e-12)


def test_intervals_of_rliables_resamples_are_rliables() -> None:
    (own,) = drawn_by_rliable(100, UP)
    assert percentile_interval(interquartile_mean(own)) == pytest.approx([33.13, 45.8625], abs=1e-12)
    x, y = drawn_by_rliable(200, UP, DOWN)
    found = percentile_interval(probability_of_improvement(x, y))
    assert found == pytest.approx([0.40746875, 0.5925312500000001], abs=1e-12)
    x, y = drawn_by_rliable(200, FOUR, THREE)
    found = percentile_interval(probability_of_improvement(x, y))
    assert found == pytest.approx([0.08333333333333333, 0.6875], abs=1e-12)
    (own,) = drawn_by_rliable(200, UP)
    low, high = percentile_interval(performance_profile(own, THRESHOLDS))
    assert low == pytest.approx([0.9625, 0.9625, 0.9625, 0.9375, 0.6496875, 0.375, 0.1625, 0], abs=1e-12)
    assert high == pytest.approx([1, 1, 1, 1, 0.825, 0.5753125, 0.325, 0.0375], abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "low", "high"),
    [(UP, 32.55, 46.5), (SINES, -0.3027839476101765, 0.528586150040375)],
    ids=["its own example", "sines"],
)
def test_intervals_of_our_resamples_are_rliables_but_for_chance(scores: np.ndarray, low: float, high: float) -> None:
    """Rliable drew 50,000 resamples; the ends of ours scatter by about 2 % of an interval's width."""
    own = resampled(tasks(scores), stratified_bootstrap(tasks(scores), np.random.default_rng(0)))
    assert percentile_interval(interquartile_mean(own)) == pytest.approx([low, high], abs=(high - low) / 15)


def test_improvement_in_resamples_is_that_of_their_scores_bit_for_bit() -> None:
    stream = np.random.default_rng(0)
    x, y = ([stream.integers(9, size=n).astype(float) for n in sizes] for sizes in ((3, 5, 1), (4, 2, 7)))
    x[1][2] = y[0][1] = -math.inf
    at_x, at_y = stratified_bootstrap(x, stream, 60), stratified_bootstrap(y, stream, 50)
    expected = probability_of_improvement(
        [own[:50] for own in resampled(x, at_x)], [own[:50] for own in resampled(y, at_y)]
    )
    assert (resampled_improvement(x, y, counts_of(x, at_x), counts_of(y, at_y)) == expected).all()


@pytest.mark.parametrize(("runs", "draws"), [(1, 2000), (500, 2000), (501, 1996), (12_500, 200), (10**6, 200)])
def test_a_method_of_very_many_runs_has_fewer_resamples(runs: int, draws: int) -> None:
    assert draws_of([np.zeros(runs - 1), np.zeros(1)] if runs > 1 else [np.zeros(1)]) == draws


def test_known_values() -> None:
    for n in (1, 2, 3, 8, 41):
        assert interquartile_mean([np.arange(n + 1.0)]) == pytest.approx(n / 2)
    assert interquartile_mean([np.array([-1e9, 1, 2]), np.array([4.0])]) == 1.5
    same = tasks(SINES)
    assert probability_of_improvement(same, same) == 0.5
    assert probability_of_improvement([np.array([3.0, 4])], [np.array([1.0, 2, 2.5])]) == 1
    assert probability_of_improvement([np.array([1.0]), np.array([5.0])], [np.array([1.0]), np.array([1.0])]) == 0.75
    profile = performance_profile([np.array([1.0, 2]), np.array([2.0, 3, 5])], np.array([0.0, 2, 5]))
    assert profile == pytest.approx([1, 0.4, 0])


def test_a_score_of_minus_infinity_is_below_all_others() -> None:
    one = [np.array([0.0, 1, 2]), np.array([3.0, -math.inf])]
    assert interquartile_mean(one) == pytest.approx(1)
    assert performance_profile(one, np.array([-1e300])) == pytest.approx([0.8])
    assert probability_of_improvement(one[1:], [np.array([-math.inf])]) == 0.75
    assert interquartile_mean([np.array([-math.inf, -math.inf, 1.0])]) == -math.inf
    ends = percentile_interval(np.array([-math.inf] * 10 + [1.0] * 90))
    assert ends.tolist() == [-math.inf, 1]
    assert percentile_interval(np.array([-math.inf, 1.0])).tolist()[0] == -math.inf


def test_runs_are_resampled_within_their_task_apart_and_again_from_the_same_seed() -> None:
    given = [np.array([0.0, 1]), np.array([10.0, 11, 12]), np.array([20.0])]

    def draw() -> Tasks:
        return resampled(given, stratified_bootstrap(given, np.random.default_rng(7), 500))

    drawn = draw()
    assert [own.shape for own in drawn] == [(500, 2), (500, 3), (500, 1)]
    assert [set(np.unique(own)) for own in drawn] == [set(own) for own in given]
    assert abs(np.corrcoef(drawn[0].mean(1), drawn[1].mean(1))[0, 1]) < 0.15
    assert all(np.array_equal(one, other) for one, other in zip(drawn, draw(), strict=True))


RUNS = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=5).map(np.array)
PAIRS = st.lists(st.tuples(RUNS, RUNS), min_size=1, max_size=4)


@settings(max_examples=25)
@given(PAIRS)
def test_what_holds_for_all_scores(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    x, y = map(list, zip(*pairs, strict=True))
    p = probability_of_improvement(x, y)
    assert p + probability_of_improvement(y, x) == pytest.approx(1, abs=1e-12)
    assert probability_of_improvement([np.exp(own) for own in x], [np.exp(own) for own in y]) == p
    pooled = np.concatenate(x)
    mean = interquartile_mean(x)
    assert mean == pytest.approx(stats.trim_mean(pooled, 0.25), abs=1e-12)
    assert interquartile_mean([2 * own + 1 for own in x]) == pytest.approx(2 * mean + 1, abs=1e-12)
    profile = performance_profile(x, np.linspace(-4, 4, 33))
    assert (np.diff(profile) <= 0).all()
    assert (profile[0], profile[-1]) == (1, 0)
    low, high = percentile_interval(
        interquartile_mean(resampled(x, stratified_bootstrap(x, np.random.default_rng(0), 50)))
    )
    assert pooled.min() <= low <= high <= pooled.max()
