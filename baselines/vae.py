"""VAE and beta-VAE.

D. P. Kingma, M. Welling: Auto-Encoding Variational Bayes. ICLR 2014, arXiv:1312.6114.
I. Higgins et al.: beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework.
ICLR 2017.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from lvm_bench import Method, method
from lvm_bench.losses import gaussian_kl_to_standard, nll


@method("vae", label="VAE", formula="R + beta KL")
class VAE(Method):
    """VAE (Kingma & Welling 2014); `beta` other than 1 makes it the beta-VAE (Higgins et al. 2017)."""

    heads = 2

    def __init__(self, *nets: Any, beta: float = 1.0):
        super().__init__(*nets)
        self.beta = beta

    def losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        mu, log_var = self.posterior(x)
        raw = self.decoder(self.sampled(mu, log_var))
        # Sum over pixels, mean over images: a mean over pixels would multiply beta by their number.
        recon = nll(x, raw, self.squash(raw), self.spec).mean()
        kl = gaussian_kl_to_standard(mu, log_var).sum(1).mean()
        return {"loss": recon + self.beta * kl, "recon": recon, "kl": kl}
