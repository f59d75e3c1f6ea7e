"""The parameters that a metric may have. `evaluation.evidence` provides the value of each."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from lvm_bench.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Asked:
    """The meaning of a parameter, and the variants `of` a metric for which it has a value: any variant if empty."""

    meaning: str
    of: tuple[str, ...] = ()


_SPLITS = ("train", "heldout", "grid")

_IMAGES = ("real", "recon", "interpolated", "fake", "expost")

_CODES = ("mean", "sampled")

EVIDENCE = {
    "real": Asked("real images of the split that the variant names, float32 [n c h w] in [0, 1]", _SPLITS),
    "recon": Asked("their reconstructions, not quantised, in [0, 1]", _SPLITS),
    "fake": Asked("the images that the variant names, quantised as files are, float32 [n c h w] in [0, 1]", _IMAGES),
    "fake_pixels": Asked("the same as uint8", _IMAGES),
    "training_pixels": Asked("all training images, uint8 [N c h w]"),
    "heldout_pixels": Asked("held-out images, uint8 [n c h w]"),
    "reference_features": Asked("features of all training images [N d]"),
    "real_features": Asked("features of n training images [n d]"),
    "heldout_features": Asked("features of the held-out images [n d]"),
    "fake_features": Asked("features of the images that the variant names [n d]", _IMAGES),
    "codes": Asked("held-out codes [n l]: means, or draws from their posteriors", _CODES),
    "train_codes": Asked("the codes of all training images [N l]"),
    "prior_codes": Asked("n draws from what the method samples codes from [n l]"),
    "posterior": Asked("q(z|x) of the held-out images, see `lvm_bench.posteriors`; a Gaussian is (mu, log_var)"),
    "log_prior": Asked("the log density of the prior: a function of codes [b l], or None for N(0, I)"),
    "log_weights": Asked(
        "log p(x|z) p(z) / q(z|x) of `importance_samples` codes z of each of the first `bound_images` held-out images, "
        "drawn from q(z|x) [n k]"
    ),
    "dequantised_values": Asked("how many values an image has, where these images are dequantised"),
    "target_variance": Asked("the variance per axis of the codes' target"),
    "kernel_density": Asked(
        "the kernel density estimate that the method matches, on as many training codes as it has centres"
    ),
    "perceptual": Asked("the network of LPIPS with its weights, see `metrics.perceptual`"),
    "train_labels": Asked("the labels of all training images [N]"),
    "labels": Asked("the labels of the held-out images [n]"),
    "novel": Asked("images of another data set of equal shape, float32 [m c h w] in [0, 1]"),
    "novel_recon": Asked("their reconstructions, not quantised"),
    "novel_codes": Asked("their codes [m l]"),
    "grid_codes": Asked("the codes of every combination of factors [N l], the last factor fastest"),
    "factor_sizes": Asked("how many values each factor has"),
    "directions": Asked("the latent direction of each factor [k l], by Algorithm 2 of the AVAE paper"),
    "seed": Asked("the seed of the random draws of this evaluation"),
    "once": Asked("`once(kind, what, make)`: the result of `make`, shared by the metrics of a run"),
}

SETTINGS = {
    "samples": "images or draws, at most",
    "neighbours": "k of the k-NN measures",
    "kid_subsets": "subsets of KID",
    "kid_subset_size": "images of a subset",
    "sap_samples": "images of SAP and of the explicitness",
    "dci_samples": "images of DCI",
    "votes": "votes of the FactorVAE score",
    "direction_images": "images of a draw of Algorithm 2",
}  # of the evaluation, which a metric may ask for too


def check_asked(metric: str, function: Callable[..., object], of: tuple[str, ...]) -> None:
    """UserError when a metric asks for what no evidence provides, or for a variant that its evidence does not have."""
    for parameter in inspect.signature(function).parameters:
        if parameter not in EVIDENCE and parameter not in SETTINGS:
            raise UserError(
                f"the metric {metric!r} asks for {parameter!r}, which no evidence provides."
                f"{did_you_mean(parameter, {*EVIDENCE, *SETTINGS})}"
            )
        valid = EVIDENCE[parameter].of if parameter in EVIDENCE else ()
        for variant in of:
            if valid and variant not in valid:
                raise UserError(
                    f"the metric {metric!r} is of {variant!r}, and {parameter!r} has no such variant."
                    f"{did_you_mean(variant, valid)}"
                )
