"""Importance weights of codes that are drawn from q(z|x): what bounds of log p(x) are made of."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from lvm_bench.errors import RunError
from lvm_bench.evaluation.evidence import Absent
from lvm_bench.modelling.contract import Method
from lvm_bench.modelling.posteriors import Dense, Posterior, each, is_dense
from lvm_bench.seeding import generator

BATCH = 500  # images that are decoded at a time
LEVELS = 256  # values of a pixel


class Observed(NamedTuple):
    """Images on a method's device, as its log p(x|z) takes them."""

    x: Float[Tensor, "n c h w"]  # in the value range
    dequantised: bool
    log_scale: float  # log p of the same images in [0, 1], less log p(x)


@torch.no_grad()
def observed(method: Method, pixels: UInt8[Tensor, "n c h w"], seed: int, device: str) -> Observed:
    """Dequantised images, x = (u + U[0, 1)) / 256 for pixels u; where p(x|z) has no density of these, u / 255.

    Absent unless the method tells log p(x|z) of one of the two. The second are images of black and white alone.
    """
    low, high = method.spec.value_range
    noise = torch.rand(pixels.shape, generator=generator(seed, "dequantise"))
    made = [(True, lambda: (pixels + noise) / LEVELS)]
    if bool(((pixels == 0) | (pixels == LEVELS - 1)).all()):
        made.append((False, lambda: pixels / (LEVELS - 1)))
    code = torch.zeros(1, method.spec.latent, device=device)
    for dequantised, images in made:
        x = (low + (high - low) * images()).to(device)
        if method.log_likelihood(x[:1], code) is not None:
            return Observed(x, dequantised, x[0].numel() * math.log(high - low) if dequantised else 0.0)
    if method.spec.likelihood == "bernoulli" and type(method).log_likelihood is Method.log_likelihood:
        raise Absent("the likelihood 'bernoulli' is a probability of black and white, and no density of grey values")
    raise Absent("it has no density p(x|z)")


@torch.no_grad()
def proposal(method: Method, posterior: Posterior | None) -> Dense:
    """The posterior that codes are drawn from. Absent with the reason where there is none, or no density of it or p."""
    if posterior is None:
        raise Absent("its codes are deterministic, so that there is no q(z|x)")
    if not is_dense(posterior):
        raise Absent("the density of its posterior is unknown")
    if method.cannot_sample:
        raise Absent(method.cannot_sample)
    if method.log_prior(torch.zeros(1, method.spec.latent, device=method.generator.device)) is None:
        raise Absent("the density of its prior is unknown")
    return posterior


@torch.no_grad()
def log_weights(method: Method, images: Observed, posterior: Dense, k: int, seed: int) -> Float64[Tensor, "n k"]:
    """log p(x|z) p(z) / q(z|x) in nats of k codes z of each image, drawn from its posterior; x in [0, 1].

    The posterior may be that of the images before they were dequantised: bounds hold for any q. RunError unless
    log_likelihood and log_prior give one number an image.
    """
    stream, wide = generator(seed, "importance"), each(posterior, Tensor.double)
    columns = []
    for _ in range(k):  # one code of every image at a time, so that no image is ever repeated in memory
        z = wide.sample(lambda make: make(stream))
        columns.append(_log_joint(method, images.x, z.to(images.x)) - wide.log_prob(z).sum(1))
    return torch.stack(columns, dim=1) + images.log_scale


def _log_joint(method: Method, x: Float[Tensor, "n c h w"], z: Float[Tensor, "n l"]) -> Float64[Tensor, " n"]:
    """log p(x|z) + log p(z) of each image and its code."""
    parts = [method.log_likelihood(*pair) for pair in zip(x.split(BATCH), z.split(BATCH), strict=True)]
    found = [each.double().cpu() for each in (*parts, method.log_prior(z)) if each is not None]
    if [tuple(each.shape) for each in found] != [*((len(part),) for part in x.split(BATCH)), (len(z),)]:
        name = type(method).__name__
        raise RunError(f"{name}: log_likelihood(x, z) and log_prior(z) must give one number an image, of shape [b].")
    *likelihoods, prior = found
    return torch.cat(likelihoods) + prior
