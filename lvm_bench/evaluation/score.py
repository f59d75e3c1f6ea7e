"""The loop that scores a run with every metric that applies, and goes on where it was interrupted."""

import inspect
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from lvm_bench import disk
from lvm_bench.data.images import Data
from lvm_bench.errors import RunError, Stopped, Undefined
from lvm_bench.evaluation.evidence import Absent, Evidence
from lvm_bench.metrics.asked import EVIDENCE
from lvm_bench.registry import METRICS, metric_of, source_file
from lvm_bench.suites.job import MOST_SECONDS, is_chosen
from lvm_bench.text import listed, one_line, shortened

Scores = dict[str, float]


def evaluate(
    evidence: Evidence,
    partial: Path,
    identity: str,
    say: Callable[[str], object] = print,
    stop: Callable[[], bool] = lambda: False,
    drawn_alone: bool = False,
) -> Scores:
    """Every metric that applies, by key; kept in `partial` after each metric, so that evaluation resumes.

    What was kept for another `identity` (settings and weights) is not gone on with. With `drawn_alone` those metrics
    alone that change with the evidence's seed. Raises Stopped.
    """
    done, before = _kept(partial, identity, say), seconds_before(partial, identity)
    started = time.perf_counter()
    for name, variant in wanted(evidence.settings.metrics, drawn_alone, evidence.further_samples):
        label = f"{name}.{variant}"
        if label in done:
            continue
        if stop():
            raise Stopped
        inputs = inputs_of(evidence, name, variant)
        if inputs is None:
            continue
        try:
            done[label] = scores_of(evidence, name, variant, inputs)
        except Undefined as undefined:
            evidence.absent[label] = one_line(str(undefined).removeprefix(f"{name}: ")).rstrip(".")
            continue
        seconds = before + time.perf_counter() - started
        disk.write_record(partial, {"identity": identity, "scores": done, "seconds": seconds})
    return {key: float(value) for scores in done.values() for key, value in scores.items()}


def wanted(
    chosen: list[str] | Literal["all"], drawn_alone: bool = False, further: Sequence[str] = ()
) -> Iterator[tuple[str, str]]:
    """The (metric, variant) pairs to score, whether or not they apply; with `drawn_alone` those that are drawn.

    What is scored of `fake` or `expost` is scored of the `further` samples too whose names begin so.
    """
    for name, metric in METRICS.items():
        if is_chosen(name, metric.metric.costly, chosen):
            parameters = {*inspect.signature(metric).parameters}
            of = [each for own in metric.metric.of for each in (own, *(f for f in further if f.startswith(f"{own}-")))]
            yield from ((name, variant) for variant in of if not drawn_alone or is_drawn(parameters, variant))


def keep_for_later(partial: Path, identity: str, scores: Scores, but: Collection[str], seconds: float) -> None:
    """Write scores where `evaluate` goes on from them, without those of the metrics named in `but`, once."""
    if _kept(partial, identity, lambda _: None):
        return
    done: dict[str, Scores] = {}
    for key, value in scores.items():
        if (name := metric_of(key, METRICS)) not in but:
            variant = key.partition(".")[2].partition("@")[0]
            done.setdefault(f"{name}.{variant}", {})[key] = value
    disk.write_record(partial, {"identity": identity, "scores": done, "seconds": seconds})


def inputs_of(evidence: Evidence, name: str, variant: str) -> dict[str, Any] | None:
    """The arguments of a metric for a variant; None where it does not apply, and `evidence.absent` says why."""
    try:
        return arguments_of(evidence, name, variant)
    except Absent as absent:
        if reason := str(absent.__cause__ or ""):
            evidence.absent[f"{name}.{variant}"] = one_line(reason)
        return None


def why_absent(evidence: Evidence, name: str) -> str:
    """Why a metric has no score of any variant."""
    reasons = []
    for _, variant in wanted([name], further=evidence.further_samples):
        try:
            arguments_of(evidence, name, variant)
            reasons.append(evidence.absent[f"{name}.{variant}"])
        except Absent as absent:
            reasons.append(str(absent))
    return "; ".join(dict.fromkeys(reasons))


def in_vain(absent: dict[str, str]) -> list[str]:
    """Sentences on costly metrics, which a suite asks for by name, that a method has no evidence for."""
    names: dict[str, set[str]] = {}
    for key, why in absent.items():
        if METRICS[name := key.partition(".")[0]].metric.costly:
            names.setdefault(why, set()).add(name)
    return [f"No {listed(sorted(those))}: {why}." for why, those in names.items()]


def too_small(chosen: list[str] | Literal["all"], data: Data) -> list[str]:
    """Sentences on the chosen metrics that ask for larger images than these."""
    names: dict[int, set[str]] = {}
    for name, _ in wanted(chosen):
        if min(data.train.pixels.shape[2:]) < (smallest := METRICS[name].metric.smallest):
            names.setdefault(smallest, set()).add(name)
    return [f"No {listed(sorted(those))}: {_too_small(smallest)}." for smallest, those in sorted(names.items())]


def _too_small(smallest: int) -> str:
    return f"images of {smallest} pixels or more along a side are needed"


def arguments_of(evidence: Evidence, name: str, variant: str) -> dict[str, Any]:
    """The arguments of a metric for a variant; Absent, with the reason, where it does not apply."""
    if min(evidence.data.train.pixels.shape[2:]) < (smallest := METRICS[name].metric.smallest):
        raise Absent(_too_small(smallest))
    found = {}
    for key in inspect.signature(METRICS[name]).parameters:
        try:
            found[key] = evidence.provide(key, variant)
        except Absent as absent:
            raise Absent(str(absent) or f"it asks for {key}: {EVIDENCE[key].meaning}") from absent
    return found


def scores_of(evidence: Evidence, name: str, variant: str, inputs: dict[str, Any]) -> Scores:
    """The scores of a metric by key, given its arguments."""
    suffix = f"{variant}@{evidence.extractor.name}" if any(map(is_of_features, inputs)) else variant
    return _keyed(name, suffix, METRICS[name](**inputs))


def is_of_features(parameter: str) -> bool:
    """Whether a metric's parameter is measured in the feature space."""
    return parameter.endswith("_features")


def is_drawn(parameters: set[str], variant: str) -> bool:
    """Whether a metric of a trained model changes with the random draws of its evaluation."""
    of_a_grid = variant == "grid" and "recon" in parameters  # images drawn from the grid
    drawn = {"seed", "directions", "prior_codes", "log_weights"} & parameters
    return bool(drawn) or of_a_grid or variant.startswith(("fake", "expost")) or variant in ("interpolated", "sampled")


def _kept(partial: Path, identity: str, say: Callable[[str], object]) -> dict[str, Scores]:
    """The scores of an evaluation that was interrupted, by metric and variant."""
    if not partial.is_file():
        return {}
    try:
        record = disk.read_record(partial)
    except RunError as error:
        say(f"{error} The evaluation starts anew.")
        return {}
    return record["scores"] if record.get("identity") == identity else {}


def seconds_before(partial: Path, identity: str) -> float:
    """Seconds that an evaluation took up to the last metric that was kept; 0 where none was."""
    try:
        record = disk.read_record(partial)
    except RunError:
        return 0.0
    seconds = record.get("seconds") if record.get("identity") == identity else None
    return float(seconds) if isinstance(seconds, int | float) and 0 <= seconds < MOST_SECONDS else 0.0


def needs_features(chosen: list[str] | Literal["all"]) -> bool:
    """Whether one of these metrics measures in a feature space."""
    return any(map(is_of_features, _parameters(chosen)))


def needs_perceptual(chosen: list[str] | Literal["all"]) -> bool:
    """Whether one of these metrics asks for the network of LPIPS."""
    return "perceptual" in _parameters(chosen)


def _parameters(chosen: list[str] | Literal["all"]) -> set[str]:
    """The parameters of all these metrics."""
    return {parameter for name, _ in wanted(chosen) for parameter in inspect.signature(METRICS[name]).parameters}


def _keyed(name: str, suffix: str, value: float | dict[str, float]) -> Scores:
    """`<metric>.<variant>`, or `<metric>_<part>.<variant>` for each part of a dict (the part "" adds nothing)."""
    parts = value if isinstance(value, dict) else {"": value}
    return {f"{name}_{part}.{suffix}" if part else f"{name}.{suffix}": _number(name, v) for part, v in parts.items()}


def _number(name: str, value: Any) -> float:
    """The value that a metric returned as a float. RunError unless it is a number."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RunError(
            f"{source_file(METRICS[name])}: the metric {name!r} returned {shortened(value)}, not a number or a dict of "
            "numbers."
        ) from error
