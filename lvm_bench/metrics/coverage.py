"""Do generated features lie among the real ones (precision), and do they cover them (recall)? PRD and k-NN balls."""

from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lvm_bench.errors import UserError
from lvm_bench.metrics.arrays import (
    Array,
    Once,
    anew,
    check_at_least,
    check_positive,
    check_same_shape,
    check_seed,
    metric,
    power_of_two,
    scores,
    two_sets,
)
from lvm_bench.metrics.clusters import kmeans_labels
from lvm_bench.metrics.neighbours import around, is_inside, squared_radii, tiles
from lvm_bench.seeding import generator

_ANGLES = np.linspace(1e-10, np.pi / 2 - 1e-10, 1001)
_CLUSTERS, _RUNS = 20, 10  # k-means clusters, and clusterings that are averaged


def _curve(
    real: Float64[np.ndarray, " c"], fake: Float64[np.ndarray, " c"]
) -> tuple[Float64[np.ndarray, "1001"], Float64[np.ndarray, "1001"]]:
    """`prd_curve` of two distributions that sum to 1."""
    slopes = np.tan(_ANGLES)
    precision = np.minimum(slopes[:, None] * real, fake).sum(1)
    # Sums of shares exceed 1 by rounding alone.
    return precision.clip(0, 1), (precision / slopes).clip(0, 1)


def _shares(counts: Array, name: str) -> Float64[np.ndarray, " c"]:
    """Counts or shares as a distribution; UserError if one is negative or none is positive."""
    weights = scores(counts, name, "prd_curve")
    if weights.min() < 0 or weights.max() == 0:
        raise UserError(
            f"prd_curve: {name} has values from {weights.min():.4g} to {weights.max():.4g}; "
            f"give the counts or shares of bins, 0 or more, and one of them above 0."
        )
    relative = weights / weights.max()  # whose sum is finite
    return relative / relative.sum()


def prd_curve(
    real: Float64[Array, " c"], fake: Float64[Array, " c"]
) -> tuple[Float64[np.ndarray, "1001"], Float64[np.ndarray, "1001"]]:
    """(precision, recall) of two distributions on c bins, at 1001 slopes. Sajjadi et al. 2018, eq. 7.

    Counts are divided by their sum. UserError for negative counts and for other numbers of bins.
    """
    p, q = _shares(real, "real"), _shares(fake, "fake")
    check_same_shape("prd_curve", real=p, fake=q)
    return _curve(p, q)


def f_score(precision: Float64[Array, " a"], recall: Float64[Array, " a"], beta: float) -> float:
    """The largest F_beta on a PRD curve. beta = 8 favours recall, beta = 1/8 precision.

    UserError unless both are as many shares in [0, 1] and beta is positive.
    """
    a, b = scores(precision, "precision", "f_score"), scores(recall, "recall", "f_score")
    check_same_shape("f_score", precision=a, recall=b)
    for name, shares in (("precision", a), ("recall", b)):
        if shares.min() < 0 or shares.max() > 1 + 1e-9:
            raise UserError(
                f"f_score: {name} has values from {shares.min():.4g} to {shares.max():.4g}; give shares in [0, 1]."
            )
    check_positive("f_score", beta=beta)
    weight = min(float(beta), 1e100) ** 2  # at which the score has long become the recall
    return float(((1 + weight) * a * b / (weight * a + b + 1e-10)).max())


def _drawn(rows: Float[Tensor, "n d"], size: int, seed: int) -> Float[Tensor, "m d"]:
    """`size` random rows without replacement; all of them, in their order, if there are no more."""
    if len(rows) == size:
        return rows
    return rows[torch.randperm(len(rows), generator=generator(seed, "prd subsample"))[:size].to(rows.device)]


def prd(
    real: Float[Array, "n d"], fake: Float[Array, "m d"], seed: int = 0, subsample: bool = False
) -> dict[str, float]:
    """{"precision": max F_1/8, "recall": max F_8} of the PRD curve, the mean over 10 clusterings; in [0, 1].

    Each clustering has 20 k-means clusters of the union. UserError for sets of different sizes, unless `subsample`
    draws as many samples from the larger as the smaller has. Small sets lower both. Sajjadi et al. 2018.
    """
    real, fake = two_sets("prd", real=real, fake=fake)
    check_seed("prd", seed)
    if len(real) != len(fake) and not subsample:
        raise UserError(
            f"prd: real has {len(real)} samples and fake has {len(fake)}; the shares of clusters compare only "
            f"between sets of equal size, so cut the larger one, or draw from it with subsample=True."
        )
    n = min(len(real), len(fake))
    real, fake = _drawn(real, n, seed), _drawn(fake, n, seed)
    # The order of the union does not depend on which set is called real, so that exchanging them is exact.
    first_difference = (real != fake).flatten().byte().argmax()
    swap = bool(real.flatten()[first_difference] > fake.flatten()[first_difference])
    union = torch.cat([fake, real] if swap else [real, fake])
    labels = kmeans_labels(union * power_of_two(union), _CLUSTERS, _RUNS, partial(generator, seed, "prd")).cpu()
    curves = []
    for run in labels:
        p, q = (np.bincount(half, minlength=_CLUSTERS) / n for half in run.view(2, -1).numpy())
        curves.append(_curve(q, p) if swap else _curve(p, q))
    precision, recall = np.mean(curves, axis=0)
    return {"precision": f_score(precision, recall, 1 / 8), "recall": f_score(precision, recall, 8)}


@metric("prd", better="higher", of=("fake", "expost"))
def prd_score(real_features: Float[Array, "n d"], fake_features: Float[Array, "n d"], seed: int) -> dict[str, float]:
    """PRD precision (F_1/8) and recall (F_8), shares in [0, 1]; higher is better (arXiv:1806.00035)."""
    return prd(real_features, fake_features, seed)


def knn(real: Float[Array, "n d"], fake: Float[Array, "m d"], k: int = 5, once: Once = anew) -> dict[str, float]:
    """{"precision", "recall", "density", "coverage"} from open balls that reach to the k-th neighbour of each sample.

    Shares in [0, 1]; density can exceed 1. `once` keeps the values that depend on `real` alone. UserError for fewer
    than k + 1 samples. Naeem et al. 2020, sec. 2 and 3.
    """
    check_at_least(1, "knn", k=k)
    real, fake = two_sets("knn", k + 1, real=real, fake=fake)
    unit = power_of_two(real, fake)
    real, fake = real * unit, fake * unit
    centre = real.mean(0)
    x, y = around(centre, real), around(centre, fake)
    real_radii = once("squared radii", f"real {unit}", lambda: squared_radii(x, x, k))
    # Centred at their own mean: there float32 can tell very similar fakes apart, which it cannot at the real mean.
    own = around(fake.mean(0), fake)
    fake_radii = squared_radii(own, own, k)
    real_balls = torch.zeros(len(y), dtype=torch.int64, device=real.device)
    is_covered, is_recalled = (torch.zeros(len(x), dtype=torch.bool, device=real.device) for _ in range(2))
    for rows in tiles(len(x)):
        for columns in tiles(len(y)):
            in_real, in_fake = is_inside(x, rows, y, columns, real_radii[rows, None], fake_radii[columns])
            real_balls[columns] += in_real.sum(0, dtype=torch.int32)
            # As bytes, because torch reduces booleans one by one.
            is_covered[rows] |= in_real.view(torch.uint8).amax(1).bool()
            is_recalled[rows] |= in_fake.view(torch.uint8).amax(1).bool()
    return {
        "precision": float((real_balls > 0).double().mean()),
        "recall": float(is_recalled.double().mean()),
        "density": float(real_balls.double().mean()) / k,
        "coverage": float(is_covered.double().mean()),
    }


@metric("code_coverage", better="higher", of=("mean", "sampled"))
def code_coverage(prior_codes: Float[Array, "n l"], codes: Float[Array, "m l"], neighbours: int) -> float:
    """Share of prior draws with a code in their k-NN ball; about 1 - 2^-k at most, higher is better (arXiv:2002.09797).

    The ball of a draw reaches to its k-th nearest other draw. A ball without a code is a hole of the aggregate.
    """
    check_at_least(1, "code_coverage", neighbours=neighbours)
    draws, known = two_sets("code_coverage", prior_codes=prior_codes, codes=codes)
    return knn(draws, known, min(neighbours, len(draws) - 1, len(known) - 1))["coverage"]


@metric("knn", better="higher", of=("fake", "expost"))
def knn_score(
    real_features: Float[Array, "n d"], fake_features: Float[Array, "m d"], neighbours: int, once: Once = anew
) -> dict[str, float]:
    """k-NN precision, recall, density and coverage, k = 5; higher is better (arXiv:2002.09797, sec. 2, 3)."""
    return knn(real_features, fake_features, neighbours, once)
