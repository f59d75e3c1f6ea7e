"""Can a model tell images of another data set from its own, by their reconstructions or by their codes?"""

import math
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lvm_bench.metrics.arrays import (
    Array,
    centre_and_spread,
    check_same_shape,
    metric,
    scores,
    two_sets,
    unit_images,
)
from lvm_bench.metrics.latent import principal_axes

_CHUNK = 1000


def auroc(known: Array, novel: Array) -> float:
    """Probability that a novel score exceeds a known one; ties count half. 0.5 is chance, 1 is perfect.

    UserError unless both are one finite number per sample.
    """
    from scipy.stats import rankdata

    known, novel = scores(known, "known", "auroc"), scores(novel, "novel", "auroc")
    n, m = len(known), len(novel)
    above = rankdata([*known, *novel])[n:].sum() - m * (m + 1) / 2
    return float(above / (n * m))


def _squared_errors(**sets: Array) -> Float64[Tensor, " n"]:
    """The sum of squared errors of each image, between two named sets."""
    (x, x_unit), (y, y_unit) = unit_images("ood_reconstruction", **sets)
    shapes: dict[str, Any] = dict(zip(sets, (x, y), strict=True))
    check_same_shape("ood_reconstruction", None, **shapes)
    pairs = zip(x.split(_CHUNK), y.split(_CHUNK), strict=True)
    return torch.cat([(a.double() / x_unit - b.double() / y_unit).square().flatten(1).sum(1) for a, b in pairs])


@metric("ood_reconstruction", better="higher", of=("heldout",))
def ood_reconstruction(
    real: Float[Array, "n c h w"],
    recon: Float[Array, "n c h w"],
    novel: Float[Array, "m c h w"],
    novel_recon: Float[Array, "m c h w"],
) -> float:
    """AUROC of the squared error, another data set over held-out; 0.5 chance, higher is better (arXiv:1812.02765)."""
    return auroc(_squared_errors(real=real, recon=recon), _squared_errors(novel=novel, novel_recon=novel_recon))


def mahalanobis(fit: Float[Array, "n l"], at: Float[Array, "m l"]) -> Float64[Tensor, " m"]:
    """Squared Mahalanobis distance to the Gaussian fit of codes (n - 1), in the directions that have variance."""
    codes, rows = (each.double() for each in two_sets("mahalanobis", (2, 1), fit=fit, at=at))
    centre, spread = centre_and_spread(codes)
    scale = spread.where(spread > 0, math.inf)  # a constant axis becomes 0
    _, singular, axes = principal_axes((codes - centre) / scale)
    along = (rows - centre) / scale @ axes / singular
    return along.square().sum(1) * (len(codes) - 1)


@metric("ood_density", better="higher", of=("mean",))
def ood_density(
    train_codes: Float[Array, "n l"], codes: Float[Array, "m l"], novel_codes: Float[Array, "k l"]
) -> float:
    """AUROC of the codes' rarity, another data set over held-out; 0.5 chance, higher is better (arXiv:1812.02765).

    Rarity is the Mahalanobis distance to the Gaussian fit of the training codes.
    """
    return auroc(mahalanobis(train_codes, codes), mahalanobis(train_codes, novel_codes))
