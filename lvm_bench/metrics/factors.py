"""Do codes tell the ground-truth factors apart: along the axes, or along directions found for each factor?

`grid_codes` are the codes of every combination of the factors' values, the last factor fastest; `sizes` are
the factors' numbers of values. Scores are shares in [0, 1], angles degrees.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from lvm_bench.errors import UserError
from lvm_bench.metrics.arrays import Array, matrix, metric, tensor
from lvm_bench.seeding import derive, generator

BINS = 20
PAPER_BINS = 10  # in the authors' code
PAPER_DRAWS = 10_000  # draws of Algorithm 2, over all factors; half as many to score
PAPER_IMAGES = 10_000  # codes per draw
_BLOCK = 2**15  # rows per block: their codes stay in the processor's cache
_ROUNDING = 1e-6  # codes are float32: a spread below this share of the largest is rounding

Factors = Array  # integers [n k], each factor's values counted from 0; anything else is refused in a sentence


# Input


def _factors(values: Factors, n: int, name: str) -> Int64[Tensor, "n k"]:
    if not isinstance(values, Tensor) and np.asarray(values).dtype.kind not in "biufc":
        raise UserError(
            f"{name}: factors has dtype {np.asarray(values).dtype}; give integers, each factor's values counted from 0."
        )
    indices = tensor(values)
    if indices.ndim != 2 or indices.shape[1] == 0:
        raise UserError(
            f"{name}: factors has shape {tuple(indices.shape)}; give one row per sample, [samples, factors]."
        )
    if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
        raise UserError(
            f"{name}: factors has dtype {str(indices.dtype).removeprefix('torch.')}; "
            f"give integers, each factor's values counted from 0."
        )
    if len(indices) != n:
        raise UserError(f"{name}: codes has {n} rows and factors has {len(indices)}; give one of each per sample.")
    indices = indices.long().cpu()
    for column, (low, high) in enumerate(zip(indices.amin(0).tolist(), indices.amax(0).tolist(), strict=True)):
        if low < 0 or high >= n:
            raise UserError(
                f"{name}: column {column} of factors (counted from 0) has values {low} to {high} in {n} samples; count "
                f"a factor's values from 0, and give at least as many samples as it has values."
            )
    return indices


def _vary(factors: Int64[Tensor, "n k"], name: str, rows: str = "rows") -> None:
    constant = (factors == factors[0]).all(0).nonzero().flatten().tolist()
    if constant:
        raise UserError(
            f"{name}: column {constant[0]} of factors (counted from 0) has one value, {int(factors[0, constant[0]])}, "
            f"in all {len(factors)} {rows}; a factor needs two or more, so drop it or give more samples."
        )


def _two_dimensions(codes: Float64[Tensor, "n l"], name: str) -> None:
    if codes.shape[1] < 2:
        raise UserError(f"{name}: codes has 1 dimension, and the best is compared with the second; give 2 or more.")


def _grid(grid_codes: Array, sizes: Sequence[int], name: str) -> Float64[Tensor, "N l"]:
    if len(sizes) < 2 or min(sizes) < 2:
        raise UserError(
            f"{name}: sizes is {tuple(sizes)}; give two or more factors of two or more values each, so drop the others."
        )
    codes = matrix(grid_codes, "grid_codes", name).cpu()
    if len(codes) != math.prod(sizes):
        raise UserError(
            f"{name}: grid_codes has {len(codes)} rows and sizes {tuple(sizes)} make {math.prod(sizes)} combinations; "
            f"give the code of every combination, the last factor fastest."
        )
    return codes


def _directions(directions: Array, l: int | None, name: str) -> Float64[Tensor, "k l"]:
    rows = matrix(directions, "directions", name, needs=1).cpu()
    if l is not None and rows.shape[1] != l:
        raise UserError(
            f"{name}: directions has shape {tuple(rows.shape)} and the codes have {l} dimensions; "
            f"give one direction per factor, [factors, {l}]."
        )
    lengths = rows.norm(dim=1)
    if not torch.allclose(lengths, torch.ones_like(lengths), atol=1e-6):
        raise UserError(
            f"{name}: directions has rows of length {float(lengths.min()):.4g} to {float(lengths.max()):.4g}; "
            f"give unit vectors, as latent_directions does."
        )
    return rows


def _at_least(least: int, name: str, **counts: int) -> None:
    for what, count in counts.items():
        if count < least:
            raise UserError(f"{name}: {what} is {count}; give {least} or more.")


# Draws


def draw_factors(
    sizes: Sequence[int], n: int, stream: torch.Generator, fixed: Mapping[int, int] = {}
) -> Int64[Tensor, "n k"]:
    """n combinations of factor values, uniform and independent; `fixed` gives factors, by number, one value."""
    columns = []
    for k, size in enumerate(sizes):
        if not 0 <= fixed.get(k, 0) < size:
            raise UserError(f"draw_factors: fixed[{k}] is {fixed[k]}; choose 0 to {size - 1}.")
        columns.append(torch.full((n,), fixed[k]) if k in fixed else torch.randint(size, (n,), generator=stream))
    unknown = set(fixed) - set(range(len(sizes)))
    if unknown:
        raise UserError(f"draw_factors: fixed has factor {min(unknown)}; choose 0 to {len(sizes) - 1}.")
    return torch.stack(columns, dim=1)


def _sample(
    grid_codes: Array, sizes: Sequence[int], n: int, seed: int, name: str
) -> tuple[Float64[Tensor, "n l"], Int64[Tensor, "n k"]]:
    """Codes and factors of n combinations, drawn with replacement."""
    codes = _grid(grid_codes, sizes, name)
    factors = draw_factors(sizes, n, generator(seed, name))
    rows = np.ravel_multi_index(tuple(factors.numpy().T), tuple(sizes))
    return codes[torch.from_numpy(rows)], factors


def _by_value(codes: Float64[Tensor, "N l"], sizes: Sequence[int], k: int) -> Float64[Tensor, "N l"]:
    """The codes of the grid, those with the first value of factor k first."""
    return codes.reshape(*sizes, -1).movedim(k, 0).reshape(codes.shape).contiguous()


def _counts(sizes: Sequence[int], draws: int, stream: torch.Generator) -> list[int]:
    """How many draws fix each factor, when every draw picks one uniformly."""
    return torch.randint(len(sizes), (draws,), generator=stream).bincount(minlength=len(sizes)).tolist()


def _draws(
    codes: Float64[Tensor, "N l"], sizes: Sequence[int], draws: int, images: int, stream: torch.Generator
) -> Iterator[tuple[int, Float64[Tensor, "b images l"]]]:
    """Blocks of draws, factor after factor: (k, codes that share a random value of factor k within a draw)."""
    for k, count in enumerate(_counts(sizes, draws, stream)):
        table, others = _by_value(codes, sizes, k), len(codes) // sizes[k]
        # Sorted, so that successive draws read the same part of the table.
        chosen = torch.randint(sizes[k], (count, 1), generator=stream).sort(dim=0).values
        for value in chosen.split(max(1, _BLOCK // images)):
            rows = torch.randint(others, (len(value), images), generator=stream).add_(value * others)
            yield k, table.index_select(0, rows.flatten()).view(*rows.shape, table.shape[1])


def _covariances(z: Float64[Tensor, "b images l"]) -> Float64[Tensor, "b l l"]:
    """The covariance of each draw's codes, which are centred over the grid: so the difference loses no digits."""
    mean, images = z.mean(1, keepdim=True), z.shape[1]
    return (z.mT @ z - images * mean.mT @ mean) / (images - 1)


# Mutual information gap


def _entropy(counts: Int64[Tensor, "*pair a b"]) -> Float64[Tensor, "*pair"]:
    """Entropy in nats of each table of counts."""
    p = counts.double() / counts.sum((-2, -1), keepdim=True)
    return -torch.xlogy(p, p).sum((-2, -1))


def _binned(codes: Float64[Tensor, "n l"], bins: int) -> Int64[Tensor, "l n"]:
    """The equal-width bin, 0 .. bins - 1, of each code between its dimension's least and largest."""
    axes = codes.T.cpu().contiguous()
    low, high = axes.aminmax(dim=1)
    # NumPy's edges: those of np.histogram, to the last bit where no axis is constant.
    edges = torch.from_numpy(np.linspace(low.numpy(), high.numpy(), bins + 1)[:-1].T.copy())
    return torch.searchsorted(edges, axes, right=True) - 1


def _mig(codes: Array, factors: Factors, bins: int, name: str) -> float:
    rows = matrix(codes, "codes", name)
    indices = _factors(factors, len(rows), name)
    _vary(indices, name)
    _two_dimensions(rows, name)
    _at_least(2, name, bins=bins)
    k, values = indices.shape[1], int(indices.max()) + 1
    cells = torch.arange(k)[:, None] * (bins * values) + indices.T.contiguous()  # one table per factor
    tables = [(cells + axis).flatten().bincount(minlength=k * bins * values) for axis in _binned(rows, bins) * values]
    counts = torch.stack(tables).view(-1, k, bins, values)
    of_code, of_factor = _entropy(counts.sum(3, keepdim=True)), _entropy(counts.sum(2, keepdim=True))
    best, second = (of_code + of_factor - _entropy(counts)).topk(2, dim=0).values
    return float(((best - second) / of_factor[0]).mean())


def mig(codes: Float[Array, "n l"], factors: Factors, bins: int = BINS) -> float:
    """Gap between the two axes that know most of a factor, over its entropy, mean over factors.

    Codes are put into equal-width bins between each axis' extremes, so outliers lower the score.
    Chen et al. 2018, sec. 4, with the estimator of Locatello et al. 2019 (arXiv:1811.12359).
    """
    return _mig(codes, factors, bins, "mig")


# SAP and DCI


def _thirds(codes: Array, factors: Factors, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(codes, factors) to fit on, then those of the last third, to test on."""
    rows = matrix(codes, "codes", name, needs=3)
    indices = _factors(factors, len(rows), name)
    _two_dimensions(rows, name)
    train = len(rows) - len(rows) // 3
    _vary(indices[:train], name, "training rows")
    x, y = rows.cpu().numpy(), indices.numpy()
    return x[:train], y[:train], x[train:], y[train:]


def sap(codes: Float[Array, "n l"], factors: Factors) -> float:
    """Gap between the two axes that alone predict a factor best (accuracy of a linear SVM), mean over factors.

    The last third of the rows is the test set. Kumar et al. 2018, sec. 3, as in Locatello et al. 2019.
    """
    from sklearn.svm import LinearSVC

    x, y, test_x, test_y = _thirds(codes, factors, "sap")
    accuracy = np.empty((x.shape[1], y.shape[1]))
    for j, k in np.ndindex(accuracy.shape):
        # The primal: the same objective as the reference's dual, which may stop before it has converged.
        svm = LinearSVC(C=0.01, class_weight="balanced", dual=False)
        accuracy[j, k] = svm.fit(x[:, j : j + 1], y[:, k]).score(test_x[:, j : j + 1], test_y[:, k])
    second, best = np.sort(accuracy, axis=0)[-2:]
    return float((best - second).mean())


def _concentration(importance: Float64[np.ndarray, "a b"]) -> float:
    """How far each row is from uniform: 1 - entropy to the base b, mean weighted by the rows' sums."""
    p = importance + 1e-11
    p /= p.sum(1, keepdims=True)
    entropy = -(p * np.log(p)).sum(1) / math.log(p.shape[1])
    total = importance.sum()
    return float((1 - entropy) @ importance.sum(1) / total) if total else 0.0


def dci(codes: Float[Array, "n l"], factors: Factors, seed: int = 0) -> dict[str, float]:
    """Does an axis matter to one factor (disentanglement), a factor to one axis (completeness), and how well are
    factors predicted (informativeness, an accuracy)? Importances and accuracy of gradient-boosted trees.

    The last third of the rows is the test set. Eastwood & Williams 2018, as in Locatello et al. 2019.
    """
    from sklearn.ensemble import GradientBoostingClassifier

    x, y, test_x, test_y = _thirds(codes, factors, "dci")
    if y.shape[1] < 2:
        raise UserError("dci: factors has 1 column, and an axis is asked which it knows; give 2 or more.")

    def trees_of(k: int) -> tuple[Float64[np.ndarray, " l"], float]:
        trees = GradientBoostingClassifier(random_state=derive(seed, "dci", k) % 2**32).fit(x, y[:, k])
        return trees.feature_importances_, trees.score(test_x, test_y[:, k])

    # Side by side: growing a tree lets other threads work. Factors with most values take longest, and begin.
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


# Scores from draws that share a factor


def _votes(
    codes: Float64[Tensor, "N d"], sizes: Sequence[int], votes: int, images: int, stream: torch.Generator
) -> Int64[Tensor, "k d"]:
    """How often each axis varies least when a factor is fixed."""
    table = torch.zeros(len(sizes), codes.shape[1], dtype=torch.int64)
    for k, z in _draws(codes, sizes, votes, images, stream):
        quietest = (z.square().sum(1) - images * z.mean(1).square()).argmin(1)  # the codes are centred over the grid
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
    """Accuracy of the majority vote for the factor that draws share, given the axis that varies least in them.

    Variances are relative to the whole grid's; axes with a standard deviation below `prune` are left out,
    and without any other the score is 0. Kim & Mnih 2018, sec. 4, as in Locatello et al. 2019.
    """
    codes = _grid(grid_codes, sizes, "factor_vae_score")
    _at_least(1, "factor_vae_score", votes=votes, test_votes=test_votes)
    _at_least(2, "factor_vae_score", images=images)
    scale = codes.std(0)
    kept = (scale >= prune) & (scale > 0)
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
    """Mean absolute difference of pairs of codes that share the value of a factor, and that factor."""
    counts, means = _counts(sizes, points, stream), []
    for k, count in enumerate(counts):
        table, others = _by_value(codes, sizes, k), len(codes) // sizes[k]
        for block in torch.arange(count).split(max(1, _BLOCK // pairs)):
            shared = torch.randint(sizes[k], (len(block), pairs), generator=stream) * others
            one, two = (table[shared + torch.randint(others, shared.shape, generator=stream)] for _ in range(2))
            means.append((one - two).abs().mean(1))
    return torch.cat(means).numpy(), np.repeat(np.arange(len(sizes)), counts)


def beta_vae_score(
    grid_codes: Float[Array, "N l"],
    sizes: Sequence[int],
    points: int = 10_000,
    test_points: int = 5_000,
    pairs: int = 64,
    seed: int = 0,
) -> float:
    """Accuracy of logistic regression for the factor that pairs of codes share, from their mean |difference|.

    Higgins et al. 2017, sec. 3, as in Locatello et al. 2019.
    """
    from sklearn.linear_model import LogisticRegression

    codes = _grid(grid_codes, sizes, "beta_vae_score")
    _at_least(1, "beta_vae_score", points=points, test_points=test_points, pairs=pairs)
    stream = generator(seed, "beta_vae_score")
    x, y = _differences(codes, sizes, points, pairs, stream)
    if len(np.unique(y)) < 2:
        raise UserError(f"beta_vae_score: points is {points}, and they share only one factor; give more.")
    classifier = LogisticRegression(max_iter=10_000).fit(x, y)
    return float(classifier.score(*_differences(codes, sizes, test_points, pairs, stream)))


# Latent directions


def _quietest(
    codes: Float64[Tensor, "N l"], sizes: Sequence[int], draws: int, images: int, stream: torch.Generator
) -> Iterator[tuple[int, Float64[Tensor, "b l"]]]:
    """(k, the unit vector along which the codes of a draw with factor k fixed vary least), in blocks of draws."""
    for k, z in _draws(codes - codes.mean(0), sizes, draws, images, stream):
        yield k, torch.linalg.eigh(_covariances(z)).eigenvectors[:, :, 0]


def latent_directions(
    grid_codes: Float[Array, "N l"],
    sizes: Sequence[int],
    draws: int = PAPER_DRAWS,
    images: int = PAPER_IMAGES,
    seed: int = 0,
) -> Float64[Tensor, "k l"]:
    """The unit vector of each factor: the mean direction in which codes vary least while that factor is fixed.

    `draws` in total, each of `images` codes, with replacement. The entry of largest magnitude is positive.
    AVAE paper, Algorithm 2. An axis without variance is the direction of every factor: see `whitened`.
    """
    codes = _grid(grid_codes, sizes, "latent_directions")
    _at_least(1, "latent_directions", draws=draws)
    _at_least(2, "latent_directions", images=images)
    k, l = len(sizes), codes.shape[1]
    outer = torch.zeros(k, l, l, dtype=torch.float64)
    for factor, u in _quietest(codes, sizes, draws, images, generator(seed, "latent_directions")):
        outer[factor] += u.T @ u
    if not outer.any(dim=(1, 2)).all():
        raise UserError(f"latent_directions: draws is {draws}, and some of {k} factors was never fixed; give more.")
    # Not the authors' PCA of these l x l matrices, which centres their columns and so loses (1, ..., 1).
    top = torch.linalg.eigh(outer).eigenvectors[:, :, -1]
    return top * top.gather(1, top.abs().argmax(1, keepdim=True)).sign()


def whitened(grid_codes: Float[Array, "N l"]) -> Float64[Tensor, "N r"]:
    """Codes with mean 0 and identity covariance, in the r <= l principal directions that vary beyond rounding.

    The others are dropped: scaled up they would be noise, kept at 0 the quietest directions of all. Equal codes
    are one column of 0.
    """
    codes = matrix(grid_codes, "grid_codes", "whitened").cpu()
    size = float(codes.abs().max())
    codes = codes - codes.mean(0)
    spectrum, axes = torch.linalg.eigh(codes.T @ codes / len(codes))
    varies = spectrum > spectrum.max() * _ROUNDING**2
    if size == 0 or spectrum.max().sqrt() <= size * len(codes) * torch.finfo(spectrum.dtype).eps:
        return torch.zeros(len(codes), 1, dtype=codes.dtype)
    return codes @ axes[:, varies] * spectrum[varies].rsqrt()


def pca_mig(codes: Float[Array, "n l"], factors: Factors, directions: Float[Array, "k l"], bins: int = BINS) -> float:
    """MIG of the codes' coordinates along the directions, which need not be orthogonal. AVAE paper, sec. IV-B3.

    A coordinate that does not vary beyond rounding knows nothing.
    """
    rows = matrix(codes, "codes", "pca_mig").cpu()
    axes = _directions(directions, rows.shape[1], "pca_mig")
    k = _factors(factors, len(rows), "pca_mig").shape[1]
    if len(axes) != k:
        raise UserError(f"pca_mig: directions has {len(axes)} rows for {k} factors; give one each.")
    along = rows @ axes.T
    # MIG does not see the scale: what is left of the other axes in a dead direction would count in full.
    known = torch.where(along.std(0) > _ROUNDING * rows.std(0).max(), along, 0)
    return _mig(known, factors, bins, "pca_mig")


def pca_factor_vae_score(
    grid_codes: Float[Array, "N l"],
    sizes: Sequence[int],
    directions: Float[Array, "k l"],
    draws: int = PAPER_DRAWS // 2,
    images: int = PAPER_IMAGES,
    seed: int = 0,
) -> float:
    """Share of draws whose direction of least variance is nearest, by cosine, to that of the factor they share.

    Directions estimated from other draws may be wrong and the score still 1: it asks only that they differ.
    A collapsed axis varies least in every draw, and the score is chance; for the whitened score, which has no
    such axis, give whitened codes and the directions found in them. AVAE paper, sec. IV-B3.
    """
    codes = _grid(grid_codes, sizes, "pca_factor_vae_score")
    axes = _directions(directions, codes.shape[1], "pca_factor_vae_score")
    if len(axes) != len(sizes):
        raise UserError(
            f"pca_factor_vae_score: directions has {len(axes)} rows for {len(sizes)} factors; give one each."
        )
    _at_least(1, "pca_factor_vae_score", draws=draws)
    _at_least(2, "pca_factor_vae_score", images=images)
    stream = generator(seed, "pca_factor_vae_score")
    right = sum(
        int(((u @ axes.T).square().argmax(1) == k).sum()) for k, u in _quietest(codes, sizes, draws, images, stream)
    )
    return right / draws


def direction_angles(directions: Float[Array, "k l"]) -> Float64[Tensor, "k k"]:
    """Angle in degrees between the lines along each two directions, in [0, 90]. AVAE paper, Figure 4."""
    rows = _directions(directions, None, "direction_angles")
    cosines = rows @ rows.T
    cosines = (cosines + cosines.T) / 2  # not every processor's product is symmetric to the last bit
    return cosines.abs().clamp(max=1).arccos().rad2deg().fill_diagonal_(0)


# As metrics of a run


@metric("mig", better="higher", of=("grid",))
def mig_of_axes(
    grid_codes: Float[Array, "N l"], factor_sizes: Sequence[int], samples: int, seed: int
) -> dict[str, float]:
    """Mutual information gap of the axes with 20 bins, and the paper's 10; higher is better (arXiv:1802.04942)."""
    codes, factors = _sample(grid_codes, factor_sizes, samples, seed, "mig")
    return {"": mig(codes, factors), "paper": mig(codes, factors, PAPER_BINS)}


@metric("sap", better="higher", of=("grid",))
def sap_of_axes(grid_codes: Float[Array, "N l"], factor_sizes: Sequence[int], sap_samples: int, seed: int) -> float:
    """Gap in accuracy between the two axes that predict a factor best; higher is better (arXiv:1711.00848)."""
    return sap(*_sample(grid_codes, factor_sizes, sap_samples, seed, "sap"))


@metric("dci", better="higher", of=("grid",))
def dci_of_axes(
    grid_codes: Float[Array, "N l"], factor_sizes: Sequence[int], dci_samples: int, seed: int
) -> dict[str, float]:
    """Disentanglement, completeness and informativeness of the axes; higher is better (Eastwood & Williams 2018)."""
    return dci(*_sample(grid_codes, factor_sizes, dci_samples, seed, "dci"), seed)


@metric("factor_vae_score", better="higher", of=("grid",))
def factor_vae_score_of_axes(
    grid_codes: Float[Array, "N l"], factor_sizes: Sequence[int], votes: int, seed: int
) -> float:
    """Accuracy of the axis that varies least as a sign of the factor fixed; higher is better (arXiv:1802.05983)."""
    return factor_vae_score(grid_codes, factor_sizes, votes, votes // 2, seed=seed)


@metric("beta_vae_score", better="higher", of=("grid",))
def beta_vae_score_of_axes(
    grid_codes: Float[Array, "N l"], factor_sizes: Sequence[int], votes: int, seed: int
) -> float:
    """Accuracy of a linear guess at the factor that pairs of codes share; higher is better (Higgins et al. 2017)."""
    return beta_vae_score(grid_codes, factor_sizes, votes, votes // 2, seed=seed)


@metric("pca_mig", better="higher", of=("grid",))
def pca_mig_of_directions(
    grid_codes: Float[Array, "N l"],
    factor_sizes: Sequence[int],
    directions: Float[Array, "k l"],
    samples: int,
    seed: int,
) -> dict[str, float]:
    """MIG along the latent directions with 20 bins, and the paper's 10; higher is better (AVAE paper, IV-B3)."""
    codes, factors = _sample(grid_codes, factor_sizes, samples, seed, "mig")  # those of `mig`: the two compare
    return {"": pca_mig(codes, factors, directions), "paper": pca_mig(codes, factors, directions, PAPER_BINS)}


@metric("pca_factor_vae_score", better="higher", of=("grid",))
def pca_factor_vae_score_of_directions(
    grid_codes: Float[Array, "N l"],
    factor_sizes: Sequence[int],
    directions: Float[Array, "k l"],
    votes: int,
    direction_images: int,
    seed: int,
) -> dict[str, float]:
    """Share of draws whose quietest direction is that of the factor fixed, plain and whitened; higher is better."""
    white = whitened(grid_codes)
    found = latent_directions(white, factor_sizes, votes, direction_images, seed)
    return {
        part: pca_factor_vae_score(codes, factor_sizes, axes, votes // 2, direction_images, seed)
        for part, codes, axes in (("", grid_codes, directions), ("whitened", white, found))
    }


@metric("angle_deviation", better="lower", of=("grid",))
def angle_deviation(directions: Float[Array, "k l"]) -> float:
    """Mean |90 - angle| between the latent directions, degrees; lower is better (AVAE paper, Figure 4)."""
    angles = direction_angles(directions)
    first, second = torch.triu_indices(len(angles), len(angles), offset=1)
    return float((90 - angles[first, second]).mean())
