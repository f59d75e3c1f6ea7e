"""Adversarial autoencoder.

A. Makhzani, J. Shlens, N. Jaitly, I. Goodfellow, B. Frey: Adversarial Autoencoders. arXiv:1511.05644.
"""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from lvm_bench import Method, method
from lvm_bench.losses import nll
from lvm_bench.networks import discriminator


@method("aae", label="AAE", formula="recon_scale R + beta E[softplus(-T(z))], T the logit of z_p against z")
class AAE(Method):
    """AAE (Makhzani et al. 2015): deterministic codes that a discriminator cannot tell from N(0, I)."""

    codes: Tensor  # of the latest batch, detached

    def __init__(self, *nets: Any, beta: float, recon_scale: float = 0.05, hidden: Sequence[int] = (1024, 4096, 1024)):
        super().__init__(*nets)
        self.beta, self.recon_scale = beta, recon_scale
        self.adversary = discriminator(self.spec.latent, hidden)

    def losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        z = self.encode(x)
        self.codes = z.detach()
        raw = self.decoder(z)
        recon = nll(x, raw, self.squash(raw), self.spec).mean()
        # Non-saturating: codes should look like draws from the prior, whose logits are high.
        fooled = softplus(-self.adversary(z)).mean()
        return {"loss": self.recon_scale * recon + self.beta * fooled, "recon": recon, "adversarial": fooled}

    def adversary_losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        # The codes that `losses` just made of x: encoding again would count the batch twice in batch norm.
        z_prior = self.prior(len(self.codes))
        loss = softplus(-self.adversary(z_prior)).mean() + softplus(self.adversary(self.codes)).mean()
        return {"adversary_loss": loss}
