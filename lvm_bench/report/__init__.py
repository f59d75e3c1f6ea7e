"""`lvm-bench report`: a suite's scores as tables and pictures. Only the bandwidths import torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from lvm_bench import ledger, records, store
from lvm_bench.claims import Claims
from lvm_bench.errors import RunError, StorageError, UserError, did_you_mean
from lvm_bench.report import bandwidth, figures, gathered, grids, page, published, tables, writers
from lvm_bench.report.composed import BANDWIDTH, NAMES, compose
from lvm_bench.report.figures import Picture, bandwidths
from lvm_bench.report.grids import Grid, to_terminal
from lvm_bench.report.scores import Complain
from lvm_bench.report.tables import Table

PRINTED = ("ranks", "claims")  # of the tables of words, unasked; the others are for an appendix


def report(
    results_root: Path,
    suite: str | None,
    table_names: Sequence[str],
    against: str | None,
    spread: str,
    console: Console,
) -> int:
    """Write and print the tables of one suite or of all, and the pictures; 1 if a file was damaged, else 0.

    Raises UserError for an unknown suite, table or source, and when the results cannot be written.
    """
    for name in table_names:
        if name not in (*NAMES, BANDWIDTH):
            raise UserError(f"Unknown table {name!r}.{did_you_mean(name, (*NAMES, BANDWIDTH))}")
    if against is not None:
        published.load(against)
    if BANDWIDTH in table_names:
        _bandwidths(results_root / BANDWIDTH, console)
    if set(table_names) == {BANDWIDTH} and suite is None:
        return 0
    said = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    show = partial(console.print, soft_wrap=True, highlight=False, markup=False)
    damaged: list[str] = []
    for folder in records.suites(results_root, suite):
        console.rule(Text(records.one_line(folder.name)))
        names = [name for name in table_names if name != BANDWIDTH]
        try:
            with store.nothing_to_collect():
                emitted = emit(folder, names or None, against, spread, damaged.append, console.width)
        except StorageError:
            raise
        except RunError as error:
            damaged += str(error).splitlines()
            continue
        for shown in emitted.tables:
            console.print(shown, soft_wrap=bool(shown.no_wrap))  # what is laid out already, rich need not wrap
        for text in emitted.warnings:
            said.print(records.one_line(f"{folder.name}: {text}"), style="yellow")
        show(f"Tables: {folder / 'tables'}")
        show(
            f"Pictures: {folder / 'figures'}" if emitted.pictures else "No pictures: the runs' folders hold no images."
        )
        show(f"Page: {emitted.page}")
    for text in dict.fromkeys(damaged):
        said.print(records.one_line(text), style="red")
    return 1 if damaged else 0


@dataclass
class Emitted:
    """What was made of a suite: its tables for printing, what to say beside them, its pictures and its page."""

    tables: list[Text]
    warnings: list[str]
    pictures: list[Picture]
    page: Path


def emit(
    folder: Path,
    names: Sequence[str] | None = None,
    against: str | None = None,
    spread: str = tables.SPREADS[0],
    complain: Complain = print,
    width: int = 100,
) -> Emitted:
    """Gather a suite's scores and write its tables, as tables/<name>.csv, .paper.csv, .tex and .md, and its pictures.

    The tables named, or all in which some method has a number (all there are, if none has).
    report.html shows them all in any case. claims.csv holds each claim of the paper against the scores: True, False,
    or empty where they cannot tell.
    With `against` or another `spread` the files are <name>.<source>.<spread>.csv and so on. UserError when the folder
    cannot be written, RunError when nothing can be said of the suite before a file is mended.
    """
    for name in ledger.FOLDERS:
        store.check_inside(folder.parent, folder / name)
    store.check_writable(folder / "tables")
    claim = Claims().claim(folder)
    if claim is None:
        raise RunError(f"{folder}: another `lvm-bench report` is writing here. Give the command again when it is done.")
    with claim:
        for name in ledger.FOLDERS:
            store.sweep(folder / name)
        # Where it is missing, what stands there is taken as it is.
        listed = ledger.read(folder) or {name: store.fingerprint(folder / name) for name in ledger.outputs(folder)}
        found = gathered.gather(folder, listed, complain)
        written = gathered.write(folder, found, listed)
        composed = compose(folder, found, against, spread)
        built = [table for table in composed.tables if table.name in names] if names else composed.filled
        words = [grid for grid in composed.words if not names or grid.name in names]
        if not names:
            for name in {*NAMES} - {table.name for table in built} - {grid.name for grid in words}:
                for file in _files(folder, name, against, spread):  # no number of an earlier report stays
                    file.unlink(missing_ok=True)
        texts = {folder / "claims.csv": composed.verdicts.to_csv(index=False, lineterminator="\n")}
        for table in built:
            texts |= _texts(_files(folder, table.name, against, spread), table)
        for grid in words:
            texts |= _texts(_files(folder, grid.name, None, tables.SPREADS[0]), grid)
        store.write_texts(texts)
        written += texts
        pictures = figures.write_all(folder, found, composed.frame, listed, complain)
        written.append(page.write(folder, composed.filled, found, pictures, composed.words))
        written += [file for picture in pictures for file in picture.files]
        written += [folder / "figures" / figures.CAPTIONS] if pictures else []
        ledger.write(folder, listed, written)
    printed = [view for table in built for view in writers.to_terminal(table, width)]
    printed += [view for grid in words if names or grid.name in PRINTED for view in to_terminal(grid)]
    remarks = found.remarks
    said = [
        *dict.fromkeys(remarks.left_out.values()),
        *remarks.warnings,
        figures.left_out(found),
        figures.partial(found, pictures),
    ]
    return Emitted(printed, list(filter(None, said)), pictures, folder / page.FILE)


def _files(folder: Path, table: str, against: str | None, spread: str) -> list[Path]:
    """Where a table stands in each form."""
    stem = ".".join([table, *([against] if against else []), *([spread] if spread != tables.SPREADS[0] else [])])
    return [folder / "tables" / f"{stem}{suffix}" for suffix in (".csv", ".paper.csv", ".tex", ".md")]


def _texts(files: list[Path], made: Table | Grid) -> dict[Path, str]:
    """A table in every form that it has, by file."""
    if isinstance(made, Grid):
        forms: list[Callable[[Any], str] | None] = [grids.to_csv, None, grids.to_latex, grids.to_markdown]
    else:
        forms = [writers.to_csv, writers.to_paper_csv, writers.to_latex, writers.to_markdown]
    return {file: form(made) for file, form in zip(files, forms, strict=True) if form}


def _bandwidths(folder: Path, console: Console) -> None:
    store.check_writable(folder)
    frame = bandwidth.tidy(bandwidth.compute())
    bandwidth.write(folder, frame)
    bandwidths.write(folder, frame)
    for shown in bandwidth.render(frame):
        console.print(shown)
    console.print(f"Tables: {folder}", soft_wrap=True, highlight=False)
