"""A 4x4 kernel of stride 2 and padding 1 between a small and a large image, as products of matrices.

One trilinear form joins the small image, the large one and the kernel. Its three derivatives are the convolution, the
transposed convolution and the gradient of the kernel, and each one's own derivatives are the two others: whatever is
computed here can be differentiated as often as one likes.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

Small = Float[Tensor, "h w b s"]

Large = Float[Tensor, "u v b l"]  # u = 2 h, v = 2 w

Kernel = Float[Tensor, "s l 4 4"]


def to_small(large: Large, kernel: Kernel) -> Small:
    """The convolution of an image; places first, as all that is here."""
    return _ToSmall.apply(large, kernel)


def to_large(small: Small, kernel: Kernel) -> Large:
    """The transposed convolution of an image."""
    return _ToLarge.apply(small, kernel)


def _taps(h: int, w: int) -> Iterator[tuple[tuple[int, int], tuple[slice, slice], tuple[slice, slice]]]:
    """Each entry of a kernel, the places of the small image that it joins, and those of the large one.

    What would meet the padding is left out: with a small image of 2x2 that is 28 of 64 products.
    """
    for i in range(4):
        for j in range(4):
            (top, bottom), (left, right) = _places(i, h), _places(j, w)
            yield (i, j), (top, left), (bottom, right)


def _places(tap: int, size: int) -> tuple[slice, slice]:
    """Along one axis: the small places o for which 2 o - 1 + tap is none of the padding, and the large ones."""
    first, last = int(tap == 0), size - int(tap == 3)
    return slice(first, last), slice(2 * first - 1 + tap, 2 * last - 2 + tap, 2)


def _rows(places: Float[Tensor, "u v b c"]) -> Float[Tensor, "n c"]:
    return places.reshape(-1, places.shape[-1])


class _Derivative(torch.autograd.Function):
    """Keeps its two inputs; of several seeds, in torch.func.vmap, each is computed by itself, as it is large enough."""

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
    """Whether sums of products are kept in float32 until they are whole."""
    return tensor.dtype == torch.bfloat16


def _wanted(ctx: Any, *gradients: Callable[[], Tensor]) -> tuple[Tensor | None, ...]:
    """Those gradients that somebody needs."""
    return tuple(make() if needed else None for make, needed in zip(gradients, ctx.needs_input_grad, strict=True))
