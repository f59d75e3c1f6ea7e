"""beta-TCVAE.

R. T. Q. Chen, X. Li, R. Grosse, D. Duvenaud: Isolating Sources of Disentanglement in Variational
Autoencoders. NeurIPS 2018, arXiv:1802.04942.
"""

import math
from functools import cache
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lvm_bench import Method, method
from lvm_bench.losses import (
    decomposition,
    gaussian_kl_to_standard,
    nll,
    pairwise_log_density,
    stratified_log_weights,
    total_correlation,
)


@method("beta-tcvae", label="β-TCVAE", formula="R + KL + (beta - 1) E[log q(z) - Σ_j log q(z_j)]")
class BetaTCVAE(Method):
    """beta-TCVAE (Chen et al. 2018): a VAE whose total correlation weighs `beta` instead of 1.

    `objective`: the estimate that is minimised. "dlib" (Locatello et al. 2019) takes the KL in closed form
    and the total correlation up to a constant; "weighted" and "stratified" are the two of the paper. The
    logged mi, tc and dwkl are always stratified: the other two are off by large constants.
    """

    heads = 2

    def __init__(self, *nets: Any, beta: float, objective: Literal["dlib", "weighted", "stratified"] = "dlib"):
        super().__init__(*nets)
        self.beta, self.objective = beta, objective

    def losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        mu, log_var = self.posterior(x)
        z = self.sampled(mu, log_var)
        raw = self.decoder(z)
        recon = nll(x, raw, self.squash(raw), self.spec).mean()
        kl = gaussian_kl_to_standard(mu, log_var).sum(1).mean()
        pairwise = pairwise_log_density(z, mu, log_var)
        stratified = _stratified(len(z), self.spec.n_train, z.dtype, z.device)
        with torch.no_grad():
            parts = decomposition(z, pairwise, stratified)
        weights = {
            "dlib": torch.zeros_like(stratified),
            "weighted": torch.full_like(stratified, -math.log(len(z) * self.spec.n_train)),
            "stratified": stratified,
        }[self.objective]
        # mi + tc + dwkl is log q(z|x) - log p(z) whatever the weights, so that only tc depends on them.
        drawn = (z.square() - (z - mu).square() * (-log_var).exp() - log_var).sum(1).mean() / 2
        whole = kl if self.objective == "dlib" else drawn
        loss = recon + whole + (self.beta - 1) * total_correlation(pairwise, weights)
        return {"loss": loss, "recon": recon, "kl": kl, **parts}


@cache
def _stratified(b: int, n: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "b b"]:
    # Made once: a copy to a GPU in each step would wait for the step before it.
    return stratified_log_weights(b, n).to(device, dtype)
