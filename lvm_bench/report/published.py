"""The published numbers and claims of results/published, and whether scores bear a claim out."""

import math
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lvm_bench import config
from lvm_bench.errors import UserError, did_you_mean

COMPARED = ("vae", "beta-tcvae", "rae-l2", "aae", "wae-mmd", "avae")  # the six methods of the paper
STAND_INS = {"dsprites": "sprites", "shapes3d": "scenes3d"}  # rendered data with the factors of the paper's
CLOSE = 4 / 3  # "close to the best": at most a third worse; our reading of the paper's words
STEADY = 0.1  # "small variation over seeds": a standard deviation of at most a tenth of the mean

_BANDWIDTH_KINDS = ("rises_with_l", "falls_with_m", "below")

Scores = dict[tuple[str, str, str], "Score"]  # (data set, method, metric)


@dataclass(frozen=True)
class Score:
    """A mean over n seeds with its population standard deviation; nan where it was not published."""

    mean: float
    std: float
    n: float


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


def published_folder() -> Path:
    """The folder of the published numbers: beside the packaged bench.toml, or in the checkout's results."""
    folder = config.defaults_folder()
    return folder / "published" if (folder / "published").is_dir() else folder / "results" / "published"


def load(source: str) -> pd.DataFrame:
    """The published numbers of one source, tidy, in our units, with `printed` as their text.

    UserError for an unknown source.
    """
    files = {file.stem: file for file in published_folder().glob("*.csv")}
    if source not in files:
        raise UserError(f"Unknown published source {source!r}.{did_you_mean(source, files)}")
    frame = pd.read_csv(files[source], dtype=str, keep_default_na=False)
    frame["printed"] = frame["bound"] + frame["mean"] + (" ± " + frame["std"]).where(frame["std"] != "", "")
    frame = frame.assign(**{name: pd.to_numeric(frame[name]) for name in ("l", "m", "mean", "std", "n")})
    percent = frame["unit"] == "%"
    return frame.assign(**{name: frame[name].where(~percent, frame[name] / 100) for name in ("mean", "std")})


def published_scores(source: str) -> Scores:
    """The numbers of one source that belong to a data set and a method."""
    return {
        (row["dataset"], row["method"], row["metric"]): Score(row["mean"], row["std"], row["n"])
        for row in load(source).to_dict("records")
        if row["dataset"] and row["method"]
    }


def measured_scores(frame: pd.DataFrame) -> Scores:
    """A suite's scores, averaged over its seeds."""
    values: dict[tuple[str, str, str], list[float]] = {}
    rows = zip(frame["dataset"], frame["method"], frame["metric"], frame["value"].tolist(), strict=True)
    for dataset, method, metric, value in rows:
        values.setdefault((dataset, method, metric), []).append(value)
    return {key: _score(np.array(own)) for key, own in values.items()}


def _score(values: np.ndarray) -> Score:
    """Of the values that are numbers, and how many there are with the others."""
    known = values[~np.isnan(values)]
    if not len(known):
        return Score(math.nan, math.nan, len(values))
    with np.errstate(invalid="ignore"):
        return Score(float(known.mean()), float(known.std()), len(values))


def claims() -> list[Claim]:
    """Every claim of claims.toml."""
    file = published_folder() / "claims.toml"
    entries = tomllib.loads(file.read_text(encoding="utf-8"))["claim"]
    return [Claim(**{key: _frozen(value) for key, value in entry.items()}) for entry in entries]


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return tuple(value) if isinstance(value, list) else value


def judge_published(claim: Claim) -> bool | None:
    """Whether the numbers of a claim's own source bear it out."""
    if claim.kind in _BANDWIDTH_KINDS:
        rows = load(claim.source)
        rows = rows[rows["metric"] == claim.metrics[0]]
        return judge_bandwidths(claim, rows.pivot(index="l", columns="m", values="mean"))
    return judge(claim, published_scores(claim.source))


def judge_bandwidths(claim: Claim, means: pd.DataFrame) -> bool:
    """A claim about a table of bandwidths, rows l and columns m, both ascending."""
    match claim.kind:
        case "rises_with_l":
            return bool((means.diff().iloc[1:] >= 0).all(axis=None))
        case "falls_with_m":
            return bool((means.diff(axis=1).iloc[:, 1:] <= 0).all(axis=None))
        case _:
            return bool((means < claim.value).all(axis=None))


def verdicts(frame: pd.DataFrame, extractor: str) -> pd.DataFrame:
    """Each claim held against a suite's scores: what it says, whether it holds in the paper and here (None: cannot be
    seen), on which data sets, among how many of the paper's methods at least, and the numbers.

    Where a suite holds the stand-in of a data set and not that itself, the claim is held against the stand-in.
    """
    listed = claims()
    metrics = {_local(name, extractor) for claim in listed for name in (*claim.metrics, *claim.than.get("metrics", ()))}
    scores, rows = measured_scores(frame[frame["metric"].isin(metrics)]), []
    places = {*frame[["dataset", "method"]].drop_duplicates().itertuples(index=False, name=None)}
    present = {dataset for dataset, _ in places}
    used = {name: name if name in present or other not in present else other for name, other in STAND_INS.items()}
    for claim in listed:
        claim = replace(claim, datasets=tuple(used.get(name, name) for name in claim.datasets))
        here = judge(claim, scores, extractor)
        seen: list[str] = [name for name in claim.datasets if name in present] if here is not None else []
        compared = [sum((name, method) in places for method in COMPARED) for name in seen]
        numbers = "; ".join(_numbers(claim, scores, extractor)) if seen else ""
        found = [here, ", ".join(seen), min(compared, default=""), numbers]
        rows.append([claim.id, claim.table, claim.text, claim.holds_in_paper, *found])
    columns = ["id", "table", "text", "in_paper", "here", "datasets", "methods", "numbers"]
    return pd.DataFrame(rows, columns=columns, dtype=object)


def judge(claim: Claim, scores: Scores, extractor: str = "inception") -> bool | None:
    """Whether scores bear a claim out, on those of its data sets that they hold; None if they cannot tell."""
    claimed = _holds(claim, scores, extractor, claim.methods)
    if claimed is not True or not claim.only:
        return claimed
    return not any(_holds(claim, scores, extractor, (other,)) for other in COMPARED if other not in claim.methods)


def _holds(claim: Claim, scores: Scores, extractor: str, methods: tuple[str, ...]) -> bool | None:
    outcomes = [
        _one(claim, scores, extractor, method, metric, dataset)
        for dataset in claim.datasets
        for method in methods
        for metric in claim.metrics
    ]
    seen = [outcome for outcome in outcomes if outcome is not None]
    return all(seen) if seen else None


def _one(claim: Claim, scores: Scores, extractor: str, method: str, metric: str, dataset: str) -> bool | None:
    """A claim about one method, metric and data set; None where a number that it needs is missing."""
    key = _local(metric, extractor)
    own = scores.get((dataset, method, key))
    if own is None:
        return None
    sign = 1 if claim.better == "lower" else -1
    match claim.kind:
        case "better_than":
            return _better_than(claim, scores, extractor, own, sign, (dataset, method, metric))
        case "at_most":
            return own.mean <= claim.value
        case "steady":
            return own.std <= STEADY * abs(own.mean)
    field_ = {name: scores[dataset, name, key] for name in COMPARED if (dataset, name, key) in scores}
    if len(field_) < 2:
        return None
    better = sum(sign * other.mean < sign * own.mean for other in field_.values())
    match claim.kind:
        case "best":
            return better == 0
        case "best_or_second":
            return better <= 1
        case "better_half":
            return better < len(field_) / 2
        case "worse_half":
            return better >= len(field_) / 2
        case "close":
            best = min(sign * other.mean for other in field_.values()) * sign
            return own.mean <= CLOSE * best if sign == 1 else own.mean >= best / CLOSE
        case "correlation":
            other = _local(claim.than["metrics"][0], extractor)
            return _rank_correlation(scores, dataset, key, other, sign) if len(field_) > 2 else None
    raise UserError(f"claims.toml, {claim.id}: unknown kind {claim.kind!r}.")


def _better_than(
    claim: Claim, scores: Scores, extractor: str, own: Score, sign: int, where: tuple[str, str, str]
) -> bool | None:
    dataset, method, metric = where
    others = [
        scores.get((d, m, _local(k, extractor)))
        for d in claim.than.get("datasets", (dataset,))
        for m in claim.than.get("methods", (method,))
        for k in claim.than.get("metrics", (metric,))
    ]
    seen = [other for other in others if other is not None]
    if not seen:
        return None
    return all(
        sign * (other.mean - own.mean) > (2 * _standard_error(own, other) if claim.significant else 0) for other in seen
    )


def _standard_error(a: Score, b: Score) -> float:
    """Of the difference of two means, from population standard deviations; inf from a single seed."""
    if min(a.n, b.n) < 2:
        return math.inf
    return math.sqrt(a.std**2 / (a.n - 1) + b.std**2 / (b.n - 1))


def _rank_correlation(scores: Scores, dataset: str, one: str, two: str, sign: int) -> bool | None:
    """Whether the rank correlation of two metrics over the methods is positive (negative for sign -1)."""
    pairs = [
        (scores[dataset, name, one].mean, scores[dataset, name, two].mean)
        for name in COMPARED
        if (dataset, name, one) in scores and (dataset, name, two) in scores
    ]
    if len(pairs) < 3:
        return None
    ranks = pd.DataFrame(pairs).rank()
    return bool(sign * ranks[0].corr(ranks[1]) > 0)


def _numbers(claim: Claim, scores: Scores, extractor: str) -> list[str]:
    """The measured numbers that a claim is about, as short texts."""
    names = COMPARED if claim.kind not in ("at_most", "steady") else claim.methods
    metrics = dict.fromkeys([*claim.metrics, *claim.than.get("metrics", ())])
    return [
        f"{dataset} {_local(metric, extractor)}: "
        + ", ".join(
            f"{name} {scores[key].mean:.4g}"
            for name in names
            if (key := (dataset, name, _local(metric, extractor))) in scores
        )
        for dataset in claim.datasets
        for metric in metrics
        if any((dataset, name, _local(metric, extractor)) in scores for name in names)
    ]


def _local(metric: str, extractor: str) -> str:
    """A published metric's key in a suite with another extractor."""
    return metric.replace("@inception", f"@{extractor}")
