"""Checks of the densities that a method tells: do its draws follow them?"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float64
from torch import Tensor

from lvm_bench.errors import RunError
from lvm_bench.execution.check_case import Case
from lvm_bench.execution.check_kinds import Broken, require
from lvm_bench.modelling.contract import codes_of, posterior_of
from lvm_bench.modelling.posteriors import each, is_dense

_DRAWS = 1000  # of the prior
_NODES = 257  # of a density along an axis
_CLOSE = 0.08  # largest Kolmogorov-Smirnov distance; 1,000 draws of the right density exceed it once in 10^5 times
_OFF = 0.4  # nats per axis: 1/2 log(2 pi), which is forgotten most often, is 0.92
_FEW = 3  # images whose log p(x|z) is held against that of the batch
_NORMALISED = 0.02  # largest difference of an integral to 1


def prior_has_its_density(case: Case) -> None:
    """Each sampler draws codes [n l], and those of prior() follow log_prior along each axis."""
    method, spec = case.fresh().eval(), case.spec
    at = case.place("log_prior" if "log_prior" in vars(case.cls) else "prior")
    with torch.no_grad():
        for name in method.samplers if not method.cannot_sample else ():
            try:
                codes_of(method, name, 7)
            except RunError as error:
                raise Broken(f"{case.place(name)}: {error}") from error
        z = method.prior(_DRAWS)
        told = method.log_prior(z)
        if told is None:
            return
        require(told.shape == (len(z),), f"{at}: log_prior(z) has shape {tuple(told.shape)}, not {(len(z),)}: [b]")
        off = _normalisation(z, told)
        require(
            off < _OFF * spec.latent,
            f"{at}: exp log_prior does not integrate to 1: log_prior is off by about {off:.2g} nats. Has it a constant "
            "too few or too many?",
        )
        for axis in range(spec.latent):
            distance = _distance(z, axis, lambda moved: method.log_prior(moved))
            require(
                distance < _CLOSE,
                f"{at}: draws of prior() do not follow log_prior along axis {axis}: their distribution functions "
                f"differ by {distance:.2f}. Change one of them, or return None from log_prior",
            )


def posterior_has_its_density(case: Case) -> None:
    """Draws of the posterior follow its log_prob, which integrates to 1 along each axis."""
    method, x = case.fresh().eval(), case.batch()
    with torch.no_grad():
        posterior = posterior_of(method, x)
        if not is_dense(posterior):
            return
        wide = each(posterior, Tensor.double)
        z = wide.sample(method.draw)
        steps = torch.linspace(-8, 8, _NODES, dtype=torch.float64)
        flat = each(wide, lambda field: field.flatten()[:, None])
        grid = flat.mean + flat.variance.sqrt() * steps
        density = flat.log_prob(grid).exp()
    at = case.place("posterior")
    integral = torch.trapezoid(density, grid, dim=1)
    worst = float((integral - 1).abs().max())
    require(worst < _NORMALISED, f"{at}: along an axis exp log_prob of the posterior has an integral {worst:.2g} off 1")
    distance = _to_uniform(_position(z.flatten(), grid, density))
    require(
        distance < _CLOSE,
        f"{at}: draws of the posterior do not follow its log_prob: their distribution functions differ by "
        f"{distance:.2f}. Change sample or log_prob",
    )


def likelihood_is_of_each_image(case: Case) -> None:
    """log_likelihood, where there is one, gives a finite number of each image, whatever else is in the batch."""
    method, x = case.fresh().eval(), case.batch()
    at = case.place("log_likelihood" if "log_likelihood" in vars(case.cls) else "decode")
    with torch.no_grad():
        z = method.encode(x)
        found = method.log_likelihood(x, z)
        if found is None:
            return
        few = method.log_likelihood(x[:_FEW], z[:_FEW])
    shape = tuple(found.shape)
    require(shape == (len(x),), f"{at}: log_likelihood(x, z) has shape {shape}, not {(len(x),)}: [b]")
    require(bool(found.isfinite().all()), f"{at}: log_likelihood(x, z) is not finite on the first batch")
    require(
        few is not None and torch.allclose(few, found[:_FEW], rtol=1e-4, atol=1e-3),
        f"{at}: log_likelihood(x, z) of an image is another among other images: p(x|z) must depend on its own x and z "
        "alone. Keep what it needs beside them, such as a variance, in buffers",
    )


def _normalisation(z: Tensor, log_p: Tensor) -> float:
    """|log of the mean of r / p| over draws of p, 0 for a normalised p; r is the normal of half their variance."""
    z, log_p = z.double(), log_p.double()
    variance = z.var(0) / 2
    log_r = -0.5 * ((z - z.mean(0)).square() / variance + (2 * math.pi * variance).log()).sum(1)
    return abs(float(torch.logsumexp(log_r - log_p, dim=0)) - math.log(len(z)))


def _distance(z: Tensor, axis: int, log_density: Callable[[Tensor], Tensor | None]) -> float:
    """The Kolmogorov-Smirnov distance of draws along an axis from the density of that axis given their other axes."""
    low, high = (float(end) for end in z[:, axis].aminmax())
    margin = (high - low) / 2
    grid = torch.linspace(low - margin, high + margin, _NODES)
    moved = z[:, None].repeat(1, _NODES, 1)
    moved[:, :, axis] = grid
    logs = log_density(moved.flatten(0, 1))
    assert logs is not None
    relative = logs.double().view(len(z), _NODES)
    density = (relative - relative.amax(1, keepdim=True)).exp()
    return _to_uniform(_position(z[:, axis].double(), grid.double().expand(len(z), -1), density))


def _position(
    z: Float64[Tensor, " n"], grid: Float64[Tensor, "n g"], density: Float64[Tensor, "n g"]
) -> Float64[Tensor, " n"]:
    """The distribution function of each density on its grid, at each z. It is uniform for draws of the density."""
    mass = torch.cumulative_trapezoid(density, grid, dim=1)
    mass = torch.cat([torch.zeros_like(mass[:, :1]), mass], dim=1)
    mass = mass / mass[:, -1:].clamp(min=torch.finfo(mass.dtype).tiny)
    right = torch.searchsorted(grid.contiguous(), z[:, None]).clamp(1, grid.shape[1] - 1)
    (a, b), (low, high) = (
        (values.gather(1, right - 1)[:, 0], values.gather(1, right)[:, 0]) for values in (grid, mass)
    )
    return low + (high - low) * ((z - a) / (b - a)).clamp(0, 1)


def _to_uniform(u: Float64[Tensor, " n"]) -> float:
    """The Kolmogorov-Smirnov distance of a sample from the uniform distribution on [0, 1]."""
    n = len(u)
    steps = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return float((u.sort().values - steps).abs().max()) + 0.5 / n
