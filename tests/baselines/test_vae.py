import numpy as np
import pytest
import torch


@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_loss_by_hand(linear, x, replay, beta):
    method = linear("vae", beta=beta)
    with torch.no_grad():
        heads = method.encoder(x).numpy()
        mu, log_var = heads[:, :3], heads[:, 3:]
        z = mu + np.sqrt(np.exp(log_var)) * replay((6, 3))[0].numpy()
        recon = 1 / (1 + np.exp(-method.decoder(torch.from_numpy(z)).numpy()))
    sse = ((x.numpy() - recon) ** 2).reshape(6, -1).sum(1).mean()
    kl = (0.5 * (mu**2 + np.exp(log_var) - 1 - log_var)).sum(1).mean()
    losses = method.losses(x)
    assert losses["recon"].item() == pytest.approx(sse)
    assert losses["kl"].item() == pytest.approx(kl)
    assert losses["loss"].item() == pytest.approx(sse + beta * kl)


def test_code_is_the_posterior_mean(linear, x):
    method = linear("vae")
    torch.testing.assert_close(method.encode(x), method.encoder(x)[:, :3])


def test_extreme_log_variances_stay_finite(linear, x):
    method = linear("vae")
    with torch.no_grad():
        method.encoder[1].bias[3:] = 1e4
    losses = method.losses(x)
    losses["loss"].backward()
    assert torch.isfinite(losses["loss"])
    assert all(torch.isfinite(p.grad).all() for p in method.parameters())
