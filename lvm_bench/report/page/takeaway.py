"""What a reader came for: who is best at what and how surely, average ranks, what is missing, what was changed."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from lvm_bench import disk
from lvm_bench.errors import RunError
from lvm_bench.report.figures.ranks import MOST as MOST_DRAWN
from lvm_bench.report.screen import missing
from lvm_bench.report.tables import statistics, writers
from lvm_bench.report.tables.headline import Headline, headline_scores
from lvm_bench.report.tables.layouts import ARROWS
from lvm_bench.report.tables.ranking import Ranking, ranking
from lvm_bench.runs.gather import Gathered
from lvm_bench.runs.layout import TAKEAWAY
from lvm_bench.suites.labels import dataset_label, label
from lvm_bench.text import counted, listed

MOST_RANKED = 50  # methods in the table of ranks

MOST_LISTED = 100  # sentences on what is missing, and on what to read with care


@dataclass(frozen=True)
class Best:
    """A headline score on a data set: the best methods with their mean, and how surely they are the best."""

    score: str  # with an arrow to the better direction
    table: str  # the table that shows it
    methods: list[str]
    value: str
    tied: list[str]  # those that a test cannot tell from the best
    untested: list[str]
    others: int  # methods that have the score and are not the best
    seeds: int  # behind the best mean


@dataclass(frozen=True)
class Ranks:
    """The average ranks of methods, best first. `shown` are the first of them with their ranks."""

    methods: int
    blocks: int
    first: str
    average: str  # rank of the first
    tied: list[str]  # those that cannot be told from the first
    difference: str  # the critical one
    p: str  # of Friedman's test
    shown: list[tuple[str, str]]
    left_out: list[str]  # sentences on what could not be ranked

    @property
    def undrawn(self) -> bool:
        """Whether they are too many for the diagram."""
        return self.methods > MOST_DRAWN


@dataclass(frozen=True)
class Takeaway:
    """The head of a suite's page, and its entry in the leaderboard. Its words are labels, shown as they are."""

    suite: str
    description: str
    facts: list[str]  # how many methods, seeds and on what
    seeds: int  # of the data set that has most
    seconds: float  # of training, all runs together
    ablation: bool  # whether its methods are variants of one
    best: dict[str, list[Best]]  # by the label of a data set
    ranks: Ranks | None
    missing: list[str]
    changed: str
    cautions: list[str]


_FORMAT = TypeAdapter(Takeaway)


def takeaway(suite: str, found: Gathered) -> Takeaway:
    """What the page of a suite begins with."""
    about, remarks = found.about, found.remarks
    best: dict[str, list[Best]] = {}
    for headline in headline_scores(found.frame, about):
        best.setdefault(dataset_label(headline.dataset), []).append(_best(headline))
    ranked = ranking(found.frame, about)
    return Takeaway(
        suite,
        about.description,
        _facts(found),
        max((len(about.seeds_of(run.dataset)) for run in found.runs), default=0),
        sum(run.seconds_training or 0.0 for run in found.runs),
        bool(about.axis),
        best,
        _ranks(ranked) if ranked else None,
        [*missing(found), *_not_run(found)],
        remarks.changed,
        list(dict.fromkeys([*remarks.left_out.values(), *remarks.warnings])),
    )


def write(folder: Path, made: Takeaway) -> None:
    """Write what the leaderboard shows of a suite beside its page."""
    disk.write_record(folder / TAKEAWAY, asdict(made))


def read(folder: Path) -> Takeaway:
    """What `write` wrote. RunError if it is missing or damaged."""
    file = folder / TAKEAWAY
    try:
        return _FORMAT.validate_python(disk.read_record(file))
    except ValidationError as error:
        raise RunError(f"{file}: damaged, not what `report` writes.") from error


def _facts(found: Gathered) -> list[str]:
    """How many methods and seeds there are, and the data sets."""
    ran = {run.method for run in found.runs if not run.is_control}
    datasets = list(dict.fromkeys(run.dataset for run in found.runs))
    counts = sorted({len(found.about.seeds_of(name)) for name in datasets} - {0})
    return [
        *([counted(len(ran), "method")] if ran else []),
        *([f"{counts[0]} to {counts[-1]} seeds" if counts[1:] else counted(counts[0], "seed")] if counts else []),
        *map(dataset_label, datasets),
    ]


def _best(of: Headline) -> Best:
    return Best(
        f"{of.words}{' (%)' if of.column.scale == 100 else ''}{ARROWS.get(of.column.better, '')}",
        of.table,
        list(map(label, of.best)),
        writers.cell_text(of.cell, of.column),
        list(map(label, of.tied)),
        list(map(label, of.untested)),
        of.compared - len(of.best),
        of.cell.n,
    )


def _ranks(found: Ranking) -> Ranks:
    average, names = found.average, list(map(label, found.methods))
    tied = [name for name, mean in zip(names[1:], average[1:], strict=True) if mean - average[0] < found.difference]
    p = statistics.friedman_p(found.ranks)
    return Ranks(
        len(names),
        len(found.blocks),
        names[0],
        f"{average[0]:.2f}",
        tied,
        f"{found.difference:.2f}",
        f"= {p:.2g}" if p >= 1e-4 else "< 0.0001",
        [(name, f"{mean:.2f}") for name, mean in zip(names, average, strict=True)][:MOST_RANKED],
        found.compared.told,
    )


def _not_run(found: Gathered) -> Iterator[str]:
    """A sentence for each data set on which methods have no runs that have some on another."""
    ran: dict[str, set[str]] = {}
    for run in found.runs:
        ran.setdefault(run.dataset, set()).add(run.method)
    elsewhere = set().union(*ran.values())
    for dataset, methods in ran.items():
        if absent := [label(name) for name in found.about.methods if name in elsewhere - methods]:
            yield f"{listed(absent, 8)} on {dataset_label(dataset)}: no runs."
