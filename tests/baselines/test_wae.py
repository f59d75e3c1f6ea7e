import pytest
import torch

from lvm_bench.modelling.losses import imq_mmd


def test_loss_by_hand(linear, x, replay):
    method = linear("wae-mmd", beta=10.0)
    with torch.no_grad():
        z = method.encoder(x)
        sse = ((x - method.decode(z)) ** 2).sum().item() / 6
        mmd = imq_mmd(z, replay((6, 3))[0]).item()
        losses = method.losses(x)
    assert losses["recon"].item() == pytest.approx(sse)
    assert losses["mmd"].item() == pytest.approx(mmd)
    assert losses["loss"].item() == pytest.approx(0.05 * sse + 10 * mmd)


def test_prior_draws_are_fresh_in_every_batch(linear, x):
    method = linear("wae-mmd", beta=10.0)
    assert method.losses(x)["mmd"].item() != method.losses(x)["mmd"].item()
