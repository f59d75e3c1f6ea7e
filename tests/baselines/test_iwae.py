import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm


@pytest.mark.parametrize("k", [1, 4])
def test_loss_by_hand(linear, x, replay, k):
    method = linear("iwae", k=k)
    with torch.no_grad():
        heads = method.encoder(x).numpy()
        mu, std = heads[:, :3], np.exp(heads[:, 3:] / 2)
        z = mu + std * replay((6 * k, 3))[0].numpy().reshape(k, 6, 3)
        raw = method.decoder(torch.from_numpy(z.reshape(-1, 3))).numpy().reshape(k, 6, -1)
    sse = ((x.numpy().reshape(6, -1) - 1 / (1 + np.exp(-raw))) ** 2).sum(2)
    weights = norm.logpdf(z).sum(2) - norm(mu, std).logpdf(z).sum(2) - sse
    losses = method.losses(x)
    assert losses["loss"].item() == pytest.approx(-(logsumexp(weights, axis=0) - np.log(k)).mean())
    assert losses["recon"].item() == pytest.approx(sse.mean())


def test_the_bound_of_more_codes_is_tighter(linear, x):
    def loss(k: int) -> float:
        method = linear("iwae", k=k)
        with torch.no_grad():
            return float(sum(method.losses(x)["loss"] for _ in range(50)) / 50)

    losses = [loss(k) for k in (1, 5, 50)]
    assert losses == sorted(losses, reverse=True)
