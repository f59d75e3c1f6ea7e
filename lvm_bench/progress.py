"""What a run shows: one live line on a terminal, plain lines elsewhere; always on stderr."""

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.markup import escape

from lvm_bench.config import Job

if TYPE_CHECKING:
    from lvm_bench.train import Tick

PLAIN_EVERY = 15.0  # seconds between plain lines, so that a log of hours stays readable


class Progress:
    """Lines about a suite: the run at work with its pace and time left, and what became of each run."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console(stderr=True, highlight=False)
        self.live = Live(console=self.console, transient=True, refresh_per_second=4)
        self.begun = self.printed = time.monotonic()
        self.job: Job | None = None
        self.job_begun = self.begun
        self.total = self.todo = self.finished = 0

    def start(self, total: int, todo: int) -> None:
        """Say how much there is to do."""
        self.total, self.todo, self.begun = total, todo, time.monotonic()
        done = total - todo
        if done:
            self.line(f"{done} of {total} runs are finished already.")
        if self.console.is_terminal and todo:
            self.live.start()

    def stop(self) -> None:
        """Say what was done."""
        self.live.stop()
        if self.todo == 0:
            self.line("Nothing to do.")
        else:
            self.line(f"{self.finished} of {self.todo} runs finished in {clock(time.monotonic() - self.begun)}.")

    def line(self, text: str) -> None:
        """A line that stays."""
        self.console.print(escape(text), soft_wrap=True)

    def tick(self, job: Job, tick: "Tick") -> None:
        """Show how training is going."""
        now = time.monotonic()
        if job is not self.job:
            self.job, self.job_begun = job, now
        run_left = (now - self.job_begun) * (1 - tick.share) / max(tick.share, 1e-9)
        runs = self.finished + tick.share
        suite_left = (now - self.begun) * (self.todo - runs) / max(runs, 1e-9)
        means = "  ".join(f"{name} {value:.4g}" for name, value in tick.means.items())
        text = (
            f"{job.name}  epoch {tick.epoch}/{tick.epochs}  {means}  {tick.images_per_second:,.0f} images/s  "
            f"left: run {clock(run_left)}, suite {clock(suite_left)}"
        )
        self._show(text)

    def scoring(self, job: Job) -> None:
        """Show that a trained model is being measured."""
        self._show(f"{job.name}  measuring")

    def done(self, job: Job, seconds: float) -> None:
        """A run is finished."""
        self.finished += 1
        self.line(f"{job.name}  done in {clock(seconds)}  ({self.finished}/{self.todo})")

    def declined(self, job: Job, reason: str) -> None:
        """A method declined its data set."""
        self.finished += 1
        self.line(f"{job.name}  declined: {reason}")

    def failed(self, name: str, reason: str) -> None:
        """A run failed; the others go on."""
        self.line(f"{name}  FAILED: {reason}")

    def _show(self, text: str) -> None:
        if self.console.is_terminal:
            self.live.update(escape(text))
        elif time.monotonic() - self.printed > PLAIN_EVERY:
            self.printed = time.monotonic()
            self.line(text)


def clock(seconds: float) -> str:
    """Seconds as 7s, 3m05s or 2h04m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
