"""Encoder and decoder pairs by name, and discriminators: Tables VIII to X of the AVAE paper.

A decoder returns its raw output; `Method.squash` applies the last sigmoid or tanh.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lvm_bench.errors import UserError
from lvm_bench.modelling.contract import Spec
from lvm_bench.modelling.strided import to_large, to_small
from lvm_bench.registry import NETWORKS

__all__ = [
    "Centre",
    "Doubling",
    "Glorot",
    "Halving",
    "Network",
    "Pair",
    "SameSizeTransposed",
    "Shape",
    "are_products",
    "build",
    "celeba",
    "cifar10",
    "dense_layers",
    "digits",
    "discriminator",
    "downs",
    "expect_size",
    "initialise",
    "layers",
    "mnist",
    "network",
    "scaled",
    "set_memory_format",
    "table_ix",
    "table_ix_literal",
    "ups",
]

Shape = tuple[int, int, int]  # (c, h, w)

Pair = tuple[nn.Module, nn.Module]

Network = Callable[[Shape, int, int, float], Pair]  # (shape, latent, heads, width) -> (encoder, decoder)

# A layer is computed as products of matrices if its smaller image has at most so many pixels ...
_FEW = 4

# ... and its kernel at least so many numbers.
_LARGE = 2**21


def network(name: str) -> Callable[[Network], Network]:
    """Register `network(shape, latent, heads, width) -> (encoder, decoder)` under `name`."""
    return NETWORKS.register(name)


class Glorot(nn.Sequential):
    """Layers whose kernels all start Glorot-uniform, which is what Keras does unless it is told otherwise."""


class Centre(nn.Module):
    """Maps [0, 1] to [-1, 1]."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return 2 * x - 1


def are_products(size: int, kernel: Tensor) -> bool:
    """Whether a CPU computes the layer between `size` x `size` and twice that as products of matrices.

    With many channels and few pixels oneDNN spends much of a convolution on moving weights and on padding. Products
    cut the time of the last layer to three fifths in `mnist` and to a quarter in `cifar10`.
    """
    return size**2 <= _FEW and kernel.numel() >= _LARGE


class Halving(nn.Conv2d):
    """A 4x4 convolution of stride 2 that halves h and w; its output has `size` x `size` pixels."""

    def __init__(self, channels_in: int, channels_out: int, size: int):
        super().__init__(channels_in, channels_out, 4, 2, 1)
        self.in_products = are_products(size, self.weight)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d u v"]:
        if self.in_products and x.device.type == "cpu":
            return _as_products(to_small, x, self.weight, self.bias)
        return super().forward(x)


class Doubling(nn.ConvTranspose2d):
    """A 4x4 transposed convolution of stride 2 that doubles h and w; its input has `size` x `size` pixels."""

    def __init__(self, channels_in: int, channels_out: int, size: int):
        super().__init__(channels_in, channels_out, 4, 2, 1)
        self.in_products = are_products(size, self.weight)

    def forward(self, x: Float[Tensor, "b c h w"], output_size: list[int] | None = None) -> Float[Tensor, "b d u v"]:
        if self.in_products and x.device.type == "cpu":
            return _as_products(to_large, x, self.weight, self.bias)
        return super().forward(x, output_size)


def _as_products(
    product: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor, bias: Tensor | None
) -> Float[Tensor, "b d u v"]:
    """A layer of this weight and bias by `to_small` or `to_large`, in the precision of autocast."""
    if torch.is_autocast_enabled("cpu"):
        x, weight = (each.to(torch.get_autocast_dtype("cpu")) for each in (x, weight))
    out = product(x.permute(2, 3, 0, 1).contiguous(), weight)
    return (out if bias is None else out + bias.to(out.dtype)).permute(2, 3, 0, 1)


def set_memory_format(net: nn.Module, memory_format: torch.memory_format) -> None:
    """Set the memory format of convolution weights. Weights used in matrix products stay channels-last."""
    net.to(memory_format=memory_format)
    for layer in net.modules():
        if isinstance(layer, Halving | Doubling) and layer.in_products:
            layer.to(memory_format=torch.channels_last)


class SameSizeTransposed(nn.ConvTranspose2d):
    """A 4x4 transposed convolution of stride 1 that keeps h and w."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__(channels_in, channels_out, kernel_size=4)

    def forward(self, x: Float[Tensor, "b c h w"], output_size: list[int] | None = None) -> Float[Tensor, "b d h w"]:
        h, w = x.shape[-2:]
        # No symmetric padding keeps the size. TensorFlow's "same" crops one row and column first, two last.
        return super().forward(x, output_size)[..., 1 : 1 + h, 1 : 1 + w]


def scaled(width: float, *channels: int) -> list[int]:
    """Channel counts times `width`, rounded, at least 1."""
    return [max(1, round(width * count)) for count in channels]


def downs(size: int, *channels: int) -> list[nn.Module]:
    """For each pair of successive channel counts: a halving convolution, batch norm, ReLU. h = w = `size` at first."""
    sizes = (size >> step for step in range(1, len(channels)))
    steps = zip(pairwise(channels), sizes, strict=True)
    return [layer for (a, b), to in steps for layer in (Halving(a, b, to), nn.BatchNorm2d(b), nn.ReLU(inplace=True))]


def ups(size: int, *channels: int) -> list[nn.Module]:
    """For each pair of successive channel counts: a doubling convolution, batch norm, ReLU. h = w = `size` at first."""
    sizes = (size << step for step in range(len(channels) - 1))
    steps = zip(pairwise(channels), sizes, strict=True)
    return [layer for (a, b), at in steps for layer in (Doubling(a, b, at), nn.BatchNorm2d(b), nn.ReLU(inplace=True))]


def expect_size(name: str, shape: Shape, *sizes: int) -> None:
    """UserError unless images have one of these sizes."""
    if shape[1:] not in {(size, size) for size in sizes}:
        valid = " or ".join(f"{size}x{size}" for size in sizes)
        raise UserError(
            f"The network {name!r} is made for images of {valid} pixels, not {shape[1]}x{shape[2]}. "
            "Give --set network=conv, for images of any size, or --set network=mlp, for rows of a table too, or add a "
            "network with @network."
        )


@network("mnist")
def mnist(shape: Shape, latent: int, heads: int, width: float) -> Pair:
    """Table VIII, MNIST: 64-128-256-512 down to 2x2 and back to 32x32, inputs in [0, 1]."""
    expect_size("mnist", shape, 32)
    c, (a, b, d, e) = shape[0], scaled(width, 64, 128, 256, 512)
    encoder = nn.Sequential(Centre(), *downs(32, c, a, b, d, e), nn.Flatten(), nn.Linear(e * 4, heads * latent))
    decoder = nn.Sequential(
        nn.Linear(latent, e * 4),
        nn.Unflatten(1, (e, 2, 2)),
        *ups(2, e, d, b, a),
        Doubling(a, c, 16),
    )
    return encoder, decoder


@network("celeba")
def celeba(shape: Shape, latent: int, heads: int, width: float) -> Pair:
    """Table VIII, CelebA: 64-128-256-512 down to 4x4, from 8x8 back to 64x64, inputs in [-1, 1]."""
    expect_size("celeba", shape, 64)
    c, (a, b, d, e) = shape[0], scaled(width, 64, 128, 256, 512)
    # No Centre: the authors' code maps x to 2x - 1 here too, although CelebA is in [-1, 1] already.
    encoder = nn.Sequential(*downs(64, c, a, b, d, e), nn.Flatten(), nn.Linear(e * 16, heads * latent))
    return encoder, _from_8x8(c, latent, e, d, b, a)


@network("cifar10")
def cifar10(shape: Shape, latent: int, heads: int, width: float) -> Pair:
    """Table VIII, CIFAR10: 128-256-512-1024 down to 2x2, from 8x8 back to 32x32, inputs in [0, 1]."""
    expect_size("cifar10", shape, 32)
    c, (a, b, d, e) = shape[0], scaled(width, 128, 256, 512, 1024)
    encoder = nn.Sequential(Centre(), *downs(32, c, a, b, d, e), nn.Flatten(), nn.Linear(e * 4, heads * latent))
    return encoder, _from_8x8(c, latent, e, d, b)


def _from_8x8(c: int, latent: int, *channels: int) -> nn.Module:
    """Dense to 8x8, then doubling layers; the last layer keeps the size, which stride 2 would double once more."""
    return nn.Sequential(
        nn.Linear(latent, channels[0] * 64),
        nn.Unflatten(1, (channels[0], 8, 8)),
        *ups(8, *channels),
        SameSizeTransposed(channels[-1], c),
    )


@network("digits")
def digits(shape: Shape, latent: int, heads: int, width: float) -> Pair:
    """A small pair for 8x8 images in [0, 1]: 32-64 down to 2x2 and back, 7e4 parameters at latent 8."""
    expect_size("digits", shape, 8)
    c, (a, b) = shape[0], scaled(width, 32, 64)
    encoder = nn.Sequential(Centre(), *downs(8, c, a, b), nn.Flatten(), nn.Linear(b * 4, heads * latent))
    decoder = nn.Sequential(nn.Linear(latent, b * 4), nn.Unflatten(1, (b, 2, 2)), *ups(2, b, a), Doubling(a, c, 4))
    return encoder, decoder


@network("table-ix")
def table_ix(shape: Shape, latent: int, heads: int, width: float) -> Pair:
    """Table IX, dSprites and 3D Shapes: 32-32-64-64 from 64x64 down to 4x4 and back, with the FC 256 of [47].

    For images of 32x32 one layer of 32 channels is left out.
    """
    # The printed table has no FC 256. The authors' code has it, and so has the encoder of [47] that the code follows.
    return _table_ix("table-ix", shape, latent, heads, width, scaled(width, 256))


@network("table-ix-literal")
def table_ix_literal(shape: Shape, latent: int, heads: int, width: float) -> Pair:
    """Table IX as it is printed: `table-ix` without the two layers FC 256."""
    return _table_ix("table-ix-literal", shape, latent, heads, width, [])


def _table_ix(name: str, shape: Shape, latent: int, heads: int, width: float, dense: list[int]) -> Pair:
    """Table IX with hidden dense layers of these sizes next to the code."""
    size = shape[1]
    expect_size(name, shape, 64, 32)
    layers = 4 if size == 64 else 3
    channels = [shape[0], *scaled(width, 32, 32, 64, 64)[-layers:]]
    flat = channels[-1] * 16
    sizes = [4 << step for step in range(layers)]  # of the smaller image of each layer
    steps = zip(pairwise(channels), reversed(sizes), strict=True)
    down = [layer for (a, b), to in steps for layer in (Halving(a, b, to), nn.ReLU(inplace=True))]
    encoder = nn.Sequential(
        *down, nn.Flatten(), *dense_layers(flat, *dense), nn.Linear([flat, *dense][-1], heads * latent)
    )
    # The decoder's channels are 64-32-32-c, which is not the encoder's in reverse (64-64-32-32-c).
    channels = [channels[-1], *scaled(width, 64, 32, 32)[: layers - 1]]
    steps = zip(pairwise(channels), sizes[:-1], strict=True)
    up = [layer for (a, b), at in steps for layer in (Doubling(a, b, at), nn.ReLU(inplace=True))]
    # The printed table lacks the ReLU after FC 4*4*64 as well.
    decoder = nn.Sequential(
        *dense_layers(latent, *dense, flat),
        nn.Unflatten(1, (channels[0], 4, 4)),
        *up,
        Doubling(channels[-1], shape[0], sizes[-1]),
    )
    return encoder, decoder


def dense_layers(*sizes: int) -> list[nn.Module]:
    """For each pair of successive sizes: a dense layer and ReLU."""
    return [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU(inplace=True))]


def discriminator(latent: int, hidden: Sequence[int], outputs: int = 1) -> nn.Module:
    """Codes [b l] -> logits [b outputs]: dense layers with LeakyReLU 0.2 between them (Table X prints no slope).

    Its weights come from torch's default generator, which the trainer seeds while it builds a method.
    """
    sizes = [latent, *hidden]
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.LeakyReLU(0.2))]
    net = nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))
    initialise(net, torch.default_generator)
    return net


def layers(module: nn.Module) -> list[str]:
    """The layers of a network in order, in the words of the paper's tables."""
    return [_words(layer) for layer in module.modules() if not list(layer.children())]


def _words(layer: nn.Module) -> str:
    """One layer in the words of the paper's tables; the name of its class if the paper has no such layer."""
    match layer:
        case nn.ConvTranspose2d():
            return (
                f"transposed conv {layer.out_channels}, {layer.kernel_size[0]}x{layer.kernel_size[1]}/{layer.stride[0]}"
            )
        case nn.Conv2d():
            return f"conv {layer.out_channels}, {layer.kernel_size[0]}x{layer.kernel_size[1]}/{layer.stride[0]}"
        case nn.Linear():
            return f"FC {layer.out_features}"
        case nn.BatchNorm2d() | nn.BatchNorm1d():
            return "BN"
        case nn.LeakyReLU():
            return f"LeakyReLU {layer.negative_slope:g}"
        case nn.Unflatten():
            return f"reshape {'x'.join(map(str, layer.unflattened_size))}"
        case nn.ZeroPad2d():
            _, right, _, bottom = layer.padding
            return f"{'crop' if min(right, bottom) < 0 else 'pad'} {abs(bottom)}x{abs(right)}"
        case Centre():
            return "2x - 1"
    return type(layer).__name__[:100]


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw the first weights of every layer as the AVAE authors' Keras code does.

    Convolutions: HeNormal. Dense layers, the last transposed convolution and all of `Glorot`: Glorot-uniform.
    Biases: 0. Batch norm: weight 1, bias 0, momentum .01, eps 1e-3.
    """
    layers = list(module.modules())
    last = [layer for layer in layers if isinstance(layer, nn.ConvTranspose2d)][-1:]
    uniform: tuple[type[nn.Linear | nn.Conv2d | nn.ConvTranspose2d], ...] = (nn.Linear,)
    if isinstance(module, Glorot):
        uniform = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    for layer in layers:
        if isinstance(layer, uniform) or layer in last:
            nn.init.xavier_uniform_(layer.weight, generator=generator)
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            # Keras stores a transposed kernel as (h, w, out, in) and uses its next-to-last axis, the output channels,
            # as fan_in. torch stores it as (in, out, h, w): axis 1 is the same number.
            fan_in = layer.weight.shape[1] * layer.weight[0, 0].numel()
            # A normal cut at two standard deviations keeps .8796 of its spread. Keras widens it beforehand.
            std = math.sqrt(2 / fan_in) / 0.87962566103423978
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std, generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.momentum, layer.eps = 0.01, 1e-3
            layer.reset_running_stats()
            nn.init.ones_(layer.weight)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def build(name: str, spec: Spec, heads: int, width: float, generator: torch.Generator) -> Pair:
    """The pair called `name`, encoder -> [b heads*l] and decoder -> raw [b c h w], with weights from `generator`.

    UserError for an unknown name or an image size that the network is not made for.
    """
    make: Network = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        # Layers that `initialise` does not know keep torch's own first weights, which also depend on `generator`.
        torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        encoder, decoder = make(spec.shape, spec.latent, heads, width)
    initialise(encoder, generator)
    initialise(decoder, generator)
    return encoder, decoder
