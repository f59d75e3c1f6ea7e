"""What a history tells of the aggregate posterior after each epoch, measured on the codes of the validation images."""

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from lvm_bench.metrics.equilibrium import two_nn_dimension
from lvm_bench.metrics.latent import gaussian_kl_parts, whitened_entropy
from lvm_bench.modelling.contract import Method
from lvm_bench.modelling.kde import balance

_QUERIES = 2000  # codes on which the balance is measured, at most
_ENTROPY = 10_000  # codes of the entropy, at most: as many as the paper's
_LARGEST = 1e30  # codes beyond have diverged, and their powers overflow


@torch.no_grad()
def of_codes(method: Method, codes: Float64[Tensor, "n l"], with_entropy: bool) -> dict[str, float]:
    """The finite ones of: the parts of the KL to the method's target, the two-NN dimension, the entropy, the balance.

    The balance and the share of codes below the floor are those of a method that matches a kernel density estimate.
    {} for fewer than three codes, and for codes that have diverged.
    """
    if len(codes) < 3 or not bool((codes.abs() < _LARGEST).all()):
        return {}
    found = {"dimension": two_nn_dimension(codes)}
    if not method.cannot_sample and method.target_variance is not None:
        parts = gaussian_kl_parts(codes, method.target_variance)
        found |= {f"kl_{name}": value for name, value in parts.items()}
    if method.kernel_density is not None:
        found["balance"], found["below_floor"] = balance(codes[:_QUERIES], method.kernel_density)
    if with_entropy and len(codes) >= codes.shape[1] + 2:
        found["entropy"] = whitened_entropy(codes[:_ENTROPY])["paper"]
    return {name: value for name, value in found.items() if math.isfinite(value)}
