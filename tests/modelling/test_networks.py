import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from torch import nn
from torch.nn import functional

from lvm_bench.errors import UserError
from lvm_bench.modelling import networks
from lvm_bench.modelling.contract import Spec
from lvm_bench.modelling.networks import Doubling, Halving, SameSizeTransposed, build, discriminator
from lvm_bench.modelling.strided import to_large, to_small
from lvm_bench.registry import NETWORKS
from lvm_bench.seeding import generator

# Weights and biases of the encoder (one head), its batch norm, the decoder and its batch norm.
TABLE_VIII = {
    "mnist": ((1, 32, 32), 16, 2_787_280, 1_920, 2_788_801, 2 * (256 + 128 + 64)),
    "celeba": ((3, 64, 64), 64, 3_280_896, 1_920, 4_885_955, 2 * (256 + 128 + 64)),
    "cifar10": ((3, 32, 32), 128, 11_542_528, 3_840, 18_952_963, 2 * (512 + 256)),
}


def spec(shape, latent=8):
    return Spec(shape, (0.0, 1.0), latent, 1000, 100, "sse")


def pair(name, shape, latent=8, heads=1, width=1.0, seed=0):
    return build(name, spec(shape, latent), heads, width, generator(seed, "weights"))


def count(module, *kinds):
    return sum(p.numel() for layer in module.modules() if isinstance(layer, kinds) for p in layer.parameters())


def state(*modules):
    return [value for module in modules for value in module.state_dict().values()]


@pytest.mark.parametrize("name", TABLE_VIII)
def test_parameters_of_the_paper(name):
    shape, latent, *expected = TABLE_VIII[name]
    counts = []
    for module in pair(name, shape, latent):
        counts += [count(module, nn.Linear, nn.Conv2d, nn.ConvTranspose2d), count(module, nn.BatchNorm2d)]
    assert counts == expected


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("mnist", (1, 32, 32)),
        ("celeba", (3, 64, 64)),
        ("cifar10", (3, 32, 32)),
        ("digits", (1, 8, 8)),
        ("table-ix", (1, 64, 64)),
        ("table-ix", (3, 32, 32)),
        ("table-ix-literal", (3, 64, 64)),
        ("table-ix-literal", (1, 32, 32)),
    ],
)
def test_shapes(name, shape, heads):
    encoder, decoder = pair(name, shape, latent=5, heads=heads, width=0.1)
    assert encoder(torch.rand(2, *shape)).shape == (2, heads * 5)
    raw = decoder(1e4 * torch.randn(2, 5, generator=generator(0, "codes")))
    assert raw.shape == (2, *shape)
    assert raw.abs().max() > 1  # neither sigmoid nor tanh has been applied


def test_digits_is_small():
    assert 1e4 < sum(p.numel() for module in pair("digits", (1, 8, 8)) for p in module.parameters()) < 1e5


@pytest.mark.parametrize(("width", "channels"), [(0.25, [16, 32, 64, 128]), (0.001, [1, 1, 1, 1])])
def test_width_scales_channels(width, channels):
    encoder, decoder = pair("mnist", (1, 32, 32), width=width)
    assert [layer.out_channels for layer in encoder if isinstance(layer, nn.Conv2d)] == channels
    assert [layer.in_channels for layer in decoder if isinstance(layer, nn.ConvTranspose2d)] == channels[::-1]


def channels_and_units(module):
    return [
        getattr(layer, "out_channels", None) or layer.out_features
        for layer in module
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
    ]


@pytest.mark.parametrize(
    ("name", "size", "down", "up"),
    [
        ("table-ix", 64, [32, 32, 64, 64, 256, 6], [256, 1024, 64, 32, 32, 3]),
        ("table-ix-literal", 64, [32, 32, 64, 64, 6], [1024, 64, 32, 32, 3]),
        ("table-ix", 32, [32, 64, 64, 256, 6], [256, 1024, 64, 32, 3]),
    ],
)
def test_table_ix(name, size, down, up):
    encoder, decoder = pair(name, (3, size, size), latent=6)
    assert (channels_and_units(encoder), channels_and_units(decoder)) == (down, up)
    end = next(i for i, layer in enumerate(encoder) if isinstance(layer, nn.Flatten))
    assert encoder[:end](torch.rand(1, 3, size, size)).shape == (1, 64, 4, 4)
    for module in (encoder, decoder):  # a ReLU after every layer but the last, and no batch norm
        kinds = [type(layer) for layer in module if not isinstance(layer, nn.Flatten | nn.Unflatten)]
        assert kinds[1:-1:2] == [nn.ReLU] * (len(kinds) // 2)
        assert kinds[-1] is not nn.ReLU


@pytest.mark.parametrize("name", sorted({*NETWORKS} - {"conv", "mlp"}))
def test_declines_a_foreign_size_in_a_sentence_that_names_the_networks_for_it(name):
    with pytest.raises(UserError, match=rf"{name}.* not 28x30.*network=conv.*network=mlp"):
        pair(name, (1, 28, 30))


def test_unknown_name_gets_a_hint():
    with pytest.raises(UserError, match="Did you mean 'mnist'"):
        pair("mnst", (1, 32, 32))


@pytest.mark.parametrize(("name", "shape"), [("mnist", (1, 32, 32)), ("cifar10", (3, 32, 32))])
def test_inputs_in_unit_range_are_centred(name, shape):
    assert pair(name, shape, width=0.1)[0][0](torch.tensor([[[[0.0, 0.5, 1.0]]]])).flatten().tolist() == [
        -1,
        0,
        1,
    ]


def test_celeba_is_not_centred_twice():
    assert isinstance(pair("celeba", (3, 64, 64), width=0.1)[0][0], nn.Conv2d)


def test_same_size_transposed_is_the_full_convolution_cropped_1_and_2():
    layer = SameSizeTransposed(1, 1)
    x = torch.randn(1, 1, 6, 5, generator=generator(0, "x"))
    full = convolve2d(x[0, 0].numpy(), layer.weight[0, 0].detach().numpy(), mode="full")
    assert full.shape == (9, 8)
    expected = full[1:-2, 1:-2] + layer.bias.item()
    np.testing.assert_allclose(layer(x)[0, 0].detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_weights_depend_on_the_generator_alone():
    made = []
    for global_seed, seed in [(1, 0), (2, 0), (1, 1)]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(global_seed)
            before = torch.get_rng_state()
            made.append(pair("digits", (1, 8, 8), seed=seed))
            assert torch.equal(torch.get_rng_state(), before)
    first, again, other = (state(*modules) for modules in made)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(made[0][0][-1].weight, made[2][0][-1].weight)
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_layers_of_other_kinds_depend_on_the_generator_alone_too(monkeypatch):
    def odd(shape, latent, heads, width):
        return nn.Bilinear(2, 2, heads * latent), nn.Bilinear(latent, 2, 4)

    monkeypatch.setitem(NETWORKS._entries, "odd", odd)
    made = []
    for global_seed, seed in [(1, 0), (2, 0), (1, 1)]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(global_seed)
            made.append(pair("odd", (1, 8, 8), seed=seed)[0].weight)
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_first_weights():
    encoder, decoder = pair("mnist", (1, 32, 32), latent=16)
    convolutions = [layer for layer in encoder if isinstance(layer, nn.Conv2d)]
    *transposed, last = [layer for layer in decoder if isinstance(layer, nn.ConvTranspose2d)]
    # A 4x4 kernel: Keras's fan_in counts the input channels, of a transposed convolution the output channels.
    for layer, fan_in in [(c, c.in_channels * 16) for c in convolutions] + [
        (t, t.out_channels * 16) for t in transposed
    ]:
        std = math.sqrt(2 / fan_in)
        assert layer.weight.std().item() == pytest.approx(std, rel=0.05)
        assert 1.9 * std / 0.8796 < layer.weight.abs().max().item() <= 2 * std / 0.8796 * 1.0001
    for layer, fans in [(last, 65 * 16), (encoder[-1], 2048 + 16), (decoder[0], 16 + 2048)]:
        limit = math.sqrt(6 / fans)
        assert 0.95 * limit < layer.weight.abs().max().item() <= limit
        assert layer.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.05)
    layers = [*encoder, *decoder]
    assert all(not layer.bias.any() for layer in layers if getattr(layer, "bias", None) is not None)
    norms = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]
    assert len(norms) == 7
    for norm in norms:
        assert (norm.momentum, norm.eps) == (0.01, 1e-3)
        assert (norm.weight == 1).all()
        assert not norm.running_mean.any()
        assert (norm.running_var == 1).all()


def test_discriminator():
    net = discriminator(16, [100, 100, 100])
    assert sum(p.numel() for p in net.parameters()) == 17 * 100 + 2 * 101 * 100 + 101
    assert net(torch.randn(7, 16)).shape == (7, 1)
    assert discriminator(16, [5], outputs=2)(torch.randn(7, 16)).shape == (7, 2)
    # LeakyReLU 0.2: with one hidden unit per layer the logit is the code times 1 or .2 per layer.
    tiny = discriminator(1, [1, 1])
    for layer in tiny:
        if isinstance(layer, nn.Linear):
            nn.init.ones_(layer.weight)
    torch.testing.assert_close(tiny(torch.tensor([[3.0], [-3.0]])), torch.tensor([[3.0], [-3 * 0.2**2]]))
    # Glorot's limit, not the smaller one of torch's default.
    assert net[2].weight.abs().max().item() == pytest.approx(math.sqrt(6 / 200), rel=0.02)


SIZES = [(1, 1), (2, 2), (4, 2), (3, 5)]  # of the smaller image


def places_last(x):
    return x.permute(2, 3, 0, 1)


@pytest.mark.parametrize("size", SIZES)
def test_products_are_the_convolutions(size):
    stream = generator(0, "x")
    small = torch.randn(7, 3, *size, dtype=torch.float64, generator=stream)
    large = torch.randn(7, 5, *(2 * side for side in size), dtype=torch.float64, generator=stream)
    kernel = torch.randn(3, 5, 4, 4, dtype=torch.float64, generator=stream)
    down, up = functional.conv2d(large, kernel, None, 2, 1), functional.conv_transpose2d(small, kernel, None, 2, 1)
    close = partial(torch.testing.assert_close, rtol=1e-12, atol=1e-12)
    close(to_small(places_last(large), kernel), places_last(down))
    close(to_large(places_last(small), kernel), places_last(up))


@pytest.mark.parametrize(("product", "shape"), [(to_small, (4, 2, 1, 1)), (to_large, (2, 1, 1, 2))])
def test_products_have_their_derivatives_and_these_have_theirs(product, shape):
    stream = generator(0, "x")
    x, kernel = (torch.randn(shape, dtype=torch.float64, generator=stream) for shape in (shape, (2, 1, 4, 4)))
    both = (x.requires_grad_(), kernel.requires_grad_())
    assert torch.autograd.gradcheck(product, both)
    assert torch.autograd.gradgradcheck(product, both)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("kind", [Halving, Doubling])
def test_a_layer_in_products_is_the_convolution(monkeypatch, kind, precision):
    monkeypatch.setattr("lvm_bench.modelling.networks._LARGE", 0)
    layer, stream = kind(64, 32, 2), generator(0, "x")
    x = torch.randn(7, 64, 4 if kind is Halving else 2, 4 if kind is Halving else 2, generator=stream)
    assert layer.in_products
    found = []
    for layer.in_products in (False, True):
        given = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            out = layer(given)
        gradients = torch.autograd.grad(out.float().square().sum(), [given, layer.weight, layer.bias])
        found.append([out, *gradients])
    for convolved, multiplied in zip(*found, strict=True):
        assert multiplied.dtype == convolved.dtype
        close = 1e-5 if precision == "float32" else 0.02
        assert (multiplied - convolved).abs().max() <= close * convolved.abs().max()


def test_the_inner_layers_of_the_papers_networks_are_in_products():
    for name, expected in {"mnist": [512, 256], "cifar10": [1024]}.items():
        channels = 1 if name == "mnist" else 3
        both = pair(name, (channels, 32, 32), width=1.0)
        inside = [layer for net in both for layer in net if getattr(layer, "in_products", False)]
        assert [layer.out_channels for layer in inside] == expected
        networks.set_memory_format(both[0], torch.contiguous_format)
        formats = {layer.weight.is_contiguous() for layer in both[0] if isinstance(layer, Halving)}
        assert formats == {True, False}
        narrow = pair(name, (channels, 32, 32), width=0.25)
        assert not any(getattr(layer, "in_products", False) for net in narrow for layer in net)


@pytest.mark.parametrize("kind", [Halving, Doubling])
def test_products_of_several_seeds_are_those_of_each(monkeypatch, kind):
    monkeypatch.setattr("lvm_bench.modelling.networks._LARGE", 0)
    size = 4 if kind is Halving else 2
    layers, x = [kind(5, 3, 2) for _ in range(2)], torch.randn(2, 7, 5, size, size, generator=generator(0, "x"))
    weights, _ = torch.func.stack_module_state(layers)
    together = torch.func.vmap(lambda own, x: torch.func.functional_call(layers[0], own, (x,)))(weights, x)
    alone = torch.stack([layer(own) for layer, own in zip(layers, x, strict=True)])
    torch.testing.assert_close(together, alone)
    together.square().sum().backward()
    alone.square().sum().backward()
    for name, stacked in weights.items():
        torch.testing.assert_close(stacked.grad, torch.stack([layer.get_parameter(name).grad for layer in layers]))
