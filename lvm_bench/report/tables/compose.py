"""Everything that a suite's scores say, as tables: no file is written, and torch is not needed."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lvm_bench.report.tables import claim_words, noise, ranking, settings
from lvm_bench.report.tables.build import build_table, filled
from lvm_bench.report.tables.cells import Table
from lvm_bench.report.tables.layouts import LAYOUTS, OTHER, uncovered
from lvm_bench.report.tables.word_table import WordTable
from lvm_bench.runs import score_files
from lvm_bench.runs.gather import Gathered
from lvm_bench.runs.record import COSTS

BANDWIDTH = "bandwidth"

TABLES = (*LAYOUTS, OTHER)

GRIDS = ("ranks", "claims", "noise", "settings", "architectures")

NAMES = (*TABLES, *GRIDS)


@dataclass(frozen=True)
class Composed:
    """A suite's scores as a tidy frame, every table of them, the verdicts on claims, and the tables of words."""

    frame: pd.DataFrame
    tables: list[Table]
    verdicts: pd.DataFrame
    words: list[WordTable]

    @property
    def filled(self) -> list[Table]:
        """The tables in which some method has a number; all, if none has."""
        return list(filter(filled, self.tables)) or self.tables


def compose_tables(folder: Path, found: Gathered, against: str | None, spread: str) -> Composed:
    """The tables of a suite's folder from what was gathered there."""
    frame = score_files.frame(with_costs(found))
    extractor = found.about.get("extractor") or ""
    further = bool(uncovered(frame, extractor))
    every = [
        build_table(name, frame, found.about, against, found.remarks, spread)
        for name in TABLES
        if name != OTHER or further
    ]
    verdicts = claim_words.verdicts(frame, extractor, folder.parent / BANDWIDTH / "bandwidth.csv")
    return Composed(frame, every, verdicts, _grids(found, frame, verdicts))


def with_costs(found: Gathered) -> score_files.ScoresByRun:
    """The scores that are shown, with what each run cost."""
    shown = {key: dict(values) for key, values in found.shown.items()}
    for run in found.runs:
        if run.key in shown and not run.is_control:
            costs = ((name, getattr(run, name)) for name in COSTS)
            shown[run.key] |= {f"cost.{name}": float(value) for name, value in costs if value is not None}
    return shown


def _grids(found: Gathered, frame: pd.DataFrame, verdicts: pd.DataFrame) -> list[WordTable]:
    """The tables of words: ranks, claims, noise, settings."""
    ranked = ranking.ranking(frame, found.about)
    measured = noise.measured(found.shown, found.redraws)
    return [
        *([ranking.grid(ranked)] if ranked else []),
        claim_words.grid(verdicts),
        *([noise.grid(measured)] if measured else []),
        *settings.grids((run for run in found.runs if run.key in found.shown), found.about),
    ]
