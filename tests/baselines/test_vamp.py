import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm

K = 5


@pytest.fixture
def vamp(linear):
    """A method whose pseudo-inputs differ, some beyond the value range."""
    method = linear("vamp", components=K)
    with torch.no_grad():
        spread = torch.linspace(-1, 2, method.pseudo_inputs.numel(), dtype=torch.float64)
        method.pseudo_inputs.copy_(spread.reshape(16, K).T.reshape(K, 1, 4, 4))
    return method


def mixture(method):
    """(mu, sigma) of the posterior of each pseudo-input, as numpy."""
    with torch.no_grad():
        heads = method.encoder(method.pseudo_inputs.clip(0, 1)).numpy()
    return heads[:, :3], np.exp(heads[:, 3:] / 2)


def log_density(z, mu, sigma):
    return [logsumexp([norm.logpdf(row, mu[k], sigma[k]).sum() for k in range(K)]) - np.log(K) for row in z]


def test_loss_by_hand(vamp, x, replay):
    with torch.no_grad():
        heads = vamp.encoder(x).numpy()
        mu, sigma = heads[:, :3], np.exp(heads[:, 3:] / 2)
        z = mu + sigma * replay((6, 3))[0].numpy()
        sse = ((x - vamp.decode(torch.from_numpy(z))) ** 2).sum().item() / 6
    kl = np.mean(norm.logpdf(z, mu, sigma).sum(1) - log_density(z, *mixture(vamp)))
    losses = vamp.losses(x)
    assert losses["kl"].item() == pytest.approx(kl)
    assert losses["loss"].item() == pytest.approx(sse + kl)


def test_draws_and_density_are_those_of_one_mixture(vamp):
    mu, sigma = mixture(vamp)
    with torch.no_grad():
        z = vamp.prior(50_000)
        inside = vamp.log_prior(z[:1500])  # more than one block
    np.testing.assert_allclose(inside, log_density(z[:1500].numpy(), mu, sigma))
    np.testing.assert_allclose(z.mean(0), mu.mean(0), atol=0.03)
    variances = mu.var(0) + (sigma**2).mean(0)
    np.testing.assert_allclose(z.var(0), variances, rtol=0.03)
    assert vamp.target_variance is None


def test_pseudo_inputs_are_learned_and_no_part_of_batch_norm(on_digits):
    method, x = on_digits("vamp", components=3)
    method.train()
    counted = [layer for layer in method.encoder.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    losses = method.losses(x)
    losses["loss"].backward()
    assert (method.pseudo_inputs.grad != 0).any()
    assert [int(layer.num_batches_tracked) for layer in counted] == [1] * len(counted)
    assert all(layer.training for layer in counted)
    before = [layer.running_mean.clone() for layer in counted]
    method.prior(4)
    assert all(torch.equal(layer.running_mean, kept) for layer, kept in zip(counted, before, strict=True))


def test_one_pseudo_input_gives_a_gaussian_prior(linear, x):
    method = linear("vamp", components=1)
    with torch.no_grad():
        mu, log_var = (part.numpy() for part in method.components())
        z = method.prior(20)
        found = method.log_prior(z)
    np.testing.assert_allclose(found, norm.logpdf(z, mu, np.exp(log_var / 2)).sum(1))
