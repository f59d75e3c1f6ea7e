"""GAMIX-VAE: its losses by hand, its discriminator, frozen and batch norm, clipped images, its two figures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, leaky_relu

from lvm_bench import registry
from lvm_bench.execution.check import CHECKS, verdict
from lvm_bench.execution.check_case import PACKAGED, Case
from lvm_bench.execution.job_data import load_data
from lvm_bench.execution.provenance import architecture
from lvm_bench.modelling.contract import Spec
from lvm_bench.seeding import generator
from lvm_bench.suites.resolve import resolve

L, SHAPE = 5, (2, 16, 16)
FEW = [3, 3, 3, 2, 2]


def made(value_range=(0.0, 1.0), **arguments):
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(512, 2 * L))
    decoder = nn.Sequential(nn.Linear(L, 512), nn.BatchNorm1d(512), nn.Unflatten(1, SHAPE))
    for i, p in enumerate([*encoder.parameters(), *decoder.parameters()]):
        nn.init.normal_(p, std=0.2, generator=generator(i, "weights"))
    cls = registry.METHODS["gamix-vae"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        method = cls(encoder, decoder, Spec(SHAPE, value_range, L, 200, 6, "sse"), **{"hidden": FEW} | arguments)
    method.generator.manual_seed(0)
    return method


@pytest.fixture
def x():
    return torch.rand(6, *SHAPE, generator=generator(0, "x"))


def softplus(t):
    return np.log1p(np.exp(t.astype(np.float64)))


@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 1.0)])
def test_losses_by_hand(value_range, x):
    method = made(value_range, recon_scale=0.5, beta=0.3, adversarial=7.0)
    low, high = value_range
    images = low + (high - low) * x
    with torch.no_grad():
        mu, log_var = method.posterior(images)
        z = mu + (log_var / 2).exp() * torch.randn(6, L, generator=torch.Generator().manual_seed(0))
        raw = method.decoder(z)
        on_real, on_recon = (method.judged(t).numpy() for t in (2 * x - 1, raw))
        losses, adversary = method.losses(images), method.losses_of_adversary(images)
    m, v = mu.double().numpy(), log_var.double().exp().numpy()
    recon = np.abs(2 * x.double().numpy() - 1 - raw.double().numpy()).sum() / 6
    spread = ((m - m.mean(0)) ** 2).mean(0)
    of_batch = (spread + m.mean(0) ** 2 - 1 - np.log(spread + 1e-6)).sum() / 2
    of_images = (v - 1 - np.log(v)).sum() / 6
    fooled = softplus(-on_recon).mean()
    found = [losses[name].item() for name in ("recon", "global_kl", "own_kl", "adversarial")]
    assert found == pytest.approx([recon, of_batch, of_images, fooled], rel=1e-5)
    assert losses["loss"].item() == pytest.approx(0.5 * recon + of_batch + 0.3 * of_images + 7 * fooled, rel=1e-5)
    expected = 7 * (softplus(-on_real).mean() + softplus(on_recon).mean())
    assert adversary["adversary_loss"].item() == pytest.approx(expected, rel=1e-5)


def test_the_official_weight_of_the_reconstruction_is_per_value():
    assert made().recon_scale == pytest.approx(0.0254, abs=5e-5)
    assert made().recon_scale * 3 * 256 * 256 == pytest.approx(5000)


def test_the_adversarys_loss_stops_at_the_reconstructions(x):
    method = made()
    method.losses(x)
    method.losses_of_adversary(x)["adversary_loss"].backward()
    assert all(p.grad is None for part in (method.encoder, method.decoder) for p in part.parameters())
    assert all(p.grad is not None for p in method.adversary.parameters())


def test_the_patchgan_has_the_published_parameters_and_an_eighth_of_the_pixels():
    with torch.random.fork_rng(devices=[]):
        net = type(made().adversary)(3, (128, 128, 128, 64, 64))
    assert sum(p.numel() for p in net.parameters()) == 411_075
    method = made()
    assert method.judged(torch.zeros(1, 2, 64, 32)).shape == (1, 1, 8, 4)
    assert architecture(method)["adversary"][:4] == ["pad 1x1", "conv 3, 3x3/2", "BN", "LeakyReLU 0.3"]
    assert architecture(method)["adversary"][-2:] == ["conv 1, 3x3/1", "BN"]
    assert architecture(method)["decoder"][-1] == "the method's own squash"


def test_the_patchgans_layers_are_tensorflows(x):
    method = made()
    _, kernel, norm, _ = method.adversary[0]
    bordered = torch.zeros(6, 2, 17, 17)
    bordered[..., :16, :16] = x  # an even image gets its border below and to the right
    found = conv2d(bordered, kernel.weight, kernel.bias, 2) / (1 + norm.eps) ** 0.5
    torch.testing.assert_close(method.adversary[0](x), leaky_relu(found, 0.3))


def test_frozen_norms_never_see_a_batch_and_nothing_is_dropped(x):
    method = made()
    before = {name: value.clone() for name, value in method.named_buffers()}
    method.train()
    assert method.training
    method.losses(x)
    drawn = method.generator.get_state()
    method.losses_of_adversary(x)
    assert torch.equal(method.generator.get_state(), drawn)
    assert all(torch.equal(value, before[name]) for name, value in method.named_buffers())


def test_with_batch_norm_a_quarter_of_the_values_is_dropped_by_the_methods_own_draws(x):
    method = made(norm="batch", hidden=[8, 8, 8, 8, 8]).train()
    h = torch.ones(50, 8, 8, 8)
    torch.manual_seed(1)
    dropped = method.dropped(h)
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float((dropped == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    method.generator.manual_seed(0)
    assert torch.equal(method.dropped(h), dropped)
    assert method.judged(x).eq(0).any(), "of the logits too"
    assert method.adversary[0][2].num_batches_tracked == 1
    assert torch.equal(method.eval().dropped(h), h)


@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 1.0)])
def test_images_are_clipped_and_not_squashed(value_range):
    raw = torch.tensor([-7.0, -1.0, 0.25, 1.0, 2.0])
    images = made(value_range).squash(raw)
    low, high = value_range
    assert images.tolist() == pytest.approx([low + (high - low) * share for share in (0, 0, 0.625, 1, 1)])


@pytest.mark.parametrize(("size", "declined"), [(8, True), (12, True), (33, True), (16, False), (40, False)])
def test_sizes_that_are_no_multiples_of_8_and_8_itself_are_declined(size, declined):
    reason = registry.METHODS["gamix-vae"].declines(Spec((3, size, size), (0, 1), 8, 100, 10, "sse"))
    assert (reason is not None) == declined
    assert not reason or f"multiples of 8, from 16 on, not {size} x {size} pixels" in reason


def test_its_figures_are_variants_of_a_draw_and_lines_between_means(x):
    method, seen = made().eval(), []
    method.decoder.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    with torch.no_grad():
        mu, log_var = method.posterior(x)
        grids = method.pictures(x)
    assert {name: tuple(grid.shape) for name, grid in grids.items()} == {
        "variants": (3, 3, *SHAPE), "transitions": (3, 6, *SHAPE),
    }  # fmt: skip
    variants, lines = seen
    assert variants[:, [0, 3]].tolist() == [[a, b] for a in (-6, 0, 6) for b in (-6, 0, 6)]
    drawn = mu[0] + (log_var[0] / 2).exp() * torch.randn(1, L, generator=torch.Generator().manual_seed(0))[0]
    torch.testing.assert_close(variants[:, [1, 2, 4]], drawn[[1, 2, 4]].expand(9, 3))
    for pair in range(3):
        for k in range(6):
            share = k / 5
            torch.testing.assert_close(
                lines[6 * pair + k], (1 - share) * mu[2 * pair] + share * mu[2 * pair + 1], atol=1e-6, rtol=1e-5
            )


@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_it_keeps_the_contract_on_digits_of_16_x_16_pixels(norm):
    settings = (
        "epochs=3", "train_images=240", "validation_images=40", "batch_size=20", "network=conv", "width=0.1",
        f"norm={norm}", "hidden=[3, 3, 3, 2, 2]", "recon_scale=1.0", "adversarial=0.1", "flips=true",
        "betas=[0.5, 0.999]",
    )  # fmt: skip
    suite = resolve(PACKAGED, "quick", methods=("gamix-vae",), datasets=("digits",), seeds=(0,), settings=settings)
    (job,) = suite.jobs
    data = load_data(job, Path())
    larger = {
        name: replace(split, pixels=split.pixels.repeat(2, axis=2).repeat(2, axis=3))
        for name in ("train", "validation", "test")
        for split in [getattr(data, name)]
    }
    case = Case(job, replace(data, **larger))
    assert case.cls.declines(case.spec) is None
    assert {check.__name__: verdict(check, case) for check in CHECKS} == {check.__name__: None for check in CHECKS}
