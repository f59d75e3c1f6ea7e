"""What `run --dry-run` says a suite needs, and that neither results nor the user's cache are written."""

import dataclasses
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from torch import Tensor

from lvm_bench.data.images import load
from lvm_bench.execution import estimate
from lvm_bench.execution.estimate import Estimate, StandIn
from lvm_bench.metrics.arrays import metric
from lvm_bench.output import Steps
from lvm_bench.registry import DATASETS, EXTRACTORS, METHODS, METRICS, NETWORKS
from lvm_bench.runs.standing import Left, Standing, State, left
from lvm_bench.suites import bench_toml
from lvm_bench.suites.discover import extensions
from lvm_bench.suites.job import Suite
from lvm_bench.suites.resolve import resolve
from lvm_bench.text import duration, size

Call = Callable[..., Result]
BENCH = bench_toml.defaults_folder() / "bench.toml"
FEW = (
    "train_images=300", "validation_images=50", "test_images=60", "samples=60", 'metrics=["mse", "gaussian_kl"]',
)  # fmt: skip
ONE = ("run", "--suite", "quick", "--methods", "vae", "--seeds", "0")
QUICK = ("run", "--suite", "quick", "--dry-run", *(word for setting in FEW for word in ("--set", setting)))
DATA_SETS = ("digits", "mnist", "fashion-mnist", "cifar10", "celeba", "dsprites", "shapes3d", "sprites", "scenes3d")
PLUGIN = '''
from lvm_bench import Method, method
from lvm_bench.losses import sse


@method("anchored")
class Anchored(Method):
    """Keeps the codes of 50 images, encoded anew at every other step."""

    def start_epoch(self, epoch):
        self._epoch, self._anchors = epoch, epoch.draw(50)
        epoch.hold_out(self._anchors)

    def start_step(self, step):
        if step % 2 == 0:
            self._codes = [self.encode(x) for x in self._epoch.batches(self._anchors)]

    def losses(self, x):
        return {"loss": sse(x, self.decode(self.encode(x))).mean()}
'''


@pytest.fixture(autouse=True)
def _short_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial takes a tenth of the time."""
    monkeypatch.setattr(estimate, "LONG", 0.1)


def suite(*settings: str, **chosen: tuple) -> Suite:
    return resolve(BENCH, "quick", settings=settings, **{"methods": ("vae",), "seeds": (0,)} | chosen)


def estimated(found: Suite, root: Path, resample: int = 0) -> list[Estimate | str]:
    jobs = (*found.controls, *found.jobs)
    pairs = [(job, Standing(State.NEW, Path(), (job.dataset, job.method, job.seed))) for job in jobs]
    todo = {job.name: left(at, resample=resample) for job, at in pairs}
    return list(estimate.rows(pairs, todo, root, "cpu", Steps()))


def row_of(told: str, dataset: str, method: str) -> list[str]:
    return next(line.split() for line in told.splitlines() if line.split()[:2] == [dataset, method])


def test_a_row_adds_up_what_is_left_of_each_run() -> None:
    runs = (Left(True, True, 2), Left(False, True, 2), Left(redraws=1), Left(score=True, adds=True))
    assert Estimate("d", "m", runs, training=100, scoring=10).seconds == 100 + 2 * 10 + 5 * 10 + 10


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0042, "4.2 ms"), (0.5, "500 ms"), (1, "1 s"), (59, "59 s"), (200, "3.3 min"), (7200, "2 h"),
     (1116000, "310 h"), (36e6, "10,000 h"), (math.nan, "-")],
)  # fmt: skip
def test_durations_have_two_digits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(2**20, "1 MiB"), (890.4 * 2**20, "890 MiB"), (3.14 * 2**30, "3.1 GiB"), (math.nan, "-")]
)
def test_sizes_have_two_digits(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize("method", sorted({*extensions(BENCH)["method"]} - {"gamix-vae"}))  # it declines digits
def test_every_method_can_be_estimated(method: str, tmp_path: Path) -> None:
    found = suite(*FEW, "train_images=500", "epochs=3", methods=(method,))
    rows = estimated(found, tmp_path, resample=1)
    assert [each for each in rows if isinstance(each, str)] == []
    row = next(row for row in rows if isinstance(row, Estimate) and row.method == method)
    held_out = found.jobs[0].arguments["m"] if method == "avae" else 0
    assert row.steps == 3 * (500 - held_out) / 100
    assert row.training > row.steps * row.step > 0
    assert row.scoring > 0
    assert row.seconds == pytest.approx(row.training + 2 * row.scoring)


def test_every_data_set_has_an_outline_or_reads_its_files() -> None:
    assert {*DATA_SETS, "npz", "folder", "celeba-hq"} == {*extensions(BENCH)["dataset"]}


@pytest.mark.parametrize("dataset", DATA_SETS)
def test_every_data_set_can_be_estimated_without_its_files(dataset: str, tmp_path: Path) -> None:
    found = suite(*FEW, "width=0.05", "batch_size=10", "epochs=1", datasets=(dataset,))
    rows = estimated(found, tmp_path)
    assert [row.method for row in rows if isinstance(row, Estimate)] == ["real-images", "standard-normal", "vae"]
    assert rows[-1].steps == 30  # type: ignore[union-attr]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("dataset", "options"),
    [
        ("digits", {}),
        ("sprites", {"size": 16, "factor_sizes": [2, 1, 3, 4, 4], "smooth": False}),
        ("scenes3d", {"size": 16, "factor_sizes": [2, 2, 1, 3, 2, 2]}),
    ],
)
def test_made_up_images_are_as_many_and_of_the_shape_of_the_real_ones(
    dataset: str, options: dict, tmp_path: Path
) -> None:
    real, made = (load(dataset, tmp_path, options=options, made_up=made_up) for made_up in (False, True))
    for split in ("train", "validation", "test"):
        assert getattr(made, split).pixels.shape == getattr(real, split).pixels.shape
    assert made.value_range == real.value_range
    assert (made.grid is None) == (real.grid is None)
    if real.grid and made.grid:
        assert made.grid.sizes == real.grid.sizes
        assert made.grid.at(np.zeros((2, len(made.grid.sizes)), dtype=np.int64)).shape == (
            2,
            *real.grid.pixels.shape[1:],
        )


def test_images_that_overlap_need_no_memory_and_differ() -> None:
    info = DATASETS["celeba"].info
    splits = info.outline().made_up()
    assert splits.train.pixels.shape == (162_770, 3, 64, 64)
    assert splits.train.pixels.strides[0] == 1
    assert not np.array_equal(splits.train.pixels[0], splits.train.pixels[1])


@pytest.mark.parametrize(
    ("n", "seconds", "timed"), [(1200, 2**-14, [300]), (4800, 2**-14, [300, 1200]), (4800, 0.5, [300, 300])]
)
def test_what_is_timed_on_a_quarter_of_the_images_counts_in_proportion_for_all(
    n: int, seconds: float, timed: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the clock nothing takes time but one metric, `seconds` an image, and its features, half as many."""
    now, sizes = [0.0], list[int]()
    monkeypatch.setattr(estimate, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(METRICS, "_entries", {})

    @metric("frechet", better="lower", of=("fake",))
    def linear(fake_features: Tensor) -> float:
        sizes.append(len(fake_features))
        now[0] += seconds * len(fake_features)
        return 0.0

    (job, _) = suite(f"samples={n}", 'metrics=["frechet"]', datasets=("mnist",)).controls
    data = load("mnist", tmp_path, options={}, train_images=n, test_images=n, made_up=True)
    space = StandIn(4)
    space.price = seconds / 2
    found = estimate.measured(Estimate("mnist", job.method, ()), job, data, space, "cpu", {})
    assert sizes == timed
    assert found.scoring == n * seconds + n * seconds / 2


def files_under(place: str) -> set[Path]:
    return {file for file in Path(place).rglob("*") if file.is_file()}


def test_the_command_lists_first_and_estimates_then_and_writes_nothing(lvm_bench: Call, tmp_path: Path) -> None:
    before = files_under(os.environ["XDG_CACHE_HOME"])
    plain, longer = (
        lvm_bench(
            *QUICK,
            "--methods",
            "vae",
            "--seeds",
            "0",
            "--set",
            'metrics=["mse", "frechet"]',
            "--set",
            f"epochs={epochs}",
        )
        for epochs in (2, 8)
    )
    assert plain.exit_code == 0
    assert [line.split()[0] for line in plain.stdout.splitlines()] == ["digits/vae/seed-0"]
    assert plain.output.index("digits/vae/seed-0") < plain.output.index("DATA SET")
    assert row_of(plain.stderr, "digits", "(features,")
    assert "\n0 of 4 rows from finished runs, the others from a trial: right to a factor" in plain.stderr
    assert [row_of(told.stderr, "digits", "vae")[4] for told in (plain, longer)] == ["6", "24"]
    assert list(tmp_path.iterdir()) == []
    assert files_under(os.environ["XDG_CACHE_HOME"]) == before


def test_a_plugin_with_hooks_is_estimated(lvm_bench: Call, tmp_path: Path) -> None:
    (tmp_path / "anchored.py").write_text(PLUGIN)
    more = ("--plugin", "anchored.py", "--jobs", "2")
    told = lvm_bench(*QUICK, "--methods", "anchored", "--seeds", "0", *more).stderr
    assert row_of(told, "digits", "anchored")[4] == str(60 * 3)  # 300 images less 50, in batches of 100
    assert "2 runs at a time" in told
    assert "one after another)" in told


STAGED = '''
import torch

from lvm_bench import Method, method


@method("staged")
class Staged(Method):
    """An auto-encoder with a later stage."""

    stages = ("train", "sampler")

    def __init__(self, *nets):
        super().__init__(*nets)
        self.sampler, self.stage_epochs = torch.nn.Linear(self.spec.latent, 1), {"sampler": 7}

    def losses(self, x):
        return {"loss": (x - self.decode(self.encode(x))).square().mean()}

    def sampler_losses(self, x):
        return {"loss": self.sampler(self.noise(len(x), self.spec.latent)).square().mean()}
'''


@pytest.mark.parametrize("epochs", [0, 2])
def test_each_stage_is_priced_by_its_own_step(epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock only steps take time: one second, and two in the later stage."""

    def timed(action: Any, _: str) -> float:
        action()
        return action.args[0].stage + 1.0 if action.func is estimate.loop.step else 0.0

    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    monkeypatch.setattr(estimate, "timed", timed)
    (file := tmp_path / "staged.py").write_text(STAGED)
    *_, row = estimated(suite(*FEW, f"epochs={epochs}", methods=("staged",), plugins=(file,)), tmp_path)
    assert isinstance(row, Estimate), row
    assert row.steps == 3 * (epochs + 7)
    assert row.training == pytest.approx(3 * (epochs + 2 * 7), abs=1)


def test_finished_runs_tell_what_others_cost(lvm_bench: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = (*QUICK[4:], "--set", "epochs=1", "--suite", "quick", "--methods", "vae")
    assert lvm_bench("run", *small, "--seeds", "0").exit_code == 0
    assert "Nothing is left to do." in lvm_bench("run", "--dry-run", *small, "--seeds", "0").stderr
    other = lvm_bench("run", "--dry-run", *small, "--seeds", "0", "--set", "learning_rate=0.5")
    assert other.exit_code == 2
    assert "was run with other settings" in other.stderr
    again = lvm_bench("run", "--dry-run", *small, "--seeds", "0", "--resample", "2").stderr
    assert row_of(again, "digits", "vae")[-3] == "1"
    with monkeypatch.context() as patch:
        patch.setattr(estimate, "measured", None)
        told = lvm_bench("run", "--dry-run", *small, "--seeds", "0", "--seeds", "1")
    assert told.exit_code == 0
    assert "3 of 3 rows from finished runs" in told.stderr
    assert row_of(told.stderr, "digits", "vae")[3] == "3"  # steps
    with monkeypatch.context() as patch:
        patch.setattr("platform.node", lambda: "another")
        elsewhere = lvm_bench("run", "--dry-run", *small, "--seeds", "0", "--seeds", "1")
    assert "0 of 3 rows from finished runs" in elsewhere.stderr
    next(tmp_path.rglob("vae/seed-0/best.safetensors")).unlink()
    trained_again = lvm_bench("run", "--dry-run", *small, "--seeds", "0").stderr
    assert re.search(r" [MG]iB of memory at the peak\.\n0 of 1 row from finished runs", trained_again)


def broken(*_: Any, **__: Any) -> Any:
    raise KeyError("of its own")


FAULTS = {
    "metric": (METRICS, "mse"),
    "extractor": (EXTRACTORS, "classifier"),
    "network": (NETWORKS, "digits"),
    "data set": (DATASETS, "digits"),
    "method": (METHODS, "vae"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_whatever_raises_is_told_with_its_place_and_the_others_are_estimated(
    kind: str, lvm_bench: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = (*QUICK, "--methods", "vae", "--seeds", "0", "--set", 'metrics=["mse", "gaussian_kl", "frechet"]')
    lvm_bench(*call[:2], "nothing")  # fills the registries
    registry, name = FAULTS[kind]
    if kind == "method":
        monkeypatch.setattr(registry[name], "losses", broken)
    else:
        for key, value in vars(registry[name]).items():
            monkeypatch.setattr(broken, key, value, raising=False)
        monkeypatch.setitem(registry._entries, name, broken)
        if kind == "data set":
            monkeypatch.setattr(broken, "info", dataclasses.replace(broken.info, outline=broken))  # type: ignore
    result = lvm_bench(*call)
    assert result.exit_code == 1
    assert "cannot be estimated." in result.stderr
    assert f"{__file__}, line" in result.stderr
    assert "KeyError: 'of its own'" in result.stderr
    shared = kind in ("extractor", "data set")
    assert ("digits/standard-normal cannot be estimated." in result.stderr) == shared


def test_data_of_ones_own_are_estimated_from_their_files(lvm_bench: Call, tmp_path: Path) -> None:
    text = BENCH.read_text().replace('packages = ["baselines"]', f'packages = ["{BENCH.parent / "baselines"}"]')
    own = text.index("[datasets.digits]")
    table = '[datasets.mine]\nbase = "npz"\npath = "mine.npz"\nnetwork = "digits"\nlatent = 4\n'
    (tmp_path / "bench.toml").write_text(text[:own] + table + 'likelihood = "sse"\nepochs = 2\n\n' + text[own:])
    call = (
        "run", "--suite", "quick", "--dry-run", "--datasets", "mine", "--methods", "vae", "--data", str(tmp_path),
        "--set", 'metrics=["mse"]',
    )  # fmt: skip
    missing = lvm_bench(*call)
    assert missing.exit_code == 1
    assert "mine/vae cannot be estimated" in missing.stderr
    assert "mine.npz: does not exist" in missing.stderr
    np.savez(tmp_path / "mine.npz", images=np.zeros((720, 8, 8), dtype=np.uint8))
    found = lvm_bench(*call)
    assert found.exit_code == 0
    assert "mine " in found.stderr
    assert next(line for line in found.stderr.splitlines() if line.split()[:2] == ["mine", "vae"]).split()[4] == "10"
