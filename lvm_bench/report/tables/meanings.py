"""Sentences on columns that a table's title does not explain, because a metric's decorator put them there."""

from collections.abc import Iterable

from lvm_bench.report.tables.layouts import Column, known_metric

_MEANINGS = [
    (
        ("energy_distance", "sliced_wasserstein"),
        "Energy distance (of at most 2,000 codes and draws; 0 on average if equal) and sliced W2 (over 500 directions) "
        "are those between codes and draws from the method's own prior; lower is better.",
    ),
    (
        ("norm_ks", "norm_ks_prior"),
        "KS is the Kolmogorov-Smirnov distance of the codes' norms to those of N(0, target variance I), and to those "
        "of draws from the method's own prior; lower is better.",
    ),
    (
        ("mardia_skewness", "mardia_kurtosis"),
        "Of l-dimensional normal codes Mardia's skewness is near 0 and its kurtosis near l (l + 2). The statistic of "
        "the skewness has a chi-squared law with l (l + 1)(l + 2) / 6 degrees of freedom, that of the kurtosis is "
        "N(0, 1), and p is by these.",
    ),
    (("active_units",), "Active units are axes along which posterior means have a variance above .01."),
    (("two_nn_dimension",), "The two-NN dimension is the intrinsic dimension of the first 2,000 codes."),
    (
        ("infomec",),
        "InfoMEC: how much an active axis tells of one factor alone (modularity), one active axis of a factor "
        "(compactness) and all axes of factors linearly (explicitness); higher is better. A dash in the first two says "
        "that one axis alone is active, or that an axis or a factor shares no information.",
    ),
    (
        ("modularity",),
        "Modularity is how much an axis tells of one factor alone, mean over all axes and over active ones; higher is "
        "better.",
    ),
    (
        ("infomec", "modularity"),
        "An axis is active if its range is above a twentieth of the largest one.",
    ),
    (
        ("explicitness",),
        "Explicitness is the area under the ROC curve (AUC) of telling a factor's values linearly, scaled is "
        "2 AUC - 1; higher is better.",
    ),
]  # the metrics of the columns, and the sentence


def meanings(columns: Iterable[Column]) -> list[str]:
    """What columns of further metrics mean, a sentence for each group of metrics."""
    metrics = {known_metric(column.key) for column in columns}
    return [sentence for names, sentence in _MEANINGS if not metrics.isdisjoint(names)]
