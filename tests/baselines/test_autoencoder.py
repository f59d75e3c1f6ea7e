import pytest
import torch
from torch.nn import functional as F


def test_loss_is_the_reconstruction(linear, x):
    method = linear("ae")
    recon = torch.sigmoid(method.decoder(method.encoder(x)))
    assert method.losses(x)["loss"].item() == pytest.approx(((x - recon) ** 2).sum().item() / 6)


def test_reconstruction_follows_the_likelihood(linear, x):
    sse = linear("ae").losses(x)["loss"].item()
    assert linear("ae", likelihood="gaussian_unit").losses(x)["loss"].item() == pytest.approx(sse / 2)
    method = linear("ae", likelihood="bernoulli")
    recon = method.decode(method.encode(x))
    expected = F.binary_cross_entropy(recon, x, reduction="sum") / 6
    assert method.losses(x)["loss"].item() == pytest.approx(expected.item())


def test_prior_is_standard_normal(linear, replay):
    torch.testing.assert_close(linear("ae").prior(5).double(), replay((5, 3))[0])
