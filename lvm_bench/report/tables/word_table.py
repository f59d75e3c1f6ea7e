"""Tables of words: claims, ranks, settings. As CSV, LaTeX, Markdown and for the terminal."""

import csv
import io
from dataclasses import dataclass

from rich.text import Text

from lvm_bench.report.tables.writers import escape, markdown
from lvm_bench.text import columns, one_line

WIDEST = 48  # characters of the column that takes most of a line


@dataclass(frozen=True)
class WordTable:
    """A table of words: a text above, a header, rows of equal length; the terminal shows the first `brief` columns."""

    name: str
    title: str
    text: str
    header: list[str]
    rows: list[list[str]]
    brief: int = 0


def to_csv(grid: WordTable) -> str:
    """The header and the rows."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([grid.header, *grid.rows])
    return stream.getvalue()


def to_latex(grid: WordTable) -> str:
    """A `longtable` as wide as the line that needs booktabs, longtable and array: long cells are broken."""
    sizes = [min(WIDEST, 4 + width) for width in _widths(grid)]
    column = r">{{\raggedright\arraybackslash}}p{{\dimexpr{:.3f}\linewidth-2\tabcolsep\relax}}"
    return "\n".join(
        [
            "% needs \\usepackage{booktabs,longtable,array}",
            r"\begingroup\footnotesize",
            rf"\begin{{longtable}}{{{''.join(column.format(size / sum(sizes)) for size in sizes)}}}",
            rf"\caption{{{escape(f'{grid.title}. {grid.text}')}}}\label{{tab:{grid.name}}}\\",
            r"\toprule",
            _latex_row(grid.header),
            r"\midrule\endhead",
            *map(_latex_row, grid.rows),
            r"\bottomrule",
            r"\end{longtable}",
            r"\endgroup",
            "",
        ]
    )


def _latex_row(cells: list[str]) -> str:
    return f"{' & '.join(map(escape, cells))} \\\\"


def to_markdown(grid: WordTable) -> str:
    """The text, then the table."""
    rows = [f"| {' | '.join(map(markdown, row))} |" for row in (grid.header, *grid.rows)]
    return "\n".join([markdown(grid.text), "", rows[0], f"|{'---|' * len(grid.header)}", *rows[1:], ""])


def to_terminal(grid: WordTable) -> list[Text]:
    """The title, the text and the first columns of the rows, all where no number of them is given."""
    lines = [[one_line(cell) for cell in row[: grid.brief or None]] for row in (grid.header, *grid.rows)]
    view = Text(overflow="ignore", no_wrap=True)
    for number, line in enumerate(columns(lines)):
        view.append(f"{line}\n", style="" if number else "bold")
    return [Text(grid.name, style="bold"), Text(one_line(grid.text), style="italic"), Text(""), view]


def _widths(grid: WordTable) -> list[int]:
    return [max(map(len, column)) for column in zip(grid.header, *grid.rows, strict=True)]
