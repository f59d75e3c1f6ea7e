"""Do generated features stay among the real ones (precision) and fill them (recall)? PRD and k-NN balls."""

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lvm_bench.errors import UserError
from lvm_bench.kde import row_blocks, squared_distances
from lvm_bench.metrics.arrays import Array, matrix, metric, same_shape
from lvm_bench.seeding import derive

_ANGLES = np.linspace(1e-10, np.pi / 2 - 1e-10, 1001)
_CLUSTERS, _RUNS = 20, 10
_PAIRS = 2**22  # distances per block: with thousands of dimensions smaller blocks are slow


def prd_curve(
    real: Float64[np.ndarray, " c"], fake: Float64[np.ndarray, " c"]
) -> tuple[Float64[np.ndarray, "1001"], Float64[np.ndarray, "1001"]]:
    """(precision, recall) at 1001 slopes, for two distributions on c bins. Sajjadi et al. 2018, eq. 7."""
    slopes = np.tan(_ANGLES)
    precision = np.minimum(slopes[:, None] * real, fake).sum(1)
    return precision.clip(0, 1), (precision / slopes).clip(0, 1)


def f_score(precision: Float64[np.ndarray, " a"], recall: Float64[np.ndarray, " a"], beta: float) -> float:
    """The largest F_beta on a PRD curve; beta = 8 weighs recall, beta = 1/8 precision."""
    weight = beta * beta
    return float(((1 + weight) * precision * recall / (weight * precision + recall + 1e-10)).max())


def _cluster_histograms(
    real: Float64[np.ndarray, "n d"], fake: Float64[np.ndarray, "n d"], seed: int
) -> tuple[Float64[np.ndarray, " c"], Float64[np.ndarray, " c"]]:
    """Shares of two equally large sets in the k-means clusters of their union."""
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    # Clustered in an order that does not depend on which set is called real: exchanging them is then exact.
    swap = real.tobytes() > fake.tobytes()
    union = np.concatenate([fake, real] if swap else [real, fake])
    clusters = min(_CLUSTERS, len(union))
    kmeans = MiniBatchKMeans(clusters, n_init=10, batch_size=1024, random_state=seed)
    # One thread, because the order in which several add up is not fixed.
    with threadpool_limits(1, user_api="openmp"):
        labels = kmeans.fit(union).labels_
    first, second = (np.bincount(half, minlength=clusters) / len(real) for half in np.split(labels, 2))
    return (second, first) if swap else (first, second)


def prd(real: Float[Array, "n d"], fake: Float[Array, "m d"], seed: int = 0) -> dict[str, float]:
    """{"precision": max F_1/8, "recall": max F_8} of the PRD curve averaged over 10 clusterings; in [0, 1].

    20 k-means clusters of the union. UserError unless both sets have the same size. Sajjadi et al. 2018.
    """
    real, fake = matrix(real, "real", "prd"), matrix(fake, "fake", "prd")
    if len(real) != len(fake):
        raise UserError(
            f"prd: real has {len(real)} samples and fake has {len(fake)}; the clusters' shares compare only "
            f"between sets of equal size, so cut the larger one."
        )
    same_shape(real, fake, "fake", "prd")
    sets = real.cpu().numpy(), fake.cpu().numpy()
    seeds = [derive(seed, "prd", run) % 2**32 for run in range(_RUNS)]
    curves = [prd_curve(*_cluster_histograms(*sets, random_state)) for random_state in seeds]
    precision, recall = np.mean(curves, axis=0)
    return {"precision": f_score(precision, recall, 1 / 8), "recall": f_score(precision, recall, 8)}


@metric("prd", better="higher", of=("fake", "expost"))
def prd_score(real_features: Float[Array, "n d"], fake_features: Float[Array, "n d"], seed: int) -> dict[str, float]:
    """PRD precision (F_1/8) and recall (F_8), shares in [0, 1]; higher is better (arXiv:1806.00035)."""
    return prd(real_features, fake_features, seed)


def squared_radii(
    centres: Float64[Tensor, "n d"], points: Float64[Tensor, "m d"], k: int, *, own: bool = False
) -> Float64[Tensor, " n"]:
    """Squared distance of each centre to its k-th nearest point; `own`: the centres are the points, none its own."""
    radii = []
    for rows in row_blocks(len(centres), len(points), _PAIRS):
        distances = squared_distances(centres[rows], points)
        if own:
            distances[:, rows].fill_diagonal_(torch.inf)
        radii.append(distances.topk(k, dim=1, largest=False).values[:, -1])
    return torch.cat(radii)


def knn(real: Float[Array, "n d"], fake: Float[Array, "m d"], k: int = 5) -> dict[str, float]:
    """{"precision", "recall", "density", "coverage"} from open balls up to each sample's k-th neighbour.

    Shares in [0, 1], except that density can exceed 1. UserError for fewer than k + 1 samples.
    Naeem et al. 2020, sec. 2 and 3.
    """
    real, fake = matrix(real, "real", "knn", k + 1), matrix(fake, "fake", "knn", k + 1)
    same_shape(real, fake, "fake", "knn", axis=1)
    # Distances do not change, but the Gram matrix loses fewer digits around the origin.
    centre = real.mean(0)
    real, fake = real - centre, fake - centre
    real_radii, fake_radii = squared_radii(real, real, k, own=True), squared_radii(fake, fake, k, own=True)
    real_balls = torch.zeros(len(fake), dtype=torch.int64, device=real.device)
    recalled, covered = 0, 0
    for rows in row_blocks(len(real), len(fake), _PAIRS):
        distances = squared_distances(real[rows], fake)
        inside = distances < real_radii[rows, None]
        real_balls += inside.sum(0)
        covered += int(inside.any(1).sum())
        recalled += int((distances < fake_radii).any(1).sum())
    return {
        "precision": float((real_balls > 0).double().mean()),
        "recall": recalled / len(real),
        "density": float(real_balls.double().mean()) / k,
        "coverage": covered / len(real),
    }


@metric("code_coverage", better="higher", of=("mean", "sampled"))
def code_coverage(prior_codes: Float[Array, "n l"], codes: Float[Array, "m l"], neighbours: int) -> float:
    """Share of prior draws with a code in their k-NN ball; about 1 - 2^-k at most, higher is better (arXiv:2002.09797).

    A draw's ball reaches to its k-th nearest other draw; one without a code lies in a hole of the aggregate.
    """
    return knn(prior_codes, codes, min(neighbours, len(prior_codes) - 1, len(codes) - 1))["coverage"]


@metric("knn", better="higher", of=("fake", "expost"))
def knn_score(
    real_features: Float[Array, "n d"], fake_features: Float[Array, "m d"], neighbours: int
) -> dict[str, float]:
    """k-NN precision, recall, density and coverage, k = 5; higher is better (arXiv:2002.09797, sec. 2, 3)."""
    return knn(real_features, fake_features, neighbours)
