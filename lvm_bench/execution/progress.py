"""The progress of a suite on stderr: one live line on a terminal, plain lines elsewhere and with --verbose."""

import math
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.live import Live
from rich.markup import escape

from lvm_bench.output import Volume
from lvm_bench.suites.job import Job
from lvm_bench.text import clock, counted, printable
from lvm_bench.training.tick import Tick

PLAIN_EVERY = 15.0  # seconds between plain lines of a run, so that a log of hours stays readable

VERBOSE_EVERY = 1.0  # the same with --verbose


@runtime_checkable
class Listener(Protocol):
    """Whoever is told how a worker's jobs are going."""

    def tick(self, job: Job, tick: Tick) -> None: ...
    def scoring(self, job: Job) -> None: ...
    def done(self, job: Job, seconds: float) -> None: ...
    def declined(self, job: Job, reason: str) -> None: ...
    def elsewhere(self, job: Job) -> None: ...
    def failed(self, name: str, reason: str) -> None: ...
    def notice(self, job: Job, text: str) -> None: ...
    def about_data(self, job: Job, text: str) -> None: ...


@dataclass
class Pace:
    """How far a run was when its first step was told, how far it is, and when."""

    begun: float
    first: float
    share: float = 0.0
    seen: float = 0.0
    measured_since: float | None = None

    @property
    def training(self) -> float:
        """Seconds that its whole training takes at this pace; NaN where there is no pace yet."""
        return (self.seen - self.begun) / (self.share - self.first) if self.share > self.first else math.nan

    @property
    def left(self) -> float:
        """Seconds that are left of its training."""
        return self.training * (1 - self.share)


class Progress:
    """Lines about a suite: the run at work with its pace and time left, and what became of each run."""

    def __init__(self, console: Console | None = None, volume: Volume = Volume.NORMAL):
        self.console = console or Console(stderr=True, highlight=False)
        self.volume = volume
        self.live = Live(console=self.console, transient=True, refresh_per_second=4)
        self.begun = time.monotonic()
        self.texts: dict[str, str] = {}  # of the runs at work
        self.printed: dict[str, float] = {}
        self.paces: dict[str, Pace] = {}  # of the runs at work
        self.at_once = 1  # the most runs that were at work at a time
        self.costs: list[tuple[float, float]] = []  # seconds of training and of measuring, of each finished run
        self.reasons: dict[str, str] = {}  # of failures that were told, each with the name of its first run
        self.told: set[tuple[str, str]] = set()  # data sets, each with what was told of it
        self.todo = self.controls = self.finished = 0

    def start(self, total: int, finished: int, todo: int, controls: int = 0) -> None:
        """Say how many of all runs are finished; so many of the others, and so many controls, are to be worked on."""
        self.todo, self.controls, self.begun = todo, controls, time.monotonic()
        if finished:
            self.line(f"{finished} of {counted(total, 'run')} {'is' if finished == 1 else 'are'} finished already.")
        if self._is_live and todo:
            self.live.start()

    def stop(self) -> None:
        """Say what was done."""
        self.live.stop()
        if self.todo == 0:
            self.line(f"Only {counted(self.controls, 'control')} was left." if self.controls else "Nothing to do.")
        else:
            runs = counted(self.todo, "run")
            self.line(f"{self.finished} of {runs} finished in {clock(time.monotonic() - self.begun)}.")

    def line(self, text: str) -> None:
        """A line that stays, of what goes well: --quiet leaves it out."""
        if self.volume != Volume.QUIET:
            self.warn(text)

    def warn(self, text: str) -> None:
        """A line that stays."""
        if self.volume == Volume.VERBOSE:
            text = f"[{clock(time.monotonic() - self.begun)}] {text}"
        with suppress(OSError):  # a terminal that was closed, a full disk under a log: the work goes on unseen
            self.console.print(escape(printable(text)), soft_wrap=True)

    @property
    def _every(self) -> float:
        """Seconds between two plain lines of a run."""
        return VERBOSE_EVERY if self.volume == Volume.VERBOSE else PLAIN_EVERY

    @property
    def _is_live(self) -> bool:
        return self.console.is_terminal and self.volume == Volume.NORMAL

    def tick(self, job: Job, tick: Tick) -> None:
        """Show how training is going."""
        pace = self.paces.setdefault(job.name, Pace(time.monotonic(), tick.share))
        self.at_once = max(self.at_once, len(self.paces))
        pace.share, pace.seen = tick.share, time.monotonic()
        means = "  ".join(f"{name} {value:.4g}" for name, value in tick.means.items())
        text = f"{job.name}  epoch {tick.epoch}/{tick.epochs}  {means}  {tick.images_per_second:,.0f} images/s"
        if tick.share > pace.first:
            text += f"  left: run {clock(pace.left)}, suite {clock(self._left(pace))}"
        self._show(job, text)

    def scoring(self, job: Job) -> None:
        """Show that a trained model is being measured."""
        if job.name in self.paces:
            self.paces[job.name].measured_since = time.monotonic()
        if self.volume == Volume.VERBOSE:
            self.printed[job.name] = -math.inf  # it is told at once
        self._show(job, f"{job.name}  measuring")

    def done(self, job: Job, seconds: float) -> None:
        """A run is finished."""
        pace = self.paces.get(job.name)
        if not job.is_control:
            since = pace.measured_since if pace and pace.share > pace.first else None
            self.costs.append((pace.training, time.monotonic() - since) if pace and since else (0.0, seconds))
        self._ended(job, f"done in {clock(seconds)}")

    def declined(self, job: Job, reason: str) -> None:
        """A method declined its data set."""
        self._ended(job, f"declined: {reason}")

    def elsewhere(self, job: Job) -> None:
        """Another runner has finished a run."""
        self._ended(job, "done by another runner")

    def failed(self, name: str, reason: str) -> None:
        """A run failed, and the others go on; a reason that several runs share is told once."""
        self._forget(name)
        first = self.reasons.setdefault(reason, name)
        self.warn(f"{name}  FAILED: {reason}" if first == name else f"{name}  FAILED for the same reason as {first}.")

    def notice(self, job: Job, text: str) -> None:
        """Something about a run that its author should know, such as a damaged file."""
        self.warn(f"{job.name}  {text}")

    def about_data(self, job: Job, text: str) -> None:
        """How the files of a job's data set were read; told once for all its runs."""
        if (job.dataset, text) not in self.told:
            self.told.add((job.dataset, text))
            self.line(f"{job.dataset}  {text}")

    def waiting(self, count: int, whose: str) -> None:
        """Nothing is left but what other runners are at work on: so many runs, or else controls alone."""
        what = counted(count, "run") if count else "Only controls"
        self._show_text("", f"{what} at work in other runners ({whose}): waiting")
        del self.texts[""]

    def stopped(self, reason: str, left: int, total: int) -> None:
        """Asked to stop: everything is saved."""
        self.live.stop()
        self.warn(f"{reason}: everything is saved, {left} of {counted(total, 'run')} left. The same command goes on.")

    def _left(self, pace: "Pace") -> float:
        """Seconds that the suite will take, by the runs that are finished, else by the pace of this one.

        What is done once, before the first step of the first run, is no part of it.
        """
        training, measuring = pace.training, 0.0
        if self.costs:
            training, measuring = (sum(costs) / len(costs) for costs in zip(*self.costs, strict=True))
        at_work = sum((0.0 if math.isnan(each.left) else each.left) + measuring for each in self.paces.values())
        waiting = max(self.todo - self.finished - len(self.paces), 0)
        # One that has just ended leaves a worker free, which has begun no other yet.
        return at_work / len(self.paces) + waiting * (training + measuring) / self.at_once

    def _ended(self, job: Job, how: str) -> None:
        self._forget(job.name)
        if not job.is_control:
            self.finished += 1
            self.line(f"{job.name}  {how}  ({self.finished}/{self.todo})")

    def _forget(self, name: str) -> None:
        self.texts.pop(name, None)
        self.paces.pop(name, None)

    def _show(self, job: Job, text: str) -> None:
        self._show_text(job.name, text)

    def _show_text(self, name: str, text: str) -> None:
        self.texts[name] = text
        now = time.monotonic()
        if self._is_live:
            with suppress(OSError):
                self.live.update(escape(printable("\n".join(self.texts.values()))))
        elif now - self.printed.setdefault(name, self.begun) > self._every:
            self.printed[name] = now
            self.line(text)
