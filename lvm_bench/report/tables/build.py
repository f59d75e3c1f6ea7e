"""One table of a suite: its rows and columns, the cells from `cells`, and the words from `captions`."""

import math
from dataclasses import replace

import pandas as pd

from lvm_bench.report.tables.captions import (
    caption_of,
    heading_of,
    planned_seeds,
    told_of_tests,
    too_few,
    with_footnotes,
)
from lvm_bench.report.tables.cells import (
    AWAY,
    Row,
    Table,
    beside_published,
    floor_cells,
    marked_cells,
    measured_cells,
    of_size,
    other_row_cells,
    with_interval,
)
from lvm_bench.report.tables.layouts import SPREADS, Layout, layout_of, resolved
from lvm_bench.runs.comparable import Remarks
from lvm_bench.runs.suite_record import About
from lvm_bench.suites.job import NORMAL, is_control
from lvm_bench.suites.labels import label, references


def build_table(
    name: str,
    frame: pd.DataFrame,
    about: About,
    against: str | None = None,
    remarks: Remarks | None = None,
    spread: str = SPREADS[0],
) -> Table:
    """One table of a suite. `frame` has the columns dataset, method, seed, metric and value."""
    remarks = remarks or Remarks()
    layout = layout_of(name, frame, about.extractor)
    if about.axis == "latent":  # a control has one latent size, and the methods have several
        layout = replace(layout, controls=())
    if any(len(about.sizes(dataset)) > 1 for dataset in about.datasets):
        frame, layout = _with_floors_of_each_size(frame, layout, about)
    columns = [resolved(column, about.extractor) for column in layout.columns]
    names = [*about.datasets, *sorted({*frame["dataset"].unique()} - {*about.datasets})]
    measured = measured_cells(frame, columns) | other_row_cells(layout, frame, columns)
    if spread == "ci95":
        measured = {key: with_interval(cell) for key, cell in measured.items()}
    cells = measured | floor_cells(layout, frame, about)
    rows = _rows(layout, frame, about, names, remarks, {key[:2] for key in measured})
    cells = {key: cell for key, cell in cells.items() if key[0] in {row.name for row in rows}}
    repeated = {(row.name, key) for row in layout.others for key, own in row.keys.items() if key == own}
    rated = {key: cell for key, cell in cells.items() if (key[0], key[2]) not in repeated}
    marked = marked_cells(rated, columns, names, [row.name for row in rows if not row.control])
    cells |= marked
    cells |= beside_published(cells, layout, columns, names, rows, against, about)
    planned = planned_seeds(about, names, cells)
    rows, footnotes = with_footnotes(rows, names, cells, columns, planned, about)
    cells |= {
        key: replace(cell, meaningless=True)
        for key, cell in cells.items()
        if math.isinf(cell.mean) and too_few(key[0], key[1], about)
    }
    of_methods = {row.name for row in rows if not row.control}
    averaged = {key: cell for key, cell in cells.items() if key[0] in of_methods}
    pairs = frame[["dataset", "method"]].drop_duplicates().itertuples(index=False, name=None)
    scored = {dataset for dataset, method in pairs if not is_control(method)}
    unmeasured = {name for name in names if name not in scored and any(name in row.notes for row in rows)}
    if any(row.away for row in rows):
        footnotes[AWAY] = remarks.made
    return Table(
        layout.name,
        [
            *caption_of(layout, about, planned, averaged, columns, against, spread),
            *([f"{remarks.changed}."] if remarks.changed else []),
            *told_of_tests(marked),
            *remarks.warnings,
        ],
        {dataset: heading_of(dataset, about) for dataset in names},
        columns,
        rows,
        cells,
        footnotes,
        against or "",
        spread,
        frozenset(unmeasured),
    )


def _with_floors_of_each_size(frame: pd.DataFrame, layout: Layout, about: About) -> tuple[pd.DataFrame, Layout]:
    """The scores and the layout with a row of each floor and each latent size that methods have."""
    sizes = sorted({l for dataset in about.datasets for l in about.sizes(dataset)})
    pairs = zip(frame["dataset"], frame["method"], strict=True)
    method = [of_size(name, about.latent(dataset, name)) if name == NORMAL else name for dataset, name in pairs]
    controls: list[tuple[str, str]] = []
    for name, words in layout.controls:
        of_each = name in (NORMAL, "noise-floor", "half-l")
        controls += [(of_size(name, l), f"{words}, l = {l}") for l in sizes] if of_each else [(name, words)]
    return frame.assign(method=method), replace(layout, controls=tuple(controls))


def filled(table: Table) -> bool:
    """Whether the table holds a number that a run of a method gave."""
    methods = {row.name for row in table.rows if not row.control}
    costs = table.name == "cost"  # its scores stand in other tables too
    shown = ((row, key, cell.n) for (row, _, key), cell in table.cells.items())
    return any(n and (key.startswith("cost.") or not costs) for row, key, n in shown if row in methods)


def _rows(
    layout: Layout,
    frame: pd.DataFrame,
    about: About,
    datasets: list[str],
    remarks: Remarks,
    measured: set[tuple[str, str]],  # by row and data set
) -> list[Row]:
    others = {name for name in frame["method"].unique() if not is_control(name)} - {*about.methods}
    names = [*about.methods, *sorted(others)]
    mixed = any((dataset, name) in remarks.here for name, dataset in measured)

    def row(name: str, words: str, method: str, control: bool, keys: dict[str, str] | None = None) -> Row:
        notes, left_out = (
            {dataset: texts[dataset, method] for dataset in datasets if (dataset, method) in texts}
            for texts in (remarks.outcomes, remarks.left_out)
        )
        absent = {d: remarks.absent[d, method] for d in datasets if (d, method) in remarks.absent}
        away = frozenset(d for d in datasets if mixed and (name, d) in measured and (d, method) in remarks.away)
        return Row(name, words, control, notes, left_out, absent, away, keys or {})

    def sized(name: str, words: str) -> str:
        """The label of a row with its latent sizes on the data sets where methods have several."""
        sizes = [about.latent(d, name) for d in datasets if (name, d) in measured and len(about.sizes(d)) > 1]
        return f"{words} (l = {', '.join(map(str, dict.fromkeys(sizes)))})" if sizes else words

    rows, below = [], references()
    for name in sorted(names, key=below.__contains__):
        rows += [row(o.name, sized(name, o.label), name, False, o.keys) for o in layout.others if o.method == name]
        rows.append(row(name, sized(name, label(name)), name, name in below))
    return rows + [row(name, words, name, True) for name, words in layout.controls]
