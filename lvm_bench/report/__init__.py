"""`lvm-bench report`: a suite's scores as tables and pictures. Only the bandwidths import torch."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from lvm_bench import store
from lvm_bench.errors import RunError, UserError, did_you_mean
from lvm_bench.report import bandwidth, factor_figures, figures, published, scores, tables, writers

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
    damaged: list[str] = []
    if BANDWIDTH in table_names:
        _bandwidths(results_root / BANDWIDTH, console)
    if set(table_names) == {BANDWIDTH} and suite is None:
        return 0
    for folder in _suites(results_root, suite):
        console.rule(folder.name)
        chosen = [name for name in table_names if name != BANDWIDTH]
        for shown in emit(folder, chosen or None, against, damaged.append, console.width):
            console.print(shown)
        pictures = figures.write_figures(folder, _about(folder), damaged.append)
        measured = scores.collect(folder, damaged.append)
        pictures += factor_figures.write_figures(folder, _about(folder), measured, damaged.append)
        console.print(f"Tables: {folder / 'tables'}", soft_wrap=True, highlight=False)
        if pictures:
            console.print(f"Pictures: {folder / 'figures'}", soft_wrap=True, highlight=False)
        else:
            console.print("No pictures: the runs' folders hold no images.", soft_wrap=True, highlight=False)
    for text in dict.fromkeys(damaged):
        console.print(text, style="red", soft_wrap=True, markup=False, highlight=False)
    return 1 if damaged else 0


def emit(
    folder: Path,
    names: Sequence[str] | None = None,
    against: str | None = None,
    complain: Callable[[str], object] = print,
    width: int = 100,
) -> list[RenderableType]:
    """Write a suite's tables as tables/<name>.csv and .tex; returns them for printing.

    Those named, or all in which some method has a number (all there are, if none has).
    claims.csv holds each claim of the paper against the scores: True, False, or empty where they cannot tell.
    With `against` the files are <name>.<source>.csv and .tex. UserError when the folder cannot be written.
    """
    store.check_writable(folder / "tables")
    frame = scores.collect(folder, complain)
    scores.collect_history(folder, complain)
    about = {"suite": folder.name, **_about(folder, complain)}
    held = published.verdicts(frame, about.get("extractor", ""))
    store.write_text(folder / "claims.csv", held.to_csv(index=False))
    further = bool(tables.uncovered(frame, about.get("extractor", "")))
    chosen = [name for name in names or TABLES if name != tables.OTHER or further]
    built = [tables.build(name, frame, about, against) for name in chosen]
    if not names:
        built = list(filter(tables.filled, built)) or built
    shown: list[RenderableType] = []
    for table in built:
        stem = f"{table.name}.{against}" if against else table.name
        store.write_text(folder / "tables" / f"{stem}.csv", writers.to_csv(table))
        store.write_text(folder / "tables" / f"{stem}.tex", writers.to_latex(table))
        shown += writers.to_terminal(table, width)
    return shown


def _about(folder: Path, complain: Callable[[str], object] = lambda text: None) -> dict[str, Any]:
    """What is known of a suite besides its scores; nothing when about.json is missing or damaged."""
    if not (folder / "about.json").is_file():
        return {}
    try:
        return store.read_json(folder / "about.json")
    except RunError as error:
        complain(str(error))
        return {}


def _suites(results_root: Path, suite: str | None) -> list[Path]:
    """The folders with results: the named one, or all."""
    found = {
        folder.name: folder
        for folder in sorted(results_root.glob("*"))
        if (folder / "scores.csv").is_file() or (folder / "runs").is_dir()
    }
    if not found:
        raise UserError(
            f"{results_root}: no results here. Run a suite first, for instance: lvm-bench run --suite quick"
        )
    if suite is not None and suite not in found:
        raise UserError(f"{results_root}: no results of a suite {suite!r}.{did_you_mean(suite, found)}")
    return [found[suite]] if suite is not None else list(found.values())


def _bandwidths(folder: Path, console: Console) -> None:
    store.check_writable(folder)
    frame = bandwidth.tidy(bandwidth.compute())
    bandwidth.write(folder, frame)
    for shown in bandwidth.render(frame):
        console.print(shown)
    console.print(f"Tables: {folder}", soft_wrap=True, highlight=False)
