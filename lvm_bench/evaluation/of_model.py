"""Evidence of a trained model: its codes, and the images that it decodes."""

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from lvm_bench.evaluation.bounds import Observed, log_weights, observed, proposal
from lvm_bench.evaluation.evidence import Absent, Evidence
from lvm_bench.evaluation.expost.fit import Fitting, drawn_codes
from lvm_bench.metrics.posteriors import LogDensity
from lvm_bench.modelling.contract import Method, codes_of, posterior_of, resident
from lvm_bench.modelling.kde import Density
from lvm_bench.modelling.posteriors import Dense, Posterior, each, is_dense, joined
from lvm_bench.seeding import derive, generator
from lvm_bench.suites.job import MOST_CODES
from lvm_bench.suites.labels import LIKELIHOODS
from lvm_bench.training.batches import encode
from lvm_bench.training.checkpoint import Checkpoints

TRAVERSAL = 11  # images along a direction: the middle one is that of the real code

PATH = 11  # images from one held-out code to another

NO_POSTERIOR = "the encoder gives codes and no posterior"


class ModelEvidence(Evidence):
    """Evidence of a trained model."""

    def __init__(self, method: Method, *context: Any, checkpoints: Checkpoints | None = None):
        super().__init__(*context)
        self.method, self.checkpoints = method.eval(), checkpoints

    def images(self, what: str) -> UInt8[Tensor, "n c h w"]:
        if what in ("real", "recon"):
            return super().images(what) if what == "real" else self.quantise(self.recon("heldout"))
        makers = {"fake": self.prior_codes, "expost": self._expost_codes, "interpolated": self._midpoints}
        makers |= {f"fake-{name}": partial(self._sampled_codes, name) for name in self._further_samplers}
        makers |= {f"expost-{name}": partial(self._fitted_codes, name) for name in self.settings.expost}
        if what not in makers:
            raise Absent
        return self.once("images", what, lambda: self.quantise(self.decode(makers[what]())))

    def quantise(self, images: Float[Tensor, "n c h w"]) -> UInt8[Tensor, "n c h w"]:
        """Pixels in [0, 1] as uint8: rounded, or truncated as the paper's own scripts do."""
        scaled = images.clamp(0, 1) * 255
        return (scaled if self.settings.protocol == "avae-paper" else scaled.round()).to(torch.uint8)

    @torch.no_grad()
    def decode(self, z: Float[Tensor, "n l"], size: int = 500) -> Float[Tensor, "n c h w"]:
        """Decoded images in [0, 1], on the CPU."""
        low, high = self.method.spec.value_range
        return torch.cat(
            [((self.method.decode(chunk.to(self.device)) - low) / (high - low)).cpu() for chunk in z.split(size)]
        )

    def recon(self, split: str) -> Float[Tensor, "n c h w"]:
        return self.once("recon", split, lambda: self.decode(self.split_codes(split)[: len(self.real(split))]))

    def grid_codes(self) -> Float[Tensor, "N l"]:
        return self.once("codes", "whole grid", self._grid_codes)

    def _grid_codes(self) -> Float[Tensor, "N l"]:
        grid = self.grid()
        in_order = encode(self.method, resident(grid.pixels)).cpu()
        return torch.empty_like(in_order).index_copy_(0, torch.from_numpy(grid.order), in_order)

    def traversal(self) -> UInt8[Tensor, "k t c h w"]:
        """One real image's code moved along each direction, from -s to s in equal steps.

        s^2 is the target variance, or the mean variance of the codes where there is none.
        """
        z = self.split_codes("heldout")[:1].double()
        own = self._target_variance()
        scale = self.split_codes("heldout").double().var(0).mean() if own is None else own
        steps = torch.linspace(-1, 1, TRAVERSAL, dtype=torch.float64) * scale**0.5
        paths = z + steps[:, None] * self.directions()[:, None]
        shape = (len(paths), TRAVERSAL, *self.method.spec.shape)
        return self.quantise(self.decode(paths.flatten(0, 1).float())).reshape(shape)

    def path(self) -> UInt8[Tensor, "t c h w"]:
        """Images along the spherical path between the codes of two held-out images drawn by the seed."""
        z = self.split_codes("heldout")
        a, b = z[torch.randperm(len(z), generator=generator(self.seed, "path"))[:2]]
        steps = torch.linspace(0, 1, PATH, dtype=torch.float64)[:, None]
        return self.quantise(self.decode(slerp(a.expand(PATH, -1), b.expand(PATH, -1), steps)))

    def aggregate(self) -> dict[str, np.ndarray]:
        """The arrays of q(z) that figures show: first held-out codes, eigenvalues of the covariance, target variance.

        The covariance is that of all held-out codes; of posteriors that of their means plus their mean variance. Its
        eigenvalues descend. The target variance is NaN where there is none. {} unless there are two finite codes.
        """
        codes = self.codes("mean")
        posterior = self.once("posterior", "heldout", self._posterior)
        means = codes if posterior is None else posterior.mean
        if len(codes) < 2 or not (codes.isfinite().all() and means.isfinite().all()):
            return {}
        l = codes.shape[1]
        covariance = means.double().T.cov().reshape(l, l)
        if posterior is not None:
            covariance += each(posterior, Tensor.double).variance.mean(0).diag()
        return {
            "codes": codes[:MOST_CODES].float().numpy(),
            "spectrum": torch.linalg.eigvalsh(covariance).clamp(min=0).flip(0).numpy(),
            "target_variance": np.float64(self._target_variance() or math.nan),
        }

    def split_codes(self, split: str) -> Float[Tensor, "n l"]:
        """Codes of a split's images: all of the training split (for ex-post fits), n of the held-out one."""
        images = self.splits[split] if split == "train" else self.real(split)
        return self.once("codes", split, lambda: encode(self.method, images).cpu())

    def codes(self, what: str) -> Float[Tensor, "n l"]:
        if what == "mean":
            return self.split_codes("heldout")
        if what != "sampled":
            raise Absent
        stream = generator(self.seed, "posterior")
        if (posterior := self.once("posterior", "heldout", self._posterior)) is None:
            raise Absent(NO_POSTERIOR)
        return posterior.sample(lambda make: make(stream))

    def train_codes(self) -> Float[Tensor, "N l"]:
        return self.split_codes("train")

    def novel_codes(self) -> Float[Tensor, "m l"]:
        images = self.novel()
        return self.once("codes", "novel", lambda: encode(self.method, images).cpu())

    def novel_recon(self) -> Float[Tensor, "m c h w"]:
        return self.decode(self.novel_codes())

    def posterior(self) -> Dense:
        found = self.once("posterior", "heldout", self._posterior)
        if not is_dense(found):
            raise Absent(NO_POSTERIOR if found is None else "the posterior has no density")
        return found

    @torch.no_grad()
    def _posterior(self, split: str = "heldout") -> Posterior | None:
        """The posteriors of a split's images on the CPU; None for a deterministic encoder."""
        low, high = self.method.spec.value_range
        images = self.splits[split] if split == "train" else self.real(split)
        batches = (self.unit(part).mul(high - low).add(low) for part in images.split(500))
        parts = (posterior_of(self.method, x.to(self.device)) for x in batches)
        known = [each(part, Tensor.cpu) for part in parts if part is not None]
        return joined(known) if known else None

    def log_prior(self) -> LogDensity | None:
        self._require_samples()
        method, device = self.method, self.device
        if type(method).prior is Method.prior and type(method).log_prior is Method.log_prior:
            return None

        @torch.no_grad()
        def log_prior(z: Float[Tensor, "b l"]) -> Float[Tensor, " b"]:
            found = method.log_prior(z.to(device, torch.float32))
            if found is None:
                raise Absent("the density of the prior is unknown")
            return found.double().to(z.device)

        log_prior(torch.zeros(1, method.spec.latent))
        return log_prior

    def observed(self) -> Observed:
        """The first held-out images, as log p(x|z) takes them."""
        pixels = self.real("heldout")[: self.settings.bound_images]
        return self.once("observed", "heldout", lambda: observed(self.method, pixels, self.seed, self.device))

    def log_weights(self) -> Float64[Tensor, "n k"]:
        posterior = proposal(self.method, self.once("posterior", "heldout", self._posterior))
        images, k = self.observed(), self.settings.importance_samples
        first = each(posterior, lambda field: field[: len(images.x)])
        return self.once("log weights", "heldout", lambda: log_weights(self.method, images, first, k, self.seed))

    def bound_settings(self) -> dict[str, Any]:
        images = self.observed()
        likelihood = self.method.worked_out.get("likelihood") or LIKELIHOODS[self.method.spec.likelihood]
        return {
            "K": self.settings.importance_samples,
            "images": f"the first {len(images.x):,}, {'dequantised' if images.dequantised else 'in black and white'}",
            "p(x|z)": likelihood,
        }

    def dequantised_values(self) -> int:
        images = self.observed()
        if not images.dequantised:
            raise Absent("its images are in black and white, of which log p(x) is a probability, and not dequantised")
        return images.x[0].numel()

    def target_variance(self) -> float:
        self._require_samples()
        if (found := self._target_variance()) is None:
            raise Absent("the target of the codes is no N(0, v I)")
        return found

    def _target_variance(self) -> float | None:
        told = None if self.method.cannot_sample else self.method.target_variance
        return None if told is None else float(told)

    def kernel_density(self) -> Density:
        if (own := self.method.kernel_density) is None:
            raise Absent("no kernel density estimate is matched")
        codes = self.train_codes()
        stream = generator(0, "kernel density")  # other draws of an evaluation keep it
        return replace(own, centres=codes[torch.randperm(len(codes), generator=stream)[: len(own.centres)]])

    def _require_samples(self) -> None:
        """Absent for a method that has no codes to sample from."""
        if self.method.cannot_sample:
            raise Absent

    def prior_codes(self) -> Float[Tensor, "n l"]:
        """n codes that the method's prior draws; samples are decoded from them."""
        self._require_samples()
        return self._sampled_codes(self.method.samplers[0])

    @property
    def further_samples(self) -> tuple[str, ...]:
        own = (f"fake-{name}" for name in self._further_samplers)
        return (*own, *(f"expost-{name}" for name in self.settings.expost))

    @property
    def _further_samplers(self) -> tuple[str, ...]:
        return () if self.method.cannot_sample else self.method.samplers[1:]

    def _sampled_codes(self, sampler: str) -> Float[Tensor, "n l"]:
        """n codes that one of the method's samplers draws."""
        return self.once("codes", f"of {sampler}", lambda: self._drawn_codes(sampler))

    def _drawn_codes(self, sampler: str) -> Float[Tensor, "n l"]:
        self.method.generator.manual_seed(derive(self.seed, "samples"))
        return codes_of(self.method, sampler, self.n).cpu()

    def _expost_codes(self) -> Float[Tensor, "n l"]:
        """Draws from a full Gaussian fitted to the training codes: the same correction for every method."""
        codes = self.split_codes("train").double()
        values, vectors = torch.linalg.eigh(codes.T.cov())
        root = vectors * values.clamp(min=0).sqrt()
        noise = torch.randn(self.n, codes.shape[1], generator=generator(self.seed, "ex post"), dtype=torch.float64)
        return (codes.mean(0) + noise @ root.T).float()

    def _fitted_codes(self, sampler: str) -> Float[Tensor, "n l"]:
        """n draws from an ex-post sampler that a suite names."""
        stream = generator(self.seed, "ex post", sampler)
        codes, kept = self.split_codes("train"), self.checkpoints
        fitting = Fitting(codes, self._fresh_codes, self.settings, stream, self.device, kept)
        return self.once("codes", f"ex post {sampler}", partial(drawn_codes, sampler, self.n, fitting))

    def _fresh_codes(self, stream: torch.Generator) -> Float[Tensor, "n l"]:
        """The codes of all training images, drawn anew from their posteriors if they have any."""
        posterior = self.once("posterior", "train", partial(self._posterior, "train"))
        return self.split_codes("train") if posterior is None else posterior.sample(lambda make: make(stream))

    def _midpoints(self) -> Float[Tensor, "n l"]:
        """Spherical midpoints of n random pairs of held-out codes, each code used exactly twice."""
        z = self.split_codes("heldout")
        order = torch.randperm(2 * len(z), generator=generator(self.seed, "interpolation")) % len(z)
        return spherical_midpoint(z[order[: len(z)]], z[order[len(z) :]])


def spherical_midpoint(a: Float[Tensor, "n l"], b: Float[Tensor, "n l"]) -> Float[Tensor, "n l"]:
    """slerp(a, b, 1/2): the middle of the arc from each a to its b."""
    return slerp(a, b, torch.full((1, 1), 0.5, dtype=torch.float64))


def slerp(a: Float[Tensor, "n l"], b: Float[Tensor, "n l"], t: Float64[Tensor, "#n 1"]) -> Float[Tensor, "n l"]:
    """(sin((1 - t)w) a + sin(tw) b) / sin w, w the angle between a and b; linear where sin w = 0."""
    a_, b_ = a.double(), b.double()
    w = torch.nn.functional.cosine_similarity(a_, b_, dim=1).clamp(-1, 1).arccos()[:, None]
    sine, bent = w.sin().clamp(min=1e-6), w.sin() > 1e-6
    from_a = torch.where(bent, ((1 - t) * w).sin() / sine, 1 - t)
    from_b = torch.where(bent, (t * w).sin() / sine, t)
    return (from_a * a_ + from_b * b_).to(a.dtype)
