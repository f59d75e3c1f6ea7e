"""The latent direction of each factor (the AVAE paper's Algorithm 2) and the scores along directions."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lvm_bench.errors import UserError
from lvm_bench.metrics.arrays import Array, matrix, metric
from lvm_bench.metrics.factors import BINS, PAPER_BINS, mig_of_binned
from lvm_bench.metrics.grid import ROUNDING, Factors, at_least, checked_factors, checked_grid, sample, stream_of
from lvm_bench.seeding import generator

PAPER_DRAWS = 10_000  # draws of Algorithm 2, over all factors; half as many to score

PAPER_IMAGES = 10_000  # codes per draw


def _directions(directions: Array, l: int | None, name: str) -> Float64[Tensor, "k l"]:
    rows = matrix(directions, "directions", name, needs=1).cpu()
    if l is not None and rows.shape[1] != l:
        raise UserError(
            f"{name}: directions has shape {tuple(rows.shape)} and the codes have {l} dimensions; "
            f"give one direction per factor, [factors, {l}]."
        )
    lengths = rows.norm(dim=1)
    if not torch.allclose(lengths, torch.ones_like(lengths), atol=1e-6):
        raise UserError(
            f"{name}: directions has rows of length {float(lengths.min()):.4g} to {float(lengths.max()):.4g}; "
            f"give unit vectors, as latent_directions does."
        )
    return rows


def _covariances(z: Float64[Tensor, "b images l"]) -> Float64[Tensor, "b l l"]:
    """The covariance of each draw's codes, which are centred over the grid: so the difference loses no digits."""
    mean, images = z.mean(1, keepdim=True), z.shape[1]
    return (z.mT @ z - images * mean.mT @ mean) / (images - 1)


# Latent directions


def _quietest(
    codes: Float64[Tensor, "N l"], sizes: Sequence[int], draws: int, images: int, stream: torch.Generator
) -> Iterator[tuple[int, Float64[Tensor, "b l"]]]:
    """(k, the unit vector along which the codes of a draw with factor k fixed vary least), in blocks of draws."""
    for k, z in stream_of(codes - codes.mean(0), sizes, draws, images, stream):
        yield k, torch.linalg.eigh(_covariances(z)).eigenvectors[:, :, 0]


def latent_directions(
    grid_codes: Float[Array, "N l"],
    sizes: Sequence[int],
    draws: int = PAPER_DRAWS,
    images: int = PAPER_IMAGES,
    seed: int = 0,
) -> Float64[Tensor, "k l"]:
    """The unit vector of each factor: the mean direction in which codes vary least while that factor is fixed.

    `draws` in total, each of `images` codes, with replacement. The entry of largest magnitude is positive.
    AVAE paper, Algorithm 2. An axis without variance is the direction of every factor: see `whitened`.
    """
    codes = checked_grid(grid_codes, sizes, "latent_directions")
    at_least(1, "latent_directions", draws=draws)
    at_least(2, "latent_directions", images=images)
    k, l = len(sizes), codes.shape[1]
    outer = torch.zeros(k, l, l, dtype=torch.float64)
    for factor, u in _quietest(codes, sizes, draws, images, generator(seed, "latent_directions")):
        outer[factor] += u.T @ u
    if not outer.any(dim=(1, 2)).all():
        raise UserError(f"latent_directions: draws is {draws}, and some of {k} factors was never fixed; give more.")
    # Not the authors' PCA of these l x l matrices, which centres their columns and so loses (1, ..., 1).
    top = torch.linalg.eigh(outer).eigenvectors[:, :, -1]
    return top * top.gather(1, top.abs().argmax(1, keepdim=True)).sign()


def whitened(grid_codes: Float[Array, "N l"]) -> Float64[Tensor, "N r"]:
    """Codes with mean 0 and identity covariance, in the r <= l principal directions that vary beyond rounding.

    The others are dropped: scaled up they would be noise, kept at 0 the quietest directions of all. Equal codes
    are one column of 0.
    """
    codes = matrix(grid_codes, "grid_codes", "whitened").cpu()
    size = float(codes.abs().max())
    codes = codes - codes.mean(0)
    spectrum, axes = torch.linalg.eigh(codes.T @ codes / len(codes))
    varies = spectrum > spectrum.max() * ROUNDING**2
    if size == 0 or spectrum.max().sqrt() <= size * len(codes) * torch.finfo(spectrum.dtype).eps:
        return torch.zeros(len(codes), 1, dtype=codes.dtype)
    return codes @ axes[:, varies] * spectrum[varies].rsqrt()


def pca_mig(codes: Float[Array, "n l"], factors: Factors, directions: Float[Array, "k l"], bins: int = BINS) -> float:
    """MIG of the codes' coordinates along the directions, which need not be orthogonal. AVAE paper, sec. IV-B3.

    A coordinate that does not vary beyond rounding knows nothing.
    """
    rows = matrix(codes, "codes", "pca_mig").cpu()
    axes = _directions(directions, rows.shape[1], "pca_mig")
    k = checked_factors(factors, len(rows), "pca_mig").shape[1]
    if len(axes) != k:
        raise UserError(f"pca_mig: directions has {len(axes)} rows for {k} factors; give one each.")
    along = rows @ axes.T
    # MIG does not see the scale: what is left of the other axes in a dead direction would count in full.
    known = torch.where(along.std(0) > ROUNDING * rows.std(0).max(), along, 0)
    return mig_of_binned(known, factors, bins, "pca_mig")


def pca_factor_vae_score(
    grid_codes: Float[Array, "N l"],
    sizes: Sequence[int],
    directions: Float[Array, "k l"],
    draws: int = PAPER_DRAWS // 2,
    images: int = PAPER_IMAGES,
    seed: int = 0,
) -> float:
    """Share of draws whose direction of least variance is nearest, by cosine, to that of the factor they share.

    Directions estimated from other draws may be wrong and the score still 1: it asks only that they differ.
    A collapsed axis varies least in every draw, and the score is chance; for the whitened score, which has no
    such axis, give whitened codes and the directions found in them. AVAE paper, sec. IV-B3.
    """
    codes = checked_grid(grid_codes, sizes, "pca_factor_vae_score")
    axes = _directions(directions, codes.shape[1], "pca_factor_vae_score")
    if len(axes) != len(sizes):
        raise UserError(
            f"pca_factor_vae_score: directions has {len(axes)} rows for {len(sizes)} factors; give one each."
        )
    at_least(1, "pca_factor_vae_score", draws=draws)
    at_least(2, "pca_factor_vae_score", images=images)
    stream = generator(seed, "pca_factor_vae_score")
    right = sum(
        int(((u @ axes.T).square().argmax(1) == k).sum()) for k, u in _quietest(codes, sizes, draws, images, stream)
    )
    return right / draws


def direction_angles(directions: Float[Array, "k l"]) -> Float64[Tensor, "k k"]:
    """Angle in degrees between the lines along each two directions, in [0, 90]. AVAE paper, Figure 4."""
    rows = _directions(directions, None, "direction_angles")
    cosines = rows @ rows.T
    cosines = (cosines + cosines.T) / 2  # not every processor's product is symmetric to the last bit
    return cosines.abs().clamp(max=1).arccos().rad2deg().fill_diagonal_(0)


@metric("pca_mig", better="higher", of=("grid",))
def pca_mig_of_directions(
    grid_codes: Float[Array, "N l"],
    factor_sizes: Sequence[int],
    directions: Float[Array, "k l"],
    samples: int,
    seed: int,
) -> dict[str, float]:
    """MIG along the latent directions with 20 bins, and the paper's 10; higher is better (AVAE paper, IV-B3)."""
    codes, factors = sample(grid_codes, factor_sizes, samples, seed, "mig")  # those of `mig`: the two compare
    return {"": pca_mig(codes, factors, directions), "paper": pca_mig(codes, factors, directions, PAPER_BINS)}


@metric("pca_factor_vae_score", better="higher", of=("grid",))
def pca_factor_vae_score_of_directions(
    grid_codes: Float[Array, "N l"],
    factor_sizes: Sequence[int],
    directions: Float[Array, "k l"],
    votes: int,
    direction_images: int,
    seed: int,
) -> dict[str, float]:
    """Share of draws whose quietest direction is that of the factor fixed, plain and whitened; higher is better."""
    white = whitened(grid_codes)
    found = latent_directions(white, factor_sizes, votes, direction_images, seed)
    return {
        part: pca_factor_vae_score(codes, factor_sizes, axes, votes // 2, direction_images, seed)
        for part, codes, axes in (("", grid_codes, directions), ("whitened", white, found))
    }


@metric("angle_deviation", better="lower", of=("grid",))
def angle_deviation(directions: Float[Array, "k l"]) -> float:
    """Mean |90 - angle| between the latent directions, degrees; lower is better (AVAE paper, Figure 4)."""
    angles = direction_angles(directions)
    first, second = torch.triu_indices(len(angles), len(angles), offset=1)
    return float((90 - angles[first, second]).mean())
