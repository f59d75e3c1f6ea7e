"""The goals on a GPU: seeds trained side by side, an AVAE in a minute, and the same numbers as on the CPU."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.codes import BANDWIDTH
from benchmarks.distances import feature_sets, inception_weights, our_inception, size, small_images
from benchmarks.measure import relative, taking_turns, timed
from benchmarks.rows import Equality, Goal, Measured, NotMeasured, row
from benchmarks.training import BATCH, RANGE, SHAPE, pixels, task
from lvm_bench.metrics import frechet_distance, kernel_distance, knn, prd
from lvm_bench.modelling.contract import Method, Spec
from lvm_bench.modelling.kde import leave_one_out_log_density
from lvm_bench.registry import METHODS
from lvm_bench.training.build import build
from lvm_bench.training.loop import train
from lvm_bench.training.state import Trained, Training
from lvm_bench.training.together import train_together

SEEDS, REPEATS = 5, 3


def device() -> str:
    """The GPU. Raises NotMeasured if there is none."""
    if not torch.cuda.is_available():
        raise NotMeasured("not measured: no GPU here")
    return "cuda"


def fresh(job: Any, n: int, seed: int, place: str) -> Method:
    """A method of a job before its training, on a device."""
    settings, spec = job.training, Spec(SHAPE, RANGE, job.training.latent, n, BATCH, "sse")
    cls = METHODS[job.method_base]
    return build(cls, job.arguments, spec, settings.network, settings.width, seed, place, settings.precision)


@row(
    "gpu-seeds",
    "five seeds of the VAE on MNIST trained together, an epoch",
    "torch",
    Goal(longer=2.5),
    peer="one seed alone",
)
def seeds_together(small: bool) -> Measured:
    """An epoch of five seeds together, and an epoch of one seed."""
    place, job = device(), task("vae", small)
    images = pixels(5 * BATCH if small else 60_000).to(place)
    validation = images[:BATCH]

    # First weights are drawn beforehand, for the warm-up and each repeat: that is no part of an epoch.
    several_fresh = [[fresh(job, len(images), seed, place) for seed in range(SEEDS)] for _ in range(1 + REPEATS)]
    one_fresh = [fresh(job, len(images), 0, place) for _ in range(1 + REPEATS)]

    def together() -> list[Trained | Exception]:
        trainings = [Training(method, job.training, images, seed) for seed, method in enumerate(several_fresh.pop())]
        return train_together(trainings, validation, lambda: False)

    def alone() -> Trained:
        return train(one_fresh.pop(), images, validation, job.training, 0)

    mine, others, several, one = taking_turns(together, alone, REPEATS)
    first = several[0]
    assert isinstance(first, Trained)
    difference = relative(first.history[-1]["train/loss"], one.history[-1]["train/loss"])
    return Measured(mine, others, Equality("mean loss of seed 0 in the epoch, relative", difference, 1e-3))


@row("gpu-avae", "AVAE on MNIST, the paper's settings, 50 epochs", "", Goal(most=60.0))
def avae(small: bool) -> Measured:
    """Seconds of fifty epochs, which encode 10,000 images anew every ten steps."""
    place = device()
    epochs, n = (1, 1200) if small else (50, 50_000)
    job = task("avae", small, f"epochs={epochs}", "precision=tf32", *(["m=500"] if small else []))
    images = pixels(n).to(place)
    method = fresh(job, n, 0, place)
    seconds, _ = timed(lambda: train(method, images, images[:1000], job.training, 0))
    return Measured([seconds], note="random pixels, which cost what digits do; networks in TF32")


@row(
    "gpu-metrics",
    "Fréchet distance, KID, PRD, k-NN shares and KDE entropy on the GPU, 10,000 x 2,048",
    "torch",
    Goal(faster=1.0),
    peer="our own on the CPU",
)
def metrics(small: bool) -> Measured:
    """All of them on the GPU and on the CPU, and the differences of their results."""
    place = device()
    rows = [torch.from_numpy(values) for values in feature_sets(*size(small))]

    def measured(on: str) -> list[float]:
        real, fake = (values.to(on) for values in rows)
        subset = min(1000, len(real))
        scores = [frechet_distance(real, fake), kernel_distance(real, fake, subset_size=subset)]
        of_pairs: tuple[Callable[..., dict[str, float]], ...] = (prd, knn)
        scores += [value for measure in of_pairs for value in measure(real, fake).values()]
        return [*scores, float(leave_one_out_log_density(real[:, :128], BANDWIDTH).mean())]

    mine, others, there, here = taking_turns(partial(measured, place), partial(measured, "cpu"), 2)
    apart = float((np.abs(np.array(there) - here) / np.abs(here)).max())
    return Measured(mine, others, Equality("every score, relative", apart, 1e-4))


@row(
    "gpu-features",
    "Inception features of 200 images, 32 px, on the GPU",
    "torch",
    Goal(faster=1.0),
    peer="our own on the CPU",
)
def features(small: bool) -> Measured:
    """Features on the GPU and on the CPU, and their differences."""
    place, images = device(), small_images(16 if small else 200)
    with inception_weights() as (file, note):
        extractors = [our_inception(file, on) for on in (place, "cpu")]
    mine, others, there, here = taking_turns(*(partial(made.features, images) for made in extractors), repeats=2)
    return Measured(mine, others, Equality("features, relative", relative(there, here), 1e-4), note=note)
