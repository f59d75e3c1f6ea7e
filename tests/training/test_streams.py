"""`streams = "paired"`: all methods of a seed start from the same weights and draw the same order and noise."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from click.testing import Result
from made import training_settings
from torch import Tensor, nn

from lvm_bench import disk, registry
from lvm_bench.modelling import networks
from lvm_bench.modelling.contract import Spec
from lvm_bench.seeding import generator
from lvm_bench.suites import bench_toml
from lvm_bench.suites.discover import extensions
from lvm_bench.suites.job import Job, Streams
from lvm_bench.suites.resolve import resolve
from lvm_bench.training.batches import minibatches
from lvm_bench.training.build import build, paired
from lvm_bench.training.loop import step, steps
from lvm_bench.training.numerics import fixed_numerics
from lvm_bench.training.state import Trained, Training

FILE = bench_toml.defaults_folder() / "bench.toml"
METHODS, NETWORKS = (sorted(extensions(FILE)[kind]) for kind in ("method", "network"))
SHAPES = {"celeba": (1, 64, 64), "evae-64": (1, 64, 64), "digits": (1, 8, 8), "conv": (2, 11, 6)}
PIXELS = torch.randint(256, (130, 1, 8, 8), dtype=torch.uint8, generator=generator(0, "pixels"))
IMAGES, VALIDATION = PIXELS[:100], PIXELS[100:]
SMALL = (
    "epochs=2", "batch_size=30", "width=0.2", "methods.avae.m=30", "methods.aae.hidden=[20]",
    "methods.factor-vae.hidden=[20]", "methods.gamix-vae.hidden=[4, 4, 4, 4, 4]",
)  # fmt: skip


@cache
def jobs(streams: Streams) -> dict[str, Job]:
    found = resolve(FILE, "quick", methods=(*METHODS,), seeds=(0,), settings=(*SMALL, f"streams={streams}")).jobs
    return {job.method: job for job in found}


def training_of(name: str, streams: Streams) -> Training:
    job = jobs(streams)[name]
    settings = job.training
    spec = Spec((1, 8, 8), (0, 1), settings.latent, len(IMAGES), settings.batch_size, settings.likelihood)
    cls = registry.METHODS[job.method_base]
    method = build(cls, job.arguments, spec, settings.network, settings.width, job.seed, streams=streams)
    return Training(method, settings, IMAGES, job.seed)


def trained(training: Training) -> Trained:
    with fixed_numerics(1):
        loop, losses = steps(training, VALIDATION, lambda: False, lambda *_: False), None
        while True:
            try:
                losses = step(training, loop.send(losses))
            except StopIteration as end:
                return end.value


def same(ours: nn.Module, theirs: nn.Module) -> bool:
    """Whether the tensors of equal shape are equal, bit for bit."""
    other = theirs.state_dict()
    both = [(value, other[key]) for key, value in ours.state_dict().items() if key in other]
    assert both
    return all(torch.equal(a, b) for a, b in both if a.shape == b.shape)


class Apart(nn.Module):
    """An encoder of a plug-in: a dense layer for each head, and after them a weight that torch alone draws."""

    def __init__(self, latent: int, heads: int):
        super().__init__()
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(1024, 5), nn.PReLU())
        self.heads = nn.ModuleList(nn.Linear(5, latent) for _ in range(heads))
        self.scale = nn.Parameter(torch.randn(5))

    def forward(self, x: Tensor) -> Tensor:
        common = self.trunk(x) * self.scale
        return torch.cat([head(common) for head in self.heads], dim=1)


def apart(shape: networks.Shape, latent: int, heads: int, width: float) -> networks.Pair:
    return Apart(latent, heads), nn.Sequential(nn.Linear(latent, 1024), nn.Unflatten(1, (1, 32, 32)))


# First weights


@pytest.mark.parametrize("name", [*NETWORKS, "apart"])
def test_networks_start_alike_whatever_their_heads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.NETWORKS._entries, "apart", apart)
    spec = Spec(SHAPES.get(name, (1, 32, 32)), (0.0, 1.0), 3, 1000, 100, "sse")
    (one, decoder), (two, again) = (paired(name, spec, heads, 0.05, 7) for heads in (1, 2))
    assert same(two, one)
    assert same(decoder, again)
    x = torch.rand(4, *spec.shape, generator=generator(0, "x"))
    mu, log_var = two.eval()(x).chunk(2, dim=1)
    torch.testing.assert_close(one.eval()(x), mu)
    assert (log_var - mu).abs().max() > 1e-3


def test_each_further_head_and_each_seed_has_a_stream_of_its_own() -> None:
    spec = Spec((1, 8, 8), (0.0, 1.0), 3, 1000, 100, "sse")
    (two, _), (three, _), (other, _) = (paired("digits", spec, *of) for of in ((2, 1.0, 0), (3, 1.0, 0), (3, 1.0, 1)))
    rows = three[-1].weight.split(3)
    assert torch.equal(two[-1].weight, torch.cat(rows[:2]))
    assert not torch.equal(rows[1], rows[2])
    assert not same(three, other)


def test_the_trunk_does_not_know_the_latent_size() -> None:
    small, large = (Spec((1, 8, 8), (0.0, 1.0), latent, 1000, 100, "sse") for latent in (2, 5))
    (one, _), (two, _) = (paired("digits", spec, heads, 1.0, 0) for spec, heads in ((small, 1), (large, 2)))
    assert same(one, two)


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_a_seed_start_alike_and_a_discriminator_keeps_its_stream(name: str) -> None:
    method, vae, single = (
        training_of(*which).method for which in ((name, "paired"), ("vae", "paired"), (name, "single"))
    )
    assert same(method.encoder, vae.encoder)
    assert same(method.decoder, vae.decoder)
    l = method.spec.latent
    assert torch.equal(method.encoder[-1].weight[:l], vae.encoder[-1].weight[:l])
    assert not same(method.decoder, single.decoder)
    if method.adversary is not None:
        assert same(method.adversary, single.adversary)


# Batches


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_a_seed_see_the_images_in_one_order_without_those_held_out(name: str) -> None:
    ours, vae = (training_of(which, "paired") for which in (name, "vae"))
    for training in (ours, vae):
        training.start_epoch()
    order = torch.cat(vae.batches())
    held_out = ours.epoch.held_out.tolist()
    assert len(held_out) == (30 if name == "avae" else 0)
    assert torch.cat(ours.batches()).tolist() == [i for i in order.tolist() if i not in held_out]


# Noise


def first_draws(training: Training) -> dict[tuple[int, str], Tensor]:
    """The first draw of each step and validation, by epoch and part."""
    found: dict[tuple[int, str], Tensor] = {}
    method = training.method

    def draw(make: Callable[[torch.Generator], Tensor]) -> Tensor:
        drawn = make(method.generator)
        found.setdefault((training.index, str(training.step) if method.training else "validation"), drawn)
        return drawn

    method.draw = draw  # type: ignore[method-assign]
    trained(training)
    return found


WITHOUT_NOISE = ("ae", "avae", "rae-l2")


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_a_seed_draw_the_same_first_noise_in_each_step(name: str) -> None:
    training = training_of(name, "paired")
    found = first_draws(training)
    steps = [(index, str(step)) for index in range(2) for step in range(4)]
    assert {where for where in found if where[1] != "validation"} == {*([] if name in WITHOUT_NOISE else steps)}
    for (index, part), drawn in found.items():
        make = torch.rand if name == "evae" else torch.randn  # its kernel begins with uniform draws
        expected = make(drawn.shape, generator=generator(0, "noise", index, part))
        assert torch.equal(drawn, expected), (index, part)


def test_one_stream_of_noise_an_epoch_is_shifted_by_whatever_else_a_method_draws() -> None:
    vae, factor_vae = (first_draws(training_of(name, "single")) for name in ("vae", "factor-vae"))
    assert torch.equal(vae[0, "0"], factor_vae[0, "0"])
    assert not torch.equal(vae[0, "1"], factor_vae[0, "1"])


# `single` is as it was


def test_single_gives_the_numbers_of_before() -> None:
    """They come from the version that had no other streams."""
    found = {name: trained(training_of(name, "single")).history[-1]["train/loss"] for name in ("vae", "avae")}
    assert found == pytest.approx({"vae": 48.3397, "avae": 49.5226}, rel=1e-4)


def test_single_stays_out_of_the_digest() -> None:
    weights = training_settings(streams="single").model_dump(exclude_defaults=True)
    assert disk.digest(weights) == "1bbd13497cb55b8854b188e4aa59ca2cb0dad765b912bad88fbd5ce6a45f046f"
    assert disk.digest(weights | {"streams": "paired"}) != disk.digest(weights)


def test_single_draws_an_order_of_the_images_that_are_left() -> None:
    held_out = torch.tensor([1, 4])
    left, order = torch.tensor([0, 2, 3, 5, 6]), generator(0)
    expected = left[torch.randperm(5, generator=order)]
    assert torch.equal(torch.cat(minibatches(7, held_out, 3, generator(0))), expected)


# The command line


@pytest.mark.usefixtures("undrawn")
def test_runs_of_before_are_refused_by_name_and_never_averaged(lvm_bench: Callable[..., Result]) -> None:
    run = (
        "run", "--suite", "quick", "--methods", "ae", "--set=epochs=1", "--set=train_images=100",
        "--set=test_images=20", '--set=metrics=["mse"]',
    )  # fmt: skip
    assert lvm_bench(*run, "--seeds", "0", "--set=streams=single").exit_code == 0
    refused = lvm_bench(*run, "--seeds", "0")
    assert refused.exit_code == 2
    assert 'was run with other settings (streams = "single" then, "paired" now)' in refused.stderr
    assert lvm_bench(*run, "--seeds", "1").exit_code == 0
    report = lvm_bench("report", "--suite", "quick")
    assert report.exit_code == 1
    assert "its seeds were not run with the same settings, and are not averaged (streams = " in report.stderr
