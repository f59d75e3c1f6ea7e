"""SVGD written out in loops, its fixed points, and the sampler network."""

import math

import numpy as np
import pytest
import torch

from baselines.ldc_vae import descent
from lvm_bench.seeding import generator


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed, "test"), dtype=torch.float64)


def stein(z, score):
    """SVGD's direction of each particle, arXiv:1608.04471, eq. 8."""
    k = len(z)
    squares = ((z[:, None] - z) ** 2).sum(2)
    width = max(1e-4, np.sort(squares, axis=None)[k * k // 2] / (2 * math.log(k + 1)))
    direction = np.zeros_like(z)
    for i in range(k):
        for j in range(k):
            weight = math.exp(-squares[j, i] / (2 * width))
            direction[i] += (weight * score(z[j]) + weight * (z[i] - z[j]) / width) / k
    return direction


def test_particles_move_along_the_direction_of_svgd():
    z = normal(2, 6, 3).requires_grad_()
    at, push = descent(z)
    torch.testing.assert_close(at, z)
    (at.square().sum() / 2 - push).backward()
    for own, gradient in zip(z.detach().numpy(), z.grad.numpy(), strict=True):
        np.testing.assert_allclose(-gradient, stein(own, lambda point: -point), rtol=1e-9)


def test_particles_come_to_rest_with_the_moments_of_the_density():
    z = (3 + 0.1 * normal(1, 50, 2)).requires_grad_()
    optimiser = torch.optim.Adam([z], lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        at, push = descent(z)
        ((at - torch.tensor([1.0, 0.0])).square().sum() / 2 - push).backward()
        optimiser.step()
    found = z.detach()[0]
    torch.testing.assert_close(found.mean(0), torch.tensor([1.0, 0.0], dtype=torch.float64), atol=0.05, rtol=0)
    assert 0.6 < float(found.var(0).mean()) < 1.4


def test_equal_particles_stay_finite():
    z = torch.zeros(1, 4, 2, requires_grad=True)
    at, push = descent(z)
    (at.sum() - push).backward()
    assert torch.isfinite(z.grad).all()


def test_the_decoder_learns_the_error_of_the_particles_alone(linear, x, replay):
    method = linear("ldc-vae", k=4, m=20, hidden=8)
    losses = method.losses(x)
    mu, log_var = (half.detach() for half in method.encoder(x).chunk(2, dim=1))
    z = (mu + (log_var / 2).exp() * replay((4, 6, 3))[0]).transpose(0, 1).flatten(0, 1)
    error = (x.repeat_interleave(4, 0) - torch.sigmoid(method.decoder(z))).square().flatten(1).sum(1)
    assert losses["recon"].item() == pytest.approx(error.mean().item())
    assert losses["energy"].item() == pytest.approx((z.square().sum(1) / 2 + 0.5 * error).mean().item())
    losses["loss"].backward()
    found = method.decoder[0].weight.grad.clone()
    method.zero_grad()
    (0.5 * 4 * error.mean()).backward()
    torch.testing.assert_close(found, method.decoder[0].weight.grad)


def test_the_buffer_holds_the_latest_particles_of_training_alone(linear, x):
    method = linear("ldc-vae", k=4, m=10, hidden=8)
    before = method.buffer.clone()
    method.eval().losses(x)
    assert torch.equal(method.buffer, before)
    method.train().losses(x)
    assert torch.equal(method.buffer[6:], before[:4])
