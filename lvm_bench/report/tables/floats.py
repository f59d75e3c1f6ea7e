"""LaTeX floats that fit a column or a page of `article`, of its `twocolumn`, and of a text 5.5 inches wide.

Widths and heights are in points, estimated from those of Computer Modern in \\footnotesize of a 10 pt document.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lvm_bench.report.tables.markup import latex

COLUMN = 227.0  # of `twocolumn`, less a little

PAGE = 342.0  # the narrowest text of the three, that of `article` with one column, less a little

HEIGHT = 480.0  # of a float without its caption, less than the lowest text is high

LINE = 9.5  # from one line of a table to the next

SEP = 6.0  # between two columns

LABEL = "tab:"  # what labels begin with, unless a user asks for something else


class _Widths(dict[str, float]):
    """The widths of characters."""

    def __missing__(self, character: str) -> float:
        return 6.5  # of most capitals and signs


_WIDTHS = _Widths(
    (character, width)
    for characters, width in (
        ("!',.:;[]`ilfj-|", 2.8), ("()rtsI{}", 3.4), ("0123456789aegockqvxyzJ?/*$^_~\" ", 4.3), ("Sbdhnpu", 4.8),
        ("mwMW%#", 7.6),
    )
    for character in characters
)  # fmt: skip

_NOTE = 0.9  # the width of \scriptsize in that of \footnotesize

_NOTE_LINE = 8.0

_EQUALS = "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Block:
    """A tabular, with its width and height."""

    text: str
    width: float
    height: float


@dataclass(frozen=True)
class Group:
    """What stands under one caption: blocks, in as many floats as their heights need."""

    caption: str
    labels: list[str]
    blocks: list[Block]


def width(text: str) -> float:
    """The width of a text on one line."""
    return sum(map(_WIDTHS.__getitem__, text))


def label(*parts: str) -> str:
    """A label of LaTeX from names, in which other characters than letters and digits are hyphens."""
    return "-".join(re.sub(r"[^A-Za-z0-9:._+-]+", "-", part) for part in parts if part).replace(":-", ":")


def fits(blocks: list[Block], note: list[str]) -> bool:
    """Whether blocks and a note have room in one float."""
    across = COLUMN if _is_narrow(blocks) else PAGE
    return sum(block.height for block in blocks) + note_height(note, across) <= HEIGHT


def filled(sizes: Sequence[float], most: float) -> list[int]:
    """How many of these sizes, in order, stand together: in as few groups as their sums allow, of about one size."""
    fewest = len(_greedy(sizes, most))
    return next(found for share in range(1, 21) if len(found := _greedy(sizes, most * share / 20)) == fewest)


def _greedy(sizes: Sequence[float], most: float) -> list[int]:
    counts: list[int] = []
    left = -1.0
    for size in sizes:
        if not counts or size > left:
            counts.append(0)
            left = most
        counts[-1] += 1
        left -= size
    return counts


def floats(groups: list[Group], note: list[str], packages: str, setup: str = "") -> str:
    """The LaTeX of groups. The note, a paragraph each, stands below the first float, and the others refer to it."""
    first, rest = note, [rf"See the note of Table~\ref{{{groups[0].labels[0]}}}."]
    lines = [f"% needs \\usepackage{{{packages}}}"]
    for group in groups:
        kind = "table" if _is_narrow(group.blocks) else "table*"
        for number, blocks in enumerate(_parts(group.blocks, first)):
            caption = group.caption + (" (continued)" if number else "")
            labels = [f"{group.labels[0]}-{number + 1}"] if number else group.labels
            lines += _float(kind, blocks, caption, labels, first, setup)
            first = rest
    return "\n".join([*lines, ""])


def _parts(blocks: list[Block], note: list[str]) -> Iterator[list[Block]]:
    """Blocks in order, in parts that have room in a float. The note stands below the first."""
    part: list[Block] = []
    for block in blocks:
        if part and not fits([*part, block], note):
            yield part
            part, note = [], []
        part.append(block)
    yield part


def _float(kind: str, blocks: list[Block], caption: str, labels: list[str], note: list[str], setup: str) -> list[str]:
    return [
        rf"\begin{{{kind}}}",
        r"\centering",
        rf"\caption{{{latex(caption.replace(' = ', _EQUALS))}}}",
        *(rf"\label{{{each}}}" for each in labels),
        r"\footnotesize\setlength{\tabcolsep}{3pt}\setlength{\abovetopsep}{4pt}",
        *filter(None, [setup]),
        "\n\\par\\medskip\n".join(block.text for block in blocks),
        r"\par\smallskip",
        r"\begin{minipage}{\linewidth}\scriptsize",
        "\\par\n".join(note),
        r"\end{minipage}",
        rf"\end{{{kind}}}",
    ]


def _is_narrow(blocks: list[Block]) -> bool:
    return max(block.width for block in blocks) <= COLUMN


def note_height(note: list[str], across: float) -> float:
    """The height of a note of some width."""
    return sum(_NOTE_LINE * (1 + _NOTE * width(text) // across) for text in note)
