"""Ranges of bench.toml: what they say, which values they give, and what is none."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from scipy.stats import kstest

from lvm_bench.errors import UserError
from lvm_bench.suites import bench_toml
from lvm_bench.suites.ranges import Choices, Interval, parsed
from lvm_bench.suites.resolve import resolve
from lvm_bench.suites.search import MOST_COLUMNS, search_seed, search_suite, searches, tuned_suite, unit_points

UNIT = st.floats(0, 1, exclude_max=True)
BOUND = st.floats(1e-300, 1e300)


@pytest.mark.parametrize(
    ("written", "kind", "range_"),
    [
        ("0.1..10", float, Interval(0.1, 10)),
        ("log 0.1..10", float, Interval(0.1, 10, is_log=True)),
        (" log 1e-5 .. 1e-3 ", float | None, Interval(1e-5, 1e-3, is_log=True)),
        ("1..10", float, Interval(1, 10)),
        ("-1..1", float, Interval(-1, 1)),
        ("log 3..30", int, Interval(3, 30, is_log=True, is_whole=True)),
        ("0.5..1.5", Literal["computed"] | float, Interval(0.5, 1.5)),
        (["paper", "none"], Literal["paper", "calibrated", "none"], Choices(("paper", "none"))),
        ([1, 2, 4], int, Choices((1, 2, 4))),
        ([True, False], bool, Choices((True, False))),
    ],
)
def test_a_range_is_read_by_the_type_of_its_setting(written: Any, kind: Any, range_: Any) -> None:
    assert parsed(written, kind) == range_


@pytest.mark.parametrize(
    ("written", "kind", "reason"),
    [
        ("10..0.1", float, "is empty: 10 is not below 0.1"),
        ("1..1", int, "is empty"),
        ("1..1e999", float, "is empty"),
        ([], int, "is empty: a list of choices has two different ones or more"),
        (["a", "a"], str, "is empty"),
        ("log 0..1", float, "0 has no logarithm: begin above 0, or leave `log` out"),
        ("0.5..3", int, "the bound 0.5 is not valid: input should be a valid integer"),
        ("1.0..3.0", int, "the bound 1 is not valid: input should be a valid integer"),
        ("0..1", Annotated[float, Field(gt=0)], "the bound 0 is not valid: input should be greater than 0"),
        ("0..1", bool, "the bound 0 is not valid: input should be a valid boolean"),
        ("0.1..1", Literal["paper"], "the bound 0.1 is not valid: input should be 'paper'"),
        (["paper", "papr"], Literal["paper", "none"], "the choice 'papr' is not valid"),
        ("loga 1..2", float, "'loga 1..2' is no range: write"),
        ("1...2..3", float, "is no range"),
        (0.5, float, "0.5 is no range"),
        ({}, float, "is no range"),
    ],
)
def test_what_is_no_range_is_a_reason(written: Any, kind: Any, reason: str) -> None:
    with pytest.raises(ValueError, match="^" + reason.replace("(", r"\(") if reason.startswith("is empty") else reason):
        parsed(written, kind)


@given(st.tuples(BOUND, BOUND).filter(lambda pair: pair[0] < pair[1]), st.booleans(), UNIT)
def test_values_keep_to_the_bounds(bounds: tuple[float, float], is_log: bool, u: float) -> None:
    assert bounds[0] <= Interval(*bounds, is_log=is_log).at(u) <= bounds[1]
    assert Interval(*bounds, is_log=is_log).at(0.0) == pytest.approx(bounds[0])


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.booleans(), UNIT)
def test_whole_values_are_whole_and_keep_to_the_bounds(low: int, more: int, is_log: bool, u: float) -> None:
    value = Interval(low, low + more, is_log, is_whole=True).at(u)
    assert type(value) is int
    assert low <= value <= low + more


def test_values_are_uniform_in_the_number_or_in_its_logarithm() -> None:
    grid = (np.arange(1000) + 0.5) / 1000
    plain = np.array([Interval(2, 6).at(u) for u in grid])
    log = np.array([Interval(0.1, 10, is_log=True).at(u) for u in grid])
    assert kstest((plain - 2) / 4, "uniform").statistic < 2e-3
    assert kstest((np.log10(log) + 1) / 2, "uniform").statistic < 2e-3
    assert Interval(0.1, 10, is_log=True).at(0.5) == pytest.approx(1)


def test_whole_numbers_and_choices_have_equal_shares_and_logarithmic_ones_their_share() -> None:
    grid = (np.arange(6000) + 0.5) / 6000
    assert np.bincount([Interval(1, 6, is_whole=True).at(u) for u in grid]).tolist() == [0, *[1000] * 6]
    assert [Choices(("a", "b", "c")).at(u) for u in grid].count("b") == 2000
    counts = np.bincount([Interval(1, 3, is_log=True, is_whole=True).at(u) for u in grid])[1:]
    shares = np.log([2 / 1, 3 / 2, 4 / 3]) / math.log(4)
    assert np.abs(counts / 6000 - shares).max() < 1e-3


def test_points_stay_as_they_are_when_there_are_more() -> None:
    few, many = unit_points(3, seed=7), unit_points(40, seed=7)
    assert few.shape == (3, MOST_COLUMNS)
    assert (many[:3] == few).all()
    assert len(np.unique(np.floor(unit_points(32, 7) * 32), axis=0)) == 32
    assert all({*np.floor(column * 32)} == {*range(32)} for column in unit_points(32, 7).T), "one in each cell"
    assert (unit_points(3, seed=8) != few).any()


@pytest.mark.parametrize("suite", ["paper", "paper-disentanglement", "quick"])
def test_each_packaged_method_with_settings_has_ranges_that_hold_them(suite: str) -> None:
    whole = resolve(bench_toml.packaged(), suite)
    for search in searches(whole, whole, 2):
        assert search.ranges, search.job.method
        for name, own in search.own.items():
            within = search.ranges[name]
            if isinstance(within, Choices):
                assert own in within.values
            elif isinstance(own, int | float):
                assert within.low <= own <= within.high, name


LAYERED = """
[methods.vae-strong]
base = "vae"
[methods.vae-strong.tune]
learning_rate = "log 1e-4..1e-2"
[methods.vae.digits.tune]
beta = "1..2"
[suites.mine]
methods = ["vae", "vae-strong", "beta-tcvae", "avae"]
datasets = ["digits", "mnist"]
seeds = [1]
[suites.mine.method.beta-tcvae.tune]
beta = "3..4"
"""


def test_ranges_are_layered_like_settings_and_shared_points_do_not_depend_on_who_is_chosen(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(LAYERED)
    whole = resolve(tmp_path / "bench.toml", "mine")
    found = {(each.job.dataset, each.job.method): each for each in searches(whole, whole, 5)}
    assert found["mnist", "vae"].ranges == {"beta": Interval(0.1, 10, is_log=True)}
    assert found["digits", "vae"].ranges == {"beta": Interval(1, 2)}
    assert found["digits", "vae-strong"].ranges.keys() == {"beta", "learning_rate"}
    assert found["digits", "beta-tcvae"].ranges == {"beta": Interval(3, 4)}
    assert found["digits", "vae-strong"].own == {"beta": 1.0, "learning_rate": 2e-3}
    for one, other in zip(found["digits", "vae"].trials, found["digits", "beta-tcvae"].trials, strict=True):
        assert not one or other["beta"] - 3 == pytest.approx(one["beta"] - 1)
    alone = resolve(tmp_path / "bench.toml", "mine", methods=("avae",), datasets=("mnist",))
    (avae,) = searches(whole, alone, 9)
    assert avae.trials[:5] == found["mnist", "avae"].trials, "nor on their number"
    assert search_seed(whole) == 0
    suite = search_suite(whole, [*found.values()], 0, "mse")
    assert len({(job.dataset, job.method) for job in suite.jobs}) == len(suite.jobs) == 8 * 5
    assert {job.evaluation.protocol for job in suite.jobs} == {"validation"}
    rates = {job.method: job.training.learning_rate for job in suite.jobs if job.dataset == "digits"}
    assert rates["vae-strong-trial-0"] == rates["vae-trial-1"] == 2e-3 != rates["vae-strong-trial-1"]


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("[suites.a-tuned]", "the name 'a-tuned' is one that `lvm-bench tune` gives"),
        ("[suites.a-search]", "Choose another end than -search and -tuned."),
        ("[datasets.tune]", "the name 'tune' is the benchmark's own"),
    ],
)
def test_names_that_tune_needs_are_taken(table: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(table)
    with pytest.raises(UserError, match=reason):
        resolve(tmp_path / "bench.toml", "quick")


def test_a_method_that_is_called_as_a_tuned_one_is_refused(tmp_path: Path) -> None:
    taken = '[methods.vae-tuned]\nbase = "vae"\n[suites.mine]\nmethods = ["vae", "vae-tuned"]\n'
    (tmp_path / "bench.toml").write_text(f'{taken}datasets = ["digits"]\nseeds = [0]\n')
    with pytest.raises(UserError, match="has a method 'vae-tuned', as a tuned one is called"):
        tuned_suite(resolve(tmp_path / "bench.toml", "mine"), {}, "")
