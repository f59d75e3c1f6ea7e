"""Can a classifier tell held-out codes from prior draws? If it cannot, the aggregate posterior is the prior."""

from itertools import combinations_with_replacement
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lvm_bench.errors import UserError
from lvm_bench.metrics.arrays import Array, centre_and_spread, check_seed, metric, power_of_two, two_sets
from lvm_bench.metrics.neighbours import around, squared_radii
from lvm_bench.seeding import generator

_NEIGHBOURS = 30
_LEAST = 1e-6  # lower bound of a fit's variances and of squared distances, as a share of the mean variance

Sets = tuple[Float64[Tensor, "a l"], Float64[Tensor, "b l"]]  # codes, draws


def _mahalanobis(fit: Float64[Tensor, "a l"], at: Float64[Tensor, "n l"], least: float) -> Float64[Tensor, " n"]:
    """Squared Mahalanobis distance to a Gaussian fit. Its variances are clamped to `least` or more.

    With no more rows than axes most variances are 0: what lies outside of the rows' own directions is divided by least.
    """
    if len(fit) <= fit.shape[1]:
        _, singular, along = torch.linalg.svd(fit - fit.mean(0), full_matrices=False)
        inside = (at - fit.mean(0)) @ along.T
        outside = at - fit.mean(0) - inside @ along
        variances = (singular.square() / (len(fit) - 1)).clamp(min=least)
        return (inside.square() / variances).sum(1) + outside.square().sum(1) / least
    spectrum, axes = torch.linalg.eigh(torch.atleast_2d(fit.T.cov()))
    return (((at - fit.mean(0)) @ axes).square() / spectrum.clamp(min=least)).sum(1)


def _statistics(
    rows: Float64[Tensor, "n l"], training: Sets, own: Literal[0, 1, None] = None
) -> Float64[np.ndarray, "n 4"]:
    """Log squared distances to the k-th nearest code, the Gaussian fit of codes, and the same two for draws.

    The logarithm tames distances to a set with a dead axis. `own` tells which of the two sets the rows are, if any.
    """
    least = _LEAST * float(torch.cat(training).var(0).mean())
    k = min(_NEIGHBOURS, len(training[0]) - 1)
    sets = [around(known.mean(0), known) for known in training]
    found = []
    for place, known in enumerate(training):
        centres = sets[place] if own == place else around(sets[place].centre, rows)
        found += [squared_radii(centres, sets[place], k), _mahalanobis(known, rows, least)]
    return torch.stack(found, dim=1).clamp(min=least).log().cpu().numpy()


def _squares(rows: Float64[np.ndarray, "n 4"]) -> Float64[np.ndarray, "n 14"]:
    """The columns and all products of two columns."""
    pairs = combinations_with_replacement(range(rows.shape[1]), 2)
    return np.column_stack([rows, *(rows[:, i] * rows[:, j] for i, j in pairs)])


def two_sample_test(codes: Float[Array, "n l"], draws: Float[Array, "m l"], seed: int = 0) -> dict[str, float]:
    """{"": accuracy of telling codes from draws on a held-out half, "p": its p value}; 0.5 is chance.

    A quadratic logistic regression sees four log distances: to the 30th nearest code and the 30th nearest draw (shape,
    clusters, holes), and to the Gaussian fit of each set (mean, covariance). For equal sets the standard error is
    (4 test rows)^(-1/2); "p" comes from the binomial test. Lopez-Paz & Oquab 2017, sec. 3. UserError for fewer than
    4 rows, and for two equal constants.
    """
    from scipy.stats import binom
    from sklearn.linear_model import LogisticRegression

    check_seed("two_sample_test", seed)
    codes, draws = (rows.double() for rows in two_sets("two_sample_test", 4, codes=codes, draws=draws))
    unit = power_of_two(codes, draws)
    codes, draws = codes * unit, draws * unit
    n, stream = min(len(codes), len(draws)), generator(seed, "two-sample test")
    # Both sets are halved alike: the test rows are balanced, so that a constant guess is right for half of them.
    sets = [rows[torch.randperm(len(rows), generator=stream)[:n].to(rows.device)] for rows in (codes, draws)]
    training = (sets[0][: n // 2], sets[1][: n // 2])
    if not bool(centre_and_spread(torch.cat(training))[1].any()):
        raise UserError("two_sample_test: codes and draws are the same constant; give samples that vary.")
    learned = np.concatenate([_statistics(training[0], training, 0), _statistics(training[1], training, 1)])
    tested = _statistics(torch.cat([sets[0][n // 2 :], sets[1][n // 2 :]]), training)
    mean, std = learned.mean(0), learned.std(0)
    learned, tested = (_squares((rows - mean) / np.where(std > 0, std, 1)) for rows in (learned, tested))
    fitted = LogisticRegression(max_iter=5000).fit(learned, np.repeat([1, 0], n // 2))
    right = int((fitted.predict(tested) == np.repeat([1, 0], n - n // 2)).sum())
    return {"": right / len(tested), "p": float(binom.sf(right - 1, len(tested), 0.5))}


@metric("two_sample", better="lower", of=("mean", "sampled"))
def two_sample(codes: Float[Array, "n l"], prior_codes: Float[Array, "m l"], seed: int) -> dict[str, float]:
    """Accuracy of telling codes from prior draws, and its p; 0.5 is chance, lower is better (arXiv:1610.06545).

    Posterior means spread less than draws from posteriors: they are told from the prior although draws may not be.
    """
    return two_sample_test(codes, prior_codes, seed)
