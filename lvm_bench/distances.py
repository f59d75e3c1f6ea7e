"""Squared distances between the rows of two matrices, and blocks of rows that fit into memory."""

import torch
from jaxtyping import Float
from torch import Tensor


def squared_distances(a: Float[Tensor, "n l"], b: Float[Tensor, "m l"]) -> Float[Tensor, "n m"]:
    """|a_i - b_j|^2 from the Gram matrix. Values that rounding makes negative become 0."""
    if a.is_cuda and a.dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32:
        # TF32 is for networks alone: here it would change a log-density by 1e-2 nats.
        return squared_distances(a.double(), b.double()).float()
    norms = a.square().sum(1, keepdim=True) + b.square().sum(1)
    return torch.addmm(norms, a, b.T, alpha=-2).clamp(min=0)


def exact_squared_distances(a: Float[Tensor, "n l"], b: Float[Tensor, "m l"]) -> Float[Tensor, "n m"]:
    """|a_i - b_j|^2 from differences, which keep the digits that the norms of distant rows would take."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()


def row_blocks(n: int, columns: int, size: int = 2**20) -> list[slice]:
    """Slices that cover n rows. A block of rows has about `size` values, so that it fits into memory."""
    step = max(1, size // columns)
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]
