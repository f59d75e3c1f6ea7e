"""`lvm-bench run --dry-run` estimates the hours and GiB that the rest of a suite needs on this machine.

A run costs what finished runs of other seeds cost here, or else what a trial of its steps and metrics costs.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console

from lvm_bench import disk
from lvm_bench.execution.failure import cause, told_once
from lvm_bench.execution.job_data import require_same_data
from lvm_bench.execution.task import require_precision, spec_of
from lvm_bench.execution.trial import Shape, Space, measured, space_of
from lvm_bench.registry import METHODS
from lvm_bench.runs.costs import RunCosts, costs_here
from lvm_bench.runs.standing import Left, Standing, State, left, surveyed
from lvm_bench.suites.job import Job, Suite
from lvm_bench.text import columns, counted, duration, printable, size
from lvm_bench.training import numerics

FAILS = "cannot be estimated."
HEAD = ("DATA SET", "METHOD", "A STEP", "STEPS", "TRAINING", "SCORING", "MEMORY", "RUNS LEFT", "ALL OF THEM")


class Estimate(NamedTuple):
    """What one run of a method on a data set costs, and what is left of its runs."""

    dataset: str
    method: str
    left: tuple[Left, ...]
    costs: RunCosts
    from_runs: bool = False  # that are finished

    @property
    def seconds(self) -> float:
        """Seconds of all that is left."""
        one = self.costs
        scores = sum(one.adding if run.adds else one.scoring for run in self.left if run.score)
        redraws = sum(run.redraws for run in self.left) * one.redraw
        return sum(run.train for run in self.left) * one.training + scores + redraws

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of the table."""
        one = self.costs
        steps, training = f"{one.steps:,}" if one.steps else "-", duration(one.training or math.nan)
        cells = (duration(one.step), steps, training, duration(one.scoring), size(one.memory))
        return self.dataset, self.method, *cells, str(len(self.left)), duration(self.seconds)


def estimates(
    pairs: list[tuple[Job, Standing]], todo: dict[str, Left], root: Path, device: str
) -> Iterator[Estimate | str]:
    """The rows of what is left; in the place of some, that their method declines, or why they cannot be estimated."""
    spaces: dict[str, Space] = {}  # that of the data set at work
    known_metrics: dict[Shape, float] = {}
    begun = {job.dataset for job, at in pairs if at.state == State.DONE}
    jobs = sorted((job for job, _ in pairs if todo[job.name]), key=lambda job: job.dataset)
    for dataset, method in dict.fromkeys((job.dataset, job.method) for job in jobs):
        runs = [(job, at) for job, at in pairs if (job.dataset, job.method) == (dataset, method)]
        job, left = runs[0][0], tuple(todo[job.name] for job, _ in runs if todo[job.name])
        known = costs = costs_here((at for _, at in runs), device)
        try:
            if costs is None or any(run.redraws or run.adds for run in left):
                with numerics.fixed_numerics(job.training.threads):
                    if dataset not in spaces:
                        spaces = {dataset: space_of(job, root, device)}
                        if dataset not in begun and (once := spaces[dataset].once):
                            yield Estimate(dataset, "(features, once)", (Left(score=True),), RunCosts(scoring=once))
                    space = spaces[dataset]
                    if not job.is_control and (reason := METHODS[job.method_base].declines(spec_of(job, space.data))):
                        yield f"{dataset}/{method} declines: {reason}"
                        continue
                    now = measured(job, space, device, known_metrics, {name for _, at in runs for name in at.lacks})
                costs = now
                if known:  # what a further evaluation draws is a share of the scores, of which controls may have none
                    share = now.redraw / now.scoring if now.scoring else 0.0
                    costs = known._replace(redraw=known.scoring * share, adding=now.adding)
            yield Estimate(dataset, method, left, costs, from_runs=bool(known))
        except (Exception, SystemExit) as error:  # of an extension's own code too
            yield f"{dataset}/{method} {FAILS} {cause(error)}"


def tell(
    suite: Suite, results: Path, root: Path, device: str, *, retry_failed: bool, resample: int, at_a_time: int
) -> bool:
    """Print on stderr what is left of a suite needs; whether all could be estimated. UserError where `run` refuses."""
    console, pairs = Console(stderr=True, highlight=False), surveyed(suite, results)
    require_same_data(pairs, root)
    todo = {job.name: left(at, retry_failed=retry_failed, resample=resample) for job, at in pairs}
    jobs = [job for job, _ in pairs if todo[job.name]]
    require_precision(jobs, device)
    if not jobs:
        console.print("Nothing is left to do.")
        return True
    with disk.cache_apart(), console.status("Measuring"):
        found = list(estimates(pairs, todo, root, device))
    rows = [each for each in found if isinstance(each, Estimate)]
    others = [each for each in found if isinstance(each, str)]
    others = told_once(FAILS, [*others, *(f"{method} {FAILS} {reason}" for method, reason in suite.broken.items())])
    fails, threads = any(FAILS in each for each in others), max(job.training.threads for job in jobs)
    lines = [*columns([HEAD, *(row.cells for row in rows)], right=range(2, len(HEAD))), *others]
    if device == "cuda":  # the others wait
        at_a_time = max(1, min(at_a_time, int(torch.cuda.device_count() / suite.running.gpus_per_job)))
    seconds, known = sum(row.seconds for row in rows), sum(row.from_runs for row in rows)
    together = f" with {at_a_time} runs at a time ({duration(seconds)} one after another)"
    peak = max((row.costs.memory for row in rows if not math.isnan(row.costs.memory)), default=math.nan)
    files = sum(row.costs.files * sum(run.train or run.score for run in row.left) for row in rows)
    needs = ((at_a_time * peak, "memory at the peak"), (files, "results"))
    needed = "".join(f", {size(amount)} of {what}" for amount, what in needs if amount > 0)  # NaN is not known
    source = f"{known} of {counted(len(rows), 'row')} from finished runs" if known else ""
    if known < len(rows):
        source += f"{', the others e' if known else 'E'}xtrapolated from what was measured now"
    if rows:
        lines += [
            f"About {duration(seconds / at_a_time)} on this machine ({counted(threads, 'thread')}, {device})"
            f"{together * (at_a_time > 1)}{needed}{', without what cannot be estimated' * fails}.",
            f"{source}: right to a factor of 1.5 or so while the machine is as busy as now.",
        ]
    if any(job.training.seeds_per_batch > 1 for job in jobs):
        lines.append("Seeds that are trained together are counted one after another: on a GPU they take less.")
    console.print(printable("\n".join(lines)), markup=False, soft_wrap=True)
    return not fails
