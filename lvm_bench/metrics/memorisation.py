"""Are samples copies of training images? Compares their nearest distances with those of real held-out images."""

import math

import torch
from jaxtyping import Float, Float64, Shaped, UInt8
from torch import Tensor

from lvm_bench.distances import row_blocks, squared_distances
from lvm_bench.metrics.arrays import Array, check_same_shape, metric, samples

_QUERIES = 2000  # rows whose nearest distances are computed; their median is known to about 1 %
_VALUES = 2**22  # numbers in a block of references


def nearest_distances(queries: Array, references: Array) -> Float64[Tensor, " n"]:
    """Euclidean distance of each query [n ...] to its nearest reference [m ...], in float64.

    UserError unless both hold finite samples of equal size.
    """
    queries = samples(queries, "queries", "nearest_distances")
    references = samples(references, "references", "nearest_distances")
    check_same_shape("nearest_distances", axis=1, queries=queries, references=references)
    return _nearest(queries, references.to(queries.device))


def _nearest(queries: Shaped[Tensor, "n d"], references: Shaped[Tensor, "m d"]) -> Float64[Tensor, " n"]:
    """Euclidean distance of each query to the reference that a Gram matrix finds nearest, from their difference."""
    # Relative to a reference, so that an offset costs no digits and pixels stay whole numbers.
    origin = references[0].double()
    centred, exact = queries.double() - origin, queries.double()
    least, index = torch.full_like(centred[:, 0], math.inf), torch.zeros(len(queries), dtype=torch.int64)
    index = index.to(queries.device)
    for rows in row_blocks(len(references), max(queries.shape), _VALUES):
        found = squared_distances(centred, references[rows].double() - origin).min(1)
        index = torch.where(found.values < least, found.indices + rows.start, index)
        least = torch.minimum(least, found.values)
    blocks = row_blocks(len(queries), queries.shape[1], _VALUES)
    return torch.cat([(exact[rows] - references[index[rows]].double()).norm(dim=1) for rows in blocks])


def nearest_ratio(training: Array, heldout: Array, fake: Array) -> float:
    """Median nearest distance of fakes to training rows over that of held-out rows, from the first 2,000 of each.

    UserError unless all hold finite samples of equal size.
    """
    sets = {"training": training, "heldout": heldout, "fake": fake}
    known, real, ours = (samples(values, name, "nearest_ratio") for name, values in sets.items())
    check_same_shape("nearest_ratio", axis=1, training=known, heldout=real)
    check_same_shape("nearest_ratio", axis=1, training=known, fake=ours)
    known = known.to(ours.device)
    asked, natural = (float(_nearest(rows[:_QUERIES], known).median()) for rows in (ours, real.to(ours.device)))
    return asked / natural if natural else (1.0 if asked == 0 else math.inf)


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


@metric("memorisation_features", better="none", of=("fake",), version=2)
def memorisation_features(
    reference_features: Float[Array, "m d"], heldout_features: Float[Array, "n d"], fake_features: Float[Array, "k d"]
) -> float:
    """The ratio of `memorisation` in the feature space; 0 for copies, 1 as for real images (arXiv:2004.05675)."""
    return nearest_ratio(reference_features, heldout_features, fake_features)
