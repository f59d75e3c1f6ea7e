"""What one run costs: a few real steps and the real metrics are timed on made-up images.

Hooks and metrics get stand-ins for networks, which count images at the price of a batch.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from lvm_bench.data.images import Data
from lvm_bench.evaluation import features, score
from lvm_bench.evaluation.stand_ins import Failing, StandIn, evidence
from lvm_bench.execution.job_data import load_data, require_enough
from lvm_bench.execution.task import spec_of
from lvm_bench.modelling.contract import Method
from lvm_bench.registry import EXTRACTORS, METHODS, METRICS
from lvm_bench.runs.costs import RunCosts
from lvm_bench.suites.job import Job
from lvm_bench.training import batches, build, loop, memory, state

LONG = 0.4  # seconds of steps after which no more are timed
LARGE = 0.5  # seconds of a metric after which it is timed at no larger size: many are quadratic up to 2,000 images
MANY = 50  # images that networks are timed on, and steps at most
FEWEST = 150  # samples that metrics are timed on
FIRST = 3  # sizes, besides the first, at which every metric is timed that is not long before
LITTLE = 0.2  # seconds of a metric at its full size below which what follows from these sizes is good enough
Place = tuple[str, str]  # a metric and what it is of
Shape = tuple[str | int, ...]  # a metric and how large its inputs are


@dataclass
class Space:
    """Made-up images of a data set, a stand-in for their extractor, and the seconds of what its runs share."""

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
    require_enough(job, data)
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


def trained(job: Job, data: Data, device: str) -> tuple[Method, list[StandIn], RunCosts]:
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
    costs = RunCosts(training=whole, step=median(steps), steps=settings.epochs * len(order), files=files)
    return method, stand_ins, costs


def measured(job: Job, space: Space, device: str, known: dict[Shape, float], added: Collection[str] = ()) -> RunCosts:
    """What one run costs, and the metrics that are `added` to finished ones.

    Metrics whose seconds are `known` for inputs of these shapes are not timed again.
    """
    memory.forget_peak(device)
    method, stand_ins, costs = (None, [], RunCosts()) if job.is_control else trained(job, space.data, device)
    inputs, computed = seconds_of_metrics(job, method, space, stand_ins, device, known)
    drawn = score.wanted(job.evaluation.metrics, drawn_alone=True)
    grid = len(space.data.grid.order) * stand_ins[0].price if stand_ins and space.data.grid else 0.0
    scoring = sum(inputs.values()) + sum(computed.values()) + grid
    redraw = sum(inputs.get(place, 0.0) + computed.get(place, 0.0) for place in drawn) + grid
    # A run holds all images with their features, and five sets of images that are made.
    pixels = math.prod(space.data.train.pixels.shape[1:])
    d = space.extractor.shape[0] if space.extractor else 0
    held = len(space.data.train) * (pixels + 4 * d) + 5 * samples_of(job, space.data) * 4 * (pixels + d)
    peak = (memory.peak(device) or math.nan) * 2**20 + held
    adding = sum(inputs[place] + computed[place] for place in inputs if place[0] in added)
    return costs._replace(scoring=scoring, redraw=redraw, adding=adding, memory=peak)


def samples_of(job: Job, data: Data) -> int:
    """How many images most metrics are of."""
    return min(job.evaluation.samples, len(data.test), len(data.train))


def seconds_of_metrics(
    job: Job, method: Method | None, space: Space, stand_ins: list[StandIn], device: str, known: dict[Shape, float]
) -> tuple[dict[Place, float], dict[Place, float]]:
    """Seconds of making what each metric is of, and of the metric itself. Both are timed at doubling sizes."""
    networks = [each for each in (space.extractor, *stand_ins) if each]

    def clock() -> float:
        """Seconds, with those that the networks would have taken."""
        return time.perf_counter() + sum(each.count * each.price for each in networks)

    made, computed = defaultdict[Place, list[float]](list), defaultdict[Shape, list[float]](list)
    shapes: dict[Place, Shape] = {}  # at the first size
    halvings = max(int(math.log2(samples_of(job, space.data) / FEWEST)), 0)
    powers = [halvings, *range(halvings, -1, -1)]  # the first one warms up
    for count, power in enumerate(powers):
        found, last = evidence(job, method, space.data, space.extractor, 0.5**power, device), count >= FIRST
        for place in score.wanted(job.evaluation.metrics):
            series = computed[shapes[place]] if place in shapes else []
            grows = len(series) == count and max(series, default=0.0) < LARGE
            if count > FIRST and not (grows and extrapolated(series[1:], 2.0 ** (power + 1)) > LITTLE):
                continue
            begun = clock()
            if (inputs := score.inputs_of(found, *place)) is None:
                continue
            made[place].append(clock() - begun)
            shape = shapes.setdefault(place, shape_of(job, place[0], halvings, inputs))
            if grows and shape not in known and len(computed[shape]) == count:
                METRICS[place[0]](**inputs)  # computes what a process needs once for all runs
                begun, last = clock(), False
                METRICS[place[0]](**inputs)
                computed[shape].append(clock() - begun)
        if last:
            break
    for shape, series in computed.items():
        if shape not in known:
            known[shape] = extrapolated(series[1:] or series, 2.0 ** powers[len(series) - 1])
    whole = {place: extrapolated(series[1:], 2.0 ** powers[len(series) - 1]) for place, series in made.items()}
    return whole, {place: known[shapes[place]] for place in whole}


def shape_of(job: Job, metric: str, halvings: int, inputs: dict[str, Any]) -> Shape:
    """Metrics take as long for one variant or data set as for another where their inputs have these shapes."""
    shapes = (getattr(x, "shape", x if isinstance(x, int | float) else job.dataset) for x in inputs.values())
    return metric, halvings, *map(str, shapes)


def extrapolated(series: list[float], growth: float) -> float:
    """From sizes each twice the one before to one `growth` times the last: on a line, or by a power of 2 at most."""
    latest, before = series[-1], series[-2:][0]
    # Over two doublings too, so that one disturbed measurement does not count for much.
    power = min([2.0, *(math.log2(latest / series[-1 - k]) / k for k in (1, 2) if k < len(series))])
    return latest * growth**power if power > 1 else latest + max(latest - before, 0.0) * 2 * (growth - 1)
