"""Seeds and generators by purpose. Every random draw of the benchmark comes from one of them."""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose. Purposes have independent streams, which are the same on every machine."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: str | int, device: "torch.device | str" = "cpu") -> "torch.Generator":
    """A torch generator seeded for one purpose."""
    import torch

    return torch.Generator(device=device).manual_seed(derive(seed, *purpose))
