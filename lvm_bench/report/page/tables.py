"""A table as the page shows it: its panels, rows, cells and marks."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from lvm_bench.registry import TABLES
from lvm_bench.report.tables import writers
from lvm_bench.report.tables.cells import AWAY, Cell, Row, Table
from lvm_bench.report.tables.headline import Headline
from lvm_bench.report.tables.layouts import LAYOUTS, Column, known_metric
from lvm_bench.suites.labels import references

HEADLINES = "headlines"  # the name of the table that only the page has

MOST_SEEDS = 10  # values that stand behind a mean

LEAST_P = 1e-4  # a smaller p is not written out


@dataclass(frozen=True)
class ShownCell:
    """A cell as the page shows it."""

    text: str
    order: str = ""  # the value by which the column is sorted
    mark: str = ""
    tied: bool = False
    beside: str = ""  # the published number
    far: bool = False
    seeds: str = ""  # the values behind the mean
    runs: str = ""  # the id of the group of runs that gave them


class ShownTable:
    """A table in the parts that the template prints."""

    def __init__(self, table: Table, title: str) -> None:
        self.table, self.title = table, title
        self.metrics = sorted({name for column in table.columns if (name := known_metric(column.key))})

    def panels(self) -> Iterator[tuple[str, str, list[Column]]]:
        """Each data set that is shown, with its heading and its columns."""
        for dataset, heading in self.table.datasets.items():
            if columns := self.table.columns_on(dataset):
                yield dataset, heading, columns

    def parts(self, dataset: str) -> list[list[Row]]:
        """The rows that have a number or a footnote on a data set: methods first, then controls."""
        filled = {name for name, of, _ in self.table.cells if of == dataset}
        rows = [row for row in self.table.rows if row.name in filled or dataset in row.notes]
        split = [[row for row in rows if not row.control], [row for row in rows if row.control]]
        return [part for part in split if part]

    def marks(self, row: Row, dataset: str) -> list[str]:
        """The footnotes of a row on a data set."""
        return [mark for mark in (row.notes.get(dataset, ""), self.table.mark(row, [dataset])) if mark]

    def cell(self, row: Row, dataset: str, column: Column) -> ShownCell:
        """The cell of a row in a column."""
        cell = self.table.cells.get((row.name, dataset, column.metric))
        text, beside = writers.cell_text(cell, column, self.table.spread), writers.published_text(cell)
        if cell is None or not cell.n:
            return ShownCell(text, beside=beside)
        value = abs(cell.mean) if column.better == "zero" else cell.mean
        order = "" if math.isnan(value) else f"{value:.17g}".replace("inf", "Infinity")
        runs = f"runs/{dataset}/{_method_of(row.name)}" if len(cell.values) else ""
        far = writers.is_far(cell)
        return ShownCell(text, order, cell.mark, cell.tied, beside, far, _seeds(cell, column), runs)


def headline_table(tables: list[Table], headlines: list[Headline]) -> Table | None:
    """The headline scores of every method and reference side by side, from the tables that have them."""
    whole = {table.name: table for table in tables}
    found = {headline.column.metric: headline for headline in headlines if headline.table in whole}
    if not found:
        return None
    first = whole[next(iter(found.values())).table]
    cells = {
        key: cell
        for metric, headline in found.items()
        for key, cell in whole[headline.table].cells.items()
        if key[2] == metric
    }
    below = references()
    return replace(
        first,
        name=HEADLINES,
        caption=["Each column stands in a table below, which tells how it was measured."],
        columns=[replace(headline.column, label=headline.words) for headline in found.values()],
        rows=[replace(row, notes={}) for row in first.rows if not row.control or row.name in below],
        cells=cells,
        footnotes={mark: text for mark, text in first.footnotes.items() if mark == AWAY},
    )


def table_title(table: Table) -> str:
    """The title of a table; the name of one that has none."""
    return TABLES.get(table.name, table.name)


def _method_of(row: str) -> str:
    """The method whose runs give a row its numbers."""
    return _others().get(row, row)


@cache
def _others() -> dict[str, str]:
    return {other.name: other.method for layout in LAYOUTS.values() for other in layout.others}


def _seeds(cell: Cell, column: Column) -> str:
    """The values behind a mean, one per line, and the p of its test against the best."""
    named = zip(cell.seeds[:MOST_SEEDS].tolist(), cell.values[:MOST_SEEDS].tolist(), strict=True)
    lines = [f"seed {seed}: {value * column.scale:,.6g}" for seed, value in named]
    if len(cell.values) > MOST_SEEDS:
        lines.append(f"and {len(cell.values) - MOST_SEEDS:,} more")
    if not math.isnan(cell.p):
        lines.append(f"against the best: p {f'= {cell.p:.2g}' if cell.p >= LEAST_P else f'< {LEAST_P:g}'}")
    return "\n".join(lines)
