"""`lvm-bench report`: a suite's scores as tables and pictures. Only the bandwidths import torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from lvm_bench import ledger, records, store
from lvm_bench.claims import Claims
from lvm_bench.errors import RunError, StorageError, UserError, did_you_mean
from lvm_bench.report import bandwidth, factor_figures, figures, gathered, published, scores, tables, writers
from lvm_bench.report.scores import Complain

BANDWIDTH = "bandwidth"
TABLES = (*tables.LAYOUTS, tables.OTHER)


def report(
    results_root: Path, suite: str | None, table_names: Sequence[str], against: str | None, console: Console
) -> int:
    """Write and print the tables of one suite or of all, and the pictures; 1 if a file was damaged, else 0.

    Raises UserError for an unknown suite, table or source, and when the results cannot be written.
    """
    for name in table_names:
        if name not in (*TABLES, BANDWIDTH):
            raise UserError(f"Unknown table {name!r}.{did_you_mean(name, (*TABLES, BANDWIDTH))}")
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
            emitted = emit(folder, names or None, against, damaged.append, console.width)
        except StorageError:
            raise
        except RunError as error:
            damaged += str(error).splitlines()
            continue
        for shown in emitted.tables:
            console.print(shown)
        for text in emitted.warnings:
            said.print(records.one_line(f"{folder.name}: {text}"), style="yellow")
        show(f"Tables: {folder / 'tables'}")
        show(
            f"Pictures: {folder / 'figures'}" if emitted.pictures else "No pictures: the runs' folders hold no images."
        )
    for text in dict.fromkeys(damaged):
        said.print(records.one_line(text), style="red")
    return 1 if damaged else 0


@dataclass
class Emitted:
    """What was made of a suite: its tables for printing, what to say beside them, and its pictures."""

    tables: list[Text]
    warnings: list[str]
    pictures: list[Path]


def emit(
    folder: Path,
    names: Sequence[str] | None = None,
    against: str | None = None,
    complain: Complain = print,
    width: int = 100,
) -> Emitted:
    """Gather a suite's scores and write its tables, as tables/<name>.csv and .tex, and its pictures.

    The tables named, or all in which some method has a number (all there are, if none has).
    claims.csv holds each claim of the paper against the scores: True, False, or empty where they cannot tell.
    With `against` the files are <name>.<source>.csv and .tex. UserError when the folder cannot be written,
    RunError when nothing can be said of the suite before a file is mended.
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
        written = gathered.write(folder, found)
        about, remarks, frame = found.about, found.remarks, scores.frame(found.shown)
        extractor = about.get("extractor") or ""
        further = bool(tables.uncovered(frame, extractor))
        chosen = [name for name in names or TABLES if name != tables.OTHER or further]
        built = [tables.build(name, frame, about, against, remarks) for name in chosen]
        if not names:
            built = list(filter(tables.filled, built)) or built
            for name in {*TABLES} - {table.name for table in built}:
                for file in _files(folder, name, against):  # no number of an earlier report stays
                    file.unlink(missing_ok=True)
        for table in built:
            written += _files(folder, table.name, against)
            store.write_text(written[-2], writers.to_csv(table))
            store.write_text(written[-1], writers.to_latex(table))
        written.append(folder / "claims.csv")
        store.write_text(written[-1], published.verdicts(frame, extractor).to_csv(index=False, lineterminator="\n"))
        drawn = [run for run in found.runs if run.folder and run.key in found.shown]
        pictures = figures.write_figures(folder, about, drawn, complain)
        pictures += factor_figures.write_figures(folder, about, drawn, frame, complain)
        ledger.write(folder, listed, written + pictures)
    printed = [view for table in built for view in writers.to_terminal(table, width)]
    return Emitted(printed, [*dict.fromkeys(remarks.left_out.values()), *remarks.warnings], pictures)


def _files(folder: Path, table: str, against: str | None) -> list[Path]:
    """Where a table stands: as CSV and as LaTeX."""
    stem = f"{table}.{against}" if against else table
    return [folder / "tables" / f"{stem}{suffix}" for suffix in (".csv", ".tex")]


def _bandwidths(folder: Path, console: Console) -> None:
    store.check_writable(folder)
    frame = bandwidth.tidy(bandwidth.compute())
    bandwidth.write(folder, frame)
    for shown in bandwidth.render(frame):
        console.print(shown)
    console.print(f"Tables: {folder}", soft_wrap=True, highlight=False)
