"""What a run shows: a live line on a terminal, plain lines elsewhere, and names that cannot be read as markup."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from lvm_bench.execution.progress import Progress
from lvm_bench.output import Volume
from lvm_bench.suites import bench_toml
from lvm_bench.suites.job import Job
from lvm_bench.suites.resolve import resolve
from lvm_bench.text import clock
from lvm_bench.training.tick import Tick


@pytest.fixture(scope="module")
def job() -> Job:
    return resolve(bench_toml.defaults_folder() / "bench.toml", "quick", methods=("vae",)).jobs[0]


def shown(job: Job, terminal: bool, volume: Volume = Volume.NORMAL) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200, highlight=False)
    lines = Progress(console, volume)
    lines.start(3, 1, 2)
    for share in (0.25, 0.5):
        lines.tick(job, Tick(2, 60, share, 1234.5, {"train/loss": 1.25}))
    lines.scoring(job)
    lines.done(job, 75.0)
    lines.failed("digits/[bold]x", "it broke")
    lines.stop()
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_plain_lines_are_rare_and_outcomes_always_shown(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lvm_bench.execution.progress.PLAIN_EVERY", 1e9)
    text = shown(job, terminal=False)
    assert "epoch" not in text
    assert "1 of 3 runs is finished already." in text
    assert "digits/vae/seed-0  done in 1m15s  (1/2)" in text
    assert "digits/[bold]x  FAILED: it broke" in text
    assert "\x1b" not in text


def test_quiet_tells_failures_alone_and_verbose_tells_every_step_in_lines(job: Job) -> None:
    quiet, verbose = (shown(job, terminal=True, volume=volume) for volume in (Volume.QUIET, Volume.VERBOSE))
    assert quiet == "digits/[bold]x  FAILED: it broke\n"
    assert "[0s] digits/vae/seed-0  measuring\n" in verbose
    assert "[0s] digits/vae/seed-0  done in 1m15s  (1/2)\n" in verbose
    assert "\x1b" not in verbose


def test_a_line_tells_epoch_losses_pace_and_time_left(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lvm_bench.execution.progress.PLAIN_EVERY", -1.0)
    text = shown(job, terminal=False)
    assert "digits/vae/seed-0  epoch 2/60  train/loss 1.25  1,234 images/s  left: run 0s, suite 0s" in text
    assert text.count("left: ") == 1, "nothing is known of the pace at the first tick"
    assert "digits/vae/seed-0  measuring" in text


def test_a_terminal_gets_a_live_line_that_is_erased(job: Job) -> None:
    text = shown(job, terminal=True)
    assert "measuring" in text
    assert "\x1b[2K" in text


class Stage:
    """Six runs of `quick`, the lines they show, each at once, and a clock that tests set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        bench = bench_toml.defaults_folder() / "bench.toml"
        self.jobs = resolve(bench, "quick", methods=("vae", "aae"), seeds=(0, 1, 2)).jobs
        self.now, self.file = 1000.0, io.StringIO()
        self.lines = Progress(Console(file=self.file, width=200))
        monkeypatch.setattr("time.monotonic", lambda: self.now)
        monkeypatch.setattr("lvm_bench.execution.progress.PLAIN_EVERY", -1.0)
        self.lines.start(len(self.jobs), 0, len(self.jobs))


@pytest.mark.parametrize("start", [0.0, 60.0])
@pytest.mark.parametrize("at_once", [1, 2])
def test_the_time_left_leaves_out_what_is_done_once(
    start: float, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of 8 s of training and 2 s of measuring, after a minute of reading data."""
    stage = Stage(monkeypatch)
    jobs, lines = stage.jobs, stage.lines
    stage.now += start
    for begun in range(0, len(jobs), at_once):
        together = jobs[begun : begun + at_once]
        for share in (0.25, 0.5, 0.75, 1.0):
            stage.now += 2.0
            for job in together:
                lines.tick(job, Tick(1, 4, share, 1.0, {}))
        for job in together:
            lines.scoring(job)
        stage.now += 2.0
        for job in together:
            lines.done(job, 10.0)
    told = [re.search(r"run (\d+)s, suite (\d+)s", line) for line in stage.file.getvalue().splitlines()]
    left = [tuple(map(int, found.groups())) for found in told if found]
    rounds = len(jobs) // at_once
    expected = [(2 * n, 10 * after + 2 * n + 2) for after in reversed(range(rounds)) for n in (2, 1, 0)]
    assert left[-1] == expected[-1]
    assert left[4 * at_once - 1 :: at_once] == expected[3:]
    assert all(0.5 < mine[1] / true[1] < 2 for mine, true in zip(left[2::at_once], expected[:2], strict=False))


def test_a_worker_between_two_runs_does_not_double_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of six runs of 8 s at a time, of which one ends early: 2 s of the other, and 4 x 8 s by two workers."""
    stage = Stage(monkeypatch)
    jobs, lines = stage.jobs, stage.lines
    for share in (0.25, 0.5):
        stage.now += 2.0
        for job in jobs[:2]:
            lines.tick(job, Tick(1, 4, share, 1.0, {}))
    lines.elsewhere(jobs[1])
    stage.now += 2.0
    lines.tick(jobs[0], Tick(1, 4, 0.75, 1.0, {}))
    assert stage.file.getvalue().splitlines()[-1].endswith("left: run 2s, suite 18s")


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0s"), (59.4, "59s"), (75, "1m15s"), (7440, "2h04m")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_that_is_gone_stops_nothing(job: Job, terminal: bool) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    lines = Progress(Console(file=Gone(), force_terminal=terminal, width=200))
    lines.tick(job, Tick(2, 60, 0.5, 1234.5, {}))
    lines.failed("digits/x", "it broke")
    lines.done(job, 75.0)


def test_how_data_were_read_is_told_once(job: Job) -> None:
    console = Console(file=io.StringIO(), width=200)
    lines = Progress(console)
    for seed in range(3):
        lines.about_data(replace(job, seed=seed), "the labels became classes.")
    lines.about_data(replace(job, dataset="other"), "the labels became classes.")
    assert isinstance(console.file, io.StringIO)
    told = "digits  the labels became classes.\nother  the labels became classes.\n"
    assert console.file.getvalue() == told
