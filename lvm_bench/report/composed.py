"""Everything that a suite's scores say, as tables: no file is written, and torch is not needed."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lvm_bench import records
from lvm_bench.report import claims, noise, ranking, scores, settings, tables
from lvm_bench.report.gathered import Gathered
from lvm_bench.report.grids import Grid
from lvm_bench.report.tables import Table

BANDWIDTH = "bandwidth"
TABLES = (*tables.LAYOUTS, tables.OTHER)
GRIDS = ("ranks", "claims", "noise", "settings", "architectures")
NAMES = (*TABLES, *GRIDS)


@dataclass(frozen=True)
class Composed:
    """A suite's scores as a tidy frame, every table of them, the verdicts on claims, and the tables of words."""

    frame: pd.DataFrame
    tables: list[Table]
    verdicts: pd.DataFrame
    words: list[Grid]

    @property
    def filled(self) -> list[Table]:
        """The tables in which some method has a number; all, if none has."""
        return list(filter(tables.filled, self.tables)) or self.tables


def compose(folder: Path, found: Gathered, against: str | None, spread: str) -> Composed:
    """The tables of a suite's folder from what was gathered there."""
    frame = scores.frame(with_costs(found))
    extractor = found.about.get("extractor") or ""
    further = bool(tables.uncovered(frame, extractor))
    every = [
        tables.build(name, frame, found.about, against, found.remarks, spread)
        for name in TABLES
        if name != tables.OTHER or further
    ]
    verdicts = claims.verdicts(frame, extractor, folder.parent / BANDWIDTH / "bandwidth.csv")
    return Composed(frame, every, verdicts, _grids(found, frame, verdicts))


def with_costs(found: Gathered) -> scores.Scores:
    """The scores that are shown, with what each run cost."""
    shown = {key: dict(values) for key, values in found.shown.items()}
    for run in found.runs:
        if run.key in shown and not run.is_control:
            costs = ((name, getattr(run, name)) for name in records.COSTS)
            shown[run.key] |= {f"cost.{name}": float(value) for name, value in costs if value is not None}
    return shown


def _grids(found: Gathered, frame: pd.DataFrame, verdicts: pd.DataFrame) -> list[Grid]:
    """The tables of words: ranks, claims, noise, settings."""
    ranked = ranking.ranking(frame, found.about)
    measured = noise.measured(found.shown, found.redraws)
    return [
        *([ranking.grid(ranked)] if ranked else []),
        claims.grid(verdicts),
        *([noise.grid(measured)] if measured else []),
        *settings.grids((run for run in found.runs if run.key in found.shown), found.about),
    ]
