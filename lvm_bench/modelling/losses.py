"""The terms of a loss that methods share. They sum over pixels and axes, use nats, and are differentiable."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from lvm_bench.distances import squared_distances
from lvm_bench.errors import UserError
from lvm_bench.modelling.contract import Spec
from lvm_bench.modelling.likelihoods import VARIANCES, bernoulli_log_likelihood, gaussian_log_likelihood

__all__ = [
    "IMQ_SCALES",
    "VARIANCES",
    "aggregate_log_densities",
    "decomposition",
    "gaussian_kl_to_standard",
    "gaussian_log_likelihood",
    "imq_mmd",
    "nll",
    "pairwise_log_density",
    "sse",
    "stratified_log_weights",
    "total_correlation",
]

IMQ_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def sse(x: Float[Tensor, "b c h w"], recon: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """The sum of squared errors of each image."""
    return (x - recon).square().flatten(1).sum(1)


def nll(
    x: Float[Tensor, "b c h w"], raw: Float[Tensor, "b c h w"], recon: Float[Tensor, "b c h w"], spec: Spec
) -> Float[Tensor, " b"]:
    """Negative log-likelihood of each image under `spec.likelihood`; `recon` is `raw` mapped to the value range.

    bernoulli: binary cross-entropy of the logits `raw`, in nats; sse: the sum of squared errors (a Gaussian of
    variance 1/2); gaussian_unit: half of that. UserError for bernoulli outside [0, 1].
    """
    if spec.likelihood == "bernoulli":
        if tuple(spec.value_range) != (0, 1):
            raise UserError(
                f"The likelihood 'bernoulli' needs images in [0, 1], not in {list(spec.value_range)}. "
                "Choose the likelihood 'sse' or the value range (0, 1)."
            )
        return -bernoulli_log_likelihood(x, raw)
    return sse(x, recon) / (2 * VARIANCES[spec.likelihood])


def gaussian_kl_to_standard(mu: Float[Tensor, "b l"], log_var: Float[Tensor, "b l"]) -> Float[Tensor, "b l"]:
    """KL(N(mu, exp log_var) || N(0, 1)) of each image and axis in nats. Kingma & Welling 2014, appendix B."""
    return 0.5 * (mu.square() + log_var.exp() - 1 - log_var)


_Distances = Callable[[Float[Tensor, "n l"], Float[Tensor, "m l"]], Float[Tensor, "n m"]]


def imq_mmd(
    z: Float[Tensor, "n l"],
    z_prior: Float[Tensor, "n l"],
    prior_variance: float = 1.0,
    distances: _Distances = squared_distances,
) -> Float[Tensor, ""]:
    """Unbiased squared MMD between codes and draws from N(0, prior_variance I). At most 14; it may be negative.

    Seven inverse multiquadratic kernels are summed, not averaged. `distances` are squared, between all pairs of rows.
    Tolstikhin et al. 2018, section 4. UserError for fewer than two codes.
    """
    n, l = z.shape
    if n < 2:
        raise UserError("The MMD needs at least 2 codes. Choose a batch size that leaves no batch of one image.")
    base = 2 * l * prior_variance  # the expected squared distance of two draws from the prior
    # k(z, z) = 1 for each kernel, so that n ones stand on the diagonal of each.
    diagonal = n * len(IMQ_SCALES)
    within = _imq_sum(z, z, base, distances) + _imq_sum(z_prior, z_prior, base, distances) - 2 * diagonal
    # The cross term keeps i = j: it stays unbiased, because z_i and z_prior_i are independent.
    return within / (n * (n - 1)) - 2 * _imq_sum(z, z_prior, base, distances) / n**2


def _imq_sum(a: Float[Tensor, "n l"], b: Float[Tensor, "m l"], base: float, distances: _Distances) -> Float[Tensor, ""]:
    """The sum of the seven kernels over all pairs. Rows come in chunks, so that 10,000 codes fit into memory."""
    total = a.new_zeros(())
    for rows in a.split(1000):
        squares = distances(rows, b)
        for scale in IMQ_SCALES:
            total = total + (scale * base / (scale * base + squares)).sum()
    return total


def pairwise_log_density(
    z: Float[Tensor, "b l"], mu: Float[Tensor, "k l"], log_var: Float[Tensor, "k l"]
) -> Float[Tensor, "b k l"]:
    """log N(z_i; mu_k, exp log_var_k) of each axis in nats: code i under the posterior of image k."""
    return -0.5 * ((z[:, None] - mu).square() * torch.exp(-log_var) + log_var + math.log(2 * math.pi))


def stratified_log_weights(b: int, n: int) -> Float[Tensor, "b b"]:
    """Log weights of the images k of a batch in the estimate of q(z_i), for n training images. Weights sum to 1 by row.

    Minibatch-stratified sampling, Chen et al. 2018, appendix C. UserError unless 2 <= b <= n.
    """
    if not 2 <= b <= n:
        raise UserError(f"Stratified sampling needs a batch of 2 to {n} images (the training set), not {b}.")
    others = b - 1
    weights = torch.full((b, b), 1 / others, dtype=torch.float64)
    i = torch.arange(b)
    # Widely copied code sets these two with a flat stride, which fills columns 0 and 1 instead.
    weights[i, i] = 1 / n
    weights[i, (i + 1) % b] = (n - others) / (n * others)
    return weights.log()


def aggregate_log_densities(
    pairwise: Float[Tensor, "b b l"], log_weights: Float[Tensor, "b b"]
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """(log q(z_i), sum_j log q(z_ij)) in nats, from the `pairwise_log_density` and the log weights of a batch.

    Chen et al. 2018, appendix C. In minibatch-weighted sampling every log weight is -log(b n).
    """
    joint = torch.logsumexp(pairwise.sum(2) + log_weights, dim=1)
    marginals = torch.logsumexp(pairwise + log_weights[..., None], dim=1).sum(1)
    return joint, marginals


def total_correlation(pairwise: Float[Tensor, "b b l"], log_weights: Float[Tensor, "b b"]) -> Float[Tensor, ""]:
    """The mean of log q(z) - sum_j log q(z_j) in nats. If all weights are equal, their value changes no gradient."""
    joint, marginals = aggregate_log_densities(pairwise, log_weights)
    return (joint - marginals).mean()


def decomposition(
    z: Float[Tensor, "b l"], pairwise: Float[Tensor, "b b l"], log_weights: Float[Tensor, "b b"]
) -> dict[str, Float[Tensor, ""]]:
    """The three parts of E KL(q(z|x) || N(0, I)) in nats. Chen et al. 2018, eq. 2.

    `mi`: mutual information of x and z; `tc`: total correlation; `dwkl`: dimension-wise KL.
    """
    joint, marginals = aggregate_log_densities(pairwise, log_weights)
    own = torch.einsum("iil->i", pairwise)
    log_prior = -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)
    return {
        "mi": (own - joint).mean(),
        "tc": (joint - marginals).mean(),
        "dwkl": (marginals - log_prior).mean(),
    }
