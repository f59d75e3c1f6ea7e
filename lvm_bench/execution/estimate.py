"""What the rest of a suite costs, by its finished runs or by a few steps and metrics on made-up images."""

import math
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

import torch
from rich.console import Console

from lvm_bench import disk
from lvm_bench.data.images import Data, Outline
from lvm_bench.errors import Undefined
from lvm_bench.evaluation import dinov2, features, score
from lvm_bench.evaluation.evidence import Evidence
from lvm_bench.evaluation.expost import fit
from lvm_bench.evaluation.of_controls import RealImages, StandardNormal
from lvm_bench.evaluation.of_model import ModelEvidence
from lvm_bench.evaluation.perceptual import untrained_perceptual
from lvm_bench.execution.failure import cause, told_once
from lvm_bench.execution.job_data import load_data, require_enough, require_same_data
from lvm_bench.execution.task import require_precision, spec_of
from lvm_bench.modelling.contract import Method, resident
from lvm_bench.output import Steps, Volume
from lvm_bench.registry import EXTRACTORS, METHODS, METRICS
from lvm_bench.runs.standing import Left, Standing, State
from lvm_bench.seeding import generator
from lvm_bench.suites.job import NORMAL, Job, Suite, is_control
from lvm_bench.text import columns, counted, duration, printable, size
from lvm_bench.training import batches, build, loop, memory, numerics, state

LONG = 1.0  # seconds of steps, or of a metric, after which no more steps or larger sizes are timed
MANY = 50  # images that networks are timed on, and steps at most
FEWEST = 300  # samples that metrics are timed on
FAILS = "cannot be estimated."
_UNTRAINED: dict[str, Callable[[str], features.Extractor]] = {
    "inception": features.untrained_inception,
    **{name: partial(dinov2.untrained, name) for name in ("dinov2", "dinov2-small")},
}  # in the place of extractors whose weights may not be here
HEAD = ("DATA SET", "METHOD", "A STEP", "STEPS", "TRAINING", "SCORING", "MEMORY", "RUNS LEFT", "ALL OF THEM")


class Estimate(NamedTuple):
    """Seconds of the parts of one run, its bytes at the peak, and what is left of all. NaN stands for unknown."""

    dataset: str
    method: str
    left: tuple[Left, ...]
    training: float = 0.0
    scoring: float = 0.0
    step: float = math.nan
    steps: int = 0
    memory: float = math.nan
    known: bool = False  # from finished runs

    @property
    def seconds(self) -> float:
        """Seconds of all that is left. A further evaluation counts as a whole one, and so do added metrics."""
        scored = sum(run.score + run.redraws for run in self.left)
        return scored * self.scoring + sum(run.train for run in self.left) * self.training

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of the table."""
        steps, training = f"{self.steps:,}" if self.steps else "-", duration(self.training or math.nan)
        costs = (duration(self.step), steps, training, duration(self.scoring), size(self.memory))
        runs = "control" if is_control(self.method) else str(len(self.left))
        return self.dataset, self.method, *costs, runs, duration(self.seconds)


class StandIn(torch.nn.Module):
    """Gives random numbers in the place of a network and counts its images, or raises the error that they raised."""

    def __init__(self, *shape: int):
        super().__init__()
        self.shape, self.price, self.count, self.stream = shape, 0.0, 0, generator(0, "stand-in")
        self.error: BaseException | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.error:
            raise self.error
        self.count += len(x)
        return torch.randn(len(x), *self.shape, generator=self.stream).to(x.device)


def of_finished(row: Estimate, standings: Iterable[Standing], device: str) -> Estimate | None:
    """The row with the mean costs of runs that were finished on this machine and kind of device, if there are any."""
    done = [(at.record, at.record["environment"]) for at in standings if at.state == State.DONE]
    this = (platform.node(), device == "cuda")
    here = [record for record, where in done if (where.get("host"), "cuda" in where["versions"]) == this]
    if not here:
        return None
    keys = ("seconds_training", "seconds_evaluation", "updates", "peak_memory")
    training, scoring, steps, peak = (fmean(record.get(key) or 0 for record in here) for key in keys)
    memory = peak * 2**20 or math.nan
    return row._replace(training=training, scoring=scoring, steps=round(steps), memory=memory, known=True)


def timed(action: Callable[[], object], device: str) -> float:
    """Seconds of an action."""
    begun = time.perf_counter()
    action()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def space_of(job: Job, root: Path, device: str) -> tuple[Data, StandIn | None, float]:
    """Made-up images of a data set, a stand-in for their extractor, and the seconds of what its runs share."""
    data, settings, begun = load_data(job, root, made_up=True), job.evaluation, time.perf_counter()
    require_enough(job, data)
    if not score.needs_features(settings.metrics):
        return data, None, 0.0
    few = replace(data, train=data.train.take(slice(3000)), test=data.test.take(slice(1)))
    request, space = features.Request(few, root, device, settings.classifier_epochs), StandIn()
    untrained = _UNTRAINED.get(settings.extractor)
    extractor = untrained(device) if untrained else EXTRACTORS[settings.extractor](request)
    setup, images = (time.perf_counter() - begun) / len(few.train), resident(few.train.pixels[: extractor.size])
    try:
        space.shape = tuple(extractor.features(images).shape[1:])
        space.price = timed(partial(extractor.features, images), device) / len(images)
    except (Exception, SystemExit) as error:  # it ends those runs alone whose metrics come to ask for features
        space.error = error
    return data, space, (setup + space.price) * len(data.train) * (not space.error)


def trained(row: Estimate, job: Job, data: Data, device: str) -> tuple[Method, Estimate]:
    """A method with stand-ins for its networks, and the row with the costs of training and of encoding all images."""
    settings, spec, n, v = job.training, spec_of(job, data), len(data.train), len(data.validation)
    of = (settings.network, settings.width, job.seed, device, settings.precision)
    method = build.build(METHODS[job.method_base], job.arguments, spec, *of)
    images, networks = torch.from_numpy(data.train.pixels).to(device), (method.encoder, method.decoder)
    work = state.Training(method, settings, images, 0)
    if not settings.epochs:
        later, steps = of_later_stages(work, v, device)
        method, row = given(row, method, images, settings.latent, device)
        return method, row._replace(training=row.training + later, steps=steps)
    encoder, decoder = StandIn(method.heads * settings.latent), StandIn(*spec.shape)
    with work.at_work():
        method.encoder, method.decoder = encoder, decoder
        begun = time.perf_counter()
        with torch.no_grad():
            work.start_epoch()
            for index in range(len(work.batches())):
                method.start_step(index)
        hooks = time.perf_counter() - begun
        method.encoder, method.decoder = networks
        method.validated(work.validate(images[:MANY], 0))
        validate = timed(partial(work.validate, images[:MANY], 0), device) / min(n, MANY)
        encoder.price = timed(partial(batches.encode, method, images[:MANY]), device) / min(n, MANY)
        decoder.price = max(validate - encoder.price, 0.0)
        method.train()
        step, steps = of_a_step(work, device)
    later, further = of_later_stages(work, v, device)
    method.encoder, method.decoder = encoder, decoder
    epoch = hooks + encoder.count * encoder.price + decoder.count * decoder.price + steps * step
    whole = v * validate + settings.epochs * (epoch + v * (validate + encoder.price)) + 2 * n * encoder.price
    return method, row._replace(training=whole + later, step=step, steps=settings.epochs * steps + further)


def of_a_step(work: state.Training, device: str) -> tuple[float, int]:
    """The seconds of a step of a training, and how many its epoch has."""
    order, steps = work.batches(), list[float]()
    while sum(steps) < LONG and len(steps) < min(len(order), MANY):
        steps.append(timed(partial(loop.step, work, order[len(steps)]), device))
    return median(steps), len(order)


def of_later_stages(work: state.Training, v: int, device: str) -> tuple[float, int]:
    """The seconds of the later stages of a training with v validation images, and how many steps they have."""
    seconds, count, few = 0.0, 0, work.images[:MANY]
    for stage, epochs in enumerate(work.stages.lengths):
        if stage and epochs:
            work.history = [{}] * sum(work.stages.lengths[:stage])  # as long as when it begins
            work.begin_stage()
            with work.at_work():
                work.start_epoch()
                step, steps = of_a_step(work, device)
                validate = timed(partial(work.validate, few, 0), device) / len(few)
            seconds, count = seconds + epochs * (steps * step + v * validate), count + epochs * steps
    return seconds, count


def given(row: Estimate, method: Method, images: torch.Tensor, latent: int, device: str) -> tuple[Method, Estimate]:
    """`trained` for a method that is not trained: all of its images are encoded twice."""
    few, encoder, decoder = images[:MANY], StandIn(method.heads * latent), StandIn(*method.spec.shape)
    encoder.price = timed(partial(batches.encode, method, few), device) / len(few)
    decoder.price = timed(partial(method.decode, batches.encode(method, few)), device) / len(few)
    method.encoder, method.decoder = encoder, decoder
    return method, row._replace(training=2 * len(images) * encoder.price)


def measured(row: Estimate, job: Job, data: Data, space: StandIn | None, device: str, kept: dict[Any, Any]) -> Estimate:
    """The row with what a trial costs. For later methods `kept` has the share and seconds of timed metrics."""
    memory.forget_peak(device)
    method, row = (None, row) if job.is_control else trained(row, job, data, device)
    networks: list[Any] = [space] * bool(space) + ([method.encoder, method.decoder] if method else [])
    quarterings = int(math.log(max(min(job.evaluation.samples, len(data.test), len(data.train)) / FEWEST, 1), 4))
    for power in range(quarterings, min(quarterings, 1) - 1, -1):
        share, computed, keys = 0.25**power, 0.0, list[tuple[object, ...]]()
        found = evidence(job, method, data, space, share, device)
        begun = time.perf_counter() + sum(each.count * each.price for each in networks)
        for name, variant in score.wanted(job.evaluation.metrics, further=found.further_samples):
            if (inputs := score.inputs_of(found, name, variant)) is not None:
                keys.append(key := (job.method_base == NORMAL, job.training.latent, name))
                if (before := kept.get(key, (0.0, 0.0)))[0] < share and before[1] < LONG:
                    action = partial(_computed, name, inputs)
                    first = timed(action, device)
                    again = timed(action, device) if first > LONG else 0.0  # without what a process computes once
                    kept[key], computed = (share, again or first), computed + first + again
        made = time.perf_counter() + sum(each.count * each.price for each in networks) - begun - computed
    scoring = made / share + sum(kept[key][1] / kept[key][0] for key in keys)
    if method:
        scoring += fitting(job, len(data.train), device)
    return row._replace(scoring=scoring, memory=(memory.peak(device) or math.nan) * 2**20 + data.train.pixels.nbytes)


def _computed(name: str, inputs: dict[str, Any]) -> None:
    """Compute a metric, which may have no value for made-up samples."""
    with suppress(Undefined):
        METRICS[name](**inputs)


def fitting(job: Job, n: int, device: str) -> float:
    """Seconds that the ex-post samplers of a job need to be fitted to n codes, from one epoch on few of them."""
    settings, l, seconds = job.evaluation, job.training.latent, 0.0
    codes = torch.randn(min(n, max(1000, 2 * l)), l, generator=generator(0, "stand-in"))
    epochs = {"expost_flow_epochs": settings.expost_flow_epochs, "expost_vae_epochs": settings.expost_vae_epochs}
    one = settings.model_copy(update=dict.fromkeys(epochs, 1))
    for name in settings.expost:
        given = fit.Fitting(codes, lambda _: codes, one, generator(0, "stand-in"), device)
        timed(action := partial(fit.SAMPLERS[name], given), device)  # what a process computes once
        seconds += timed(action, device) * epochs.get(f"expost_{name}_epochs", 1) * n / len(codes)
    return seconds


def evidence(job: Job, method: Method | None, data: Data, space: StandIn | None, share: float, device: str) -> Evidence:
    """Evidence of a control, or of a method with stand-ins for its networks, on a share of the images and draws."""
    parts = {key: getattr(data, key) for key in ("train", "validation", "test", "novel") if getattr(data, key)}
    parts = {key: images.take(slice(math.ceil(len(images) * share))) for key, images in parts.items()}
    if data.grid:  # with fewer values of the factor that has the most
        sizes, (c, h, w) = [*data.grid.sizes], data.grid.pixels.shape[1:]
        sizes[sizes.index(max(sizes))] = max(round(max(sizes) * share), 2)
        parts["grid"] = Outline((c, h, w), factor_sizes=tuple(sizes)).made_up().grid
    # Of each image as many codes are drawn as in a run: what they cost is then in proportion to the images.
    counts = ((key, n) for key, n in job.evaluation if isinstance(n, int) and n > 100 and key != "importance_samples")
    draws = {key: max(round(n * share), 50) for key, n in counts}
    extractor = features.Extractor(job.evaluation.extractor, "", "", space, device) if space else None
    perceptual = untrained_perceptual(device) if score.needs_perceptual(job.evaluation.metrics) else None
    context = (replace(data, **parts), extractor, job.evaluation.model_copy(update=draws), job.seed, device, perceptual)
    control = RealImages if job.method == "real-images" else partial(StandardNormal, job.training.latent)
    found: Evidence = ModelEvidence(method, *context) if method else control(*context)
    if method:
        codes = torch.randn(found.n, job.training.latent, generator=generator(0, "stand-in"))
        found.made |= {("codes", f"ex post {name}"): codes for name in job.evaluation.expost}  # without a fit
    if extractor and space and not space.error:  # made once for all runs
        found.once("features", "reference", lambda: extractor.features(found.splits["train"]))
    return found


def rows(
    pairs: list[tuple[Job, Standing]], todo: dict[str, Left], root: Path, device: str, steps: Steps
) -> Iterator[Estimate | str]:
    """The rows of what is left; in the place of some, that their method declines, or why they cannot be estimated."""
    jobs = sorted((job for job, _ in pairs if todo[job.name]), key=lambda job: job.dataset)
    at_work = ""  # the data set whose images are made up
    for dataset, method in dict.fromkeys((job.dataset, job.method) for job in jobs):
        runs = [(job, at) for job, at in pairs if (job.dataset, job.method) == (dataset, method)]
        steps.step(f"estimating {dataset}/{method}")
        job, row = runs[0][0], Estimate(dataset, method, tuple(todo[job.name] for job, _ in runs if todo[job.name]))
        try:
            if known := of_finished(row, (at for _, at in runs), device):
                yield known
                continue
            with numerics.fixed_numerics(job.training.threads):
                if dataset != at_work:
                    data, space, once = space_of(job, root, device)
                    at_work, metrics = dataset, dict[Any, Any]()
                    if once and all(at.state != State.DONE for job, at in pairs if job.dataset == dataset):
                        yield Estimate(dataset, "(features, once)", (Left(score=True),), scoring=once)
                if not job.is_control and (reason := METHODS[job.method_base].declines(spec_of(job, data))):
                    yield f"{dataset}/{method} declines: {reason}"
                else:
                    yield measured(row, job, data, space, device, metrics)
        except (Exception, SystemExit) as error:  # of an extension's own code too
            yield f"{dataset}/{method} {FAILS} {cause(error)}"


def tell(
    suite: Suite,
    pairs: list[tuple[Job, Standing]],
    todo: dict[str, Left],
    root: Path,
    device: str,
    at_a_time: int,
    volume: Volume = Volume.NORMAL,
) -> bool:
    """Print on stderr what is left of a suite needs; whether all could be estimated. UserError where `run` does."""
    console = Console(stderr=True, highlight=False)
    require_same_data(pairs, root)
    jobs = [job for job, _ in pairs if todo[job.name]]
    require_precision(jobs, device)
    if not jobs:
        console.print("Nothing is left to do.")
        return True
    with disk.cache_apart(), Steps(volume) as steps:
        found = list(rows(pairs, todo, root, device, steps))
    table = [each for each in found if isinstance(each, Estimate)]
    others = [each for each in found if isinstance(each, str)]
    others = told_once(FAILS, [*others, *(f"{method} {FAILS} {reason}" for method, reason in suite.broken.items())])
    if device == "cuda":  # the others wait
        at_a_time = max(1, min(at_a_time, int(torch.cuda.device_count() / suite.running.gpus_per_job)))
    whole, seconds = not any(FAILS in each for each in others), sum(row.seconds for row in table)
    peak = at_a_time * max((row.memory for row in table if not math.isnan(row.memory)), default=0.0)
    known, threads = sum(row.known for row in table), max(job.training.threads for job in jobs)
    lines = [*columns([HEAD, *(row.cells for row in table)], right=range(2, len(HEAD))), *others]
    if table:
        lines += [
            f"About {duration(seconds / at_a_time)} on this machine ({counted(threads, 'thread')}, {device})"
            + f" with {at_a_time} runs at a time ({duration(seconds)} one after another)" * (at_a_time > 1)
            + f", {size(peak)} of memory at the peak{'' if whole else ', without what cannot be estimated'}.",
            f"{known} of {counted(len(table), 'row')} from finished runs, the others from a trial: right to a factor "
            "of 1.5 or so while the machine is as busy as now.",
        ]
    console.print(printable("\n".join(lines)), markup=False, soft_wrap=True)
    return whole
