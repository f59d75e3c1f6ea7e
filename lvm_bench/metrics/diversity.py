"""How many different samples are there? Diversity of generated features, without a look at real ones."""

import numpy as np
from jaxtyping import Float

from lvm_bench.errors import Undefined
from lvm_bench.metrics.arrays import Array, matrix, metric


def vendi(fake: Float[Array, "n d"]) -> float:
    """The exponential of the entropy of the eigenvalues of X X^T / n, whose rows X are features at unit norm.

    From 1 (all rows have one direction) to min(n, d) (equally many rows along orthogonal ones). Friedman & Dieng 2023.
    Undefined for a row of zeros, which has no direction.
    """
    rows = matrix(fake, "fake", "vendi", needs=1, power=1).cpu().numpy()  # NumPy halves a product with its transpose
    largest = np.abs(rows).max(1, keepdims=True)
    if empty := int((largest == 0).sum()):
        raise Undefined(
            f"vendi: fake has {empty} of {len(rows)} rows of zeros, which have no direction; leave them out."
        )
    rows = rows / largest  # whose squares are finite
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    n, d = rows.shape
    # X X^T and X^T X have the same eigenvalues above 0.
    shares = np.linalg.eigvalsh((rows.T @ rows if d < n else rows @ rows.T) / n)
    shares = shares[shares > 0]
    return float(np.exp(max(-(shares * np.log(shares)).sum(), 0)))


@metric("vendi", better="higher", of=("fake", "expost"), label="Vendi", table="fidelity", costly=True)
def vendi_score(fake_features: Float[Array, "n d"]) -> float:
    """Vendi score, how many different samples there are, from 1 to n; higher is better (arXiv:2210.02410)."""
    return vendi(fake_features)
