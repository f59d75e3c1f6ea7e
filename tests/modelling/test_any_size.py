"""Networks for images of every size: their shapes, their layers, and steps of training."""

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn

from lvm_bench.evaluation.features import Classifier
from lvm_bench.modelling.contract import Spec
from lvm_bench.modelling.networks import build, layers
from lvm_bench.seeding import generator

NAMES = ("conv", "mlp")
SIDES = st.integers(1, 40)


def pair(name, shape, width=0.02, heads=1):
    return build(name, Spec(shape, (0.0, 1.0), 3, 1000, 100, "sse"), heads, width, generator(0, "weights"))


def side(image_side):
    """Of an image in the middle of a network, after the halvings that `conv` makes of a square."""
    while image_side > 4:
        image_side = (image_side + 1) // 2
    return image_side


@pytest.mark.parametrize("name", NAMES)
@hypothesis_settings(max_examples=30)
@given(c=st.sampled_from([1, 3]), h=SIDES, w=SIDES, heads=st.sampled_from([1, 2]))
def test_a_decoder_gives_images_of_the_size_of_those_that_the_encoder_takes(name, c, h, w, heads):
    encoder, decoder = pair(name, (c, h, w), heads=heads)
    codes = encoder(torch.rand(1, c, h, w))  # one image: what is left of the last batch of an epoch
    assert codes.shape == (1, heads * 3)
    assert decoder(codes[:, :3]).shape == (1, c, h, w)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 48, 32), (3, 96, 96), (3, 128, 128), (3, 256, 256), (1, 1, 30)])
def test_a_step_of_training_reaches_every_weight(name, shape):
    encoder, decoder = pair(name, shape)
    x = torch.rand(4, *shape, generator=generator(0, "x"))
    (x - decoder(encoder(x))).square().sum().backward()
    for module in (encoder, decoder):
        assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize(("image", "stages"), [(4, 0), (5, 1), (8, 1), (28, 3), (32, 3), (33, 4), (96, 5), (256, 6)])
def test_conv_halves_until_no_side_is_above_4(image, stages):
    encoder, decoder = pair("conv", (1, image, image), width=1 / 64)
    down = [layer.out_channels for layer in encoder if isinstance(layer, nn.Conv2d)]
    assert down == [1, 2, 4, 8, 8, 8, 8][:stages]
    assert [layer.in_channels for layer in decoder if isinstance(layer, nn.ConvTranspose2d)] == down[::-1]
    assert decoder[1].unflattened_size[1:] == (side(image), side(image))


def test_conv_halves_an_oblong_image_by_its_longer_side():
    _, decoder = pair("conv", (1, 48, 32))
    assert decoder[1].unflattened_size[1:] == (3, 2)


def test_conv_pads_and_crops_odd_sides_alone():
    encoder, decoder = pair("conv", (1, 28, 32))
    assert [word for word in layers(encoder) if "pad" in word] == ["pad 1x0"]
    assert [word for word in layers(decoder) if "crop" in word] == ["crop 1x0"]
    assert not [word for net in pair("conv", (1, 32, 64)) for word in layers(net) if "pad" in word or "crop" in word]


def test_width_scales_the_units_of_mlp():
    encoder, decoder = pair("mlp", (3, 1, 7), width=0.25)
    units = [[layer.out_features for layer in net if isinstance(layer, nn.Linear)] for net in (encoder, decoder)]
    assert units == [[64, 64, 3], [64, 64, 21]]


@pytest.mark.parametrize("size", [(1, 5), (9, 1), (3, 2)])
def test_the_classifier_takes_rows_of_a_table(size):
    net = Classifier(1, 3)
    images = torch.randint(256, (4, 1, *size), dtype=torch.uint8)
    net(images).sum().backward()
    with torch.no_grad():
        assert net.eval()(images).shape == (4, 64)
