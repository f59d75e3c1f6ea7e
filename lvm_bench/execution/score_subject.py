"""A subject of `lvm-bench score`: its protocol, and how it is measured. Each kind of subject has a file."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lvm_bench import __version__
from lvm_bench.errors import UserError
from lvm_bench.evaluation.evidence import Absent, Evidence
from lvm_bench.evaluation.of_codes import Prior
from lvm_bench.evaluation.score import Scores, arguments_of, is_of_features, scores_of, wanted
from lvm_bench.execution.score_record import Record
from lvm_bench.metrics.asked import SETTINGS
from lvm_bench.registry import METRICS
from lvm_bench.suites.job import EvaluationSettings


@dataclass(frozen=True)
class Given:
    """The options of the command that say what is scored, and how."""

    real: Path | None
    fake: Path | None
    recon: Path | None
    size: int | None
    codes: Path | None
    prior: Prior
    factors: Path | None
    extractors: tuple[str, ...]
    statistics: Path | None  # where those of the real images are written
    settings: EvaluationSettings
    device: str
    model: str | None = None  # FILE.py:NAME, pythae:FOLDER ...
    data: str | None = None  # the data set that the model is measured on
    images: Path | None = None  # or a user's own images
    config: Path | None = None  # with the settings of the data set
    plugins: tuple[Path, ...] = ()


class Found(NamedTuple):
    """The scores of a subject, the metrics that gave them, and why others gave none."""

    scores: Scores
    metrics: dict[str, dict[str, Any]]
    absent: dict[str, list[str]]  # by metric: what its variants lack
    failed: dict[str, str]  # by metric and variant


class Subject(NamedTuple):
    """One thing that is scored: its protocol, its sets, notes on reading them, and how it is measured."""

    protocol: dict[str, Any]
    sets: dict[str, dict[str, Any]]
    notes: list[str]
    measure: Callable[[], Found]


def measured(everything: Sequence[Evidence]) -> Found:
    """Every metric that was chosen and that has its evidence, which is given once for each feature space."""
    found = Found({}, {}, {}, {})
    for name, variant in wanted(everything[0].settings.metrics):
        parameters = inspect.signature(METRICS[name]).parameters
        spaces = everything if any(map(is_of_features, parameters)) else everything[:1]
        for evidence in spaces:
            try:
                inputs = arguments_of(evidence, name, variant)
                found.scores.update(scores_of(evidence, name, variant, inputs))
            except Absent as absent:
                found.absent.setdefault(name, []).append(str(absent))
            except UserError as error:
                found.failed[f"{name}.{variant}"] = str(error).removeprefix(f"{name}: ")
            else:
                settings = {key: inputs[key] for key in inputs if key in SETTINGS or key == "seed"}
                settings |= evidence.bound_settings() if "log_weights" in inputs else {}
                found.metrics[name] = {"version": METRICS[name].metric.version, **settings}
    return found


def begun(subjects: Sequence[Subject]) -> Record:
    """The record of subjects before they are measured."""
    protocol = {key: value for own in subjects for key, value in own.protocol.items()}
    sets = {key: value for own in subjects for key, value in own.sets.items()}
    return Record(lvm_bench=__version__, protocol=protocol, sets=sets)


def finished(record: Record, subjects: Sequence[Subject], chosen: Sequence[str]) -> Record:
    """The record with the scores of all subjects, and why a metric that was named has none."""
    found = [own.measure() for own in subjects]
    scores = {key: value for own in found for key, value in own.scores.items()}
    metrics = {name: said for own in found for name, said in own.metrics.items()}
    left_out = {key: reason for own in found for key, reason in own.failed.items()}
    for name in chosen:
        reasons = [reason for own in found for reason in own.absent.get(name, ())]
        if name in METRICS and name not in metrics and reasons:
            left_out[name] = "; ".join(dict.fromkeys(_of_options(reasons) or reasons))
    return record.model_copy(update={"scores": scores, "metrics": metrics, "left_out": left_out})


def _of_options(reasons: list[str]) -> list[str]:
    """The reasons that name an option, which could be given."""
    return [reason for reason in reasons if reason.startswith("--")]
