"""Can a model tell images of another data set from its own, by their reconstructions or by their codes?"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lvm_bench.metrics.arrays import Array, check_same_shape, images, is_nonzero, matrix, metric, tensor

_CHUNK = 1000


def auroc(known: Array, novel: Array) -> float:
    """Probability that a novel score exceeds a known one; ties count half. 0.5 is chance, 1 is perfect."""
    from scipy.stats import rankdata

    known, novel = tensor(known).double().cpu().numpy(), tensor(novel).double().cpu().numpy()
    n, m = len(known), len(novel)
    above = rankdata([*known, *novel])[n:].sum() - m * (m + 1) / 2
    return float(above / (n * m))


def _squared_errors(real: Array, recon: Array) -> Float64[Tensor, " n"]:
    """The sum of squared errors of each image."""
    real, recon = images(real, "real", "ood_reconstruction"), images(recon, "recon", "ood_reconstruction")
    check_same_shape(real, recon, "recon", "ood_reconstruction")
    pairs = zip(real.split(_CHUNK), recon.split(_CHUNK), strict=True)
    return torch.cat([(x.double() - y.double()).square().flatten(1).sum(1) for x, y in pairs])


@metric("ood_reconstruction", better="higher", of=("heldout",))
def ood_reconstruction(
    real: Float[Array, "n c h w"],
    recon: Float[Array, "n c h w"],
    novel: Float[Array, "m c h w"],
    novel_recon: Float[Array, "m c h w"],
) -> float:
    """AUROC of the squared error, another data set over held-out; 0.5 chance, higher is better (arXiv:1812.02765)."""
    return auroc(_squared_errors(real, recon), _squared_errors(novel, novel_recon))


def mahalanobis(fit: Float[Array, "n l"], at: Float[Array, "m l"]) -> Float64[Tensor, " m"]:
    """Squared Mahalanobis distance to the Gaussian fit of codes (n - 1), in the directions that have variance."""
    codes, rows = matrix(fit, "fit", "mahalanobis"), matrix(at, "at", "mahalanobis", 1)
    check_same_shape(codes, rows, "at", "mahalanobis", axis=1)
    spectrum, axes = torch.linalg.eigh(torch.atleast_2d(codes.T.cov()))
    alive = is_nonzero(spectrum)
    return (((rows - codes.mean(0)) @ axes[:, alive]).square() / spectrum[alive]).sum(1)


@metric("ood_density", better="higher", of=("mean",))
def ood_density(
    train_codes: Float[Array, "n l"], codes: Float[Array, "m l"], novel_codes: Float[Array, "k l"]
) -> float:
    """AUROC of the codes' rarity, another data set over held-out; 0.5 chance, higher is better (arXiv:1812.02765).

    Rarity is the Mahalanobis distance to the Gaussian fit of the training codes.
    """
    return auroc(mahalanobis(train_codes, codes), mahalanobis(train_codes, novel_codes))
