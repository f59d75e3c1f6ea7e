"""Every method learns 64 digits by heart, as far as its regulariser permits."""

import pytest
import torch

from lvm_bench.modelling.contract import Epoch
from lvm_bench.seeding import generator

# The largest error of reconstructions as a share of the variance of images; 1 is the error of the mean image. The KL
# costs a VAE with beta = 1 most of the detail of digits, and a VampPrior, whose KL has no weight, all of it.
METHODS = {
    "ae": ({}, 0.1),
    "vae": ({"beta": 0.1}, 0.2),
    "beta-tcvae": ({"beta": 1.2}, 0.9),
    "factor-vae": ({"gamma": 0.1, "hidden": [64]}, 0.9),
    "rae-l2": ({"beta": 1e-4, "decoder_l2": 1e-7}, 0.1),
    "aae": ({"beta": 0.01, "hidden": [64]}, 0.15),
    "wae-mmd": ({"beta": 1.0}, 0.2),
    "avae": ({"m": 100, "k_b": 10, "max_cdf": 0.999}, 0.4),
    "swae": ({"beta": 0.1}, 0.2),
    "sinkhorn-ae": ({"beta": 0.1, "epsilon": 10.0, "iterations": 5}, 0.2),
    "info-vae": ({"alpha": 1.0, "lam": 10.0}, 0.2),
    "dip-vae": ({"lambda_od": 0.1, "lambda_d": 0.1}, 0.9),
    "sigma-vae": ({}, 0.4),
}


@pytest.mark.parametrize("name", METHODS)
def test_learns_64_images_by_heart(name, on_digits, digits):
    arguments, share = METHODS[name]
    method, x = on_digits(name, **arguments)
    adversary = [] if method.adversary is None else list(method.adversary.parameters())
    own = [*method.encoder.parameters(), *method.decoder.parameters()]
    optimisers = [torch.optim.Adam(p, lr=5e-3) for p in (own, adversary) if p]
    method.train()
    with torch.no_grad():
        method.start_epoch(Epoch(0, digits[:400], (0.0, 1.0), generator(0, "epoch")))
    for step in range(120):
        with torch.no_grad():
            method.start_step(step)
        losses = method.losses(x)
        optimisers[0].zero_grad()
        losses["loss"].backward()
        optimisers[0].step()
        if adversary:
            optimisers[1].zero_grad()
            method.adversary_losses(x)["adversary_loss"].backward()
            optimisers[1].step()
    # Batch statistics: the running ones lag a hundred steps behind, and only the losses are under test.
    with torch.no_grad():
        left = (x - method.decode(method.encode(x))).square().mean()
    assert left / x.var(0, correction=0).mean() < share
