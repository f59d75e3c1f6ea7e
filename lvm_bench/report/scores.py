"""The scores and histories of a suite as frames: what stands in its runs, over what was committed."""

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from lvm_bench import store
from lvm_bench.errors import RunError

RUN = ["dataset", "method", "seed"]
COLUMNS = [*RUN, "metric", "value", "digest"]
NON_FINITE = {"nan", "inf", "-inf"}

Complain = Callable[[str], object]


def run_files(suite: Path, name: str) -> list[Path]:
    """The files of one name in the folders of a suite's runs and controls, sorted."""
    found = suite.glob(f"runs/*/*/seed-*/{name}")
    return sorted(file for file in found if file.parent.name.removeprefix("seed-").isdecimal())


def run_of(file: Path) -> tuple[str, str, int]:
    """The data set, method and seed that a file in a run's folder belongs to."""
    dataset, method, seed = file.parts[-4:-1]
    return dataset, method, int(seed.removeprefix("seed-"))


def collect(suite: Path, complain: Complain) -> pd.DataFrame:
    """One row per score: the runs on disk in the place of committed rows of the same runs, the others kept.

    scores.csv is rewritten when runs on disk change it, and never without runs. A damaged file is complained
    about and passed over.
    """
    found = []
    for file in run_files(suite, "scores.json"):
        try:
            found += _read_run(file)
        except RunError as error:
            complain(str(error))
    committed = _read_csv(suite / "scores.csv", value=float)  # pandas' own parser may miss the last bit
    merged = _merge(committed.reindex(columns=COLUMNS), pd.DataFrame(found, columns=COLUMNS))
    merged = merged.sort_values([*RUN, "metric"], kind="stable", ignore_index=True)
    if found:
        _write_csv(suite / "scores.csv", merged)
    return merged


def collect_history(suite: Path, complain: Complain) -> pd.DataFrame:
    """One row per epoch of every run, numbers as text, merged into history.csv as `collect` merges scores."""
    found = []
    for file in run_files(suite, "history.csv"):
        try:
            rows = pd.read_csv(file, dtype=str, keep_default_na=False)
        except (OSError, ValueError) as error:
            complain(f"{file}: cannot be read as a table ({error}). Delete its folder to run it again.")
            continue
        dataset, method, seed = run_of(file)
        rows.insert(0, "dataset", dataset)
        rows.insert(1, "method", method)
        rows.insert(2, "seed", seed)
        found.append(rows)
    committed = _read_csv(suite / "history.csv")
    merged = _merge(committed, *found).fillna("")
    if found:
        _write_csv(suite / "history.csv", merged)
    return merged


def _read_run(file: Path) -> list[list[Any]]:
    """The scores of one run as rows; none while it is not done."""
    folder = file.parent
    record = store.read_json(folder / "job.json") if (folder / "job.json").is_file() else {}
    scores = store.read_json(file)
    if not isinstance(record, dict) or not isinstance(scores, dict):
        raise RunError(f"{folder}: job.json or scores.json is not a table of names and values. Delete the folder.")
    if record.get("status") != "done":
        return []
    for metric, value in scores.items():
        if not (isinstance(value, int | float) or value is None or value in NON_FINITE):
            raise RunError(f"{file}: {metric} is {value!r}, not a number. Delete the folder {folder} to run it again.")
    return [
        [*run_of(file), metric, math.nan if value is None else float(value), record.get("digest_scores", "")]
        for metric, value in scores.items()
    ]


def _read_csv(file: Path, **types: Callable[[str], object]) -> pd.DataFrame:
    """A committed table as text, but for the seed and the named columns; an empty one where there is none."""
    if not file.is_file():
        return pd.DataFrame(columns=RUN)
    try:
        frame = pd.read_csv(file, dtype=str, keep_default_na=False).astype({"seed": int})
        for name, parse in types.items():
            frame[name] = frame[name].map(parse)
        return frame
    except (ValueError, KeyError) as error:
        raise RunError(f"{file}: cannot be read as a table of runs ({error}). Restore it, or delete it.") from error


def _merge(committed: pd.DataFrame, *found: pd.DataFrame) -> pd.DataFrame:
    """The found rows and those committed rows whose runs were not found."""
    found = tuple(frame for frame in found if len(frame))
    if not found:
        return committed
    runs = {run for frame in found for run in frame[RUN].itertuples(index=False, name=None)}
    kept = committed[[run not in runs for run in committed[RUN].itertuples(index=False, name=None)]]
    return pd.concat([frame for frame in (kept, *found) if len(frame)], ignore_index=True).sort_values(
        RUN, kind="stable", ignore_index=True
    )


def _write_csv(file: Path, frame: pd.DataFrame) -> None:
    """Write the table unless the file holds it already."""
    text = io.StringIO()
    frame.to_csv(text, index=False, na_rep="nan", lineterminator="\n")
    if not file.is_file() or file.read_text(encoding="utf-8") != text.getvalue():
        store.write_text(file, text.getvalue())
