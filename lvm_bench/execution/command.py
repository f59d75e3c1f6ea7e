"""`lvm-bench run`, once its suite is resolved: what is printed, and with which code the command ends."""

import shlex
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click

from lvm_bench.errors import Stopped
from lvm_bench.execution import pool, suite
from lvm_bench.execution.progress import Progress
from lvm_bench.execution.stopping import Stop
from lvm_bench.execution.task import resolve_device
from lvm_bench.output import Volume
from lvm_bench.runs import comparable
from lvm_bench.runs.layout import RESULTS
from lvm_bench.runs.standing import left, surveyed
from lvm_bench.suites.counts import counted_runs
from lvm_bench.suites.job import Suite
from lvm_bench.text import printable


class Options(NamedTuple):
    """The options of the command that change no setting."""

    results: Path
    root: Path  # of the data
    device: str  # as asked for: auto, cpu or cuda
    retry_failed: bool
    resample: int  # further evaluations of each trained run
    missing: bool  # runs with committed scores of the same settings are left out
    jobs: int | None  # runs at a time; None: as many as this machine has room for
    address: str | None  # of a Ray cluster
    volume: Volume = Volume.NORMAL


def changed_settings(chosen: Suite) -> str:
    """What of the suite's own settings was changed, in the words of the report; "" where nothing was."""
    return comparable.changed_settings(((job.dataset, job.method), job.plan.changed) for job in chosen.jobs)


def dry_run(chosen: Suite, given: Options) -> int:
    """Print every job with its settings, and what is left of the suite needs; 1 where that cannot be said of all."""
    from lvm_bench.execution import estimate  # a run needs none of it

    for job in chosen.jobs:
        values = {**job.options, **job.arguments, **job.training.model_dump(), **job.evaluation.model_dump()}
        click.echo(printable(f"{job.name}  " + " ".join(f"{key}={value}" for key, value in values.items())))
    if given.volume != Volume.QUIET:
        click.echo(f"{counted_runs((job.dataset, job.method, job.seed) for job in chosen.jobs)}.", err=True)
    pairs = surveyed(chosen, given.results, missing=given.missing)
    todo = {job.name: left(at, retry_failed=given.retry_failed, resample=given.resample) for job, at in pairs}
    device = resolve_device(given.device)
    at_a_time = given.jobs or pool.room(chosen, device)
    whole = estimate.tell(chosen, pairs, todo, given.root, device, at_a_time, given.volume)
    return 0 if whole else 1


def run_suite(chosen: Suite, given: Options, stop: Stop) -> int:
    """Run what is left of a suite: here, in several processes, or on a cluster. 1 where a run failed."""
    try:
        failed = run_jobs(chosen, given, stop)
    except Stopped:
        return stop.exit_code
    if failed:
        click.echo(f"{failed} failed (see above); what was finished is kept.", err=True)
        return 1
    if given.volume == Volume.QUIET:
        return 0
    place = "" if given.results == RESULTS else f" --results {shlex.quote(str(given.results))}"
    click.echo(printable(f"Now type: lvm-bench report --suite {chosen.name}{place}"), err=True)
    return 0


def run_jobs(chosen: Suite, given: Options, stop: Stop) -> int:
    """Run what is left of a suite; the number of runs that stand as failed at the end. Raises Stopped."""
    run = partial(
        suite.run_suite,
        chosen,
        given.results,
        given.root,
        retry_failed=given.retry_failed,
        resample=given.resample,
        missing=given.missing,
    )
    if given.address:
        from lvm_bench.execution.cluster import Cluster

        with Cluster(chosen, given.results, given.device, given.address) as cluster:
            return run(cluster.device, Progress(volume=given.volume), stop, distribute=cluster.distribute)
    device = resolve_device(given.device)
    jobs = given.jobs or pool.room(chosen, device)
    if jobs == 1:
        return run(device, Progress(volume=given.volume), stop)
    pool.require_gpus(chosen, device, jobs)
    with pool.Pool(chosen, device, jobs) as workers:
        return run(device, Progress(volume=given.volume), stop, distribute=workers.distribute)
