"""What the paper says of its results (published/claims.toml), held against scores: verdict, effect, interval, p."""

import math
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lvm_bench.errors import UserError
from lvm_bench.report import published, statistics
from lvm_bench.report.grids import Grid
from lvm_bench.report.tables import DATASETS, label

COMPARED = ("vae", "beta-tcvae", "rae-l2", "aae", "wae-mmd", "avae")  # the six methods of the paper
STAND_INS = {"dsprites": "sprites", "shapes3d": "scenes3d"}  # rendered data with the factors of the paper's
CLOSE = 4 / 3  # "close to the best": at most a third worse; our reading of the paper's words
STEADY = 0.1  # "small variation over seeds": a standard deviation of at most a tenth of the mean
VERDICTS = {True: "holds", False: "does not hold", None: "cannot be tested here"}

_BANDWIDTH_KINDS = ("rises_with_l", "falls_with_m", "below")
_TEXTS = ["id", "table", "text", "in_paper", "here", "why", "what", "effect", "low", "high", "p"]
COLUMNS = [*_TEXTS, "datasets", "methods", "numbers"]

Scores = dict[tuple[str, str, str], "Score"]  # (data set, method, metric)


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


def published_scores(source: str) -> Scores:
    """The numbers of one source that belong to a data set and a method."""
    return {
        (row["dataset"], row["method"], row["metric"]): Score(row["mean"], row["std"], row["n"])
        for row in published.load(source).to_dict("records")
        if row["dataset"] and row["method"]
    }


def measured_scores(frame: pd.DataFrame) -> Scores:
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
    if claim.kind in _BANDWIDTH_KINDS:
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


def judge(claim: Claim, scores: Scores, extractor: str = "inception") -> bool | None:
    """Whether scores bear a claim out, on those of its data sets that they hold; None if they cannot tell."""
    seen = list(comparisons(claim, scores, extractor, claim.methods))
    if not seen:
        return None
    holds = all(one.holds for one in seen)
    return holds and not (claim.only and _others_do(claim, scores, extractor))


def _others_do(claim: Claim, scores: Scores, extractor: str) -> list[str]:
    """The methods that a claim does not name and that do what it says of its own alone."""
    others = (name for name in COMPARED if name not in claim.methods)
    seen = {name: list(comparisons(claim, scores, extractor, (name,))) for name in others}
    return [name for name, found in seen.items() if found and all(one.holds for one in found)]


def comparisons(claim: Claim, scores: Scores, extractor: str, methods: tuple[str, ...]) -> Iterator[Seen]:
    """Every comparison of a claim about these methods for which all numbers are there."""
    for dataset in claim.datasets:
        for method in methods:
            for metric in claim.metrics:
                key = local(metric, extractor)
                if (dataset, method, key) in scores:
                    for one in _compared(claim, scores, extractor, (dataset, method, metric)):
                        yield replace(one, what=f"{label(method)} on {dataset} by {key}{one.what}")


def _compared(claim: Claim, scores: Scores, extractor: str, where: tuple[str, str, str]) -> Iterator[Seen]:
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
    claim: Claim, scores: Scores, extractor: str, own: Score, where: tuple[str, str, str]
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


def _correlated(claim: Claim, scores: Scores, dataset: str, one: str, two: str) -> Seen | None:
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


def verdicts(frame: pd.DataFrame, extractor: str, bandwidths: Path | None = None) -> pd.DataFrame:
    """Each claim held against a suite's scores: what it says, whether it holds in the paper and here (None: cannot be
    tested, and why), the comparison that decides it with effect, 95 % interval and p, and the numbers.

    Where a suite holds the stand-in of a data set and not that itself, the claim is held against the stand-in.
    Claims about Tables I and II are held against the file `bandwidths`, where it is there.
    """
    listed = claims()
    metrics = {local(name, extractor) for claim in listed for name in (*claim.metrics, *claim.than.get("metrics", ()))}
    scores = measured_scores(frame[frame["metric"].isin(metrics)])
    places = {*frame[["dataset", "method"]].drop_duplicates().itertuples(index=False, name=None)}
    present = {dataset for dataset, _ in places}
    used = {name: name if name in present or other not in present else other for name, other in STAND_INS.items()}
    rows = []
    for claim in listed:
        claim = replace(claim, datasets=tuple(used.get(name, name) for name in claim.datasets))
        if claim.kind in _BANDWIDTH_KINDS:
            told = _bandwidth_verdict(claim, bandwidths)
            rows.append([claim.id, claim.table, claim.text, claim.holds_in_paper, *told, *[math.nan] * 4, "", "", ""])
            continue
        seen = list(comparisons(claim, scores, extractor, claim.methods))
        here = judge(claim, scores, extractor)
        why, deciding = _why(claim, scores, extractor, places, seen), _deciding(seen, here)
        on: list[str] = [name for name in claim.datasets if name in present] if seen else []
        compared = [sum((name, method) in places for method in COMPARED) for name in on]
        numbers = "; ".join(_numbers(claim, scores, extractor)) if seen else ""
        effect = [deciding.what, deciding.effect, deciding.low, deciding.high, deciding.p]
        found = [here, why, *effect, ", ".join(on), min(compared, default=""), numbers]
        rows.append([claim.id, claim.table, claim.text, claim.holds_in_paper, *found])
    return pd.DataFrame(rows, columns=COLUMNS, dtype=object)


def _bandwidth_verdict(claim: Claim, file: Path | None) -> list[Any]:
    if file is None or not file.is_file():
        return [None, "needs Tables I and II: lvm-bench report --tables bandwidth", ""]
    try:
        frame = pd.read_csv(file)
        return [judge_bandwidths(claim, frame), "", "every l and m of Table " + claim.table]
    except (ValueError, KeyError, IndexError):
        return [None, f"{file.name} cannot be read: lvm-bench report --tables bandwidth writes it again", ""]


def _deciding(seen: list[Seen], here: bool | None) -> Seen:
    """The comparison with which a claim stands or falls: the least certain of those that all hold, the most certain
    of those that fail, its p times the number of all (Bonferroni)."""
    failing = [one for one in seen if not one.holds]
    # Comparisons by several scores have several units: certainty decides, then the least effect.
    if failing:
        one = min(failing, key=lambda one: (2 if math.isnan(one.p) else one.p, one.effect))
        return replace(one, p=min(1.0, len(seen) * one.p) if one.p == one.p else one.p)
    if here is False or not seen:  # what others do too decides
        return Seen(False, math.nan)
    return min(seen, key=lambda one: (-1 if math.isnan(one.p) else -one.p, one.effect))


def _why(claim: Claim, scores: Scores, extractor: str, places: set[tuple[str, str]], seen: list[Seen]) -> str:
    """Why a claim cannot be tested, or what its verdict rests on beside the deciding comparison."""
    if seen:
        absent = [DATASETS.get(name, name) for name in claim.datasets if name not in {d for d, _ in places}]
        others = _others_do(claim, scores, extractor) if claim.only else []
        also = [f"{', '.join(map(label, others))} too"] if others else []
        return "; ".join([*also, *([f"without {', '.join(absent)}"] if absent else [])])
    if claim.kind == "figure":
        return "it stands in a picture alone"
    present = [name for name in claim.datasets if any(name == dataset for dataset, _ in places)]
    if not present:
        return f"needs {' or '.join(DATASETS.get(name, name) for name in claim.datasets)}"
    missing = [label(name) for name in claim.methods if not any((dataset, name) in places for dataset in present)]
    if missing:
        return f"needs {', '.join(missing)}"
    wanted = [local(metric, extractor) for metric in (*claim.metrics, *claim.than.get("metrics", ()))]
    lacking = [key for key in wanted if not any(metric == key for _, _, metric in scores)]
    if lacking:
        return f"needs the score {', '.join(dict.fromkeys(lacking))}"
    return "needs more methods to compare with"


def _numbers(claim: Claim, scores: Scores, extractor: str) -> list[str]:
    """The measured numbers that a claim is about, as short texts."""
    names = COMPARED if claim.kind not in ("at_most", "steady") else claim.methods
    metrics = dict.fromkeys([*claim.metrics, *claim.than.get("metrics", ())])
    return [
        f"{dataset} {local(metric, extractor)}: "
        + ", ".join(
            f"{name} {scores[key].mean:.4g}"
            for name in names
            if (key := (dataset, name, local(metric, extractor))) in scores
        )
        for dataset in claim.datasets
        for metric in metrics
        if any((dataset, name, local(metric, extractor)) in scores for name in names)
    ]


def grid(found: pd.DataFrame) -> Grid:
    """The claims that a suite can test, with their verdicts; how many others there are, and why."""
    tested = [row for row in found.to_dict("records") if row["here"] is not None]
    reasons: dict[str, int] = {}
    for why in found[found["here"].isna()]["why"]:
        reasons[why] = reasons.get(why, 0) + 1
    holding = sum(bool(row["here"]) for row in tested)
    settled = [bool(row["here"]) for row in tested if row["p"] < statistics.LEVEL]
    told = [
        f"Of the {len(found)} claims of the paper {holding} hold here ({sum(settled)} of them with p below "
        f"{statistics.LEVEL:g}) and {len(tested) - holding} do not ({len(settled) - sum(settled)} of them so)."
    ]
    if reasons:
        rest = ", ".join(f"{count} ({why})" for why, count in sorted(reasons.items(), key=lambda item: -item[1]))
        told.append(f"Not testable here: {rest}.")
    told.append(
        "Effect: how far the deciding comparison goes the claim's way, in units of its score, with its 95 % interval "
        "(t, over common seeds; of a rank correlation Fisher's z, over methods) and p. A claim is about every method, "
        "score and data set that it names: of its comparisons the least certain decides where all hold, else the "
        "clearest of those that fail, whose p is that times their number."
    )
    header = [
        "claim",
        "table",
        "in the paper",
        "here",
        "effect",
        "p",
        "decided by",
        "what the paper says, in our words",
    ]
    return Grid("claims", "The paper's claims", " ".join(told), header, [_grid_row(row) for row in tested], 6)


def _grid_row(row: dict[Any, Any]) -> list[str]:
    inside = "" if math.isnan(row["low"]) else f" [{row['low']:.3g}, {row['high']:.3g}]"
    effect = "" if math.isnan(row["effect"]) else f"{row['effect']:+.3g}{inside}"
    p = "" if math.isnan(row["p"]) else f"{row['p']:.2g}"
    what = f"{row['what']}{'; ' if row['what'] and row['why'] else ''}{row['why']}"
    in_paper = VERDICTS[row["in_paper"]] if row["in_paper"] is not None else "not in its tables"
    return [row["id"], row["table"], in_paper, VERDICTS[bool(row["here"])], effect, p, what, row["text"]]
