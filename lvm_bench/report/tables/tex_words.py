"""A table of words as LaTeX: long cells are broken (tabularx), wide tables and long ones stand in several parts."""

import re
from dataclasses import replace
from itertools import groupby
from operator import itemgetter

from lvm_bench.report.tables import floats
from lvm_bench.report.tables.floats import HEIGHT, LINE, PAGE, SEP, Block, Group, width
from lvm_bench.report.tables.markup import latex
from lvm_bench.report.tables.word_table import WordTable

DATA_SET = "data set"  # the heading of the column by which a long table is split

_RULES = 14.0  # the height of a block's rules and of the space around them

_UNBROKEN = 75.0  # a column of at most this width is not broken, if there is room

_LONGEST = 400.0  # a longer text does not widen its column further

_SLACK = 1.15  # the width of lines over that of their words, as lines end ragged

_BREAK = re.compile(r"(?<=[_/=@])(?=[^ ])|(?<=[A-Za-z][.-])(?=[A-Za-z])")  # where a word may be broken

_INSIDE = re.compile(r"\[[^\[\]]{,20}\]| ± ")  # what stays together: an interval, a number and its deviation

Rows = list[list[str]]


def to_latex(table: WordTable, suite: str, prefix: str = floats.LABEL) -> str:
    """Floats with all rows where they fit, else of one data set each where a column tells it."""
    table = _in_a_paper(table)
    note = [latex(table.text)] if table.text else []
    most = HEIGHT - floats.note_height(note, PAGE)
    label = floats.label(prefix + suite, table.name)
    groups = [Group(table.title, [label], _blocks(table.header, table.rows, table.keys, most))]
    if table.header[0] == DATA_SET and not floats.fits(groups[0].blocks, note):
        groups = [
            Group(
                f"{table.title} on {name}",
                [floats.label(label, name)],
                _blocks(table.header[1:], [row[1:] for row in rows], max(table.keys - 1, 1), most),
            )
            for name, rows in groupby(table.rows, key=itemgetter(0))
        ]
    return floats.floats(groups, note, "booktabs,tabularx")


def _in_a_paper(table: WordTable) -> WordTable:
    """The table with those columns alone that it shows in a paper, and of them those that say something."""
    at = [*(table.in_paper or range(len(table.header)))]
    telling = [i for place, i in enumerate(at) if place < table.keys or any(row[i] for row in table.rows)]
    at = telling if len(telling) > table.keys else at
    return replace(table, header=[table.header[i] for i in at], rows=[[row[i] for i in at] for row in table.rows])


def _blocks(header: list[str], rows: Rows, keys: int, most: float) -> list[Block]:
    """The columns in as few panels as fit the page, each in as many blocks as its rows need."""
    keys = min(keys, len(header) - 1)
    others = range(keys, len(header))
    for count in range(1, len(others) + 1):
        size = -(-len(others) // count)
        panels = [[*range(keys), *others[start : start + size]] for start in range(0, len(others), size)]
        widths = [_widths([[row[at] for at in panel] for row in (header, *rows)]) for panel in panels]
        if all(sum(wide) + SEP * (len(wide) - 1) <= PAGE for wide in widths):
            break
    blocks = []
    for panel, wide in zip(panels, widths, strict=True):
        kept = [[row[at] for at in panel] for row in rows if any(row[at] for at in panel[keys:])]
        blocks += _broken([header[at] for at in panel], kept, wide, most)
    return blocks


def _widths(lines: Rows) -> list[float]:
    """The widths of columns on a page, of which those that are not broken are as wide as their text."""
    columns = [*zip(*lines, strict=True)]
    natural = [max(map(width, column)) + 1 for column in columns]
    least = [max(width(piece) for cell in column for piece in _pieces(cell)) + 2 for column in columns]
    room = PAGE - SEP * (len(columns) - 1)
    if sum(natural) <= room:
        return natural
    fixed = [wide <= _UNBROKEN for wide in natural]
    given = [own if keep else low for own, low, keep in zip(natural, least, fixed, strict=True)]
    if sum(given) > room:
        fixed, given = [False] * len(columns), least
    wanted = [0.0 if keep else min(own, _LONGEST) - low for own, low, keep in zip(natural, least, fixed, strict=True)]
    share = max(room - sum(given), 0.0) / max(sum(wanted), 1.0)
    return [low + share * more for low, more in zip(given, wanted, strict=True)]


def _broken(header: list[str], rows: Rows, widths: list[float], most: float) -> list[Block]:
    """Rows under a header, in blocks of at most a height."""
    heights = [_height(row, widths) for row in rows]
    above = _RULES + _height(header, widths)
    natural = [max(width(row[at]) for row in (header, *rows)) for at in range(len(header))]
    broken = [own > wide for own, wide in zip(natural, widths, strict=True)]
    blocks, start = [], 0
    for count in floats.filled(heights, most - above) or [0]:
        part = slice(start, start + count)
        start += count
        text = _tabular(header, rows[part], widths, broken)
        blocks.append(Block(text, sum(widths) + SEP * (len(header) - 1), above + sum(heights[part])))
    return blocks


def _height(row: list[str], widths: list[float]) -> float:
    lines = (1 + _SLACK * width(cell) // wide for cell, wide in zip(row, widths, strict=True) if width(cell) > wide)
    return LINE * max(lines, default=1)


def _tabular(header: list[str], rows: Rows, widths: list[float], broken: list[bool]) -> str:
    body = [r"\toprule", _line(header), r"\midrule", *map(_line, rows), r"\bottomrule"]
    if not any(broken):
        return "\n".join([rf"\begin{{tabular}}{{@{{}}{'l' * len(header)}@{{}}}}", *body, r"\end{tabular}"])
    mean = sum(wide for wide, of in zip(widths, broken, strict=True) if of) / sum(broken)
    column = r">{{\hsize={:.3f}\hsize\raggedright\arraybackslash}}X"
    spec = "".join(column.format(wide / mean) if of else "l" for wide, of in zip(widths, broken, strict=True))
    return "\n".join([rf"\begin{{tabularx}}{{\linewidth}}{{@{{}}{spec}@{{}}}}", *body, r"\end{tabularx}"])


def _line(cells: list[str]) -> str:
    return f"{' & '.join(map(_cell, cells))} \\\\"


def _cell(text: str) -> str:
    """A cell in LaTeX, with what `_words` keeps together and a true minus before a number."""
    words = re.sub(r"(?<![\w.-])-(?=\d)", "\N{MINUS SIGN}", _words(text)).split(" ")
    return " ".join(r"\allowbreak{}".join(map(latex, _BREAK.split(word))) for word in words)


def _pieces(text: str) -> list[str]:
    """The parts of a cell that are not broken."""
    return [piece for word in _words(text).split(" ") for piece in _BREAK.split(word)]


def _words(text: str) -> str:
    """A text whose intervals and deviations have no space at which they might be broken."""
    return _INSIDE.sub(lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), text)
