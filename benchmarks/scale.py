"""What the papers' suites cost on many cores and GPUs. `python -m benchmarks.scale` writes SCALE.md, in minutes.

Nothing is timed here. The operations of each training are counted, on tensors without values; their rate is that of
the training step in RESULTS-*.md, where the rates of features and distances stand too. Runs are given to free workers
in the order of the suite, as `run` does.
"""

import heapq
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.results import HERE, table
from lvm_bench.evaluation.features import untrained_inception
from lvm_bench.execution.job_data import load_data
from lvm_bench.execution.task import spec_of
from lvm_bench.modelling.contract import Method
from lvm_bench.registry import METHODS
from lvm_bench.suites import bench_toml, labels
from lvm_bench.suites.job import Job
from lvm_bench.suites.labels import dataset_label, label
from lvm_bench.suites.resolve import resolve
from lvm_bench.training.build import build

SUITES = ("paper", "evae", "gamix")
CORES, GPUS = (2, 64, 1000), (1, 8, 64)
FEW = 2  # images that operations are counted on; batch norm needs two
KINDS = 4  # of images whose features are measured: reconstructed, interpolated, sampled, sampled ex post
GPU_RATE = 1e13  # operations a second, assumed: half of what an A100 promises in float32
GPU_STEP = 5e-3  # seconds that a step takes at least, assumed: its kernels are started one after another
STEP = "training step, VAE, MNIST network, batch 100", "pythae"
FEATURES = "Inception features of 200 images, 32 px", "torch-fidelity"
SCORES = (  # seconds of a run's scores beside its features: how often each row is needed
    ("evaluation of an MNIST run of `mnist-small` with every metric", "–", 1),
    ("Fréchet distance, 10,000 x 2,048", "torch-fidelity", 4),
    ("KID, 100 subsets of 1,000, 10,000 x 2,048", "torch-fidelity", 4),
    ("PRD, 10 repeats, 10,000 x 2,048", "the published algorithm", 2),
    ("precision, recall, density, coverage, 10,000 x 2,048", "torch-fidelity", 2),
)
UNITS = {"ms": 1e-3, "s": 1.0}


@dataclass(frozen=True, eq=False)
class Work:
    """What one run needs: steps, operations of training and of making the measured images, images with features."""

    job: Job
    steps: int
    training: float
    making: float
    features: int
    reference: int  # images of the reference, whose features all runs of a data set share


@dataclass(frozen=True)
class Machine:
    """The rates of a worker: operations a second, least seconds of a step, images a second, seconds of scores."""

    name: str
    rate: float
    step: float
    images: float
    scores: float

    def parts(self, work: Work) -> tuple[float, float, float]:
        """Seconds of training, of making and featuring images, and of scores."""
        training = max(work.training / self.rate, work.steps * self.step)
        return training, work.making / self.rate + work.features / self.images, self.scores


def counted(method: Method, shape: tuple[int, ...], backward: bool) -> float:
    """Operations that the losses of an image need, two for each multiply-add; with all gradients, or without."""
    with FakeTensorMode(allow_non_fake_inputs=True), FlopCounterMode(display=False) as counter:
        x = torch.rand(FEW, *shape)
        with torch.set_grad_enabled(backward):
            losses = [method.losses(x)["loss"]]
            if method.adversary is not None and backward:
                losses[0].backward()
                losses = [method.losses_of_adversary(x)["adversary_loss"]]
            if backward:
                losses[0].backward()
    return counter.get_total_flops() / FEW


def encoded(method: Method, shape: tuple[int, ...]) -> float:
    """Operations that the code of an image needs."""
    with FakeTensorMode(allow_non_fake_inputs=True), FlopCounterMode(display=False) as counter, torch.no_grad():
        method.encode(torch.rand(FEW, *shape))
    return counter.get_total_flops() / FEW


def work_of(job: Job) -> Work:
    """What a run of a job needs, as `run` trains and measures it."""
    data, settings = load_data(job, Path("none"), made_up=True), job.training
    spec, n, v = spec_of(job, data), len(data.train), len(data.validation)
    arguments = job.arguments | ({"bandwidth": "paper"} if "bandwidth" in job.arguments else {})  # none is computed
    method = build(METHODS[job.method_base], arguments, spec, settings.network, settings.width, 0, "cpu")
    step, forward, encode = (
        counted(method, spec.shape, True), counted(method, spec.shape, False), encoded(method, spec.shape),
    )  # fmt: skip
    m = job.arguments.get("m", 0)  # images that the AVAE holds out and encodes every k_b steps
    steps = -(-(n - m) // settings.batch_size)
    again = m * -(-steps // job.arguments.get("k_b", steps))
    epoch = (n - m) * step + again * encode + v * (forward + encode)
    training = v * forward + settings.epochs * epoch + 2 * n * encode
    samples = min(job.evaluation.samples, len(data.test), n)
    return Work(job, settings.epochs * steps, training, KINDS * samples * forward, KINDS * samples, n)


def works() -> dict[str, list[Work]]:
    """The runs of each suite, in its order. Seeds of a method need the same."""
    file, found = bench_toml.config_file(None), dict[str, list[Work]]()
    for suite in SUITES:
        known: dict[tuple[str, str], Work] = {}
        for job in resolve(file, suite).jobs:
            if (key := (job.dataset, job.method)) not in known:
                known[key] = work_of(job)
            found.setdefault(suite, []).append(known[key])
    return found


# --- rates ----------------------------------------------------------------------------------------------------


def seconds(text: str, what: str, peer: str) -> float:
    """Our median of a row of a page of results."""
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if "|" in line]
    column = next(row.index("ours") for row in rows if "ours" in row)
    cell = next(row[column] for row in rows if row[0] == what and row[1].startswith(peer))
    found = re.match(r"([\d.,]+) (ms|s)\b", cell)
    assert found, cell
    return float(found[1].replace(",", "")) * UNITS[found[2]]


def processors() -> list[Machine]:
    """Two cores of each processor that was measured."""
    vae = next(job for job in resolve(bench_toml.config_file(None), "paper", methods=("vae",)).jobs)
    data = load_data(vae, Path("none"), made_up=True)
    spec, settings = spec_of(vae, data), vae.training
    method = build(METHODS["vae"], vae.arguments, spec, settings.network, settings.width, 0, "cpu")
    operations, found = 100 * counted(method, spec.shape, True), []
    for file in sorted(HERE.glob("RESULTS-*-*.md")):
        text = file.read_text(encoding="utf-8")
        name = re.search(r"cores of an? (.*?) \(", text)
        assert name
        rate, images = operations / seconds(text, *STEP), 200 / seconds(text, *FEATURES)
        scores = sum(count * seconds(text, what, peer) for what, peer, count in SCORES)
        found.append(Machine(name[1], rate, 0.0, images, scores))
    return found


def of_inception() -> float:
    """Operations that the features of an image need."""
    with FlopCounterMode(display=False) as counter:
        untrained_inception("cpu").features(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    return float(counter.get_total_flops())


# --- tables ---------------------------------------------------------------------------------------------------


def until_done(runs: list[Work], machine: Machine, workers: int) -> float:
    """Seconds until all runs are done, each on a free worker. The first of a data set makes what all share."""
    free, shared = [0.0] * workers, set[str]()
    for work in runs:
        first = work.job.dataset not in shared
        shared.add(work.job.dataset)
        more = work.reference / machine.images if first else 0.0
        heapq.heapreplace(free, free[0] + sum(machine.parts(work)) + more)
    return max(free)


def span(values: list[float]) -> str:
    """Seconds as minutes, hours or days, of several machines as a range."""
    units = (86400, "days"), (3600, "h"), (60, "min")
    unit, name = next((each for each in units if min(values) >= 3 * each[0]), units[-1])
    shown = dict.fromkeys(f"{float(f'{value / unit:.2g}'):,.10g}" for value in sorted(values))
    return f"{' – '.join(shown)} {name}"


def rows_of_work(found: dict[str, list[Work]]) -> Iterator[list[str]]:
    for suite, runs in found.items():
        for work in dict.fromkeys(runs):
            labels.show(work.job.shown)
            names = f"`{suite}`", dataset_label(work.job.dataset), label(work.job.method)
            numbers = f"{runs.count(work)}", f"{work.steps:,}", f"{work.training / 1e15:.3g}", f"{work.features:,}"
            yield [*names, *numbers]


def page(found: dict[str, list[Work]], machines: list[Machine], gpu: Machine) -> str:
    """The whole page."""
    times, shares = [], []
    for suite, runs in found.items():
        threads = runs[0].job.training.threads
        longest = [max(sum(machine.parts(work)) for work in runs) for machine in machines]
        on_cores = [span([until_done(runs, machine, cores // threads) for machine in machines]) for cores in CORES]
        on_gpus = [span([until_done(runs, gpu, count)]) for count in GPUS]
        times.append([f"`{suite}`", str(len(runs)), span(longest), *on_cores, *on_gpus])
        for machine in (*machines, gpu):
            parts = [sum(each) for each in zip(*map(machine.parts, runs), strict=True)]
            parts.insert(2, sum({work.job.dataset: work.reference for work in runs}.values()) / machine.images)
            shares.append([f"`{suite}`", machine.name, *(f"{part / sum(parts):.1%}" for part in parts)])
    rates = [
        [machine.name, f"{machine.rate / 1e9:,.0f} GFLOP/s", f"{machine.images:.3g}", f"{machine.scores:.0f} s"]
        for machine in (*machines, gpu)
    ]
    cores, gpus = (
        [f"{count:,} {unit}{'s' * (count > 1)}" for count in counts]
        for counts, unit in ((CORES, "core"), (GPUS, "GPU"))
    )
    return "\n".join(
        [
            "# What the papers' suites cost",
            "",
            "Written by `python -m benchmarks.scale`: the operations of all networks are counted, and divided by the "
            "rates of two cores in RESULTS-*.md. A range is that of the processors there. No GPU was measured: it is "
            f"assumed to reach {GPU_RATE / 1e12:.0f} TFLOP/s (half of the 19.5 that an A100 promises in float32), to "
            f"need at least {1e3 * GPU_STEP:.0f} ms a step, and to score as long as two cores do beside features.",
            "",
            "## Until all is done",
            "",
            *table(["suite", "runs", "longest run", *cores, *(f"{name}, assumed" for name in gpus)], times),
            "",
            "## Where the time goes",
            "",
            *table(["suite", "on", "training", "features of samples", "features of references", "scores"], shares),
            "",
            "## Rates of a worker",
            "",
            *table(["worker", "training", "images a second through Inception", "other scores of a run"], rates),
            "",
            "## Work of a run",
            "",
            *table(["suite", "data set", "method", "runs", "updates", "training, 10^15 operations", "images"], [
                *rows_of_work(found)
            ]),
            "",
        ]
    )  # fmt: skip


def main() -> None:
    """Write the page."""
    machines = [
        Machine(f"2 cores, {each.name}", each.rate, each.step, each.images, each.scores) for each in processors()
    ]
    slowest = max(machine.scores for machine in machines)
    gpu = Machine("GPU, assumed", GPU_RATE, GPU_STEP, GPU_RATE / of_inception(), slowest)
    with labels.using(labels.current()):
        text = page(works(), machines, gpu)
    (HERE / "SCALE.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
