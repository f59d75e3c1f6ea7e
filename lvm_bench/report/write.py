"""`lvm-bench report`: a suite's scores as tables and pictures. Only the bandwidths import torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from lvm_bench import disk
from lvm_bench.errors import RunError, StorageError, UserError, did_you_mean
from lvm_bench.report.figures import bandwidths, draw
from lvm_bench.report.figures.style import Picture
from lvm_bench.report.page import render
from lvm_bench.report.tables import bandwidth, published, word_table, writers
from lvm_bench.report.tables.cells import Table
from lvm_bench.report.tables.compose import BANDWIDTH, NAMES, compose_tables
from lvm_bench.report.tables.layouts import SPREADS
from lvm_bench.report.tables.word_table import WordTable, to_terminal
from lvm_bench.runs import checksums, gather
from lvm_bench.runs.layout import suite_folders
from lvm_bench.runs.lease import Leases
from lvm_bench.runs.score_files import Complain
from lvm_bench.text import one_line

PRINTED = ("ranks", "claims")  # of the tables of words, unasked; the others are for an appendix


def write_report(
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
    for folder in suite_folders(results_root, suite):
        console.rule(Text(one_line(folder.name)))
        names = [name for name in table_names if name != BANDWIDTH]
        try:
            with disk.nothing_to_collect():
                emitted = emit(folder, names or None, against, spread, damaged.append, console.width)
        except StorageError:
            raise
        except RunError as error:
            damaged += str(error).splitlines()
            continue
        for shown in emitted.tables:
            console.print(shown, soft_wrap=bool(shown.no_wrap))  # what is laid out already, rich need not wrap
        for text in emitted.warnings:
            said.print(one_line(f"{folder.name}: {text}"), style="yellow")
        show(f"Tables: {folder / 'tables'}")
        show(
            f"Pictures: {folder / 'figures'}" if emitted.pictures else "No pictures: the runs' folders hold no images."
        )
        show(f"Page: {emitted.page}")
    for text in dict.fromkeys(damaged):
        said.print(one_line(text), style="red")
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
    spread: str = SPREADS[0],
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
    for name in checksums.FOLDERS:
        disk.check_inside(folder.parent, folder / name)
    disk.check_writable(folder / "tables")
    claim = Leases().claim(folder)
    if claim is None:
        raise RunError(f"{folder}: another `lvm-bench report` is writing here. Give the command again when it is done.")
    with claim:
        for name in checksums.FOLDERS:
            disk.sweep(folder / name)
        # Where it is missing, what stands there is taken as it is.
        listed = checksums.read(folder) or {name: disk.fingerprint(folder / name) for name in checksums.outputs(folder)}
        found = gather.gather(folder, listed, complain)
        written = gather.write(folder, found, listed)
        composed = compose_tables(folder, found, against, spread)
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
            texts |= _texts(_files(folder, grid.name, None, SPREADS[0]), grid)
        disk.write_texts(texts)
        written += texts
        pictures = draw.write_all(folder, found, composed.frame, listed, complain)
        written.append(render.write(folder, composed.filled, found, pictures, composed.words))
        written += [file for picture in pictures for file in picture.files]
        written += [folder / "figures" / draw.CAPTIONS] if pictures else []
        checksums.write(folder, listed, written)
    printed = [view for table in built for view in writers.to_terminal(table, width)]
    printed += [view for grid in words if names or grid.name in PRINTED for view in to_terminal(grid)]
    remarks = found.remarks
    said = [
        *dict.fromkeys(remarks.left_out.values()),
        *remarks.warnings,
        draw.left_out(found),
        draw.partial(found, pictures),
    ]
    return Emitted(printed, list(filter(None, said)), pictures, folder / render.FILE)


def _files(folder: Path, table: str, against: str | None, spread: str) -> list[Path]:
    """Where a table stands in each form."""
    stem = ".".join([table, *([against] if against else []), *([spread] if spread != SPREADS[0] else [])])
    return [folder / "tables" / f"{stem}{suffix}" for suffix in (".csv", ".paper.csv", ".tex", ".md")]


def _texts(files: list[Path], made: Table | WordTable) -> dict[Path, str]:
    """A table in every form that it has, by file."""
    if isinstance(made, WordTable):
        forms: list[Callable[[Any], str] | None] = [
            word_table.to_csv,
            None,
            word_table.to_latex,
            word_table.to_markdown,
        ]
    else:
        forms = [writers.to_csv, writers.to_paper_csv, writers.to_latex, writers.to_markdown]
    return {file: form(made) for file, form in zip(files, forms, strict=True) if form}


def _bandwidths(folder: Path, console: Console) -> None:
    disk.check_writable(folder)
    frame = bandwidth.tidy(bandwidth.compute())
    bandwidth.write(folder, frame)
    bandwidths.write(folder, frame)
    for shown in bandwidth.render(frame):
        console.print(shown)
    console.print(f"Tables: {folder}", soft_wrap=True, highlight=False)
