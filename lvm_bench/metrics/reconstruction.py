"""The error of reconstructions and the sharpness of images, of values in [0, 1].

Integers from 0 to 255 are divided by 255. Masks, which are bool or integers of 0 and 1 alone, stay.
"""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float64, Shaped
from torch import Tensor

from lvm_bench.errors import UserError
from lvm_bench.metrics.arrays import Array, check_same_shape, metric, unit_images

_GREY = (0.2989, 0.5870, 0.1140)  # weights of red, green and blue
_TAPS = 3  # pixels along a side of the Laplace filter
_CHUNK = 1000  # images at a time


def _squared_errors(real: Array, recon: Array, name: str) -> tuple[Iterator[Float64[Tensor, "b c h w"]], torch.Size]:
    """(real - recon)^2 of some images at a time, and the shape of all images."""
    (x, x_unit), (y, y_unit) = unit_images(name, real=real, recon=recon)
    check_same_shape(name, real=x, recon=y)
    pairs = zip(x.split(_CHUNK), y.split(_CHUNK), strict=True)
    return ((a.double() / x_unit - b.double() / y_unit).square() for a, b in pairs), x.shape


@metric("mse", better="lower", of=("train", "heldout", "grid"))
def mse(real: Shaped[Array, "n c h w"], recon: Shaped[Array, "n c h w"]) -> float:
    """Squared error per value, mean over values and images in [0, 1]; lower is better."""
    errors, shape = _squared_errors(real, recon, "mse")
    return sum(float(some.sum()) for some in errors) / shape.numel()


@metric("sse", better="lower", of=("train", "heldout", "grid"))
def sse(real: Shaped[Array, "n c h w"], recon: Shaped[Array, "n c h w"]) -> float:
    """Squared error per image, sum over values, mean over images in [0, 1]; lower is better."""
    errors, shape = _squared_errors(real, recon, "sse")
    return sum(float(some.sum()) for some in errors) / shape[0]


@metric("psnr", better="higher", of=("train", "heldout"), label="PSNR", table="reconstruction")
def psnr(real: Shaped[Array, "n c h w"], recon: Shaped[Array, "n c h w"]) -> dict[str, float]:
    """Peak signal-to-noise ratio in dB, 10 log10(1 / MSE) per image in [0, 1]; higher is better (Wang & Bovik 2009).

    {"": mean over the images with an error, "equal": the share of images without}. The ratio of an equal image is
    infinite, and so is "" where all images are equal. IEEE Signal Process. Mag. 26:98.
    """
    errors, _ = _squared_errors(real, recon, "psnr")
    of_each = torch.cat([some.flatten(1).mean(1) for some in errors])
    unequal = of_each[of_each > 0]
    mean = float(-10 * unequal.log10().mean()) if len(unequal) else math.inf
    return {"": mean, "equal": 1 - len(unequal) / len(of_each)}


def _grey(x: Float64[Tensor, "n c h w"]) -> Float64[Tensor, "n h w"]:
    """Grey images, from one channel or from red, green and blue."""
    if x.shape[1] == 1:
        return x[:, 0]
    return torch.einsum("nchw,c->nhw", x, torch.tensor(_GREY, dtype=torch.float64, device=x.device))


def _laplace(x: Float64[Tensor, "n h w"]) -> Float64[Tensor, "n u v"]:
    """The convolution with [[0,1,0],[1,-4,1],[0,1,0]] without padding."""
    around = x[:, :-2, 1:-1] + x[:, 2:, 1:-1] + x[:, 1:-1, :-2] + x[:, 1:-1, 2:]
    return around - 4 * x[:, 1:-1, 1:-1]


@metric("sharpness", better="higher", of=("real", "recon", "fake"), smallest=_TAPS)
def sharpness(fake: Shaped[Array, "n c h w"]) -> float:
    """Variance of Laplace-filtered images, mean over images in [0, 1]; higher is better (arXiv:1711.01558).

    UserError unless the images have 1 or 3 channels and at least 3 x 3 pixels.
    """
    [(pixels, unit)] = unit_images("sharpness", fake=fake)
    _, c, h, w = pixels.shape
    if c not in (1, 3) or min(h, w) < _TAPS:
        raise UserError(
            f"sharpness: fake has {c} channels of {h} x {w} pixels; give 1 (grey) or 3 (red, green, "
            f"blue) channels of at least {_TAPS} x {_TAPS} pixels."
        )
    responses = [_laplace(_grey(chunk.double() / unit)).flatten(1) for chunk in pixels.split(_CHUNK)]
    return float(torch.cat([response.var(dim=1, unbiased=False) for response in responses]).mean())
