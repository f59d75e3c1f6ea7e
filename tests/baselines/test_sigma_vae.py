import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.stats import norm


def decoded(method, x, replay):
    """(the decoded images of the first batch, the KL of its posteriors) as numpy."""
    with torch.no_grad():
        heads = method.encoder(x).numpy()
        mu, log_var = heads[:, :3], heads[:, 3:]
        z = mu + np.exp(log_var / 2) * replay((6, 3))[0].numpy()
        recon = method.decode(torch.from_numpy(z)).numpy()
    return recon, (0.5 * (mu**2 + np.exp(log_var) - 1 - log_var)).sum(1).mean()


def nll(x, recon, sigma):
    return -norm.logpdf(x.numpy(), recon, sigma).sum() / len(x)


@pytest.mark.parametrize("likelihood", ["sse", "bernoulli"])
def test_loss_by_hand(linear, x, replay, likelihood):
    method = linear("sigma-vae", likelihood=likelihood)
    recon, kl = decoded(method, x, replay)
    sigma = np.sqrt(((x.numpy() - recon) ** 2).mean())
    losses = method.losses(x)
    assert losses["sigma"].item() == pytest.approx(sigma)
    assert losses["recon"].item() == pytest.approx(nll(x, recon, sigma))
    assert losses["loss"].item() == pytest.approx(nll(x, recon, sigma) + kl)


def test_no_other_variance_makes_the_batch_likelier(linear, x, replay):
    method = linear("sigma-vae")
    recon, _ = decoded(method, x, replay)
    best = minimize_scalar(lambda log_sigma: nll(x, recon, np.exp(log_sigma)), bounds=(-5, 2), method="bounded")
    assert method.losses(x)["recon"].item() == pytest.approx(best.fun)


def test_perfect_reconstructions_stay_finite(linear, x):
    method = linear("sigma-vae")
    method.decode = lambda z: x + 0 * z.sum()
    losses = method.losses(x)
    losses["loss"].backward()
    assert losses["sigma"].item() == pytest.approx(np.exp(-6))
    assert torch.isfinite(losses["loss"])
    assert all(torch.isfinite(p.grad).all() for p in method.encoder.parameters())
