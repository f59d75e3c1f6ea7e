"""How well a linear classifier predicts labels from codes."""

import numpy as np
from jaxtyping import Float, Int64

from lvm_bench.errors import UserError
from lvm_bench.metrics.arrays import Array, check_same_shape, matrix, metric, tensor


def linear_probe(
    train_codes: Float[Array, "n l"], train_labels: Array, codes: Float[Array, "m l"], labels: Array
) -> float:
    """Accuracy of a multinomial logistic regression (L2, C = 1) on standardised codes; chance is the largest class.

    UserError unless the training labels have two classes or more and every code has one label.
    """
    from sklearn.linear_model import LogisticRegression

    train, test = matrix(train_codes, "train_codes", "linear_probe"), matrix(codes, "codes", "linear_probe", 1)
    known, asked = tensor(train_labels).cpu().numpy(), tensor(labels).cpu().numpy()
    check_same_shape(train, known, "train_labels", "linear_probe", axis=0)
    check_same_shape(test, asked, "labels", "linear_probe", axis=0)
    if len(np.unique(known)) < 2:
        raise UserError("linear_probe: all training labels are the same; give two classes or more.")
    mean, std = train.mean(0), train.std(0)
    std = std.where(std > 0, 1.0)  # a constant axis becomes 0
    x, x_asked = (((rows - mean) / std).cpu().numpy() for rows in (train, test))
    fitted = LogisticRegression(max_iter=5000).fit(x, known)
    return float(np.mean(fitted.predict(x_asked) == asked))


@metric("linear_probe", better="higher", of=("mean",))
def probe(
    train_codes: Float[Array, "n l"],
    train_labels: Int64[Array, " n"],
    codes: Float[Array, "m l"],
    labels: Int64[Array, " m"],
) -> float:
    """Accuracy of a linear classifier of codes; the largest class is chance, higher is better (arXiv:1610.01644).

    It is fitted to as many training codes as there are held-out codes.
    """
    return linear_probe(train_codes[: len(codes)], train_labels[: len(codes)], codes, labels)
