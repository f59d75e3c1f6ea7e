"""The score that a search chooses by: which there is, in which direction it is better, and on which images it is."""

import inspect
from dataclasses import dataclass
from typing import Literal

from lvm_bench.errors import UserError, did_you_mean
from lvm_bench.evaluation.score import is_of_features
from lvm_bench.registry import METRICS, metric_of
from lvm_bench.suites.job import Job

DEFAULTS = ("frechet.fake", "sse.heldout", "mse.heldout")  # the first that a suite's metrics give

_NOT_HELD_OUT = {"train": "training images", "grid": "images of the whole grid, test images among them"}


@dataclass(frozen=True)
class NamedScore:
    """A score by its key without the feature space, `frechet.fake`."""

    stem: str
    metric: str
    better: Literal["lower", "higher"]

    def key(self, job: Job) -> str:
        """The key under which the runs of a job have the score."""
        return f"{self.stem}@{job.evaluation.extractor}" if _is_of_features(self.metric) else self.stem


def named_score(jobs: list[Job], given: str | None) -> NamedScore:
    """The score that `--by` names, or the first default that all jobs have.

    UserError for one that they do not have, that has no direction, or that is not of validation images.
    """
    shared = [name for name in METRICS if all(name in job.metrics for job in jobs)]
    valid = [f"{name}.{variant}" for name in shared for variant in METRICS[name].metric.of if not _fault(name, variant)]
    if given is None:
        stem = next((key for key in DEFAULTS if key in valid), "")
        if not stem:
            raise UserError(f"The suite has none of the scores {', '.join(DEFAULTS)}. Name one with --by.{_of(valid)}")
        return _named(stem)
    stem, _, space = given.partition("@")
    name, variant = metric_of(stem, shared), stem.partition(".")[2]
    if not name or variant not in METRICS[name].metric.of:
        raise UserError(f"--by {given}: no metric of the suite gives this score.{did_you_mean(stem, valid)}")
    if reason := _fault(name, variant):
        raise UserError(f"--by {given}: {reason}.{_of(valid)}")
    own = sorted({job.evaluation.extractor for job in jobs}) if _is_of_features(name) else []
    if space and own != [space]:
        where = f"is measured in the feature space of {', '.join(own)} here" if own else "has no feature space"
        raise UserError(f"--by {given}: the score {where}. Write --by {stem}.")
    return _named(stem)


def _named(stem: str) -> NamedScore:
    name = metric_of(stem, METRICS)
    return NamedScore(stem, name, METRICS[name].metric.better)


def _of(valid: list[str]) -> str:
    return f" Valid: {', '.join(sorted(valid)) or '(none)'}."


def _fault(name: str, variant: str) -> str:
    """Why nothing can be chosen by a metric's variant on the validation split; "" where it can."""
    if METRICS[name].metric.better == "none":
        return "the score has no better direction"
    if variant in _NOT_HELD_OUT:
        return f"the score is of {_NOT_HELD_OUT[variant]}, not of the validation split"
    if any(parameter.startswith("novel") for parameter in inspect.signature(METRICS[name]).parameters):
        return "the score is of another data set's test images too, which a search must not read"
    return ""


def _is_of_features(name: str) -> bool:
    return any(map(is_of_features, inspect.signature(METRICS[name]).parameters))
