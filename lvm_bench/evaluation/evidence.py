"""The evidence that metrics may ask for, each piece computed once. `of_model` and `of_controls` add codes."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor

from lvm_bench.data.images import Data, Grid
from lvm_bench.evaluation.expost.fit import ExpostSettings
from lvm_bench.evaluation.features import Extractor, cached_features
from lvm_bench.metrics.directions import latent_directions
from lvm_bench.metrics.grid import draw_factors
from lvm_bench.metrics.perceptual import Perceptual
from lvm_bench.metrics.posteriors import LogDensity
from lvm_bench.modelling.contract import resident
from lvm_bench.modelling.kde import Density
from lvm_bench.modelling.posteriors import Dense, each, is_posterior
from lvm_bench.seeding import generator


@runtime_checkable
class EvidenceSettings(ExpostSettings, Protocol):
    """The settings of a job that evidence depends on."""

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

    @property
    def importance_samples(self) -> int: ...

    @property
    def bound_images(self) -> int: ...


class Absent(Exception):
    """This model or data set has no such evidence, so a metric that asks for it does not apply.

    Its text is what the method lacks. It has none for what no method of the data set has, and what tables say already.
    """


class Evidence:
    """The evidence of one run. `PROVIDED` computes the value of each parameter that a metric may have."""

    def __init__(
        self,
        data: Data,
        extractor: Extractor | None,
        settings: EvidenceSettings,
        seed: int,
        device: str,
        perceptual: Perceptual | None = None,
    ):
        self.data, self.settings, self.seed, self.device = data, settings, seed, device
        self._extractor, self._perceptual = extractor, perceptual
        heldout = data.test if settings.protocol == "official-test" else data.validation
        self.splits = {"train": resident(data.train.pixels), "heldout": resident(heldout.pixels)}
        self._labels = {"train": data.train.labels, "heldout": heldout.labels}
        self.n = min(settings.samples, len(heldout), len(data.train))
        self.made: dict[tuple[str, str], Any] = {}
        self.absent: dict[str, str] = {}  # by metric and variant, what the method lacks for it: `score.inputs_of`

    @property
    def further_samples(self) -> tuple[str, ...]:
        """The variants of samples beside `fake` and `expost`, whose names begin with these."""
        return ()

    def once(self, kind: str, what: str, make: Callable[[], Any]) -> Any:
        """The result of `make`, computed at the first call only."""
        if (kind, what) not in self.made:
            self.made[kind, what] = make()
        return self.made[kind, what]

    def provide(self, parameter: str, variant: str) -> Any:
        """The value of a metric's parameter for one variant, arrays on the run's device; Absent when there is none."""
        value = PROVIDED[parameter](self, variant) if parameter in PROVIDED else getattr(self.settings, parameter)
        if is_posterior(value):
            return each(value, lambda field: field.to(self.device))
        return value.to(self.device) if isinstance(value, Tensor) else value

    @property
    def extractor(self) -> Extractor:
        """The feature space; Absent where no metric of the suite needs one."""
        if self._extractor is None:
            raise Absent
        return self._extractor

    def perceptual(self) -> Perceptual:
        """The network of LPIPS; Absent where no metric of the suite needs it."""
        if self._perceptual is None:
            raise Absent
        return self._perceptual

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

    def factor_sizes(self) -> Sequence[int]:
        """How many values each factor has."""
        return self.grid().sizes

    def grid_codes(self) -> Float[Tensor, "N l"]:
        """The code of every combination of factors, the last factor fastest."""
        raise Absent

    def directions(self) -> Float64[Tensor, "k l"]:
        """The latent direction of each factor, shared by every metric that needs them."""
        codes, sizes, settings = self.grid_codes(), self.factor_sizes(), self.settings
        return self.once(
            "directions",
            "grid",
            lambda: latent_directions(codes, sizes, settings.votes, settings.direction_images, self.seed),
        )

    def recon(self, split: str) -> Float[Tensor, "n c h w"]:
        """Reconstructions of a split, not quantised, in [0, 1]."""
        raise Absent

    def codes(self, what: str) -> Float[Tensor, "n l"]:
        """Held-out codes: `mean`, or `sampled` from their posteriors."""
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

    def posterior(self) -> Dense:
        """q(z|x) of the held-out images; Absent for deterministic encoders, and where it has no density."""
        raise Absent

    def log_prior(self) -> LogDensity | None:
        """The log density of the prior that the method samples from; None for N(0, I), Absent where it is unknown."""
        raise Absent

    def log_weights(self) -> Float64[Tensor, "n k"]:
        """log p(x|z) p(z) / q(z|x) of codes that are drawn from the posteriors of held-out images."""
        raise Absent

    def bound_settings(self) -> dict[str, Any]:
        """What the `log_weights` are of, as protocols say it."""
        raise Absent

    def dequantised_values(self) -> int:
        """The number of values of an image; Absent where the images of `log_weights` are not dequantised."""
        raise Absent

    def target_variance(self) -> float:
        """Variance per axis of the codes' target; Absent for a method that has no such number."""
        raise Absent

    def kernel_density(self) -> Density:
        """The kernel density estimate that the method matches; Absent for a method that matches none."""
        raise Absent


PROVIDED: dict[str, Callable[[Evidence, str], Any]] = {
    "real": lambda own, variant: own.unit(own.real(variant)),
    "recon": lambda own, variant: own.recon(variant),
    "fake": lambda own, variant: own.unit(own.images(variant)),
    "fake_pixels": lambda own, variant: own.images(variant),
    "training_pixels": lambda own, _: own.splits["train"],
    "heldout_pixels": lambda own, _: own.images("real"),
    "reference_features": lambda own, _: own.reference_features(),
    "real_features": lambda own, _: own.reference_features()[: own.n],
    "heldout_features": lambda own, _: own.features("real"),
    "fake_features": lambda own, variant: own.features(variant),
    "codes": lambda own, variant: own.codes(variant),
    "train_codes": lambda own, _: own.train_codes(),
    "prior_codes": lambda own, _: own.prior_codes(),
    "posterior": lambda own, _: own.posterior(),
    "log_prior": lambda own, _: own.log_prior(),
    "log_weights": lambda own, _: own.log_weights(),
    "dequantised_values": lambda own, _: own.dequantised_values(),
    "target_variance": lambda own, _: own.target_variance(),
    "kernel_density": lambda own, _: own.kernel_density(),
    "perceptual": lambda own, _: own.perceptual(),
    "train_labels": lambda own, _: own.labels("train"),
    "labels": lambda own, _: own.labels("heldout"),
    "novel": lambda own, _: own.unit(own.novel()),
    "novel_recon": lambda own, _: own.novel_recon(),
    "novel_codes": lambda own, _: own.novel_codes(),
    "grid_codes": lambda own, _: own.grid_codes(),
    "factor_sizes": lambda own, _: own.factor_sizes(),
    "directions": lambda own, _: own.directions(),
    "seed": lambda own, _: own.seed,
    "once": lambda own, _: own.once,
}  # by the parameter's name, from the evidence and the variant; a setting of `asked.SETTINGS` is itself
