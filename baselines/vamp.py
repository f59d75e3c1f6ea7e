"""VAE with a VampPrior.

J. M. Tomczak, M. Welling: VAE with a VampPrior. AISTATS 2018, arXiv:1705.07120.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lvm_bench import Method, method
from lvm_bench.errors import UserError
from lvm_bench.losses import nll, pairwise_log_density


@method("vamp", label="VampPrior", formula="R + E[log q(z|x) - log 1/K Σ_k q(z|u_k)], u_k learned inputs")
class Vamp(Method):
    """VAE with a VampPrior (Tomczak & Welling 2018): the prior is the mixture of the posteriors of learned inputs.

    The `components` pseudo-inputs start at N(`pseudo_mean`, `pseudo_std`^2), as a share of the value range.
    """

    heads = 2
    target_variance = None  # the mixture is no N(0, v I)

    def __init__(self, *nets: Any, components: int = 500, pseudo_mean: float = 0.05, pseudo_std: float = 0.01):
        super().__init__(*nets)
        if components < 1:
            raise UserError(f"vamp: components = {components} pseudo-inputs. Choose 1 or more.")
        self.pseudo_inputs = nn.Parameter(pseudo_mean + pseudo_std * torch.randn(components, *self.spec.shape))

    def losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        posterior = self.posterior(x)
        z = posterior.sample(self.draw)
        raw = self.decoder(z)
        recon = nll(x, raw, self.squash(raw), self.spec).mean()
        # The KL from a mixture has no closed form: one draw estimates it, as in the paper. It may be negative.
        kl = (posterior.log_prob(z).sum(1) - self.log_prior(z)).mean()
        return {"loss": recon + kl, "recon": recon, "kl": kl}

    def components(self) -> tuple[Float[Tensor, "k l"], Float[Tensor, "k l"]]:
        """(mu, log_var) of the posterior of each pseudo-input."""
        low, high = self.spec.value_range
        # With running statistics, as `prior` has them after training; batch norm must not count pseudo-inputs.
        self.encoder.eval()
        mu, log_var = self.posterior(low + (high - low) * self.pseudo_inputs.clamp(0, 1))
        self.encoder.train(self.training)
        return mu, log_var

    def log_prior(self, z: Float[Tensor, "b l"]) -> Float[Tensor, " b"]:
        """log p(z) in nats, eq. 9."""
        mu, log_var = self.components()
        parts = [pairwise_log_density(rows, mu, log_var).sum(2).logsumexp(1) for rows in z.split(1000)]
        return torch.cat(parts) - math.log(len(mu))

    def prior(self, n: int) -> Float[Tensor, "n l"]:
        part = self.draw(lambda own: torch.randint(len(self.pseudo_inputs), (n,), generator=own, device=own.device))
        mu, log_var = self.components()
        return self.sampled(mu[part], log_var[part])
