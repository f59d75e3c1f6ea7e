"""Are samples copies of training images? Compares their nearest distances with those of real images."""

import math
import warnings

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Shaped, UInt8
from torch import Tensor

from lvm_bench.distances import row_blocks, squared_distances
from lvm_bench.errors import Undefined
from lvm_bench.metrics.arrays import (
    Array,
    Once,
    anew,
    check_same_shape,
    check_seed,
    metric,
    power_of_two,
    rows_of,
    samples,
    two_sets,
)
from lvm_bench.metrics.fidelity import Moments
from lvm_bench.metrics.neighbours import around, squared_radii
from lvm_bench.metrics.novelty import auroc
from lvm_bench.seeding import derive

_QUERIES = 2000  # rows whose nearest distances are computed; their median is known to about 1 %
_VALUES = 2**22  # numbers in a block of references
_AXES = 64  # principal axes of C_T, at most
_CELLS, _STARTS = 3, 10  # k-means clusters of C_T, and its starts
_FAKES = 20  # of a cell of C_T, which needs more of them


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
    index, exact = _nearest_index(queries, references), queries.double()
    blocks = row_blocks(len(queries), queries.shape[1], _VALUES)
    return torch.cat([(exact[rows] - references[index[rows]].double()).norm(dim=1) for rows in blocks])


def _nearest_index(queries: Shaped[Tensor, "n d"], references: Shaped[Tensor, "m d"]) -> Int64[Tensor, " n"]:
    """The reference that a Gram matrix finds nearest to each query."""
    # Relative to a reference, so that an offset costs no digits and pixels stay whole numbers.
    origin = references[0].double()
    centred = queries.double() - origin
    least, index = torch.full_like(centred[:, 0], math.inf), torch.zeros(len(queries), dtype=torch.int64)
    index = index.to(queries.device)
    for rows in row_blocks(len(references), max(queries.shape), _VALUES):
        found = squared_distances(centred, references[rows].double() - origin).min(1)
        index = torch.where(found.values < least, found.indices + rows.start, index)
        least = torch.minimum(least, found.values)
    return index


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


def authpct(training: Float[Array, "m d"], fake: Float[Array, "n d"], once: Once = anew) -> float:
    """Per cent of fakes that lie farther from their nearest training row than that row from its own nearest other one.

    From 0 (copies) to 100. `once` keeps the values that depend on `training` alone. Alaa et al. 2022, by the nearest
    training row of each fake. UserError for fewer than 2 training rows.
    """
    known, ours = two_sets("authpct", (2, 1), training=training, fake=fake)
    unit = power_of_two(known, ours)
    known, ours = known * unit, ours * unit

    def radii() -> Float64[Tensor, " m"]:
        rows = around(known.mean(0), known)
        return squared_radii(rows, rows, 1)

    own = once("squared radii", f"training {unit}", radii)
    index = _nearest_index(ours, known)
    blocks = row_blocks(len(ours), ours.shape[1], _VALUES)
    apart = torch.cat([(ours[rows].double() - known[index[rows]].double()).square().sum(1) for rows in blocks])
    return 100 * float((own[index] < apart).double().mean())


@metric("authpct", better="higher", of=("fake", "expost"), label="AuthPct", table="reviewers", costly=True)
def authpct_score(
    reference_features: Float[Array, "m d"], fake_features: Float[Array, "n d"], once: Once = anew
) -> float:
    """Per cent of samples that are no copies of a training image, from 0 to 100; higher is better (arXiv:2102.08921).

    Samples far from all images score 100: read it beside a distance of distributions.
    """
    return authpct(reference_features, fake_features, once)


def c_t(training: Float[Array, "l d"], heldout: Float[Array, "n d"], fake: Float[Array, "m d"], seed: int = 0) -> float:
    """Z score of whether fakes lie farther from the training rows than held-out rows do; below 0 they are copies.

    In each of 3 k-means cells of the training rows, on 64 principal axes at most: the Mann-Whitney U of distances to
    the nearest training row of the cell, as Z. The mean over cells with more than 20 fakes, by their held-out rows.
    Meehan et al. 2020. Undefined for a cell without held-out rows, and unless one has so many fakes.
    """
    check_seed("c_t", seed)
    known, ours = two_sets("c_t", (_CELLS, 1), training=training, fake=fake)
    real = rows_of(heldout, "heldout", "c_t", 1).to(known.device)
    check_same_shape("c_t", axis=1, training=known, heldout=real)
    unit = power_of_two(known, real, ours)
    known, real, ours = _projected(known * unit, real * unit, ours * unit)
    cells = _cells(known, real, ours, seed=seed)
    scores, weights = [], []
    for cell in range(_CELLS):
        t, p, q = (rows[places == cell] for rows, places in zip((known, real, ours), cells, strict=True))
        if not (len(t) and len(p)):
            raise Undefined(
                f"c_t: of {_CELLS} cells of training rows one has {len(t)} training and {len(p)} held-out rows; "
                f"give more held-out rows, of the same distribution."
            )
        if len(q) > _FAKES:
            scores.append(_z_score(_nearest(p, t), _nearest(q, t)))
            weights.append(len(p))
    if not scores:
        raise Undefined(f"c_t: no cell has more than {_FAKES} of the {len(ours)} rows of fake; give more of them.")
    return float(np.average(scores, weights=weights))


def _z_score(heldout: Float64[Tensor, " n"], fake: Float64[Tensor, " m"]) -> float:
    """The Mann-Whitney U of fakes above held-out ones, standardised, with the continuity correction of the authors."""
    n, m = len(heldout), len(fake)
    return (auroc(heldout, fake) * n * m - (n * m / 2 - 0.5)) / math.sqrt(n * m * (n + m + 1) / 12)


def _projected(*sets: Float[Tensor, "_ d"]) -> list[Float64[Tensor, "_ p"]]:
    """Sets relative to the mean of the first, on the principal axes of the first if there are more than 64."""
    fit = Moments(sets[0])
    if sets[0].shape[1] <= _AXES:
        return [rows.double() - fit.mean for rows in sets]
    variances, axes = (part[..., -_AXES:] for part in torch.linalg.eigh(fit.covariance))
    # Along an axis without variance nothing tells which direction of many it is.
    axes = axes[:, variances >= variances[-1] * len(fit.mean) * torch.finfo(variances.dtype).eps]
    return [torch.cat([(block.double() - fit.mean) @ axes for block in rows.split(1000)]) for rows in sets]


def _cells(*sets: Float64[Tensor, "_ p"], seed: int) -> list[Int64[Tensor, " _"]]:
    """The k-means cell of each row of each set. The cells are those of the first set."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    state = derive(seed, "c_t") % 2**32
    # Threads add up in the order in which they end, which changes the last bits and so the order of equal cells.
    with threadpool_limits(1), warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        fitted = KMeans(_CELLS, n_init=_STARTS, random_state=state).fit(sets[0].cpu().numpy())
        return [torch.from_numpy(fitted.predict(rows.cpu().numpy())).long().to(rows.device) for rows in sets]


@metric("c_t", better="none", of=("fake", "expost"), label="C_T", table="reviewers", costly=True)
def c_t_score(
    reference_features: Float[Array, "l d"],
    heldout_features: Float[Array, "n d"],
    fake_features: Float[Array, "m d"],
    seed: int,
) -> float:
    """Z score of data copying; negative for copies, 0 as held-out images, positive farther (arXiv:2004.05675)."""
    return c_t(reference_features, heldout_features, fake_features, seed)
