"""The latent direction of each factor (Algorithm 2 of the AVAE paper), and the scores along these directions.

Algorithm 2 takes 10,000 draws of 10,000 codes. Covariances from blocks of draws do that in seconds, in float64.
`metrics.grid` explains `grid_codes` and `sizes`.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lvm_bench.errors import UserError
from lvm_bench.metrics.arrays import Array, check_at_least, check_seed, matrix, metric
from lvm_bench.metrics.factors import BINS, PAPER_BINS, information_gap
from lvm_bench.metrics.grid import Factors, drawn_codes, factor_indices, fixed_draws, grid_matrix
from lvm_bench.seeding import generator

PAPER_DRAWS = 10_000  # draws of Algorithm 2 over all factors; the score takes half as many

PAPER_IMAGES = 10_000  # codes per draw

ROUNDING = 1e-6  # codes are float32, so that a spread below this share of the largest is rounding


def _unit_rows(directions: Array, name: str, k: int | None = None, l: int | None = None) -> Float64[Tensor, "k l"]:
    """Directions in float64; UserError unless they are unit vectors, k of l dimensions if given."""
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
    if k is not None and len(rows) != k:
        raise UserError(f"{name}: directions has {len(rows)} rows for {k} factors; give one each.")
    return rows


def _covariances(z: Float64[Tensor, "b images l"]) -> Float64[Tensor, "b l l"]:
    """The covariance of the codes of each draw. The difference loses no digits if codes are centred over the grid."""
    mean, images = z.mean(1, keepdim=True), z.shape[1]
    return (z.mT @ z - images * mean.mT @ mean) / (images - 1)


# Latent directions


def _quietest_directions(
    codes: Float64[Tensor, "N l"], sizes: Sequence[int], draws: int, images: int, stream: torch.Generator
) -> Iterator[tuple[int, Float64[Tensor, "b l"]]]:
    """Blocks of draws as (k, u): along the unit vector u the codes of a draw that fixes factor k vary least."""
    for k, z in fixed_draws(codes - codes.mean(0), sizes, draws, images, stream):
        yield k, torch.linalg.eigh(_covariances(z)).eigenvectors[:, :, 0]


def latent_directions(
    grid_codes: Float[Array, "N l"],
    sizes: Sequence[int],
    draws: int = PAPER_DRAWS,
    images: int = PAPER_IMAGES,
    seed: int = 0,
) -> Float64[Tensor, "k l"]:
    """The unit vector of each factor: the mean direction in which codes vary least while that factor is fixed.

    Over all factors there are `draws` draws of `images` codes, with replacement. The largest entry by magnitude is
    positive. AVAE paper, Algorithm 2. An axis without variance becomes the direction of every factor; see `whitened`.
    """
    codes = grid_matrix(grid_codes, sizes, "latent_directions")
    check_at_least(1, "latent_directions", draws=draws)
    check_at_least(2, "latent_directions", images=images)
    check_seed("latent_directions", seed)
    k, l = len(sizes), codes.shape[1]
    outer = torch.zeros(k, l, l, dtype=torch.float64)
    for factor, u in _quietest_directions(codes, sizes, draws, images, generator(seed, "latent_directions")):
        outer[factor] += u.T @ u
    if not outer.any(dim=(1, 2)).all():
        raise UserError(f"latent_directions: draws is {draws}, and one of the {k} factors was never fixed; give more.")
    # The authors' PCA of these l x l matrices centres their columns, which loses the direction (1, ..., 1).
    top = torch.linalg.eigh(outer).eigenvectors[:, :, -1]
    return top * top.gather(1, top.abs().argmax(1, keepdim=True)).sign()


def whitened(grid_codes: Float[Array, "N l"]) -> Float64[Tensor, "N r"]:
    """Codes with mean 0 and identity covariance, in the r <= l principal directions that vary beyond rounding.

    The others are dropped: scaled up they would be noise, and at 0 they would be the quietest directions of all.
    If all codes are equal, the result is one column of 0.
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
    """MIG of the coordinates of codes along the directions, which need not be orthogonal. AVAE paper, sec. IV-B3.

    A coordinate that does not vary beyond rounding counts as constant.
    """
    rows = matrix(codes, "codes", "pca_mig").cpu()
    k = factor_indices(factors, len(rows), "pca_mig").shape[1]
    axes = _unit_rows(directions, "pca_mig", k, rows.shape[1])
    along = rows @ axes.T
    # MIG ignores scale: in a dead direction the rounding left by the other axes would count in full.
    known = torch.where(along.std(0) > ROUNDING * rows.std(0).max(), along, 0)
    return information_gap(known, factors, bins, "pca_mig")


def pca_factor_vae_score(
    grid_codes: Float[Array, "N l"],
    sizes: Sequence[int],
    directions: Float[Array, "k l"],
    draws: int = PAPER_DRAWS // 2,
    images: int = PAPER_IMAGES,
    seed: int = 0,
) -> float:
    """Share of draws whose direction of least variance is nearest, by cosine, to the direction of the fixed factor.

    The score can be 1 although directions are wrong, as long as they differ. With a collapsed axis, which varies least
    in every draw, the score is chance; whitened codes and the directions found in them have no such axis.
    AVAE paper, sec. IV-B3.
    """
    codes = grid_matrix(grid_codes, sizes, "pca_factor_vae_score")
    axes = _unit_rows(directions, "pca_factor_vae_score", len(sizes), codes.shape[1])
    check_at_least(1, "pca_factor_vae_score", draws=draws)
    check_at_least(2, "pca_factor_vae_score", images=images)
    check_seed("pca_factor_vae_score", seed)
    stream = generator(seed, "pca_factor_vae_score")
    blocks = _quietest_directions(codes, sizes, draws, images, stream)
    return sum(int(((u @ axes.T).square().argmax(1) == k).sum()) for k, u in blocks) / draws


def direction_angles(directions: Float[Array, "k l"]) -> Float64[Tensor, "k k"]:
    """The angle in degrees, in [0, 90], between the lines along every two directions. AVAE paper, Figure 4."""
    rows = _unit_rows(directions, "direction_angles")
    cosines = rows @ rows.T
    cosines = (cosines + cosines.T) / 2  # on some processors the product is not symmetric to the last bit
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
    # The draws of `mig`, so that the two scores compare.
    codes, factors = drawn_codes(grid_codes, factor_sizes, samples, seed, "mig")
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
    """Share of draws whose quietest direction is the fixed factor's, plain and whitened; higher is better."""
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
