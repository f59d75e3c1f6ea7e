"""RAE-L2.

P. Ghosh, M. S. M. Sajjadi, A. Vergari, M. Black, B. Schoelkopf: From Variational to Deterministic
Autoencoders. ICLR 2020, arXiv:1903.12436.
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn

from lvm_bench import Method, method
from lvm_bench.losses import nll


@method("rae-l2", label="RAE-L2", formula="R / d + beta mean(z²) + decoder_l2 Σ W², W the decoder's kernels")
class RAE(Method):
    """RAE-L2 (Ghosh et al. 2020): L2 on codes and decoder; samples from a density fitted to training codes.

    `density`: "gaussian" (one, full covariance) or "mixture" (ten of them). `penalise_dense`: the decoder's
    dense layers count in its penalty too, as in the authors' CelebA network.
    """

    weights: Tensor
    means: Tensor
    roots: Tensor

    def __init__(
        self,
        *nets: Any,
        beta: float,
        decoder_l2: float,
        density: Literal["gaussian", "mixture"] = "gaussian",
        penalise_dense: bool = False,
    ):
        super().__init__(*nets)
        self.beta, self.decoder_l2, self.density = beta, decoder_l2, density
        kinds = (nn.ConvTranspose2d, nn.Linear) if penalise_dense else (nn.ConvTranspose2d,)
        self._penalised = [layer for layer in self.decoder.modules() if isinstance(layer, kinds)]
        # A Gaussian is a mixture of one; N(0, I) until `finish`.
        parts, l = {"gaussian": 1, "mixture": 10}[density], self.spec.latent
        self.register_buffer("weights", torch.full((parts,), 1 / parts))
        self.register_buffer("means", torch.zeros(parts, l))
        self.register_buffer("roots", torch.eye(l).repeat(parts, 1, 1))  # symmetric roots of the covariances

    def losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        z = self.encode(x)
        raw = self.decoder(z)
        recon = nll(x, raw, self.squash(raw), self.spec).mean()
        code = z.square().mean()
        # An explicit term: weight decay would reach biases and batch norm too, and Adam would rescale it.
        decoder = sum((layer.weight.square().sum() for layer in self._penalised), start=z.new_zeros(()))
        # Means over values and axes and no 1/2, as in the authors' code: beta and decoder_l2 belong to these.
        loss = recon / x[0].numel() + self.beta * code + self.decoder_l2 * decoder
        return {"loss": loss, "recon": recon, "code_l2": code, "decoder_l2": decoder}

    def finish(self, codes: Float[Tensor, "n l"]) -> None:
        codes = codes.double().cpu()
        if self.density == "gaussian":
            weights, means, covariances = torch.ones(1), codes.mean(0)[None], torch.cov(codes.T)[None]
        else:
            seed = torch.randint(2**31, (), generator=self.generator, device=self.generator.device)
            fit = GaussianMixture(len(self.weights), max_iter=2000, tol=1e-3, random_state=int(seed)).fit(codes.numpy())
            weights, means, covariances = map(torch.from_numpy, (fit.weights_, fit.means_, fit.covariances_))
        # Not a Cholesky factor, which an axis without variance would break.
        values, vectors = torch.linalg.eigh(covariances)
        self.weights.copy_(weights)
        self.means.copy_(means)
        self.roots.copy_(vectors * values.clamp(min=0).sqrt()[:, None] @ vectors.mT)

    def prior(self, n: int) -> Float[Tensor, "n l"]:
        part = torch.multinomial(self.weights, n, replacement=True, generator=self.generator)
        return self.means[part] + torch.einsum("nij,nj->ni", self.roots[part], self.noise(n, self.spec.latent))
