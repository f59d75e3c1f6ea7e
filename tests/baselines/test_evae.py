import numpy as np
import pytest
import torch

STEP = 100 ** (-2 / 9)


@pytest.mark.parametrize("prior", ["uniform", "gaussian"])
def test_loss_by_hand(linear, x, prior):
    method = linear("evae", prior=prior, support=0.3)
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad():
        heads = method.encoder(x).numpy()
        mu, radius = heads[:, :3], np.log1p(np.exp(heads[:, 3:])) + 1e-6
        k = np.median(2 * torch.rand(3, 6, 3, generator=stream).numpy() - 1, axis=0)
        u = torch.rand(1, 6, 3, generator=stream).numpy()[0] - 0.5 if prior == "uniform" else None
        u = torch.randn(6, 3, generator=stream).numpy() if u is None else u
        z = STEP * (mu + radius * k) + 0.3 * u
        recon = 1 / (1 + np.exp(-method.decoder(torch.from_numpy(z)).numpy()))
    losses = method.losses(x)
    sse = ((x.numpy() - recon) ** 2).reshape(6, -1).sum(1).mean()
    bound = 3 * 0.3 / (5 * 10) * (1 / radius).sum(1).mean()  # batches of 10
    assert losses["recon"].item() == pytest.approx(sse)
    assert losses["kl_bound"].item() == pytest.approx(bound)
    assert losses["loss"].item() == pytest.approx(sse + bound)


def test_the_code_is_the_mean_whose_size_nothing_in_the_loss_holds(linear, x):
    method = linear("evae")
    torch.testing.assert_close(method.encode(x), STEP * method.encoder(x)[:, :3])
    method.losses(x)["kl_bound"].backward()
    assert (method.encoder[1].bias.grad[:3] == 0).all()


@pytest.mark.parametrize(("prior", "variance"), [("uniform", 0.09 / 12), ("gaussian", 0.09)])
def test_draws_of_the_prior_have_the_variance_that_it_tells(linear, prior, variance):
    method = linear("evae", prior=prior, support=0.3).float()
    z = method.prior(20_000).float()
    assert method.target_variance == (pytest.approx(variance) if prior == "gaussian" else None)
    torch.testing.assert_close(z.var(0), torch.full((3,), variance), rtol=0.05, atol=0)
    assert torch.isfinite(method.log_prior(z)).all()
