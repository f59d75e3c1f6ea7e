"""How well a linear classifier predicts labels from codes."""

import numpy as np
from jaxtyping import Float, Int64

from lvm_bench.errors import UserError
from lvm_bench.metrics.arrays import Array, centre_and_spread, check_same_shape, labels_of, metric, two_sets


def linear_probe(
    train_codes: Float[Array, "n l"], train_labels: Array, codes: Float[Array, "m l"], labels: Array
) -> float:
    """Accuracy of a multinomial logistic regression (L2, C = 1) on standardised codes; chance is the largest class.

    UserError unless the training labels have two classes or more and every code has one label.
    """
    from sklearn.linear_model import LogisticRegression

    train, test = (rows.double() for rows in two_sets("linear_probe", (2, 1), train_codes=train_codes, codes=codes))
    known = labels_of(train_labels, "train_labels", "linear_probe")
    asked = labels_of(labels, "labels", "linear_probe")
    check_same_shape("linear_probe", axis=0, train_codes=train, train_labels=known)
    check_same_shape("linear_probe", axis=0, codes=test, labels=asked)
    if len(np.unique(known)) < 2:
        raise UserError(
            "linear_probe: train_labels has one class, because all training labels are the same; give two or more."
        )
    mean, std = train.mean(0), train.std(0)
    _, spread = centre_and_spread(train)
    std = std.where(std > 0, spread).where(spread > 0, 1.0)  # a constant axis becomes 0
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
