"""What metrics may ask for of a run, each computed once."""

import math
from collections.abc import Callable
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor

from lvm_bench.data.images import Data, Grid
from lvm_bench.evaluation.features import Extractor, cached_features
from lvm_bench.metrics.directions import latent_directions
from lvm_bench.metrics.grid import draw_factors
from lvm_bench.modelling.contract import Method, resident
from lvm_bench.runs.layout import MOST_CODES
from lvm_bench.seeding import derive, generator
from lvm_bench.training.batches import encode

TRAVERSAL = 11  # images along a direction: the middle one is that of the real code

PATH = 11  # images from one held-out code to another


@runtime_checkable
class Settings(Protocol):
    """What the evaluation reads of a job's settings."""

    @property
    def protocol(self) -> str: ...

    @property
    def metrics(self) -> list[str] | Literal["all"]: ...

    @property
    def samples(self) -> int: ...

    @property
    def votes(self) -> int: ...

    @property
    def direction_images(self) -> int: ...


class Absent(Exception):
    """This model or data set has no such evidence, so a metric that asks for it does not apply."""


class Evidence:
    """What metrics may ask for of one run. A metric's parameter names say what it needs (see `provide`)."""

    def __init__(self, data: Data, extractor: Extractor | None, settings: Settings, seed: int, device: str):
        self.data, self.settings, self.seed, self.device = data, settings, seed, device
        self._extractor = extractor
        heldout = data.validation if settings.protocol == "avae-paper" else data.test
        self.splits = {"train": resident(data.train.pixels), "heldout": resident(heldout.pixels)}
        self._labels = {"train": data.train.labels, "heldout": heldout.labels}
        self.n = min(settings.samples, len(heldout), len(data.train))
        self.made: dict[tuple[str, str], Any] = {}

    def once(self, kind: str, what: str, make: Callable[[], Any]) -> Any:
        """The result of `make`, computed at the first call only."""
        if (kind, what) not in self.made:
            self.made[kind, what] = make()
        return self.made[kind, what]

    def provide(self, parameter: str, variant: str) -> Any:
        """The value of a metric's parameter for one variant, arrays on the run's device; Absent when it has none."""
        value = self._value(parameter, variant)
        arrays = value if isinstance(value, tuple) else (value,)
        moved = tuple(each.to(self.device) if isinstance(each, Tensor) else each for each in arrays)
        return moved if isinstance(value, tuple) else moved[0]

    def _value(self, parameter: str, variant: str) -> Any:
        match parameter:
            case "real":
                return self.unit(self.real(variant))
            case "recon":
                return self.recon(variant)
            case "fake":
                return self.unit(self.images(variant))
            case "reference_features":
                return self.reference_features()
            case "real_features":
                return self.reference_features()[: self.n]
            case "fake_features":
                return self.features(variant)
            case "heldout_features":
                return self.features("real")
            case "training_pixels":
                return self.splits["train"]
            case "heldout_pixels":
                return self.images("real")
            case "fake_pixels":
                return self.images(variant)
            case "codes":
                return self.codes(variant)
            case "train_codes":
                return self.train_codes()
            case "prior_codes":
                return self.prior_codes()
            case "train_labels":
                return self.labels("train")
            case "labels":
                return self.labels("heldout")
            case "novel":
                return self.unit(self.novel())
            case "novel_recon":
                return self.novel_recon()
            case "novel_codes":
                return self.novel_codes()
            case "posterior":
                return self.posterior()
            case "target_variance":
                return self.target_variance()
            case "grid_codes":
                return self.grid_codes()
            case "factor_sizes":
                return self.grid().sizes
            case "directions":
                return self.directions()
            case "seed":
                return self.seed
            case "once":
                return self.once
        return getattr(self.settings, parameter)

    @property
    def extractor(self) -> Extractor:
        """The feature space; Absent where no metric of the suite needs one."""
        if self._extractor is None:
            raise Absent
        return self._extractor

    def real(self, split: str) -> UInt8[Tensor, "n c h w"]:
        """The first n images of a split, or some drawn from the whole grid."""
        return self.once("drawn", "grid", self._drawn) if split == "grid" else self.splits[split][: self.n]

    def _drawn(self) -> UInt8[Tensor, "n c h w"]:
        grid, stream = self.grid(), generator(self.seed, "grid images")
        return resident(grid.at(draw_factors(grid.sizes, self.settings.samples, stream).numpy()))

    def unit(self, images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Pixels as float32 in [0, 1]."""
        return images.float() / 255

    def reference_features(self) -> Float[Tensor, "N d"]:
        """Features of all training images: the reference of every distance between image sets."""
        return self.once(
            "features",
            "reference",
            lambda: cached_features(self.extractor, self.splits["train"], self.data.fingerprint),
        )

    def features(self, what: str) -> Float[Tensor, "n d"]:
        """Features of one set of made images."""
        return self.once("features", what, lambda: self.extractor.features(self.images(what)))

    def images(self, what: str) -> UInt8[Tensor, "n c h w"]:
        """One set of images as uint8."""
        if what == "real":
            return self.real("heldout")
        raise Absent

    def novel(self) -> UInt8[Tensor, "m c h w"]:
        """The first n test images of the data set that is novel to this one."""
        if self.data.novel is None:
            raise Absent
        return resident(self.data.novel.pixels[: self.n])

    def labels(self, split: str) -> Int64[Tensor, " n"]:
        """The labels of a split's images, of two classes at least: all of the training split, n of the held-out one."""
        learned, known = self._labels["train"], self._labels[split]
        if learned is None or known is None or len(np.unique(learned[: self.n])) < 2:
            raise Absent
        return torch.from_numpy(known if split == "train" else known[: self.n])

    def grid(self) -> Grid:
        """The data set's images by their factors."""
        if self.data.grid is None:
            raise Absent
        return self.data.grid

    def grid_codes(self) -> Float[Tensor, "N l"]:
        """The code of every combination of factors, the last factor fastest."""
        raise Absent

    def directions(self) -> Float64[Tensor, "k l"]:
        """The latent direction of each factor, shared by every metric that needs them."""
        codes, sizes, settings = self.grid_codes(), self.grid().sizes, self.settings
        return self.once(
            "directions",
            "grid",
            lambda: latent_directions(codes, sizes, settings.votes, settings.direction_images, self.seed),
        )

    def recon(self, split: str) -> Float[Tensor, "n c h w"]:
        """Reconstructions of a split, not quantised, in [0, 1]."""
        raise Absent

    def codes(self, what: str) -> Float[Tensor, "n l"]:
        """Held-out codes: `mean`, or `sampled` from a Gaussian posterior."""
        raise Absent

    def train_codes(self) -> Float[Tensor, "N l"]:
        """The codes of all training images: z, or posterior means."""
        raise Absent

    def prior_codes(self) -> Float[Tensor, "n l"]:
        """n draws from what the method samples codes from."""
        raise Absent

    def novel_codes(self) -> Float[Tensor, "m l"]:
        """The codes of the novel images."""
        raise Absent

    def novel_recon(self) -> Float[Tensor, "m c h w"]:
        """Reconstructions of the novel images, not quantised, in [0, 1]."""
        raise Absent

    def posterior(self) -> tuple[Float[Tensor, "n l"], Float[Tensor, "n l"]]:
        """(mu, log_var) of the held-out images, for Gaussian encoders."""
        raise Absent

    def target_variance(self) -> float:
        """Variance per axis of the codes' target."""
        raise Absent


class ModelEvidence(Evidence):
    """Evidence of a trained model."""

    def __init__(self, method: Method, *context: Any):
        super().__init__(*context)
        self.method = method.eval()

    def images(self, what: str) -> UInt8[Tensor, "n c h w"]:
        if what in ("real", "recon"):
            return super().images(what) if what == "real" else self.quantise(self.recon("heldout"))
        makers = {"fake": self.prior_codes, "expost": self._expost_codes, "interpolated": self._midpoints}
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
        """One real image's code moved along each direction, from -s to s in equal steps, s^2 = target variance."""
        z = self.split_codes("heldout")[:1].double()
        steps = torch.linspace(-1, 1, TRAVERSAL, dtype=torch.float64) * self.target_variance() ** 0.5
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
        """What figures show of q(z): the first held-out codes, the eigenvalues of the covariance of all (of a Gaussian
        encoder cov(mu) + mean exp(log_var)), descending, and the target variance, NaN where there is none.

        {} where codes are not finite, or one alone.
        """
        codes = self.codes("mean")
        means, own = (codes, None) if self.method.heads != 2 else self.posterior()
        if len(codes) < 2 or not (codes.isfinite().all() and means.isfinite().all()):
            return {}
        l = codes.shape[1]
        covariance = means.double().T.cov().reshape(l, l)
        if own is not None:
            covariance += own.double().exp().mean(0).diag()
        return {
            "codes": codes[:MOST_CODES].float().numpy(),
            "spectrum": torch.linalg.eigvalsh(covariance).clamp(min=0).flip(0).numpy(),
            "target_variance": np.float64(math.nan if self.method.cannot_sample else self.target_variance()),
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
        mu, log_var = self.posterior()
        return mu + (log_var / 2).exp() * torch.randn(mu.shape, generator=generator(self.seed, "posterior"))

    def train_codes(self) -> Float[Tensor, "N l"]:
        return self.split_codes("train")

    def novel_codes(self) -> Float[Tensor, "m l"]:
        images = self.novel()
        return self.once("codes", "novel", lambda: encode(self.method, images).cpu())

    def novel_recon(self) -> Float[Tensor, "m c h w"]:
        return self.decode(self.novel_codes())

    def posterior(self) -> tuple[Float[Tensor, "n l"], Float[Tensor, "n l"]]:
        if self.method.heads != 2:
            raise Absent
        return self.once("posterior", "heldout", self._posterior)

    @torch.no_grad()
    def _posterior(self) -> tuple[Tensor, Tensor]:
        low, high = self.method.spec.value_range
        batches = self.unit(self.real("heldout")).mul(high - low).add(low).split(500)
        pairs = [self.method.posterior(x.to(self.device)) for x in batches]
        return torch.cat([mu.cpu() for mu, _ in pairs]), torch.cat([log_var.cpu() for _, log_var in pairs])

    def target_variance(self) -> float:
        self._require_samples()
        return float(self.method.target_variance)

    def _require_samples(self) -> None:
        """Absent for a method that has no codes to sample from."""
        if self.method.cannot_sample:
            raise Absent

    def prior_codes(self) -> Float[Tensor, "n l"]:
        """Those that samples are decoded from."""
        self._require_samples()
        return self.once("codes", "prior", self._prior_codes)

    @torch.no_grad()
    def _prior_codes(self) -> Float[Tensor, "n l"]:
        self.method.generator.manual_seed(derive(self.seed, "samples"))
        return self.method.prior(self.n).cpu()

    def _expost_codes(self) -> Float[Tensor, "n l"]:
        """Draws from a full Gaussian fitted to the training codes: the same correction for every method."""
        codes = self.split_codes("train").double()
        values, vectors = torch.linalg.eigh(codes.T.cov())
        root = vectors * values.clamp(min=0).sqrt()
        noise = torch.randn(self.n, codes.shape[1], generator=generator(self.seed, "ex post"), dtype=torch.float64)
        return (codes.mean(0) + noise @ root.T).float()

    def _midpoints(self) -> Float[Tensor, "n l"]:
        """Spherical midpoints of n random pairs of held-out codes, each code used exactly twice."""
        z = self.split_codes("heldout")
        order = torch.randperm(2 * len(z), generator=generator(self.seed, "interpolation")) % len(z)
        return spherical_midpoint(z[order[: len(z)]], z[order[len(z) :]])


class RealImages(Evidence):
    """The floor of every image metric: held-out real images in the place of samples."""

    def images(self, what: str) -> UInt8[Tensor, "n c h w"]:
        if what in ("real", "fake"):
            return self.real("heldout")
        raise Absent


class StandardNormal(Evidence):
    """The floor of every latent metric: exact prior draws in the place of codes."""

    def __init__(self, latent: int, *context: Any):
        super().__init__(*context)
        self.latent = latent

    def images(self, what: str) -> UInt8[Tensor, "n c h w"]:
        raise Absent

    def codes(self, what: str) -> Float[Tensor, "n l"]:
        if what != "mean":
            raise Absent
        return torch.randn(self.n, self.latent, generator=generator(self.seed, "standard normal"))

    def train_codes(self) -> Float[Tensor, "N l"]:
        stream = generator(self.seed, "standard normal training codes")
        return torch.randn(len(self.splits["train"]), self.latent, generator=stream)

    def prior_codes(self) -> Float[Tensor, "n l"]:
        return torch.randn(self.n, self.latent, generator=generator(self.seed, "standard normal prior"))

    def grid_codes(self) -> Float[Tensor, "N l"]:
        n = len(self.grid().order)
        return torch.randn(n, self.latent, generator=generator(self.seed, "standard normal grid"))

    def target_variance(self) -> float:
        return 1.0


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
