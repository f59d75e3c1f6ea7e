"""Sliced-Wasserstein auto-encoder.

S. Kolouri, P. E. Pope, C. E. Martin, G. K. Rohde: Sliced-Wasserstein Autoencoder: An Embarrassingly Simple
Generative Model. ICLR 2019, arXiv:1804.01947.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from lvm_bench import Method, method
from lvm_bench.errors import UserError
from lvm_bench.losses import nll


@method("swae", label="SWAE", formula="R / d + beta E_u[W2²(u z, u z_p)], u random directions")
class SWAE(Method):
    """SWAE (Kolouri et al. 2018): codes drawn to N(0, I) by the squared 2-Wasserstein distance of their projections.

    The distance is the mean over `projections` random directions, drawn anew in every step.
    """

    def __init__(self, *nets: Any, beta: float, projections: int = 50):
        super().__init__(*nets)
        if projections < 1:
            raise UserError(f"swae: projections = {projections}. Choose 1 or more.")
        self.beta, self.projections = beta, projections

    def losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        z = self.encode(x)
        raw = self.decoder(z)
        recon = nll(x, raw, self.squash(raw), self.spec).mean()
        # Algorithm 1. The priors of the authors' notebooks (square, disc and ring) have two dimensions; ours is that of
        # all other methods.
        distance = self.sliced_distance(z, self.prior(len(z)))
        # The mean over values, as in the notebooks, whose beta is this one: they raise it by a tenth an epoch from the
        # twelfth on, and add the mean absolute error to the cross-entropy. Here it is constant, and the error is the
        # suite's likelihood alone, as of all other methods.
        return {"loss": recon / x[0].numel() + self.beta * distance, "recon": recon, "sliced_wasserstein": distance}

    def sliced_distance(self, z: Float[Tensor, "b l"], z_prior: Float[Tensor, "b l"]) -> Float[Tensor, ""]:
        """The mean over directions of the squared 2-Wasserstein distance of two samples' projections."""
        directions = self.noise(self.projections, self.spec.latent)
        directions = directions / directions.norm(dim=1, keepdim=True)
        # In one dimension the optimal plan matches the sorted samples.
        ours, theirs = ((sample @ directions.T).sort(dim=0).values for sample in (z, z_prior))
        return (ours - theirs).square().mean()
