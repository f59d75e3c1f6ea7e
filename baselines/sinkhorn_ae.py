"""Sinkhorn auto-encoder.

G. Patrini, R. van den Berg, P. Forre, M. Carioni, S. Bhargav, M. Welling, T. Genewein, F. Nielsen:
Sinkhorn AutoEncoders. UAI 2019, arXiv:1810.01118.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lvm_bench import Method, method
from lvm_bench.distances import squared_distances
from lvm_bench.errors import UserError
from lvm_bench.losses import nll


@method("sinkhorn-ae", label="Sinkhorn AE", formula="R + beta (S(z, z_p) - S(z, z) / 2 - S(z_p, z_p) / 2)")
class SinkhornAE(Method):
    """Sinkhorn AE (Patrini et al. 2018): codes drawn to N(0, I) by the Sinkhorn divergence of squared distances.

    `epsilon` weighs the entropy of the transport plans. Each plan takes `iterations` of Sinkhorn's algorithm.
    """

    def __init__(self, *nets: Any, beta: float, epsilon: float, iterations: int):
        super().__init__(*nets)
        if epsilon <= 0 or iterations < 1:
            raise UserError(f"sinkhorn-ae: epsilon = {epsilon}, iterations = {iterations}. Choose numbers above 0.")
        self.beta, self.epsilon, self.iterations = beta, epsilon, iterations

    def losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        z = self.encode(x)
        raw = self.decoder(z)
        recon = nll(x, raw, self.squash(raw), self.spec).mean()
        z_prior = self.prior(len(z))
        # Eq. 8 with the costs of eq. 12, which leave the entropy out. Algorithm 2 minimises it without the roots of
        # eq. 10.
        own = self.transport_cost(z, z) + self.transport_cost(z_prior, z_prior)
        divergence = self.transport_cost(z, z_prior) - own / 2
        return {"loss": recon + self.beta * divergence, "recon": recon, "sinkhorn": divergence}

    def transport_cost(self, a: Float[Tensor, "n l"], b: Float[Tensor, "n l"]) -> Float[Tensor, ""]:
        """The mean squared distance under the plan of eq. 7; gradients pass through all iterations.

        The paper rounds the last plan to exact marginals. Here its rows are exact, and its columns nearly so.
        """
        costs, log_n = squared_distances(a, b), math.log(len(a))
        scaled = costs / self.epsilon
        # In log space: exp(-cost / epsilon) of distant codes is 0 in float32.
        f = torch.zeros_like(scaled[:, 0])
        for _ in range(self.iterations):
            g = log_n - torch.logsumexp(f[:, None] - scaled, dim=0)
            f = log_n - torch.logsumexp(g - scaled, dim=1)
        plan = (f[:, None] + g - scaled - 2 * log_n).exp()
        return (plan * costs).sum()
