"""Later stages of a training: what they optimise, what their history tells, and that they go on to the same bits."""

import csv
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from made import training_settings
from torch import Tensor, nn

from lvm_bench import disk
from lvm_bench.errors import RunError, Stopped
from lvm_bench.modelling.contract import Method, Spec, to_float
from lvm_bench.registry import METHODS
from lvm_bench.seeding import generator
from lvm_bench.suites.bench_toml import packaged
from lvm_bench.suites.job import Job, Weights
from lvm_bench.suites.resolve import resolve
from lvm_bench.training.checkpoint import Checkpoints, history
from lvm_bench.training.loop import train
from lvm_bench.training.stages import check_declared
from lvm_bench.training.state import Trained, Training
from lvm_bench.training.together import train_together

SPEC = Spec((1, 2, 2), (0, 1), 2, 25, 10, "sse")
IMAGES = torch.randint(256, (33, 1, 2, 2), dtype=torch.uint8, generator=generator(0, "pixels"))


class Plain(Method):
    """An auto-encoder whose encoder has running means, which a later stage must leave alone."""

    def __init__(self, seed: int = 0) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            super().__init__(
                nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.BatchNorm1d(2)),
                nn.Sequential(nn.Linear(2, 4), nn.Unflatten(1, (1, 2, 2))),
                SPEC,
            )
            self.sampler = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
            self.second = nn.Linear(2, 2)
        self.generator = generator(seed, "noise")
        self.epochs_seen = 0

    def start_epoch(self, epoch: Any) -> None:
        self.epochs_seen += 1
        epoch.hold_out(epoch.draw(5))

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        return {"loss": (x - self.decode(self.encode(x) + 0.1 * self.noise(len(x), 2))).square().mean()}


class Staged(Plain):
    stages = ("train", "sampler", "second")

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.stage_epochs = {"sampler": 2, "second": 1}

    def sampler_losses(self, x: Tensor) -> dict[str, Tensor]:
        apart = self.sampler(self.noise(len(x), 2)) - self.encode(x)
        return {"loss": apart.square().mean(), "apart": apart.abs().mean()}

    def second_losses(self, x: Tensor) -> dict[str, Tensor]:
        return {"loss": (self.second(self.noise(len(x), 2)) - self.encode(x)).square().mean()}


class Rising(Staged):
    """Its validation loss rises by 1 an epoch, so that the first epoch of the first stage is its best."""

    at = 0

    def start_epoch(self, epoch: Any) -> None:
        super().start_epoch(epoch)
        self.at = epoch.index

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        return {"loss": super().losses(x)["loss"] + (0 if self.training else self.at)}


def run(
    method: Method,
    folder: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    weights: Weights = "last",
    **given: Any,
) -> Trained:
    kept = Checkpoints(folder, "it", math.inf, pytest.fail) if folder else None
    settings = training_settings(**given)
    return train(method, IMAGES[:25], IMAGES[25:], settings, 0, checkpoints=kept, stop=stop, weights=weights)


def equal(one: dict[str, Tensor], other: dict[str, Tensor], but: str = "none") -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[key], other[key]) for key in one if not key.startswith(but))


def test_the_first_stage_is_a_training_without_the_others_and_they_leave_it_as_it_is() -> None:
    plain, staged = run(Plain()), run(Staged())
    assert [row.pop("stage") for row in staged.history] == [1, 1, 1, 2, 2, 3]
    assert not any("stage" in row for row in plain.history)
    assert staged.history[:3] == plain.history
    assert equal(staged.method.state_dict(), plain.method.state_dict(), ("sampler", "second"))
    assert staged.method.epochs_seen == plain.method.epochs_seen == 3
    sampler = [key for key in staged.best if key.startswith("sampler")]
    assert not any(torch.equal(staged.best[key], plain.best[key]) for key in sampler)
    assert equal(staged.best, staged.method.state_dict()), "the best epoch is that of the last stage, which has one"


def test_where_the_best_weights_are_scored_a_later_stage_follows_those_of_the_stage_before() -> None:
    first, last, best = run(Plain(), epochs=1), run(Rising()), run(Rising(), weights="best")
    kept = {key: value for key, value in first.method.state_dict().items() if not key.startswith(("sampler", "second"))}
    for state in (best.best, best.method.state_dict()):
        assert equal({key: state[key] for key in kept}, kept)
    assert not any(torch.equal(last.best[key], kept[key]) for key in ("encoder.1.weight", "decoder.0.weight"))
    assert best.history[:3] == last.history[:3]
    assert best.history[3:] != last.history[3:], "the later stages see other codes"


def test_a_later_stage_has_its_own_names_rate_and_batches_of_all_images() -> None:
    result = run(Staged(), patience=1, threshold=10.0)
    assert [row["epoch"] for row in result.history] == [1, 2, 3, 4, 5, 6]
    assert [row["learning_rate"] for row in result.history] == [0.01, 0.01, 0.005, 0.01, 0.01, 0.01]
    assert [row["updates"] for row in result.history] == [2, 4, 6, 9, 12, 15]
    names = {key for key in result.history[3] if key.startswith(("train/", "val/"))}
    assert names == {f"{split}/sampler_{name}" for split in ("train", "val") for name in ("loss", "apart")}
    assert not any(key.startswith("aggregate") for key in result.history[3])
    assert result.updates == 15


@pytest.mark.parametrize(("streams", "weights"), [("single", "last"), ("paired", "last"), ("paired", "best")])
@pytest.mark.parametrize("stops", [[6], [7], [9], [8, 2, 1, 3]], ids=str)
def test_a_training_that_was_stopped_in_a_later_stage_goes_on_to_the_same_bits(
    stops: list[int], streams: str, weights: Weights, tmp_path: Path
) -> None:
    """Six steps end the first stage, nine the first epoch of the second."""
    given: dict[str, Any] = {"streams": streams, "weights": weights}
    whole = run(Rising(), **given)
    for steps in stops:
        counted = itertools.count(1)
        with pytest.raises(Stopped):
            run(Rising(), tmp_path, lambda: next(counted) == steps, **given)  # noqa: B023
    assert len(history(tmp_path)) >= 2
    result = run(Rising(), tmp_path, **given)
    assert result.history == whole.history
    assert (result.updates, result.encoded) == (whole.updates, whole.encoded)
    assert equal(result.method.state_dict(), whole.method.state_dict())
    assert equal(result.best, whole.best)


def test_a_later_stage_can_follow_zero_epochs_of_the_first() -> None:
    before = Staged().state_dict()
    result = run(Staged(), epochs=0)
    assert [row["stage"] for row in result.history] == [2, 2, 3]
    assert equal(result.method.state_dict(), before, ("sampler", "second"))


@pytest.mark.parametrize("broken", ["no module", "no parameter", "no losses"])
def test_a_stage_without_parameters_or_losses_is_a_sentence(broken: str) -> None:
    class Broken(Staged):
        sampler_losses = None if broken == "no losses" else Staged.sampler_losses  # type: ignore[assignment]

    method = Broken()
    if broken != "no losses":
        method.sampler = nn.Identity() if broken == "no parameter" else None  # type: ignore[assignment]
    with pytest.raises(RunError, match=r"Broken\.stages names 'sampler': set a module with a trainable parameter as"):
        check_declared(method)


@pytest.mark.parametrize(
    ("attribute", "value", "told"),
    [
        ("samplers", "prior", r"Staged\.samplers is 'prior'\. Name at least one, and each once, as in \('prior',\)\."),
        ("samplers", ("prior", "prior"), r"Staged\.samplers is \('prior', 'prior'\)\."),
        ("stages", "train", r"Staged\.stages is 'train'\. .* as in \('train',\)\."),
        ("stages", (), r"Staged\.stages is \(\)\."),
        ("samplers", (), r"Staged\.samplers is \(\)\."),
        (
            "samplers",
            ("prior", "flow"),
            r"Staged\.samplers names 'flow', which is no function of it\. Define flow\(n\)\.",
        ),
        ("adversary", nn.Identity(), r"Staged\.adversary has no trainable parameter\."),
        ("stage_epochs", {"sampler": -1}, r"Staged\.stage_epochs has 'sampler': -1\. Valid: whole numbers from 0 of"),
        ("stage_epochs", {"sampler": 1.5}, r"Staged\.stage_epochs has 'sampler': 1\.5\."),
        ("stage_epochs", {"smapler": 1}, r"Staged\.stage_epochs has 'smapler': 1\. .* \(sampler, second\)\."),
    ],
)
def test_what_a_method_declares_and_has_not_is_a_sentence(attribute: str, value: object, told: str) -> None:
    method = Staged()
    check_declared(method)
    setattr(method, attribute, value)
    with pytest.raises(RunError, match=told):
        check_declared(method)


def test_seeds_that_are_trained_together_have_the_numbers_of_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("batches", "loop", "together"):  # in float64: biases before a batch norm follow the rounding
        monkeypatch.setattr(f"lvm_bench.training.{module}.to_float", lambda *given: to_float(*given).double())

    def training(seed: int) -> Training:
        method = Rising(seed).double()
        single = method.noise
        method.noise = lambda *shape: single(*shape).double()  # type: ignore[method-assign]
        return Training(method, training_settings(), IMAGES[:25], seed, weights="best")

    def trainings() -> list[Training]:
        return [training(seed) for seed in (1, 2)]

    for one, own in zip(train_together(trainings(), IMAGES[25:], lambda: False), trainings(), strict=True):
        assert isinstance(one, Trained), one
        expected = train(own.method, IMAGES[:25], IMAGES[25:], own.settings, own.seed, weights="best")
        assert one.history == [pytest.approx(row, rel=1e-8, abs=1e-8) for row in expected.history]
        torch.testing.assert_close(one.method.state_dict(), expected.method.state_dict(), rtol=1e-6, atol=1e-6)


PLUGIN = '''"""An auto-encoder with a sampler that is trained after it."""
import torch
from torch import nn

from lvm_bench import Method, method


@method("staged")
class Staged(Method):
    stages = ("train", "sampler")

    def __init__(self, *nets, sampler_epochs: int = 2):
        super().__init__(*nets)
        self.sampler = nn.Linear(self.spec.latent, self.spec.latent)
        self.stage_epochs = {"sampler": sampler_epochs}

    def losses(self, x):
        return {"loss": (x - self.decode(self.encode(x))).square().mean()}

    def sampler_losses(self, x):
        with torch.no_grad():
            z = self.encode(x)
        return {"loss": (self.sampler(self.noise(*z.shape)).sort(0).values - z.sort(0).values).square().mean()}
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "staged.py"
    file.write_text(PLUGIN)
    yield file
    METHODS._entries.pop("staged", None)


def test_which_weights_are_scored_decides_the_weights_of_a_method_with_stages_alone(plugin: Path) -> None:
    def job(method: str, weights: str) -> Job:
        return resolve(
            packaged(), "quick", methods=(method,), seeds=(0,), plugins=(plugin,), settings=(f"weights={weights}",)
        ).jobs[0]

    best, last = job("staged", "best"), job("staged", "last")
    assert best.weights_settings() == last.weights_settings() | {"weights": "best"}
    assert job("vae", "best").weights_settings() == job("vae", "last").weights_settings()
    assert "weights" not in best.control("standard-normal").weights_settings()


@pytest.mark.usefixtures("short_checks", "undrawn")
def test_a_method_of_two_stages_is_checked_run_and_reported(
    lvm_bench: Callable[..., Result], plugin: Path, tmp_path: Path
) -> None:
    checked = lvm_bench("check", plugin)
    assert checked.exit_code == 0, checked.output
    small = ("--set", "epochs=1", "--set", "train_images=300", "--set", 'metrics=["mse"]')
    done = lvm_bench("run", "--suite", "quick", "--plugin", plugin, "--methods", "staged", "--seeds", "0", *small)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "results/quick/runs/digits/staged/seed-0"
    rows = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
    assert [row["stage"] for row in rows] == ["1", "2", "2"]
    assert [row["val/sampler_loss"] != "" for row in rows] == [False, True, True]
    assert disk.read_record(folder / "job.json")["architecture"]["stage sampler"] == ["FC 8"]
    report = lvm_bench("report", "--plugin", plugin)
    assert report.exit_code == 0, report.output
    assert "stage sampler" in (tmp_path / "results/quick/tables/architectures.md").read_text()
