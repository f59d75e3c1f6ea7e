"""What is left of a suite needs, in hours and GiB on this machine: `lvm-bench run --dry-run`."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from rich.console import Console
from rich.markup import escape

from lvm_bench.data.images import Data
from lvm_bench.execution.failure import cause
from lvm_bench.execution.rehearsal import Pace, Scoring, Space, ThisMachine
from lvm_bench.execution.run import PICTURES
from lvm_bench.execution.task import require_precision, spec_of
from lvm_bench.registry import METHODS
from lvm_bench.runs.layout import MOST_CODES
from lvm_bench.runs.standing import Standing, State, left, surveyed
from lvm_bench.suites.job import Job, Suite
from lvm_bench.text import columns, counted, printable

FACTOR = 1.5  # that an estimate should be right to

GIB = 2**30

ONCE = "(features, once)"


@runtime_checkable
class Machine(Protocol):
    """Whoever knows what a job costs."""

    def data(self, job: Job) -> Data: ...
    def pace(self, job: Job) -> Pace: ...
    def space(self, job: Job) -> Space: ...
    def scoring(self, job: Job, drawn_alone: bool) -> Scoring: ...
    def memory(self, job: Job, trains: float, scores: float) -> float: ...


@dataclass(frozen=True)
class Left:
    """A run with what is left to do of it."""

    job: Job
    train: bool
    score: bool
    redraws: int


@dataclass(frozen=True)
class Row:
    """What the runs of a method on a data set need: seconds and bytes of one run, and of all that is left."""

    dataset: str
    method: str
    runs: int
    seconds: float  # of all that is left
    step: float = math.nan
    steps: int = 0  # of a whole training
    training: float = math.nan
    scoring: float = math.nan
    memory: float = math.nan
    results: float = 0.0  # of all that is left


class Declined(Exception):
    """Why a method declines a task."""


@dataclass
class Estimate:
    """Rows, and why others are missing: their methods decline, or would fail."""

    rows: list[Row] = field(default_factory=list)
    declined: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return sum(row.seconds for row in self.rows)

    @property
    def memory(self) -> float:
        """Bytes at the peak; NaN where the system does not tell."""
        return max((row.memory for row in self.rows if not math.isnan(row.memory)), default=math.nan)

    @property
    def results(self) -> float:
        return sum(row.results for row in self.rows)


def work_left(pairs: Iterable[tuple[Job, Standing]], retry_failed: bool, resample: int) -> list[Left]:
    """What `run` has to do; a training that was interrupted counts whole."""
    found = []
    for job, standing in pairs:
        todo = left(standing, retry_failed=retry_failed, resample=resample)
        if todo:
            found.append(Left(job, todo.train, todo.score, todo.redraws))
    return found


def estimate(
    todo: list[Left], started: set[str], machine: Machine, say: Callable[[str], object] = lambda _: None
) -> Estimate:
    """What is left, by data set and method; of the data sets `started` the training images have their features."""
    found = Estimate()
    groups: dict[str, dict[str, list[Left]]] = {}
    for each in todo:
        groups.setdefault(each.job.dataset, {}).setdefault(each.job.method, []).append(each)
    for dataset, methods in groups.items():
        say(dataset)
        first = next(iter(methods.values()))[0].job
        try:
            data, space = machine.data(first), machine.space(first)
        except (Exception, SystemExit) as error:
            found.missing.append(f"{dataset} cannot be estimated. {cause(error)}")
            continue
        once = space.setup + len(data.train) * space.image
        if once and dataset not in started:
            found.rows.append(Row(dataset, ONCE, 1, once, scoring=once))
        for method, runs in methods.items():
            say(f"{dataset}/{method}")
            try:
                found.rows.append(row(runs, machine))
            except Declined as declined:
                found.declined.append(f"{dataset}/{method} declines: {declined}")
            except (Exception, SystemExit) as error:  # of a method's, a metric's or an extractor's own code too
                found.missing.append(f"{dataset}/{method} cannot be estimated. {cause(error)}")
    return found


def row(runs: list[Left], machine: Machine) -> Row:
    """The row of runs that differ in their seed. Raises Declined."""
    job = runs[0].job
    data, space = machine.data(job), machine.space(job)
    if not job.is_control and (reason := METHODS[job.method_base].declines(spec_of(job, data))):
        raise Declined(reason)
    pace = None if job.is_control else machine.pace(job)

    def seconds(scoring: Scoring) -> float:
        networks = scoring.encoded * pace.encode + scoring.decoded * pace.decode if pace else 0.0
        return scoring.seconds + networks + scoring.featured * space.image

    scoring = machine.scoring(job, False)
    score, scored = seconds(scoring), sum(each.score for each in runs)
    total = scored * score
    if redraws := sum(each.redraws for each in runs):
        total += redraws * seconds(machine.scoring(job, True))
    needs = scoring.memory + space.memory
    if pace is None:
        return Row(job.dataset, job.method, len(runs), total, scoring=score, memory=machine.memory(job, 0.0, needs))
    epochs, trained = job.training.epochs, sum(each.train for each in runs)
    training = pace.training(epochs, len(data.train), len(data.validation))
    return Row(
        job.dataset,
        job.method,
        len(runs),
        trained * training + total,
        pace.step,
        epochs * pace.steps,
        training,
        score,
        machine.memory(job, pace.memory, needs),
        trained * 2 * pace.weights + scored * _pictures(job, data),
    )


def _pictures(job: Job, data: Data) -> float:
    """Bytes of the pictures and codes that a scored run leaves: of each kind of picture as many, and a path."""
    return 5 * PICTURES * math.prod(data.train.pixels.shape[1:]) + 4 * MOST_CODES * job.training.latent


def tell(
    suite: Suite,
    results: Path,
    root: Path,
    device: str,
    *,
    retry_failed: bool = False,
    resample: int = 0,
    at_a_time: int = 1,
) -> bool:
    """Print on stderr what is left of a suite needs; whether all of it could be estimated.

    Raises UserError where `run` would refuse to go on.
    """
    console = Console(stderr=True, highlight=False)
    pairs = surveyed(suite, results)
    todo = work_left(pairs, retry_failed, resample)
    require_precision([each.job for each in todo], device)
    if not todo:
        console.print("Nothing is left to do.")
        return True
    if device == "cuda":
        at_a_time = on_gpus(at_a_time, torch.cuda.device_count(), suite.running.gpus_per_job)
    machine = ThisMachine(root, device)
    started = {job.dataset for job, standing in pairs if standing.state == State.DONE}
    with console.status("Measuring ...") as status:
        found = estimate(todo, started, machine, lambda what: status.update(f"Measuring {escape(what)} ..."))
    threads = max(each.job.training.threads for each in todo)
    summed = total(found, threads, device, at_a_time, machine.measured)
    for line in (*table(found.rows), *found.declined, *found.missing, *summed):
        console.print(printable(line), markup=False, soft_wrap=True)
    if found.rows and any(each.job.training.seeds_per_batch > 1 for each in todo):
        console.print("Seeds that are trained together are counted one after another: on a GPU they take less.")
    return not found.missing


def on_gpus(at_a_time: int, gpus: int, gpus_per_job: float) -> int:
    """How many of the runs at a time find a share of the GPUs: the others wait."""
    return max(1, min(at_a_time, int(gpus / gpus_per_job)))


def table(rows: list[Row]) -> list[str]:
    """A line for each row, below its head."""
    head = ("DATA SET", "METHOD", "A STEP", "STEPS", "TRAINING", "SCORING", "MEMORY", "RUNS LEFT", "ALL OF THEM")
    cells = [
        (
            row.dataset,
            row.method,
            duration(row.step),
            f"{row.steps:,}" if row.steps else "-",
            duration(row.training),
            duration(row.scoring),
            size(row.memory),
            str(row.runs),
            duration(row.seconds),
        )
        for row in rows
    ]
    return columns([head, *cells], right=range(2, len(head)))


def total(found: Estimate, threads: int, device: str, at_a_time: int, measured: int) -> list[str]:
    """The sum, and that it is extrapolated."""
    if not found.rows:
        return []
    machine = f"this machine ({counted(threads, 'thread')}, {device})"
    if at_a_time > 1:
        machine += f" with {at_a_time} runs at a time, if it has {at_a_time * threads} cores for them"
        machine += f" ({duration(found.seconds)} one after another)"
    without = ", without what cannot be estimated" if found.missing else ""
    return [
        f"About {duration(found.seconds / at_a_time)} on {machine}, {size(at_a_time * found.memory)} of memory at the "
        f"peak and {size(found.results)} of results{without}:",
        f"extrapolated from {measured:,} steps and scores measured now, most at small sizes; it should be right to a "
        f"factor of {FACTOR} while the machine is as busy as now.",
    ]


def duration(seconds: float) -> str:
    """Seconds with two digits, as ms, s, min or h; a dash for NaN."""
    if math.isnan(seconds):
        return "-"
    if seconds < 1:
        return f"{_two_digits(1000 * seconds)} ms"
    if seconds < 100:
        return f"{_two_digits(seconds)} s"
    return f"{_two_digits(seconds / 60)} min" if seconds < 6000 else f"{_two_digits(seconds / 3600)} h"


def size(count: float) -> str:
    """Bytes with two digits, as MiB or GiB; a dash for NaN."""
    if math.isnan(count):
        return "-"
    return f"{_two_digits(count / GIB)} GiB" if count >= GIB else f"{_two_digits(count / 2**20)} MiB"


def _two_digits(value: float) -> str:
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:.2g}"
