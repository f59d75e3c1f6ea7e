"""Observation models p(x|z) in nats, one number an image: what `Method.log_likelihood` is made of."""

import math

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

VARIANCES = {"sse": 0.5, "gaussian_unit": 1.0}  # of each value, by the setting `likelihood`


def gaussian_log_likelihood(
    x: Float[Tensor, "b c h w"], recon: Float[Tensor, "b c h w"], variance: float | Float[Tensor, ""]
) -> Float[Tensor, " b"]:
    """log N(x; recon, variance I) of each image in nats."""
    log_variance = variance.log() if isinstance(variance, Tensor) else math.log(variance)
    error = (x - recon).square().flatten(1).sum(1)
    return -0.5 * (error / variance + x[0].numel() * (math.log(2 * math.pi) + log_variance))


def bernoulli_log_likelihood(x: Float[Tensor, "b c h w"], logits: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """log of the probability of each image of zeros and ones in nats. Between 0 and 1 it is the log of no density."""
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)
