"""How methods compare over data sets and scores: interquartile means and probabilities of improvement."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Float64
from threadpoolctl import threadpool_limits

from lvm_bench.report.tables.aggregates import (
    Counts,
    Places,
    Runs,
    Tasks,
    counts_of,
    draws_of,
    interquartile_mean,
    percentile_interval,
    performance_profile,
    probability_of_improvement,
    resampled,
    resampled_improvement,
    stratified_bootstrap,
)
from lvm_bench.report.tables.blocks import Block, Blocks, blocks_of
from lvm_bench.report.tables.cells import badness
from lvm_bench.report.tables.word_table import WordTable
from lvm_bench.runs.suite_record import About
from lvm_bench.seeding import derive
from lvm_bench.suites.labels import label
from lvm_bench.text import listed

MOST = 20  # methods: a matrix or a figure of more of them could not be read


@dataclass(frozen=True)
class Aggregates:
    """The scaled scores of the methods that have every score. The best interquartile mean stands first."""

    methods: list[str]
    blocks: list[str]
    scores: dict[str, Runs]  # by method, its runs in each block
    unscaled: list[str]  # the blocks that set no scale
    compared: Blocks

    @cached_property
    def resamples(self) -> dict[str, Places]:
        """The resamples of each method, from a stream of its own. A method of one run per block has none."""
        return {
            name: stratified_bootstrap(own, np.random.default_rng(derive(0, "aggregates", name)), draws_of(own))
            for name, own in self.scores.items()
            if max(map(len, own)) > 1
        }

    @cached_property
    def counts(self) -> dict[str, Counts]:
        """How often each run occurs in the resamples of each method."""
        return {name: counts_of(self.scores[name], places) for name, places in self.resamples.items()}

    @property
    def draws(self) -> int:
        """The fewest resamples that a method has."""
        return min(len(places[0]) for places in self.resamples.values())

    def mean(self, method: str) -> tuple[float, float, float]:
        """The interquartile mean of a method and its interval; the interval is NaN without resamples."""
        low, high = math.nan, math.nan
        if drawn := self._resampled(method):
            low, high = percentile_interval(interquartile_mean(drawn)).tolist()
        return float(interquartile_mean(self.scores[method])), low, high

    def improvement(self, x: str, y: str) -> tuple[float, float, float]:
        """The probability that x is better than y and its interval; the interval is NaN without resamples of both."""
        low, high = math.nan, math.nan
        if {x, y} <= self.resamples.keys():
            with threadpool_limits(1):  # the products are too small for more
                drawn = resampled_improvement(self.scores[x], self.scores[y], self.counts[x], self.counts[y])
            low, high = percentile_interval(drawn).tolist()
        return float(probability_of_improvement(self.scores[x], self.scores[y])), low, high

    def profile(
        self, method: str, thresholds: Float64[np.ndarray, " t"]
    ) -> tuple[Float64[np.ndarray, " t"], Float64[np.ndarray, "2 t"] | None]:
        """The performance profile of a method and its interval; None without resamples."""
        drawn = self._resampled(method)
        return performance_profile(self.scores[method], thresholds), (
            percentile_interval(performance_profile(drawn, thresholds)) if drawn else None
        )

    def _resampled(self, method: str) -> Tasks:
        """The scores of a method's resamples; none without resamples."""
        return resampled(self.scores[method], self.resamples[method]) if method in self.resamples else []


def aggregates(frame: pd.DataFrame, about: About) -> Aggregates | None:
    """The scaled scores of a suite's methods; None for fewer than two methods or blocks."""
    found = blocks_of(frame, about)
    if found is None:
        return None
    every = {block.name: scaled(block, found.methods) for block in found.blocks}
    known = {name: own for name, own in every.items() if own}
    if len(known) < 2:
        return None
    scores = {method: [own[method] for own in known.values()] for method in found.methods}
    order = sorted(found.methods, key=lambda method: -interquartile_mean(scores[method]))
    return Aggregates(order, list(known), scores, [name for name in every if name not in known], found)


def scaled(block: Block, methods: list[str]) -> dict[str, Float64[np.ndarray, " _"]]:
    """Each method's runs on a scale on which its worst finite mean is 0 and the best is 1.

    A run that is not finite scores -infinity. Nothing is scaled where the finite means do not differ.
    """
    bad = {name: np.array([badness(value, block.better) for value in block.cells[name].values]) for name in methods}
    with np.errstate(invalid="ignore", over="ignore"):
        means = [mean for own in bad.values() if math.isfinite(mean := float(own.mean()))]
        worst, best = max(means, default=0.0), min(means, default=0.0)
        if not 0 < worst - best < math.inf:
            return {}
        return {
            name: np.where(np.isfinite(own), (worst - own) / (worst - best), -math.inf) for name, own in bad.items()
        }


def aggregates_table(found: Aggregates) -> WordTable:
    """A row per method with its interquartile mean and the interval."""
    text = [
        f"Interquartile means (IQM, larger is better) of {len(found.methods)} methods over {len(found.blocks)} blocks: "
        f"a data set and a score, {found.compared.seeds}. The IQM is the mean of the middle half of a method's scores.",
        "In each block scores are scaled linearly: the worst mean of these methods becomes 0 and the best becomes 1; "
        "of a score whose best value is 0, the distance from 0 counts. The numbers of suites with other methods are "
        "on other scales.",
        *_told(found),
    ]
    rows = []
    for method in found.methods:
        mean, *ends = found.mean(method)
        rows.append([label(method), _number(mean), _interval(*ends)])
    return WordTable("aggregates", "Scores over all blocks", " ".join(text), ["method", "IQM", "95 % interval"], rows)


def improvement_table(found: Aggregates) -> WordTable:
    """A row and a column per method: the probability that the row's is better than the column's."""
    text = [
        "Probability that a run of the row's method is better than a run of the column's (a tie counts half), mean "
        f"over {len(found.blocks)} blocks: a data set and a score, {found.compared.seeds}. In brackets: 95 % interval; "
        "one with 0.5 inside leaves open which of the two is better.",
        *_told(found),
    ]
    cells = {(x, x): "–" for x in found.methods}
    for i, x in enumerate(found.methods):
        for y in found.methods[i + 1 :]:
            p, low, high = found.improvement(x, y)
            cells[x, y] = f"{_number(p)} {_interval(low, high)}".strip()
            cells[y, x] = f"{_number(1 - p)} {_interval(1 - high, 1 - low)}".strip()
    names = [label(method) for method in found.methods]
    rows = [[name, *(cells[x, y] for y in found.methods)] for name, x in zip(names, found.methods, strict=True)]
    return WordTable("improvement", "Probability of improvement", " ".join(text), ["method", *names], rows)


def aggregate_tables(found: Aggregates) -> list[WordTable]:
    """The interquartile means, and the probabilities of improvement of at most MOST methods."""
    return [aggregates_table(found), *([improvement_table(found)] if len(found.methods) <= MOST else [])]


def _told(found: Aggregates) -> list[str]:
    """Sentences on the intervals, on scores that are not finite and on what was left out."""
    text = []
    if found.resamples:
        text.append(
            f"Intervals: percentiles of the stratified bootstrap, {found.draws:,} resamples of the runs of each block "
            "(Agarwal et al. 2021). They are too narrow where seeds are few and as a run's scores depend on each other."
        )
    if single := [label(name) for name in found.methods if name not in found.resamples]:
        text.append(f"No interval, as one seed shows no spread: {listed(single)}.")
    infinite = [
        f"{label(method)} on {block}"
        for method in found.methods
        for block, own in zip(found.blocks, found.scores[method], strict=True)
        if not np.isfinite(own).all()
    ]
    if infinite:
        text.append(f"Runs whose score is not finite count below all others: {listed(infinite, 4)}.")
    if found.unscaled:
        text.append(f"Without blocks in which finite means do not differ: {listed(found.unscaled, 4)}.")
    return text + found.compared.told


def _interval(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"[{_number(low)}, {_number(high)}]"


def _number(value: float) -> str:
    return f"{value:z.2f}" if math.isfinite(value) else "-∞"
