"""The verdicts on the paper's claims as a table of words."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from lvm_bench.report.tables.paper_claims import (
    AVAE,
    BANDWIDTH_KINDS,
    Claim,
    Comparison,
    Means,
    claims,
    compared_others,
    comparisons,
    judge_bandwidths,
    local,
    measured_means,
    settle,
)
from lvm_bench.report.tables.word_table import WordTable
from lvm_bench.suites.labels import dataset_label, label

STAND_INS = {"dsprites": "sprites", "shapes3d": "scenes3d"}  # rendered data sets with the same factors

Decided = tuple[bool | None, Comparison]  # a verdict, None where it cannot be told, and what decides it

_SHOWN_BY_NO_SCORE = {
    "figure": "it stands in a picture alone",
    "argument": "it stands in the text alone, and no score can show it",
}

VERDICTS = {True: "holds", False: "does not hold", None: "cannot be tested here"}

_TEXTS = ["id", "table", "text", "in_paper", "here", "verdict", "why", "what", "effect", "low", "high", "p"]

COLUMNS = [*_TEXTS, "datasets", "methods", "numbers"]


def verdicts(frame: pd.DataFrame, extractor: str, bandwidths: Path | None = None, paper: str = AVAE) -> pd.DataFrame:
    """A row per claim of a paper: its words, whether it holds there and here, the deciding comparison, and the numbers.

    `here` is None if the suite cannot test the claim, for which `why` says the reason, or if its intervals cannot tell;
    `verdict` says so in words. A suite that has the stand-in of a data set instead of the data set tests the claim on
    the stand-in. Claims about Tables I and II need the file `bandwidths`.
    """
    listed = claims(paper)
    metrics = {local(name, extractor) for claim in listed for name in (*claim.metrics, *claim.than.get("metrics", ()))}
    means = measured_means(frame[frame["metric"].isin(metrics)])
    places = {*frame[["dataset", "method"]].drop_duplicates().itertuples(index=False, name=None)}
    present = {dataset for dataset, _ in places}
    used = {name: name if name in present or other not in present else other for name, other in STAND_INS.items()}
    rows = []
    for claim in listed:
        claim = replace(claim, datasets=tuple(used.get(name, name) for name in claim.datasets))
        if claim.kind in BANDWIDTH_KINDS:
            here, *told = _bandwidth_verdict(claim, bandwidths)
            told = [here, VERDICTS[here], *told, *[math.nan] * 4, "", "", ""]
            rows.append([claim.id, claim.table, claim.text, claim.holds_in_paper, *told])
            continue
        seen = list(comparisons(claim, means, extractor, claim.methods))
        others = _settled_others(claim, means, extractor) if claim.only and seen else {}
        here, decided_by = _verdict(seen, others)
        verdict = f"cannot be told from {decided_by.over}" if seen and here is None else VERDICTS[here]
        why = _also(claim, others, places) if seen else _untested(claim, means, extractor, places)
        on: list[str] = [name for name in claim.datasets if name in present] if seen else []
        compared = [sum((name, method) in places for method in claim.field) for name in on]
        numbers = "; ".join(_numbers(claim, means, extractor)) if seen else ""
        effect = [decided_by.what, decided_by.effect, decided_by.low, decided_by.high, decided_by.p]
        found = [here, verdict, why, *effect, ", ".join(on), min(compared, default=""), numbers]
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


def _verdict(seen: list[Comparison], others: dict[str, Decided]) -> Decided:
    """Whether a claim holds, None where its intervals cannot tell, and the comparison that decides it.

    `others` are the methods of which the claim says that they do not do so.
    """
    here = settle(seen)
    if here is not False and any(verdict for verdict, _ in others.values()):
        return False, Comparison(False, math.nan)
    if here and (unsettled := [decided_by for verdict, decided_by in others.values() if verdict is None]):
        return None, unsettled[0]
    return here, deciding(seen, here)


def _settled_others(claim: Claim, means: Means, extractor: str) -> dict[str, Decided]:
    """For each method that a claim excludes, whether the claim holds for it all the same, and what decides that."""
    seen = compared_others(claim, means, extractor)
    return {name: (here := settle(found), deciding(found, here)) for name, found in seen.items()}


def deciding(seen: list[Comparison], here: bool | None) -> Comparison:
    """The comparison that decides a claim: the least certain one if all hold, else the clearest of those that fail.

    The interval and the p of a failing one are those of one of many.
    """
    # Effects by several scores have several units, so p is compared first.
    if failing := [one.of_many(len(seen)) for one in seen if not one.holds]:
        return min(failing, key=lambda one: (one.settled is None, 2 if math.isnan(one.p) else one.p, one.effect))
    if here is False or not seen:
        return Comparison(False, math.nan)
    return min(seen, key=lambda one: (one.settled is True, -1 if math.isnan(one.p) else -one.p, one.effect))


def _also(claim: Claim, others: dict[str, Decided], places: set[tuple[str, str]]) -> str:
    """For which other methods a claim holds, or may hold, and which of its data sets are missing."""
    told = []
    for words, verdict in (("", True), ("perhaps ", None)):
        if names := [label(name) for name, (here, _) in others.items() if here is verdict]:
            told.append(f"{words}{', '.join(names)} too")
    if absent := [dataset_label(name) for name in claim.datasets if name not in {d for d, _ in places}]:
        told.append(f"without {', '.join(absent)}")
    return "; ".join(told)


def _untested(claim: Claim, means: Means, extractor: str, places: set[tuple[str, str]]) -> str:
    """The reason that a claim cannot be tested."""
    if claim.kind in _SHOWN_BY_NO_SCORE:
        return _SHOWN_BY_NO_SCORE[claim.kind]
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
    names = claim.field if claim.kind not in ("at_most", "steady") else claim.methods
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
    rows = found.to_dict("records")
    tested = [row for row in rows if row["verdict"] != VERDICTS[None]]
    reasons: dict[str, int] = {}
    for row in rows:
        if row["verdict"] == VERDICTS[None]:
            reasons[row["why"]] = reasons.get(row["why"], 0) + 1
    holding, failing, unsettled = (sum(row["here"] is here for row in tested) for here in (True, False, None))
    told = [
        f"Of the {len(found)} claims of the paper {holding} hold here, {failing} do not, and {unsettled} cannot be "
        "told from what was run: the interval of what decides them contains 0, or they have none."
    ]
    if reasons:
        rest = ", ".join(f"{count} ({why})" for why, count in sorted(reasons.items(), key=lambda item: -item[1]))
        told.append(f"Not testable here: {rest}.")
    told.append(
        "Effect: how far the deciding comparison goes the claim's way, in units of its score, with its 95 % interval "
        "(t, over common seeds; of a rank correlation Fisher's z, over methods) and p. A claim is about every method, "
        "score and data set that it names: of its comparisons the least certain decides where all hold, else the "
        "clearest of those that fail, whose interval and p allow for their number (Bonferroni)."
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
    shown = [_claim_row(row) for row in tested]
    return WordTable("claims", "The paper's claims", " ".join(told), header, shown, 6, in_paper=(7, 1, 2, 3, 4, 5))


def _claim_row(row: dict[Any, Any]) -> list[str]:
    inside = "" if math.isnan(row["low"]) else f" [{row['low']:.3g}, {row['high']:.3g}]"
    effect = "" if math.isnan(row["effect"]) else f"{row['effect']:+.3g}{inside}"
    p = "" if math.isnan(row["p"]) else f"{row['p']:.2g}"
    what = f"{row['what']}{'; ' if row['what'] and row['why'] else ''}{row['why']}"
    in_paper = VERDICTS[row["in_paper"]] if row["in_paper"] is not None else "not in its tables"
    return [row["id"], row["table"], in_paper, row["verdict"], effect, p, what, row["text"]]
