"""GAMIX-VAE.

How to train your VAE. ICIP 2024, arXiv:2309.13160. Where the authors' TensorFlow code differs from the text, the code
is followed. No number is reported there.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from lvm_bench import Method, Spec, method
from lvm_bench.networks import Glorot, initialise

HALVINGS, DROPPED = 3, 0.25  # of the discriminator


@method("gamix-vae", label="GAMIX-VAE", formula="recon_scale L1 + KL(m, v) + beta Σ(s² - 1 - log s²) + adversarial G")
class GAMIXVAE(Method):
    """GAMIX-VAE (ICIP 2024): moments of the means of a batch near N(0, I)'s, L1, and a PatchGAN on reconstructions.

    `norm`: "frozen" (batch norms stay maps y = a x + b of each channel, and dropout never acts) or "batch".
    """

    heads = 2
    adversary_betas = (0.5, 0.999)

    def __init__(
        self,
        *nets: Any,
        # The code has 5000 times the mean over the values of a 256 x 256 image. The same per value at every size: the
        # reconstruction of a small image would otherwise weigh more against the prior, which is a sum over axes.
        recon_scale: float = 5000 / (3 * 256**2),
        beta: float = 0.1,
        adversarial: float = 100.0,
        norm: Literal["frozen", "batch"] = "frozen",
        hidden: Sequence[int] = (128, 128, 128, 64, 64),
    ):
        super().__init__(*nets)
        self.recon_scale, self.beta, self.adversarial, self.norm = recon_scale, beta, adversarial, norm
        self.adversary = PatchGAN(self.spec.shape[0], hidden)
        self.train()

    @classmethod
    def declines(cls, spec: Spec) -> str | None:
        _, h, w = spec.shape
        if min(h, w) >= 16 and not h % 8 and not w % 8:
            return None
        return (
            "its discriminator halves images three times and judges the patches that are left: both sides must be "
            f"multiples of 8, from 16 on, not {h} x {w} pixels."
        )

    def train(self, mode: bool = True) -> "GAMIXVAE":
        # The official step calls all networks without `training=True`: Keras then keeps the moving mean 0 and variance
        # 1 of batch norms for ever, which is eval mode here. An argument of the method, as it holds for its adversary.
        super().train(mode)
        for net in self.children() if self.norm == "frozen" else ():
            net.eval()
        return self

    def losses(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        mu, log_var = self.posterior(x)
        raw = self.decoder(self.sampled(mu, log_var))
        self.hand_over(recon=raw)
        recon = (self.centred(x) - raw).abs().flatten(1).sum(1).mean()
        # Population variance of the means, without those of the posteriors. The code has no 1e-6.
        variance = mu.var(0, correction=0)
        global_kl = 0.5 * (variance + mu.mean(0).square() - 1 - (variance + 1e-6).log()).sum()
        # Without the 1/2 that eq. 11 lacks too; its sum over images is a mean in the code.
        own_kl = (log_var.exp() - 1 - log_var).sum(1).mean()
        fooled = softplus(-self.judged(raw)).mean()
        # Eq. 13 subtracts the reconstruction term, which is a distance here: a slip, the code adds it.
        loss = self.recon_scale * recon + global_kl + self.beta * own_kl + self.adversarial * fooled
        return {"loss": loss, "recon": recon, "global_kl": global_kl, "own_kl": own_kl, "adversarial": fooled}

    def adversary_losses(self, x: Float[Tensor, "b c h w"], made: dict[str, Tensor]) -> dict[str, Tensor]:
        on_real, on_recon = self.judged(self.centred(x)), self.judged(made["recon"])
        return {"adversary_loss": self.adversarial * (softplus(-on_real).mean() + softplus(on_recon).mean())}

    def judged(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 u v"]:
        """The discriminator's logits of patches of images in [-1, 1]."""
        for layers in self.adversary:
            images = self.dropped(layers(images))
        return images

    def dropped(self, h: Float[Tensor, "b d u v"]) -> Float[Tensor, "b d u v"]:
        """Dropout whose draws are the method's own, so that seeds can be trained together."""
        if not self.adversary.training:
            return h
        shape = tuple(h.shape)
        kept = self.draw(lambda own: torch.rand(shape, generator=own, device=own.device)) >= DROPPED
        return h * kept / (1 - DROPPED)

    def centred(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Images of the value range mapped to [-1, 1], where the decoder's raw output is compared with them."""
        low, high = self.spec.value_range
        return 2 * (x - low) / (high - low) - 1

    def squash(self, raw: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The raw output is the image in [-1, 1], without an activation: it is clipped alone."""
        low, high = self.spec.value_range
        return low + (high - low) * (raw.clamp(-1, 1) + 1) / 2

    def log_likelihood(self, x: Float[Tensor, "b c h w"], z: Float[Tensor, "b l"]) -> None:
        return None  # a distance and a discriminator are no density of images

    def pictures(self, x: Float[Tensor, "b c h w"]) -> dict[str, Tensor]:
        """Variants: two axes of one draw of q(z|x) at -6, 0 and 6. Transitions: lines between the means of images."""
        mu, log_var = self.posterior(x)
        z = self.sampled(mu[:1], log_var[:1]).repeat(9, 1)
        values = z.new_tensor([-6, 0, 6])  # printed as {-6, 0, -6}
        z[:, 0], z[:, min(3, z.shape[1] - 1)] = values.repeat_interleave(3), values.repeat(3)  # the code's axes
        pairs = mu[: min(len(mu), 8) // 2 * 2].unflatten(0, (-1, 2))
        lines = torch.lerp(pairs[:, :1], pairs[:, 1:], torch.linspace(0, 1, 6).to(mu)[:, None])
        grids = {"variants": z.unflatten(0, (3, 3)), "transitions": lines}
        return {name: self.decode(z.flatten(0, 1)).unflatten(0, z.shape[:2]) for name, z in grids.items()}


class PatchGAN(Glorot):
    """Logits of overlapping patches: 3x3 convolutions, the first three of stride 2, with batch norm and LeakyReLU.

    Between its parts `judged` drops values, of the logits too.
    """

    def __init__(self, channels: int, hidden: Sequence[int]):
        sizes = (channels, *hidden, 1)
        parts = []
        for i, (a, b) in enumerate(pairwise(sizes)):
            # TensorFlow's "same" pads an even image on two sides alone before it is halved.
            halving = [nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(a, b, 3, 2)]
            kernel = halving if i < HALVINGS else [nn.Conv2d(a, b, 3, padding=1)]
            last = [nn.LeakyReLU(0.3)] if i + 2 < len(sizes) else []  # the slope is Keras's default
            parts.append(nn.Sequential(*kernel, nn.BatchNorm2d(b), *last))
        super().__init__(*parts)
        initialise(self, torch.default_generator)  # which the trainer seeds while it builds a method
