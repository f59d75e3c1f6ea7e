"""Disentanglement scores beside disent. Both sides have the same codes, draws and trees."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from benchmarks.measure import taking_turns
from benchmarks.rows import Equality, Goal, Measured, Row, add, row
from lvm_bench.metrics import dci, draw_factors, factor_vae_score, mig
from lvm_bench.metrics.grid import fixed_draws
from lvm_bench.seeding import derive, generator

SIZES, LATENT = (3, 4, 8, 12, 12), 6
VOTES, TEST_VOTES, SAMPLES, REPEATS = 10_000, 5_000, 10_000, 5


def grid_codes() -> Tensor:
    """Codes [N l] of a grid whose factors are mixed and noisy, so that no score is 0 or 1."""
    stream = generator(0, "benchmark")
    grid = torch.cartesian_prod(*[torch.linspace(-1, 1, size, dtype=torch.float64) for size in SIZES])
    mixing = torch.eye(len(SIZES), LATENT) + 0.5 * torch.randn(len(SIZES), LATENT, generator=stream)
    return grid @ mixing.double() + 0.5 * torch.randn(len(grid), LATENT, generator=stream, dtype=torch.float64)


def sample(n: int, purpose: str) -> tuple[Tensor, Tensor]:
    """Codes [n l] and factors [n k] of random combinations."""
    values = draw_factors(SIZES, n, generator(0, "benchmark", purpose))
    return grid_codes()[np.ravel_multi_index(tuple(values.numpy().T), SIZES)], values


@row("mig", "MIG, 10,000 codes", "disent", Goal(faster=10.0), smoke=True)
def mig_scores(small: bool) -> Measured:
    """MIG of the same codes by us and by disent."""
    from disent.metrics._mig import _compute_mig

    rows, values = sample(SAMPLES, "mig")
    arrays = rows.numpy().T, values.numpy().T
    theirs = lambda: _compute_mig(*arrays)["mig.discrete_score"]  # noqa: E731
    mine, others, a, b = taking_turns(lambda: mig(rows, values), theirs, 3 if small else 11)
    return Measured(mine, others, Equality("the score", abs(a - b), 1e-9))


def disent_votes(codes: Tensor, votes: int, tests: int, bare: bool) -> Callable[[], float]:
    """FactorVAE score by disent, from our draws. The drawing counts in our time alone.

    disent collects the codes of a vote one by one, as its data sets do. `bare` replaces that by one look-up.
    """
    from disent.dataset import DisentDataset
    from disent.dataset.data import GroundTruthData
    from disent.metrics import metric_factor_vae

    class Codes(GroundTruthData):
        factor_names, factor_sizes = tuple(map(str, range(len(SIZES)))), SIZES

        def __init__(self, drawn: Iterator[np.ndarray]):
            super().__init__()
            self.drawn = drawn

        def _get_observation(self, idx: int) -> np.ndarray:
            return table[idx]

        def sample_factors(self, size: int) -> np.ndarray:
            return next(self.drawn)

    class Bare(DisentDataset):
        def dataset_batch_from_indices(self, indices: Sequence[int], mode: str, collate: bool = True) -> np.ndarray:
            return table[indices]

    table, stream = codes.numpy(), generator(0, "factor_vae_score")
    # Draws with the same stream, from a grid whose codes are its factors, tell the factors of our draws.
    grid = torch.cartesian_prod(*map(torch.arange, SIZES)).double()
    blocks = chain.from_iterable(fixed_draws(grid, SIZES, count, 64, stream) for count in (votes, tests))
    drawn = [(k, values) for k, block in blocks for values in block.long().numpy()]
    # Codes are divided by our variance, which is that of the whole grid.
    counts: Any = {"num_train": votes, "num_eval": tests, "num_variance_estimate": len(codes)}

    def score() -> float:
        fixed, values = (iter(column) for column in zip(*drawn, strict=True))
        dataset = (Bare if bare else DisentDataset)(Codes(values))

        def randint(low: int, high: int | None = None) -> int:
            return next(fixed) if high is None else 0  # a factor to fix, or a seed

        with mock.patch.object(np.random, "randint", randint):
            return metric_factor_vae(dataset, lambda x: x, **counts)["factor_vae.eval_accuracy"]

    return score


def factor_vae_scores(bare: bool, small: bool) -> Measured:
    """FactorVAE score of the same votes by us and by disent."""
    codes = grid_codes()
    votes, tests = (500, 250) if small else (VOTES, TEST_VOTES)
    theirs = disent_votes(codes, votes, tests, bare)
    ours = partial(factor_vae_score, codes, SIZES, votes, tests, prune=0)
    mine, others, a, b = taking_turns(ours, theirs, 2 if small else REPEATS)
    return Measured(mine, others, Equality("the score", abs(a - b), 1e-9))


for _bare, _name, _peer in (
    (False, "factor-vae", ""),
    (True, "factor-vae-bare", "its batches by one look-up"),
):
    add(
        Row(
            _name,
            "FactorVAE score, 10,000 + 5,000 votes",
            "disent",
            Goal(faster=10.0),
            partial(factor_vae_scores, _bare),
            peer=_peer,
            smoke=_bare,
        )
    )


@row("dci", "DCI, 3,000 codes, the same trees", "disent", Goal(faster=1.8))
def dci_scores(small: bool) -> Measured:
    """DCI by us and by disent, from trees with the same random states."""
    from disent.metrics._dci import _compute_dci
    from sklearn.ensemble import GradientBoostingClassifier

    codes, values = sample(300 if small else 3000, "dci")
    if small:
        codes, values = codes, values[:, :2]
    train = len(codes) - len(codes) // 3
    arrays = [part.numpy().T for part in (codes[:train], values[:train], codes[train:], values[train:])]

    def theirs() -> dict[str, float]:
        states = (derive(0, "dci", k) % 2**32 for k in range(values.shape[1]))
        trees = lambda: GradientBoostingClassifier(random_state=next(states))  # noqa: E731
        with mock.patch("sklearn.ensemble.GradientBoostingClassifier", trees):
            return _compute_dci(*arrays)

    ours = partial(dci, codes, values)
    mine, others, a, b = taking_turns(ours, theirs, 2 if small else 5, warm=False)
    keys = {
        "disentanglement": "dci.disentanglement",
        "completeness": "dci.completeness",
        "informativeness": "dci.informativeness_test",
    }
    difference = max(abs(a[key] - b[name]) for key, name in keys.items())
    return Measured(mine, others, Equality("the three scores", difference, 1e-9))
