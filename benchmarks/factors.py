"""MIG and FactorVAE score against the `disent` package, in one run: `python benchmarks/factors.py` (needs disent).

Both get the same codes and the same draws; drawing them counts in our time alone. disent collects the codes of a vote
one by one, as its data sets do; `bare` replaces that by a single look-up. The two alternate; the ratio is that of the
medians.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from unittest import mock

import numpy as np
import torch
from disent.dataset import DisentDataset
from disent.dataset.data import GroundTruthData
from disent.metrics import metric_factor_vae
from disent.metrics._mig import _compute_mig
from torch import Tensor

from lvm_bench.metrics import draw_factors, factor_vae_score, factors, mig
from lvm_bench.seeding import generator

SIZES, LATENT = (3, 4, 8, 12, 12), 6
VOTES, TEST_VOTES, SAMPLES, REPEATS = 10_000, 5_000, 10_000, 5
Score = Callable[[], tuple[float, float]]  # the score, and the seconds it took


def grid_codes() -> Tensor:
    """Codes [N l] of a grid whose factors are mixed and noisy, so that no score is 0 or 1."""
    stream = generator(0, "benchmark")
    grid = torch.cartesian_prod(*[torch.linspace(-1, 1, size, dtype=torch.float64) for size in SIZES])
    mixing = torch.eye(len(SIZES), LATENT) + 0.5 * torch.randn(len(SIZES), LATENT, generator=stream)
    return grid @ mixing.double() + 0.5 * torch.randn(len(grid), LATENT, generator=stream, dtype=torch.float64)


def timed(score: Callable[[], float]) -> tuple[float, float]:
    """The score and the seconds it took."""
    start = time.perf_counter()
    value = score()
    return value, time.perf_counter() - start


def mig_scores(codes: Tensor) -> tuple[Score, Score]:
    """MIG of 10,000 samples by disent and by us."""
    values = draw_factors(SIZES, SAMPLES, generator(0, "benchmark", "mig"))
    rows = codes[np.ravel_multi_index(tuple(values.numpy().T), SIZES)]
    arrays = rows.numpy().T, values.numpy().T
    return (
        lambda: timed(lambda: _compute_mig(*arrays)["mig.discrete_score"]),
        lambda: timed(lambda: mig(rows, values)),
    )


class Codes(GroundTruthData):
    """The codes of a grid as a data set of disent, whose draws are given."""

    factor_names, factor_sizes = tuple(map(str, range(len(SIZES)))), SIZES

    def __init__(self, table: np.ndarray, drawn: Iterator[np.ndarray]):
        super().__init__()
        self.table, self.drawn = table, drawn

    def _get_observation(self, idx: int) -> np.ndarray:
        return self.table[idx]

    def sample_factors(self, size: int) -> np.ndarray:
        return next(self.drawn)


class Bare(DisentDataset):
    """Without the cost of collecting a batch one by one."""

    def dataset_batch_from_indices(self, indices: Sequence[int], mode: str, collate: bool = True) -> np.ndarray:
        return self.data.table[indices]


def factor_vae_scores(codes: Tensor, kind: type[DisentDataset]) -> tuple[Score, Score]:
    """FactorVAE score of 10,000 and 5,000 votes by disent and by us."""
    stream = generator(0, "factor_vae_score")
    # Drawn from a grid whose codes are its factors, the same stream tells the factors of what we draw.
    grid = torch.cartesian_prod(*map(torch.arange, SIZES)).double()
    blocks = chain.from_iterable(factors._draws(grid, SIZES, votes, 64, stream) for votes in (VOTES, TEST_VOTES))
    votes = [(k, values) for k, block in blocks for values in block.long().numpy()]
    # The variance that codes are divided by is ours, of the whole grid.
    counts = {"num_train": VOTES, "num_eval": TEST_VOTES, "num_variance_estimate": len(codes)}

    def by_disent() -> tuple[float, float]:
        fixed, drawn = (iter(column) for column in zip(*votes, strict=True))
        dataset = kind(Codes(codes.numpy(), drawn))

        def randint(low: int, high: int | None = None) -> int:
            return next(fixed) if high is None else 0  # a factor to fix, or a seed

        with mock.patch.object(np.random, "randint", randint):
            return timed(lambda: metric_factor_vae(dataset, lambda x: x, **counts)["factor_vae.eval_accuracy"])

    return by_disent, lambda: timed(lambda: factor_vae_score(codes, SIZES, VOTES, TEST_VOTES, prune=0))


def main() -> None:
    """Measure and print the table."""
    torch.set_num_threads(1)
    codes = grid_codes()
    pairs = {
        "MIG": mig_scores(codes),
        "FactorVAE score": factor_vae_scores(codes, DisentDataset),
        "FactorVAE score, bare": factor_vae_scores(codes, Bare),
    }
    print("| what | disent | ours | ratio, goal 10 | score | largest difference |\n|---|---|---|---|---|---|")
    for name, (theirs, ours) in pairs.items():
        runs = [(theirs(), ours()) for _ in range(REPEATS)]
        difference = max(abs(a - b) for (a, _), (b, _) in runs)
        if difference > 1e-9:
            raise SystemExit(f"{name}: the scores differ by {difference:g}.")
        slow, fast = (statistics.median(run[side][1] for run in runs) for side in (0, 1))
        print(f"| {name} | {slow:.4f} s | {fast:.4f} s | {slow / fast:.1f} | {runs[0][1][0]:.4f} | {difference:.1e} |")


if __name__ == "__main__":
    main()
