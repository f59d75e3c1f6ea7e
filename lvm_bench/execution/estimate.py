"""`lvm-bench run --dry-run` estimates the hours and GiB that the rest of a suite needs on this machine.

A run costs what finished runs of other seeds cost here. Where there are none, a few real steps and the real metrics are
timed on made-up images. Hooks and metrics get stand-ins for networks, which count images at the price of a batch.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from rich.console import Console

from lvm_bench import disk
from lvm_bench.data.images import Data
from lvm_bench.evaluation import features, score
from lvm_bench.evaluation.stand_ins import Failing, StandIn, evidence
from lvm_bench.execution.failure import cause, told_once
from lvm_bench.execution.task import load_data, require_precision, spec_of
from lvm_bench.modelling.contract import Method
from lvm_bench.registry import EXTRACTORS, METHODS, METRICS
from lvm_bench.runs.costs import costs_here
from lvm_bench.runs.standing import Left, Standing, State, left, surveyed
from lvm_bench.suites.job import Job, Suite
from lvm_bench.text import columns, counted, duration, printable, size
from lvm_bench.training import batches, build, loop, memory, numerics, state

LONG = 0.4  # seconds of steps after which no more are timed
LONG_PASS = 2.0  # seconds of all metrics after which they are timed at no larger size
MANY = 50  # images that networks are timed on, and steps at most
FEWEST = 150  # samples that metrics are timed on
FAILS = "cannot be estimated."
HEAD = ("DATA SET", "METHOD", "A STEP", "STEPS", "TRAINING", "SCORING", "MEMORY", "RUNS LEFT", "ALL OF THEM")


class Row(NamedTuple):
    """What one run of a method on a data set costs, in seconds and bytes, and what is left of its runs."""

    dataset: str = ""
    method: str = ""
    left: tuple[Left, ...] = ()
    training: float = 0.0
    scoring: float = 0.0
    redraw: float = 0.0  # a further evaluation
    step: float = math.nan
    steps: int = 0
    memory: float = math.nan  # at the peak
    files: float = 0.0
    measured: bool = True  # or finished runs tell

    @property
    def seconds(self) -> float:
        """Seconds of all that is left."""
        evaluations = sum(run.score * self.scoring + run.redraws * self.redraw for run in self.left)
        return sum(run.train for run in self.left) * self.training + evaluations

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of the table."""
        steps, training = f"{self.steps:,}" if self.steps else "-", duration(self.training or math.nan)
        costs = (duration(self.step), steps, training, duration(self.scoring), size(self.memory))
        return self.dataset, self.method, *costs, str(len(self.left)), duration(self.seconds)


class Space(NamedTuple):
    """Made-up images of a data set, a stand-in for their extractor, seconds of what all runs share."""

    data: Data
    extractor: StandIn | None = None
    once: float = 0.0


def timed(action: Callable[[], object], device: str, again: bool = True) -> float:
    """Seconds of an action. What is short, or on a GPU, is done twice: the first time loads what it computes with."""
    begun = time.perf_counter()
    action()
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - begun
    return timed(action, device, again=False) if again and (device == "cuda" or seconds < LONG / 4) else seconds


def space_of(job: Job, root: Path, device: str) -> Space:
    """What the runs of a job's data set share."""
    data, settings, begun = load_data(job, root, made_up=True), job.evaluation, time.perf_counter()
    if not score.needs_features(settings.metrics):
        return Space(data)
    few = replace(data, train=data.train.take(slice(1000)), test=data.test.take(slice(1)))
    if settings.extractor == "inception":  # its weights may not be here
        extractor = features.untrained_inception(device)
    else:
        extractor = EXTRACTORS[settings.extractor](features.Request(few, root, device, settings.classifier_epochs))
    setup, images = (time.perf_counter() - begun) / len(few.train), torch.from_numpy(few.train.pixels[: extractor.size])
    try:
        image = timed(partial(extractor.features, images), device) / len(images)
        dimensions = extractor.features(images[:1]).shape[1]
    except (Exception, SystemExit) as error:  # it ends those runs alone whose metrics come to ask for features
        return Space(data, Failing(error))
    return Space(data, StandIn(dimensions, price=image), (setup + image) * len(data.train))


def trained(job: Job, data: Data, device: str) -> tuple[Method, list[StandIn], Row]:
    """An untrained method, the stand-ins that are its networks, and what its training costs."""
    settings, spec, n, v = job.training, spec_of(job, data), len(data.train), len(data.validation)
    cls, network, width, precision = METHODS[job.method_base], settings.network, settings.width, settings.precision
    method = build.build(cls, job.arguments, spec, network, width, job.seed, device, precision)
    images, networks = torch.from_numpy(data.train.pixels).to(device), (method.encoder, method.decoder)
    work, files = state.Training(method, settings, images, 0), 2 * sum(x.nbytes for x in method.state_dict().values())
    encoder, decoder = stand_ins = [StandIn(method.heads * settings.latent), StandIn(*spec.shape)]
    steps: list[float] = []
    with work.at_work():
        method.encoder, method.decoder = stand_ins
        work.images = images.new_zeros(1, 1, 1, 1).expand(n, 1, 1, 1)  # the pixels are part of the price
        begun = time.perf_counter()
        with torch.no_grad():
            work.start_epoch()
            for index in range(len(order := work.batches())):
                method.start_step(index)
        hooks = time.perf_counter() - begun
        method.encoder, method.decoder = networks
        work.images = work.epoch.images = images
        method.validated(work.validate(images[:MANY], 0))
        validate = timed(partial(work.validate, images[:MANY], 0), device) / min(n, MANY)
        encoder.price = timed(partial(batches.encode, method, images[:MANY]), device) / min(n, MANY)
        decoder.price = max(validate - encoder.price, 0.0)
        method.train()
        while sum(steps) < LONG and len(steps) < min(len(order), MANY):
            steps.append(timed(partial(loop.step, work, order[len(steps)]), device))
    method.encoder, method.decoder = stand_ins
    hooks += sum(each.count * each.price for each in stand_ins)
    epoch = hooks + len(order) * median(steps) + v * (validate + encoder.price)
    # In the end the last and the best weights encode all images.
    whole = v * validate + settings.epochs * epoch + 2 * n * encoder.price
    row = Row(training=whole, step=median(steps), steps=settings.epochs * len(order), files=files)
    return method, stand_ins, row


def extrapolated(series: list[float], growth: float) -> float:
    """From sizes each twice the one before to one `growth` times the last: on a line, or by a power of 2 at most."""
    latest, before = series[-1], series[-2:][0]
    # Over two doublings too, so that one disturbed measurement does not count for much.
    power = min([2.0, *(math.log2(latest / series[-1 - k]) / k for k in (1, 2) if k < len(series))])
    return latest * growth**power if power > 1 else latest + max(latest - before, 0.0) * 2 * (growth - 1)


def measured(job: Job, space: Space, device: str) -> Row:
    """What one run costs."""
    data, metrics, networks, method, row = space.data, job.evaluation.metrics, [space.extractor], None, Row()
    memory.forget_peak(device)
    if not job.is_control:
        method, stand_ins, row = trained(job, data, device)
        networks += stand_ins
    n, passes = min(job.evaluation.samples, len(data.test), len(data.train)), []
    halvings = max(int(math.log2(n / FEWEST)), 0)
    for share in (0.5**halvings, *(0.5**power for power in range(halvings, -1, -1))):  # the first one warms up
        started = time.perf_counter()
        found, took = evidence(job, method, data, space.extractor, share, device), {}
        for place in score.wanted(metrics):
            begun, before = time.perf_counter(), sum(each.count * each.price for each in networks if each)
            if (inputs := score.inputs_of(found, *place)) is not None:
                METRICS[place[0]](**inputs)
                after = sum(each.count * each.price for each in networks if each)
                took[place] = time.perf_counter() - begun + after - before
        passes.append(took)
        if len(passes) > 2 and time.perf_counter() - started > LONG_PASS:  # with the copies that evidence makes
            break
    seconds = {place: extrapolated([each[place] for each in passes[1:] if place in each], 1 / share) for place in took}
    redraw = sum(seconds.get(place, 0.0) for place in score.wanted(metrics, drawn_alone=True))
    grid = len(data.grid.order) * stand_ins[0].price if method and data.grid else 0.0
    # A run holds all images with their features, and five sets of images that are made.
    pixels, d = math.prod(data.train.pixels.shape[1:]), space.extractor.shape[0] if space.extractor else 0
    held = len(data.train) * (pixels + 4 * d) + 5 * n * 4 * (pixels + d)
    peak = (memory.peak(device) or math.nan) * 2**20 + held
    return row._replace(scoring=sum(seconds.values()) + grid, redraw=redraw + grid, memory=peak)


def estimate(pairs: list[tuple[Job, Standing]], todo: dict[str, Left], root: Path, device: str) -> Iterator[Row | str]:
    """The rows of what is left; in the place of some, that their method declines, or why they cannot be estimated."""
    spaces: dict[str, Space] = {}  # that of the data set at work
    begun = {job.dataset for job, at in pairs if at.state == State.DONE}
    jobs = sorted((job for job, _ in pairs if todo[job.name]), key=lambda job: job.dataset)
    for dataset, method in dict.fromkeys((job.dataset, job.method) for job in jobs):
        runs = [(job, at) for job, at in pairs if (job.dataset, job.method) == (dataset, method)]
        job, left = runs[0][0], tuple(todo[job.name] for job, _ in runs if todo[job.name])
        known = costs_here((at for _, at in runs), device)
        row = Row(measured=False, **known._asdict()) if known else None
        try:
            if row is None or any(run.redraws for run in left):
                with numerics.fixed_numerics(job.training.threads):
                    if dataset not in spaces:
                        spaces = {dataset: space_of(job, root, device)}
                        if dataset not in begun and (once := spaces[dataset].once):
                            yield Row(dataset, "(features, once)", (Left(score=True),), scoring=once)
                    space = spaces[dataset]
                    if not job.is_control and (reason := METHODS[job.method_base].declines(spec_of(job, space.data))):
                        yield f"{dataset}/{method} declines: {reason}"
                        continue
                    now = measured(job, space, device)
                # What a further evaluation draws is a share of the scores.
                row = row._replace(redraw=row.scoring * now.redraw / now.scoring) if row else now
            yield row._replace(dataset=dataset, method=method, left=left)
        except (Exception, SystemExit) as error:  # of an extension's own code too
            yield f"{dataset}/{method} {FAILS} {cause(error)}"


def tell(
    suite: Suite, results: Path, root: Path, device: str, *, retry_failed: bool, resample: int, at_a_time: int
) -> bool:
    """Print on stderr what is left of a suite needs; whether all could be estimated. UserError where `run` refuses."""
    console, pairs = Console(stderr=True, highlight=False), surveyed(suite, results)
    todo = {job.name: left(at, retry_failed=retry_failed, resample=resample) for job, at in pairs}
    jobs = [job for job, _ in pairs if todo[job.name]]
    require_precision(jobs, device)
    if not jobs:
        console.print("Nothing is left to do.")
        return True
    with disk.cache_apart(), console.status("Measuring"):
        found = list(estimate(pairs, todo, root, device))
    rows, others = [each for each in found if isinstance(each, Row)], [each for each in found if isinstance(each, str)]
    others = told_once(FAILS, [*others, *(f"{method} {FAILS} {reason}" for method, reason in suite.broken.items())])
    fails, threads = any(FAILS in each for each in others), max(job.training.threads for job in jobs)
    lines = [*columns([HEAD, *(row.cells for row in rows)], right=range(2, len(HEAD))), *others]
    if device == "cuda":  # the others wait
        at_a_time = max(1, min(at_a_time, int(torch.cuda.device_count() / suite.running.gpus_per_job)))
    seconds, known = sum(row.seconds for row in rows), sum(not row.measured for row in rows)
    together = f" with {at_a_time} runs at a time ({duration(seconds)} one after another)"
    peak = max((row.memory for row in rows if not math.isnan(row.memory)), default=math.nan)
    files = sum(row.files * sum(run.train or run.score for run in row.left) for row in rows)
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
