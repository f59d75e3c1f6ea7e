"""The structural similarity of reconstructions and originals, at one scale and at five, of values in [0, 1].

Both are computed from a = x + y and b = x - y, because 2xy = (a^2 - b^2) / 2 and x^2 + y^2 = (a^2 + b^2) / 2: four
maps are averaged instead of five. Images stand in the last axis, so that every average over windows is one large
matrix product. float64: the variance of a smooth window is a small difference of large numbers.
"""

from collections.abc import Iterator
from functools import cache

import torch
from jaxtyping import Float64, Shaped
from torch import Tensor
from torch.nn.functional import pad

from lvm_bench.distances import row_blocks
from lvm_bench.errors import UserError
from lvm_bench.metrics.arrays import Array, check_same_shape, metric, unit_images

_REACH, _SIGMA = 5, 1.5  # pixels on each side of a window's centre, and the width of its weights
_TAPS = 2 * _REACH + 1
_C1, _C2 = 0.01**2, 0.03**2  # for values in [0, 1]
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # the exponent of each scale, from the finest on
_SIDE = (_TAPS - 1) * 2 ** (len(_SCALES) - 1) + 1  # pixels of which a window is left at the coarsest scale
_TILE = 16  # rows of an average that one product gives: more would multiply zeros
_BLOCK = 2**18  # pixels of each set at a time, which stay in the cache


@cache
def _band() -> Float64[Tensor, "n k"]:
    """The weights of the Gaussian averages of every 11 rows: those of the i-th begin at the i-th row."""
    weights = torch.arange(-_REACH, _REACH + 1, dtype=torch.float64).square().div(-2 * _SIGMA**2).exp()
    weights, band = weights / weights.sum(), torch.zeros(_TILE, _TILE + _TAPS - 1, dtype=torch.float64)
    for i, row in enumerate(band):
        row[i : i + _TAPS] = weights
    return band


def _averages(x: Float64[Tensor, "h k"]) -> Float64[Tensor, "u k"]:
    """Gaussian averages of every 11 rows."""
    u, band = len(x) - _TAPS + 1, _band().to(x.device)
    averages = x.new_empty(u, x.shape[1])
    for rows in row_blocks(u, 1, _TILE):
        n = rows.stop - rows.start
        torch.mm(band[:n, : n + _TAPS - 1], x[rows.start : rows.stop + _TAPS - 1], out=averages[rows])
    return averages


def _window_averages(x: Float64[Tensor, "h w m"]) -> Float64[Tensor, "v u m"]:
    """Gaussian averages of every 11 x 11 pixels that lie within the images; the axes of the images are exchanged."""
    h, w, m = x.shape
    of_rows = _averages(x.view(h, w * m)).view(-1, w, m)
    return _averages(of_rows.transpose(0, 1).reshape(w, -1)).view(w - _TAPS + 1, -1, m)


def _similarity(
    a: Float64[Tensor, "h w m"], b: Float64[Tensor, "h w m"]
) -> tuple[Float64[Tensor, " m"], Float64[Tensor, " m"]]:
    """Of each image, the mean of SSIM over all windows, and that of its part without the luminance."""
    moments = _window_averages(torch.cat([a, b, a.square(), b.square()], dim=2))
    mean_a, mean_b, var_a, var_b = moments.chunk(4, dim=2)
    square_a, square_b = mean_a.square(), mean_b.square()
    var_a, var_b = var_a - square_a, var_b - square_b
    luminance = (square_a - square_b + 2 * _C1) / (square_a + square_b + 2 * _C1)
    contrast = (var_a - var_b + 2 * _C2) / (var_a + var_b + 2 * _C2)
    return (luminance * contrast).mean((0, 1)), contrast.mean((0, 1))


def _sums_and_differences(
    name: str, least: int, real: Array, recon: Array
) -> Iterator[tuple[Float64[Tensor, "h w m"], Float64[Tensor, "h w m"]]]:
    """real + recon and real - recon of some channels at a time. UserError for sides of fewer than `least` pixels."""
    (x, x_unit), (y, y_unit) = unit_images(name, real=real, recon=recon)
    check_same_shape(name, real=x, recon=y)
    h, w = x.shape[2:]
    if min(h, w) < least:
        raise UserError(f"{name}: real has images of {h} x {w} pixels; give at least {least} x {least}.")
    x, y = x.flatten(0, 1), y.flatten(0, 1)
    for rows in row_blocks(len(x), h * w, _BLOCK):
        p, q = x[rows].permute(1, 2, 0).double() / x_unit, y[rows].permute(1, 2, 0).double() / y_unit
        yield (p + q).contiguous(), (p - q).contiguous()


@metric("ssim", better="higher", of=("heldout",), label="SSIM", table="reconstruction", smallest=_TAPS, costly=True)
def ssim(real: Shaped[Array, "n c h w"], recon: Shaped[Array, "n c h w"]) -> float:
    """Structural similarity, mean over windows, channels and images in [0, 1]; 1 if equal, higher is better.

    Gaussian windows of 11 x 11 pixels, sigma 1.5, population moments, K .01 and .03. Wang et al. 2004, eq. 13.
    UserError for images of fewer than 11 x 11 pixels.
    """
    pairs = _sums_and_differences("ssim", _TAPS, real, recon)
    return float(torch.cat([_similarity(*pair)[0] for pair in pairs]).mean())


def _halved(x: Float64[Tensor, "h w m"]) -> Float64[Tensor, "u v m"]:
    """Averages of every 2 x 2 pixels. A side of odd length begins with zeros, as in the pytorch-msssim package."""
    x = pad(x, (0, 0, x.shape[1] % 2, 0, x.shape[0] % 2, 0))
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4


def _terms(a: Float64[Tensor, "h w m"], b: Float64[Tensor, "h w m"]) -> Float64[Tensor, "scales m"]:
    """Of each image, the contrast at every scale but the coarsest, and there the SSIM."""
    found = []
    for _ in _SCALES[:-1]:
        found.append(_similarity(a, b)[1])
        a, b = _halved(a), _halved(b)
    return torch.stack([*found, _similarity(a, b)[0]])


@metric(
    "ms_ssim", better="higher", of=("heldout",), label="MS-SSIM", table="reconstruction", smallest=_SIDE, costly=True
)
def ms_ssim(real: Shaped[Array, "n c h w"], recon: Shaped[Array, "n c h w"]) -> dict[str, float]:
    """Structural similarity at five scales, mean over channels and images in [0, 1]; 1 if equal, higher is better.

    {"": the mean, "clamped": the share of channels with a negative term, which counts as 0}. Wang et al. 2003, eq. 7.
    UserError for images of fewer than 161 x 161 pixels, of which the coarsest scale leaves no window.
    """
    terms = torch.cat([_terms(*pair) for pair in _sums_and_differences("ms_ssim", _SIDE, real, recon)], dim=1)
    exponents = torch.tensor(_SCALES, dtype=torch.float64, device=terms.device)[:, None]
    similarity = (terms.clamp(min=0) ** exponents).prod(0)
    return {"": float(similarity.mean()), "clamped": float((terms < 0).any(0).double().mean())}
