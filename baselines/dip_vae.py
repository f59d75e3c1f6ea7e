"""DIP-VAE.

A. Kumar, P. Sattigeri, A. Balakrishnan: Variational Inference of Disentangled Latent Concepts from Unlabeled
Observations. ICLR 2018, arXiv:1711.00848.
"""

from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from lvm_bench import Method, method
from lvm_bench.losses import gaussian_kl_to_standard, nll


@method("dip-vae", label="DIP-VAE", formula="R + KL + lambda_od Σ_{i≠j} C_ij² + lambda_d Σ_i (C_ii - 1)², C = Cov(z)")
class DIPVAE(Method):
    """DIP-VAE (Kumar et al. 2018): a VAE whose codes have a covariance near the identity.

    `variant`: "I" takes the covariance of the posterior means, "II" that of the aggregate posterior. `lambda_od`
    weighs squared covariances of two axes, `lambda_d` squared differences of variances from 1.
    """

    heads = 2

    def __init__(self, *nets: Any, lambda_od: float, lambda_d: float, variant: Literal["I", "II"] = "I"):
        super().__init__(*nets)
        self.lambda_od, self.lambda_d, self.variant = lambda_od, lambda_d, variant

    def losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        mu, log_var = self.posterior(x)
        raw = self.decoder(self.sampled(mu, log_var))
        recon = nll(x, raw, self.squash(raw), self.spec).mean()
        kl = gaussian_kl_to_standard(mu, log_var).sum(1).mean()
        centred = mu - mu.mean(0)
        covariance = centred.T @ centred / len(x)
        variances = centred.square().mean(0)
        off_diagonal = covariance.square().sum() - variances.square().sum()
        if self.variant == "II":  # eq. 7; E[Var(z|x)] is diagonal
            variances = variances + log_var.exp().mean(0)
        diagonal = (variances - 1).square().sum()
        loss = recon + kl + self.lambda_od * off_diagonal + self.lambda_d * diagonal  # eq. 6
        return {"loss": loss, "recon": recon, "kl": kl, "off_diagonal": off_diagonal, "diagonal": diagonal}
