"""What the paper says of its results (published/claims.toml), held against scores: verdict, effect, interval, p."""

import math
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from lvm_bench.errors import UserError
from lvm_bench.report.tables import published, statistics
from lvm_bench.suites.labels import label

COMPARED = ("vae", "beta-tcvae", "rae-l2", "aae", "wae-mmd", "avae")  # the six methods of the paper

CLOSE = 4 / 3  # "close to the best": at most a third worse; our reading of the paper's words

STEADY = 0.1  # "small variation over seeds": a standard deviation of at most a tenth of the mean

BANDWIDTH_KINDS = ("rises_with_l", "falls_with_m", "below")

MeanScores = dict[tuple[str, str, str], "Score"]  # (data set, method, metric)


@dataclass(frozen=True)
class Score:
    """A mean over n seeds with its population standard deviation, nan where not published; and the seeds' values."""

    mean: float
    std: float
    n: float
    values: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """A statement of the paper about its results, in a form that scores can be held against.

    Every method of `methods` must do what `kind` says, by every metric, on every data set; `than` replaces
    methods, metrics or data sets on the worse side of a comparison.
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
    than: dict[str, tuple[str, ...]] = field(default_factory=dict)
    value: float = math.nan
    significant: bool = False
    only: bool = False
    source: str = "avae-2024"
    reading: str = ""
    holds_in_paper: bool | None = None

    @property
    def sign(self) -> int:
        """1 where lower is better, else -1."""
        return 1 if self.better == "lower" else -1


@dataclass(frozen=True)
class Seen:
    """One comparison of a claim: whether it is as claimed, and by how much (positive: as claimed), with its 95 %
    interval and p over common seeds, where there are two and more."""

    holds: bool
    effect: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    what: str = ""


def claims() -> list[Claim]:
    """Every claim of claims.toml."""
    file = published.published_folder() / "claims.toml"
    entries = tomllib.loads(file.read_text(encoding="utf-8"))["claim"]
    return [Claim(**{key: _frozen(value) for key, value in entry.items()}) for entry in entries]


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return tuple(value) if isinstance(value, list) else value


def published_scores(source: str) -> MeanScores:
    """The numbers of one source that belong to a data set and a method."""
    return {
        (row["dataset"], row["method"], row["metric"]): Score(row["mean"], row["std"], row["n"])
        for row in published.load(source).to_dict("records")
        if row["dataset"] and row["method"]
    }


def measured_scores(frame: pd.DataFrame) -> MeanScores:
    """A suite's scores, averaged over its seeds."""
    values: dict[tuple[str, str, str], dict[int, float]] = {}
    rows = zip(frame["dataset"], frame["method"], frame["metric"], frame["seed"], frame["value"].tolist(), strict=True)
    for dataset, method, metric, seed, value in rows:
        values.setdefault((dataset, method, metric), {})[seed] = value
    return {key: _score(own) for key, own in values.items()}


def _score(values: dict[int, float]) -> Score:
    """Of the values that are numbers."""
    known = {seed: value for seed, value in values.items() if not math.isnan(value)}
    if not known:
        return Score(math.nan, math.nan, 0)
    array = np.array([*known.values()])
    with np.errstate(invalid="ignore"):
        return Score(float(array.mean()), float(array.std()), len(known), known)


def judge_published(claim: Claim) -> bool | None:
    """Whether the numbers of a claim's own source bear it out."""
    if claim.kind in BANDWIDTH_KINDS:
        return judge_bandwidths(claim, published.load(claim.source))
    return judge(claim, published_scores(claim.source))


def judge_bandwidths(claim: Claim, frame: pd.DataFrame) -> bool:
    """A claim about the bandwidths of Table I or II: columns metric, l, m and mean."""
    rows = frame[frame["metric"] == claim.metrics[0]]
    means = rows.pivot(index="l", columns="m", values="mean").sort_index().sort_index(axis=1)
    match claim.kind:
        case "rises_with_l":
            return bool((means.diff().iloc[1:] >= 0).all(axis=None))
        case "falls_with_m":
            return bool((means.diff(axis=1).iloc[:, 1:] <= 0).all(axis=None))
        case _:
            return bool((means < claim.value).all(axis=None))


def judge(claim: Claim, scores: MeanScores, extractor: str = "inception") -> bool | None:
    """Whether scores bear a claim out, on those of its data sets that they hold; None if they cannot tell."""
    seen = list(comparisons(claim, scores, extractor, claim.methods))
    if not seen:
        return None
    holds = all(one.holds for one in seen)
    return holds and not (claim.only and others_that_do(claim, scores, extractor))


def others_that_do(claim: Claim, scores: MeanScores, extractor: str) -> list[str]:
    """The methods that a claim does not name and that do what it says of its own alone."""
    others = (name for name in COMPARED if name not in claim.methods)
    seen = {name: list(comparisons(claim, scores, extractor, (name,))) for name in others}
    return [name for name, found in seen.items() if found and all(one.holds for one in found)]


def comparisons(claim: Claim, scores: MeanScores, extractor: str, methods: tuple[str, ...]) -> Iterator[Seen]:
    """Every comparison of a claim about these methods for which all numbers are there."""
    for dataset in claim.datasets:
        for method in methods:
            for metric in claim.metrics:
                key = local(metric, extractor)
                if (dataset, method, key) in scores:
                    for one in _compared(claim, scores, extractor, (dataset, method, metric)):
                        yield replace(one, what=f"{label(method)} on {dataset} by {key}{one.what}")


def _compared(claim: Claim, scores: MeanScores, extractor: str, where: tuple[str, str, str]) -> Iterator[Seen]:
    dataset, method, metric = where
    key, sign = local(metric, extractor), claim.sign
    own = scores[dataset, method, key]
    match claim.kind:
        case "better_than":
            yield from _better_than(claim, scores, extractor, own, where)
            return
        case "at_most":
            differences = np.array([claim.value - value for value in own.values.values()])
            yield _by(own.mean <= claim.value, claim.value - own.mean, differences, f", from {claim.value:g}")
            return
        case "steady":
            margin = STEADY * abs(own.mean) - own.std
            yield Seen(margin >= 0, margin, what=", deviation below a tenth of the mean")
            return
    others = {
        name: scores[dataset, name, key] for name in COMPARED if (dataset, name, key) in scores and name != method
    }
    # A NaN is not worse than anything, and nothing is better.
    ranked = sorted(others, key=lambda name: _ahead(sign * others[name].mean))
    count = len(ranked) + (method in COMPARED)
    if count < 2:
        return
    better = sum(_ahead(sign * other.mean) < _ahead(sign * own.mean) for other in others.values())
    half = -(-count // 2)
    match claim.kind:
        case "best":
            for rival in ranked:
                behind = _ahead(sign * others[rival].mean) >= _ahead(sign * own.mean)
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
            seen = _correlated(claim, scores, dataset, key, local(claim.than["metrics"][0], extractor))
            if seen:
                yield seen
        case _:
            raise UserError(f"claims.toml, {claim.id}: unknown kind {claim.kind!r}.")


def _ahead(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _better_than(
    claim: Claim, scores: MeanScores, extractor: str, own: Score, where: tuple[str, str, str]
) -> Iterator[Seen]:
    dataset, method, metric = where
    for d in claim.than.get("datasets", (dataset,)):
        for m in claim.than.get("methods", (method,)):
            for k in claim.than.get("metrics", (metric,)):
                other = scores.get((d, m, local(k, extractor)))
                if other is None:
                    continue
                effect = claim.sign * (other.mean - own.mean)
                what = f", against {label(m)} on {d} by {local(k, extractor)}"
                seen = _against(effect > 0, own, other, claim.sign, what)
                if claim.significant:
                    # Of published numbers there are means alone, whose differences are no pairs.
                    unpaired = effect > 2 * _standard_error(own, other)
                    settled = unpaired if math.isnan(seen.p) else seen.p < statistics.LEVEL
                    seen = replace(seen, holds=seen.holds and settled)
                yield seen


def _against(holds: bool, own: Score, other: Score, sign: int, what: str) -> Seen:
    """How far a score is ahead of another, over the seeds that both have."""
    common = [seed for seed in own.values if seed in other.values]
    differences = sign * np.array([other.values[seed] - own.values[seed] for seed in common])
    return _by(holds, sign * (other.mean - own.mean), differences, what)


def _by(holds: bool, effect: float, differences: np.ndarray, what: str) -> Seen:
    low, high = statistics.t_interval(differences)
    p = float(statistics.paired_t(differences[None])[0]) if len(differences) else math.nan
    return Seen(bool(holds), effect, low, high, p, what)


def _standard_error(a: Score, b: Score) -> float:
    """Of the difference of two means, from population standard deviations; inf from a single seed."""
    if min(a.n, b.n) < 2:
        return math.inf
    return math.sqrt(a.std**2 / (a.n - 1) + b.std**2 / (b.n - 1))


def _correlated(claim: Claim, scores: MeanScores, dataset: str, one: str, two: str) -> Seen | None:
    """The rank correlation of two metrics over the methods, positive where it is as claimed."""
    names = [name for name in COMPARED if (dataset, name, one) in scores and (dataset, name, two) in scores]
    x, y = (np.array([scores[dataset, name, key].mean for name in names]) for key in (one, two))
    rho, low, high = statistics.spearman(x, claim.sign * y)
    if math.isnan(rho):
        return None
    return Seen(rho > 0, rho, low, high, what=f", rank correlation with {two} over {len(names)} methods")


def local(metric: str, extractor: str) -> str:
    """A published metric's key in a suite with another extractor."""
    return metric.replace("@inception", f"@{extractor}")
