"""Sigma-VAE with the optimal sigma.

O. Rybkin, K. Daniilidis, S. Levine: Simple and Effective VAE Training with Calibrated Decoders.
ICML 2021, arXiv:2006.13202.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lvm_bench import Method, method
from lvm_bench.losses import gaussian_kl_to_standard, gaussian_log_likelihood, sse

LEAST_LOG_SIGMA = -6.0  # of the authors' code


@method("sigma-vae", label="σ-VAE", formula="SSE / (2 s²) + d/2 log(2 π s²) + KL, s² = SSE / d of the batch")
class SigmaVAE(Method):
    """Optimal sigma-VAE (Rybkin et al. 2020): one variance for all pixels, that of the errors of the batch.

    Whatever the `likelihood` of the data set, this method's is Gaussian with that variance.
    """

    heads = 2
    sigma: Float[Tensor, ""]

    def __init__(self, *nets: Any):
        super().__init__(*nets)
        self.register_buffer("sigma", torch.tensor(1.0))
        self.worked_out["likelihood"] = "N(decode(z), s^2 I), s the root mean square error of validation images"

    def losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        mu, log_var = self.posterior(x)
        recon_x = self.decode(self.sampled(mu, log_var))
        errors, d = sse(x, recon_x).mean(), x[0].numel()
        # The variance that maximises the likelihood of the batch is its mean squared error. The authors' code limits
        # it softly, which moves sigma everywhere. A hard limit leaves the optimum as it is.
        variance = (errors / d).clamp(min=math.exp(2 * LEAST_LOG_SIGMA))
        recon = errors / (2 * variance) + d / 2 * (2 * math.pi * variance).log()
        kl = gaussian_kl_to_standard(mu, log_var).sum(1).mean()
        return {"loss": recon + kl, "recon": recon, "kl": kl, "sigma": variance.sqrt()}

    def validated(self, means: dict[str, float]) -> None:
        self.sigma.fill_(means["sigma"])

    def log_likelihood(self, x: Float[Tensor, "b c h w"], z: Float[Tensor, "b l"]) -> Float[Tensor, " b"]:
        return gaussian_log_likelihood(x, self.decode(z), self.sigma.square())
