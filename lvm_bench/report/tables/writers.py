"""A table as CSV and Markdown, and on the terminal; `tex.py` writes LaTeX. One rule writes all numbers."""

import csv
import io
import math
from collections.abc import Iterator

from rich.text import Text

from lvm_bench.report.tables.cells import TIED, Cell, Row, Table
from lvm_bench.report.tables.digits import plain, written
from lvm_bench.report.tables.layouts import Column
from lvm_bench.report.tables.markup import markdown
from lvm_bench.text import one_line

CSV_COLUMNS = ["dataset", "column", "row", "metric", "mean", "std", "n", "mark", "p"]

INTERVAL_COLUMNS = ["low", "high"]

PUBLISHED_COLUMNS = ["published", "published_mean", "published_std", "standard_errors_off"]

DASH = "–"

TERMINAL_LEGEND = "* best method, ° second best."

MARKDOWN_LEGEND = "The best method is bold, the second best in italics."

FAR = 2.0  # standard errors from a published number at which ours is coloured as far

Lines = list[Text]  # the lines of one cell


def interval(mean: float, low: float, high: float) -> tuple[str, str]:
    """A mean and its interval as text, with two digits of half the interval; the interval is "" if there is none."""
    shown, half = written(mean, (high - low) / 2, 2)
    if not half:
        return shown, ""
    digits = len(shown.partition(".")[2])
    return shown, f"[{plain(low, digits)}, {plain(high, digits)}]"


def cell_parts(cell: Cell | None, column: Column, spread: str = "std") -> tuple[str, str]:
    """Our own number in a cell and what stands behind it, `± 0.34` or `[12.9, 13.6]`; a dash if there is none."""
    if cell is None or cell.n == 0 or cell.meaningless:
        return DASH, ""
    if spread == "ci95":
        return interval(*(value * column.scale for value in (cell.mean, cell.low, cell.high)))
    mean, std = written(cell.mean * column.scale, cell.std * column.scale, cell.n)
    return mean, f"± {std}" if std else ""


def cell_text(cell: Cell | None, column: Column, spread: str = "std") -> str:
    """Our own number in a cell; a dash if there is none."""
    return " ".join(filter(None, cell_parts(cell, column, spread)))


def published_text(cell: Cell | None) -> str:
    """The published number of a cell in brackets with our distance from it; "" if there is none."""
    if cell is None or cell.published is None:
        return ""
    off = "" if math.isnan(cell.off) else f" {cell.off:+.1f} SE".replace("-", "−")
    return f"({cell.published.printed}){off}"


def is_far(cell: Cell) -> bool:
    """Whether our number is further from the published one than chance explains."""
    return abs(cell.off) > FAR


def to_csv(table: Table) -> str:
    """One line per cell, unscaled and in full precision. A column `here` is added if some runs were not made here."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    mixed = any(row.away for row in table.rows)
    asked = (INTERVAL_COLUMNS if table.spread == "ci95" else []) + (PUBLISHED_COLUMNS if table.against else [])
    writer.writerow(CSV_COLUMNS + asked + (["here"] if mixed else []))
    for dataset in table.datasets:
        for row in table.rows:
            for column in table.columns:
                cell = table.cells.get((row.name, dataset, column.metric))
                if cell is None:
                    continue
                own = [repr(cell.mean), repr(cell.std), cell.n, cell.mark] if cell.n else ["", "", 0, ""]
                line = [dataset, column.label, row.name, row.metric(column), *own, _full(cell.p)]
                if table.spread == "ci95":
                    line += [_full(cell.low), _full(cell.high)]
                if table.against:
                    theirs = cell.published
                    beside = [table.against, repr(theirs.mean), repr(theirs.std)] if theirs else ["", "", ""]
                    line += [*beside, _full(cell.off)]
                if mixed:
                    line.append("false" if dataset in row.away else "true")
                writer.writerow(line)
    return stream.getvalue()


def _full(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def to_paper_csv(table: Table) -> str:
    """The table as on paper: a row per method, a column per data set and score, and the cells as text."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    where = [(dataset, column) for dataset in table.datasets for column in table.columns]
    writer.writerow(["", *(table.datasets[dataset] for dataset, _ in where)])
    writer.writerow(["", *(column.heading for _, column in where)])
    for row in table.rows:
        writer.writerow([row.label, *(_paper_cell(table, row, *place) for place in where)])
    return stream.getvalue()


def _paper_cell(table: Table, row: Row, dataset: str, column: Column) -> str:
    cell = table.cells.get((row.name, dataset, column.metric))
    text = cell_text(cell, column, table.spread) + (TIED if cell and cell.tied else "")
    return " ".join(filter(None, (text, published_text(cell))))


def to_markdown(table: Table) -> str:
    """The caption, a table per data set and the footnotes, in GitHub's Markdown."""
    lines = [markdown(" ".join([*table.caption, MARKDOWN_LEGEND])), ""]
    for dataset, heading in table.datasets.items():
        lines.append(f"| {markdown(heading)} | {' | '.join(markdown(c.heading) for c in table.columns)} |")
        lines.append(f"|---|{'---:|' * len(table.columns)}")
        for row in table.rows:
            name = markdown(row.label) + table.mark(row, [dataset])
            cells = (_markdown_cell(table, row, dataset, column) for column in table.columns)
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    notes = [f"{letter}: {markdown(text)}\n" for letter, text in table.footnotes.items()]
    return "\n".join(lines + notes)


def _markdown_cell(table: Table, row: Row, dataset: str, column: Column) -> str:
    cell = table.cells.get((row.name, dataset, column.metric))
    text = cell_text(cell, column, table.spread)
    if cell and cell.mark:
        text = f"**{text}**" if cell.mark == "best" else f"*{text}*"
    text += TIED if cell and cell.tied else ""
    text += f" <sup>{row.notes[dataset]}</sup>" if dataset in row.notes else ""
    return " ".join(filter(None, (text, markdown(published_text(cell)))))


def to_terminal(table: Table, width: int) -> list[Text]:
    """The caption, then each data set in as many tables as `width` needs, then the footnotes."""
    shown = [
        Text(table.name, style="bold"),
        Text(one_line(" ".join([*table.caption, TERMINAL_LEGEND])), style="italic"),
        Text(""),
    ]
    for dataset, heading in ((name, one_line(text)) for name, text in table.datasets.items()):
        labels = [one_line(row.label) + table.mark(row, [dataset]) for row in table.rows]
        columns = [
            (column, [_terminal_cell(table, row, dataset, column) for row in table.rows])
            for column in table.columns_on(dataset)
        ]
        first = max([len(heading), *map(len, labels)])
        for part in _fitting(
            [(2 + _width(column, cells), (column, cells)) for column, cells in columns], width - first - 4
        ):
            shown += [_view(heading, labels, part, [row.control for row in table.rows]), Text("")]
    notes = [Text(one_line(f"{letter}: {text}")) for letter, text in table.footnotes.items()]
    return [*shown, *notes, *([Text("")] if notes else [])]


def _view(heading: str, labels: list[str], part: list[tuple[Column, list[Lines]]], controls: list[bool]) -> Text:
    """One table, with a rule above the controls. It is aligned here because rich's tables take ten times as long."""
    first = max([len(heading), *map(len, labels)])
    widths = [_width(column, cells) for column, cells in part]
    heads = [[Text(one_line(column.heading), style="bold")] for column, _ in part]
    view = Text(overflow="ignore", no_wrap=True)
    for line in _lines(Text(heading, style="bold"), heads, first, widths):
        view.append_text(line)
    for position, name in enumerate(labels):
        if position and controls[position] and not controls[position - 1]:
            view.append("─" * first + "\n", style="dim")
        for line in _lines(Text(name), [cells[position] for _, cells in part], first, widths):
            view.append_text(line)
    view.rstrip()
    return view


def _lines(label: Text, cells: list[Lines], first: int, widths: list[int]) -> Iterator[Text]:
    """A row of a table: as many lines as its highest cell has."""
    for at in range(max((len(cell) for cell in cells), default=1)):
        line = label.copy() if at == 0 else Text()
        line.append(" " * (first - len(line)))
        for cell, width in zip(cells, widths, strict=True):
            shown = cell[at] if at < len(cell) else Text()
            line.append(" " * (2 + width - len(shown))).append_text(shown)
        yield line.append("\n")


def _width(column: Column, cells: list[Lines]) -> int:
    return max([len(one_line(column.heading)), *(len(line) for cell in cells for line in cell)])


def _fitting(items: list[tuple[int, tuple[Column, list[Lines]]]], width: int) -> list[list[tuple[Column, list[Lines]]]]:
    """Items in order, in groups whose widths sum to at most `width`. A wider item stands alone."""
    groups: list[list[tuple[Column, list[Lines]]]] = []
    left = -1
    for size, item in items:
        if not groups or size > left:
            groups.append([])
            left = width
        groups[-1].append(item)
        left -= size
    return groups


def _terminal_cell(table: Table, row: Row, dataset: str, column: Column) -> Lines:
    cell = table.cells.get((row.name, dataset, column.metric))
    mark = cell.mark if cell else ""
    text = Text(cell_text(cell, column, table.spread), style={"best": "bold", "second": "underline", "": ""}[mark])
    text.append({"best": "*", "second": "°", "": ""}[mark], style="not underline")
    text.append(TIED if cell and cell.tied else "", style="not underline")
    text.append(f" {row.notes[dataset]}" if dataset in row.notes else "")
    beside = published_text(cell)
    if not cell or not beside:
        return [text]
    return [text, Text(beside, style="dim" if math.isnan(cell.off) else "red" if is_far(cell) else "green")]
