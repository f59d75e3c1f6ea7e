"""Modularity and explicitness. Ridgeway & Mozer 2018, arXiv:1802.05312."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float

from lvm_bench.errors import UserError
from lvm_bench.metrics.arrays import Array, matrix, metric
from lvm_bench.metrics.factors import BINS, binned_information
from lvm_bench.metrics.grid import Factors, check_varied, drawn_codes, thirds
from lvm_bench.metrics.infomec import active_axes, standardised

_ROUNDING = 1e-12  # nats of information that are none


def modularity(codes: Float[Array, "n l"], factors: Factors, bins: int = BINS) -> dict[str, float]:
    """How much each axis tells of one factor alone: {"": mean over all axes, "active": over active ones}, in [0, 1].

    1 - sum of the squared mutual informations with the other factors / ((k - 1) times the largest squared). An axis
    without any information counts as 0. Active: see `infomec.active_axes`; no such entry if no axis is.
    The mean over all axes is that of Locatello et al. 2019 (arXiv:1811.12359).
    """
    information, _ = binned_information(codes, factors, bins, "modularity")
    k = information.shape[1]
    if k < 2:
        raise UserError("modularity: factors has 1 column, and the score compares factors; give 2 or more.")
    largest = information.amax(1)
    own = torch.where(largest > _ROUNDING, 1 - ((information / largest[:, None]).square().sum(1) - 1) / (k - 1), 0.0)
    is_active = active_axes(matrix(codes, "codes", "modularity").cpu())
    return {"": float(own.mean())} | ({"active": float(own[is_active].mean())} if is_active.any() else {})


def explicitness(codes: Float[Array, "n l"], factors: Factors) -> dict[str, float]:
    """How well all axes together tell factors linearly: {"": area under the ROC curve, "scaled": 2 AUC - 1}.

    The AUC of telling one value of a factor from the others by logistic regression, mean over values, then factors;
    0.5 is chance, 1 is best. The last third of the rows is the test set. UserError for a factor of which no value is
    in both parts.
    """
    train, known, test, asked = thirds(codes, factors, "explicitness")
    check_varied(torch.from_numpy(asked), "explicitness", "test rows")
    by = torch.from_numpy(train)
    x, test_x = (standardised(torch.from_numpy(rows), by).numpy() for rows in (train, test))
    for k in range(known.shape[1]):
        if not np.isin(asked[:, k], known[:, k]).any():
            raise UserError(
                f"explicitness: column {k} of factors (counted from 0) has no value in the last third of the rows "
                f"that the others have; shuffle the rows, or give more."
            )
    area = float(np.mean([_area(x, known[:, k], test_x, asked[:, k]) for k in range(known.shape[1])]))
    return {"": area, "scaled": 2 * area - 1}


def _area(x: np.ndarray, known: np.ndarray, test_x: np.ndarray, asked: np.ndarray) -> float:
    """The mean area under the ROC curve over the values that are both learned and tested."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    fitted = LogisticRegression(max_iter=5000).fit(x, known)
    likely = fitted.predict_proba(test_x)
    areas = [
        roc_auc_score(asked == value, likely[:, place])
        for place, value in enumerate(fitted.classes_)
        if (asked == value).any()
    ]
    return float(np.mean(areas))


@metric("modularity", better="higher", of=("grid",), label="modularity", table="factors")
def modularity_of_axes(
    grid_codes: Float[Array, "N l"], factor_sizes: Sequence[int], samples: int, seed: int
) -> dict[str, float]:
    """Share of what an axis tells that is of one factor, all and active axes; higher is better (arXiv:1802.05312)."""
    # The draws of `mig`, so that the two scores compare.
    return modularity(*drawn_codes(grid_codes, factor_sizes, samples, seed, "mig"))


@metric("explicitness", better="higher", of=("grid",), label="explicitness", table="factors", costly=True)
def explicitness_of_axes(
    grid_codes: Float[Array, "N l"], factor_sizes: Sequence[int], sap_samples: int, seed: int
) -> dict[str, float]:
    """AUC of telling factors linearly by all axes (0.5: chance), 2 AUC - 1; higher is better (arXiv:1802.05312)."""
    return explicitness(*drawn_codes(grid_codes, factor_sizes, sap_samples, seed, "explicitness"))
