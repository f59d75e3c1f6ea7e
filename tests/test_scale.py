"""What suites cost on many machines follows from counted work and committed rates."""

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import scale
from lvm_bench.suites import bench_toml
from lvm_bench.suites.resolve import resolve

CONFIG = bench_toml.config_file(None)
WORKER = scale.Machine("made up", rate=10.0, step=0.0, images=2.0, scores=3.0)


def run(dataset: str, steps: int = 1) -> scale.Work:
    job: Any = SimpleNamespace(dataset=dataset)
    return scale.Work(job, steps, training=100.0, making=20.0, features=4, reference=6)


def test_a_run_takes_its_operations_images_and_scores() -> None:
    assert WORKER.parts(run("a")) == (10.0, 4.0, 3.0)
    slow = scale.Machine("made up", rate=10.0, step=0.5, images=2.0, scores=3.0)
    assert slow.parts(run("a", steps=40)) == (20.0, 4.0, 3.0)


@pytest.mark.parametrize(("workers", "seconds"), [(1, 54.0), (2, 34.0), (3, 20.0), (100, 20.0)])
def test_runs_go_to_free_workers_and_the_first_of_a_data_set_makes_what_all_share(workers: int, seconds: float) -> None:
    assert scale.until_done([run("a"), run("a"), run("a")], WORKER, workers) == seconds


def test_a_step_needs_three_times_the_operations_of_its_losses() -> None:
    (job,) = resolve(CONFIG, "quick", methods=("ae",), seeds=(0,)).jobs
    found, n, v, epochs = scale.work_of(job), 1200, 200, job.training.epochs
    assert (found.reference, found.steps, found.features) == (n, epochs * n // job.training.batch_size, 4 * 397)
    losses = found.making / found.features
    assert 2.5 * epochs * n * losses < found.training < (3 * epochs * n + 2 * epochs * v + v + 2 * n) * losses


def test_the_page_has_a_row_for_each_method_and_its_rates_stand_in_the_committed_pages() -> None:
    lines = (scale.HERE / "SCALE.md").read_text(encoding="utf-8").split("## Work of a run")[1].splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    jobs = {(suite, job.dataset, job.method) for suite in scale.SUITES for job in resolve(CONFIG, suite).jobs}
    assert len(rows) == len(jobs)
    for file in scale.HERE.glob("RESULTS-*-*.md"):
        text = file.read_text(encoding="utf-8")
        for what, peer in (scale.STEP, scale.FEATURES, *(row[:2] for row in scale.SCORES)):
            assert scale.seconds(text, what, peer) > 0
