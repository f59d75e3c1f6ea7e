"""One table of a suite: its rows and columns, the cells from `cells`, and the words from `captions`."""

from dataclasses import replace

import pandas as pd

from lvm_bench.report.tables.captions import caption_of, heading_of, planned_seeds, told_of_tests, with_footnotes
from lvm_bench.report.tables.cells import (
    AWAY,
    Row,
    Table,
    beside_published,
    floor_cells,
    marked_cells,
    measured_cells,
    other_row_cells,
    with_interval,
)
from lvm_bench.report.tables.layouts import SPREADS, Layout, layout_of, resolved
from lvm_bench.runs.comparable import Remarks
from lvm_bench.runs.suite_record import About
from lvm_bench.suites.job import CONTROLS
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
    of_methods = {row.name for row in rows if not row.control}
    averaged = {key: cell for key, cell in cells.items() if key[0] in of_methods}
    scored = {*frame["dataset"][~frame["method"].isin(CONTROLS)]}
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
    names = [*about.methods, *sorted({*frame["method"].unique()} - {*about.methods, *CONTROLS})]
    mixed = any((dataset, name) in remarks.here for name, dataset in measured)

    def row(name: str, words: str, method: str, control: bool, keys: dict[str, str] | None = None) -> Row:
        notes, left_out = (
            {dataset: texts[dataset, method] for dataset in datasets if (dataset, method) in texts}
            for texts in (remarks.outcomes, remarks.left_out)
        )
        away = frozenset(d for d in datasets if mixed and (name, d) in measured and (d, method) in remarks.away)
        return Row(name, words, control, notes, left_out, away, keys or {})

    rows, below = [], references()
    for name in sorted(names, key=below.__contains__):
        rows += [row(o.name, o.label, name, False, o.keys) for o in layout.others if o.method == name]
        rows.append(row(name, label(name), name, name in below))
    return rows + [row(name, words, name, True) for name, words in layout.controls]
