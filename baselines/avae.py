"""Aggregate VAE.

S. Saha, S. Joshi, R. Whitaker: Matching Aggregate Posteriors in the Variational Autoencoder.
ICPR 2024, arXiv:2311.07693.
"""

import math
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lvm_bench import Epoch, Method, method
from lvm_bench.errors import UserError
from lvm_bench.kde import (
    PAPER_BANDWIDTHS,
    Density,
    calibrated_level,
    corrected_bandwidth,
    log_density,
    log_floor,
    optimal_bandwidth,
)
from lvm_bench.losses import nll

# max_cdf_epsilon of the authors' code by latent size: 1 - 1e-6 up to 16, and these. It has none for others.
PAPER_LEVELS = {64: 0.99, 90: 0.8, 128: 0.9}


def paper_level(l: int) -> float | None:
    """The level of the floor in the authors' code for codes of size l; None where they have none."""
    return 1 - 1e-6 if l <= 16 else PAPER_LEVELS.get(l)


@method("avae", label="AVAE", formula="R + beta E[log(q_h(z) + floor) - log p(z)], q_h the KDE of m codes")
class AVAE(Method):
    """AVAE (Saha et al. 2023): matches a kernel density estimate of all codes to N(0, I); beta from the data.

    `m` images make the estimate; they are drawn anew every `k_e` epochs and encoded anew every `k_b` steps.
    `floor` bounds the estimate from below: at the level of the authors' code for l, at the level where exact
    Gaussian codes are in equilibrium ("calibrated", and "paper" where the authors have none), or not at all.
    `max_cdf` is another level for "paper".
    `bandwidth` may be h0 itself ("uncorrected"), or a number that multiplies the computed h. From h = 1 on there is
    no variance 1 - h^2 to draw codes with.
    """

    monitor = "recon_plus_kl10"
    beta: Tensor
    kde_images: Int[Tensor, " m"]
    kde_codes: Float[Tensor, "m l"]

    def __init__(
        self,
        *nets: Any,
        m: int,
        k_e: int = 1,
        k_b: int = 10,
        bandwidth: Literal["computed", "paper", "uncorrected"] | float = "computed",
        floor: Literal["paper", "calibrated", "none"] = "paper",
        max_cdf: float | None = None,
        beta_rule: Literal["rms_log10", "mean_norm", "fixed"] = "rms_log10",
        beta: float | None = None,
    ):
        super().__init__(*nets)
        l, n = self.spec.latent, self.spec.n_train
        if not 0 < m < n:
            raise UserError(f"avae: m = {m} images cannot be set aside of {n} training images. Choose 0 < m < {n}.")
        if (beta_rule == "fixed") != (beta is not None):
            raise UserError("avae: beta is given with beta_rule = 'fixed', and with that rule alone.")
        if bandwidth == "paper" and (l, m) not in PAPER_BANDWIDTHS:
            raise UserError(
                f"avae: the authors give no bandwidth for (latent, m) = {(l, m)}. Valid: "
                f"{', '.join(map(str, PAPER_BANDWIDTHS))}. Choose bandwidth = 'computed'."
            )
        given = paper_level(l) if max_cdf is None else max_cdf
        rule = "calibrated" if floor == "paper" and given is None else floor
        because = f", as the authors have no level for latent = {l}," if rule != floor else ""
        if rule == "calibrated" and bandwidth not in ("computed", "paper"):
            raise UserError(
                f"avae: floor = 'calibrated'{because} is made for the corrected h, and bandwidth = {bandwidth!r} gives "
                "another. Choose bandwidth = 'computed', or floor = 'paper' with a max_cdf, or floor = 'none'."
            )
        if not isinstance(bandwidth, str) and bandwidth <= 0:
            raise UserError(f"avae: bandwidth = {bandwidth} multiplies h. Choose a number above 0.")
        self.m, self.k_e, self.k_b, self.beta_rule = m, k_e, k_b, beta_rule
        self.h0 = PAPER_BANDWIDTHS[l, m] if bandwidth == "paper" else optimal_bandwidth(l, m)
        self.h = self.h0 if bandwidth == "uncorrected" else corrected_bandwidth(self.h0)
        if not isinstance(bandwidth, str):
            self.h *= bandwidth
        # The paper never mentions a floor, its code has one: without it the objective is unbounded below,
        # because log q of a far code falls as -d^2/(2h^2), faster than log p.
        match rule:
            case "paper":
                level = given
            case "calibrated":
                level = calibrated_level(l, m, self.h0)
            case "none":
                level = 1.0  # log_floor is -inf
        self.log_floor = log_floor(l, self.h, level)
        self.worked_out["floor"] = rule if rule == "none" else f"{rule}, level {level:.6g} at l = {l}"
        # Set by the validation before training, line 7; the authors' code starts at constants.
        self.register_buffer("beta", torch.tensor(1.0 if beta is None else beta))
        # A resumed run goes on with its set of images; it encodes them itself.
        self.register_buffer("kde_images", torch.zeros(m, dtype=torch.int64))
        self.register_buffer("kde_codes", torch.zeros(m, l), persistent=False)

    def losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        z = self.encode(x)
        raw = self.decoder(z)
        errors = nll(x, raw, self.squash(raw), self.spec)
        recon, kl = errors.mean(), self.aggregate_kl(z)
        return {
            # Algorithm 1 steps encoder and decoder apart (lines 19, 20). The KL has no gradient in the
            # decoder, so the one joint step of the authors' code has the same gradients.
            "loss": recon + self.beta * kl,
            "recon": recon,
            "recon_norm": (errors.detach() / self._share).sqrt().mean(),
            "kl": kl,
            # Free of beta, which changes between epochs; the authors' code watches log10 units.
            "recon_plus_kl10": recon + kl / math.log(10),
            # A gap between the two shows batch norm's running statistics lagging behind those of the batch.
            "batch_variance": z.var(0, correction=0).mean().detach(),
            "kde_variance": self.kde_codes.var(0, correction=0).mean(),
        }

    def aggregate_kl(self, z: Float[Tensor, "b l"]) -> Float[Tensor, ""]:
        """Estimate of KL(q(z) || N(0, I)) in nats by the mean over codes, eq. 6; below 0 near the optimum.

        Floors: exp(log_floor) under q, 1e-30 under p, as in the authors' code.
        """
        log_q = log_density(z, self.kde_codes, self.h)
        log_p = -z.square().sum(1) / 2
        log_q = torch.logaddexp(log_q, torch.full_like(log_q, self.log_floor))
        log_p = torch.logaddexp(log_p, torch.full_like(log_p, math.log(1e-30)))
        return (log_q - log_p).mean()

    def start_epoch(self, epoch: Epoch) -> None:
        self._epoch = epoch
        # Algorithm 1 prints "if e mod k_e" (line 11), which with k_e = 1 never holds: it means = 0.
        if epoch.index % self.k_e == 0:
            self.kde_images.copy_(epoch.draw(self.m))
        epoch.hold_out(self.kde_images.to(epoch.generator.device))
        self._encode_kde_images()

    def start_step(self, step: int) -> None:
        # Printed "if b mod k_b" (line 22), which would refresh at nine steps of ten: it means = 0.
        if step > 0 and step % self.k_b == 0:
            self._encode_kde_images()

    @torch.no_grad()
    def _encode_kde_images(self) -> None:
        # With running statistics: batch norm must not count these images, nor mix them with each other.
        self.encoder.eval()
        self.kde_codes = torch.cat([self.encode(x) for x in self._epoch.batches(self.kde_images)])
        self.encoder.train()

    def validated(self, means: dict[str, float]) -> None:
        if self.beta_rule == "rms_log10":
            # Not eq. 9: the authors' code minimises SSE / sigma + KL / ln 10, sigma the root mean square
            # of the norms. Times sigma, which Adam does not notice, that is SSE + beta KL with this beta.
            self.beta.fill_(math.sqrt(self._share * means["recon"]) / math.log(10))
        elif self.beta_rule == "mean_norm":
            self.beta.fill_(means["recon_norm"])  # eq. 9 as printed

    @property
    def _share(self) -> float:
        """How much of the squared error `recon` is."""
        return 0.5 if self.spec.likelihood == "gaussian_unit" else 1.0

    @property
    def kernel_density(self) -> Density:
        return Density(self.kde_codes, self.h, self.log_floor)

    def prior(self, n: int) -> Float[Tensor, "n l"]:
        return math.sqrt(self.target_variance) * self.noise(n, self.spec.latent)

    @property
    def target_variance(self) -> float:
        """1 - h^2: where the aggregate posterior converges, section III-B3."""
        return 1 - self.h**2

    @property
    def cannot_sample(self) -> str:
        return f"h = {self.h:.2f} leaves no variance 1 - h^2 to draw codes with" if self.h >= 1 else ""
