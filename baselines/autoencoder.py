"""The plain autoencoder: what every regularised latent space is compared with.

G. E. Hinton, R. R. Salakhutdinov: Reducing the Dimensionality of Data with Neural Networks.
Science 313, 2006.
"""

from jaxtyping import Float
from torch import Tensor

from lvm_bench import Method, method
from lvm_bench.losses import nll


@method("ae", label="AE (no prior)", reference=True, formula="R")
class Autoencoder(Method):
    """Plain autoencoder (Hinton & Salakhutdinov 2006): reconstruction alone, sampled from N(0, I)."""

    def losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        raw = self.decoder(self.encode(x))
        recon = nll(x, raw, self.squash(raw), self.spec).mean()
        return {"loss": recon, "recon": recon}
