"""Evidence of the controls: real images in the place of samples, exact prior draws in the place of codes."""

from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lvm_bench.evaluation.evidence import Absent, Evidence
from lvm_bench.seeding import generator


class RealImages(Evidence):
    """The floor of every image metric: held-out real images in the place of samples."""

    def images(self, what: str) -> UInt8[Tensor, "n c h w"]:
        if what in ("real", "fake"):
            return self.real("heldout")
        raise Absent


class StandardNormal(Evidence):
    """The floor of every latent metric: exact prior draws in the place of codes."""

    def __init__(self, latent: int, *context: Any):
        super().__init__(*context)
        self.latent = latent

    def images(self, what: str) -> UInt8[Tensor, "n c h w"]:
        raise Absent

    def codes(self, what: str) -> Float[Tensor, "n l"]:
        if what != "mean":
            raise Absent
        return torch.randn(self.n, self.latent, generator=generator(self.seed, "standard normal"))

    def train_codes(self) -> Float[Tensor, "N l"]:
        stream = generator(self.seed, "standard normal training codes")
        return torch.randn(len(self.splits["train"]), self.latent, generator=stream)

    def prior_codes(self) -> Float[Tensor, "n l"]:
        return torch.randn(self.n, self.latent, generator=generator(self.seed, "standard normal prior"))

    def grid_codes(self) -> Float[Tensor, "N l"]:
        n = len(self.grid().order)
        return torch.randn(n, self.latent, generator=generator(self.seed, "standard normal grid"))

    def target_variance(self) -> float:
        return 1.0
