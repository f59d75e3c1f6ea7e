"""Evidence of sets of images on disk, without a model: real images, samples, reconstructions of the real images."""

from typing import Any

from jaxtyping import Float, UInt8
from torch import Tensor

from lvm_bench.data.image_set import ImageSet
from lvm_bench.data.images import Data
from lvm_bench.evaluation.evidence import Absent, Evidence, EvidenceSettings
from lvm_bench.evaluation.features import Extractor
from lvm_bench.metrics.perceptual import Perceptual
from lvm_bench.modelling.contract import resident

SEED = 0

_OF_MADE = {"fake", "fake_pixels", "fake_features"}  # of the images that the variant names
_OF_TRAINING = {"reference_features", "real_features", "training_pixels", "train_labels"}
_OF_HELDOUT = {"heldout_features", "heldout_pixels", "labels"}


class ImageSets(Evidence):
    """Evidence of sets of images. Beside samples real images are the reference, as training images are in a suite.

    Beside reconstructions they are the originals, as held-out images are.
    """

    def __init__(
        self,
        real: ImageSet,
        made: dict[str, ImageSet],
        extractor: Extractor | None,
        settings: EvidenceSettings,
        device: str,
        perceptual: Perceptual | None = None,
    ):
        everything, nothing = real.images, real.images.take(slice(0))
        data = Data(str(real.place), everything, nothing, everything, (0, 1), real.fingerprint)
        super().__init__(data, extractor, settings, SEED, device, perceptual)
        self._sets = {"real": resident(real.images.pixels)}
        self._sets |= {name: resident(own.images.pixels) for name, own in made.items()}
        self.n = min(len(real), len(made.get("fake", real)))

    def provide(self, parameter: str, variant: str) -> Any:
        self.require(parameter, variant)
        return super().provide(parameter, variant)

    def require(self, parameter: str, variant: str) -> None:
        """Absent, with the reason, where these sets do not give a parameter for a variant; computes nothing."""
        pairs = parameter in ("real", "recon")
        if pairs and variant != "heldout":
            raise Absent(f"there are no {variant} images")
        needed = "recon" if pairs else variant if parameter in _OF_MADE else "real"
        if needed not in self._sets:
            known = needed in ("fake", "recon")
            raise Absent(f"--{needed} is not given" if known else f"there are no {needed} images")
        if parameter in _OF_TRAINING and variant != "fake":
            raise Absent("the images of --real are the originals, and no training images are known")
        if parameter in _OF_HELDOUT and variant == "fake":
            raise Absent("the images of --real are the reference, and no held-out ones are known")

    def real(self, split: str) -> UInt8[Tensor, "n c h w"]:
        return self._sets["real"]

    def images(self, what: str) -> UInt8[Tensor, "n c h w"]:
        return self._sets[what]

    def recon(self, split: str) -> Float[Tensor, "n c h w"]:
        return self.unit(self._sets["recon"])
