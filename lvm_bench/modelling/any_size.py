"""Encoder and decoder pairs for images of any size, and for rows of a table."""

from itertools import pairwise

from torch import nn

from lvm_bench.modelling.networks import Centre, Doubling, Halving, Pair, Shape, dense_layers, network, scaled

_SMALLEST = 4  # pixels: a longer side is halved

_CHANNELS = (64, 128, 256, 512)  # of the first layers, as in Table VIII; the layers after them have the last count

_HIDDEN = (256, 256)


@network("conv")
def conv(shape: Shape, latent: int, heads: int, width: float) -> Pair:
    """Table VIII's layers for any h x w in [0, 1]: halved until no side is above 4, channels 64-128-256-512-512-...

    A side that is odd is padded by one pixel before it is halved, and cropped after it is doubled. Images of at most
    4x4 pixels have one dense layer each way.
    """
    sizes = _halved(shape[1], shape[2])
    channels = [shape[0], *scaled(width, *(_CHANNELS[min(i, len(_CHANNELS) - 1)] for i in range(len(sizes) - 1)))]
    down: list[nn.Module] = []
    up: list[nn.Module] = []
    for (a, b), (large, small) in zip(pairwise(channels), pairwise(sizes), strict=True):
        down += [*_padded(large, 1), Halving(a, b, max(small)), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
        after = [nn.BatchNorm2d(a), nn.ReLU(inplace=True)] if up else []  # none after the last layer
        up = [Doubling(b, a, max(small)), *_padded(large, -1), *after, *up]
    smallest = (channels[-1], *sizes[-1])
    flat = channels[-1] * sizes[-1][0] * sizes[-1][1]
    encoder = nn.Sequential(Centre(), *down, nn.Flatten(), nn.Linear(flat, heads * latent))
    return encoder, nn.Sequential(nn.Linear(latent, flat), nn.Unflatten(1, smallest), *up)


def _halved(h: int, w: int) -> list[tuple[int, int]]:
    """The sizes of an image that is halved, rounding up, until no side is above 4 pixels; its own size first."""
    sizes = [(h, w)]
    while max(sizes[-1]) > _SMALLEST:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes


def _padded(size: tuple[int, int], pixels: int) -> list[nn.Module]:
    """A layer that adds so many rows and columns where h or w of `size` is odd; none where both are even."""
    h, w = size
    return [nn.ZeroPad2d((0, w % 2 * pixels, 0, h % 2 * pixels))] if h % 2 or w % 2 else []


@network("mlp")
def mlp(shape: Shape, latent: int, heads: int, width: float) -> Pair:
    """Two dense layers of 256 units with ReLU for any c x h x w in [0, 1], rows of a table (c x 1 x n) included."""
    c, h, w = shape
    hidden = scaled(width, *_HIDDEN)
    encoder = nn.Sequential(
        Centre(), nn.Flatten(), *dense_layers(c * h * w, *hidden), nn.Linear(hidden[-1], heads * latent)
    )
    decoder = nn.Sequential(
        *dense_layers(latent, *reversed(hidden)), nn.Linear(hidden[0], c * h * w), nn.Unflatten(1, shape)
    )
    return encoder, decoder
