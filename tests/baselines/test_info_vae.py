import numpy as np
import pytest
import torch


def mmd_by_loops(a: np.ndarray, b: np.ndarray) -> float:
    n, l = a.shape

    def similarity(u: np.ndarray, v: np.ndarray) -> float:
        return sum(np.exp(-((u[i] - v[j]) ** 2).sum() / l**2) for i in range(n) for j in range(n)) / n**2

    return similarity(a, a) + similarity(b, b) - 2 * similarity(a, b)


@pytest.mark.parametrize(("alpha", "lam"), [(1.0, 1000.0), (0.5, 3.0)])
def test_loss_by_hand(linear, x, replay, alpha, lam):
    method = linear("info-vae", alpha=alpha, lam=lam)
    noise, prior = (drawn.numpy() for drawn in replay((6, 3), (6, 3)))
    with torch.no_grad():
        heads = method.encoder(x).numpy()
        mu, log_var = heads[:, :3], heads[:, 3:]
        z = mu + np.exp(log_var / 2) * noise
        sse = ((x - method.decode(torch.from_numpy(z))) ** 2).sum().item() / 6
    kl = (0.5 * (mu**2 + np.exp(log_var) - 1 - log_var)).sum(1).mean()
    mmd = mmd_by_loops(z, prior)
    losses = method.losses(x)
    assert losses["mmd"].item() == pytest.approx(mmd)
    assert losses["loss"].item() == pytest.approx(sse + (1 - alpha) * kl + (alpha + lam - 1) * mmd)


def test_without_information_and_mmd_it_is_the_vae(linear, x):
    info, vae = linear("info-vae", alpha=0.0, lam=1.0), linear("vae")
    assert info.losses(x)["loss"].item() == pytest.approx(vae.losses(x)["loss"].item(), rel=1e-12)
