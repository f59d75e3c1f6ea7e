"""Density estimates and bandwidths: closed forms, gradients, the acceptance values of the AVAE."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import cdist
from scipy.stats import chi2, multivariate_normal

from lvm_bench import distances
from lvm_bench.modelling import kde
from lvm_bench.seeding import generator


def normal(n, l, seed=0, scale=1.0):
    return scale * torch.randn(n, l, generator=generator(seed, "test"), dtype=torch.float64)


def kl_estimate(l, h0, m=10_000, b=4_000):
    """Mean of log q_h - log p at codes of the AVAE's target, without a floor."""
    h = kde.corrected_bandwidth(h0)
    s = math.sqrt(1 - h * h)
    z = normal(b, l, 1, s)
    return float((kde.log_density(z, normal(m, l, 2, s), h) + z.square().sum(1) / 2).mean())


def test_log_density_is_the_log_of_the_mean_kernel():
    z, centres, h = normal(7, 3, 1), normal(50, 3, 2), 0.4
    kernels = [multivariate_normal(c, h * h).pdf(z.numpy()) for c in centres.numpy()]
    expected = torch.from_numpy(np.mean(kernels, axis=0)).log() + 1.5 * math.log(2 * math.pi)
    torch.testing.assert_close(kde.log_density(z, centres, h), expected)


def test_log_density_of_one_centre_at_its_centre_is_minus_l_log_h():
    z = normal(1, 5)
    assert float(kde.log_density(z, z, 0.3)) == pytest.approx(-5 * math.log(0.3))


def test_log_density_is_the_same_in_blocks(monkeypatch):
    z, centres = normal(40, 4, 1), normal(30, 4, 2)
    whole = kde.log_density(z, centres, 0.5)
    monkeypatch.setattr("lvm_bench.modelling.kde.row_blocks", lambda n, columns: [slice(0, 13), slice(13, n)])
    torch.testing.assert_close(kde.log_density(z, centres, 0.5), whole, rtol=1e-14, atol=1e-13)


def test_log_density_keeps_the_dtype_and_stays_finite_far_from_every_centre():
    far = kde.log_density(torch.full((2, 16), 50.0), torch.zeros(10, 16), 0.5)
    assert far.dtype == torch.float32
    assert far.tolist() == pytest.approx([-(2500 * 16) / 0.5 - 16 * math.log(0.5)] * 2)


def test_the_gradient_of_log_density_matches_finite_differences():
    z = normal(5, 3, 1).requires_grad_()
    centres = normal(20, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: kde.log_density(a, b, 0.6), (z, centres))


def test_without_a_floor_a_code_far_away_is_pushed_outwards():
    z = torch.zeros(1, 4, dtype=torch.float64)
    z[0, 0] = 10.0
    z.requires_grad_()
    h = kde.corrected_bandwidth(0.5)
    (kde.log_density(z, normal(1000, 4), h) + z.square().sum(1) / 2).sum().backward()
    assert z.grad[0, 0] < 0  # a step against the gradient leads further out


def test_the_floor_scales_the_gradient_by_a_sigmoid():
    z = normal(6, 4, 1).requires_grad_()
    log_q = kde.log_density(z, normal(200, 4, 2), 0.5)
    floor = torch.tensor(kde.log_floor(4, 0.5, 0.9), dtype=torch.float64)
    (bare,) = torch.autograd.grad(log_q.sum(), z, retain_graph=True)
    (floored,) = torch.autograd.grad(torch.logaddexp(log_q, floor).sum(), z)
    torch.testing.assert_close(floored, torch.sigmoid(log_q - floor).detach()[:, None] * bare)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(2, 40), l=st.integers(1, 6), h=st.floats(0.2, 2.0), seed=st.integers(0, 99))
def test_leaving_one_out_equals_a_density_on_the_others(n, l, h, seed):
    z = normal(n, l, seed)
    loo = kde.leave_one_out_log_density(z.float(), h)
    z = z.float().double()
    others = [kde.log_density(z[i : i + 1], torch.cat([z[:i], z[i + 1 :]]), h) for i in range(n)]
    assert loo.dtype == torch.float64
    torch.testing.assert_close(loo, torch.cat(others), rtol=1e-9, atol=1e-9)


def test_leaving_one_out_reaches_points_far_from_all_others():
    z = torch.cat([normal(50, 3), torch.tensor([[1e3, 0, 0], [-1e3, 1e3, 0]], dtype=torch.float64)])
    others = [kde.log_density(z[i : i + 1], torch.cat([z[:i], z[i + 1 :]]), 0.5) for i in range(len(z))]
    assert float(torch.cat(others).min()) < -1e6
    torch.testing.assert_close(kde.leave_one_out_log_density(z, 0.5), torch.cat(others), rtol=1e-12, atol=1e-12)


def test_squared_distances_agree_with_scipy_and_are_never_negative():
    a, b = normal(30, 8, 1) + 100, normal(20, 8, 2) + 100
    torch.testing.assert_close(distances.squared_distances(a, b), torch.from_numpy(cdist(a, b, "sqeuclidean")))
    assert float(distances.squared_distances(a.float(), a.float()).min()) >= 0


@pytest.mark.parametrize(("l", "m", "expected"), [(10, 500, 0.741), (20, 1000, 0.865)])
def test_the_bandwidth_reproduces_table_one(l, m, expected):
    assert kde.optimal_bandwidth(l, m) == pytest.approx(expected, abs=0.01)


def test_the_density_objective_as_printed_is_largest_at_the_lower_search_bound():
    """Eq. 10 of the AVAE paper without its missing log: E[q_h] has a closed form for fixed centres."""
    squares = normal(500, 10).square().sum(1)

    def minus_log_mean_density(h):
        variance = 1 + h * h
        return -float(torch.logsumexp(-squares / (2 * variance), 0) - 5 * math.log(variance))

    low, high = 0.2, 2.2
    found = minimize_scalar(minus_log_mean_density, bounds=(low, high), method="bounded")
    assert found.x == pytest.approx(low, abs=1e-4)
    assert kde.optimal_bandwidth(10, 500) > low + 0.4


def test_bandwidth_trials_are_three_and_repeat_bit_for_bit():
    trials = kde.bandwidth_trials(4, 100)
    assert len(set(trials)) == 3
    assert trials == kde.bandwidth_trials(4, 100)
    assert kde.optimal_bandwidth(4, 100) == sum(trials) / 3


@given(h0=st.floats(0.05, 3.0))
def test_the_corrected_bandwidth_leaves_the_shrunken_variance(h0):
    h = kde.corrected_bandwidth(h0)
    alpha_squared = 1 / (1 + h0 * h0)
    assert abs(alpha_squared - (1 - h * h)) <= 1e-12
    assert h == pytest.approx(math.sqrt(alpha_squared) * h0)


@pytest.mark.parametrize(("l", "h", "c"), [(6, 0.4254, 1 - 1e-6), (16, 0.5843, 0.9983), (128, 0.7459, 0.9)])
def test_the_floor_is_one_kernel_at_the_quantile_of_its_distance(l, h, c):
    assert kde.log_floor(l, h, c) == pytest.approx(-chi2.ppf(c, l) / 2 - l * math.log(h), rel=1e-9)


def test_level_one_is_no_floor():
    assert kde.log_floor(16, 0.5, 1.0) == -math.inf


def test_the_kl_estimate_at_the_target_is_zero_in_two_dimensions_and_negative_in_sixteen():
    assert -0.01 <= kl_estimate(2, 0.28, b=10_000) <= 0.01
    assert kl_estimate(16, 0.72) == pytest.approx(-0.24, abs=0.05)


@pytest.mark.parametrize(
    ("l", "h0", "expected", "tolerance"),
    [(16, 0.72, 0.9983, 0.0008), (128, 1.12, 0.949, 0.006), (128, 1.128, 0.935, 0.008)],
)
def test_the_calibrated_level(l, h0, expected, tolerance):
    assert kde.calibrated_level(l, 10_000, h0) == pytest.approx(expected, abs=tolerance)


def test_the_calibrated_level_is_one_where_no_floor_is_needed():
    assert kde.calibrated_level(1, 2_000, 1.0) == 1.0


def test_the_balance_is_the_mean_push_of_the_gradient_over_the_pull_of_the_prior():
    z, centres, h = normal(30, 3, 1, 0.8).requires_grad_(), normal(50, 3, 2, 0.8), 0.4
    floor = kde.log_floor(3, h, 0.9)
    log_q = kde.log_density(z, centres, h)
    (gradient,) = torch.autograd.grad(torch.logaddexp(log_q, torch.full_like(log_q, floor)).sum(), z)
    z, log_q = z.detach(), log_q.detach()
    expected = -float((z * gradient).sum(1).mean() / z.square().sum(1).mean())
    found, below = kde.balance(z, kde.Density(centres, h, floor))
    assert found == pytest.approx(expected, rel=1e-10)
    assert below == float((log_q < floor).double().mean())
    assert 0 < below < 1
    without, none = kde.balance(z.float(), kde.Density(centres, h, -math.inf))
    assert without > found
    assert none == 0
    assert math.isnan(kde.balance(torch.zeros(2, 3), kde.Density(centres, h, floor))[0])
