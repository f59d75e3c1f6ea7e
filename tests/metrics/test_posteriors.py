"""Metrics of posteriors: closed forms, sums over pairs, integrals, and posteriors that are no Gaussians."""

import math
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from lvm_bench.errors import UserError
from lvm_bench.metrics import collapsed_kl, dimension_wise_kl, mutual_information, posteriors, total_correlation
from lvm_bench.modelling.posteriors import Epanechnikov, Gaussian, SmoothedEpanechnikov, each
from lvm_bench.seeding import generator


def normal(n, l, seed=0):
    return torch.randn(n, l, generator=generator(seed, "test"), dtype=torch.float64)


def posterior(n=1500, l=3, seed=0):
    mu = normal(n, l, seed) @ torch.tensor([[1.0, 0.7, 0], [0, 0.5, 0], [0, 0, 0.1]], dtype=torch.float64)
    return mu, torch.tensor([-2.0, -1.0, -0.1], dtype=torch.float64).expand(n, l)


def test_the_parts_add_up_to_the_mean_kl():
    mu, log_var = posterior()
    parts = [part((mu, log_var), seed=2) for part in (mutual_information, total_correlation, dimension_wise_kl)]
    kl = 0.5 * (mu.square() + log_var.exp() - 1 - log_var).sum(1)
    assert sum(parts) == pytest.approx(float(kl.mean()), abs=0.1)
    draws = posteriors._Draws.of((mu, log_var), 2, "test")
    assert sum(parts) == pytest.approx(float((draws.log_posterior - draws.log_prior(None)).mean()), rel=1e-9)


def test_the_parts_agree_with_a_sum_over_pairs():
    draws = posteriors._Draws.of(posterior(n=40), 0, "test")
    mu, log_var = posterior(n=40)
    z, mu, std = (x.numpy() for x in (draws.z, mu - draws.centre, (log_var / 2).exp()))
    densities = norm(mu, std).pdf(z[:, None])  # [b n l]
    half_log_2pi = 0.5 * math.log(2 * math.pi)
    joint = np.log(densities.prod(2).mean(1)) + 3 * half_log_2pi
    marginals = np.log(densities.mean(1)).sum(1) + 3 * half_log_2pi
    np.testing.assert_allclose(draws.log_aggregate(), joint, rtol=1e-9)
    np.testing.assert_allclose(draws.log_marginals(), marginals, rtol=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize(("spread", "low", "high"), [(1, -20, 20), (1000, -20, -20), (1000, -20, 0), (1e-4, -20, -18)])
def test_the_parts_agree_with_longer_floats_over_the_whole_clamp(spread, low, high, offset):
    mu = spread * normal(60, 3) + offset
    log_var = low + (high - low) * torch.rand(60, 3, generator=generator(1, "test"), dtype=torch.float64)
    draws = posteriors._Draws.of((mu, log_var), 0, "test")
    order = torch.randperm(60, generator=generator(0, "posterior"))
    z, centre, means, logs = (
        x.numpy().astype(np.longdouble) for x in (draws.z, draws.centre, mu - draws.centre, log_var)
    )
    own = -0.5 * ((z - means[order]) ** 2 / np.exp(logs[order]) + logs[order])
    each = -0.5 * ((z[:, None] - means) ** 2 / np.exp(logs) + logs)
    joint = np.logaddexp.reduce(each.sum(2), axis=1) - np.log(np.longdouble(60))
    marginals = (np.logaddexp.reduce(each, axis=1) - np.log(np.longdouble(60))).sum(1)
    prior = -0.5 * ((z + centre) ** 2).sum(1)
    parts = [part((mu, log_var)) for part in (mutual_information, total_correlation, dimension_wise_kl)]
    expected = [float(x.mean()) for x in (own.sum(1) - joint, joint - marginals, marginals - prior)]
    assert parts == pytest.approx(expected, rel=1e-9, abs=1e-6)
    assert parts[0] <= math.log(60)


@pytest.mark.parametrize(("spread", "l"), [(1000, 64), (1e4, 16)])
def test_posteriors_that_do_not_overlap_tell_log_n_exactly(spread, l):
    mu, log_var = spread * normal(400, l), torch.full((400, l), -20.0)
    for offset in (0, 1e6):
        assert mutual_information((mu + offset, log_var)) == pytest.approx(math.log(400), abs=1e-6)
        # Each axis alone tells nearly all images apart, so that each adds log n but for the one that they share.
        assert total_correlation((mu + offset, log_var)) == pytest.approx((l - 1) * math.log(400), rel=1e-3)


@pytest.mark.parametrize("part", [mutual_information, total_correlation, dimension_wise_kl])
def test_log_variances_beyond_the_clamp_are_told_and_beyond_float64_refused(part):
    mu, log_var = normal(100, 2), torch.zeros(100, 2)
    log_var[3, 1] = -35
    with pytest.warns(UserWarning, match=rf"{part.__name__}: log_var has values from -35 to 0; methods clamp"):
        assert math.isfinite(part((mu, log_var)))
    for value in (-800.0, 1000.0):
        log_var[3, 1] = value
        with pytest.raises(UserError, match=rf"^{part.__name__}: log_var has values from .* cannot hold"):
            part((mu, log_var))


def test_the_total_correlation_of_a_gaussian_aggregate_is_minus_half_the_log_determinant():
    mu, log_var = posterior(n=4000)
    covariance = np.cov(mu.numpy(), rowvar=False) + np.diag(log_var[0].exp().numpy())
    expected = 0.5 * (np.log(np.diag(covariance)).sum() - np.linalg.slogdet(covariance)[1])
    assert total_correlation((mu, log_var)) == pytest.approx(expected, abs=0.03)


def test_equal_posteriors_tell_nothing_and_far_ones_tell_log_n():
    zeros = torch.zeros(100, 2)
    for part in (mutual_information, total_correlation, dimension_wise_kl):
        assert part((zeros, zeros)) == pytest.approx(0, abs=1e-9)
    grid = 100 * torch.arange(100.0)[:, None].expand(100, 2)
    assert mutual_information((grid, zeros)) == pytest.approx(math.log(100), rel=1e-9)
    assert total_correlation((grid, zeros)) == pytest.approx(math.log(100), rel=1e-9)


def test_the_dimension_wise_kl_of_one_gaussian_axis_is_its_integral():
    zeros = torch.zeros(2000, 1)
    log_var = torch.full((2000, 1), math.log(0.25))
    q, p = norm(0, 0.5), norm(0, 1)
    expected, _ = quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -5, 5)
    assert dimension_wise_kl((zeros, log_var)) == pytest.approx(expected, abs=0.05)


def test_the_parts_take_two_thousand_codes_and_all_posteriors():
    draws = posteriors._Draws.of(posterior(n=2500), 0, "test")
    assert (len(draws.z), draws.n) == (2000, 2500)


# Posteriors that are no Gaussians


class AsOther(NamedTuple):
    """A Gaussian that no metric recognises as one."""

    mu: torch.Tensor
    log_var: torch.Tensor
    mean = Gaussian.mean
    variance = Gaussian.variance
    sample = Gaussian.sample
    log_prob = Gaussian.log_prob


@pytest.mark.parametrize("part", [mutual_information, total_correlation, dimension_wise_kl, collapsed_kl])
def test_any_posterior_is_measured_as_a_gaussian_is(part):
    mu, log_var = posterior()
    assert part(AsOther(mu, log_var)) == pytest.approx(part((mu, log_var)), abs=0.1)


def test_densities_of_any_posterior_are_those_of_a_gaussian():
    mu, log_var = posterior(n=50)
    ours, theirs = (posteriors._Draws.of(given, 0, "test") for given in (AsOther(mu, log_var), (mu, log_var)))
    z = replace(
        theirs, log_densities=partial(posteriors._log_densities, AsOther(mu - theirs.centre, log_var), theirs.z)
    )
    torch.testing.assert_close(z.log_aggregate() + theirs.left_out, theirs.log_aggregate())
    torch.testing.assert_close(z.log_marginals() + theirs.left_out, theirs.log_marginals())
    assert (ours.left_out, len(ours.z)) == (0, 50)


@pytest.mark.parametrize("width", [0.0, 1e-6, 0.5, 8.0])
def test_the_density_of_an_epanechnikov_posterior_is_its_convolution_with_a_uniform(width):
    made = Epanechnikov(*(torch.full((1, 1), value, dtype=torch.float64) for value in (0.3, 1.7, width)))
    reach = 1.7 + width / 2

    def density(z):
        return float(made.log_prob(torch.tensor([[z + 0.3]], dtype=torch.float64)).exp())

    assert quad(density, -reach, reach, points=[-abs(1.7 - width / 2), abs(1.7 - width / 2)])[0] == pytest.approx(1)
    assert quad(lambda z: z * z * density(z), -reach, reach)[0] == pytest.approx(float(made.variance), rel=1e-5)
    assert density(reach + 1e-6) == 0
    half = max(width / 2, 1e-9)
    for z in (0.0, 0.8, 1.6):
        mean, _ = quad(lambda u, z=z: max(0, 1 - (u / 1.7) ** 2) * (abs(u) < 1.7) * 0.75 / 1.7, z - half, z + half)
        assert density(z) == pytest.approx(mean / (2 * half), rel=1e-6)


@pytest.mark.parametrize(("radius", "sigma"), [(1.7, 0.4), (0.05, 1.0), (3.0, 0.01), (1e-3, 1.0)])
def test_the_density_of_a_smoothed_epanechnikov_posterior_is_its_convolution_with_a_gaussian(radius, sigma):
    made = SmoothedEpanechnikov(*(torch.full((1, 1), value, dtype=torch.float64) for value in (0.0, radius, sigma)))
    for z in (0.0, 0.7 * radius, radius, radius + 2 * sigma):
        expected, _ = quad(
            lambda u, z=z: 0.75 / radius * (1 - (u / radius) ** 2) * norm(0, sigma).pdf(z - u),
            max(-radius, z - 9 * sigma), min(radius, z + 9 * sigma), epsabs=0, epsrel=1e-10,
        )  # fmt: skip
        found = float(made.log_prob(torch.tensor([[z]], dtype=torch.float64)))
        assert found == pytest.approx(math.log(expected), abs=1e-6)


def test_the_entropy_and_the_kl_of_an_epanechnikov_kernel_are_closed_forms():
    r = torch.tensor([[0.3, 1.0, math.sqrt(5), 4.0]], dtype=torch.float64)
    kernel = Epanechnikov(torch.tensor([[0.5, 0, 0, 0]], dtype=torch.float64), r, torch.zeros_like(r))
    closed = 0.5 * math.log(2 * math.pi) + (kernel.mu.square() + r.square() / 5) / 2 - r.log() - 5 / 3 + math.log(3)
    torch.testing.assert_close(posteriors.kl_to_normal(kernel, 1.0), closed, atol=2e-4, rtol=0)
    assert float(closed[0, 2]) == pytest.approx(0.0462, abs=1e-4)
    assert collapsed_kl(each(kernel, lambda field: field.expand(2, 4))) == 0
    draws = each(kernel, lambda field: field.expand(200_000, 4)).sample(lambda make: make(generator(0, "test")))
    torch.testing.assert_close(draws.mean(0), kernel.mu[0], atol=0.02, rtol=0)
    torch.testing.assert_close(draws.var(0), kernel.variance[0], rtol=0.02, atol=0)


def test_the_parts_of_an_epanechnikov_mixture_of_one_axis_are_integrals():
    mu = torch.tensor([[-1.0], [0.5], [0.9]], dtype=torch.float64).repeat(700, 1)
    made = Epanechnikov(mu, torch.full_like(mu, 0.6), torch.full_like(mu, 0.2))
    grid = torch.linspace(-2, 2, 20_001, dtype=torch.float64)
    densities = each(made, lambda field: field[:3]).log_prob(grid).exp()
    mixture = densities.mean(0)

    def entropy(p):
        return float(torch.trapezoid(-torch.special.xlogy(p, p), grid))

    information = entropy(mixture) - sum(map(entropy, densities)) / 3
    assert mutual_information(made) == pytest.approx(information, abs=0.03)
    assert total_correlation(made) == pytest.approx(0, abs=1e-9)
    to_normal = float(torch.trapezoid(mixture * 0.5 * (grid.square() + math.log(2 * math.pi)), grid)) - entropy(mixture)
    assert dimension_wise_kl(made) == pytest.approx(to_normal, abs=0.03)


@pytest.mark.parametrize("given", [posterior(n=300), Epanechnikov(*(normal(300, 3, s).abs() + 0.1 for s in range(3)))])
def test_the_parts_add_up_to_the_mean_kl_to_any_prior(given):
    def log_prior(z):
        return (-(z - 1).abs() - math.log(2)).sum(1)  # Laplace

    parts = [part(given, seed=2) for part in (mutual_information, total_correlation)]
    parts.append(dimension_wise_kl(given, 2, log_prior))
    draws = posteriors._Draws.of(given, 2, "test")
    whole = draws.log_posterior - draws.left_out - log_prior(draws.z + draws.centre)
    assert sum(parts) == pytest.approx(float(whole.mean()), rel=1e-9)


def test_fields_of_a_posterior_that_do_not_fit_are_a_sentence():
    with pytest.raises(UserError, match=r"^mutual_information: .*radius"):
        mutual_information(Epanechnikov(torch.zeros(9, 2), torch.full((9, 2), math.nan), torch.zeros(9, 2)))
    with pytest.raises(UserError, match=r"^mutual_information: .*log_var"):
        mutual_information(AsOther(torch.zeros(9, 2), torch.zeros(9, 3)))


@pytest.mark.parametrize("width", [0.0, 0.3])
def test_the_density_of_an_epanechnikov_posterior_has_gradients(width):
    mu, radius = torch.zeros(2, 1, requires_grad=True), torch.ones(2, 1, requires_grad=True)
    Epanechnikov(mu, radius, torch.full((2, 1), width)).log_prob(torch.full((2, 1), 0.4)).sum().backward()
    assert torch.isfinite(mu.grad).all()
    assert torch.isfinite(radius.grad).all()
