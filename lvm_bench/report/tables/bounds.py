"""The p(x|z) that bounds of log p(x) are of, as runs recorded it."""

from collections.abc import Iterable

from lvm_bench.report.tables.cells import CellKey
from lvm_bench.report.tables.layouts import Column
from lvm_bench.runs.record import Run
from lvm_bench.runs.suite_record import About
from lvm_bench.suites.labels import LIKELIHOODS, label
from lvm_bench.text import listed, one_line

BOUNDS = ("elbo.", "iw_bound.", "bits_per_dim.")  # begin the keys of bounds of log p(x)


def are_bounds(columns: Iterable[Column]) -> bool:
    """Whether some of the columns are bounds of log p(x)."""
    return any(column.key.startswith(BOUNDS) for column in columns)


def likelihoods(dataset: str, cells: Iterable[CellKey], about: About) -> str:
    """`p(x|z) = N(decode(z), I/2)`: that of every method with a bound; where they differ, whose each is."""
    bounded = {row for row, own, key in cells if own == dataset and key.startswith(BOUNDS)}
    runs = {run.method: run for run in about.runs if run.dataset == dataset and run.method in bounded}
    found: dict[str, list[str]] = {}
    for name in filter(runs.__contains__, [*about.methods, *sorted(runs.keys() - {*about.methods})]):
        found.setdefault(_likelihood(runs[name]), []).append(label(name))
    texts = (words if len(found) == 1 else f"{words} ({listed(own)})" for words, own in found.items() if words)
    return f"p(x|z) = {listed(texts, between='; ')}" if any(found) else ""


def _likelihood(run: Run) -> str:
    """What a method says of its own p(x|z), else that of the setting."""
    own = (run.architecture or {}).get("likelihood")
    return one_line(", ".join(own)) if own else LIKELIHOODS.get(str((run.settings or {}).get("likelihood")), "")
