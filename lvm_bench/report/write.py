"""`lvm-bench report`: a suite's scores as tables and pictures. Only computing the bandwidths imports torch.

What git holds of a suite stands in its own folder; what is rendered from that stands in the site beside the suites.
"""

import itertools
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.text import Text

from lvm_bench import disk
from lvm_bench.errors import RunError, StorageError, UserError, did_you_mean
from lvm_bench.output import Steps, Volume
from lvm_bench.report.figures import bandwidths, draw
from lvm_bench.report.figures.files import Folder
from lvm_bench.report.figures.style import Picture
from lvm_bench.report.page import index, render
from lvm_bench.report.screen import LEGEND, ONE_SEED, WIDEST, brief_screen, screen
from lvm_bench.report.tables import bandwidth, floats, published, tex, tex_words, word_table, writers
from lvm_bench.report.tables.cells import Table
from lvm_bench.report.tables.compose import BANDWIDTH, NAMES, OF_SEARCH, Composed, compose_tables
from lvm_bench.report.tables.layouts import SPREADS
from lvm_bench.report.tables.word_table import WordTable, to_terminal
from lvm_bench.runs import checksums, gather
from lvm_bench.runs.gather import Gathered
from lvm_bench.runs.layout import CLAIMS, SITE, reported_folders, site_folder
from lvm_bench.runs.lease import Leases
from lvm_bench.runs.score_files import Complain
from lvm_bench.suites import labels
from lvm_bench.suites.counts import counted_runs
from lvm_bench.text import one_line

PRINTED = (*OF_SEARCH, "ranks", "aggregates", "claims")  # unasked, of the tables of words; the others are an appendix's

SUFFIXES = (".csv", ".paper.csv", ".tex", ".md")  # of the files of a table


def write_report(
    results_root: Path,
    suite: str | None,
    table_names: Sequence[str],
    against: str | None,
    spread: str,
    console: Console,
    full: bool = False,
    volume: Volume = Volume.NORMAL,
    label: str = floats.LABEL,
    titles: bool = False,
) -> int:
    """Write the tables, pictures and pages of one suite or of all; 1 if a file was damaged, else 0.

    Printed is what they say in short; the tables that are named; or with `full` every table. The labels of LaTeX begin
    with `label`, and with `titles` figures have theirs in them. Raises UserError for an unknown suite, table or source,
    and when the results cannot be written.
    """
    for name in table_names:
        if name not in (*NAMES, BANDWIDTH):
            raise UserError(f"Unknown table {name!r}.{did_you_mean(name, (*NAMES, BANDWIDTH))}")
    if against is not None:
        published.load(against)
    disk.check_inside(results_root, results_root / SITE)
    damaged: list[str] = []
    steps = Steps(volume)
    if BANDWIDTH in table_names:
        with steps:
            _bandwidths(results_root, console, steps.clear, label, titles)
    if set(table_names) == {BANDWIDTH} and suite is None:
        steps.end()
        return 0
    folders = reported_folders(results_root, suite)
    names = [name for name in table_names if name != BANDWIDTH]
    asked = _Asked(names, against, spread, label, titles, full, len(folders) > 1)
    for place, folder in enumerate(folders, 1):
        at = f"{folder.name} ({place} of {len(folders)})" if asked.several else folder.name
        damaged += _report(folder, asked, console, steps, at)
    if suite is None and (results_root / BANDWIDTH / bandwidth.FILE).is_file():
        try:
            _render_bandwidths(results_root, bandwidth.read(results_root / BANDWIDTH), label, titles)
        except RunError as error:
            damaged.append(str(error))
    for line in _closing(asked, min(console.width, WIDEST)):
        console.print(line, highlight=False, markup=False)
    console.print(f"Every suite: {index.write(results_root)}", soft_wrap=True, highlight=False, markup=False)
    steps.end()
    for text in dict.fromkeys(damaged):
        _stderr().print(one_line(text), style="red")
    return 1 if damaged else 0


@dataclass(frozen=True)
class _Asked:
    """What is to be printed: tables by name or with `full` all, else what they say in short."""

    names: list[str]
    against: str | None
    spread: str
    label: str  # what labels of LaTeX begin with
    titles: bool  # of figures, in them
    full: bool
    several: bool  # suites

    @property
    def tables(self) -> bool:
        """Whether tables are printed."""
        return self.full or bool(self.names)


def _report(folder: Path, asked: _Asked, console: Console, steps: Steps, at: str) -> list[str]:
    """Write and print a suite; returns a sentence on each file that is damaged."""
    damaged: list[str] = []
    console.rule(Text(one_line(folder.name)))
    try:
        with disk.nothing_to_collect(), steps:
            tell = partial(_step, steps, at)
            look = asked.label, asked.titles
            emitted = emit(folder, asked.names or None, asked.against, asked.spread, damaged.append, tell, *look)
    except StorageError:
        raise
    except RunError as error:
        return [*damaged, *str(error).splitlines()]
    if asked.tables:
        for shown in emitted.printed(asked.names or None, console.width):
            console.print(shown, soft_wrap=bool(shown.no_wrap))  # what is laid out already, rich need not wrap
    in_short = [] if asked.tables else emitted.screen(asked.spread, console.width, asked.several)
    for line in (*in_short, *emitted.places(folder, asked.several and not asked.tables)):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    said = {emitted.found.remarks.changed} if in_short else set()
    for text in (each for each in emitted.warnings if each not in said):
        _stderr().print(one_line(f"{folder.name}: {text}"), style="yellow")
    return damaged


def _closing(asked: _Asked, width: int) -> list[str]:
    """The lines below all suites: what their marks mean, and how to print more."""
    texts = [*([f"{LEGEND} {ONE_SEED}"] if asked.several else []), _MORE]
    return [] if asked.tables else [line for text in texts for line in textwrap.wrap(text, width)]


def _step(steps: Steps, suite: str, doing: str) -> None:
    steps.step(f"{suite}: {doing}")


def _stderr() -> Console:
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


_MORE = "Every table: --full. Some tables: --tables frechet,kl (a wrong name lists all)."

_NO_PICTURES = "No pictures: the runs' folders hold no images."


@dataclass(frozen=True)
class Emitted:
    """The output for a suite: what was gathered and composed of it, its pictures and its page."""

    found: Gathered
    composed: Composed
    pictures: list[Picture]
    page: Path

    @property
    def warnings(self) -> list[str]:
        """A sentence on each thing that readers of the scores must know."""
        remarks, drawn = self.found.remarks, (draw.left_out(self.found), draw.partial(self.found, self.pictures))
        said = [*dict.fromkeys(remarks.left_out.values()), *remarks.warnings, remarks.changed, *drawn]
        return list(filter(None, said))

    def screen(self, spread: str, width: int, brief: bool) -> list[str]:
        """What its tables say in short, as lines; with `brief` in fewer."""
        with self._labels():
            if brief:
                return brief_screen(self.found, self.composed.ranked, width)
            return screen(self.found, self.composed.ranked, spread, width)

    def printed(self, names: Sequence[str] | None, width: int) -> list[Text]:
        """Its tables as the terminal shows them."""
        with self._labels():
            return _printed(self.composed, names, width)

    def places(self, folder: Path, brief: bool) -> list[str]:
        """Where its files are, the page first; with `brief` the page alone."""
        page, site = f"Page: {self.page}", self.page.parent
        if brief:
            return [page]
        pictures = f"Pictures: {site / 'figures'}" if self.pictures else _NO_PICTURES
        tables = [f"Tables: {site / 'tables'} (CSV, LaTeX)", f"Tables: {folder / 'tables'} (Markdown)"]
        return [page, *tables, pictures]

    @contextmanager
    def _labels(self) -> Iterator[None]:
        """Inside this context, methods and data sets are called as the suite's runs call them."""
        with labels.using(labels.current()):
            labels.show(self.found.about.shown)
            yield


def emit(
    folder: Path,
    names: Sequence[str] | None = None,
    against: str | None = None,
    spread: str = SPREADS[0],
    complain: Complain = print,
    tell: Callable[[str], object] = str,
    label: str = floats.LABEL,
    titles: bool = False,
) -> Emitted:
    """Gather a suite's scores, write what is committed of them into its folder, and render the rest into the site.

    Committed are the gathered data, claims.csv (each claim of the paper against the scores: True, False, or empty
    where they cannot tell), tables/<name>.md, and the pictures of what runs alone hold. Rendered are report.html,
    tables/<name>.csv, .paper.csv and .tex, figures as PNG and PDF (with `titles`, these in them); with `against` or
    another `spread` the tables are rendered once more, as <name>.<source>.<spread>.csv and so on.
    The tables named, or all in which some method has a number (all there are, if none has); the page shows all.
    `tell` is told what is done in turn.
    UserError when the folder cannot be written, RunError when nothing can be said of the suite before a file is mended.
    """
    site = site_folder(folder)
    for place in (folder, site):
        for name in checksums.FOLDERS:
            disk.check_inside(folder.parent, place / name)
        disk.check_writable(place / "tables")
    lease = Leases().take(folder)
    if lease is None:
        raise RunError(f"{folder}: another `lvm-bench report` is writing here. Give the command again when it is done.")
    with lease, labels.using(labels.current()):
        disk.sweep(site)  # as the lease does with the folder
        for name, place in itertools.product(checksums.FOLDERS, (folder, site)):
            disk.sweep(place / name)
        before = checksums.read(folder)
        # Where the list is missing, what stands there is taken as it is.
        listed = before or {name: disk.fingerprint(folder / name) for name in checksums.outputs(folder)}
        tell("reading scores")
        found = gather.gather(folder, listed, complain)
        labels.show(found.about.shown)
        written = gather.write(folder, found, listed)
        tell(f"making the tables of {counted_runs(found.shown)}")
        plain = composed = compose_tables(folder, found, None, SPREADS[0])
        if stem_end := _stem_end(against, spread):
            composed = compose_tables(folder, found, against, spread, plain)
        written += _write_tables(folder, plain, names, "", label)
        if stem_end:
            _write_tables(folder, composed, names, stem_end, label)
        tell("drawing figures")
        pictures = draw.write_all(folder, found, listed, complain, plain.aggregated, titles)
        tell("writing the page")
        page = render.write(folder, composed.filled, found, pictures, composed.words, label)
        kept = [picture.file.name for picture in pictures if picture.from_runs]
        written += [folder / "figures" / name for name in (*kept, *([draw.CAPTIONS] if kept else []))]
        rendered = {f"figures/{picture.file.name}" for picture in pictures if not picture.from_runs}
        rendered |= {name for name in listed if not checksums.is_committed(name)}
        for name in rendered & before.keys():  # a report of before there was a site wrote them here
            (folder / name).unlink(missing_ok=True)
        checksums.write(folder, {name: known for name, known in listed.items() if name not in rendered}, written)
    return Emitted(found, composed, pictures, page)


def _chosen(composed: Composed, names: Sequence[str] | None) -> list[Table | WordTable]:
    """The tables that are named; without names those in which some method has a number, and all of words."""
    every: list[Table | WordTable] = [*(composed.tables if names else composed.filled), *composed.words]
    return [made for made in every if not names or made.name in names]


def _printed(composed: Composed, names: Sequence[str] | None, width: int) -> list[Text]:
    """The tables as the terminal shows them."""
    shown: list[Text] = []
    for made in _chosen(composed, names):
        if isinstance(made, Table):
            shown += writers.to_terminal(made, width)
        elif names or (made.name in PRINTED and made.rows):
            shown += to_terminal(made)
    return shown


def _stem_end(against: str | None, spread: str) -> str:
    """The part of a file's name that follows the name of its table."""
    return "".join(f".{part}" for part in (against, spread if spread != SPREADS[0] else None) if part)


def _write_tables(
    folder: Path, composed: Composed, names: Sequence[str] | None, stem_end: str, label: str
) -> list[Path]:
    """Write tables in every form: plain Markdown beside the scores, all else into the site. Returns what is committed.

    Where all are written, those that have no number any more are deleted. Tables of words are alike for every ending.
    """
    chosen = {made.name: made for made in _chosen(composed, names) if not (stem_end and isinstance(made, WordTable))}
    texts = {}
    if not stem_end:
        texts[folder / CLAIMS] = composed.verdicts.to_csv(index=False, lineterminator="\n")
    for name, made in chosen.items():
        for suffix, text in _forms(made, folder.name, label).items():
            texts[_file(folder, name, stem_end, suffix)] = text
    if not names:
        for name in {*NAMES} - chosen.keys():
            for suffix in SUFFIXES:
                _file(folder, name, stem_end, suffix).unlink(missing_ok=True)
    disk.write_texts(texts)
    return [file for file in texts if file.is_relative_to(folder)]


def _file(folder: Path, table: str, stem_end: str, suffix: str) -> Path:
    """The file of a table in one form."""
    place = folder if suffix == ".md" and not stem_end else site_folder(folder)
    return place / "tables" / f"{table}{stem_end}{suffix}"


def _forms(made: Table | WordTable, suite: str, label: str) -> dict[str, str]:
    """A suite's table in every form that it has, by the ending of its file."""
    if isinstance(made, WordTable):
        return {
            ".csv": word_table.to_csv(made),
            ".tex": tex_words.to_latex(made, suite, label),
            ".md": word_table.to_markdown(made),
        }
    return {
        ".csv": writers.to_csv(made),
        ".paper.csv": writers.to_paper_csv(made),
        ".tex": tex.to_latex(made, suite, label),
        ".md": writers.to_markdown(made),
    }


def _bandwidths(results_root: Path, console: Console, clear: Callable[[], object], label: str, titles: bool) -> None:
    """Compute Tables I and II, keep them as CSV, render and print them; `clear` makes room for what is printed."""
    folder = results_root / BANDWIDTH
    disk.check_writable(folder)
    frame = bandwidth.tidy(bandwidth.compute())
    bandwidth.write(folder, frame)
    site = _render_bandwidths(results_root, frame, label, titles)
    clear()
    for shown in bandwidth.render(frame):
        console.print(shown)
    console.print(f"Tables: {folder} (CSV), {site} (LaTeX, figure)", soft_wrap=True, highlight=False)


def _render_bandwidths(results_root: Path, frame: pd.DataFrame, label: str, titles: bool) -> Path:
    """Render Tables I and II as LaTeX and as a figure, into the site."""
    site = site_folder(results_root / BANDWIDTH)
    disk.write_text(site / "bandwidth.tex", bandwidth.to_latex(frame, label))
    bandwidths.write(Folder(site, titles), frame)
    return site
