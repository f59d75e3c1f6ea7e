"""WAE-MMD.

I. Tolstikhin, O. Bousquet, S. Gelly, B. Schoelkopf: Wasserstein Auto-Encoders. ICLR 2018, arXiv:1711.01558.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from lvm_bench import Method, method
from lvm_bench.losses import imq_mmd, nll


@method("wae-mmd", label="WAE-MMD", formula="recon_scale R + beta MMD²(z, z_p)")
class WAEMMD(Method):
    """WAE-MMD (Tolstikhin et al. 2018): codes drawn to N(0, I) by the MMD, inverse multiquadratic kernels."""

    def __init__(self, *nets: Any, beta: float, recon_scale: float = 0.05):
        super().__init__(*nets)
        self.beta, self.recon_scale = beta, recon_scale

    def losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        z = self.encode(x)
        raw = self.decoder(z)
        recon = nll(x, raw, self.squash(raw), self.spec).mean()
        mmd = imq_mmd(z, self.prior(len(z)))
        return {"loss": self.recon_scale * recon + self.beta * mmd, "recon": recon, "mmd": mmd}
