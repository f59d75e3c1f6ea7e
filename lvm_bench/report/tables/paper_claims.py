"""A paper's claims about its results (published/claims*.toml), judged by scores: verdict, effect, interval, p."""

import math
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from dataclasses import field as with_default
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from lvm_bench.errors import UserError
from lvm_bench.report.tables import statistics
from lvm_bench.suites.bench_toml import published_folder
from lvm_bench.suites.labels import label
from lvm_bench.text import counted

COMPARED = ("vae", "beta-tcvae", "rae-l2", "aae", "wae-mmd", "avae")  # the six methods of the AVAE paper

AVAE, EVAE = "avae-2024", "evae-2025"  # the papers with claims, by the source of their numbers

FILES = {AVAE: "claims.toml", EVAE: "claims-evae-2025.toml"}

FIELDS = {EVAE: ("vae", "evae", "evae-10", "beta-vae-0.1", "beta-vae-5", "iwae", "wae-mmd", "hvae")}  # its Table 2

CLOSE = 4 / 3  # "close to the best": at most a third worse; our reading of the paper's words

STEADY = 0.1  # "small variation over seeds": a standard deviation of at most a tenth of the mean

BANDWIDTH_KINDS = ("rises_with_l", "falls_with_m", "below")

Interval = Callable[[float], tuple[float, float]]  # at a level: .05 for 95 %

Means = dict[tuple[str, str, str], "Mean"]  # (data set, method, metric)


@dataclass(frozen=True)
class Mean:
    """A mean over n seeds with its population standard deviation and the values by seed.

    Published means have no values, and a deviation of NaN if none was published.
    """

    mean: float
    std: float
    n: float
    values: dict[int, float] = with_default(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """A statement of the paper about its results, in a form that scores can be held against.

    Every method in `methods` must do what `kind` says, by every metric and on every data set. `than` names other
    methods, metrics or data sets for the worse side of a comparison.
    """

    id: str
    section: str
    text: str
    kind: str
    table: str = ""
    methods: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    better: str = "lower"
    than: dict[str, tuple[str, ...]] = with_default(default_factory=dict)
    value: float = math.nan
    significant: bool = False
    only: bool = False
    source: str = AVAE
    reading: str = ""
    holds_in_paper: bool | None = None

    @property
    def field(self) -> tuple[str, ...]:
        """The methods that the paper compares."""
        return FIELDS.get(self.source, COMPARED)

    @property
    def sign(self) -> int:
        """1 if lower is better, else -1."""
        return 1 if self.better == "lower" else -1


@dataclass(frozen=True)
class Comparison:
    """One comparison of a claim, with a 95 % interval and a p over common seeds if there are two or more."""

    holds: bool  # by the means alone
    effect: float  # positive in the direction of the claim
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    what: str = ""  # in words
    over: str = ""  # what the interval is over: `3 seeds`
    interval: Interval | None = with_default(default=None, compare=False, repr=False)

    @property
    def settled(self) -> bool | None:
        """Whether the comparison goes the claim's way; None where its interval contains 0, or there is none."""
        if self.low > 0 and self.holds:
            return True
        return False if self.high < 0 and not self.holds else None

    def of_many(self, count: int) -> "Comparison":
        """The comparison as one of several, by Bonferroni: a wider interval, and p times their number."""
        low, high = self.interval(statistics.LEVEL / count) if self.interval else (self.low, self.high)
        return replace(self, low=low, high=high, p=self.p if math.isnan(self.p) else min(1.0, count * self.p))


def claims(paper: str = AVAE) -> list[Claim]:
    """Every claim of a paper of `FILES`."""
    file = published_folder() / FILES[paper]
    entries = tomllib.loads(file.read_text(encoding="utf-8"))["claim"]
    return [Claim(**{key: _frozen(value) for key, value in entry.items()}) for entry in entries]


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return tuple(value) if isinstance(value, list) else value


def measured_means(frame: pd.DataFrame) -> Means:
    """The means of a suite's scores over its seeds."""
    values: dict[tuple[str, str, str], dict[int, float]] = {}
    rows = zip(frame["dataset"], frame["method"], frame["metric"], frame["seed"], frame["value"].tolist(), strict=True)
    for dataset, method, metric, seed, value in rows:
        values.setdefault((dataset, method, metric), {})[seed] = value
    return {key: _mean(own) for key, own in values.items()}


def _mean(values: dict[int, float]) -> Mean:
    array = np.array([*values.values()])
    with np.errstate(invalid="ignore"):
        return Mean(float(array.mean()), float(array.std()), len(values), values)


def judge_bandwidths(claim: Claim, frame: pd.DataFrame) -> bool:
    """Whether a claim about Table I or II holds. `frame` has the columns metric, l, m and mean."""
    rows = frame[frame["metric"] == claim.metrics[0]]
    means = rows.pivot(index="l", columns="m", values="mean").sort_index().sort_index(axis=1)
    match claim.kind:
        case "rises_with_l":
            return bool((means.diff().iloc[1:] >= 0).all(axis=None))
        case "falls_with_m":
            return bool((means.diff(axis=1).iloc[:, 1:] <= 0).all(axis=None))
        case _:
            return bool((means < claim.value).all(axis=None))


def judge(claim: Claim, means: Means, extractor: str = "inception") -> bool | None:
    """Whether a claim holds by the means alone, on those of its data sets that have them; None if none can be compared.

    Published numbers are judged so. `settle` judges means over seeds, by their intervals.
    """
    seen = list(comparisons(claim, means, extractor, claim.methods))
    if not seen:
        return None
    holds = all(one.holds for one in seen)
    return holds and not (claim.only and others_that_do(claim, means, extractor))


def others_that_do(claim: Claim, means: Means, extractor: str) -> list[str]:
    """The methods that the claim does not name and for which it holds all the same, by the means alone."""
    seen = compared_others(claim, means, extractor)
    return [name for name, found in seen.items() if all(one.holds for one in found)]


def compared_others(claim: Claim, means: Means, extractor: str) -> dict[str, list[Comparison]]:
    """The claim's comparisons of each method that it does not name, where there are some."""
    others = (name for name in claim.field if name not in claim.methods)
    seen = {name: list(comparisons(claim, means, extractor, (name,))) for name in others}
    return {name: found for name, found in seen.items() if found}


def settle(seen: list[Comparison]) -> bool | None:
    """Whether all that a claim says holds by the intervals of its comparisons; None where they cannot tell.

    It fails where one comparison goes the other way, as one of many.
    """
    if any(one.of_many(len(seen)).settled is False for one in seen):
        return False
    return True if seen and all(one.settled for one in seen) else None


def comparisons(claim: Claim, means: Means, extractor: str, methods: tuple[str, ...]) -> Iterator[Comparison]:
    """The comparisons of a claim about these methods. One that lacks a number is left out."""
    for dataset in claim.datasets:
        for method in methods:
            for metric in claim.metrics:
                key = local(metric, extractor)
                if (dataset, method, key) in means:
                    for one in _compared(claim, means, extractor, (dataset, method, metric)):
                        yield replace(one, what=f"{label(method)} on {dataset} by {key}{one.what}")


def _compared(claim: Claim, means: Means, extractor: str, where: tuple[str, str, str]) -> Iterator[Comparison]:
    dataset, method, metric = where
    key, sign = local(metric, extractor), claim.sign
    own = means[dataset, method, key]
    match claim.kind:
        case "better_than":
            yield from _better_than(claim, means, extractor, own, where)
            return
        case "at_most":
            differences = np.array([claim.value - value for value in own.values.values()])
            yield _tested(own.mean <= claim.value, claim.value - own.mean, differences, f", from {claim.value:g}")
            return
        case "steady":
            yield _steady(own)
            return
    others = {
        name: means[dataset, name, key] for name in claim.field if (dataset, name, key) in means and name != method
    }
    # A NaN ranks last.
    ranked = sorted(others, key=lambda name: _nan_last(sign * others[name].mean))
    count = len(ranked) + (method in claim.field)
    if count < 2:
        return
    better = sum(_nan_last(sign * other.mean) < _nan_last(sign * own.mean) for other in others.values())
    half = -(-count // 2)
    match claim.kind:
        case "best":
            for rival in ranked:
                behind = _nan_last(sign * others[rival].mean) >= _nan_last(sign * own.mean)
                yield _against(behind, own, others[rival], sign, f", against {label(rival)}")
        case "best_or_second" | "better_half":
            allowed = {"best_or_second": 1, "better_half": half - 1}[claim.kind]
            rival = ranked[min(allowed, len(ranked) - 1)]
            yield _against(better <= allowed, own, others[rival], sign, f", against {label(rival)}")
        case "worse_half":
            rival = ranked[min(half, len(ranked)) - 1]
            yield _against(better >= half, own, others[rival], -sign, f", worse than {label(rival)}")
        case "close":
            best, factor = others[ranked[0]], CLOSE if sign == 1 else 1 / CLOSE
            bound = replace(
                best, mean=factor * best.mean, values={seed: factor * value for seed, value in best.values.items()}
            )
            holds = sign * own.mean <= sign * bound.mean
            yield _against(holds, own, bound, sign, f", within a third of {label(ranked[0])}")
        case "correlation":
            seen = _correlated(claim, means, dataset, key, local(claim.than["metrics"][0], extractor))
            if seen:
                yield seen
        case _:
            raise UserError(f"{claim.source}, claim {claim.id}: unknown kind {claim.kind!r}.")


def _steady(own: Mean) -> Comparison:
    """How far a deviation stays below a tenth of the mean."""
    bound = STEADY * abs(own.mean)

    def interval(level: float) -> tuple[float, float]:
        low, high = statistics.deviation_interval(np.array([*own.values.values()]), level)
        return bound - high, bound - low

    over = counted(len(own.values), "seed")
    what = ", deviation below a tenth of the mean"
    return Comparison(own.std <= bound, bound - own.std, *interval(statistics.LEVEL), math.nan, what, over, interval)


def _nan_last(value: float) -> float:
    """A value to sort by: NaN becomes infinity."""
    return math.inf if math.isnan(value) else value


def _better_than(
    claim: Claim, means: Means, extractor: str, own: Mean, where: tuple[str, str, str]
) -> Iterator[Comparison]:
    dataset, method, metric = where
    for d in claim.than.get("datasets", (dataset,)):
        for m in claim.than.get("methods", (method,)):
            for k in claim.than.get("metrics", (metric,)):
                other = means.get((d, m, local(k, extractor)))
                if other is None:
                    continue
                effect = claim.sign * (other.mean - own.mean)
                what = f", against {label(m)} on {d} by {local(k, extractor)}"
                seen = _against(effect > 0, own, other, claim.sign, what)
                if claim.significant:
                    # Published numbers are means alone: their seeds cannot be paired.
                    unpaired = effect > 2 * _standard_error(own, other)
                    settled = unpaired if math.isnan(seen.p) else seen.p < statistics.LEVEL
                    seen = replace(seen, holds=seen.holds and settled)
                yield seen


def _against(holds: bool, own: Mean, other: Mean, sign: int, what: str) -> Comparison:
    """The comparison of two means, tested over the seeds that both have."""
    common = [seed for seed in own.values if seed in other.values]
    differences = sign * np.array([other.values[seed] - own.values[seed] for seed in common])
    return _tested(holds, sign * (other.mean - own.mean), differences, what)


def _tested(holds: bool, effect: float, differences: np.ndarray, what: str) -> Comparison:
    interval = partial(statistics.t_interval, differences)
    p = float(statistics.paired_t(differences[None])[0]) if len(differences) else math.nan
    over = counted(len(differences), "seed")
    return Comparison(bool(holds), effect, *interval(statistics.LEVEL), p, what, over, interval)


def _standard_error(a: Mean, b: Mean) -> float:
    """The standard error of the difference of two means; infinity if one of them has a single seed."""
    if min(a.n, b.n) < 2:
        return math.inf
    return math.sqrt(a.std**2 / (a.n - 1) + b.std**2 / (b.n - 1))


def _correlated(claim: Claim, means: Means, dataset: str, one: str, two: str) -> Comparison | None:
    """The rank correlation of two metrics over the methods. It is positive in the direction of the claim."""
    names = [name for name in claim.field if (dataset, name, one) in means and (dataset, name, two) in means]
    x, y = (np.array([means[dataset, name, key].mean for name in names]) for key in (one, two))
    known = ~(np.isnan(x) | np.isnan(y))
    x, y = x[known], claim.sign * y[known]
    rho, low, high = statistics.spearman(x, y)
    if math.isnan(rho):
        return None

    def interval(level: float) -> tuple[float, float]:
        return statistics.spearman(x, y, level)[1:]

    over = counted(len(x), "method")
    return Comparison(rho > 0, rho, low, high, math.nan, f", rank correlation with {two} over {over}", over, interval)


def local(metric: str, extractor: str) -> str:
    """The key of a published metric in a suite that has another extractor."""
    return metric.replace("@inception", f"@{extractor}")
