"""Tables of words, such as claims, ranks and settings: as CSV, LaTeX, Markdown and on the terminal."""

import csv
import io
from dataclasses import dataclass

from rich.text import Text

from lvm_bench.report.tables.markup import latex, markdown
from lvm_bench.text import columns, one_line

WIDEST = 48  # characters at which a column's share of the line stops growing


@dataclass(frozen=True)
class WordTable:
    """A text, a header, and rows as long as the header. The terminal shows `brief` columns, or all if it is 0."""

    name: str
    title: str
    text: str
    header: list[str]
    rows: list[list[str]]
    brief: int = 0


def to_csv(table: WordTable) -> str:
    """The header and the rows."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([table.header, *table.rows])
    return stream.getvalue()


def to_latex(table: WordTable, suite: str) -> str:
    """A `longtable` as wide as the line, which breaks long cells. It needs booktabs, longtable and array."""
    sizes = [min(WIDEST, 4 + width) for width in _widths(table)]
    column = r">{{\raggedright\arraybackslash}}p{{\dimexpr{:.3f}\linewidth-2\tabcolsep\relax}}"
    return "\n".join(
        [
            "% needs \\usepackage{booktabs,longtable,array}",
            r"\begingroup\footnotesize",
            rf"\begin{{longtable}}{{{''.join(column.format(size / sum(sizes)) for size in sizes)}}}",
            rf"\caption{{{latex(f'{table.title}. {table.text}')}}}\label{{tab:{suite}-{table.name}}}\\",
            r"\toprule",
            _latex_row(table.header),
            r"\midrule\endhead",
            *map(_latex_row, table.rows),
            r"\bottomrule",
            r"\end{longtable}",
            r"\endgroup",
            "",
        ]
    )


def _latex_row(cells: list[str]) -> str:
    return f"{' & '.join(map(latex, cells))} \\\\"


def to_markdown(table: WordTable) -> str:
    """The text, then the table."""
    rows = [f"| {' | '.join(map(markdown, row))} |" for row in (table.header, *table.rows)]
    return "\n".join([markdown(table.text), "", rows[0], f"|{'---|' * len(table.header)}", *rows[1:], ""])


def to_terminal(table: WordTable) -> list[Text]:
    """The name, the text and the first `brief` columns."""
    lines = [[one_line(cell) for cell in row[: table.brief or None]] for row in (table.header, *table.rows)]
    view = Text(overflow="ignore", no_wrap=True)
    for number, line in enumerate(columns(lines)):
        view.append(f"{line}\n", style="" if number else "bold")
    return [Text(table.name, style="bold"), Text(one_line(table.text), style="italic"), Text(""), view]


def _widths(table: WordTable) -> list[int]:
    return [max(map(len, column)) for column in zip(table.header, *table.rows, strict=True)]
