"""Tables of words, such as claims, ranks and settings: as CSV and Markdown, and on the terminal; LaTeX: `tex_words`."""

import csv
import io
from dataclasses import dataclass

from rich.text import Text

from lvm_bench.report.tables.markup import markdown
from lvm_bench.text import columns, one_line


@dataclass(frozen=True)
class WordTable:
    """A text, a header, and rows as long as the header. The terminal shows `brief` columns, or all if it is 0.

    The first `keys` columns tell what a row is about: every part of a wide table has them. LaTeX has the columns
    `in_paper`, by their places, or all if there are none.
    """

    name: str
    title: str
    text: str
    header: list[str]
    rows: list[list[str]]
    brief: int = 0
    keys: int = 1
    in_paper: tuple[int, ...] = ()


def to_csv(table: WordTable) -> str:
    """The header and the rows."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([table.header, *table.rows])
    return stream.getvalue()


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
