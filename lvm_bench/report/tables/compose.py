"""Every table of a suite, from what was gathered in its folder."""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from lvm_bench.report.tables import claim_words, paper_claims
from lvm_bench.report.tables.aggregate_tables import Aggregates, aggregate_tables, aggregates
from lvm_bench.report.tables.build import build_table, filled
from lvm_bench.report.tables.cells import Table
from lvm_bench.report.tables.layouts import LAYOUTS, OTHER, has_others
from lvm_bench.report.tables.noise import measured_noise, noise_table
from lvm_bench.report.tables.ranking import Ranking, ranking, ranks_table
from lvm_bench.report.tables.settings import settings_tables
from lvm_bench.report.tables.tuning import tuning_tables
from lvm_bench.report.tables.word_table import WordTable
from lvm_bench.runs import choice
from lvm_bench.runs.gather import Gathered

BANDWIDTH = "bandwidth"

TABLES = (*LAYOUTS, OTHER)

OF_SCORES = ("ranks", "aggregates", "improvement", "claims", "noise")

OF_SEARCH = ("search", "tuned", "importance")

WORD_TABLES = (*OF_SEARCH, *OF_SCORES, "settings", "architectures")

NAMES = (*TABLES, *WORD_TABLES)


@dataclass(frozen=True)
class Composed:
    """The tables of a suite's scores, the verdicts on the paper's claims, and the tables of words."""

    tables: list[Table]
    verdicts: pd.DataFrame
    words: list[WordTable]
    aggregated: Aggregates | None  # with its bootstrap, which takes seconds
    ranked: Ranking | None = None

    @property
    def filled(self) -> list[Table]:
        """The tables in which some method has a number; all tables if none has."""
        return list(filter(filled, self.tables)) or self.tables


def compose_tables(
    folder: Path, found: Gathered, against: str | None, spread: str, earlier: Composed | None = None
) -> Composed:
    """The tables of a suite, with the numbers of the source `against` beside ours, or of the suite's own source.

    The claims are those of that source's paper, else of the AVAE's. Those about bandwidths are held against the file
    that stands beside the suite's folder. `earlier` is what was composed of the same scores. Nothing is written.
    """
    against = against or found.about.published or None
    further = has_others(found.frame, found.about.extractor)
    tables = [
        build_table(name, found.frame, found.about, against, found.remarks, spread)
        for name in TABLES
        if name != OTHER or further
    ]
    bandwidths = folder.parent / BANDWIDTH / "bandwidth.csv"
    paper = against if against in paper_claims.FILES else paper_claims.AVAE
    verdicts = claim_words.verdicts(found.frame, found.about.extractor, bandwidths, paper)
    aggregated = earlier.aggregated if earlier else aggregates(found.frame, found.about)
    ranked = ranking(found.frame, found.about)
    words = [*tuning_tables(choice.read(folder), found.frame), *_word_tables(found, verdicts, aggregated, ranked)]
    if changed := found.remarks.changed:
        told = {table.name: f"{table.text} {changed}." for table in words if table.name in OF_SCORES}
        words = [replace(table, text=told.get(table.name, table.text)) for table in words]
    return Composed(tables, verdicts, words, aggregated, ranked)


def _word_tables(
    found: Gathered, verdicts: pd.DataFrame, aggregated: Aggregates | None, ranked: Ranking | None
) -> list[WordTable]:
    noise = measured_noise(found.shown, found.redraws)
    return [
        *([ranks_table(ranked)] if ranked else []),
        *(aggregate_tables(aggregated) if aggregated else []),
        claim_words.claims_table(verdicts),
        *([noise_table(noise)] if noise else []),
        *settings_tables((run for run in found.runs if run.key in found.shown), found.about),
    ]
