"""The masked autoregressive flow: a density, its exact inverse, and an order of the axes that masks keep."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from torch import Tensor

from lvm_bench.errors import RunError
from lvm_bench.evaluation.expost import flow
from lvm_bench.seeding import generator


def moons(n: int, seed: int) -> Tensor:
    """Two half circles that reach into each other, with noise: nothing like one Gaussian."""
    stream = generator(seed, "moons")
    angle, noise = math.pi * torch.rand(n, generator=stream), 0.05 * torch.randn(n, 2, generator=stream)
    upper = torch.arange(n) % 2 == 0
    x = torch.where(upper, angle.cos(), 1 - angle.cos()) - 0.5
    y = torch.where(upper, angle.sin(), 0.5 - angle.sin()) - 0.25
    return torch.stack([x / 0.87, y / 0.5], dim=1) + noise


def shaken(l: int, seed: int) -> flow.Flow:
    """A flow in float64 whose biases are drawn too."""
    made = flow.Flow(l, generator(seed, "flow"), hidden=(12, 9)).double()
    with torch.no_grad():
        for name, value in made.named_parameters():
            if name.endswith("bias"):
                value.normal_(generator=generator(seed, name)).mul_(0.3)
    return made


@given(st.integers(2, 6), st.integers(0, 2**31))
@settings(max_examples=10)
def test_mean_and_scale_of_an_axis_depend_on_the_axes_before_it_alone(l: int, seed: int) -> None:
    block = shaken(l, seed).blocks[0]
    x = torch.randn(1, l, generator=generator(seed, "x"), dtype=torch.float64)
    for part in (0, 1):
        jacobian = torch.autograd.functional.jacobian(lambda own, part=part: block(own)[part][0], x)[:, 0]
        assert torch.equal(jacobian, jacobian.tril(-1))


def test_every_axis_sees_all_axes_before_it() -> None:
    block = flow.MADE(5)
    sees = torch.eye(5)
    for layer in block.body:
        if isinstance(layer, flow.Masked):
            sees = layer.mask @ sees
    assert torch.equal(sees > 0, torch.ones(5, 5).tril(-1).bool().repeat(2, 1))


@given(st.integers(1, 6), st.integers(0, 2**31))
@settings(max_examples=10)
def test_the_inverse_is_exact_and_the_density_is_that_of_the_change_of_variables(l: int, seed: int) -> None:
    made, noise = shaken(l, seed), torch.randn(3, l, generator=generator(seed, "u"), dtype=torch.float64)
    codes = made.inverse(noise)
    again = codes
    for block in made.blocks:
        mu, alpha = block(again)
        again = ((again - mu) * (-alpha).exp()).flip(1)
    torch.testing.assert_close(again, noise, rtol=1e-8, atol=1e-8)
    # log p(x) = log N(u; 0, I) - log |det dx/du|, with the determinant that torch differentiates.
    grown = noise.clone()
    for code, own, log_prob in zip(codes, grown, made.log_prob(codes).detach(), strict=True):
        inside = torch.autograd.functional.jacobian(lambda x: _noise_of(made, x[None])[0], code)
        expected = -0.5 * float(own @ own + l * math.log(2 * math.pi)) + float(torch.linalg.slogdet(inside)[1])
        assert float(log_prob) == pytest.approx(expected, abs=1e-8)


def _noise_of(made: flow.Flow, x: Tensor) -> Tensor:
    for block in made.blocks:
        mu, alpha = block(x)
        x = ((x - mu) * (-alpha).exp()).flip(1)
    return x


def test_the_density_integrates_to_one() -> None:
    made, side = shaken(2, 0), torch.linspace(-15, 15, 500, dtype=torch.float64)
    with torch.no_grad():
        made.blocks[0].body[-1].weight.mul_(0.5)  # so that its tails lie within the grid
        total = float(made.log_prob(torch.cartesian_prod(side, side)).exp().sum())
    assert total * float(side[1] - side[0]) ** 2 == pytest.approx(1, abs=1e-3)


def test_a_flow_of_two_moons_makes_other_codes_more_likely_than_a_gaussian_does() -> None:
    codes, others = moons(2000, 0), moons(500, 1)
    made = flow.fit(codes, 12, generator(0, "fit"))
    with torch.no_grad():
        mean = float(made.log_prob(others).mean())
    rows = codes.double().numpy()
    gaussian = multivariate_normal(rows.mean(0), np.cov(rows.T)).logpdf(others.double().numpy()).mean()
    assert mean > gaussian + 0.2
    # Its own draws are as likely as the codes: it draws from the density that it tells.
    draws = made.sample(2000, generator(0, "draws"))
    with torch.no_grad():
        assert float(made.log_prob(draws).mean()) == pytest.approx(mean, abs=0.25)


def test_the_training_ends_early_with_the_best_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = torch.randn(60, 2, generator=generator(0, "few"))
    monkeypatch.setattr(flow, "_RATE", 0.05)
    calls = []
    log_prob = flow.Flow.log_prob
    monkeypatch.setattr(flow.Flow, "log_prob", lambda own, x: calls.append(len(x)) or log_prob(own, x))
    made = flow.fit(codes, 500, generator(0, "fit"))
    epochs = calls.count(6)
    assert flow.PATIENCE < epochs < 500
    best = flow.fit(codes, epochs - flow.PATIENCE, generator(0, "fit"))
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), best.parameters(), strict=True))


def test_a_flow_without_a_finite_likelihood_is_a_sentence() -> None:
    with pytest.raises(RunError, match=r"^The ex-post sampler 'flow' has no finite likelihood"):
        flow.fit(torch.full((20, 2), math.nan), 6, generator(0, "fit"))
