"""Runs at a time: the bytes of runs alone, through a stop, a dead worker and a failure; what a machine has room for."""

import io
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import Result
from rich.console import Console

from lvm_bench import disk, process, registry
from lvm_bench.errors import RunError, Stopped, StorageError, UserError
from lvm_bench.execution import pool as pools
from lvm_bench.execution.line import Line
from lvm_bench.execution.pool import Pool, require_gpus, room
from lvm_bench.execution.progress import Progress
from lvm_bench.execution.stopping import Stop
from lvm_bench.suites import bench_toml
from lvm_bench.suites.job import Job, Suite
from lvm_bench.suites.resolve import resolve
from lvm_bench.training.tick import Tick

ROOT = Path(__file__).parents[2]
Call = Callable[..., Result]
# Files decide what goes wrong, once each: the settings stay the same.
PLUGIN = '''
import gc
import os
import signal
import time
from pathlib import Path

from lvm_bench import Method, method
from lvm_bench.execution.stopping import Stop
from lvm_bench.losses import sse


def once(name):
    try:
        text = Path(name).read_text()
        Path(name).unlink()
        return text
    except FileNotFoundError:
        return None


class Plain(Method):
    def __init__(self, *nets):
        super().__init__(*nets)
        with open("processes", "a") as stream:
            stream.write(f"{os.getpid()}\\n")

    def losses(self, x):
        return {"loss": sse(x, self.decode(self.encode(x))).mean()}


@method("stopping")
class Stopping(Plain):
    """Stopping: sends a SIGTERM to the command, after another run has gone on in another process."""

    def start_step(self, step):
        command = once("command") if step == 2 else None
        if command:
            while not Path("results/quick/runs/digits/mortal/seed-0/scores.json").exists():
                time.sleep(0.05)
            os.kill(int(command), signal.SIGTERM)
            (stop,) = (each for each in gc.get_objects() if type(each) is Stop)
            while not stop():  # else it may end before the wish to stop comes
                time.sleep(0.01)


@method("mortal")
class Mortal(Plain):
    """Mortal: kills its own process."""

    def start_step(self, step):
        if step == 2 and once("deadly") is not None:
            os.kill(os.getpid(), signal.SIGKILL)


@method("flaky")
class Flaky(Plain):
    """Flaky: always fails."""

    def losses(self, x):
        with open("raised", "a") as stream:
            stream.write("raised\\n")
        raise RuntimeError("out of luck")
'''
RUN = (
    "run", "--suite", "quick", "--plugin", "plugin.py", "--seeds", "0", "--set=epochs=3",
    "--set=train_images=100", "--set=test_images=60", "--set=batch_size=20", "--set=classifier_epochs=1",
    "--set=checkpoint_seconds=0", "--set=methods.aae.threads=2", '--set=metrics=["mse", "gaussian_kl"]', "--device=cpu",
    *(word for name in ("aae", "mortal", "flaky", "stopping") for word in ("--methods", name)),
)  # fmt: skip


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command line in a process whose number stands in the file `command`, as far as that one is there."""
    return subprocess.run(
        ["sh", "-c", 'test -e command && echo $$ > command; exec "$@"', "sh",
         sys.executable, "-m", "lvm_bench", *arguments],
        cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def contents(results: Path) -> dict[str, bytes]:
    """What the runs left but their records, whose dates and seconds differ."""
    files = (file for file in sorted(results.rglob("*")) if file.is_file() and file.name != "job.json")
    return {str(file.relative_to(results)): file.read_bytes() for file in files}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder with the plug-in, whose methods are forgotten afterwards."""
    (tmp_path / "plugin.py").write_text(PLUGIN)
    yield tmp_path
    for name in ("mortal", "flaky", "stopping"):
        registry.METHODS._entries.pop(name, None)


def test_runs_at_a_time_have_the_bytes_of_runs_alone_through_a_dead_worker_and_a_stop(
    place: Path, lvm_bench: Call
) -> None:
    assert lvm_bench(*RUN, "--results", "alone").exit_code == 1
    (place / "processes").unlink()
    (place / "raised").unlink()

    (place / "command").touch()
    (place / "deadly").touch()
    stopped = command(*RUN, "--jobs", "2", cwd=place)
    assert stopped.returncode == 75, stopped.stderr
    assert stopped.stderr.count("Its worker died; another one goes on from its last checkpoint.") == 1
    assert "A SIGTERM came: everything is saved" in stopped.stderr
    assert not list((place / "results").rglob(".lease.json")), "no worker was killed before it had saved"
    assert (place / "results/quick/runs/digits/stopping/seed-0/resume.safetensors").exists()
    workers = set((place / "processes").read_text().split())
    assert len(workers) <= 3, "two at a time, of which one died, and each goes on to the next run"

    done = lvm_bench(*RUN)
    assert done.exit_code == 1, done.stderr
    assert contents(place / "results") == contents(place / "alone")
    assert (place / "raised").read_text() == "raised\n", "once, whatever was stopped"
    assert "digits/flaky/seed-0  FAILED" in stopped.stderr + done.stderr
    record = disk.read_record(place / "results/quick/runs/digits/flaky/seed-0/job.json")
    assert record["status"] == "failed"
    assert "out of luck" in record["traceback"]


def suite(*settings: str) -> Suite:
    return resolve(bench_toml.defaults_folder() / "bench.toml", "quick", methods=("vae",), settings=settings)


def in_name_only(*_: object) -> Any:
    raise AssertionError("one run at a time needs no process")


class Answering:
    """A worker without a process, which answers in the next of the given ways."""

    ways: list[object] = []  # noqa: RUF012
    given: list[str] = []  # noqa: RUF012
    asked: list[str] = []  # noqa: RUF012
    memory = (0, 0)

    def __init__(self, slot: int, *_: object):
        self.slot, self.group = slot, list[Job]()
        self.pipe, self.end = multiprocessing.Pipe()
        idle = {"join": lambda *_: None, "is_alive": lambda: False, "kill": lambda: None, "pid": slot}
        self.process = SimpleNamespace(terminate=lambda: self.asked.append(self.group[0].name), **idle)

    def give(self, jobs: list[Job]) -> None:
        self.group = jobs
        self.given += [job.name for job in jobs]
        way = self.ways.pop(0)
        if way == "died":
            self.end.close()
        else:
            self.end.send(("raised", way) if isinstance(way, Exception) else ("ended", way))

    hear = pools.Hand.hear


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[tuple[str, str]], list[str]]]:
    """Have jobs done by workers that end in the given ways: each job with its state, and the lines that were said."""

    def work(jobs: list[Job], ways: list[object], at_a_time: int = 1, stop: Stop | None = None) -> Any:
        monkeypatch.setattr(Answering, "ways", ways)
        for name in ("given", "asked"):
            monkeypatch.setattr(Answering, name, [])
        monkeypatch.setattr(pools, "Hand", Answering)
        monkeypatch.setattr(process, "memory", lambda pid: Answering.memory)
        lines = Progress(Console(file=io.StringIO(), width=200))
        with Pool(suite(), "cpu", at_a_time) as pool:
            ended = list(pool.distribute(in_name_only, lines, stop or Stop())(jobs))
        return [(job.name, state) for job, state in ended], lines.console.file.getvalue().splitlines()  # type: ignore[attr-defined]

    return work


def test_a_run_whose_worker_dies_each_time_fails_with_a_sentence(worked: Any) -> None:
    first, second, *_ = suite().jobs
    ended, said = worked([first, second], ["died", "died", "died", "died", ("done",)])
    assert ended == [(first.name, "failed"), (second.name, "done")]
    assert Answering.given == [*[first.name] * 4, second.name]
    assert said[-1] == f"{first.name}  FAILED: its worker died 4 times (out of memory?)"


def test_seeds_that_are_trained_together_have_one_worker(worked: Any) -> None:
    jobs = [
        replace(job, seed=seed, training=job.training.model_copy(update={"seeds_per_batch": 2}))
        for job in suite().jobs[:1]
        for seed in range(3)
    ]
    names = [job.name for job in jobs]
    ended, _ = worked(jobs, ["died", ("done", "running"), ("failed",)])
    assert ended == [(names[0], "done"), (names[1], "running"), (names[2], "failed")]
    assert Answering.given == [*names[:2], *names]


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (StorageError("the disk is full."), StorageError, "the disk is full."),
        (UserError("no data."), UserError, "no data."),
        (RuntimeError("odd"), RunError, "a worker cannot work (RuntimeError: odd)"),
    ],
)
def test_what_stops_one_worker_stops_all_after_they_have_saved(
    error: Exception, kind: type[Exception], sentence: str, worked: Any
) -> None:
    jobs = suite().jobs[:3]
    with pytest.raises(kind) as found:
        worked(jobs, [error, Stopped()], at_a_time=2)
    assert sentence in str(found.value)
    assert Answering.asked == [jobs[1].name]
    assert len(Answering.given) == 2, "nothing is begun again"


def test_when_asked_to_stop_nothing_is_begun(worked: Any) -> None:
    stop = Stop()
    stop.ask("It is late")
    with pytest.raises(Stopped):
        worked(suite().jobs[:2], [], stop=stop)
    assert Answering.given == []


def test_memory_is_looked_at_before_a_worker_is_started(worked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "free_memory", lambda: 4.0 * 2**30)
    monkeypatch.setattr(Answering, "memory", (2**30, 3 * 2**30))
    ended, said = worked(suite().jobs[:3], [("done",)] * 3, at_a_time=3)
    assert len(ended) == 3
    assert said == ["Memory holds 1 run of 3 at a time: 2 GiB are free, and another one needs 3 GiB."]


def test_the_memory_of_this_machine() -> None:
    now, most = process.memory(os.getpid())
    assert 0 < now <= most
    assert process.memory(2**22 + 1) == (0, 0)
    assert process.free_memory() > 2**20


def test_one_run_needs_no_further_process() -> None:
    (job, *_) = suite().jobs
    at_work = SimpleNamespace(work_all=lambda jobs: [(each, "done") for each in jobs])
    with Pool(suite(), "cpu", 2) as pool:
        assert list(pool.distribute(lambda *_: at_work, Progress(), Stop())([job])) == [(job, "done")]  # type: ignore[arg-type]
        assert pool.hands == []


def test_the_room_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: 9)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [room(suite(f"threads={threads}"), "cpu") for threads in (1, 2, 4, 16)] == [9, 4, 2, 1]
    assert [room(suite(f"gpus_per_job={each}"), "cuda") for each in (0.25, 1.0, 2.0, 8.0)] == [16, 4, 2, 1]


@pytest.mark.parametrize(
    ("each", "visible", "shared"),
    [(0.5, None, ["0", "0", "1", "1"]), (1.0, "2,5,7", ["2", "5", "7"]), (2.0, "a,b,c,d", ["a,b", "c,d"])],
)
def test_gpus_are_shared_out(
    each: float, visible: str | None, shared: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 2 if visible is None else len(visible.split(","))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    pool = Pool(suite(f"gpus_per_job={each}"), "cuda", len(shared))
    assert [pool._gpus(slot) for slot in range(len(shared))] == shared
    require_gpus(pool.suite, "cuda", len(shared))
    with pytest.raises(UserError, match=rf"--jobs {len(shared) + 1}: .* this machine has {count}\."):
        require_gpus(pool.suite, "cuda", len(shared) + 1)


def test_a_line_carries_the_newest_step_and_every_other_word(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    line, job = Line(said.append), suite().jobs[0]
    first, early, late = (Tick(epoch, 9, 0.1, 1.0, {}) for epoch in (1, 2, 3))
    for tick in (first, early, late):
        line.tick(job, tick)
    assert said == [[("tick", (job, first))]]
    line.failed("digits/vae/seed-0", "it broke")
    assert said[1:] == [[("tick", (job, late)), ("failed", ("digits/vae/seed-0", "it broke"))]]
    monkeypatch.setattr("lvm_bench.execution.line.EVERY", -1.0)
    line.scoring(job)
    line.flush()
    assert said[2:] == [[("scoring", (job,))], []]


@pytest.mark.parametrize("word", ["0", "many", "1.5"])
def test_a_number_of_runs_that_is_none_is_refused(word: str, lvm_bench: Call) -> None:
    result = lvm_bench("run", "--suite", "quick", "--jobs", word)
    assert result.exit_code == 2
    assert "'--jobs'" in result.stderr
