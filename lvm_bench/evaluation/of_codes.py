"""Evidence of codes on disk, without a model: the codes, their prior, ground-truth factors."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lvm_bench.data.images import Data, Images
from lvm_bench.evaluation.evidence import Absent, Evidence, EvidenceSettings
from lvm_bench.evaluation.of_sets import SEED
from lvm_bench.metrics.grid import Sampled
from lvm_bench.metrics.posteriors import LogDensity
from lvm_bench.seeding import generator

Prior = Literal["normal"] | None  # N(0, I), or none that is known

_NO_PRIOR = "--prior is not given"
_NOTHING = Images(np.empty((0, 1, 1, 1), np.uint8))


class Codes(Evidence):
    """Evidence of codes [N l]. Of more than `samples` of them so many, drawn at random, are measured.

    Factors that are a whole grid give every disentanglement metric. Those of samples give the metrics of pairs of a
    code and its factors.
    """

    def __init__(
        self,
        codes: Float[Tensor, "N l"],
        prior: Prior,
        factors: Int64[Tensor, "N k"] | None,
        settings: EvidenceSettings,
        device: str,
    ):
        data = Data("codes", _NOTHING, _NOTHING, _NOTHING, (0, 1), "")
        super().__init__(data, None, settings, SEED, device)
        self._all, self._prior, self._factors = codes, prior, factors
        self.n = min(len(codes), settings.samples)

    def images(self, what: str) -> Tensor:
        raise Absent

    def codes(self, what: str) -> Float[Tensor, "n l"]:
        if what != "mean":
            raise Absent("there are no draws from posteriors")
        if self.n == len(self._all):
            return self._all
        return self._all[torch.randperm(len(self._all), generator=generator(self.seed, "codes"))[: self.n]]

    def prior_codes(self) -> Float[Tensor, "n l"]:
        if self._prior is None:
            raise Absent(_NO_PRIOR)
        return torch.randn(self.n, self._all.shape[1], generator=generator(self.seed, "standard normal prior"))

    def target_variance(self) -> float:
        if self._prior is None:
            raise Absent(_NO_PRIOR)
        return 1.0

    def log_prior(self) -> LogDensity | None:
        if self._prior is None:
            raise Absent(_NO_PRIOR)
        return None

    def grid_codes(self) -> Float[Tensor, "N l"]:
        if self._factors is None:
            raise Absent("--factors is not given")
        order = grid_order(self._factors)
        return self._all if order is None else self._all[order]

    def factor_sizes(self) -> Sequence[int]:
        if self._factors is None:
            raise Absent("--factors is not given")
        sampled = Sampled(self._factors)
        return sampled if grid_order(self._factors) is None else tuple(sampled)


def grid_order(factors: Int64[Tensor, "N k"]) -> Int64[Tensor, " N"] | None:
    """The rows in the order of a grid, the last factor fastest; None unless each combination occurs once."""
    sizes = (factors.amax(0) + 1).tolist()
    if math.prod(sizes) != len(factors):
        return None
    places = torch.from_numpy(np.ravel_multi_index(tuple(factors.numpy().T), tuple(sizes)))
    order = places.argsort()
    return order if torch.equal(places[order], torch.arange(len(factors))) else None
