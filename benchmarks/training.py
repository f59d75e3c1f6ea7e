"""Training steps beside pythae and a plain loop, bfloat16 beside float32, and the AVAE beside the auto-encoder."""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.limits import at_product_rate, convolution_flops
from benchmarks.measure import relative, taking_turns
from benchmarks.rows import Equality, Goal, Measured, NotMeasured, Row, add, row
from lvm_bench.modelling.contract import Method, Spec, to_float
from lvm_bench.modelling.kde import log_density
from lvm_bench.modelling.networks import Doubling, Halving
from lvm_bench.registry import METHODS
from lvm_bench.suites import bench_toml
from lvm_bench.suites.job import Job
from lvm_bench.suites.resolve import resolve
from lvm_bench.training.batches import encode
from lvm_bench.training.build import build
from lvm_bench.training.loop import train

SHAPE, RANGE, BATCH = (1, 32, 32), (0.0, 1.0), 100
STEPS, REPEATS = 13, 7  # the first step of each repeat is not counted, because it creates the moments of Adam


def task(method: str, small: bool, *settings: str, suite: str = "paper", dataset: str = "mnist") -> Job:
    """The job of a method in a suite, with one epoch. `small` takes a quarter of the channels."""
    changed = ("epochs=1", *(["width=0.25"] if small else []), *settings)
    file = bench_toml.defaults_folder() / "bench.toml"
    return resolve(file, suite, methods=(method,), datasets=(dataset,), seeds=(0,), settings=changed).jobs[0]


def pixels(n: int, channels: int = 1) -> Tensor:
    """Random images. Their content does not change the cost of a step."""
    return torch.randint(256, (n, channels, *SHAPE[1:]), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def made(job: Job, n: int, likelihood: Any = "sse", channels: int = 1, **arguments: Any) -> Method:
    """A method with its first weights."""
    spec = Spec((channels, *SHAPE[1:]), RANGE, job.training.latent, n, job.training.batch_size, likelihood)
    cls = METHODS[job.method_base]
    settings, arguments = job.training, job.arguments | arguments
    return build(cls, arguments, spec, settings.network, settings.width, job.seed, precision=settings.precision)


def plain(method: Method) -> Method:
    """The method as one would write it: with torch's own layers instead of ours, contiguous in memory."""
    for layer in method.modules():
        for ours, theirs in ((Halving, nn.Conv2d), (Doubling, nn.ConvTranspose2d)):
            if isinstance(layer, ours):
                layer.__class__ = theirs
    return method.to(memory_format=torch.contiguous_format)


@dataclass
class Clock:
    """Records when each step ends."""

    ends: list[float] = field(default_factory=list)

    def __call__(self) -> bool:
        self.ends.append(time.perf_counter())
        return False  # as the answer to `stop`

    def step(self, action: Callable[[], object]) -> float:
        """Median seconds of the steps that an action makes, from the end of one to the end of the next."""
        self.ends.clear()
        action()
        return statistics.median(b - a for a, b in zip(self.ends, self.ends[1:], strict=False))


def our_step(job: Job, method: Method, images: Tensor) -> float:
    """Seconds of a step in our loop."""
    clock = Clock()
    return clock.step(lambda: train(method, images, images[:2], job.training, 0, stop=clock))


def first_losses(method: Method, x: Tensor, theirs: Callable[[], Any]) -> tuple[dict[str, Tensor], Any]:
    """Losses of a batch by our method and by theirs, with the same noise from torch's own generator."""
    kept, method.generator = method.generator, torch.default_generator
    torch.manual_seed(0)
    ours = method.losses(x)
    torch.manual_seed(0)
    result = ours, theirs()
    method.generator = kept
    return result


def values_of(pairs: list[tuple[Any, Any]]) -> float:
    """The largest relative difference of pairs of scalars."""
    return max(relative(ours.item(), theirs.item()) for ours, theirs in pairs)


@dataclass(frozen=True)
class Case:
    """A method that pythae has: the settings that make both objectives equal, and the values that are compared."""

    likelihood: str
    arguments: dict[str, Any]
    what: str
    pairs: Callable[[Method, dict[str, Tensor], Any], list[tuple[Any, Any]]]


def whole_loss(_: Method, ours: dict[str, Tensor], theirs: Any) -> list[tuple[Any, Any]]:
    return [(ours["loss"], theirs.loss), (ours["recon"], theirs.recon_loss)]


# In its variational models pythae's mean squared error has the factor 1/2 of a Gaussian of variance 1.
CASES = {
    "vae": Case("gaussian_unit", {}, "loss of a batch", whole_loss),
    "beta-tcvae": Case("gaussian_unit", {"objective": "weighted"}, "loss of a batch", whole_loss),
    "rae-l2": Case(
        "sse",
        {},
        "squared error and code penalty of a batch",
        lambda method, ours, theirs: [
            (ours["recon"], theirs.recon_loss),
            (ours["code_l2"] * method.spec.latent / 2, theirs.embedding_loss),
        ],
    ),
    "aae": Case(
        "gaussian_unit",
        {},
        "auto-encoder's loss of a batch",
        lambda _, ours, theirs: [(ours["loss"], theirs.autoencoder_loss)],
    ),
    "wae-mmd": Case(
        "sse",
        {},
        "loss of a batch",
        lambda method, ours, theirs: [
            (ours["loss"], theirs.loss),
            (ours["recon"] * getattr(method, "recon_scale"), theirs.recon_loss),  # noqa: B009
        ],
    ),
}


def against_pythae(name: str, small: bool) -> Measured:
    """A step of a method by us and by pythae's trainer."""
    if name not in CASES:
        raise NotMeasured(f"not to be had: pythae has no {name.upper()}")
    from benchmarks.pythae_models import epoch_of, model_of

    case, job, images = CASES[name], task(name, small), pixels(STEPS * BATCH)
    method, peers = (made(job, len(images), case.likelihood, **case.arguments) for _ in range(2))
    x, peers = to_float(images[:BATCH], RANGE), plain(peers)
    same = model_of(peers).train()
    ours, theirs = first_losses(method.train(), x, lambda: same({"data": x}, dataset_size=len(images)))
    equality = Equality(case.what, values_of(case.pairs(method, ours, theirs)), 1e-5)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        floats = to_float(images, RANGE)
        epoch = epoch_of(model_of(peers), floats, BATCH, job.training.learning_rate, Path(folder), clock)
        mine, others, limit = steps_in_turn(job, method, images, partial(clock.step, epoch), small)
    return Measured(mine, others, equality, limit=limit)


def steps_in_turn(
    job: Job, method: Method, images: Tensor, theirs: Callable[[], float], small: bool
) -> tuple[list[float], list[float], list[float]]:
    """Seconds of a step by us, by a peer, and of the products that its networks need at the rate of a product."""
    flops = convolution_flops(lambda: train(method, images, images[:2], job.training, 0)) / STEPS
    turns = [(our_step(job, method, images), theirs(), at_product_rate(flops)) for _ in range(2 if small else REPEATS)]
    mine, others, limit = map(list, zip(*turns, strict=True))
    return mine, others, limit


LABELS = {
    "vae": "VAE",
    "beta-tcvae": "beta-TCVAE",
    "rae-l2": "RAE-L2",
    "aae": "AAE",
    "wae-mmd": "WAE-MMD",
    "avae": "AVAE",
}
for _name, _label in LABELS.items():
    add(
        Row(
            f"step-{_name}",
            f"training step, {_label}, MNIST network, batch 100",
            "pythae",
            Goal(faster=1.0, limit=1.25),
            partial(against_pythae, _name),
            smoke=_name == "vae",
        )
    )


@row(
    "step-bf16",
    'training step, VAE, `precision = "bf16"`, batch 100',
    "torch",
    Goal(faster=1.4),
    peer="our own float32",
)
def bf16(small: bool) -> Measured:
    """A step in bfloat16 and one in float32. Raises NotMeasured if the setting or the arithmetic does not exist."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if "avx512_bf16" not in flags and "amx_bf16" not in flags:
        raise NotMeasured("this CPU has no bfloat16 arithmetic (avx512_bf16 or amx_bf16)")
    images = pixels(STEPS * BATCH)
    jobs = [task("vae", small, *setting) for setting in (("precision=bf16",), ())]
    methods = [made(job, len(images)) for job in jobs]
    trained = [train(m, images, images[:BATCH], job.training, 0) for job, m in zip(jobs, methods, strict=True)]
    losses = [each.history[-1]["train/loss"] for each in trained]
    equality = Equality("mean training loss of an epoch", relative(losses[0], losses[1]), 0.02)
    sides = [partial(our_step, job, m, images) for job, m in zip(jobs, methods, strict=True)]
    steps = [(sides[0](), sides[1]()) for _ in range(2 if small else REPEATS)]
    mine, others = map(list, zip(*steps, strict=True))
    shares = [profiled(job, m, images[: 3 * BATCH]) for job, m in zip(jobs, methods, strict=True)]
    note = "of a step convolutions take {} in bfloat16 and {} in float32".format(*shares)
    return Measured(mine, others, equality, note=note)


def profiled(job: Job, method: Method, images: Tensor) -> str:
    """The milliseconds of convolutions in a step, as products or not, and those of everything else."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        train(method, images, images[:2], job.training, 0)
    events, steps = profile.key_averages(), len(images) / BATCH
    kinds = ("convolution", "aten::mm", "aten::addmm", "_ToSmall", "_ToLarge", "_ToKernel")
    inside = sum(e.self_cpu_time_total for e in events if any(kind in e.key for kind in kinds)) / steps / 1e3
    rest = sum(event.self_cpu_time_total for event in events) / steps / 1e3 - inside
    return f"{inside:.0f} ms (all else {rest:.0f})"


def avae_epoch(m: int, small: bool) -> Measured:
    """An epoch of the AVAE and of the auto-encoder on equally many images, and the cost of each part of a step."""
    m, steps = (m // 10, 10) if small else (m, 20)
    jobs = {"avae": task("avae", small, f"m={m}"), "ae": task("ae", small)}
    images = {"avae": pixels(m + steps * BATCH), "ae": pixels(steps * BATCH)}  # m images are in no minibatch
    methods: dict[str, Any] = {name: made(jobs[name], len(images[name])) for name in jobs}

    def epoch(name: str) -> None:
        train(methods[name], images[name], images[name][:2], jobs[name].training, 0)

    x = to_float(images["ae"][:BATCH], RANGE)
    with torch.no_grad():
        theirs = methods["ae"].train().losses(x)
        ours = methods["avae"].train().losses(x)
    equality = Equality("squared error of a batch", relative(ours["recon"].item(), theirs["recon"].item()), 1e-5)
    mine, others, _, _ = taking_turns(partial(epoch, "avae"), partial(epoch, "ae"), 2 if small else 5)
    avae, codes = methods["avae"], images["avae"][:m]
    refresh = statistics.median(_seconds(partial(encode, avae, codes)) for _ in range(3)) / avae.k_b
    term = statistics.median(_seconds(partial(kde_term, avae)) for _ in range(5))
    note = (
        f"of {1e3 * statistics.median(mine) / steps:.0f} ms a step the auto-encoder takes "
        f"{1e3 * statistics.median(others) / steps:.0f}, encoding {m:,} codes every {avae.k_b} steps "
        f"{1e3 * refresh:.0f}, the KDE term {1e3 * term:.1f}"
    )
    return Measured(mine, others, equality, note=note)


def kde_term(avae: Any) -> None:
    """The KDE term of a batch, forward and backward."""
    z = torch.randn(BATCH, avae.kde_codes.shape[1], requires_grad=True)
    log_density(z, avae.kde_codes, avae.h).mean().backward()


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


for _m, _most in ((1_000, 1.6), (10_000, 2.8)):
    add(
        Row(
            f"avae-epoch-{_m}",
            f"AVAE epoch, k_b = 10, m = {_m:,}",
            "torch",
            Goal(longer=_most),
            partial(avae_epoch, _m),
            peer="the same auto-encoder without the KDE term",
        )
    )
