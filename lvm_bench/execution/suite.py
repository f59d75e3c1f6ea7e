"""All runs of a suite: what is finished is skipped, and a failing run does not stop the others.

Whoever works on a run holds its folder, so that any number of runners can share one results folder.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from lvm_bench import disk
from lvm_bench.errors import Stopped
from lvm_bench.execution.job_data import require_same_data
from lvm_bench.execution.progress import Progress
from lvm_bench.execution.provenance import code_digest
from lvm_bench.execution.stopping import Stop
from lvm_bench.execution.task import require_files, require_own_images, require_precision
from lvm_bench.execution.worker import Hire, Work, Worker
from lvm_bench.registry import METHODS, source_file
from lvm_bench.runs.lease import Holder, holder, is_free
from lvm_bench.runs.standing import FINISHED, Standing, State, folder_of, left, surveyed
from lvm_bench.suites.job import Job, Suite

POLL = 2.0  # seconds between two looks at runs that others work on

SOON = 0.1  # seconds after which a run is tried again that was just given back


def run_suite(
    suite: Suite,
    results: Path,
    root: Path,
    device: str,
    progress: Progress,
    stop: Stop,
    *,
    retry_failed: bool = False,
    resample: int = 0,
    missing: bool = False,
    distribute: Callable[[Hire, Progress, Stop], Work] | None = None,
) -> int:
    """Run every job of a suite that is not finished; returns how many runs stand as failed at the end.

    Of each trained run `resample` further evaluations are made, each with other random draws. With `missing` a run is
    left out whose scores were committed with the same settings.
    The work is done here, one job after another, unless `distribute` has it done by workers that it hires elsewhere.
    Raises UserError before any work when the folder holds runs with other settings or data and when a user's images
    are too few, Stopped when asked to.
    """
    folder = results / suite.name
    disk.check_writable(disk.check_inside(results, folder))
    pairs = surveyed(suite, results, missing=missing)
    require_same_data(pairs, root)
    todo = [job for job, standing in pairs if left(standing, retry_failed=retry_failed, resample=resample)]
    require_files(todo, root)
    require_precision(todo, device)
    given_up = {job.name: standing.record for job, standing in pairs if standing.state == State.FAILED}
    retried = given_up if retry_failed else {}
    hire = partial(Worker, results, root, device, suite.running, given_up=retried, resample=resample)
    worker = hire(progress, stop)
    require_own_images(todo, worker.tasks)
    own = [standing.state for job, standing in pairs if not job.is_control]
    controls = sum(job.is_control for job in todo)
    progress.start(
        len(own), sum(state in (*FINISHED, State.COMMITTED) for state in own), len(todo) - controls, controls
    )
    for job, file in _of_another_file(pairs):
        progress.notice(job, f"{file} has changed since: scores stay those of before. To train anew, delete the runs.")
    for method, reason in suite.broken.items():
        progress.failed(method, reason)
    for _, standing in pairs:
        if not left(standing):
            worker.leases.tidy(standing.folder)
    try:
        work = distribute(hire, progress, stop) if distribute else worker.work_all
        outcomes = share(todo, results, work, progress, stop)
    except Stopped:
        now = surveyed(suite, results, missing=missing)
        unfinished = sum(bool(left(standing)) for job, standing in now if not job.is_control)
        progress.stopped(stop.reason, unfinished, len(suite.jobs))
        raise
    finally:
        progress.live.stop()  # it hides the terminal's cursor
    progress.stop()
    if not retry_failed:
        for name, record in given_up.items():
            progress.failed(name, f"{record.get('reason', '')} (before; --retry-failed tries it again)")
    return len(suite.broken) + list(outcomes.values()).count(State.FAILED) + (0 if retry_failed else len(given_up))


def _of_another_file(pairs: list[tuple[Job, Standing]]) -> list[tuple[Job, Path]]:
    """Methods whose file changed after a run: the first such run on each data set, with the file."""
    states = (State.DONE, State.TRAINED)
    trained = [(job, standing) for job, standing in pairs if standing.state in states and not job.is_control]
    codes = {name: code_digest(job) for name, job in {job.method_base: job for job, _ in trained}.items()}
    found: dict[tuple[str, str], Job] = {}
    for job, standing in trained:
        code = codes[job.method_base]
        if standing.record["environment"]["versions"].get("method", code) != code:
            found.setdefault((job.dataset, job.method), job)
    return [(job, Path(source_file(METHODS[job.method_base]))) for job in found.values()]


def share(
    todo: list[Job],
    results: Path,
    work: Work,
    progress: Progress,
    stop: Stop,
) -> dict[str, State]:
    """Work on jobs until no other runner works on one of them; the jobs of a runner that dies are taken over."""
    outcomes: dict[str, State] = {}
    while todo:
        found = list(work(todo))
        outcomes |= {job.name: outcome for job, outcome in found}
        busy = [job for job, outcome in found if outcome == State.RUNNING]
        if busy and stop():
            raise Stopped
        # A lease may be released between the two looks: that run is not waited for, it is tried again.
        held = [job for job in busy if not is_free(folder_of(job, results))]
        if held:
            whose = {_whose(holder(folder_of(job, results))) for job in held}
            progress.waiting(sum(not job.is_control for job in held), ", ".join(sorted(whose)))
        if busy:
            stop.wait(POLL if held else SOON)
        todo = busy
    return outcomes


def _whose(found: Holder | None) -> str:
    return f"{found.host}, process {found.pid}" if found else "with a lease that cannot be read"
