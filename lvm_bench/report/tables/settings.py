"""The appendix of a paper as the runs recorded it: networks (Tables VIII to X) and settings (Table XI)."""

from collections.abc import Iterable
from typing import Any

from lvm_bench.report.tables.word_table import WordTable
from lvm_bench.runs.record import STAGE, Run
from lvm_bench.runs.suite_record import About
from lvm_bench.suites.labels import dataset_label, label

_ELSEWHERE = ("dataset", "method", "seed", "arguments", "options")  # rows and columns show these already

ALL = "all"

PARTS = ("encoder", "decoder", "adversary")


def settings_tables(runs: Iterable[Run], about: About) -> list[WordTable]:
    """The table of settings and the table of networks, unless it would be empty."""
    order = {name: place for place, name in enumerate(about.methods)}
    firsts: dict[tuple[str, str], Run] = {}
    for run in runs:
        if not run.is_control and run.settings is not None:
            firsts.setdefault(run.place, run)
    known = sorted(firsts.values(), key=lambda run: (run.dataset, order.get(run.method, len(order)), run.method))
    return [table for table in (settings(known), architectures(known)) if table.rows]


def settings(runs: list[Run]) -> WordTable:
    """A row per data set and setting, a column per method. A value that all methods share stands in one column."""
    names = list(dict.fromkeys(run.method for run in runs))
    rows = []
    for dataset in dict.fromkeys(run.dataset for run in runs):
        own = {run.method: flat(run.settings or {}) | worked_out(run) for run in runs if run.dataset == dataset}
        keys = list(dict.fromkeys(key for values in own.values() for key in values))
        for key in keys:
            texts = [own[name].get(key, "") if name in own else "" for name in names]
            here = {own[name].get(key, "") for name in own}
            shown = [here.pop(), *[""] * len(names)] if len(here) == 1 and len(own) > 1 else ["", *texts]
            rows.append([dataset_label(dataset), key, *shown])
    text = (
        "Every setting of every run, as it was resolved from the configuration and recorded with the run (laid out as "
        f"Table XI of the AVAE paper); `{ALL}` where the methods have it alike."
    )
    return WordTable("settings", "Settings", text, ["data set", "setting", ALL, *map(label, names)], rows, keys=2)


def flat(settings: dict[str, Any]) -> dict[str, str]:
    """The settings of a run by name as text, among them the method's arguments and the data set's options."""
    own = {key: value for key, value in settings.items() if key not in _ELSEWHERE}
    return {
        key: _text(value) for key, value in (settings.get("arguments", {}) | settings.get("options", {}) | own).items()
    }


def worked_out(run: Run) -> dict[str, str]:
    """What a run's method worked out where an argument names a rule, in the place of that argument."""
    return {name: ", ".join(lines) for name, lines in (run.architecture or {}).items() if not _is_part(name)}


def _is_part(name: str) -> bool:
    """Whether an entry of an architecture is a network, and not an argument."""
    return name in PARTS or name.startswith(STAGE)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def architectures(runs: list[Run]) -> WordTable:
    """The layers of each data set's networks, from input to output, with the methods that use them."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for run in runs:
        own = run.architecture or {}
        for part in (*PARTS, *(name for name in own if name.startswith(STAGE))):
            if layers := own.get(part):
                found.setdefault((run.dataset, part, " → ".join(layers)), []).append(label(run.method))
    rows = [
        [dataset_label(dataset), part, ", ".join(names), layers] for (dataset, part, layers), names in found.items()
    ]
    text = (
        "The networks as they were built (Tables VIII to X of the AVAE paper): convolutions with output channels, "
        "kernel and stride, dense layers (FC) with their outputs, BN: batch norm."
    )
    return WordTable("architectures", "Networks", text, ["data set", "part", "methods", "layers"], rows)
