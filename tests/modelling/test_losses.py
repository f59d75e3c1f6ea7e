import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Bernoulli, Normal, kl_divergence

from lvm_bench.errors import UserError
from lvm_bench.modelling.contract import Spec
from lvm_bench.modelling.losses import (
    decomposition,
    gaussian_kl_to_standard,
    imq_mmd,
    nll,
    pairwise_log_density,
    sse,
    stratified_log_weights,
    total_correlation,
)
from lvm_bench.seeding import generator


def normal(*shape, purpose="losses"):
    return torch.randn(*shape, generator=generator(0, purpose), dtype=torch.float64)


def spec(likelihood, value_range=(0.0, 1.0)):
    return Spec((1, 2, 2), value_range, 2, 100, 10, likelihood)


def test_sse_is_summed_per_image():
    x = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]], [[[1.0, 1.0], [1.0, 1.0]]]])
    assert sse(x, torch.zeros(2, 1, 2, 2)).tolist() == [14, 4]


def test_nll_of_each_likelihood():
    raw = normal(3, 1, 2, 2)
    recon = raw.sigmoid()
    x = torch.bernoulli(recon, generator=generator(0, "pixels"))
    bernoulli = -Bernoulli(logits=raw).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(nll(x, raw, recon, spec("bernoulli")), bernoulli)
    torch.testing.assert_close(nll(x, raw, recon, spec("sse")), sse(x, recon))
    unit = -Normal(recon, 1).log_prob(x).sum((1, 2, 3)) - 2 * math.log(2 * math.pi)
    torch.testing.assert_close(nll(x, raw, recon, spec("gaussian_unit")), unit)


def test_bernoulli_accepts_grey_targets_and_extreme_logits():
    raw = torch.full((1, 1, 2, 2), 1e4)
    x = torch.full_like(raw, 0.25)
    assert nll(x, raw, raw.sigmoid(), spec("bernoulli")).item() == pytest.approx(4 * 0.75 * 1e4)


def test_bernoulli_outside_the_unit_range_is_a_mistake():
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(UserError, match=r"bernoulli.*\[-1.0, 1.0\]"):
        nll(x, x, x, spec("bernoulli", (-1.0, 1.0)))


def test_gaussian_kl_agrees_with_torch_distributions():
    mu, log_var = normal(5, 3), normal(5, 3, purpose="log_var")
    expected = kl_divergence(Normal(mu, (log_var / 2).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(gaussian_kl_to_standard(mu, log_var), expected)


# --- MMD --------------------------------------------------------------------------------------------------


def brute_mmd(z, p, variance=1.0):
    n, l = z.shape
    total = 0.0
    for s in (0.1, 0.2, 0.5, 1, 2, 5, 10):
        c = s * 2 * l * variance

        def k(a, b, c=c):
            return c / (c + ((a - b) ** 2).sum())

        for i in range(n):
            for j in range(n):
                if i != j:
                    total += (k(z[i], z[j]) + k(p[i], p[j])) / (n * (n - 1))
                total -= 2 * k(z[i], p[j]) / n**2
    return total


@pytest.mark.parametrize("variance", [1.0, 0.4])
def test_mmd_is_its_definition(variance):
    z, p = 1.5 * normal(7, 3), normal(7, 3, purpose="prior")
    assert imq_mmd(z, p, variance).item() == pytest.approx(brute_mmd(z.numpy(), p.numpy(), variance), rel=1e-10)


def test_mmd_in_chunks_is_the_whole():
    z, p = normal(1100, 2), 0.5 + normal(1100, 2, purpose="prior")
    n = len(z)
    total = 0.0
    for s in (0.1, 0.2, 0.5, 1, 2, 5, 10):
        kernel = [4 * s / (4 * s + torch.cdist(a, b) ** 2) for a, b in ((z, z), (p, p), (z, p))]
        total += (kernel[0].sum() + kernel[1].sum() - 2 * n) / (n * (n - 1)) - 2 * kernel[2].mean()
    assert imq_mmd(z, p).item() == pytest.approx(total.item(), rel=1e-6)


def test_mmd_is_unbiased_and_not_clamped():
    stream = generator(0, "unbiased")
    values = [imq_mmd(*torch.randn(2, 50, 4, generator=stream)).item() for _ in range(400)]
    assert min(values) < 0
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(len(values))


def test_mmd_sees_a_shift_and_ends_at_14():
    z, p = normal(200, 4), normal(200, 4, purpose="prior")
    shift = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)
    assert imq_mmd(z + shift, p).item() > 0.05 > imq_mmd(z, p).item()
    apart = imq_mmd(torch.zeros(5, 4), torch.full((5, 4), 1e4)).item()
    assert apart == pytest.approx(14, abs=1e-4)


def test_mmd_has_no_unit():
    z, p = 2 * normal(30, 4), normal(30, 4, purpose="prior")
    assert imq_mmd(0.3 * z, 0.3 * p, 0.09).item() == pytest.approx(imq_mmd(z, p).item(), rel=1e-9)


def test_mmd_of_one_code_is_an_error():
    with pytest.raises(UserError, match="at least 2 codes"):
        imq_mmd(torch.zeros(1, 4), torch.zeros(1, 4))


# --- total correlation ------------------------------------------------------------------------------------


@given(st.integers(2, 40), st.integers(0, 1000))
def test_stratified_weights_sum_to_one(b, more):
    n = b + more
    weights = stratified_log_weights(b, n).exp()
    torch.testing.assert_close(weights.sum(1), torch.ones(b, dtype=torch.float64))
    torch.testing.assert_close(weights.diagonal(), torch.full((b,), 1 / n, dtype=torch.float64))


def test_stratified_weights_stand_on_the_diagonal():
    s, o = (500 - 3) / (500 * 3), 1 / 3
    d = 1 / 500
    expected = torch.tensor([[d, s, o, o], [o, d, s, o], [o, o, d, s], [s, o, o, d]], dtype=torch.float64)
    torch.testing.assert_close(stratified_log_weights(4, 500).exp(), expected)


@pytest.mark.parametrize(("b", "n"), [(1, 10), (11, 10)])
def test_stratified_weights_need_a_batch_of_the_training_set(b, n):
    with pytest.raises(UserError, match=f"2 to {n} images.*not {b}"):
        stratified_log_weights(b, n)


def posterior(b=6, l=3):
    return normal(b, l, purpose="z"), normal(b, l, purpose="mu"), normal(b, l, purpose="log_var") / 2


def test_pairwise_log_density_agrees_with_torch_distributions():
    z, mu, log_var = posterior()
    expected = Normal(mu, (log_var / 2).exp()).log_prob(z[:, None])
    torch.testing.assert_close(pairwise_log_density(z, mu, log_var), expected)
    assert expected[4, 1, 2] == Normal(mu[1, 2], (log_var[1, 2] / 2).exp()).log_prob(z[4, 2])


def test_the_three_parts_add_up_to_the_sampled_kl():
    z, mu, log_var = posterior()
    for weights in (stratified_log_weights(6, 100), torch.full((6, 6), -math.log(600)).double()):
        parts = decomposition(z, pairwise_log_density(z, mu, log_var), weights)
        log_ratio = Normal(mu, (log_var / 2).exp()).log_prob(z) - Normal(0.0, 1.0).log_prob(z)
        torch.testing.assert_close(sum(parts.values()), log_ratio.sum(1).mean())


def tc_gradients(log_weights):
    tensors = [t.requires_grad_() for t in posterior()]
    value = total_correlation(pairwise_log_density(*tensors), log_weights)
    return value, torch.autograd.grad(value, tensors)


def test_constants_move_the_total_correlation_but_not_its_gradient():
    zero = torch.zeros(6, 6, dtype=torch.float64)
    (dlib, g_dlib), (weighted, g_weighted), (divided, g_divided) = map(
        tc_gradients, (zero, zero - math.log(6 * 100), zero - math.log(6))
    )
    torch.testing.assert_close(g_dlib, g_weighted)
    torch.testing.assert_close(g_dlib, g_divided)
    # l - 1 = 2 constants remain: one joint against l marginals.
    assert (weighted - dlib).item() == pytest.approx(2 * math.log(600))
    assert (divided - dlib).item() == pytest.approx(2 * math.log(6))


def test_stratified_estimates_of_a_known_aggregate():
    """Means N(0, S) and posterior variance v: the aggregate is N(0, S + vI), its parts in closed form."""
    n, b, v, l = 500, 100, 0.25, 3
    s = 0.75 * torch.tensor([[1, 0.6, 0.3], [0.6, 1, 0.4], [0.3, 0.4, 1]], dtype=torch.float64)
    stream = generator(0, "toy")
    means = torch.randn(n, l, generator=stream, dtype=torch.float64) @ torch.linalg.cholesky(s).T
    total = torch.cov(means.T) + v * torch.eye(l, dtype=torch.float64)
    tc = 0.5 * (total.diagonal().log().sum() - torch.logdet(total))
    mi = 0.5 * (torch.logdet(total) - l * math.log(v))
    parts = []
    for _ in range(30):
        mu = means[torch.randperm(n, generator=stream)[:b]]
        z = mu + math.sqrt(v) * torch.randn(b, l, generator=stream, dtype=torch.float64)
        pairwise = pairwise_log_density(z, mu, torch.full_like(mu, math.log(v)))
        parts.append(decomposition(z, pairwise, stratified_log_weights(b, n)))
    assert np.mean([p["tc"] for p in parts]) == pytest.approx(tc.item(), abs=0.1)
    assert np.mean([p["mi"] for p in parts]) == pytest.approx(mi.item(), abs=0.2)


# --- gradients --------------------------------------------------------------------------------------------


def test_gradients_agree_with_finite_differences():
    z, mu, log_var = (t.requires_grad_() for t in posterior(4, 2))
    weights = stratified_log_weights(4, 50)
    assert torch.autograd.gradcheck(gaussian_kl_to_standard, (mu, log_var))
    assert torch.autograd.gradcheck(imq_mmd, (z, mu))
    for part in ("mi", "tc", "dwkl"):
        assert torch.autograd.gradcheck(
            lambda *t, part=part: decomposition(t[0], pairwise_log_density(*t), weights)[part],
            (z, mu, log_var),
        )
