"""The further evaluations of a suite: those of its runs, and those that a report wrote."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lvm_bench import disk
from lvm_bench.errors import RunError
from lvm_bench.runs.checksums import RESTORE
from lvm_bench.runs.layout import REDRAWN, Key
from lvm_bench.runs.measured import version_of
from lvm_bench.runs.record import Run
from lvm_bench.runs.redraws import Redraw, redraws_of
from lvm_bench.runs.score_files import RUN, Complain, check_metric, checked_scores, key_of
from lvm_bench.suites.labels import label
from lvm_bench.text import counted, listed

MOST = 1000  # redraws of a run

Redraws = dict[Key, list[dict[str, float]]]  # of each run the scores of its further evaluations

AGAIN = "Delete it, or give `lvm-bench run` with --resample again."


def checked_redraws(found: list[Redraw]) -> list[dict[str, float]]:
    """The scores of some redraws as JSON has them; ValueError where they are none."""
    if len(found) > MOST:
        raise ValueError(f"there are {len(found)}, and at most {MOST}")
    return [checked_scores(redraw.scores) for redraw in found]


def collect_redraws(runs: Iterable[Run], complain: Complain) -> tuple[Redraws, list[str]]:
    """The redraws of runs that are done and have some, with metrics in the versions of the runs' scores alone.

    What is damaged or of other scores is complained about. A sentence for each metric of other versions.
    """
    found: Redraws = {}
    outdated: dict[str, list[Run]] = {}
    for run in runs:
        if run.folder is None or not (run.folder / REDRAWN).is_file():
            continue
        try:
            record = {name: getattr(run, name) for name in ("digest_scores", "fingerprint", "files", "settings")}
            redraws = redraws_of(run.folder, record)
            made, others = _of_scores_versions(checked_redraws(redraws), redraws, run.versions or {})
        except RunError as error:
            complain(f"{error} {AGAIN}")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            complain(f"{run.folder / REDRAWN}: holds no scores ({error}). {AGAIN}")
        else:
            for name in others:
                outdated.setdefault(name, []).append(run)
            if made:
                found[run.key] = made
    return found, [
        f"{counted(len(own), 'run')} of {listed(dict.fromkeys(label(run.method) for run in own))} "
        f"{'has' if len(own) == 1 else 'have'} further evaluations of the metric {name!r} in another version than the "
        "scores: these are left out. Give `lvm-bench run` with --resample again: it measures that metric alone."
        for name, own in sorted(outdated.items())
    ]


def _of_scores_versions(
    made: list[dict[str, float]], redraws: list[Redraw], versions: Mapping[str, int]
) -> tuple[list[dict[str, float]], set[str]]:
    """The redraws without metrics that are not in these versions, and the names of those metrics."""
    others: set[str] = set()
    kept = []
    for scores, redraw in zip(made, redraws, strict=True):
        known = {key: version_of(key, redraw.measured) for key in scores}
        old = {name for name, version in known.values() if version != versions.get(name, 1)}
        kept.append({key: value for key, value in scores.items() if known[key][0] not in old})
        others |= old
    return kept, others


def write_redraws(file: Path, redraws: Redraws) -> None:
    """One line per run, redraw and score. Metrics are in the versions that about.json tells of the run."""
    rows: list[Any] = [
        (*key, place, metric, repr(value))
        for key in sorted(redraws)
        for place, scores in enumerate(redraws[key], 1)
        for metric, value in sorted(scores.items())
    ]
    disk.write_text(file, _csv([[*RUN, "redraw", "metric", "value"], *rows]))


def read_redraws(file: Path) -> Redraws:
    """The redraws in a file of `write_redraws`; {} where there is no file. RunError where it is damaged."""
    if not file.exists():
        return {}
    found: dict[Key, dict[int, dict[str, float]]] = {}
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream, strict=True):
                place = int(row["redraw"])
                if not 1 <= place <= MOST:
                    raise ValueError(f"redraw {place} is not within 1 and {MOST}")
                scores = found.setdefault(key_of(row["dataset"], row["method"], row["seed"]), {}).setdefault(place, {})
                scores[check_metric(row["metric"])] = float(row["value"])
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunError(f"{file}: cannot be read as a table of runs ({error}). {RESTORE}") from error
    return {key: [scores for _, scores in sorted(places.items())] for key, places in found.items()}


def _csv(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
