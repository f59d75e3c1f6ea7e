"""`resnet-v2` and EVAE's pairs: the parameters that were published, sizes, layers and first weights."""

import math

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from torch import nn

from lvm_bench.errors import UserError
from lvm_bench.modelling.contract import Spec
from lvm_bench.modelling.networks import build
from lvm_bench.modelling.residual import Doubling3, down, same, up
from lvm_bench.registry import NETWORKS
from lvm_bench.seeding import generator


def pair(name, shape, latent, width=1.0, heads=1):
    return build(name, Spec(shape, (0.0, 1.0), latent, 1000, 100, "sse"), heads, width, generator(0, "weights"))


def counts(name, shape, latent):
    with torch.device("meta"):
        return [sum(p.numel() for p in net.parameters()) for net in NETWORKS[name](shape, latent, 2, 1.0)]


@pytest.mark.parametrize(
    ("name", "shape", "latent", "encoder", "decoder"),
    [
        ("resnet-v2", (3, 256, 256), 512, 5_867_584 + 1_049_600, 4_040_556),  # and the two heads
        ("evae-32", (1, 32, 32), 64, 722_976, 705_953),
        ("evae-32", (3, 32, 32), 64, 724_000, 706_979),
        ("evae-64", (3, 64, 64), 64, 4_374_144, 6_436_867),
    ],
)
def test_parameters_are_those_that_were_published(name, shape, latent, encoder, decoder):
    assert counts(name, shape, latent) == [encoder, decoder]


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize(
    ("name", "size"), [("resnet-v2", 32), ("resnet-v2", 64), ("resnet-v2", 256), ("evae-32", 32), ("evae-64", 64)]
)
def test_shapes(name, size, heads):
    encoder, decoder = pair(name, (3, size, size), latent=20, width=0.02, heads=heads)
    x = torch.rand(2, 3, size, size, generator=generator(0, "x"))
    codes = encoder(x)
    assert codes.shape == (2, heads * 20)
    images = decoder(codes[:, :20])
    assert images.shape == x.shape
    (x - images).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for net in (encoder, decoder) for p in net.parameters())
    assert decoder(1e4 * torch.randn(2, 20, generator=generator(0, "z"))).abs().max() > 1, "no sigmoid, no tanh"


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 33, 33), (1, 96, 96), (3, 64, 32), (3, 512, 512)])
def test_resnet_v2_declines_other_sizes_in_a_sentence(shape):
    sizes = f"256x256 pixels, not {shape[1]}x{shape[2]}"
    with pytest.raises(UserError, match=rf"'resnet-v2' is made for images of 32x32 .* {sizes}.*network=conv"):
        pair("resnet-v2", shape, latent=8)


@pytest.mark.parametrize(("size", "stages"), [(32, 3), (64, 4), (128, 5), (256, 6)])
def test_resnet_v2_has_a_stage_for_each_halving_down_to_4x4(size, stages):
    with torch.device("meta"):
        encoder, decoder = NETWORKS["resnet-v2"]((3, size, size), 8, 1, 0.25)
    assert len(encoder) == 3 * stages + 5
    assert len(decoder) == 2 * stages + 4


@pytest.mark.parametrize("name", ["resnet-v2", "evae-32"])
def test_networks_of_several_seeds_are_those_of_each(name):
    pairs = [build(name, Spec((3, 32, 32), (0.0, 1.0), 8, 1000, 100, "sse"), 1, 0.05, generator(i)) for i in range(2)]
    x = torch.rand(2, 3, 3, 32, 32, generator=generator(0, "x"))
    for nets in zip(*pairs, strict=True):
        weights, buffers = torch.func.stack_module_state([net.eval() for net in nets])
        together = torch.func.vmap(lambda *own: torch.func.functional_call(nets[0], own[:2], own[2:]))(  # noqa: B023
            weights, buffers, x
        )
        alone = torch.stack([net(own) for net, own in zip(nets, x, strict=True)])
        torch.testing.assert_close(together, alone)
        together.square().sum().backward()
        alone.square().sum().backward()
        for key, stacked in weights.items():
            torch.testing.assert_close(
                stacked.grad, torch.stack([net.get_parameter(key).grad for net in nets]), rtol=1e-3, atol=1e-3
            )
        x = alone.detach()


def test_blocks_are_a_path_and_a_shortcut_of_the_same_input():
    x = torch.randn(2, 6, 8, 8, generator=generator(0, "x"))
    keeps, halves, doubles = (block.eval() for block in (same(6), down(6), up(6, 3)))
    before = x.clone()
    torch.testing.assert_close(keeps(x), x + keeps.path(x))
    assert torch.equal(x, before), "the ReLU in place works on the batch norm's output"
    assert halves(x).shape == (2, 6, 4, 4)
    short = halves.shortcut[2]
    expected = nn.functional.conv2d(halves.shortcut[0](x).relu()[..., ::2, ::2], short.weight, short.bias)
    torch.testing.assert_close(halves.shortcut(x), expected)
    assert doubles(x).shape == (2, 3, 16, 16)


def test_doubling_is_tensorflows_same_the_full_convolution_without_its_last_row_and_column():
    layer = Doubling3(1, 1)
    x = torch.randn(1, 1, 3, 4, generator=generator(0, "x"))
    spread = np.zeros((5, 7))
    spread[::2, ::2] = x[0, 0]
    expected = convolve2d(spread, layer.weight[0, 0].detach().numpy(), mode="full")[:6, :8] + layer.bias.item()
    np.testing.assert_allclose(layer(x)[0, 0].detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_first_weights_of_resnet_v2_are_glorot_uniform_with_zero_biases():
    nets = pair("resnet-v2", (3, 32, 32), latent=64, width=0.25)
    kernels = [layer for net in nets for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(kernels) == 1 + 3 * 10 + 1 + 1 + 3 * (3 + 3) + 1
    for layer in kernels:
        limit = math.sqrt(6 / (sum(layer.weight.shape[:2]) * layer.weight[0, 0].numel()))
        assert layer.weight.abs().max() <= limit
        if layer.weight.numel() > 1000:
            assert layer.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.1)
    norms = [layer for net in nets for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert {(norm.momentum, norm.eps) for norm in norms} == {(0.01, 1e-3)}
    assert nets[0][0].eps == 1e-3
    assert all(
        not layer.bias.any() for net in nets for layer in net.modules() if getattr(layer, "bias", None) is not None
    )
