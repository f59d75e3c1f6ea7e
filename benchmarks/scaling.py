"""Cost against size. `python -m benchmarks.scaling` measures it and writes SCALING.md and scaling.png.

Each point is measured in its own process, with its seconds and the growth of its memory. A series ends at a size that
takes too long. The exponent is the slope of the logarithms over the upper half of a series.
"""

import json
import math
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.codes import BANDWIDTH, WIDE
from benchmarks.distances import feature_sets
from benchmarks.measure import threads, timed
from benchmarks.results import HERE, kept_rows, processor, quantity, table
from lvm_bench.metrics import (
    dci,
    factor_vae_score,
    frechet_distance,
    gaussian_kl,
    kernel_distance,
    knn,
    latent_directions,
    linear_probe,
    mig,
    mmd,
    nearest_ratio,
    prd,
    sap,
    sharpness,
    total_correlation,
    two_sample_test,
)
from lvm_bench.modelling.kde import leave_one_out_log_density, log_density

SAMPLES = (1_000, 5_000, 10_000, 20_000, 50_000)
DIMENSIONS = (64, 256, 1024, 2048)
LARGEST = 50_000
LATENTS = (8, 32, 128, 256)
LONGEST = 60  # seconds that a point may take, estimated from the point before it
Action = Callable[[], object]


@dataclass(frozen=True)
class Series:
    """A quantity, the sizes it is measured at, and the exponent that follows from counting operations."""

    what: str
    against: str
    values: tuple[int, ...]
    theory: float
    prepare: Callable[[int], Action]
    others: str = ""
    of_commands: bool = False  # a command, whose memory is that of its processes

    @property
    def legend(self) -> str:
        """What a line shows."""
        return f"{self.what}, {self.others}" if self.others else self.what


@dataclass(frozen=True)
class Point:
    """A size, its seconds, and the MiB by which the process grew beyond its input."""

    value: int
    seconds: float
    memory: float


def of_features(measure: Callable[..., object], n: int = 5_000, d: int = 512) -> Action:
    """A call that measures two sets of features."""
    sets = feature_sets(n, d)
    return lambda: measure(*sets)


def of_codes(measure: Callable[[torch.Tensor], object], n: int = 5_000, l: int = 32) -> Action:
    """A call that measures codes."""
    rows = torch.randn(n, l, generator=torch.Generator().manual_seed(0))
    return lambda: measure(rows)


def of_factors(measure: Callable[..., object], n: int = 5_000, l: int = 8) -> Action:
    """A call that measures noisy codes of two factors, with the factors."""
    stream = torch.Generator().manual_seed(0)
    factors = torch.stack([torch.randint(size, (n,), generator=stream) for size in (3, 4)], dim=1)
    codes = factors.double() @ torch.randn(2, l, generator=stream).double()
    codes += 0.5 * torch.randn(n, l, generator=stream)
    return lambda: measure(codes, factors)


def of_grid(measure: Callable[..., object], l: int) -> Action:
    """A call that measures the codes of a grid of 4 x 8 x 16 combinations."""
    codes = torch.randn(512, l, generator=torch.Generator().manual_seed(0))
    return lambda: measure(codes, (4, 8, 16))


def of_posteriors(measure: Callable[..., object], n: int = 5_000, l: int = 32) -> Action:
    """A call that measures Gaussian posteriors."""
    stream = torch.Generator().manual_seed(0)
    posterior = tuple(torch.randn(n, l, generator=stream) for _ in range(2))
    return lambda: measure(posterior)


def of_images(measure: Callable[[torch.Tensor], object], n: int) -> Action:
    """A call that measures images of 32 x 32 pixels."""
    images = torch.rand(n, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    return lambda: measure(images)


def copied_from(images: torch.Tensor) -> object:
    return nearest_ratio(images, images[:2000], images[:2000] / 2)


def directions_of(codes: torch.Tensor, sizes: tuple[int, ...]) -> object:
    return latent_directions(codes, sizes, draws=1_000)


def entropy_of(rows: torch.Tensor) -> object:
    return leave_one_out_log_density(rows, WIDE).mean()


def told_from_prior(rows: torch.Tensor) -> object:
    return two_sample_test(rows, torch.randn(rows.shape, generator=torch.Generator().manual_seed(1)))


def probed(rows: torch.Tensor) -> object:
    labels = (rows[:, 0] > 0).long() + (rows[:, 1] > 0).long()
    return linear_probe(rows, labels, rows, labels)


def avae_term(m: int = 10_000, l: int = 16) -> Action:
    """A call of the AVAE's term, forward and backward, for a batch of 100."""
    z, centres = torch.randn(100, l), torch.randn(m, l)

    def both() -> None:
        rows = z.clone().requires_grad_()
        log_density(rows, centres, BANDWIDTH).mean().backward()

    return both


def suite(*words: str) -> Action:
    """A call that runs a part of the suite `quick` with two epochs."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "lvm_bench", "run", "--suite", "quick", "--results", folder]
            command += ["--set", "epochs=2", "--set", "classifier_epochs=1", *words]
            subprocess.run(command, check=True, capture_output=True)

    return run


METHODS = ("vae", "beta-tcvae", "rae-l2", "aae", "wae-mmd", "avae")


def with_seeds(count: int) -> Action:
    """A suite of one method and so many seeds."""
    return suite("--methods", "vae", *(word for seed in range(count) for word in ("--seeds", str(seed))))


def with_methods(count: int) -> Action:
    """A suite of so many methods and one seed."""
    return suite("--seeds", "0", *(word for name in METHODS[:count] for word in ("--methods", name)))


def series() -> list[Series]:
    """All series, with the exponents that follow from counting operations."""
    of_sets: list[tuple[str, Callable[..., object], float, float]] = [
        ("Fréchet distance", frechet_distance, 1, 2),
        ("KID, 100 subsets of 1,000", kernel_distance, 0, 1),
        ("PRD", prd, 1, 1),
        ("k-NN precision, recall, density, coverage", knn, 2, 1),
    ]
    of_rows: list[tuple[str, Callable[..., object], float, float]] = [
        ("leave-one-out KDE entropy", entropy_of, 2, 1),
        ("Gaussian KL", gaussian_kl, 1, 2),
        ("MMD (2,000 codes at most)", mmd, 0, 1),
        ("two-sample test", told_from_prior, 2, 1),
        ("linear probe", probed, 1, 1),
    ]
    found = [Series(w, "n", SAMPLES, n, lambda v, f=f: of_features(f, n=v), "d = 512") for w, f, n, _ in of_sets]
    found += [Series(w, "d", DIMENSIONS, d, lambda v, f=f: of_features(f, d=v), "n = 5,000") for w, f, _, d in of_sets]
    found += [Series(w, "n", SAMPLES, n, lambda v, f=f: of_codes(f, n=v), "l = 32") for w, f, n, _ in of_rows]
    found += [Series(w, "l", LATENTS, l, lambda v, f=f: of_codes(f, l=v), "n = 5,000") for w, f, _, l in of_rows]
    return [
        *found,
        Series("AVAE's KDE term, batch 100", "m", SAMPLES, 1, lambda v: avae_term(m=v), "l = 16"),
        Series("AVAE's KDE term, batch 100", "l", LATENTS, 1, lambda v: avae_term(l=v), "m = 10,000"),
        Series("suite of digits, 2 epochs, VAE", "seeds", (1, 2, 4, 8), 1, with_seeds, of_commands=True),
        Series("suite of digits, 2 epochs, 1 seed", "methods", (1, 2, 4, 6), 1, with_methods, of_commands=True),
        Series(
            "k-NN precision and recall of many features",
            "n",
            (LARGEST,),
            2,
            lambda v: of_features(knn, v, 2048),
            "d = 2,048",
        ),
        Series("MIG", "n", SAMPLES, 1, lambda v: of_factors(mig, n=v), "l = 8"),
        Series("SAP", "n", SAMPLES[:3], 1, lambda v: of_factors(sap, n=v), "l = 8"),
        Series("DCI", "n", SAMPLES[:3], 1, lambda v: of_factors(dci, n=v), "l = 8"),
        Series("MIG", "l", LATENTS, 1, lambda v: of_factors(mig, l=v), "n = 5,000"),
        Series("FactorVAE score", "l", LATENTS, 1, lambda v: of_grid(factor_vae_score, v), "15,000 votes of 64 codes"),
        Series(
            "latent directions", "l", LATENTS, 2, lambda v: of_grid(directions_of, v), "1,000 draws of 10,000 codes"
        ),
        Series("total correlation", "n", SAMPLES, 1, lambda v: of_posteriors(total_correlation, n=v), "l = 32"),
        Series("total correlation", "l", LATENTS, 1, lambda v: of_posteriors(total_correlation, l=v), "n = 5,000"),
        Series("sharpness", "n", SAMPLES, 1, lambda v: of_images(sharpness, v), "32 x 32 pixels"),
        Series("memorisation", "n", SAMPLES, 1, lambda v: of_images(copied_from, v), "2,000 queries, 32 x 32 pixels"),
    ]


def measured(place: int, value: int) -> Point:
    """A point, measured in this process. If a call is short, it is the quicker of two."""
    from lvm_bench.training import memory

    torch.set_num_threads(threads())
    each = series()[place]
    action = each.prepare(value)
    memory.forget_peak("cpu")
    before = memory.peak("cpu") or math.nan
    seconds, _ = timed(action)
    grown = (memory.peak("cpu") or math.nan) - before
    if each.of_commands:
        grown = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
    return Point(value, seconds if seconds > 10 else min(seconds, *(timed(action)[0] for _ in range(2))), grown)


def points(place: int) -> list[Point]:
    """The points of a series, each from its own process, up to the size that takes too long."""
    found: list[Point] = []
    for value in series()[place].values:
        # The seconds of the last point, scaled by theory, tell whether the next one takes too long.
        if found and found[-1].seconds * (value / found[-1].value) ** series()[place].theory > LONGEST:
            break
        with get_context("spawn").Pool(1) as pool:
            found.append(pool.apply(measured, (place, value)))
    return found


def exponent(found: list[Point]) -> float:
    """The slope of log seconds over log size in the upper half; NaN for a single point."""
    upper = found[len(found) // 2 - 1 :] if len(found) > 3 else found
    if len(upper) < 2:
        return math.nan
    logs = np.log([(point.value, point.seconds) for point in upper])
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def draw(everything: list[tuple[Series, list[Point]]], file: Path) -> None:
    """Seconds and memory against each kind of size on logarithmic axes. Single points are in the table alone."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot, ticker

    drawn = [(each, found) for each, found in everything if len(found) > 1]
    kinds = list(dict.fromkeys(each.against for each, _ in drawn))
    shape: dict[str, Any] = {"figsize": (3.4 * len(kinds), 7.5), "squeeze": False, "sharex": "col"}
    figure, axes = pyplot.subplots(2, len(kinds), layout="constrained", **shape)
    plain = ticker.FuncFormatter(lambda value, _: f"{value:,.6g}")
    for above, below, kind in zip(*axes, kinds, strict=True):
        own = [(each, found) for each, found in drawn if each.against == kind]
        for number, (each, found) in enumerate(own):
            sizes, line = [point.value for point in found], ".-" if number < 10 else ".:"  # colours repeat after ten
            above.plot(sizes, [point.seconds for point in found], line, label=each.legend)
            below.plot(sizes, [max(point.memory, 1) for point in found], line)
        for axis, name in ((above, "seconds"), (below, "MiB beyond the input")):
            axis.set(xscale="log", yscale="log", ylabel=name)
            axis.xaxis.set_major_locator(ticker.FixedLocator([point.value for point in own[0][1]]))
            axis.xaxis.set_minor_locator(ticker.NullLocator())
            axis.xaxis.set_major_formatter(plain)
            axis.yaxis.set_major_formatter(plain)
            axis.yaxis.set_minor_formatter(ticker.NullFormatter())
            low, high = axis.get_ylim()
            axis.set_ylim(min(low, high / 20), 1.2 * high)  # a decade at least, lest noise look like growth
            axis.tick_params(axis="x", rotation=45)
        below.set_xlabel(kind)
        below.legend(*above.get_legend_handles_labels(), fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.32))
    figure.savefig(file, dpi=120)


def page(everything: list[tuple[Series, list[Point]]]) -> str:
    """The whole of SCALING.md."""
    rows = []
    for each, found in everything:
        last = found[-1]
        slope = exponent(found)
        largest = f"{each.against} = {last.value:,}" + (f", {each.others}" if each.others else "")
        shown = "–" if math.isnan(slope) else f"{slope:.2f}"
        cost = [quantity(last.seconds, "s"), f"{max(last.memory, 1):,.0f} MiB"]
        rows.append([each.what, each.against, f"{each.theory:g}", shown, largest, *cost])
    header = ("what", "against", "exponent in theory", "measured", "at", "seconds", "memory beyond the input")
    return "\n".join(
        [
            "# Cost against size",
            "",
            f"Made by `make bench-scaling` with torch {torch.__version__}, {threads()} threads of an {processor()}.",
            "The exponent is the slope over the upper half of the sizes; it lies below theory where fixed costs still",
            "count, or products gain from being larger. KID costs n^2 up to n = 10,000, where all pairs are fewer than",
            "those of 100 subsets, and no more from there on. Suites have a fixed cost: starting, the classifier.",
            "",
            *table(header, rows),
            "",
            in_all(everything),
            "",
            "![Seconds and memory over sizes](scaling.png)",
            "",
            "## What suites need",
            "",
            "As `lvm-bench run --suite NAME --dry-run` estimates it on this machine, extrapolated from a few steps and",
            "scores of small sizes; on a GPU not measured.",
            "",
            "```",
            *map(estimate, ("quick", "mnist-small", "paper")),
            "```",
            "",
        ]
    )


def in_all(everything: list[tuple[Series, list[Point]]]) -> str:
    """The memory of the largest k-NN shares, input included."""
    found = next(found for each, found in everything if each.values == (LARGEST,))
    mebibytes = found[-1].memory + 2 * LARGEST * 2048 * 4 / 2**20
    return (
        f"Precision, recall, density and coverage of {LARGEST:,} x 2,048 features: {found[-1].seconds:.0f} s and "
        f"{mebibytes / 1024:.2f} GiB with the features themselves (goal: 4 GiB)."
    )


def estimate(name: str) -> str:
    """The sum of a suite's estimate, with its name."""
    command = [sys.executable, "-m", "lvm_bench", "run", "--suite", name, "--dry-run"]
    with tempfile.TemporaryDirectory() as folder:
        told = subprocess.run([*command, "--results", folder], check=True, capture_output=True, text=True).stderr
    return f"{name}: {' '.join(told.splitlines()[-2:])}"


def main() -> None:
    """Measure the points that are not kept, draw, and write."""
    everything = []
    for place, each in enumerate(series()):
        file = kept_rows() / f"scaling-{place}.json"
        if not file.exists():
            print(f"{each.what} against {each.against} ...", flush=True)
            file.parent.mkdir(parents=True, exist_ok=True)
            found = points(place)
            file.write_text(json.dumps([vars(point) for point in found]))
        kept: list[dict[str, Any]] = json.loads(file.read_text())
        everything.append((each, [Point(**values) for values in kept]))
    draw(everything, HERE / "scaling.png")
    (HERE / "SCALING.md").write_text(page(everything))


if __name__ == "__main__":
    main()
