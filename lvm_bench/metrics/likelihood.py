"""Bounds of the log-likelihood of images under a model of p(z) and p(x|z), from log weights of codes of q(z|x)."""

import math

import torch
from jaxtyping import Float64, Shaped
from torch import Tensor

from lvm_bench.metrics.arrays import Array, check_at_least, matrix, metric, tensor

_LEVELS = 256  # of a value, before it was dequantised


def _checked(log_weights: Array, name: str) -> Float64[Tensor, "n k"]:
    """Log weights in float64; UserError for NaN and positive infinity. A weight may be 0, and its log -inf."""
    found = tensor(log_weights, "log_weights", name)
    zero = found == -math.inf
    return matrix(torch.where(zero, 0, found), "log_weights", name, needs=1, power=1).masked_fill(zero, -math.inf)


@metric("elbo", better="higher", of=("heldout",), costly=True)
def elbo(log_weights: Shaped[Array, "n k"]) -> float:
    """ELBO, E_q[log p(x|z) p(z) / q(z|x)] in nats, mean over images; higher is better (arXiv:1312.6114, eq. 2)."""
    return float(_checked(log_weights, "elbo").mean())


@metric("iw_bound", better="higher", of=("heldout",), costly=True)
def iw_bound(log_weights: Shaped[Array, "n k"]) -> float:
    """E[log 1/k sum_i p(x|z_i) p(z_i) / q(z_i|x)], nats, mean over images; higher is better (arXiv:1509.00519, eq. 8).

    At most log p(x), which it comes near with more codes k. With k = 1 it is the ELBO.
    """
    logs = _checked(log_weights, "iw_bound")
    return float(torch.logsumexp(logs, dim=1).mean()) - math.log(logs.shape[1])


@metric("bits_per_dim", better="lower", of=("heldout",), costly=True)
def bits_per_dim(log_weights: Shaped[Array, "n k"], dequantised_values: int) -> float:
    """Bits per value of images of 256 levels, at least -log2 P(image) / D; lower is better (arXiv:1511.01844).

    -(L - D log 256) / (D log 2), L the `iw_bound` of dequantised images x = (u + U[0, 1)) / 256 with D values.
    """
    check_at_least(1, "bits_per_dim", dequantised_values=dequantised_values)
    logs = _checked(log_weights, "bits_per_dim")
    bound = float(torch.logsumexp(logs, dim=1).mean()) - math.log(logs.shape[1])
    return (math.log(_LEVELS) - bound / dequantised_values) / math.log(2)
