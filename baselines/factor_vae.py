"""FactorVAE.

H. Kim, A. Mnih: Disentangling by Factorising. ICML 2018, arXiv:1802.05983.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from lvm_bench import Epoch, Method, method
from lvm_bench.losses import gaussian_kl_to_standard, nll
from lvm_bench.networks import discriminator

JOINT, PERMUTED = 0, 1  # the discriminator's two outputs


@method("factor-vae", label="FactorVAE", formula="R + KL + gamma E[T(z)], T the logit of z against permuted z")
class FactorVAE(Method):
    """FactorVAE (Kim & Mnih 2018): a VAE whose total correlation, as a discriminator sees it, weighs 1 + `gamma`.

    The discriminator tells codes from codes whose axes were permuted over a second batch, and has Adam's
    betas at 0.5 and 0.9 and a learning rate of its own to start with, which a plateau halves like the model's.
    """

    heads = 2
    adversary_betas = (0.5, 0.9)
    codes: Float[Tensor, "b l"]  # drawn for the latest batch, detached

    def __init__(
        self,
        *nets: Any,
        gamma: float,
        hidden: Sequence[int] = (1000, 1000, 1000, 1000, 1000, 1000),
        adversary_learning_rate: float = 1e-4,
    ):
        super().__init__(*nets)
        self.gamma, self.adversary_learning_rate = gamma, adversary_learning_rate
        self.adversary = discriminator(self.spec.latent, hidden, outputs=2)

    def losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        mu, log_var = self.posterior(x)
        z = self.sampled(mu, log_var)
        self.codes = z.detach()
        raw = self.decoder(z)
        recon = nll(x, raw, self.squash(raw), self.spec).mean()
        kl = gaussian_kl_to_standard(mu, log_var).sum(1).mean()
        logits = self.adversary(z)
        # The log ratio of the two classes estimates log q(z) - sum_j log q(z_j); it may well be negative.
        tc = (logits[:, JOINT] - logits[:, PERMUTED]).mean()
        return {"loss": recon + kl + self.gamma * tc, "recon": recon, "kl": kl, "tc": tc}

    def start_epoch(self, epoch: Epoch) -> None:
        self._epoch = epoch

    def adversary_losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        # A second batch (algorithm 2): the same one permuted would share its codes with the first class.
        n, device = len(self._epoch.images), self.generator.device
        second = self.draw(lambda own: torch.randint(n, (len(x),), generator=own, device=device))
        with torch.no_grad():
            other = torch.cat([self.sampled(*self.posterior(x)) for x in self._epoch.batches(second)])
        # Detached codes, seen anew: the step of the encoder must not get this loss's gradient.
        classes = ((self.codes, JOINT), (self.permuted(other), PERMUTED))
        loss = sum(
            cross_entropy(self.adversary(z), torch.full((len(z),), target, device=device)) for z, target in classes
        )
        return {"adversary_loss": loss / 2}

    def permuted(self, z: Float[Tensor, "b l"]) -> Float[Tensor, "b l"]:
        """Codes whose axes are permuted over the batch, each by a permutation of its own."""
        ranks = self.draw(lambda own: torch.rand(z.shape, generator=own, device=own.device)).argsort(dim=0)
        return z.gather(0, ranks)
