"""Are samples copies of training images? Compares their nearest distances with those of real held-out images."""

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lvm_bench.distances import row_blocks, squared_distances
from lvm_bench.metrics.arrays import Array, check_same_shape, metric, tensor

_QUERIES = 2000  # rows whose nearest distances are computed; their median is known to about 1 %
_VALUES = 2**22  # numbers in a block of references


def nearest_distances(queries: Array, references: Array) -> Tensor:
    """Euclidean distance of each query [n ...] to its nearest reference [m ...], in float64."""
    queries, references = tensor(queries).flatten(1).double(), tensor(references).flatten(1)
    check_same_shape(references, queries, "queries", "nearest_distances", axis=1)
    least = torch.full_like(queries[:, 0], math.inf)
    for rows in row_blocks(len(references), max(queries.shape), _VALUES):
        least = torch.minimum(least, squared_distances(queries, references[rows].double()).amin(1))
    return least.sqrt()


def nearest_ratio(training: Array, heldout: Array, fake: Array) -> float:
    """Median nearest distance of fakes to training rows over that of held-out rows, from the first 2,000 of each."""
    ours, real = (float(nearest_distances(rows[:_QUERIES], training).median()) for rows in (fake, heldout))
    return ours / real if real else (1.0 if ours == 0 else math.inf)


@metric("memorisation", better="none", of=("fake",))
def memorisation(
    training_pixels: UInt8[Array, "m c h w"],
    heldout_pixels: UInt8[Array, "n c h w"],
    fake_pixels: UInt8[Array, "k c h w"],
) -> float:
    """Pixel distance of samples to the nearest training image over held-out images'; 1 is as real (arXiv:2004.05675).

    The ratio of medians. Below 1 samples are nearer than real images: they are copies (0) or blurred.
    """
    return nearest_ratio(training_pixels, heldout_pixels, fake_pixels)


@metric("memorisation_features", better="none", of=("fake",))
def memorisation_features(
    reference_features: Float[Array, "m d"], heldout_features: Float[Array, "n d"], fake_features: Float[Array, "k d"]
) -> float:
    """The ratio of `memorisation` in the feature space; 0 for copies, 1 as for real images (arXiv:2004.05675)."""
    return nearest_ratio(reference_features, heldout_features, fake_features)
