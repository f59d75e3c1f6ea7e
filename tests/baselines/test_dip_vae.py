import numpy as np
import pytest
import torch


@pytest.mark.parametrize("variant", ["I", "II"])
def test_loss_by_hand(linear, x, replay, variant):
    method = linear("dip-vae", lambda_od=10.0, lambda_d=100.0, variant=variant)
    with torch.no_grad():
        heads = method.encoder(x).numpy()
        mu, log_var = heads[:, :3], heads[:, 3:]
        z = mu + np.exp(log_var / 2) * replay((6, 3))[0].numpy()
        sse = ((x - method.decode(torch.from_numpy(z))) ** 2).sum().item() / 6
    kl = (0.5 * (mu**2 + np.exp(log_var) - 1 - log_var)).sum(1).mean()
    covariance = np.cov(mu.T, bias=True) + (np.diag(np.exp(log_var).mean(0)) if variant == "II" else 0)
    off = sum(covariance[i, j] ** 2 for i in range(3) for j in range(3) if i != j)
    on = sum((covariance[i, i] - 1) ** 2 for i in range(3))
    losses = method.losses(x)
    assert losses["off_diagonal"].item() == pytest.approx(off)
    assert losses["diagonal"].item() == pytest.approx(on)
    assert losses["loss"].item() == pytest.approx(sse + kl + 10 * off + 100 * on)


def test_without_weights_it_is_the_vae(linear, x):
    dip, vae = linear("dip-vae", lambda_od=0.0, lambda_d=0.0), linear("vae")
    assert dip.losses(x)["loss"].item() == pytest.approx(vae.losses(x)["loss"].item(), rel=1e-12)
