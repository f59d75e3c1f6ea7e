"""Residual networks with full pre-activation (ResNetV2) for square images: those of GAMIX-VAE.

K. He, X. Zhang, S. Ren, J. Sun: Identity Mappings in Deep Residual Networks. ECCV 2016, arXiv:1603.05027.
"""

import math
from itertools import chain

from jaxtyping import Float
from torch import Tensor, nn

from lvm_bench.modelling.networks import Glorot, Pair, Shape, expect_size, network, scaled

_SIZES = (32, 64, 128, 256)  # pixels, down to 4

_CHANNELS = 128


@network("resnet-v2")
def resnet_v2(shape: Shape, latent: int, heads: int, width: float) -> Pair:
    """GAMIX-VAE's pre-activation residual networks (official code), 128 channels: 32x32 to 256x256 down to 4x4.

    At 256x256 they are the published ones; a smaller image has fewer of their stages.
    """
    expect_size("resnet-v2", shape, *_SIZES)
    c, size, (n,) = shape[0], shape[1], scaled(width, _CHANNELS)
    stages, few = int(math.log2(size // 4)), max(1, latent // 8)
    encoder = Glorot(
        nn.LayerNorm([size, size], eps=1e-3),  # its weights are per pixel, and the same for all channels
        nn.Conv2d(c, n, 3, padding=1),
        *chain.from_iterable((same(n), same(n), down(n)) for _ in range(stages)),
        nn.Conv2d(n, few, 1),
        nn.Flatten(),
        nn.Linear(16 * few, heads * latent),
    )
    decoder = Glorot(
        nn.Linear(latent, 16 * few),
        nn.Unflatten(1, (few, 4, 4)),
        nn.Conv2d(few, n, 3, padding=1),
        *chain.from_iterable((same(n), up(n, n)) for _ in range(stages - 1)),
        same(n),
        up(n, c),
        nn.Conv2d(c, c, 1),
    )
    return encoder, decoder


class Sum(nn.Module):
    """The sum of what a path of layers and a shortcut make of the same input."""

    def __init__(self, path: list[nn.Module], shortcut: list[nn.Module]):
        super().__init__()
        self.path, self.shortcut = nn.Sequential(*path), nn.Sequential(*shortcut)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d u v"]:
        return self.path(x) + self.shortcut(x)


class Doubling3(nn.ConvTranspose2d):
    """A 3x3 transposed convolution of stride 2 that doubles h and w as TensorFlow's "same" does."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__(channels_in, channels_out, 3, 2)

    def forward(self, x: Float[Tensor, "b c h w"], output_size: list[int] | None = None) -> Float[Tensor, "b d u v"]:
        h, w = x.shape[-2:]
        return super().forward(x, output_size)[..., : 2 * h, : 2 * w]


def same(n: int) -> nn.Module:
    """A residual block that keeps n channels and the size."""
    return Sum(_bottom(n, 1), [nn.Identity()])


def down(n: int) -> nn.Module:
    """A residual block that keeps n channels and halves the size."""
    return Sum(_bottom(n, 2), _activated(n, nn.Conv2d(n, n, 1, 2)))


def up(n: int, d: int) -> nn.Module:
    """A residual block from n to d channels that doubles the size."""
    path = [*_activated(n, nn.Conv2d(n, d, 1)), *_activated(d, Doubling3(d, d))]
    return Sum(path, _activated(n, Doubling3(n, d)))


def _bottom(n: int, stride: int) -> list[nn.Module]:
    """Convolutions of 3x3, 3x3 and 1x1, the last of this stride."""
    kernels = (nn.Conv2d(n, n, 3, padding=1), nn.Conv2d(n, n, 3, padding=1), nn.Conv2d(n, n, 1, stride))
    return [layer for kernel in kernels for layer in _activated(n, kernel)]


def _activated(n: int, kernel: nn.Module) -> list[nn.Module]:
    """Batch norm of n channels and ReLU before a convolution."""
    return [nn.BatchNorm2d(n), nn.ReLU(inplace=True), kernel]
