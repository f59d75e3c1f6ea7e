"""The part of the page on runs that have not ended: their curves so far, and failures. It only reads."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from lvm_bench import disk
from lvm_bench.report.page.curves import Curve, curves
from lvm_bench.report.page.template import environment
from lvm_bench.runs.layout import HISTORY, run_folder
from lvm_bench.runs.listing import Row
from lvm_bench.runs.score_files import Epochs, epochs_of
from lvm_bench.suites.labels import dataset_label, label
from lvm_bench.training import checkpoint

WORDS = {
    "done": "done", "running": "at work", "trained": "waiting for scores", "interrupted": "interrupted",
    "failed": "failed", "damaged": "damaged", "declined": "declined", "committed": "not run here",
}  # fmt: skip

LISTED = ("running", "failed", "damaged", "interrupted", "trained")  # in this order

MOST_ROWS = 100

MOST_CURVES = 8  # runs at work that show their curves

_PER_AXIS = "aggregate_variance/"  # a history has too many of these columns to follow


@dataclass(frozen=True)
class AtWork:
    """A listed run: its name, what it is doing, and its curves if they are shown."""

    row: Row
    name: str
    doing: str
    curves: list[Curve]


def version(rows: list[Row]) -> str:
    """A digest that changes when a run ends, because an older page lacks its scores."""
    ended = [row for row in rows if row["state"] not in ("running", "interrupted", "trained")]
    return disk.digest([[str(row[name]) for name in sorted(row)] for row in ended])


def summary(rows: list[Row]) -> str:
    """The number of runs in each state, in words."""
    counts = Counter(row["state"] for row in rows)
    return ", ".join(f"{counts[state]:,} {words}" for state, words in WORDS.items() if counts[state]) or "no run yet"


def render(suite: Path, rows: list[Row]) -> Markup:
    """The part of the page that is brought up to date while the page is open."""
    listed = sorted((row for row in rows if row["state"] in LISTED), key=lambda row: LISTED.index(row["state"]))
    shown = [_at_work(suite, row, place < MOST_CURVES) for place, row in enumerate(listed[:MOST_ROWS])]
    part: Any = environment().get_template("parts.html.jinja").module
    return part.live(summary(rows), version(rows), shown, len(listed) - len(shown))


def _at_work(suite: Path, row: Row, with_curves: bool) -> AtWork:
    dataset, method, seed = row["dataset"], row["method"], row["seed"]
    folder = run_folder(suite.parent, suite.name, dataset, method, seed)
    doing, running = WORDS[row["state"]], row["state"] == "running"
    if running and (folder / HISTORY).is_file() and not any((folder / name).exists() for name in checkpoint.NAMES):
        doing, row = "measuring", row | {"epoch": row["epochs"]}
    drawn = curves(_epochs(folder)) if running and with_curves else []
    return AtWork(row, f"{label(method)} on {dataset_label(dataset)}, seed {seed}", doing, drawn)


def _epochs(folder: Path) -> Epochs | None:
    """The epochs of a run at work, from its newest checkpoint or from its finished history."""
    rows = checkpoint.history(folder)
    if rows:
        columns = [name for name in rows[0] if not name.startswith(_PER_AXIS)]
        return columns, [[repr(row.get(name)) for name in columns] for row in rows]
    try:
        return epochs_of((folder / HISTORY).read_bytes())
    except (OSError, ValueError):  # it is not there yet, or is just being written
        return None
