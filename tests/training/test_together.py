"""Seeds that are trained together have the numbers of their trainings alone, whatever happens to the others.

In float64 they agree to 1e-8. In float32 the convolution of all seeds sums in another order, so that losses differ in
their last digits. Biases before a batch norm have gradients of pure rounding and drift apart, as they do with another
number of threads; the running means follow them, and so does the validation.
"""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from made import training_settings
from torch import Tensor, nn
from torch.nn.functional import softplus

from lvm_bench import disk, registry
from lvm_bench.errors import RunError, Stopped
from lvm_bench.execution.stopping import Stop
from lvm_bench.execution.worker import groups
from lvm_bench.modelling.contract import Epoch, Method, Spec, to_float
from lvm_bench.seeding import derive, generator
from lvm_bench.suites import bench_toml
from lvm_bench.suites.discover import extensions
from lvm_bench.suites.job import Job
from lvm_bench.suites.resolve import resolve
from lvm_bench.training.build import build
from lvm_bench.training.checkpoint import Checkpoints
from lvm_bench.training.loop import step, train
from lvm_bench.training.numerics import fixed_numerics
from lvm_bench.training.state import Trained, Training
from lvm_bench.training.together import Apart, Joint, train_together

Call = Callable[..., Result]
FILE = bench_toml.defaults_folder() / "bench.toml"
SMALL = (
    "epochs=1", "batch_size=10", "width=0.2", "methods.avae.m=30", "methods.aae.hidden=[20]",
    "methods.factor-vae.hidden=[20]", "methods.gamix-vae.hidden=[4, 4, 4, 4, 4]",
)  # fmt: skip
METHODS = sorted(extensions(FILE)["method"])
PIXELS = torch.randint(256, (130, 1, 8, 8), dtype=torch.uint8, generator=generator(0, "pixels"))
IMAGES, VALIDATION = PIXELS[:100], PIXELS[100:]


def jobs_of(name: str, *settings: str) -> list[Job]:
    return resolve(FILE, "quick", methods=(name,), settings=(*SMALL, *settings)).jobs


def training_of(job: Job, dtype: torch.dtype) -> Training:
    settings = job.training
    spec = Spec((1, 8, 8), (0, 1), settings.latent, len(IMAGES), settings.batch_size, settings.likelihood)
    cls = registry.METHODS[job.method_base]
    method = build(cls, job.arguments, spec, settings.network, settings.width, job.seed).to(dtype)
    single = method.noise
    method.noise = lambda *shape: single(*shape).to(dtype)
    return Training(method, settings, IMAGES, job.seed)


def alone(training: Training) -> Trained:
    return train(training.method, training.images, VALIDATION, training.settings, training.seed)


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images in float64, because the methods here are float64."""
    for module in ("modelling.contract", "training.batches", "training.loop", "training.together"):
        monkeypatch.setattr(
            f"lvm_bench.{module}.to_float", lambda pixels, value_range: to_float(pixels, value_range).double()
        )


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("name", METHODS)
def test_a_seed_has_the_numbers_of_its_training_alone(name: str) -> None:
    with fixed_numerics(1):
        jobs = jobs_of(name)
        found = train_together([training_of(job, torch.float64) for job in jobs], VALIDATION, lambda: False)
        for job, one in zip(jobs, found, strict=True):
            expected = alone(training_of(job, torch.float64))
            assert isinstance(one, Trained), one
            assert one.history == [pytest.approx(row, rel=1e-8, abs=1e-8) for row in expected.history]
            assert (one.updates, one.encoded) == (expected.updates, expected.encoded)
            assert torch.equal(one.method.generator.get_state(), expected.method.generator.get_state())
            torch.testing.assert_close(one.method.state_dict(), expected.method.state_dict(), rtol=1e-6, atol=1e-6)
            torch.testing.assert_close(one.best, expected.best, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("exact")
def test_dropout_of_an_adversary_draws_from_each_seeds_own_stream() -> None:
    with fixed_numerics(1):
        jobs = jobs_of("gamix-vae", 'methods.gamix-vae.norm="batch"')[:2]
        found = train_together([training_of(job, torch.float64) for job in jobs], VALIDATION, lambda: False)
        for job, one in zip(jobs, found, strict=True):
            expected = alone(training_of(job, torch.float64))
            assert isinstance(one, Trained), one
            assert one.history == [pytest.approx(row, rel=1e-8, abs=1e-8) for row in expected.history]
            assert torch.equal(one.method.generator.get_state(), expected.method.generator.get_state())


@pytest.mark.parametrize("name", METHODS)
def test_in_float32_the_first_steps_have_the_same_losses_to_rounding(name: str) -> None:
    """They agree to 1e-5 of the largest: five steps of Adam enlarge the 1e-7 of the first step a little."""
    with fixed_numerics(1):
        jobs = jobs_of(name)
        ours, theirs = ([training_of(job, torch.float32) for job in jobs] for _ in range(2))
        for training in (*ours, *theirs):
            training.start_epoch()
        joint = Joint(ours)
        for k in range(5):
            found = joint.step([training.batches()[k] for training in ours])
            for one, other in zip(ours, theirs, strict=True):
                expected = {name: value.item() for name, value in step(other, other.batches()[k]).items()}
                losses = {name: value.item() for name, value in found[one].items()}
                assert losses == pytest.approx(expected, rel=0, abs=1e-5 * max(map(abs, expected.values())))


@pytest.mark.parametrize("name", METHODS)
def test_two_seeds_in_bfloat16_take_the_steps_that_each_takes_alone(name: str) -> None:
    with fixed_numerics(1):
        jobs = jobs_of(name, "precision=bf16")[:2]
        found = train_together([training_of(job, torch.float32) for job in jobs], VALIDATION, lambda: False)
        for one in found:
            assert isinstance(one, Trained), one
            assert all(math.isfinite(value) for row in one.history for value in row.values())
            assert {value.dtype for value in one.method.parameters()} == {torch.float32}


class Spatial(Method):
    """Codes [2 2 2] of a convolution, flat for whoever measures them."""

    heads = 2

    def __init__(self) -> None:
        encoder = nn.Sequential(nn.Conv2d(1, 2 * 2, 4, 4), nn.Flatten())
        decoder = nn.Sequential(nn.Unflatten(1, (2, 2, 2)), nn.ConvTranspose2d(2, 1, 4, 4))
        super().__init__(encoder, decoder, Spec((1, 8, 8), (0, 1), 8, 100, 20, "sse"))

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        mu, log_var = self.posterior(x)
        recon = (x - self.decode(self.sampled(mu, log_var))).square().sum()
        return {"loss": recon}


def test_a_spatial_code_is_flat_outside_its_networks() -> None:
    method, x = Spatial(), torch.rand(3, 1, 8, 8, generator=generator(0, "x"))
    maps = method.encoder[0](x)
    posterior = method.posterior(x)
    assert torch.equal(method.encode(x).unflatten(1, (2, 2, 2)), maps[:, :2])
    assert torch.equal(posterior.log_var.unflatten(1, (2, 2, 2)), maps[:, 2:].clamp(-20, 20))
    assert method.decode(method.prior(5)).shape == (5, 1, 8, 8)


SPEC = Spec((1, 8, 8), (0, 1), 2, 100, 20, "sse")


class Tiny(Method):
    """A dense auto-encoder in float64 with batch norm, noise, and a buffer that changes its shape."""

    kept: Tensor

    def __init__(self) -> None:
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 2), nn.BatchNorm1d(2))
        super().__init__(encoder, nn.Sequential(nn.Linear(2, 64), nn.Unflatten(1, (1, 8, 8))), SPEC)
        self.register_buffer("kept", torch.zeros(0), persistent=False)
        for p in self.double().parameters():
            nn.init.normal_(p, std=0.3, generator=generator(0, "weights"))

    def start_step(self, step: int) -> None:
        self.kept = torch.cat([self.kept[-7:], self.noise(1).double()])

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        z = self.encode(x)
        recon = (x - self.decode(z + 0.1 * self.noise(*z.shape))).square().sum((1, 2, 3)).mean()
        return {"loss": recon * (1 + 0.1 * self.kept.abs().sum()), "recon": recon}


def of(make: Callable[[], Method] = Tiny, folder: Path | None = None, seconds: float = 1e9, **changes: Any) -> Any:
    """Three trainings of a method, with checkpoints in folders of their own."""
    settings = training_settings(**{"batch_size": 20, "patience": 1} | changes)
    made = []
    for seed in range(3):
        method = make()
        method.generator = generator(seed, "noise")
        kept = Checkpoints(folder / str(seed), "it", seconds, print) if folder else None
        made.append(Training(method, settings, IMAGES, seed, checkpoints=kept))
    return made


def trained(trainings: list[Training], stop: Callable[[], bool] = lambda: False) -> list[Any]:
    with fixed_numerics(1):
        return train_together(trainings, VALIDATION, stop)


def check_equal(one: Trained, other: Trained, tolerance: float = 0.0) -> None:
    """The same history, weights, best weights, buffers and costs."""
    assert one.history == [pytest.approx(row, rel=tolerance, abs=tolerance) for row in other.history]
    for ours, theirs in ((one.method.state_dict(), other.method.state_dict()), (one.best, other.best)):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    assert torch.equal(one.method.kept, other.method.kept)
    assert (one.updates, one.encoded) == (other.updates, other.encoded)


class Scripted(Tiny):
    """Its validation losses are given by the seed that its generator has before training."""

    scripts = ([9, 5, 4, 4, 3], [9, 5, 5, 5, 5], [9, 5, 4, 3, 3])

    def start_epoch(self, epoch: Epoch) -> None:
        seeds = [derive(seed, "noise", epoch.index) for seed in range(3)]
        self.script = self.scripts[seeds.index(self.generator.initial_seed())]
        self.told = 0 if epoch.index == 0 else epoch.index + 1

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        losses = super().losses(x)
        told = 0 if self.training else self.script[self.told]
        return {name: value if self.training else 0 * value + told for name, value in losses.items()}

    def validated(self, means: dict[str, float]) -> None:
        self.told += 1


@pytest.mark.usefixtures("exact")
def test_each_seed_has_a_learning_rate_of_its_own_after_a_plateau() -> None:
    found = trained(of(Scripted, epochs=4))
    rates = [[row["learning_rate"] / 1e-2 for row in one.history] for one in found]
    assert rates == [[1, 1, 1, 0.5], [1, 1, 0.5, 0.25], [1, 1, 1, 1]]
    for one, training in zip(found, of(Scripted, epochs=4), strict=True):
        check_equal(one, alone(training), 1e-8)


class Breaking(Tiny):
    """Its second seed breaks in its second epoch."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()))

    def start_epoch(self, epoch: Epoch) -> None:
        if self.generator.initial_seed() == derive(1, "noise", 1):
            self.scale.fill_(float("inf"))

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        losses = super().losses(x)
        return {"loss": self.scale * losses["loss"], "scaled": self.scale * losses["recon"]}


@pytest.mark.usefixtures("exact")
def test_a_seed_that_breaks_fails_alone_and_the_others_go_on() -> None:
    first, broken, last = trained(of(Breaking))
    assert isinstance(broken, RunError)
    assert "The term 'scaled' became NaN or infinite in epoch 2 (training)." in str(broken)
    for one, training in zip((first, last), of(Breaking)[::2], strict=True):
        check_equal(one, alone(training), 1e-8)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("stops", [[3], [5], [7], [2, 2, 3]], ids=str)
def test_an_interrupted_group_goes_on_to_the_same_bits(stops: list[int], tmp_path: Path) -> None:
    """It stops after so many steps. Five steps make an epoch."""
    whole = trained(of())
    for steps in stops:
        counted = iter([False] * (steps - 1) + [True])
        with pytest.raises(Stopped):
            trained(of(folder=tmp_path), lambda counted=counted: next(counted))
    for one, other in zip(trained(of(folder=tmp_path)), whole, strict=True):
        check_equal(one, other)


@pytest.mark.usefixtures("exact")
def test_seeds_go_on_alone_and_from_where_each_of_them_stands(tmp_path: Path) -> None:
    whole = trained(of())
    counted = iter([False] * 6 + [True])
    with pytest.raises(Stopped):
        trained(of(folder=tmp_path), lambda: next(counted))
    shutil.copytree(tmp_path / "1", tmp_path / "copy")
    training = of(folder=tmp_path)[1]
    found = train(training.method, IMAGES, VALIDATION, training.settings, 1, checkpoints=training.checkpoints)
    check_equal(found, whole[1], 1e-8)
    shutil.rmtree(tmp_path / "0")
    for one, other in zip(trained(of(folder=tmp_path)), whole, strict=True):
        check_equal(one, other, 1e-8)


@pytest.mark.usefixtures("exact")
def test_checkpoints_of_a_group_are_always_of_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: dict[str, list[tuple[int, int]]] = {}
    save = Checkpoints.save

    def note(self: Checkpoints, state: Any) -> None:
        taken.setdefault(self.files[0].parent.name, []).append((len(state[1]["history"]), state[1]["step"]))
        save(self, state)

    monkeypatch.setattr(Checkpoints, "save", note)
    trained(of(folder=tmp_path, seconds=1e-3))
    assert taken["0"]
    assert taken["0"] == taken["1"] == taken["2"]


class Judged(Tiny):
    """Its adversary judges reconstructions that `losses` hands over, and draws too."""

    def __init__(self) -> None:
        super().__init__()
        self.adversary = nn.Linear(64, 1).double()
        for p in self.adversary.parameters():
            nn.init.normal_(p, std=0.3, generator=generator(1, "weights"))

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        recon = self.decode(self.encode(x) + 0.1 * self.noise(len(x), 2))
        self.hand_over(recon=recon)
        fooled = softplus(-self.adversary(recon.flatten(1))).mean()
        return {"loss": (x - recon).square().sum((1, 2, 3)).mean() + fooled, "fooled": fooled}

    def adversary_losses(self, x: Tensor, made: dict[str, Tensor]) -> dict[str, Tensor]:
        noisy = made["recon"].flatten(1) + 0.1 * self.noise(len(x), 64)
        return {"adversary_loss": (softplus(-self.adversary(x.flatten(1))) + softplus(self.adversary(noisy))).mean()}


@pytest.mark.usefixtures("exact")
def test_what_is_handed_over_and_flips_are_those_of_each_seed(tmp_path: Path) -> None:
    """The last of the batches is smaller; the group stops within an epoch and after one."""
    settings = {"flips": True, "batch_size": 30}
    whole = trained(of(Judged, **settings))
    for one, training in zip(whole, of(Judged, **settings), strict=True):
        check_equal(one, alone(training), 1e-8)
    for steps in (2, 3):
        counted = iter([False] * (steps - 1) + [True])
        with pytest.raises(Stopped):
            trained(of(Judged, tmp_path, **settings), lambda counted=counted: next(counted))
    for one, other in zip(trained(of(Judged, tmp_path, **settings)), whole, strict=True):
        check_equal(one, other)


class Global(Tiny):
    """Draws from the global generator."""

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        return super().losses(x + torch.randn(1))


class Looking(Tiny):
    """Its code depends on a number."""

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        losses = super().losses(x)
        return {name: 2 * value if losses["recon"] > 0 else value for name, value in losses.items()}


class Remembering(Tiny):
    """Keeps a number from its validation as an attribute."""

    def validated(self, means: dict[str, float]) -> None:
        self.last = means["loss"]

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        losses = super().losses(x)
        return {name: value * (1 + getattr(self, "last", 0)) for name, value in losses.items()}


class Uneven(Tiny):
    """Holds out a number of images that its seed draws."""

    def start_epoch(self, epoch: Epoch) -> None:
        epoch.hold_out(epoch.draw(1 + int(epoch.draw(1))))


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize(
    ("method", "reason"),
    [
        (Global, "random operation"),
        (Looking, "control flow"),
        (Remembering, "of seed 1 is .* together and .* alone: numbers that differ between seeds must be"),
        (Uneven, "equal size"),
    ],
)
def test_what_cannot_be_trained_together_is_not_and_says_why(method: type[Method], reason: str) -> None:
    with pytest.raises(Apart, match=reason):
        trained(of(method))


def test_jobs_are_grouped_that_differ_in_the_seed_alone() -> None:
    jobs = resolve(
        FILE, "quick", methods=("vae", "ae"), seeds=(0, 1, 2, 3, 4), settings=("methods.vae.seeds_per_batch=2",)
    ).jobs
    made = [[f"{job.method} {job.seed}" for job in group] for group in groups(jobs)]
    assert made == [["vae 0", "vae 1"], ["ae 0"], ["ae 1"], ["vae 2", "vae 3"], ["ae 2"], ["ae 3"], ["vae 4"], ["ae 4"]]


PLUGIN = """
import torch
from lvm_bench import Method, method
from lvm_bench.losses import sse


@method("breaking")
class Breaking(Method):
    \"\"\"Breaking: one of its seeds does.\"\"\"

    def __init__(self, *nets):
        super().__init__(*nets)
        self.register_buffer("scale", torch.ones(()))

    def start_epoch(self, epoch):
        if self.generator.initial_seed() == BAD:
            self.scale.fill_(float("nan"))

    def losses(self, x):
        return {"loss": self.scale * sse(x, self.decode(self.encode(x))).mean()}


@method("looking")
class Looking(Breaking):
    \"\"\"Looking: what it does depends on a number.\"\"\"

    def losses(self, x):
        losses = super().losses(x)
        return losses if losses["loss"] > 0 else {}
"""


RUN = (
    "run", "--suite", "quick", "--set=epochs=2", "--set=train_images=200", "--set=test_images=60",
    "--set=seeds_per_batch=3", '--set=metrics=["mse", "gaussian_kl"]',
)  # fmt: skip


def run_of(place: str, method: str, seed: int) -> tuple[dict[str, Any], Path]:
    folder = Path(place) / "quick" / "runs" / "digits" / method / f"seed-{seed}"
    return disk.read_record(folder / "job.json"), folder


def test_the_command_trains_seeds_together_through_a_stop(lvm_bench: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    run = (*RUN, "--methods", "aae", "--results")
    sizes: list[int] = []
    step = Joint.step

    def note(self: Joint, chosen: list[Tensor]) -> Any:
        sizes.append(len(chosen))
        return step(self, chosen)

    monkeypatch.setattr(Joint, "step", note)
    assert lvm_bench(*run, "alone", "--set=seeds_per_batch=1").exit_code == 0
    assert not sizes
    assert lvm_bench(*run, "whole").exit_code == 0
    assert sizes == [3] * 4, "two epochs of two steps"
    with monkeypatch.context() as there:
        there.setattr(Stop, "__call__", lambda stop: len(sizes) == 7)
        assert lvm_bench(*run, "parts").exit_code == 75
    assert [run_of("parts", "aae", seed)[0]["status"] for seed in range(3)] == ["running"] * 3
    assert lvm_bench(*run, "parts").exit_code == 0
    for seed in range(3):
        (alone, first), (whole, folder), (parts, other) = (
            run_of(at, "aae", seed) for at in ("alone", "whole", "parts")
        )
        assert whole["settings"] == alone["settings"] | {"seeds_per_batch": 3}
        assert whole["status"] == parts["status"] == "done"
        assert parts["files"] == whole["files"], "the same bits"
        assert whole.keys() == alone.keys()
        for name in ("updates", "images_encoded", "parameters"):
            assert whole[name] == parts[name] == alone[name]
        for place in (folder, other):
            assert {file.name for file in place.iterdir()} == {*whole["files"], "job.json"}
        ours, theirs = (json.loads((at / "scores.json").read_text()) for at in (folder, first))
        assert ours["mse.heldout"] == pytest.approx(theirs["mse.heldout"], rel=0.01)
    assert "Nothing to do." in lvm_bench(*run, "whole").stderr


def test_the_command_names_the_seed_that_broke_and_the_method_that_it_trains_alone(lvm_bench: Call) -> None:
    Path("mine.py").write_text(PLUGIN.replace("BAD", str(derive(1, "noise", 1))))
    told = lvm_bench(*RUN, "--plugin", "mine.py", "--methods", "breaking", "--methods", "looking", "--results", "r")
    assert told.exit_code == 1
    reason = "The term 'loss' became NaN or infinite in epoch 2 (training)."
    assert told.stderr.count(f"digits/breaking/seed-1  FAILED: {reason}") == 1
    assert "digits/looking/seed-0  Seeds 0, 1, 2 are trained one after another: " in told.stderr
    assert told.stderr.count("one after another") == 1
    status = {
        method: [run_of("r", method, seed)[0]["status"] for seed in range(3)] for method in ("breaking", "looking")
    }
    assert status == {"breaking": ["done", "failed", "done"], "looking": ["done", "failed", "done"]}
    record = run_of("r", "breaking", 1)[0]
    assert record["reason"].startswith(reason)
    assert "RunError" in record["traceback"]
    again = lvm_bench(*RUN, "--plugin", "mine.py", "--methods", "breaking", "--results", "r", "--retry-failed")
    assert again.exit_code == 1
    assert reason in again.stderr
