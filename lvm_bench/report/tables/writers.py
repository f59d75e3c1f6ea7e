"""A table as CSV, Markdown and LaTeX (booktabs), and on the terminal. One rule writes the numbers of all of them."""

import csv
import io
import math
from collections.abc import Iterator
from functools import cache

from rich.text import Text

from lvm_bench.report.tables.cells import AWAY, TIED, Cell, Row, Table
from lvm_bench.report.tables.layouts import SPREADS, Column
from lvm_bench.report.tables.markup import latex, markdown
from lvm_bench.text import one_line

CSV_COLUMNS = ["dataset", "column", "row", "metric", "mean", "std", "n", "mark", "p"]

INTERVAL_COLUMNS = ["low", "high"]

PUBLISHED_COLUMNS = ["published", "published_mean", "published_std", "standard_errors_off"]

DASH = "–"

LATEX_LEGEND = "The best method is bold, the second best underlined."

TERMINAL_LEGEND = "* best method, ° second best."

MARKDOWN_LEGEND = "The best method is bold, the second best in italics."

FAR = 2.0  # standard errors from a published number at which ours is coloured as far

LATEX_COLUMNS = 12  # columns of numbers that fit side by side in one tabular

Lines = list[Text]  # the lines of one cell


@cache  # each cell is written in five forms
def number(mean: float, std: float, n: int) -> str:
    """`mean ± std` with two digits of the deviation and at most four of the mean; the mean alone if n = 1."""
    if not math.isfinite(mean):
        return "nan" if math.isnan(mean) else "∞" if mean > 0 else "−∞"
    exponent = math.floor(math.log10(abs(mean) or (std if std > 0 else 1)))
    digits = max(0, 3 - exponent)
    if std > 0 and n != 1:
        digits = max(0, min(1 - math.floor(math.log10(std)), max(3 - exponent, 0)))
    digits = min(digits, 8)
    shown = _plain(mean, digits)
    return shown if n == 1 or math.isnan(std) else f"{shown} ± {_plain(std, digits)}"


def interval(mean: float, low: float, high: float) -> str:
    """`mean [low, high]` with two digits of half the interval; the mean alone if there is no interval."""
    if math.isnan(low) or not math.isfinite(mean):
        return number(mean, math.nan, 1)
    shown = number(mean, (high - low) / 2, 2).split(" ± ")[0]
    digits = len(shown.partition(".")[2])
    return f"{shown} [{_plain(low, digits)}, {_plain(high, digits)}]"


def _plain(value: float, digits: int) -> str:
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


def cell_text(cell: Cell | None, column: Column, spread: str = "std") -> str:
    """Our own number in a cell; a dash if there is none."""
    if cell is None or cell.n == 0 or cell.meaningless:
        return DASH
    if spread == "ci95":
        return interval(*(value * column.scale for value in (cell.mean, cell.low, cell.high)))
    return number(cell.mean * column.scale, cell.std * column.scale, cell.n)


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


def to_latex(table: Table, suite: str) -> str:
    """A `table*` with the data sets side by side if they fit, else below each other.

    It needs booktabs, graphicx and xcolor. Its label is that of no other suite's table and of no other spread.
    """
    panels = _panels(table)
    asked = [table.against, table.spread if table.spread != SPREADS[0] else ""]
    return "\n".join(
        [
            "% needs \\usepackage{booktabs,graphicx,xcolor}",
            r"\begin{table*}",
            r"\centering",
            rf"\caption{{{latex(' '.join([*table.caption, LATEX_LEGEND]))}}}",
            rf"\label{{tab:{'-'.join(filter(None, [suite, table.name, *asked]))}}}",
            "\n\\medskip\n".join(_tabular(table, panel) for panel in panels),
            *(rf"\par\footnotesize {_raised(letter)} {latex(text)}" for letter, text in table.footnotes.items()),
            r"\end{table*}",
            "",
        ]
    )


def _panels(table: Table) -> list[list[tuple[str, Column]]]:
    """The columns of each tabular. It holds all data sets if they fit, else an equal part of one data set."""
    if len(table.datasets) * len(table.columns) <= LATEX_COLUMNS:
        return [[(dataset, column) for dataset in table.datasets for column in table.columns]]
    parts = -(-len(table.columns) // (LATEX_COLUMNS - 4))
    size = -(-len(table.columns) // parts)
    return [
        [(dataset, column) for column in table.columns[start : start + size]]
        for dataset in table.datasets
        for start in range(0, len(table.columns), size)
    ]


def _tabular(table: Table, panel: list[tuple[str, Column]]) -> str:
    datasets = list(dict.fromkeys(dataset for dataset, _ in panel))
    widths = [sum(dataset == name for name, _ in panel) for dataset in datasets]
    starts = [2 + sum(widths[:i]) for i in range(len(widths))]
    heads = " & ".join(
        rf"\multicolumn{{{width}}}{{c}}{{{latex(table.datasets[dataset])}}}"
        for dataset, width in zip(datasets, widths, strict=True)
    )
    rules = " ".join(rf"\cmidrule(lr){{{a}-{a + width - 1}}}" for a, width in zip(starts, widths, strict=True))
    lines = [
        r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{"
        rf"\begin{{tabular}}{{l{'c' * len(panel)}}}",
        r"\toprule",
        rf" & {heads} \\",
        rules,
        f" & {' & '.join(latex(column.heading) for _, column in panel)} \\\\",
        r"\midrule",
    ]
    for position, row in enumerate(table.rows):
        if row.control and position and not table.rows[position - 1].control:
            lines.append(r"\midrule")
        name = latex(row.label) + _raised(table.mark(row, datasets))
        lines.append(" & ".join([name, *(_latex_cell(table, row, *where) for where in panel)]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}"])


def _raised(mark: str) -> str:
    """The mark of a footnote in LaTeX; "" for no mark."""
    return f"$^{{{mark.replace(AWAY, chr(92) + 'dagger')}}}$" if mark else ""


def _latex_cell(table: Table, row: Row, dataset: str, column: Column) -> str:
    cell = table.cells.get((row.name, dataset, column.metric))
    text = latex(cell_text(cell, column, table.spread))
    if cell and cell.mark:
        text = rf"\textbf{{{text}}}" if cell.mark == "best" else rf"\underline{{{text}}}"
    text += latex(TIED) if cell and cell.tied else ""
    if dataset in row.notes:
        text += _raised(row.notes[dataset])
    beside = latex(published_text(cell))
    if cell and not math.isnan(cell.off):
        beside = rf"\textcolor{{{'red' if is_far(cell) else 'teal'}}}{{{beside}}}"
    return f"{text} {beside}" if beside else text


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
