"""`python -m benchmarks.gpu`, rehearsed on the CPU in tiny sizes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from benchmarks.__main__ import measure
from benchmarks.gpu import steps
from benchmarks.gpu.__main__ import main
from benchmarks.gpu.page import Decided, page
from benchmarks.gpu.script import GPU_ROWS, Decider, Script
from benchmarks.results import Kept, keep, kept
from benchmarks.rows import ROWS as ALL_ROWS
from benchmarks.rows import Equality, Measured
from benchmarks.training import task
from lvm_bench.cli import main as lvm_bench_main
from lvm_bench.runs.standing import Standing, State
from lvm_bench.training.checkpoint import Checkpoints

ROOT = Path(__file__).parent.parent
TINY = Decider(
    device="cpu",
    methods=("c-1e-4",),
    datasets=("digits",),
    settings=(
        "epochs=2", "train_images=300", "validation_images=100", "test_images=100", "methods.avae.m=100", "width=0.25",
        "threads=1", "classifier_epochs=1", 'metrics=["sse", "gaussian_kl"]',
    ),
)  # fmt: skip
ROWS = ("gpu-graph-vae", "gpu-seeds")
AMPLE = 1e6  # seconds
MEASURED = Measured([0.001, 0.001], [0.003, 0.003], Equality("loss", 0.0, 1e-3))


@pytest.fixture(autouse=True)
def _small_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are measured on the CPU, with networks of a twentieth of the channels, from the folder of the checkout."""
    thin = ("width=0.05", "methods.aae.hidden=[32]", "methods.avae.m=100", "methods.avae.k_b=2")
    monkeypatch.setattr("benchmarks.gpu.steps.task", lambda *given: task(*given, *thin))
    monkeypatch.setattr("benchmarks.gpu.steps.CHECKED", 3)
    monkeypatch.setattr("benchmarks.gpu.steps.device", lambda: "cpu")
    monkeypatch.chdir(ROOT)


def in_this_process(name: str, small: bool, folder: Path, longest: float) -> Kept | None:
    """In the place of `in_own_process`, whose imports alone take seconds."""
    measure(name, small, folder)
    return kept(name, folder)


class Pass(Script):
    """A pass whose clock stands still, until a command of `lvm-bench` ended, which this process runs."""

    def __init__(self, folder: Path, seconds: float, after: float = 0.0):
        super().__init__(folder, lambda: self.seconds, TINY, ROWS, small=True)
        self.seconds, self.after, self.began = seconds, after, list[str]()

    def lvm_bench(self, *arguments: str) -> None:
        self.began.append(arguments[0])
        done = CliRunner().invoke(lvm_bench_main, arguments)
        assert done.exit_code == 0, done.output
        self.seconds = self.after

    @property
    def told(self) -> str:
        return (self.folder / "RESULTS-gpu.md").read_text()


def test_the_script_ends_in_time_and_the_next_pass_goes_on(
    tmp_path: Path, undrawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.gpu.script.in_own_process", in_this_process)
    at_once = Pass(tmp_path, seconds=10)
    assert (at_once.perform(), at_once.began) == (75, [])
    assert "| digits/c-1e-4/seed-0 | new | 0/2 | – |" in at_once.told
    assert "(`gpu-seeds`): the time was up; the same command goes on." in at_once.told

    decided = Pass(tmp_path, seconds=AMPLE, after=10)
    assert (decided.perform(), decided.began, decided.failed) == (75, ["run"], {})
    [line] = [line for line in decided.told.splitlines() if line.startswith("| digits/c-1e-4/seed-0 | done | 2/2 |")]
    assert "–" not in line, "variance, KL parts, balance and entropy"
    assert "(`gpu-graph-vae`): the time was up" in decided.told

    keep("gpu-seeds", MEASURED, "", "torch", decided.rows)  # as a row leaves it on a GPU
    last = Pass(tmp_path, seconds=AMPLE, after=AMPLE)
    assert (last.perform(), last.began, last.failed) == (0, ["report"], {})
    assert "| 0.333 x |" in last.told, "of the row that was kept"
    if not torch.cuda.is_available():
        assert "(`gpu-graph-vae`): it cannot be done: " in last.told
    assert "the time was up" not in last.told
    assert (tmp_path / "avae-floor" / "tables").is_dir()

    nothing = Pass(tmp_path, seconds=AMPLE)
    assert (nothing.perform(), nothing.began) == (0, [])


def test_the_page_tells_how_far_a_training_is_that_was_stopped_and_what_failed(tmp_path: Path) -> None:
    rows = [{"aggregate_variance/0": 2.0, "aggregate_variance/1": 4.0, "codes/entropy": 7.5}, {"codes/balance": 1.25}]
    Checkpoints(tmp_path, "", 0, print).save(({"any": torch.zeros(1)}, {"history": rows}))
    run = Decided("mnist/c-1e-4/seed-0", 50, Standing(State.INTERRUPTED, tmp_path, ("mnist", "c-1e-4", 0)))
    told = page("avae-floor", [run], {"gpu-seeds": None}, {"run": "ended with exit code 2", "gpu-seeds": "a\nOops."})
    assert "| mnist/c-1e-4/seed-0 | interrupted | 2/50 | 3 | – | – | – | – | 1.25 | – | 7.5 |" in told
    assert "- `lvm-bench run --suite avae-floor`: ended with exit code 2." in told
    assert "(`gpu-seeds`): Oops." in told


def test_a_row_that_fails_is_told_and_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.gpu.script.in_own_process", lambda name, *_: f"Traceback\n{name} broke.")
    script = Pass(tmp_path, seconds=AMPLE)
    monkeypatch.setattr(Script, "decide", lambda *_: None)
    assert script.perform() == 1
    assert "(`gpu-graph-vae`): gpu-graph-vae broke." in script.told


def test_a_command_that_fails_is_told_and_one_without_time_is_not(tmp_path: Path) -> None:
    script = Script(tmp_path, lambda: AMPLE)
    script.lvm_bench("list", "nothing")
    assert script.failed == {"list": "ended with exit code 2"}
    script = Script(tmp_path, lambda: 0.0)
    script.lvm_bench("--version")
    assert script.failed == {}


def test_without_a_gpu_the_script_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("Error: torch finds no CUDA GPU here.")


def test_every_method_has_its_steps_among_the_rows() -> None:
    assert {*GPU_ROWS} == {name for name in ALL_ROWS if name.startswith("gpu-")}
    names = {"vae", "beta-tcvae", "rae-l2", "aae", "wae-mmd", "avae"}
    assert {*GPU_ROWS} >= {f"{row}-{name}" for row in ("gpu-graph", "gpu-compile") for name in names}


def _graph(action: Callable[[], Any], generator: torch.Generator) -> Callable[[], Any]:
    """In the place of a CUDA graph: what is captured is called again."""
    return action


@pytest.mark.parametrize("name", ["avae", "aae"])  # one replaces a buffer, the other has an adversary
def test_a_replayed_step_is_the_trainers(name: str) -> None:
    change = partial(steps.captured, aside=lambda action: action(), capture=_graph)
    found = steps.against_eager(change, name, True, "cpu")
    assert found.equality
    assert found.equality.difference == 0
    assert len(found.ours) == len(found.theirs) == 1


def test_a_replayed_step_reads_what_the_method_made_anew_from_where_it_was() -> None:
    job = steps.task("avae", True)
    walk = steps.Walk(job, steps.pixels(100 + 8 * steps.BATCH), "cpu")
    steps.captured(walk, aside=lambda action: action(), capture=_graph)
    method: Any = walk.training.method
    before, values = method.kde_codes, method.kde_codes.clone()
    walk.take(walk.chosen)
    method.start_step(2)
    anew = method.kde_codes
    walk.take(walk.chosen)
    assert anew is not before
    assert method.kde_codes is before
    assert torch.equal(before, anew)
    assert not torch.equal(before, values)


def test_a_step_that_cannot_be_captured_is_told_with_its_reason() -> None:
    def change(walk: steps.Walk) -> str:
        raise RuntimeError("operation not permitted when stream is capturing\nmore of it")

    with pytest.raises(
        steps.NotMeasured, match=r"^it cannot be done: operation not permitted when stream is capturing$"
    ):
        steps.against_eager(change, "vae", True, "cpu")
