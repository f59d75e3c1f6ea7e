"""InfoVAE with the MMD, the MMD-VAE.

S. Zhao, J. Song, S. Ermon: InfoVAE: Balancing Learning and Inference in Variational Autoencoders.
AAAI 2019, arXiv:1706.02262.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from lvm_bench import Method, method
from lvm_bench.distances import squared_distances
from lvm_bench.errors import UserError
from lvm_bench.losses import gaussian_kl_to_standard, nll


@method("info-vae", label="InfoVAE (MMD)", formula="R + (1 - alpha) KL + (alpha + lam - 1) MMD²(z, z_p)")
class InfoVAE(Method):
    """InfoVAE (Zhao et al. 2017) with the MMD: a VAE whose KL weighs 1 - `alpha`, the MMD `alpha` + `lam` - 1.

    `alpha = 1` is the MMD-VAE, which has no KL; `alpha = 0`, `lam = 1` is the VAE.
    """

    heads = 2

    def __init__(self, *nets: Any, alpha: float, lam: float):
        super().__init__(*nets)
        if alpha > 1 or alpha + lam < 1:
            raise UserError(f"info-vae: alpha = {alpha}, lam = {lam}. Choose alpha <= 1 <= alpha + lam.")
        self.alpha, self.lam = alpha, lam

    def losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        mu, log_var = self.posterior(x)
        z = self.sampled(mu, log_var)
        raw = self.decoder(z)
        recon = nll(x, raw, self.squash(raw), self.spec).mean()
        kl = gaussian_kl_to_standard(mu, log_var).sum(1).mean()
        mmd = gaussian_mmd(z, self.prior(len(z)))
        # Eq. 7, with the MMD for the divergence of q(z) from the prior.
        loss = recon + (1 - self.alpha) * kl + (self.alpha + self.lam - 1) * mmd
        return {"loss": loss, "recon": recon, "kl": kl, "mmd": mmd}


def gaussian_mmd(z: Float[Tensor, "n l"], z_prior: Float[Tensor, "n l"]) -> Float[Tensor, ""]:
    """Squared MMD with the kernel exp(-|a - b|^2 / l^2) of the authors' code; the pairs (i, i) count, as there."""

    def similarity(a: Float[Tensor, "n l"], b: Float[Tensor, "n l"]) -> Float[Tensor, ""]:
        return (-squared_distances(a, b) / a.shape[1] ** 2).exp().mean()

    return similarity(z, z) + similarity(z_prior, z_prior) - 2 * similarity(z, z_prior)
