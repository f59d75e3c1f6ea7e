"""InfoMEC: modularity, compactness and explicitness of the axes in terms of information."""

import math
import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from lvm_bench.errors import UserError
from lvm_bench.metrics.arrays import Array, centre_and_spread, check_seed, matrix, metric
from lvm_bench.metrics.grid import Factors, check_varied, distinct_codes, factor_indices
from lvm_bench.seeding import derive

_NEIGHBOURS = 10

_STEPS = 1000  # of a classifier at most: without a penalty there may be no optimum

_LEAST_RANGE = 1 / 20  # of an active axis, as a share of the largest range


def active_axes(rows: Float64[Tensor, "n l"]) -> Bool[Tensor, " l"]:
    """The axes whose range exceeds a twentieth of the largest range. Hsu et al. 2023, arXiv:2305.18378."""
    ranges = rows.amax(0) - rows.amin(0)
    return ranges > ranges.max() * _LEAST_RANGE


def standardised(rows: Float64[Tensor, "n l"], by: Float64[Tensor, "m l"]) -> Float64[Tensor, "n l"]:
    """Rows over the mean and the standard deviation of other rows; an axis on which those are constant becomes 0."""
    centre, spread = centre_and_spread(by)
    scale = spread.where(spread > 0, math.inf)
    std = ((by - centre) / scale).std(0, correction=0)
    return (rows - centre) / scale / std.where(std > 0, 1)


def _normalised_information(
    active: Float64[np.ndarray, "n a"], indices: Int64[np.ndarray, "n k"], seed: int
) -> Float64[np.ndarray, "k a"]:
    """I(s_i; z_j) / H(s_i) of each factor and axis, by the estimator of Ross 2014 with 10 neighbours."""
    from scipy.stats import entropy
    from sklearn.feature_selection import mutual_info_classif

    draws = derive(seed, "infomec") % 2**32
    return np.stack(
        [
            mutual_info_classif(active, values, n_neighbors=_NEIGHBOURS, random_state=draws)
            / entropy(np.bincount(values))
            for values in indices.T
        ]
    )


def _concentration(shares: Float64[np.ndarray, "a b"]) -> float | None:
    """The largest share of each row in its sum, mean over rows, so scaled that equal shares have 0; None: undefined."""
    sums, b = shares.sum(1), shares.shape[1]
    if b < 2 or not (sums > 0).all():
        return None
    return float(((shares.max(1) / sums).mean() - 1 / b) / (1 - 1 / b))


def _predictive_information(x: Float64[np.ndarray, "n l"], values: Int64[np.ndarray, " n"]) -> float:
    """1 - CE / CE of a constant, of a multinomial logistic regression without a penalty, on the rows of its fit."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    classifier = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(x, values)
    # Balanced classes make the best constant uniform, whose cross-entropy is no entropy of the factor.
    return 1 - float(log_loss(values, classifier.predict_proba(x))) / math.log(len(classifier.classes_))


def infomec(codes: Float[Array, "n l"], factors: Factors, seed: int = 0) -> dict[str, float]:
    """InfoM, InfoC and InfoE as "modularity", "compactness" and "explicitness"; 1 is best, 0 is worst on average.

    How much an active axis tells of one factor alone, one active axis of a factor, all axes of the factors linearly.
    No entry where it is undefined: modularity of one factor, or with an active axis that tells nothing; compactness of
    one active axis, or with a factor of which none tells. Hsu et al. 2023, arXiv:2305.18378.
    """
    check_seed("infomec", seed)
    rows = matrix(codes, "codes", "infomec").cpu()
    indices = factor_indices(factors, len(rows), "infomec")
    check_varied(indices, "infomec")
    for column, values in enumerate(indices.T):
        if int(values.bincount().max()) < 2:
            raise UserError(
                f"infomec: column {column} of factors (counted from 0) has {len(rows)} values in {len(rows)} rows; "
                f"a value needs two rows or more, so give more."
            )
    x, is_active = standardised(rows, rows).numpy(), active_axes(rows).numpy()
    found: dict[str, float | None] = {"modularity": None, "compactness": None}
    if is_active.any():
        information = _normalised_information(x[:, is_active], indices.numpy(), seed)
        found = {"modularity": _concentration(information.T), "compactness": _concentration(information)}
    found["explicitness"] = float(np.mean([_predictive_information(x, values) for values in indices.numpy().T]))
    return {part: value for part, value in found.items() if value is not None}


@metric("infomec", better="higher", of=("grid",), label="InfoMEC", table="factors", costly=True)
def infomec_of_axes(
    grid_codes: Float[Array, "N l"], factor_sizes: Sequence[int], samples: int, seed: int
) -> dict[str, float]:
    """InfoMEC's modularity, compactness, explicitness of the axes; higher is better (arXiv:2305.18378)."""
    # Drawn twice, a code would be its own neighbour, which the estimate of information takes for knowledge.
    return infomec(*distinct_codes(grid_codes, factor_sizes, samples, seed, "infomec"), seed)
