import numpy as np
import pytest
import torch


@pytest.fixture
def method(linear):
    return linear("aae", beta=2.0, hidden=[5, 4])


def softplus(t):
    return np.log1p(np.exp(t))


def test_losses_by_hand(method, x, replay):
    with torch.no_grad():
        z = method.encoder(x)
        sse = ((x - method.decode(z)) ** 2).sum().item() / 6
        on_codes, on_prior = (method.adversary(c).numpy() for c in (z, replay((6, 3))[0]))
        losses, adversary = method.losses(x), method.adversary_losses(x)
    assert losses["adversarial"].item() == pytest.approx(softplus(-on_codes).mean())
    assert losses["loss"].item() == pytest.approx(0.05 * sse + 2 * softplus(-on_codes).mean())
    expected = softplus(-on_prior).mean() + softplus(on_codes).mean()
    assert adversary["adversary_loss"].item() == pytest.approx(expected)


def test_adversary_is_table_x(linear):
    weights = [p.shape for p in linear("aae", beta=1.0, hidden=[5, 4]).adversary.parameters() if p.ndim == 2]
    assert weights == [(5, 3), (4, 5), (1, 4)]


def test_adversary_loss_stops_at_the_codes(method, x):
    method.losses(x)
    method.adversary_losses(x)["adversary_loss"].backward()
    assert all(p.grad is None for part in (method.encoder, method.decoder) for p in part.parameters())
    assert all(p.grad is not None for p in method.adversary.parameters())


def test_the_players_pull_codes_and_logits_apart(method, x):
    """The encoder climbs the logit of its codes, the adversary lowers it."""
    losses = method.losses(x)
    g_bias = torch.autograd.grad(losses["adversarial"], method.adversary[-1].bias)[0]
    assert g_bias.item() < 0
    codes = method.codes
    g_codes = torch.autograd.grad(
        torch.nn.functional.softplus(method.adversary(codes.requires_grad_())).mean(),
        method.adversary[-1].bias,
    )[0]
    assert g_codes.item() > 0


def test_batch_statistics_count_a_batch_once(on_digits):
    method, images = on_digits("aae", beta=1.0, hidden=[8])
    method.train()
    norm = next(layer for layer in method.encoder if isinstance(layer, torch.nn.BatchNorm2d))
    method.losses(images)
    method.adversary_losses(images)
    assert norm.num_batches_tracked == 1
