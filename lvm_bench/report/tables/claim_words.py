"""The verdicts on the paper's claims as a table of words."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from lvm_bench.report.tables import statistics
from lvm_bench.report.tables.paper_claims import (
    BANDWIDTH_KINDS,
    COMPARED,
    Claim,
    MeanScores,
    Seen,
    claims,
    comparisons,
    judge,
    judge_bandwidths,
    local,
    measured_scores,
    others_that_do,
)
from lvm_bench.report.tables.word_table import WordTable
from lvm_bench.suites.labels import DATASETS, label

STAND_INS = {"dsprites": "sprites", "shapes3d": "scenes3d"}  # rendered data with the factors of the paper's

VERDICTS = {True: "holds", False: "does not hold", None: "cannot be tested here"}

_TEXTS = ["id", "table", "text", "in_paper", "here", "why", "what", "effect", "low", "high", "p"]

COLUMNS = [*_TEXTS, "datasets", "methods", "numbers"]


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
        if claim.kind in BANDWIDTH_KINDS:
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


def _why(claim: Claim, scores: MeanScores, extractor: str, places: set[tuple[str, str]], seen: list[Seen]) -> str:
    """Why a claim cannot be tested, or what its verdict rests on beside the deciding comparison."""
    if seen:
        absent = [DATASETS.get(name, name) for name in claim.datasets if name not in {d for d, _ in places}]
        others = others_that_do(claim, scores, extractor) if claim.only else []
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


def _numbers(claim: Claim, scores: MeanScores, extractor: str) -> list[str]:
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


def grid(found: pd.DataFrame) -> WordTable:
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
    return WordTable("claims", "The paper's claims", " ".join(told), header, [_grid_row(row) for row in tested], 6)


def _grid_row(row: dict[Any, Any]) -> list[str]:
    inside = "" if math.isnan(row["low"]) else f" [{row['low']:.3g}, {row['high']:.3g}]"
    effect = "" if math.isnan(row["effect"]) else f"{row['effect']:+.3g}{inside}"
    p = "" if math.isnan(row["p"]) else f"{row['p']:.2g}"
    what = f"{row['what']}{'; ' if row['what'] and row['why'] else ''}{row['why']}"
    in_paper = VERDICTS[row["in_paper"]] if row["in_paper"] is not None else "not in its tables"
    return [row["id"], row["table"], in_paper, VERDICTS[bool(row["here"])], effect, p, what, row["text"]]
