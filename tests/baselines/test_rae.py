import numpy as np
import pytest
import torch

from lvm_bench.seeding import generator

SETTINGS = {"beta": 1e-2, "decoder_l2": 1e-3}


def codes(n=500, l=3):
    mixing = torch.tensor([[1.0, 0, 0], [0.5, 0.2, 0], [-1, 0.3, 0.7]])[:l, :l]
    return torch.randn(n, l, generator=generator(0, "codes")) @ mixing.T + torch.arange(l)


@pytest.mark.parametrize("penalise_dense", [False, True])
def test_loss_by_hand(linear, x, penalise_dense):
    method = linear("rae-l2", **SETTINGS, penalise_dense=penalise_dense)
    with torch.no_grad():
        z = method.encoder(x)
        mse = ((x - method.decode(z)) ** 2).mean().item()
        dense, _, kernel = method.decoder
        penalty = (kernel.weight**2).sum().item() + penalise_dense * (dense.weight**2).sum().item()
        loss = method.losses(x)["loss"].item()
    assert loss == pytest.approx(mse + 1e-2 * (z**2).mean().item() + 1e-3 * penalty)


def test_penalty_leaves_biases_batch_norm_and_encoder_alone(on_digits):
    method, x = on_digits("rae-l2", **SETTINGS)
    penalty = method.losses(x)["decoder_l2"]
    names = [name for name, _ in method.named_parameters()]
    gradients = torch.autograd.grad(penalty, list(method.parameters()), allow_unused=True)
    reached = {name for name, g in zip(names, gradients, strict=True) if g is not None}
    assert reached == {"decoder.2.weight", "decoder.5.weight"}


def test_gaussian_is_the_fit_of_numpy(linear):
    method, z = linear("rae-l2", **SETTINGS), codes()
    method.finish(z)
    np.testing.assert_allclose(method.means[0], z.double().mean(0), rtol=1e-6)
    np.testing.assert_allclose(method.roots[0] @ method.roots[0].T, np.cov(z.double().numpy().T), rtol=1e-6)


def test_prior_draws_from_the_fit(linear):
    method, z = linear("rae-l2", **SETTINGS), codes()
    method.finish(z)
    drawn = method.prior(200_000)
    torch.testing.assert_close(drawn.mean(0), z.double().mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(z.double().T), atol=0.02, rtol=0.02)


def test_prior_is_standard_normal_before_the_fit(linear):
    drawn = linear("rae-l2", **SETTINGS).prior(50_000)
    torch.testing.assert_close(torch.cov(drawn.T), torch.eye(3, dtype=torch.float64), atol=0.03, rtol=0)


def test_codes_on_a_line(linear):
    """Rounding then puts eigenvalues of the covariance on either side of 0."""
    method, z = linear("rae-l2", **SETTINGS), codes()
    z[:, 1], z[:, 2] = 0.7 * z[:, 0], -0.3 * z[:, 0]
    method.finish(z)
    drawn = method.prior(1000)
    assert torch.isfinite(drawn).all()
    torch.testing.assert_close(drawn[:, 1], 0.7 * drawn[:, 0], atol=1e-5, rtol=0)


def clusters():
    centres = 10 * torch.eye(3)[torch.arange(600) % 3]
    return centres + 0.1 * torch.randn(600, 3, generator=generator(0, "clusters"))


def test_mixture_keeps_clusters_apart_and_a_gaussian_fills_the_hole(linear):
    nearest = {}
    for density in ("gaussian", "mixture"):
        method = linear("rae-l2", **SETTINGS, density=density)
        method.finish(clusters())
        drawn = method.prior(2000)
        nearest[density] = torch.cdist(drawn, 10 * torch.eye(3).double()).amin(1).max().item()
    assert nearest["mixture"] < 1 < 3 < nearest["gaussian"]


@pytest.mark.parametrize("density", ["gaussian", "mixture"])
def test_the_fit_is_part_of_the_weights(linear, density):
    first, second, third = (linear("rae-l2", **SETTINGS, density=density) for _ in range(3))
    first.finish(clusters())
    second.finish(clusters())
    third.load_state_dict(first.state_dict())
    for method in (first, second, third):
        method.generator.manual_seed(1)
    drawn = first.prior(20)
    assert torch.equal(drawn, second.prior(20))
    assert torch.equal(drawn, third.prior(20))
