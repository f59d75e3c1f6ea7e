"""RESULTS-gpu.md: the decider's runs, the rows, and what is left of both."""

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from benchmarks.results import HEADER, Kept, line, processor, table
from benchmarks.rows import ROWS
from lvm_bench.runs.layout import HISTORY
from lvm_bench.runs.score_files import epochs_of
from lvm_bench.runs.standing import FINISHED, Standing, State
from lvm_bench.training import checkpoint

LOGGED = {
    "target_variance": "target",
    "codes/kl_scale": "KL scale",
    "codes/kl_mean": "KL mean",
    "codes/kl_anisotropy": "KL anisotropy",
    "codes/balance": "balance",
    "codes/below_floor": "below floor",
    "codes/entropy": "entropy",
}


@dataclass(frozen=True)
class Decided:
    """A run of the decider: its name, the epochs of a whole training, and where it stands."""

    name: str
    epochs: int
    standing: Standing

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.standing.state in FINISHED

    @property
    def is_done(self) -> bool:
        """Whether it has scores."""
        return self.standing.state == State.DONE

    @property
    def history(self) -> list[dict[str, float]]:
        """What was logged after each epoch so far, from the finished history or from the newest checkpoint."""
        file = self.standing.folder / HISTORY
        if not file.is_file():
            return checkpoint.history(self.standing.folder)
        columns, rows = epochs_of(file.read_bytes())
        return [{key: float(value) for key, value in zip(columns, row, strict=True) if value} for row in rows]


def page(suite: str, runs: list[Decided], rows: Mapping[str, Kept | None], failed: Mapping[str, str]) -> str:
    """The whole page. `failed` tells how a row or a command of `lvm-bench` failed, by its name."""
    trained = [run for run in runs if not run.standing.is_control]
    measured = [found for found in rows.values() if found is not None and found.measured is not None]
    left = [*undone(suite, runs, failed), *unmeasured(rows, failed)]
    lines = [
        "# What a GPU measured",
        "",
        f"Made by `python -m benchmarks.gpu` with {machine()}.",
        "",
        f"## The decider: `{suite}`",
        "",
        "Of each column the last value that was logged, on the codes of the validation images: the mean variance of "
        "the axes and the one that the method aims at, the parts of the KL to its target (nats), the push of the "
        "density over the pull of the prior, the share of codes below the floor, the whitened entropy (nats).",
        "",
        *table(("run", "state", "epochs", "variance", *LOGGED.values()), map(progress, trained)),
        "",
        f"Scores and tables of finished runs stand in `{suite}/` beside this file.",
        "",
        "## Speed, and the same numbers as on the CPU",
        "",
        "Each row has a process of its own, in which both sides take turns. Median and range over the repeats; the "
        "ratio is the median of the ratios of neighbouring repeats and counts only where results are equal.",
        "",
        *table(HEADER, map(line, measured)),
        "",
        *(f"- {f.row.what}: {f.measured.note}." for f in measured if f.measured and f.measured.note),
        "",
        "## What is not here, and why",
        "",
        *(left or ["Nothing: every run is done and every row is measured."]),
    ]
    return "\n".join(lines) + "\n"


def machine() -> str:
    """The versions and the machine in words."""
    on = "no GPU"
    if torch.cuda.is_available():
        own = torch.cuda.get_device_properties(0)
        on = f"a {own.name} ({own.total_memory / 2**30:.0f} GiB)"
    versions = f"torch {torch.__version__} (CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()})"
    cores = len(os.sched_getaffinity(0))
    return f"{versions} and Python {platform.python_version()} on {on} and {cores} cores of an {processor()}"


def progress(run: Decided) -> list[str]:
    """The cells of a run: its state, its epochs, and what it logged last."""
    history = run.history
    last = {key: value for row in history for key, value in row.items()}
    axes = [value for key, value in last.items() if key.startswith("aggregate_variance/")]
    shown = [sum(axes) / len(axes) if axes else None, *(last.get(key) for key in LOGGED)]
    cells = ["–" if value is None else f"{value:.4g}" for value in shown]
    return [run.name, run.standing.state.value, f"{len(history)}/{run.epochs}", *cells]


def undone(suite: str, runs: list[Decided], failed: Mapping[str, str]) -> Iterator[str]:
    """A line for each command of the decider that failed, and for each run that is not done."""
    yield from (
        f"- `lvm-bench {name} --suite {suite}`: {failed[name]}." for name in ("run", "report") if name in failed
    )
    for run in runs:
        if not run.is_finished:
            reason = run.standing.record.get("reason") or "the time was up; the same command goes on"
            yield f"- {run.name}: {run.standing.state.value}; {reason}."


def unmeasured(rows: Mapping[str, Kept | None], failed: Mapping[str, str]) -> Iterator[str]:
    """A line for each row without numbers."""
    for name, found in rows.items():
        if found is None:
            reason = failed[name].splitlines()[-1] if name in failed else "the time was up; the same command goes on."
            yield f"- {ROWS[name].what} (`{name}`): {reason}"
        elif found.measured is None:
            yield f"- {found.row.what} (`{name}`): {found.reason}."
