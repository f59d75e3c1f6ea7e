"""Convolutions with a 4x4 kernel, stride 2 and padding 1, computed as products of matrices.

A small image, a large image and the kernel form one trilinear expression. Its three derivatives are the convolution,
the transposed convolution and the gradient of the kernel. The derivatives of each are the other two, so that all of
them can be differentiated any number of times. Pixels are the first axes of every image here.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Kernel", "Large", "Small", "to_large", "to_small"]

Small = Float[Tensor, "h w b s"]

Large = Float[Tensor, "u v b l"]  # u = 2 h, v = 2 w

Kernel = Float[Tensor, "s l 4 4"]


def to_small(large: Large, kernel: Kernel) -> Small:
    """The convolution of a large image."""
    return _ToSmall.apply(large, kernel)


def to_large(small: Small, kernel: Kernel) -> Large:
    """The transposed convolution of a small image."""
    return _ToLarge.apply(small, kernel)


def _taps(h: int, w: int) -> Iterator[tuple[tuple[int, int], tuple[slice, slice], tuple[slice, slice]]]:
    """For each entry of the kernel: its indices, the pixels of the small image it touches, and of the large image.

    Pixels of the padding are left out, which saves 28 of 64 products for a small image of 2x2.
    """
    for i in range(4):
        for j in range(4):
            (top, bottom), (left, right) = _touched(i, h), _touched(j, w)
            yield (i, j), (top, left), (bottom, right)


def _touched(tap: int, size: int) -> tuple[slice, slice]:
    """The pixels o along one axis of the small image, and 2 o - 1 + tap along the large image, outside the padding."""
    first, last = int(tap == 0), size - int(tap == 3)
    return slice(first, last), slice(2 * first - 1 + tap, 2 * last - 2 + tap, 2)


def _rows(pixels: Float[Tensor, "u v b c"]) -> Float[Tensor, "n c"]:
    """All pixels of all images, one row of channels each."""
    return pixels.reshape(-1, pixels.shape[-1])


class _Derivative(torch.autograd.Function):
    """A function that saves its two inputs for its derivatives. vmap computes seed after seed: each is large enough."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple[int | None, int | None], *inputs: Tensor) -> tuple[Tensor, int]:
        singles = (
            [each if dim is None else each.select(dim, i) for each, dim in zip(inputs, in_dims, strict=True)]
            for i in range(info.batch_size)
        )
        return torch.stack([cls.apply(*single) for single in singles]), 0


class _ToSmall(_Derivative):
    @staticmethod
    def forward(large: Tensor, kernel: Tensor) -> Tensor:
        h, w, b, _ = large.shape
        small = large.new_zeros(h // 2, w // 2, b, len(kernel), dtype=torch.float32 if _is_low(large) else None)
        taps = kernel.permute(2, 3, 1, 0)
        for tap, of_small, of_large in _taps(h // 2, w // 2):
            part = small[of_small]
            part += (_rows(large[of_large]) @ taps[tap]).view(part.shape)
        return small.to(large.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        large, kernel = ctx.saved_tensors
        return _wanted(ctx, lambda: to_large(gradient, kernel), lambda: _ToKernel.apply(gradient, large))


class _ToLarge(_Derivative):
    @staticmethod
    def forward(small: Tensor, kernel: Tensor) -> Tensor:
        h, w, b, _ = small.shape
        large = small.new_zeros(2 * h, 2 * w, b, kernel.shape[1], dtype=torch.float32 if _is_low(small) else None)
        taps = kernel.permute(2, 3, 0, 1)
        for tap, of_small, of_large in _taps(h, w):
            part = large[of_large]
            part += (_rows(small[of_small]) @ taps[tap]).view(part.shape)
        return large.to(small.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        small, kernel = ctx.saved_tensors
        return _wanted(ctx, lambda: to_small(gradient, kernel), lambda: _ToKernel.apply(small, gradient))


class _ToKernel(_Derivative):
    @staticmethod
    def forward(small: Tensor, large: Tensor) -> Tensor:
        h, w, _, s = small.shape
        kernel = small.new_empty(s, 4, 4, large.shape[3]).permute(0, 3, 1, 2)
        taps = kernel.permute(2, 3, 0, 1)
        for tap, of_small, of_large in _taps(h, w):
            torch.mm(_rows(small[of_small]).T, _rows(large[of_large]), out=taps[tap])
        return kernel

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        small, large = ctx.saved_tensors
        return _wanted(ctx, lambda: to_small(large, gradient), lambda: to_large(small, gradient))


def _is_low(tensor: Tensor) -> bool:
    """Whether a tensor is bfloat16; its products are then summed in float32."""
    return tensor.dtype == torch.bfloat16


def _wanted(ctx: Any, *gradients: Callable[[], Tensor]) -> tuple[Tensor | None, ...]:
    """The gradients that autograd asks for, None for the others."""
    return tuple(make() if needed else None for make, needed in zip(gradients, ctx.needs_input_grad, strict=True))
