"""Runs on a Ray cluster, as far as no cluster is needed: who works where, what ends it, sentences for mistakes."""

import io
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result
from rich.console import Console

from lvm_bench.errors import RunError, Stopped, StorageError, UserError
from lvm_bench.execution import cluster as clusters
from lvm_bench.execution.cluster import Board, Cluster, Place, Wire
from lvm_bench.execution.progress import Progress
from lvm_bench.execution.stopping import Stop
from lvm_bench.suites import bench_toml
from lvm_bench.suites.job import Job
from lvm_bench.suites.resolve import resolve

ROOT = Path(__file__).parents[2]
Call = Callable[..., Result]


def test_without_ray_a_sentence_says_what_to_install(lvm_bench: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = lvm_bench("run", "--suite", "quick", "--address", "127.0.0.1:6379")
    assert result.exit_code == 2
    assert "Error: --address 127.0.0.1:6379 needs Ray: pip install 'lvm-bench[ray]'.\n" in result.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--jobs", "2", "--address", "127.0.0.1:6379"), "--jobs 2 --address 127.0.0.1:6379: give one of them."),
        (("--address", "auto"), "--address 'auto': write HOST:PORT"),
        (("--address", "ray://127.0.0.1:10001"), "write HOST:PORT"),
        (("--address", "127.0.0.1:1"), "--address 127.0.0.1:1: no Ray cluster answers there"),
        (("--address", "127.0.0.1:99999"), "--address 127.0.0.1:99999: no Ray cluster answers there"),
    ],
)
def test_addresses_that_lead_nowhere_are_sentences(
    options: tuple[str, ...], sentence: str, lvm_bench: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", object())  # none of them gets so far
    result = lvm_bench("run", "--suite", "quick", *options)
    assert result.exit_code == 2
    assert sentence in result.stderr


def cluster(*settings: str, device: str = "cpu") -> Cluster:
    """A cluster that is not connected, of one node with 4 CPUs and 2 GPUs."""
    suite = resolve(bench_toml.defaults_folder() / "bench.toml", "quick", methods=("vae",), settings=settings)
    found = Cluster(suite, Path("results"), device, "127.0.0.1:6379")
    found.nodes, found.device = [{"CPU": 4.0, "GPU": 2.0}], device
    return found


@pytest.mark.parametrize("settings", [(), ("gpus_per_job=0.25",), ("gpus_per_job=2.0",), ("threads=4",)])
def test_runs_that_fit_a_node(settings: tuple[str, ...]) -> None:
    cluster(*settings, device="cuda").check_room()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (("gpus_per_job=3.0",), "no node has the 1 CPUs (`threads`) and 3 GPUs (`gpus_per_job`)"),
        (("threads=8",), "no node has the 8 CPUs (`threads`)"),
        (("gpus_per_job=1.5",), "gpus_per_job = 1.5: Ray shares out parts of one GPU or whole ones. Give 1 or 2."),
    ],
)
def test_runs_that_no_node_has_room_for_are_refused(settings: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError) as error:
        cluster(*settings, device="cuda").check_room()
    assert sentence in str(error.value)


def test_a_run_needs_its_threads_and_on_a_cpu_no_gpu() -> None:
    (job, *_) = cluster("threads=8").suite.jobs
    assert cluster("threads=8").needs(job) == {"num_cpus": 8, "num_gpus": 0}


def test_a_worker_names_what_its_machine_lacks(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path / "results", [tmp_path / "mine.py"])
    with pytest.raises(UserError, match=r"has no .*/results, .*/mine\.py\. All nodes of a cluster need"):
        place.enter(None)


def answering(board: Board, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A board that answers like its actor, without one."""
    monkeypatch.setattr(pytest.importorskip("ray"), "get", lambda answer: answer)
    return SimpleNamespace(
        exchange=SimpleNamespace(remote=board.exchange), sees=SimpleNamespace(remote=lambda file: False)
    )


def test_a_folder_of_the_same_name_on_another_machine_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    board = answering(Board(), monkeypatch)
    with pytest.raises(UserError, match="is not the folder of that name on the machine of this command"):
        Place(tmp_path, tmp_path, []).enter(board)
    assert [*tmp_path.rglob("*")] == [tmp_path / "runs"]


def test_a_wire_carries_what_a_worker_says_and_the_wish_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board()
    wire = Wire(answering(board, monkeypatch))
    wire.line.failed("digits/vae/seed-0", "it broke")
    assert not wire()
    assert board.collect(stopping=True) == [("failed", ("digits/vae/seed-0", "it broke"))]
    assert board.collect(stopping=True) == []
    wire.line.failed("digits/vae/seed-1", "it broke")
    assert wire()


class Ended:
    """Workers that end at once, each in the next of the given ways, with the progress and the wishes they cause."""

    def __init__(self, ways: list[object], monkeypatch: pytest.MonkeyPatch):
        ray = pytest.importorskip("ray")
        self.ways, self.submitted, self.said, self.stopping = ways, list[str](), list[str](), list[bool]()
        monkeypatch.setattr(ray, "wait", lambda waiting, timeout: (waiting[:1], waiting[1:]))
        monkeypatch.setattr(ray, "get", self.get)
        self.collect = SimpleNamespace(remote=self.asked)

    def submit(self, jobs: list[Job]) -> object:
        self.submitted += [job.name for job in jobs]
        return self.ways.pop(0), len(self.submitted)

    def asked(self, stopping: bool) -> tuple[list[object], int]:
        self.stopping.append(stopping)
        return [], 0

    def get(self, answer: tuple[object, int]) -> object:
        if isinstance(answer[0], Exception):
            raise answer[0]
        return answer[0]

    def work(self, jobs: list[Job], stop: Stop) -> list[tuple[str, str]]:
        lines = Progress(Console(file=io.StringIO(), width=200))
        try:
            return [(job.name, outcome) for job, outcome in clusters._work(jobs, self.submit, self, lines, stop)]
        finally:
            self.said = lines.console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def raised(error: Exception) -> Exception:
    return pytest.importorskip("ray.exceptions").RayTaskError("attempt", "its traceback", error)


def test_a_run_whose_worker_dies_each_time_fails_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    died = pytest.importorskip("ray.exceptions").WorkerCrashedError()
    first, second, *_ = cluster().suite.jobs
    ended = Ended([died, ("done",), died, died, died], monkeypatch)
    assert ended.work([first, second], Stop()) == [(second.name, "done"), (first.name, "failed")]
    assert ended.submitted == [first.name, second.name, *[first.name] * 3]
    assert ended.said[-1] == f"{first.name}  FAILED: its worker died 4 times (out of memory?)"
    assert not any(ended.stopping)


def test_seeds_that_are_trained_together_have_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    died = pytest.importorskip("ray.exceptions").WorkerCrashedError()
    jobs = [
        replace(job, seed=seed, training=job.training.model_copy(update={"seeds_per_batch": 2}))
        for job in cluster().suite.jobs[:1]
        for seed in range(3)
    ]
    ended = Ended([died, ("failed",), ("done", "busy")], monkeypatch)
    outcomes = ended.work(jobs, Stop())
    names = [job.name for job in jobs]
    assert outcomes == [(names[2], "failed"), (names[0], "done"), (names[1], "busy")]
    assert ended.submitted == [*names, *names[:2]]


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (StorageError("the disk is full."), StorageError, "the disk is full."),
        (UserError("no data."), UserError, "no data."),
        (ModuleNotFoundError("no lvm_bench"), RunError, "a worker cannot work (ModuleNotFoundError: no lvm_bench)"),
    ],
)
def test_what_stops_one_worker_stops_all_after_they_have_saved(
    error: Exception, kind: type[Exception], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = cluster().suite.jobs[:3]
    died = pytest.importorskip("ray.exceptions").WorkerCrashedError()
    ended = Ended([raised(error), raised(Stopped()), died], monkeypatch)
    with pytest.raises(kind) as found:
        ended.work(jobs, Stop())
    assert sentence in str(found.value)
    assert ended.stopping == [False, True, True]
    assert len(ended.submitted) == 3, "nothing is begun again"


def test_when_asked_to_stop_a_dead_worker_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    died = pytest.importorskip("ray.exceptions").WorkerCrashedError()
    stop = Stop()
    stop.ask("It is late")
    ended = Ended([raised(Stopped()), died], monkeypatch)
    with pytest.raises(Stopped):
        ended.work(cluster().suite.jobs[:2], stop)
    assert len(ended.submitted) == 2
