"""Does each axis of the codes tell about one ground-truth factor? MIG, SAP, DCI, FactorVAE and beta-VAE scores.

Scores are shares in [0, 1]; higher is better. `metrics.grid` explains `grid_codes` and `sizes`.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from lvm_bench.errors import UserError
from lvm_bench.metrics.arrays import Array, centre_and_spread, check_at_least, check_seed, matrix, metric
from lvm_bench.metrics.grid import (
    BLOCK,
    Factors,
    check_two_axes,
    check_varied,
    drawn_codes,
    draws_per_factor,
    factor_indices,
    fixed_draws,
    grid_matrix,
    ordered_by_factor,
    thirds,
)
from lvm_bench.seeding import derive, generator

BINS = 20  # of each axis, for MIG

PAPER_BINS = 10  # as in the authors' code

_MOST_BINS = 10_000  # the tables of counts grow with them

_LOST = 0.01  # share of an axis' values that float32 may merge

_MODERATE = 2.0**20  # codes above which a linear classifier's penalty has no weight

# Mutual information gap


def _entropy(counts: Int64[Tensor, "*pair a b"]) -> Float64[Tensor, "*pair"]:
    """The entropy in nats of each table of counts."""
    p = counts.double() / counts.sum((-2, -1), keepdim=True)
    return -torch.xlogy(p, p).sum((-2, -1))


def _binned(codes: Float64[Tensor, "n l"], bins: int) -> Int64[Tensor, "l n"]:
    """The bin, 0 .. bins - 1, of each code. The bins of an axis have equal width between its least and largest code."""
    axes = codes.T.cpu().contiguous()
    low, high = axes.aminmax(dim=1)
    # The edges of np.histogram, to the last bit unless an axis is constant.
    edges = torch.from_numpy(np.linspace(low.numpy(), high.numpy(), bins + 1)[:-1].T.copy())
    return torch.searchsorted(edges, axes, right=True) - 1


def binned_information(
    codes: Array, factors: Factors, bins: int, name: str
) -> tuple[Float64[Tensor, "l k"], Float64[Tensor, " k"]]:
    """(I, H): mutual information of each axis, in `bins` of equal width, with each factor; entropy of each factor.

    In nats. `name` is the metric that error messages mention.
    """
    rows = matrix(codes, "codes", name)
    indices = factor_indices(factors, len(rows), name)
    check_varied(indices, name)
    check_at_least(2, name, bins=bins)
    if bins > _MOST_BINS:
        raise UserError(f"{name}: bins is {bins}; give {_MOST_BINS} or fewer.")
    k, values = indices.shape[1], int(indices.max()) + 1
    cells = torch.arange(k)[:, None] * (bins * values) + indices.T.contiguous()  # one table per factor
    tables = [(cells + axis).flatten().bincount(minlength=k * bins * values) for axis in _binned(rows, bins) * values]
    counts = torch.stack(tables).view(-1, k, bins, values)
    of_code, of_factor = _entropy(counts.sum(3, keepdim=True)), _entropy(counts.sum(2, keepdim=True))
    return of_code + of_factor - _entropy(counts), of_factor[0]


def information_gap(codes: Array, factors: Factors, bins: int, name: str) -> float:
    """The mutual information gap of `mig`; `name` is the metric that error messages mention."""
    information, of_factor = binned_information(codes, factors, bins, name)
    check_two_axes(information.T, name)
    best, second = information.topk(2, dim=0).values
    return float(((best - second) / of_factor).mean())


def mig(codes: Float[Array, "n l"], factors: Factors, bins: int = BINS) -> float:
    """Gap between the two largest mutual informations of a factor with an axis, over its entropy; mean over factors.

    The bins of an axis have equal width between its extremes, so that outliers lower the score.
    Chen et al. 2018, sec. 4, with the estimator of Locatello et al. 2019 (arXiv:1811.12359).
    """
    return information_gap(codes, factors, bins, "mig")


# SAP and DCI


def _moderate(*sets: Float64[np.ndarray, "..."]) -> list[Float64[np.ndarray, "..."]]:
    """Sets of codes as they are, unless some are so large that solvers would not end: those are scaled down."""
    largest = max(float(np.abs(codes).max()) for codes in sets)
    return [codes if largest <= _MODERATE else codes * (_MODERATE / largest) for codes in sets]


def sap(codes: Float[Array, "n l"], factors: Factors) -> float:
    """Gap between the two axes that predict a factor best, each alone by a linear SVM; mean over factors.

    The last third of the rows is the test set. Kumar et al. 2018, sec. 3, as in Locatello et al. 2019.
    """
    from sklearn.svm import LinearSVC

    x, y, test_x, test_y = thirds(codes, factors, "sap")
    check_two_axes(x, "sap")
    x, test_x = _moderate(x, test_x)
    accuracy = np.empty((x.shape[1], y.shape[1]))
    for j, k in np.ndindex(accuracy.shape):
        # The primal has the same objective as the dual of the reference, which may stop before it converges.
        svm = LinearSVC(C=0.01, class_weight="balanced", dual=False)
        accuracy[j, k] = svm.fit(x[:, j : j + 1], y[:, k]).score(test_x[:, j : j + 1], test_y[:, k])
    second, best = np.sort(accuracy, axis=0)[-2:]
    return float((best - second).mean())


def _concentration(importance: Float64[np.ndarray, "a b"]) -> float:
    """1 - entropy to the base b of each row, which is 0 for a uniform row; mean weighted by the sums of the rows."""
    p = importance + 1e-11
    p /= p.sum(1, keepdims=True)
    entropy = -(p * np.log(p)).sum(1) / math.log(p.shape[1])
    total = importance.sum()
    return float((1 - entropy) @ importance.sum(1) / total) if total else 0.0


def _for_trees(
    x: Float64[np.ndarray, "n l"], test_x: Float64[np.ndarray, "m l"]
) -> tuple[Float64[np.ndarray, "n l"], Float64[np.ndarray, "m l"]]:
    """Codes whose order float32, in which trees are grown, can hold: axes that lose values are standardised."""
    x, test_x = x.copy(), test_x.copy()
    centre, spread = (values.numpy() for values in centre_and_spread(torch.from_numpy(x)))
    for j in range(x.shape[1]):
        with np.errstate(over="ignore"):
            kept = len(np.unique(x[:, j].astype(np.float32)))
        if kept < (1 - _LOST) * len(np.unique(x[:, j])) or np.abs(test_x[:, j]).max() > np.finfo(np.float32).max:
            limit = np.finfo(np.float32).max / 2
            x[:, j], test_x[:, j] = (
                ((rows[:, j] - centre[j]) / (spread[j] or 1.0)).clip(-limit, limit) for rows in (x, test_x)
            )
    return x, test_x


def dci(codes: Float[Array, "n l"], factors: Factors, seed: int = 0) -> dict[str, float]:
    """Disentanglement, completeness and informativeness, from the importances of gradient-boosted trees.

    An axis should matter to one factor (disentanglement), and one axis to a factor (completeness); the accuracy on
    the last third of the rows is the informativeness. Eastwood & Williams 2018, as in Locatello et al. 2019.
    """
    from sklearn.ensemble import GradientBoostingClassifier

    check_seed("dci", seed)
    x, y, test_x, test_y = thirds(codes, factors, "dci")
    check_two_axes(x, "dci")
    x, test_x = _for_trees(x, test_x)
    if y.shape[1] < 2:
        raise UserError("dci: factors has 1 column, and the score compares factors; give 2 or more.")

    def trees_of(k: int) -> tuple[Float64[np.ndarray, " l"], float]:
        """The importances of the axes for factor k, and the accuracy."""
        trees = GradientBoostingClassifier(random_state=derive(seed, "dci", k) % 2**32).fit(x, y[:, k])
        return trees.feature_importances_, trees.score(test_x, test_y[:, k])

    # scikit-learn releases the GIL while it grows a tree. Factors with the most values take longest, so they start.
    longest = sorted(range(y.shape[1]), key=lambda k: -len(np.unique(y[:, k])))
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        found = dict(zip(longest, pool.map(trees_of, longest), strict=True))
    importances, accuracy = zip(*(found[k] for k in range(y.shape[1])), strict=True)
    importance = np.stack(importances, axis=1)
    return {
        "disentanglement": _concentration(importance),
        "completeness": _concentration(importance.T),
        "informativeness": float(np.mean(accuracy)),
    }


# FactorVAE and beta-VAE scores, from draws that share the value of a factor


def _votes(
    codes: Float64[Tensor, "N d"], sizes: Sequence[int], votes: int, images: int, stream: torch.Generator
) -> Int64[Tensor, "k d"]:
    """Counts of the draws that fix each factor, by the axis that varies least in them."""
    table = torch.zeros(len(sizes), codes.shape[1], dtype=torch.int64)
    for k, z in fixed_draws(codes, sizes, votes, images, stream):
        # Codes are centred over the grid, so that the difference loses no digits.
        quietest = (z.square().sum(1) - images * z.mean(1).square()).argmin(1)
        table[k] += quietest.bincount(minlength=codes.shape[1])
    return table


def factor_vae_score(
    grid_codes: Float[Array, "N l"],
    sizes: Sequence[int],
    votes: int = 10_000,
    test_votes: int = 5_000,
    images: int = 64,
    prune: float = 0.05,
    seed: int = 0,
) -> float:
    """Accuracy of guessing which factor a draw fixes from the axis that varies least, by majority vote.

    Variances are relative to the variance over the grid. Axes with a standard deviation below `prune` are left out;
    the score is 0 if none is left. Kim & Mnih 2018, sec. 4, as in Locatello et al. 2019.
    """
    codes = grid_matrix(grid_codes, sizes, "factor_vae_score")
    check_at_least(1, "factor_vae_score", votes=votes, test_votes=test_votes)
    check_at_least(2, "factor_vae_score", images=images)
    check_seed("factor_vae_score", seed)
    if not isinstance(prune, int | float | np.number) or not 0 <= prune < math.inf:
        raise UserError(f"factor_vae_score: prune is {prune!r}; give a finite standard deviation of 0 or more.")
    scale = codes.std(0)
    kept = (scale >= prune) & (scale > 0) & (centre_and_spread(codes)[1] > 0)
    if not kept.any():
        return 0.0
    codes = ((codes - codes.mean(0)) / scale)[:, kept]
    stream = generator(seed, "factor_vae_score")
    majority = _votes(codes, sizes, votes, images, stream).argmax(0)
    test = _votes(codes, sizes, test_votes, images, stream)
    return int(test[majority, torch.arange(len(majority))].sum()) / test_votes


def _differences(
    codes: Float64[Tensor, "N l"], sizes: Sequence[int], points: int, pairs: int, stream: torch.Generator
) -> tuple[Float64[np.ndarray, "p l"], Int64[np.ndarray, " p"]]:
    """The mean |difference| over pairs of codes that share the value of one factor, and that factor, for each point."""
    means = []
    points_of = draws_per_factor(sizes, points, stream)
    for k, count in enumerate(points_of):
        table, others = ordered_by_factor(codes, sizes, k), len(codes) // sizes[k]
        for block in torch.arange(count).split(max(1, BLOCK // pairs)):
            shared = torch.randint(sizes[k], (len(block), pairs), generator=stream) * others
            one, two = (table[shared + torch.randint(others, shared.shape, generator=stream)] for _ in range(2))
            means.append((one - two).abs().mean(1))
    return torch.cat(means).numpy(), np.repeat(np.arange(len(sizes)), points_of)


def beta_vae_score(
    grid_codes: Float[Array, "N l"],
    sizes: Sequence[int],
    points: int = 10_000,
    test_points: int = 5_000,
    pairs: int = 64,
    seed: int = 0,
) -> float:
    """Accuracy of a logistic regression that guesses the factor which pairs of codes share from their differences.

    Higgins et al. 2017, sec. 3, as in Locatello et al. 2019.
    """
    from sklearn.linear_model import LogisticRegression

    codes = grid_matrix(grid_codes, sizes, "beta_vae_score")
    check_at_least(1, "beta_vae_score", points=points, test_points=test_points, pairs=pairs)
    check_seed("beta_vae_score", seed)
    codes = codes * min(1.0, _MODERATE / max(float(codes.abs().max()), 1.0))
    stream = generator(seed, "beta_vae_score")
    x, y = _differences(codes, sizes, points, pairs, stream)
    if len(np.unique(y)) < 2:
        raise UserError(f"beta_vae_score: points is {points}, and all of them fix the same factor; give more.")
    classifier = LogisticRegression(max_iter=10_000).fit(x, y)
    return float(classifier.score(*_differences(codes, sizes, test_points, pairs, stream)))


# The metrics of a run


@metric("mig", better="higher", of=("grid",))
def mig_of_axes(
    grid_codes: Float[Array, "N l"], factor_sizes: Sequence[int], samples: int, seed: int
) -> dict[str, float]:
    """Mutual information gap of the axes with 20 bins, and the paper's 10; higher is better (arXiv:1802.04942)."""
    codes, factors = drawn_codes(grid_codes, factor_sizes, samples, seed, "mig")
    return {"": mig(codes, factors), "paper": mig(codes, factors, PAPER_BINS)}


@metric("sap", better="higher", of=("grid",))
def sap_of_axes(grid_codes: Float[Array, "N l"], factor_sizes: Sequence[int], sap_samples: int, seed: int) -> float:
    """Gap in accuracy between the two axes that predict a factor best; higher is better (arXiv:1711.00848)."""
    return sap(*drawn_codes(grid_codes, factor_sizes, sap_samples, seed, "sap"))


@metric("dci", better="higher", of=("grid",))
def dci_of_axes(
    grid_codes: Float[Array, "N l"], factor_sizes: Sequence[int], dci_samples: int, seed: int
) -> dict[str, float]:
    """Disentanglement, completeness and informativeness of the axes; higher is better (Eastwood & Williams 2018)."""
    return dci(*drawn_codes(grid_codes, factor_sizes, dci_samples, seed, "dci"), seed)


@metric("factor_vae_score", better="higher", of=("grid",))
def factor_vae_score_of_axes(
    grid_codes: Float[Array, "N l"], factor_sizes: Sequence[int], votes: int, seed: int
) -> float:
    """Accuracy of guessing the fixed factor from the axis that varies least; higher is better (arXiv:1802.05983)."""
    return factor_vae_score(grid_codes, factor_sizes, votes, votes // 2, seed=seed)


@metric("beta_vae_score", better="higher", of=("grid",))
def beta_vae_score_of_axes(
    grid_codes: Float[Array, "N l"], factor_sizes: Sequence[int], votes: int, seed: int
) -> float:
    """Accuracy of a linear guess at the factor that pairs of codes share; higher is better (Higgins et al. 2017)."""
    return beta_vae_score(grid_codes, factor_sizes, votes, votes // 2, seed=seed)
