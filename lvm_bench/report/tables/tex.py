"""A table of scores as LaTeX: siunitx aligns the means; deviations, intervals and marks stand behind them."""

import re
from collections import Counter
from dataclasses import dataclass

from lvm_bench.report.tables import floats, writers
from lvm_bench.report.tables.cells import TIED, Cell, Row, Table
from lvm_bench.report.tables.floats import LINE, PAGE, SEP, Block, Group, width
from lvm_bench.report.tables.layouts import SPREADS, Column
from lvm_bench.report.tables.markup import latex
from lvm_bench.text import listed

LEGEND = "The best method is bold, the second best in italics."

SETUP = (
    r"\sisetup{mode=text,reset-text-series=false,reset-text-shape=false,"
    r"group-digits=integer,group-minimum-digits=4,group-separator={,}}"
    "\n"
    # This bold has digits as wide as others in most fonts, so that decimal points stay below each other.
    r"\DeclareRobustCommand{\best}{\fontseries{b}\selectfont}\DeclareRobustCommand{\second}{\itshape}"
)

BRIEF = {
    "frechet": "Fréchet distances of images",
    "precision-recall": "PRD precision and recall of samples",
    "kl": "KL divergence of the codes in nats",
    "entropy": "Entropy of the whitened codes in nats",
    "reconstruction": "Reconstruction error",
    "fidelity": "Fidelity and diversity of samples",
    "latent": "Latent codes",
    "likelihood": "Bounds of the log-likelihood",
    "reviewers": "Further tests of codes and samples",
    "disentanglement": "Disentanglement along latent directions",
    "factors": "Disentanglement",
    "cost": "Cost",
    "other": "Further scores",
}  # the captions; the notes say the rest

_SHORT = {"standard normal (exact draws)": "exact normal draws"}

_STYLES = {"best": r"\best ", "second": r"\second ", "": ""}

_WIDE = r"\mdseries\itshape"  # the room behind a number is the same in all rows of a column: that of italics

_WIDEST_NAME = 90.0  # a longer name of a row is broken

_NUMBER = re.compile(r"-?[\d,]+(\.\d+)?")  # what siunitx aligns

_RULES = 14.0  # the height of a block's rules and of the space around them

Place = tuple[str, Column]  # a data set and a score


@dataclass(frozen=True)
class _Entry:
    """A cell: a number, which is aligned, and the text behind it; or a text alone."""

    number: str
    behind: str
    mark: str = ""

    @property
    def lengths(self) -> tuple[int, int]:
        """The digits before and behind the decimal point."""
        whole, _, rest = self.number.lstrip("-").replace(",", "").partition(".")
        return len(whole), len(rest)

    @property
    def tex(self) -> str:
        """The cell in a column of siunitx."""
        if not self.number:
            return f"{{{latex(self.behind)}}}"
        return f"{_STYLES[self.mark]}{self.number.replace(',', '')}{_after(self.behind)}"


@dataclass(frozen=True)
class _Setting:
    """How the cells of a column are set: its specification, the lines of its heading and its width."""

    spec: str
    heading: list[str]
    width: float


@dataclass(frozen=True)
class _Laid:
    """What stands in a tabular, and how wide that is."""

    rows: list[Row]
    settings: list[_Setting]
    names: float  # the width of the column of names with the space behind it
    width: float


def to_latex(table: Table, suite: str, prefix: str = floats.LABEL) -> str:
    """Floats with the data sets side by side where they fit, else of one data set each; a label for each data set."""
    packages = "booktabs,siunitx,array" + (",xcolor" if table.against else "")
    notes = [rf"{_raised(letter)} {latex(text)}" for letter, text in table.footnotes.items()]
    groups = _groups(table, prefix + suite)
    return floats.floats(groups, [latex(" ".join([*table.caption, LEGEND])), *notes], packages, SETUP)


def _groups(table: Table, prefix: str) -> list[Group]:
    shown = [name for name in table.datasets if table.columns_on(name)] or [*table.datasets]
    brief = BRIEF[table.name]
    asked = [table.against, table.spread if table.spread != SPREADS[0] else ""]
    if not shown:  # no run is finished
        return [Group(brief, [floats.label(prefix, table.name, *asked)], [_block(table, [], _laid(table, []))])]
    labels = {name: floats.label(prefix, table.name, name, *asked) for name in shown}
    places = {name: [(name, column) for column in table.columns_on(name) or table.columns] for name in shown}
    every = [place for name in shown for place in places[name]]
    whole = _laid(table, every)
    if whole.width <= PAGE:
        caption = f"{brief} on {listed([*map(table.datasets.__getitem__, shown)])}"
        return [Group(caption, [*labels.values()], [_block(table, every, whole)])]
    return [Group(f"{brief} on {table.datasets[name]}", [labels[name]], _blocks(table, places[name])) for name in shown]


def _blocks(table: Table, places: list[Place]) -> list[Block]:
    """The scores of one data set in as few blocks as fit the page, the widest of them as narrow as can be."""
    laid = _laid(table, places)
    room = PAGE - laid.names
    widths = [setting.width + SEP for setting in laid.settings]
    counts = floats.filled(widths, room)
    panels, start = [], 0
    for count in counts:
        panels.append(places[start : start + count])
        start += count
    return [_block(table, panel, _laid(table, panel), stretched=len(panels) > 1) for panel in panels]


def _laid(table: Table, places: list[Place]) -> _Laid:
    """The rows, the columns and the widths of a tabular with these scores."""
    rows = _rows(table, places)
    settings = [_setting(table, rows, place) for place in places]
    names = _name_width(table, rows, places)
    across: dict[str, float] = {}
    for (dataset, _), setting in zip(places, settings, strict=True):
        across[dataset] = across.get(dataset, 0.0) + setting.width + SEP
    if len(across) > 1:
        across = {name: max(wide, width(table.datasets[name]) + SEP) for name, wide in across.items()}
    return _Laid(rows, settings, names, names + sum(across.values()))


def _block(table: Table, places: list[Place], laid: _Laid, stretched: bool = False) -> Block:
    """One tabular; `stretched` makes it as wide as the text."""
    names = laid.names
    name_spec = rf">{{\raggedright\arraybackslash}}p{{{names - SEP:.0f}pt}}" if names == _WIDEST_NAME else "l"
    spec = "\n ".join([name_spec, *(setting.spec for setting in laid.settings), "@{}"])
    opening = (r"{tabular*}{\linewidth}{@{\extracolsep{\fill}}" if stretched else "{tabular}{@{}") + spec + "}"
    head, body = _head(table, laid.settings, places), _body(table, laid.rows, places)
    lines = [rf"\begin{opening}", r"\toprule", *head, r"\midrule", *body, r"\bottomrule"]
    broken = sum(width(_name(row)) > names - SEP for row in laid.rows)
    text = "\n".join([*lines, rf"\end{{tabular{'*' if stretched else ''}}}"])
    return Block(text, laid.width, _RULES + LINE * (text.count(r"\\") + broken))


def _rows(table: Table, places: list[Place]) -> list[Row]:
    """The rows of a block: methods with a number or a footnote on its data sets, controls with a number in it."""
    datasets = {name for name, _ in places}
    return [row for row in table.rows if _is_shown(table, row, places, datasets)]


def _is_shown(table: Table, row: Row, places: list[Place], datasets: set[str]) -> bool:
    if row.control:
        return any(_cell(table, row, place) for place in places)
    return any((row.name, name) in table.numbered or name in row.notes for name in datasets)


def _name(row: Row) -> str:
    return _SHORT.get(row.label, row.label)


def _marks(table: Table, row: Row, places: list[Place]) -> str:
    """The letters of a row's footnotes on the data sets of a block, and the mark of rows that were not run here."""
    datasets = dict.fromkeys(name for name, _ in places)
    letters = dict.fromkeys(letter for name in datasets for letter in row.notes.get(name, "").split(","))
    return ",".join(filter(None, (*letters, table.mark(row, datasets))))


def _name_width(table: Table, rows: list[Row], places: list[Place]) -> float:
    """The width of the column of names with the space behind it."""
    widths = (width(_name(row)) + 0.7 * width(_marks(table, row, places)) for row in rows)
    return min(max(widths, default=0.0) + SEP, _WIDEST_NAME)


def _head(table: Table, settings: list[_Setting], places: list[Place]) -> list[str]:
    """The data sets, where there are several, and the headings of the columns, on as many lines as the longest has."""
    high = max((len(setting.heading) for setting in settings), default=0)
    padded = [[""] * (high - len(setting.heading)) + setting.heading for setting in settings]
    lines = [f" & {' & '.join(f'{{{latex(each)}}}' for each in line)} \\\\" for line in zip(*padded, strict=True)]
    counts = Counter(name for name, _ in places)
    if len(counts) == 1:
        return lines
    names, rules, start = [], [], 2
    for dataset, count in counts.items():
        names.append(rf"\multicolumn{{{count}}}{{c}}{{{latex(table.datasets[dataset])}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + count - 1}}}")
        start += count
    return [f" & {' & '.join(names)} \\\\", " ".join(rules), *lines]


def _body(table: Table, rows: list[Row], places: list[Place]) -> list[str]:
    """The rows, with a rule above the controls, and below a row the published numbers beside it."""
    lines = []
    for position, row in enumerate(rows):
        if row.control and position and not rows[position - 1].control:
            lines.append(r"\midrule")
        name = latex(_name(row)) + _raised(_marks(table, row, places))
        lines.append(" & ".join([name, *(_entry(table, row, place).tex for place in places)]) + r" \\")
        beside = [_beside(_cell(table, row, place)) for place in places]
        if any(beside):
            lines.append(" & ".join([r"\quad\scriptsize published", *beside]) + r" \\")
    return lines


def _setting(table: Table, rows: list[Row], place: Place) -> _Setting:
    entries = [_entry(table, row, place) for row in rows]
    numbers = [entry for entry in entries if entry.number]
    texts = [width(entry.behind) for entry in entries if not entry.number]
    texts += [width(_published(_cell(table, row, place))) for row in rows]
    spec, wide = "c", 0.0
    if numbers:
        whole, digits = (max(entry.lengths[part] for entry in numbers) for part in (0, 1))
        sign = "-" if any(entry.number.startswith("-") for entry in numbers) else ""
        behind = max((entry.behind for entry in numbers), key=_width_behind)
        spec = f"S[table-format={sign}{whole}.{digits}{_after(behind, _WIDE)}]"
        wide = width("+" * len(sign) + "0" * whole + "," * (whole // 4) + "." + "0" * digits)
        wide += 1.05 * _width_behind(behind)  # italics are wider
    wide = max([wide, *texts])
    heading = _wrapped(place[1].heading, wide)
    return _Setting(spec, heading, max([wide, *map(width, heading)]))


def _wrapped(heading: str, within: float) -> list[str]:
    """A heading in lines of some width or of one word. An arrow stands beside the word before it; keys are broken."""
    parts = re.split(r"( (?![↓↑→(])|(?<=[_.])(?=[a-z]))", heading)
    lines = [parts[0]]
    for between, part in zip(parts[1::2], parts[2::2], strict=True):
        joined = lines[-1] + between + part
        lines[-1:] = [joined] if width(joined) <= within else [lines[-1], part]
    return [line.replace(" ", "\N{NO-BREAK SPACE}") for line in lines]


def _cell(table: Table, row: Row, place: Place) -> Cell | None:
    return table.cells.get((row.name, place[0], place[1].metric))


def _entry(table: Table, row: Row, place: Place) -> _Entry:
    cell = _cell(table, row, place)
    first, behind = writers.cell_parts(cell, place[1], table.spread)
    tied = f" {TIED}" if cell and cell.tied else ""
    if not _NUMBER.fullmatch(first):
        return _Entry("", first + tied)
    return _Entry(first, f" {behind}{tied}" if behind else tied, cell.mark if cell else "")


def _after(behind: str, style: str = "") -> str:
    """The text behind a number, in braces: siunitx sets it as it stands."""
    return f"{{{style}{latex(behind).replace(' ', chr(92) + ',')}}}" if behind else ""


def _width_behind(behind: str) -> float:
    return width(behind.replace(" ", "")) + 1.5 * behind.count(" ")


def _published(cell: Cell | None) -> str:
    return writers.published_text(cell).removesuffix(" SE")


def _beside(cell: Cell | None) -> str:
    """The published number of a cell, coloured by how far ours is from it."""
    text = latex(_published(cell))
    if cell is None or not text:
        return ""
    colour = "" if cell.off != cell.off else rf"\color{{{'red' if writers.is_far(cell) else 'teal'}}}"
    return rf"{{\scriptsize{colour} {text}}}"


def _raised(mark: str) -> str:
    """The mark of a footnote; "" for no mark."""
    return rf"\textsuperscript{{{latex(mark)}}}" if mark else ""
