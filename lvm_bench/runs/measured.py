"""Which metrics a run was measured with, in which version, and whether two runs had the same settings but for them."""

from collections.abc import Mapping
from typing import Any

from lvm_bench.registry import metric_of
from lvm_bench.suites.job import SETTINGS

# Settings of metrics that only data with ground-truth factors have.
_OF_FACTORS = ("sap_samples", "dci_samples", "votes", "direction_images")
# Settings of ex-post samplers, which have no effect where `expost` does not name them.
_OF_EXPOST = {
    "mixture": ("expost_components",),
    "flow": ("expost_flow_epochs",),
    "vae": ("expost_vae_epochs", "expost_vae_hidden"),
}
_DEFAULTS = {name: field.default for name, field in SETTINGS.items() if not field.is_required()}
# What metrics = "all" meant in a record that does not say what was measured.
_AT_FIRST = (
    "angle_deviation", "beta_vae_score", "code_coverage", "collapsed_kl", "collapsed_variance", "dci",
    "dimension_wise_kl", "entropy", "factor_vae_score", "frechet", "gaussian_kl", "gaussian_kl_floor",
    "gaussian_kl_target", "kid", "knn", "linear_probe", "memorisation", "memorisation_features", "mig", "mmd",
    "mmd_target", "mse", "mutual_information", "ood_density", "ood_reconstruction", "pca_factor_vae_score", "pca_mig",
    "prd", "sap", "sharpness", "sse", "total_correlation", "two_sample",
)  # fmt: skip


def effective(settings: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide a run's scores: with defaults written out, without those that change nothing here.

    The choice of metrics is left out, because metrics can be added to a finished run. `facts` are those of its data.
    """
    idle = {"metrics"} | ({*()} if facts.get("factors") else {*_OF_FACTORS})
    if settings.get("extractor") in ("inception", "dinov2", "dinov2-small"):
        idle.add("classifier_epochs")
    for sampler, own in _OF_EXPOST.items():
        if sampler not in settings.get("expost", ()):
            idle.update(own)
    return {name: value for name, value in {**_DEFAULTS, **settings}.items() if name not in idle}


def measured(record: Mapping[str, Any]) -> dict[str, int]:
    """The metrics that a finished run was measured with, by name, and the version of each."""
    chosen = record["settings"].get("metrics")
    at_first = map(str, chosen) if isinstance(chosen, list) else _AT_FIRST
    return record.get("measured") or dict.fromkeys(at_first, 1)


def later_versions(record: Mapping[str, Any]) -> dict[str, int]:
    """The versions of a run's metrics that are not their first."""
    return {name: version for name, version in measured(record).items() if version != 1}


def lacking(known: Mapping[str, int], wanted: Mapping[str, int]) -> list[str]:
    """The wanted metrics that are not among those that are known, or in another version."""
    return [] if known == wanted else [name for name, version in wanted.items() if known.get(name) != version]


def version_of(key: str, known: Mapping[str, int]) -> tuple[str, int]:
    """The metric of a score's key and its version, which is the first unless `known` tells another."""
    name = metric_of(key, {*_AT_FIRST, *known})
    return name, known.get(name, 1)
