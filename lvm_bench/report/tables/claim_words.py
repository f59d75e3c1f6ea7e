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
    Comparison,
    Means,
    claims,
    comparisons,
    judge,
    judge_bandwidths,
    local,
    measured_means,
    others_that_do,
)
from lvm_bench.report.tables.word_table import WordTable
from lvm_bench.suites.labels import dataset_label, label

STAND_INS = {"dsprites": "sprites", "shapes3d": "scenes3d"}  # rendered data sets with the same factors

VERDICTS = {True: "holds", False: "does not hold", None: "cannot be tested here"}

_TEXTS = ["id", "table", "text", "in_paper", "here", "why", "what", "effect", "low", "high", "p"]

COLUMNS = [*_TEXTS, "datasets", "methods", "numbers"]


def verdicts(frame: pd.DataFrame, extractor: str, bandwidths: Path | None = None) -> pd.DataFrame:
    """A row per claim: its words, whether it holds in the paper and here, the deciding comparison, and the numbers.

    `here` is None if the suite cannot test the claim; `why` says the reason. A suite that has the stand-in of a data
    set instead of the data set tests the claim on the stand-in. Claims about Tables I and II need the file
    `bandwidths`.
    """
    listed = claims()
    metrics = {local(name, extractor) for claim in listed for name in (*claim.metrics, *claim.than.get("metrics", ()))}
    means = measured_means(frame[frame["metric"].isin(metrics)])
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
        seen = list(comparisons(claim, means, extractor, claim.methods))
        here = judge(claim, means, extractor)
        why, decided_by = _why(claim, means, extractor, places, seen), deciding(seen, here)
        on: list[str] = [name for name in claim.datasets if name in present] if seen else []
        compared = [sum((name, method) in places for method in COMPARED) for name in on]
        numbers = "; ".join(_numbers(claim, means, extractor)) if seen else ""
        effect = [decided_by.what, decided_by.effect, decided_by.low, decided_by.high, decided_by.p]
        found = [here, why, *effect, ", ".join(on), min(compared, default=""), numbers]
        rows.append([claim.id, claim.table, claim.text, claim.holds_in_paper, *found])
    return pd.DataFrame(rows, columns=COLUMNS, dtype=object)


def _bandwidth_verdict(claim: Claim, file: Path | None) -> list[Any]:
    """Whether a claim about bandwidths holds here, why it cannot be tested, and what decides it."""
    if file is None or not file.is_file():
        return [None, "needs Tables I and II: lvm-bench report --tables bandwidth", ""]
    try:
        frame = pd.read_csv(file)
        return [judge_bandwidths(claim, frame), "", "every l and m of Table " + claim.table]
    except (ValueError, KeyError, IndexError):
        return [None, f"{file.name} cannot be read: lvm-bench report --tables bandwidth writes it again", ""]


def deciding(seen: list[Comparison], here: bool | None) -> Comparison:
    """The comparison that decides a claim: the least certain one if all hold, else the clearest of those that fail.

    The p of a failing one is multiplied by the number of comparisons (Bonferroni).
    """
    failing = [one for one in seen if not one.holds]
    # Effects by several scores have several units, so p is compared first.
    if failing:
        one = min(failing, key=lambda one: (2 if math.isnan(one.p) else one.p, one.effect))
        return replace(one, p=min(1.0, len(seen) * one.p) if one.p == one.p else one.p)
    if here is False or not seen:  # the claim fails because it holds for other methods too
        return Comparison(False, math.nan)
    return min(seen, key=lambda one: (-1 if math.isnan(one.p) else -one.p, one.effect))


def _why(claim: Claim, means: Means, extractor: str, places: set[tuple[str, str]], seen: list[Comparison]) -> str:
    """The reason that a claim cannot be tested; else the other methods for which it holds, and missing data sets."""
    if seen:
        absent = [dataset_label(name) for name in claim.datasets if name not in {d for d, _ in places}]
        others = others_that_do(claim, means, extractor) if claim.only else []
        also = [f"{', '.join(map(label, others))} too"] if others else []
        return "; ".join([*also, *([f"without {', '.join(absent)}"] if absent else [])])
    if claim.kind == "figure":
        return "it stands in a picture alone"
    present = [name for name in claim.datasets if any(name == dataset for dataset, _ in places)]
    if not present:
        return f"needs {' or '.join(dataset_label(name) for name in claim.datasets)}"
    missing = [label(name) for name in claim.methods if not any((dataset, name) in places for dataset in present)]
    if missing:
        return f"needs {', '.join(missing)}"
    wanted = [local(metric, extractor) for metric in (*claim.metrics, *claim.than.get("metrics", ()))]
    lacking = [key for key in wanted if not any(metric == key for _, _, metric in means)]
    if lacking:
        return f"needs the score {', '.join(dict.fromkeys(lacking))}"
    return "needs more methods to compare with"


def _numbers(claim: Claim, means: Means, extractor: str) -> list[str]:
    """The measured means that a claim is about, a text per data set and metric."""
    names = COMPARED if claim.kind not in ("at_most", "steady") else claim.methods
    metrics = dict.fromkeys([*claim.metrics, *claim.than.get("metrics", ())])
    return [
        f"{dataset} {local(metric, extractor)}: "
        + ", ".join(
            f"{name} {means[key].mean:.4g}"
            for name in names
            if (key := (dataset, name, local(metric, extractor))) in means
        )
        for dataset in claim.datasets
        for metric in metrics
        if any((dataset, name, local(metric, extractor)) in means for name in names)
    ]


def claims_table(found: pd.DataFrame) -> WordTable:
    """A row per claim that the suite can test. The text counts the others by their reasons."""
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
    return WordTable("claims", "The paper's claims", " ".join(told), header, [_claim_row(row) for row in tested], 6)


def _claim_row(row: dict[Any, Any]) -> list[str]:
    inside = "" if math.isnan(row["low"]) else f" [{row['low']:.3g}, {row['high']:.3g}]"
    effect = "" if math.isnan(row["effect"]) else f"{row['effect']:+.3g}{inside}"
    p = "" if math.isnan(row["p"]) else f"{row['p']:.2g}"
    what = f"{row['what']}{'; ' if row['what'] and row['why'] else ''}{row['why']}"
    in_paper = VERDICTS[row["in_paper"]] if row["in_paper"] is not None else "not in its tables"
    return [row["id"], row["table"], in_paper, VERDICTS[bool(row["here"])], effect, p, what, row["text"]]
