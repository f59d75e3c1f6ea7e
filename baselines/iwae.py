"""IWAE.

Y. Burda, R. Grosse, R. Salakhutdinov: Importance Weighted Autoencoders. ICLR 2016, arXiv:1509.00519.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lvm_bench import Method, method
from lvm_bench.errors import UserError
from lvm_bench.losses import gaussian_kl_to_standard, nll
from lvm_bench.posteriors import Gaussian, standard_normal_log_prob


@method("iwae", label="IWAE", formula="-E[log 1/k Σ_i p(x|z_i) p(z_i) / q(z_i|x)]")
class IWAE(Method):
    """IWAE (Burda et al. 2016): the importance-weighted bound of `k` codes; with k = 1 a VAE whose KL is drawn."""

    heads = 2

    def __init__(self, *nets: Any, k: int = 5):
        super().__init__(*nets)
        if k < 1:
            raise UserError(f"iwae: k = {k} codes of an image. Choose 1 or more.")
        self.k = k

    def losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        mu, log_var = self.posterior(x)
        drawn = Gaussian(mu.repeat(self.k, 1), log_var.repeat(self.k, 1))
        z = drawn.sample(self.draw)
        raw = self.decoder(z)
        error = nll(x.repeat(self.k, 1, 1, 1), raw, self.squash(raw), self.spec)
        # Eq. 8: log 1/k sum_i p(x, h_i) / q(h_i | x), whose gradient eq. 14 writes with normalised weights.
        log_weight = standard_normal_log_prob(z) - drawn.log_prob(z).sum(1) - error
        bound = torch.logsumexp(log_weight.view(self.k, len(x)), dim=0) - math.log(self.k)
        kl = gaussian_kl_to_standard(mu, log_var).sum(1).mean()
        return {"loss": -bound.mean(), "recon": error.mean(), "kl": kl}
