"""LPIPS: how far apart images are in the activations of AlexNet, which was trained to tell photographs apart."""

import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d

from lvm_bench.distances import row_blocks
from lvm_bench.errors import UserError
from lvm_bench.metrics.arrays import Array, check_same_shape, metric, unit_images

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's red, green and blue
_LAYERS = ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1))
# of a convolution: channels in and out, kernel, stride, padding; the second and the third come after a pooling
_LEAST = 31  # pixels along a side of which the second pooling leaves one
_VALUES = {"cpu": 2**19, "cuda": 2**24}  # of each set at a time; on the CPU they stay near the cache


class Perceptual(nn.Module):
    """AlexNet's five convolutions, and for each of them the weights of its channels in LPIPS."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(c, d, k) for c, d, k, _, _ in _LAYERS)
        self.shares = nn.ParameterList(torch.rand(d) for _, d, *_ in _LAYERS)
        self.requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """What each convolution makes of images in [0, 1], rectified."""
        mean, std = (x.new_tensor(values)[:, None, None] for values in (_MEAN, _STD))
        x, found = torch.addcmul(-mean / std, x, 1 / std).contiguous(memory_format=torch.channels_last), []
        for place, (conv, (*_, stride, padding)) in enumerate(zip(self.convolutions, _LAYERS, strict=True)):
            assert isinstance(conv, nn.Conv2d)
            x = max_pool2d(x, 3, 2) if place in (1, 2) else x
            x = _convolved(x, conv.weight, conv.bias, stride, padding).relu_()
            found.append(x)
        return found


def _convolved(
    x: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "d c k k"],
    bias: Float[Tensor, " d"] | None,
    stride: int,
    padding: int,
) -> Float[Tensor, "b d u v"]:
    """A convolution, without the weights that meet nothing but padding: on 1 x 1 pixels all but the middle ones."""
    needed = [min(padding, length - 1) for length in x.shape[2:]]
    rows, columns = (slice(padding - each, weight.shape[-1] - padding + each) for each in needed)
    return conv2d(x, weight[:, :, rows, columns], bias, stride, needed)


@torch.no_grad()
def _distances(perceptual: Perceptual, pair: Float[Tensor, "two_b c h w"]) -> Float64[Tensor, " b"]:
    """LPIPS of each image of the first half from its partner in the second, eq. 1."""
    total = torch.zeros(len(pair) // 2, dtype=torch.float64, device=pair.device)
    for x, shares in zip(perceptual(pair), perceptual.shares, strict=True):
        real, recon = x.div_(torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10).chunk(2)
        squares = real.sub_(recon).square_()
        total += torch.einsum("bchw,c->bhw", squares, shares).mean((1, 2), dtype=torch.float64)
    return total


@metric(
    "lpips", better="lower", of=("heldout",), label="LPIPS (alex)", table="reconstruction", smallest=_LEAST, costly=True
)
def lpips(real: Shaped[Array, "n c h w"], recon: Shaped[Array, "n c h w"], perceptual: Perceptual) -> float:
    """Distance in AlexNet's activations (v0.1), mean over images in [0, 1]; from 0, lower is better (arXiv:1801.03924).

    Grey images are repeated in three channels. UserError unless the images have 1 or 3 channels and at least 31 x 31
    pixels.
    """
    (x, x_unit), (y, y_unit) = unit_images("lpips", real=real, recon=recon)
    check_same_shape("lpips", real=x, recon=y)
    n, c, h, w = x.shape
    if c not in (1, 3) or min(h, w) < _LEAST:
        raise UserError(
            f"lpips: real has {c} channels of {h} x {w} pixels; give 1 (grey) or 3 (red, green, blue) channels of at "
            f"least {_LEAST} x {_LEAST} pixels."
        )
    device = perceptual.shares[0].device
    found = []
    for rows in row_blocks(n, 3 * h * w, _VALUES.get(device.type, 2**19)):
        pair = [z[rows].to(device).float() / unit for z, unit in ((x, x_unit), (y, y_unit))]
        found.append(_distances(perceptual, torch.cat(pair).expand(-1, 3, -1, -1)))
    mean = float(torch.cat(found).mean())
    if not mean < float("inf"):
        raise UserError("lpips: real or recon has values that AlexNet's float32 cannot hold; give values in [0, 1].")
    return mean
