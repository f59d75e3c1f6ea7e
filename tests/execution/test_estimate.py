"""What `run --dry-run` says a suite needs: the arithmetic on a made-up machine, and the measuring on this one."""

import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result

from lvm_bench.data.images import Data, load
from lvm_bench.errors import UserError
from lvm_bench.execution import estimate, rehearsal
from lvm_bench.execution.estimate import ONCE, Estimate, Left, Row, duration, on_gpus, size, total, work_left
from lvm_bench.execution.rehearsal import Pace, Scoring, Space, ThisMachine, extrapolated
from lvm_bench.execution.task import load_data
from lvm_bench.modelling.contract import Method, Spec
from lvm_bench.registry import DATASETS
from lvm_bench.runs.layout import TRAINED
from lvm_bench.runs.standing import Standing, State, survey
from lvm_bench.suites import bench_toml
from lvm_bench.suites.discover import method_files
from lvm_bench.suites.job import Job, Suite
from lvm_bench.suites.resolve import resolve

Call = Callable[..., Result]
BENCH = bench_toml.defaults_folder() / "bench.toml"
FEW = (
    "train_images=300", "validation_images=50", "test_images=60", "samples=60", 'metrics=["mse", "gaussian_kl"]',
)  # fmt: skip
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


class MadeUp:
    """A machine whose costs are known."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def data(self, job: Job) -> Data:
        return load_data(job, Path(), made_up=True)

    def pace(self, job: Job) -> Pace:
        self.asked.append(job.method)
        return Pace(
            step=0.5, steps=12, hooks=3.0, encoded=1000.0, decoded=100.0, encode=0.01, decode=0.02, validate=0.04,
            finish=0.001, memory=5e8, weights=1e6,
        )  # fmt: skip

    def space(self, job: Job) -> Space:
        return Space(64, setup=7.0, image=0.1, memory=1e6)

    def scoring(self, job: Job, drawn_alone: bool) -> Scoring:
        # A control has no networks: those that it seems to use cost nothing.
        return Scoring(20.0 if drawn_alone else 100.0, encoded=1600, decoded=400, featured=300, memory=2e8)

    def memory(self, job: Job, trains: float, scores: float) -> float:
        return 1e9 + max(trains, scores)


def suite(*settings: str, **chosen: tuple) -> Suite:
    chosen = {"methods": ("vae",), "seeds": (0, 1)} | chosen
    return resolve(BENCH, "quick", settings=settings, **chosen)


def new(found: Suite) -> list[tuple[Job, Standing]]:
    return [(job, survey(job, Path("nowhere"))) for job in (*found.controls, *found.jobs)]


def of(found: Estimate, method: str) -> Row:
    return next(row for row in found.rows if row.method == method)


def test_known_costs_give_known_seconds() -> None:
    found = estimate.estimate(work_left(new(suite("epochs=10")), False, 0), set(), MadeUp())
    assert found.missing == []
    # Digits has 1,200 training and 200 validation images.
    epoch = 12 * 0.5 + 3 + 1000 * 0.01 + 100 * 0.02 + 200 * (0.04 + 0.01)
    training = 200 * 0.04 + 10 * epoch + 2 * 1200 * (0.01 + 0.001)
    scoring = 100 + 1600 * 0.01 + 400 * 0.02 + 300 * 0.1
    vae, real, once = of(found, "vae"), of(found, "real-images"), of(found, ONCE)
    assert (vae.runs, vae.step, vae.steps) == (2, 0.5, 120)
    assert (vae.training, vae.scoring) == pytest.approx((training, scoring))
    assert vae.seconds == pytest.approx(2 * (training + scoring))
    assert vae.memory == 1.5e9
    assert real.seconds == pytest.approx(2 * (100 + 300 * 0.1))
    assert once.seconds == pytest.approx(7 + 1200 * 0.1)
    assert found.seconds == pytest.approx(sum(row.seconds for row in found.rows))
    assert found.results == vae.results == 2 * (2 * 1e6 + 80 * 64 + 4 * 1000 * 8)


def test_features_are_counted_until_a_run_of_the_data_set_is_done() -> None:
    left = work_left(new(suite()), False, 0)
    assert ONCE not in {row.method for row in estimate.estimate(left, {"digits"}, MadeUp()).rows}


STANDING = {  # state: of a new command, with --retry-failed, with --resample 3
    "new": ((True, True, 0), None, (True, True, 3)),
    "interrupted": ((True, True, 0), None, (True, True, 3)),
    "trained": ((False, True, 0), None, (False, True, 3)),
    "done": (None, None, (False, False, 3)),
    "declined": (None, None, None),
    "failed": (None, (True, True, 0), None),
}


def test_the_first_step_on_a_gpu_is_not_the_pace_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It loads what the GPU computes with."""
    found = {}
    for device in ("cuda", "cpu"):
        took = iter([1.0, *[0.01] * 100])
        monkeypatch.setattr("lvm_bench.execution.rehearsal.now", lambda _, took=took: next(took))
        nets = (torch.nn.Identity(), torch.nn.Identity())
        watch = rehearsal.Watch(Method(*nets, Spec((1, 8, 8), (0, 1), 2, 100, 10, "sse")), "cpu")
        watch.device = device
        while not watch():
            pass
        found[device] = watch.step
    assert found == {"cuda": 0.01, "cpu": 1.0}


@pytest.mark.parametrize(
    ("jobs", "gpus", "share", "expected"), [(4, 1, 1.0, 1), (4, 1, 0.25, 4), (8, 1, 0.3, 3), (4, 2, 1.0, 2)]
)
def test_runs_at_a_time_are_those_that_the_gpus_have_room_for(
    jobs: int, gpus: int, share: float, expected: int
) -> None:
    assert on_gpus(jobs, gpus, share) == expected


@pytest.mark.parametrize("state", STANDING)
def test_what_is_finished_is_not_counted(state: str, tmp_path: Path) -> None:
    job = suite(seeds=(0,)).jobs[0]
    files = {name: {} for name in TRAINED} if state in ("trained", "done") else {}
    record = {"digest_scores": "", "fingerprint": "", "settings": {}, "files": files, "status": state}
    pairs = [(job, Standing(State(state), tmp_path, (job.dataset, job.method, job.seed), record))]
    for wanted, given in zip(STANDING[state], ((False, 0), (True, 0), (False, 3)), strict=True):
        assert work_left(pairs, *given) == ([] if wanted is None else [Left(job, *wanted)])


def test_further_evaluations_cost_what_is_drawn_anew() -> None:
    pairs = new(suite(seeds=(0,)))
    with_, without = (of(estimate.estimate(work_left(pairs, False, r), set(), MadeUp()), "vae") for r in (3, 0))
    assert with_.seconds - without.seconds == pytest.approx(3 * (20 + 1600 * 0.01 + 400 * 0.02 + 300 * 0.1))


def test_a_method_that_fails_or_declines_is_named_and_the_others_are_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    found = suite(methods=("vae", "aae", "avae"), seeds=(0,))
    machine = MadeUp()

    def pace(job: Job) -> Pace:
        if job.method == "aae":
            raise ZeroDivisionError("of its own")
        if job.method == "avae":
            raise UserError("Its m is too large.")
        return MadeUp.pace(machine, job)

    monkeypatch.setattr(machine, "pace", pace)
    made = estimate.estimate(work_left(new(found), False, 0), set(), machine)
    assert of(made, "vae").runs == 1
    assert [line.split(".")[0] for line in made.missing] == [
        "digits/aae cannot be estimated", "digits/avae cannot be estimated",
    ]  # fmt: skip
    assert "ZeroDivisionError: of its own" in made.missing[0]
    assert made.missing[1].endswith("Its m is too large.")
    assert "without what cannot be estimated" in " ".join(total(made, 1, "cpu", 1, 1))


def test_the_sum_says_hours_memory_and_that_they_are_extrapolated() -> None:
    found = Estimate([Row("d", "m", 5, 8 * 3600.0, memory=3 * 2.0**30, results=2.0**29)])
    one = " ".join(total(found, 1, "cpu", 1, 1234))
    assert "About 8 h on this machine (1 thread, cpu), 3 GiB of memory at the peak and 510 MiB of results" in one
    assert "extrapolated from 1,234 steps and scores" in one
    four = " ".join(total(found, 2, "cuda", 4, 1234))
    assert "About 2 h" in four
    assert "4 runs at a time, if it has 8 cores" in four
    assert "8 h one after another" in four
    assert "12 GiB of memory" in four


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0042, "4.2 ms"), (0.5, "500 ms"), (1, "1 s"), (59, "59 s"), (200, "3.3 min"), (7200, "2 h"),
     (1116000, "310 h"), (36e6, "10,000 h"), (math.nan, "-")],
)  # fmt: skip
def test_durations_have_two_digits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(2**20, "1 MiB"), (890.4 * 2**20, "890 MiB"), (3.14 * 2**30, "3.1 GiB")])
def test_sizes_have_two_digits(count: float, text: str) -> None:
    assert size(count) == text


SCALES = [0.5**k for k in range(6, -1, -1)]


@pytest.mark.parametrize("law", [lambda s: 7 * s**2, lambda s: 7 * s**3, lambda s: 0.3 + 7 * s, lambda s: 0.001 * s])
def test_powers_and_lines_are_extrapolated_exactly_and_what_is_short_is_measured_whole(
    law: Callable[[float], float],
) -> None:
    asked = []
    found = extrapolated(lambda s: asked.append(s) or law(s), SCALES, 3.0)
    assert found == pytest.approx(law(1))
    assert (1 in asked) == (law(1) < 0.2)


def test_what_is_made_once_is_no_cost() -> None:
    made = set()

    def measure(scale: float) -> float:
        once = 0.0 if scale in made else 30.0
        made.add(scale)
        return once + 7 * scale**2

    assert extrapolated(measure, SCALES, 2.0) == pytest.approx(7)


METHODS = sorted(method_files(BENCH))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_estimated(method: str, tmp_path: Path) -> None:
    found = suite(*FEW, "train_images=500", "epochs=3", methods=(method,), seeds=(0,))
    made = estimate.estimate(work_left(new(found), False, 1), set(), ThisMachine(tmp_path, "cpu"))
    assert made.missing == []
    row = of(made, method)
    in_epoch = 500 - found.jobs[0].arguments.get("m", 0)
    assert row.steps == 3 * in_epoch / 100
    assert row.training > row.steps * row.step > 0
    assert row.seconds >= row.training + row.scoring > row.training


def test_every_data_set_has_an_outline_or_reads_its_files() -> None:
    assert {*DATA_SETS, "npz", "folder"} == {*DATASETS}


@pytest.mark.parametrize("dataset", DATA_SETS)
def test_every_data_set_can_be_estimated_without_its_files(dataset: str, tmp_path: Path) -> None:
    small = ("width=0.05", "batch_size=10", "epochs=1")
    found = suite(*FEW, *small, methods=("vae",), datasets=(dataset,), seeds=(0,))
    made = estimate.estimate(work_left(new(found), False, 0), set(), ThisMachine(tmp_path, "cpu"))
    assert made.missing == []
    assert of(made, "vae").steps == 30
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


def files_under(place: str) -> set[Path]:
    return {file for file in Path(place).rglob("*") if file.is_file()}


def test_the_command_lists_first_and_estimates_then_and_writes_nothing(lvm_bench: Call, tmp_path: Path) -> None:
    before = files_under(os.environ["XDG_CACHE_HOME"])
    plain, longer = (
        lvm_bench(*QUICK, "--methods", "vae", "--seeds", "0", "--set", "metrics=all", "--set", f"epochs={epochs}")
        for epochs in (2, 8)
    )
    assert plain.exit_code == 0
    assert [line.split()[0] for line in plain.stdout.splitlines()] == ["digits/vae/seed-0"]
    assert plain.output.index("digits/vae/seed-0") < plain.output.index("DATA SET")
    assert "extrapolated" in plain.stderr
    steps = [
        next(line for line in result.stderr.splitlines() if line.split()[:2] == ["digits", "vae"]).split()[4]
        for result in (plain, longer)
    ]
    assert steps == ["6", "24"]
    assert list(tmp_path.iterdir()) == []
    assert files_under(os.environ["XDG_CACHE_HOME"]) == before


def test_a_plugin_with_hooks_is_estimated(lvm_bench: Call, tmp_path: Path) -> None:
    (tmp_path / "anchored.py").write_text(PLUGIN)
    result = lvm_bench(
        *QUICK,
        "--methods",
        "anchored",
        "--seeds",
        "0",
        "--plugin",
        "anchored.py",
        "--jobs",
        "2",
        "--set",
        "seeds_per_batch=2",
    )
    row = next(line for line in result.stderr.splitlines() if line.split()[:2] == ["digits", "anchored"])
    assert row.split()[4] == str(60 * 3)  # 300 images less 50, in batches of 100
    assert "2 runs at a time" in result.stderr
    assert "Seeds that are trained together are counted one after another" in result.stderr
    found = suite(*FEW, methods=("anchored",), seeds=(0,), plugins=(tmp_path / "anchored.py",))
    pace = ThisMachine(tmp_path, "cpu").pace(found.jobs[0])
    assert (pace.steps, pace.encoded) == (3, 100)  # before steps 0 and 2


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
    assert "mine cannot be estimated" in missing.stderr
    assert "mine.npz: does not exist" in missing.stderr
    np.savez(tmp_path / "mine.npz", images=np.zeros((720, 8, 8), dtype=np.uint8))
    found = lvm_bench(*call)
    assert found.exit_code == 0
    assert "mine " in found.stderr
    assert next(line for line in found.stderr.splitlines() if line.split()[:2] == ["mine", "vae"]).split()[4] == "10"


def test_settings_that_a_run_would_refuse_are_refused(lvm_bench: Call) -> None:
    call = ("run", "--suite", "quick", "--methods", "vae", "--seeds", "0", *QUICK[4:], "--set", "epochs=1")
    assert lvm_bench(*call).exit_code == 0
    done = lvm_bench(*call, "--dry-run")
    assert "Nothing is left to do." in done.stderr
    other = lvm_bench(*call, "--dry-run", "--set", "learning_rate=0.5")
    assert other.exit_code == 2
    assert "was run with other settings" in other.stderr
