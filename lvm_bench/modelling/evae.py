"""The encoder and decoder pairs of EVAE (arXiv:2405.12783v2, appendix C), for inputs in [0, 1].

The paper states no first weights: they are those of the other networks here. Its 28x28 images are resized to 32x32;
ours are padded, as the AVAE paper's.
"""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from lvm_bench.modelling.networks import Doubling, Pair, Shape, downs, expect_size, network, scaled, ups


@network("evae-32")
def evae_32(shape: Shape, latent: int, heads: int, width: float) -> Pair:
    """EVAE, appendix C, MNIST, Fashion-MNIST, CIFAR-10: 32-64-128-256 from 32x32 down to 2x2, pooled, and back."""
    expect_size("evae-32", shape, 32)
    c, (a, b, d, e) = shape[0], scaled(width, 32, 64, 128, 256)
    # Of MNIST the paper states no pool, but a dense layer of 1x1x256 inputs, which only a pool leaves of 2x2.
    encoder = nn.Sequential(*downs(32, c, a, b, d, e), *_pooled(e, heads * latent))
    decoder = nn.Sequential(
        nn.Linear(latent, e),
        nn.Unflatten(1, (e, 1, 1)),
        # 1x1 to 4x4: with the "same" padding that the paper states for all layers the images would have 8x8 pixels.
        *_normed(nn.ConvTranspose2d(e, d, 4), d),
        *ups(4, d, b, a),
        Doubling(a, c, 16),
    )
    return encoder, decoder


@network("evae-64")
def evae_64(shape: Shape, latent: int, heads: int, width: float) -> Pair:
    """EVAE, appendix C, CelebA: 64-128-256-512, 5x5 kernels, from 64x64 down to 4x4, pooled, and back from 8x8.

    The data set `celeba` is in [-1, 1], as the AVAE paper's, and without its Bernoulli likelihood. EVAE's own inputs in
    [0, 1] are those of the data set `folder` with `crop = 140`, on the unpacked archive.
    """
    expect_size("evae-64", shape, 64)
    c, (a, b, d, e) = shape[0], scaled(width, 64, 128, 256, 512)
    down = [layer for m, n in pairwise((c, a, b, d, e)) for layer in _normed(nn.Conv2d(m, n, 5, 2, 2), n)]
    encoder = nn.Sequential(*down, *_pooled(e, heads * latent))
    decoder = nn.Sequential(
        nn.Linear(latent, e * 64),
        nn.Unflatten(1, (e, 8, 8)),
        *_normed(nn.ConvTranspose2d(e, d, 5, 1, 2), d),
        *_normed(nn.ConvTranspose2d(d, b, 5, 2, 2, 1), b),
        *_normed(nn.ConvTranspose2d(b, a, 5, 2, 2, 1), a),
        nn.ConvTranspose2d(a, c, 5, 2, 2, 1),
    )
    return encoder, decoder


class Mean(nn.Module):
    """The mean over h and w: adaptive average pooling to 1x1, whose gradient torch can batch over seeds."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c"]:
        return x.mean((2, 3))


def _normed(kernel: nn.Module, n: int) -> list[nn.Module]:
    """A convolution of n output channels, batch norm and ReLU."""
    return [kernel, nn.BatchNorm2d(n), nn.ReLU(inplace=True)]


def _pooled(n: int, outputs: int) -> list[nn.Module]:
    """The mean over the pixels of n channels, and a dense layer."""
    return [Mean(), nn.Linear(n, outputs)]
