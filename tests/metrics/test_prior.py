"""Distances of codes to prior draws: closed forms of normals, independent implementations, scales, few rows."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.spatial.distance import cdist
from scipy.stats import chi, ks_2samp, kstest, norm, wasserstein_distance_nd

from lvm_bench.errors import UserError
from lvm_bench.metrics import energy_distance, norm_ks, norm_ks_prior, prior, sliced_wasserstein
from lvm_bench.seeding import generator


def normal(n: int, l: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(n, l, generator=generator(seed, "test"), dtype=torch.float64)


# Energy distance


@pytest.mark.parametrize("shift", [0.5, 2.0])
def test_the_energy_distance_of_shifted_normals_is_that_of_folded_normals(shift: float) -> None:
    """|x - y| of N(0, 1) and N(d, 1) is the absolute value of N(d, 2)."""
    between = 2 / math.sqrt(math.pi) * math.exp(-(shift**2) / 4) + shift * (1 - 2 * norm.cdf(-shift / math.sqrt(2)))
    expected = 2 * between - 2 * 2 / math.sqrt(math.pi)
    assert energy_distance(normal(2000, 1), normal(2000, 1, 1) + shift) == pytest.approx(expected, rel=0.15)


def test_the_energy_distance_of_equal_distributions_is_zero_on_average() -> None:
    found = np.array([energy_distance(normal(12, 3, seed), normal(9, 3, 100 + seed)) for seed in range(80)])
    assert abs(found.mean()) < 3 * found.std() / math.sqrt(len(found))
    assert found.min() < 0


@given(n=st.integers(2, 30), m=st.integers(2, 30), l=st.integers(1, 5), seed=st.integers(0, 999))
@settings(max_examples=20)
def test_the_energy_distance_is_that_of_all_pairs(n: int, m: int, l: int, seed: int) -> None:
    x, y = normal(n, l, seed).numpy(), 2 * normal(m, l, seed + 1).numpy()
    within = sum(cdist(rows, rows).sum() / (len(rows) * (len(rows) - 1)) for rows in (x, y))
    assert energy_distance(x, y, seed) == pytest.approx(2 * cdist(x, y).mean() - within, abs=1e-12)


def test_of_more_than_two_thousand_rows_some_are_drawn_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prior, "_PAIRED", 50)
    x, y = normal(400, 2), normal(300, 2, 1)
    assert energy_distance(x, y, 1) == energy_distance(x.numpy(), y, 1)
    assert len({energy_distance(x, y, seed) for seed in range(3)}) == 3


# Sliced Wasserstein


def test_the_sliced_distance_of_scaled_axes_is_that_of_the_projected_normals() -> None:
    """Along u both are normal, and their W2 is the difference of their standard deviations."""
    square = quad(lambda t: (math.hypot(3 * math.cos(t), 0.5 * math.sin(t)) - 1) ** 2, 0, math.pi)[0] / math.pi
    codes = normal(2000, 2) * torch.tensor([3, 0.5])
    assert sliced_wasserstein(codes, normal(2000, 2, 1)) == pytest.approx(math.sqrt(square), rel=0.06)


def test_the_sliced_distance_of_a_shift_is_its_length_over_the_root_of_the_axes() -> None:
    x, shift = normal(300, 3), torch.tensor([3.0, 0, 4], dtype=torch.float64)
    assert sliced_wasserstein(x, x) == 0
    assert sliced_wasserstein(x[:, :1] + 2.5, x[:, :1]) == pytest.approx(2.5)
    assert sliced_wasserstein(x + shift, x) == pytest.approx(5 / math.sqrt(3), rel=0.06)


@given(n=st.integers(2, 12), m=st.integers(2, 12), seed=st.integers(0, 999))
@settings(max_examples=20)
def test_sets_of_unequal_size_are_coupled_as_copies_of_equal_size_are(n: int, m: int, seed: int) -> None:
    x, y = normal(n, 2, seed), normal(m, 2, seed + 1)
    copies = sliced_wasserstein(x.repeat(m, 1), y.repeat(n, 1), seed)
    assert sliced_wasserstein(x, y, seed) == pytest.approx(copies, rel=1e-9)


def test_blocks_of_directions_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(40, 3), normal(30, 3, 1)
    whole = sliced_wasserstein(x, y)
    monkeypatch.setattr(prior, "row_blocks", lambda n, *_: [slice(i, min(i + 7, n)) for i in range(0, n, 7)])
    assert sliced_wasserstein(x, y) == pytest.approx(whole, rel=1e-12)
    assert sliced_wasserstein(x, y, 1) != whole


def test_the_coupling_is_the_one_that_moves_least() -> None:
    x, y = np.sort(normal(5, 1).numpy()[:, 0]), np.sort(normal(7, 1, 1).numpy()[:, 0])
    i, j, mass = prior._coupling(5, 7)
    assert mass.sum() == pytest.approx(1)
    assert np.abs(x[i] - y[j]) @ mass == pytest.approx(wasserstein_distance_nd(x[:, None], y[:, None]))


# Norms


@pytest.mark.parametrize(("l", "variance"), [(1, 1.0), (5, 0.4), (64, 1.0)])
def test_norms_are_compared_as_scipy_compares_them(l: int, variance: float) -> None:
    codes, draws = normal(300, l, scale=1.1).numpy(), normal(200, l, 1).numpy()
    norms, others = np.linalg.norm(codes, axis=1), np.linalg.norm(draws, axis=1)
    expected = kstest(norms / math.sqrt(variance), chi(l).cdf).statistic
    assert norm_ks(codes, variance) == pytest.approx(expected, abs=1e-12)
    assert norm_ks_prior(codes, draws) == pytest.approx(ks_2samp(norms, others).statistic, abs=1e-12)
    assert norm_ks(draws) < 1.63 / math.sqrt(200)  # 1 % of normal draws are farther


def test_a_shell_has_other_norms_than_normal_draws() -> None:
    shell = torch.nn.functional.normalize(normal(500, 16), dim=1) * 4
    assert norm_ks(shell) > 0.45
    assert norm_ks_prior(shell, shell) == 0


# Scales


@pytest.mark.parametrize("measure", [energy_distance, sliced_wasserstein])
@pytest.mark.parametrize("scale", [1e-200, 1e-24, 1e80])
def test_distances_scale_with_the_codes(measure, scale: float) -> None:
    x, y = normal(50, 3), normal(50, 3, 1) + 1
    assert measure(scale * x, scale * y) == pytest.approx(scale * measure(x, y), rel=1e-9, abs=0)
    assert measure(x + 1e9, y + 1e9) == pytest.approx(measure(x, y), abs=1e-6)


@pytest.mark.parametrize("scale", [1e-200, 1e-24, 1e80])
def test_the_distances_of_norms_ignore_a_common_scale(scale: float) -> None:
    x, y = normal(50, 3), normal(50, 3, 1) + 1
    assert norm_ks_prior(scale * x, scale * y) == norm_ks_prior(x, y)
    assert norm_ks(x * 1e-24, 1e-48) == pytest.approx(norm_ks(x), abs=1e-9)
    assert norm_ks(x * scale, 1e-300) == norm_ks(x + 1e9) == 1


def test_two_rows_and_constant_ones_have_distances() -> None:
    x, same = normal(2, 3), torch.ones(5, 3, dtype=torch.float64)
    for measure in (energy_distance, sliced_wasserstein, norm_ks_prior):
        assert math.isfinite(measure(x, normal(2, 3, 1)))
        assert measure(same, same) == 0
    assert 0 < norm_ks(x) <= 1
    with pytest.raises(UserError, match=r"^energy_distance: prior_codes has 1 samples, and 2 or more are needed"):
        energy_distance(x, x[:1])
