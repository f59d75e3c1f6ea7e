"""EVAE.

Epanechnikov Variational Autoencoder. arXiv:2405.12783, version 2.
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from lvm_bench import Method, method
from lvm_bench.errors import UserError
from lvm_bench.losses import nll
from lvm_bench.posteriors import Epanechnikov, SmoothedEpanechnikov


@method("evae", label="EVAE", formula="R + 3 support / (5 b) Σ_j 1 / r_j, r the radii, b the batch size")
class EVAE(Method):
    """EVAE (arXiv:2405.12783): posteriors are the prior convolved with an Epanechnikov kernel of learned width.

    z = step (mu + r k) + u, eq. 12: k from the kernel, u from the prior, which is uniform with this `support`, or
    a Gaussian of that standard deviation.
    """

    heads = 2

    def __init__(
        self,
        *nets: Any,
        prior: Literal["uniform", "gaussian"] = "uniform",
        support: float = 0.1,
        step: float = 100 ** (-2 / 9),  # b(n) of the paper at n = 100, the same for all its data sets
    ):
        super().__init__(*nets)
        if support <= 0 or step <= 0:
            raise UserError(f"evae: support = {support} and step = {step}. Choose numbers above 0.")
        self.kind, self.support, self.step = prior, support, step

    def posterior(self, x: Float[Tensor, "b c h w"]) -> Epanechnikov | SmoothedEpanechnikov:
        mu, raw = self.encoder(x).chunk(2, dim=1)
        # The paper does not say how r stays positive.
        radius = self.step * (softplus(raw) + 1e-6)
        made = Epanechnikov if self.kind == "uniform" else SmoothedEpanechnikov
        return made(self.step * mu, radius, torch.full_like(mu, self.support))

    def losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        posterior = self.posterior(x)
        raw = self.decoder(posterior.sample(self.draw))
        recon = nll(x, raw, self.squash(raw), self.spec).mean()
        # Eq. 10 bounds the KL by 3 B / (5 M) sum_k 1 / r_k, M the minibatch size. It leaves mu free (footnote 3).
        inverse_radius = (self.step / posterior.radius).sum(1).mean()
        bound = 3 * self.support / (5 * self.spec.batch_size) * inverse_radius
        return {"loss": recon + bound, "recon": recon, "kl_bound": bound}

    def prior(self, n: int) -> Float[Tensor, "n l"]:
        # Section 5.3 multiplies draws of the prior by B; u of algorithm 1 already has this length.
        if self.kind == "gaussian":
            return self.support * self.noise(n, self.spec.latent)
        shape = (n, self.spec.latent)
        return self.support * (self.draw(lambda own: torch.rand(shape, generator=own, device=own.device)) - 0.5)

    def log_prior(self, z: Float[Tensor, "b l"]) -> Float[Tensor, " b"]:
        if self.kind == "gaussian":
            return torch.distributions.Normal(0.0, self.support).log_prob(z).sum(1)
        density = (z.abs() <= self.support / 2) / self.support
        return density.log().sum(1)

    @property
    def target_variance(self) -> float | None:
        """The variance of the Gaussian prior. The uniform prior is no N(0, v I)."""
        return self.support**2 if self.kind == "gaussian" else None
