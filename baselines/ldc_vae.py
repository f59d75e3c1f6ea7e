"""LDC-VAE, reconstructed.

LDC-VAE: A Latent Distribution Consistency Approach to Variational AutoEncoders. arXiv:2109.10640, of which the abstract
alone is public: a Gibbs posterior, approximated by Stein variational gradient descent (SVGD), which trains a sampler
network too. Every equation here is our reading of it. SVGD: Q. Liu, D. Wang, arXiv:1608.04471; amortised: D. Wang,
Q. Liu, arXiv:1611.01722.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lvm_bench import Method, method
from lvm_bench.errors import UserError
from lvm_bench.kde import log_density, optimal_bandwidth
from lvm_bench.losses import VARIANCES, gaussian_log_likelihood, nll


@method(
    "ldc-vae",
    label="LDC-VAE (reconstructed)",
    formula="SVGD of an image's k particles z on |z|²/2 + weight R, and of the sampler network on their density",
    note="only the abstract of its paper is public; the equations are a reconstruction, not the authors'. Its samples "
    "come from its sampler network, those called prior from N(0, I); C2ST and coverage compare its codes with the "
    "sampler network, KL, MMD and DWKL with N(0, I)",
)
class LDCVAE(Method):
    """LDC-VAE, reconstructed from the abstract of arXiv:2109.10640: SVGD to Gibbs posteriors, and a sampler network.

    The Gibbs posterior has the energy |z|^2 / 2 + `weight` times the reconstruction error: 1/2 of squared errors is the
    posterior of a Gaussian decoder of variance 1. `k` particles approximate it; the sampler network draws from the
    aggregate of all posteriors, as a buffer of `m` particles shows it.
    """

    heads = 2
    monitor = "energy"  # the loss is a surrogate, whose gradient alone means something
    samplers = ("sampled_codes", "prior")
    buffer: Float[Tensor, "m l"]

    def __init__(self, *nets: Any, weight: float = 0.5, k: int = 8, m: int = 1000, hidden: int = 256):
        super().__init__(*nets)
        if min(k, m, hidden) < 1 or weight <= 0:
            raise UserError(f"ldc-vae: weight = {weight}, k = {k}, m = {m}, hidden = {hidden}. Choose numbers above 0.")
        self.weight, self.k, l = weight, k, self.spec.latent
        self.variance = VARIANCES.get(self.spec.likelihood, math.nan) / weight
        if self.spec.likelihood != "bernoulli":
            self.worked_out["likelihood"] = f"N(decode(z), {self.variance:g} I)"
        self.sampler = nn.Sequential(
            nn.Linear(l, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, l)
        )
        self.h = optimal_bandwidth(l, m)
        self.register_buffer("buffer", torch.randn(m, l), persistent=False)

    def losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        mu, log_var = self.posterior(x)
        noise = self.noise(self.k, *mu.shape)
        particles = (mu + (log_var / 2).exp() * noise).transpose(0, 1)  # [b k l]
        at, push = descent(particles)
        z = at.flatten(0, 1)
        raw = self.decoder(z)
        error = nll(x.repeat_interleave(self.k, dim=0), raw, self.squash(raw), self.spec)
        energy = z.square().sum(1) / 2 + self.weight * error
        # The sum over the particles of an image: each has its own direction of descent.
        model = self.k * energy.mean() - push / len(x)
        drawn, own_push = descent(self.sampled_codes(len(x))[None])
        sampler = -log_density(drawn[0], self.buffer, self.h).sum() - own_push
        if self.training:
            recent = particles.detach()[:, 0]
            self.buffer = torch.cat([recent, self.buffer])[: len(self.buffer)]
        return {
            "loss": model + sampler / len(x),
            "recon": error.mean(),
            "energy": energy.mean(),
            "particle_variance": particles.detach()
            .var(dim=1, correction=0)
            .mean(),  # 0 tells that the particles collapsed
        }

    def sampled_codes(self, n: int) -> Float[Tensor, "n l"]:
        """n codes from the sampler network."""
        return self.sampler(self.noise(n, self.spec.latent))

    def log_likelihood(self, x: Float[Tensor, "b c h w"], z: Float[Tensor, "b l"]) -> Float[Tensor, " b"] | None:
        # The density of which `weight` times the error is the negative log. A power of a Bernoulli's is none.
        if self.spec.likelihood == "bernoulli":
            return super().log_likelihood(x, z) if self.weight == 1 else None
        return gaussian_log_likelihood(x, self.decode(z), self.variance)


def descent(particles: Float[Tensor, "b k l"]) -> tuple[Float[Tensor, "b k l"], Float[Tensor, ""]]:
    """Where to evaluate an energy so that it descends along SVGD's direction, and the repulsion to subtract from it.

    The points are the particles. The gradient of the energy at point j goes to each particle i by the kernel k(j, i),
    as in SVGD's first term; the gradient of the repulsion is its second term. arXiv:1608.04471, eq. 8.
    """
    k = particles.shape[1]
    fixed = particles.detach()
    apart = fixed[:, :, None] - fixed[:, None]  # [b j i l]: z_j - z_i
    squares = apart.square().sum(3)
    # The median of all squared distances, as in the paper's section 5; at least 1e-4, so that equal particles part.
    middle = squares.flatten(1).sort(dim=1).values[:, k * k // 2]
    width = (middle / (2 * math.log(k + 1))).clamp(min=1e-4)[:, None, None]
    kernel = (-squares / (2 * width)).exp()
    moved = torch.einsum("bji,bil->bjl", kernel, particles) / k
    away = -(kernel / width)[..., None] * apart  # the gradient of k(z_j, z_i) in z_j
    push = (away.sum(1) / k * particles).sum()
    return fixed + (moved - moved.detach()), push
