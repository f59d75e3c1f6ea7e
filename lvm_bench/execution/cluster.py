"""Runs at a time on the nodes of a Ray cluster. Nothing else needs Ray.

A task of Ray is one run, or the seeds that are trained together. A worker process keeps its `Worker`, and with it
the data of its last run; it says how its runs are going, and learns when to stop, through an actor beside the command.
"""

import logging
import os
import platform
import re
import socket
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lvm_bench import disk, registry
from lvm_bench.errors import RunError, Stopped, UserError
from lvm_bench.execution.line import POLL, Call, Deaths, Line, tell, trouble_of
from lvm_bench.execution.progress import Progress
from lvm_bench.execution.stopping import Stop, sheltered
from lvm_bench.runs.standing import State
from lvm_bench.suites.job import Job, Suite

if TYPE_CHECKING:
    from lvm_bench.execution.worker import Hire, Work, Worker


_ADDRESS = re.compile(r"(?P<host>[^\s:/\[\]]+|\[[0-9a-fA-F:.]+\]):(?P<port>\d{1,5})")

_OF_A_CLUSTER = (
    "Give the command on a node of the cluster, with its versions of Ray and Python. "
    "If it asks for a token, as new Rays do, set RAY_AUTH_MODE=token."
)


class Board:
    """The actor between the workers and the command: what they say, and whether they are to stop."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._stopping = False

    def exchange(self, calls: list[Call]) -> bool:
        """Take what a worker says; whether it is to stop."""
        self._calls += calls
        return self._stopping

    def collect(self, stopping: bool) -> list[Call]:
        """Hand over what was said since the last time."""
        self._stopping = stopping
        calls, self._calls = self._calls, []
        return calls

    def sees(self, file: Path) -> bool:
        """Whether a file is there for the machine of the command."""
        return file.is_file()


class Wire:
    """A worker's end of the board. Calling it tells whether the command wishes that it stops."""

    def __init__(self, board: Any):
        self._board, self._stopping = board, False
        self.line = Line(self._exchange)

    def __call__(self) -> bool:
        self.line.flush()
        return self._stopping

    def _exchange(self, calls: list[Call]) -> None:
        from ray.exceptions import RayError

        try:
            self._stopping = answer(self._board.exchange.remote(calls))
        except RayError:  # the command is gone: save, and end
            self._stopping = True


_ASKING = ThreadPoolExecutor(1)


def answer(reference: Any) -> Any:
    """The answer of a Ray actor. Another thread waits for it: a task that waits itself gives its CPUs away."""
    import ray

    return _ASKING.submit(ray.get, reference).result()


@dataclass(frozen=True)
class Place:
    """The folders that a worker must find on its machine."""

    folder: Path  # in which the command was given
    results: Path  # of the suite
    files: list[Path]  # of plug-ins and packages

    def enter(self, board: Any) -> None:
        """Work in the folder of the command; UserError naming what this machine does not have."""
        missing = [str(path) for path in (self.folder, self.results, *self.files) if not path.exists()]
        if missing:
            raise UserError(
                f"The node {platform.node()} has no {', '.join(missing)}. All nodes of a cluster need the working "
                "folder, the results and the methods under the same paths: share them, or start the nodes elsewhere."
            )
        os.chdir(self.folder)
        runs = self.results / "runs"  # beside them a `report` sweeps
        runs.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=runs, prefix=disk.TEMPORARY) as probe:
            if not answer(board.sees.remote(Path(probe.name))):
                raise UserError(
                    f"{self.results} on the node {platform.node()} is not the folder of that name on the machine of "
                    "this command. Give a folder on a shared file system with --results."
                )


_WORKERS: "dict[str, Worker]" = {}  # of this process: one, of the suite at work

_FOUND: set[str] = set()  # data sets whose files this process has found whole


def attempt(jobs: list[Job], place: Place, hire: "Hire", board: Any) -> list[State]:
    """The task: one run, or the seeds that are trained together, by the worker of this process.

    Raises Stopped, StorageError, and UserError for a machine.
    """
    from lvm_bench.execution.task import require_files

    suite, dataset = jobs[0].suite, jobs[0].dataset
    if not _WORKERS:
        place.enter(board)
        for file in (*registry.own_files(), *place.files):
            registry.load(file)
        wire = Wire(board)
        _WORKERS[suite] = hire(wire.line, wire)
    worker = _WORKERS[suite]
    if worker.stop():
        raise Stopped
    if dataset not in _FOUND:
        try:
            require_files(jobs, worker.tasks.root)
        except UserError as error:
            raise UserError(f"The node {platform.node()} lacks data. {error}") from error
        _FOUND.add(dataset)
    return [outcome for _, outcome in worker.work_all(jobs)]


class Cluster:
    """The Ray cluster at an address, at work on a suite.

    Entering it raises UserError without Ray, for a cluster that does not answer, and where no node has room for a run.
    """

    def __init__(self, suite: Suite, results: Path, device: str, address: str):
        self.suite, self.results, self.address = suite, results, address
        self.device, self.nodes = device, list[dict[str, float]]()  # as asked for; known when it is entered

    def __enter__(self) -> "Cluster":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when Ray is imported: no word to its makers
        try:
            import ray
        except ImportError as error:
            raise UserError(f"--address {self.address} needs Ray: pip install 'lvm-bench[ray]'.") from error
        _reach(self.address)
        try:
            with sheltered():
                ray.init(address=self.address, log_to_driver=False, logging_level=logging.CRITICAL)
        except (RuntimeError, ConnectionError, OSError, ValueError) as error:
            why = str(error).strip().split("\n")[0]
            raise UserError(f"--address {self.address}: Ray cannot start here ({why}). {_OF_A_CLUSTER}") from error
        try:
            self.nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            self.device = self._device()
            self.check_room()
        except BaseException:
            ray.shutdown()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        import ray

        ray.shutdown()

    def _device(self) -> str:
        found = any(node.get("GPU", 0) for node in self.nodes)
        if self.device == "cuda" and not found:
            raise UserError(f"--device cuda: no node of the cluster at {self.address} has a GPU. Use --device cpu.")
        return "cpu" if self.device == "cpu" or not found else "cuda"

    def needs(self, job: Job) -> dict[str, float]:
        """The resources that Ray reserves for a run."""
        gpus = self.suite.running.gpus_per_job if self.device == "cuda" else 0
        return {"num_cpus": job.training.threads, "num_gpus": gpus}

    def check_room(self) -> None:
        """UserError when no node can take one of the runs, which would wait for ever."""
        for job in self.suite.jobs:
            cpus, gpus = self.needs(job).values()
            if gpus > 1 and gpus != int(gpus):
                raise UserError(f"gpus_per_job = {gpus}: Ray shares out parts of one GPU or whole ones. Give 1 or 2.")
            if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in self.nodes):
                raise UserError(
                    f"--address {self.address}: no node has the {cpus:g} CPUs (`threads`) and {gpus:g} GPUs "
                    f"(`gpus_per_job`) that {job.name} needs. Change these settings, or add such a node."
                )

    def distribute(self, hire: "Hire", progress: Progress, stop: Stop) -> "Work":
        """A function that has jobs done by the cluster's workers. It raises Stopped, StorageError and UserError."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        # Restarted for ever: the next `collect` tells it all it has to know.
        actor: Any = ray.remote(Board)
        board = actor.options(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here).remote()
        place = ray.put(Place(Path.cwd(), (self.results / self.suite.name).absolute(), self.suite.loaded))
        hired = ray.put(hire)
        task: Any = ray.remote(attempt)

        def submit(jobs: list[Job]) -> Any:
            options = {"max_retries": 0, "scheduling_strategy": "SPREAD", **self.needs(jobs[0])}
            return task.options(**options).remote(jobs, place, hired, board)

        def work(jobs: list[Job]) -> Iterator[tuple[Job, State]]:
            return _work(jobs, submit, board, progress, stop)

        return work


def _work(
    jobs: list[Job], submit: Callable[[list[Job]], Any], board: Any, progress: Progress, stop: Stop
) -> Iterator[tuple[Job, State]]:
    """Yields each job with its state when it ends. The jobs of a worker that died are submitted again."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    from lvm_bench.execution.worker import groups

    deaths = Deaths(progress)
    trouble: BaseException | None = None  # what ends all work, when every worker has saved its own
    waiting = {submit(group): group for group in groups(jobs)}

    def listen() -> None:
        tell(progress, ray.get(board.collect.remote(stop() or trouble is not None)))

    while waiting:
        try:
            ended, _ = ray.wait(list(waiting), timeout=POLL)
            listen()
        except RayError as error:
            if stop():
                raise Stopped from error
            raise RunError(
                "Ray's own processes have died. Give the same command again: runs go on from their last checkpoints."
            ) from error
        for reference in ended:
            group = waiting.pop(reference)
            try:
                yield from zip(group, ray.get(reference), strict=True)
            except RayTaskError as error:
                if trouble is None or isinstance(trouble, Stopped):
                    trouble = trouble_of(group[0], error.cause, "All nodes need the same environment.")
            except RayError:
                if trouble is not None or stop():
                    trouble = trouble or Stopped()
                elif deaths.goes_on(group):
                    waiting[submit(group)] = group
                else:
                    yield from ((job, State.FAILED) for job in group)
    if trouble is not None:
        raise trouble


def _reach(address: str) -> None:
    """UserError unless something listens at HOST:PORT."""
    found = _ADDRESS.fullmatch(address)
    if not found:
        raise UserError(f"--address {address[:80]!r}: write HOST:PORT, as `ray start --head` prints it.")
    try:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"--address {address}: no Ray cluster answers there ({error}). Start one with `ray start --head` on one "
            "node and `ray start --address=HOST:PORT` on the others, this machine among them."
        ) from error
