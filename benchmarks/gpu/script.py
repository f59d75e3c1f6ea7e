"""The stages of the script: the decider, the rows, and the decider once more with the time that the rows left."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.__main__ import in_own_process
from benchmarks.gpu.page import Decided, page
from benchmarks.results import kept
from benchmarks.rows import ROWS
from lvm_bench import disk
from lvm_bench.execution.stopping import RESUBMIT
from lvm_bench.runs.layout import SCORES, SUITE_SCORES
from lvm_bench.runs.standing import surveyed
from lvm_bench.suites import bench_toml
from lvm_bench.suites.resolve import resolve

# What costs much comes last: compilers take most of a minute, fifty epochs more.
ORDER = ("gpu-seeds", "gpu-graph", "gpu-metrics", "gpu-features", "gpu-compile", "gpu-avae")
GPU_ROWS = tuple(name for start in ORDER for name in ROWS if name.startswith(start))
RESERVE = 1 / 3  # of the time, which the decider leaves to the rows if any is left to measure
LONGEST = 240.0  # seconds that a row may take
START = 15.0  # seconds below which nothing is begun: imports alone take most of them


@dataclass(frozen=True)
class Decider:
    """The suite that is run first, and what of it is chosen or changed."""

    suite: str = "avae-floor"
    device: str = "cuda"
    methods: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    def command(self, results: Path, seconds: float) -> list[str]:
        """The arguments of `lvm-bench` that run it for so long."""
        chosen = {"--methods": self.methods, "--datasets": self.datasets, "--set": self.settings}
        options = [f"{option}={value}" for option, values in chosen.items() for value in values]
        fixed = ["--suite", self.suite, "--device", self.device, "--results", str(results)]
        return ["run", *fixed, "--time-budget", f"{int(seconds)}s", *options]

    def found(self, results: Path) -> list[Decided]:
        """How far each run is. Raises UserError where runs have other settings."""
        file = bench_toml.config_file(None)
        suite = resolve(file, self.suite, methods=self.methods, datasets=self.datasets, settings=self.settings)
        pairs = surveyed(suite, results)
        return [Decided(job.name, job.training.epochs, standing) for job, standing in pairs]


@dataclass
class Script:
    """One pass over everything that is left, in `folder`. `left` tells the seconds until it must have ended."""

    folder: Path
    left: Callable[[], float]
    decider: Decider = Decider()
    names: Sequence[str] = GPU_ROWS
    small: bool = False  # rows in small sizes
    failed: dict[str, str] = field(default_factory=dict)  # by row or command: what failed in this pass, and how

    @property
    def rows(self) -> Path:
        """The folder of the rows that are measured."""
        return self.folder / "rows"

    def perform(self) -> int:
        """Do what there is time for. The exit code: 0 all is done, 1 something failed, 75 something is left."""
        self.write()
        self.decide(RESERVE * self.left() if self.unmeasured() else 0.0)
        for name in self.unmeasured():
            self.measure(name)
        self.decide(0.0)
        return 1 if self.failed else RESUBMIT if self.undecided() or self.unmeasured() else 0

    def unmeasured(self) -> list[str]:
        """The rows without a result."""
        return [name for name in self.names if kept(name, self.rows) is None]

    def decide(self, reserve: float) -> None:
        """Run the decider until `reserve` seconds are left, then write the tables of its finished runs."""
        suite, seconds = self.decider.suite, self.left() - reserve
        if seconds > START and "run" not in self.failed and self.undecided():
            print(f"{suite}: for at most {seconds:.0f} s.", flush=True)
            self.lvm_bench(*self.decider.command(self.folder, seconds))
            self.write()
        done = [run.standing.folder / SCORES for run in self.decider.found(self.folder) if run.is_done]
        written = self.folder / suite / SUITE_SCORES
        since = written.stat().st_mtime if written.is_file() else 0.0
        if self.left() > START and any(file.stat().st_mtime > since for file in done):
            self.lvm_bench("report", "--suite", suite, "--results", str(self.folder))
            self.write()

    def lvm_bench(self, *arguments: str) -> None:
        """Run a command as long as there is time; what it prints as its result stands in files as well."""
        command = [sys.executable, "-m", "lvm_bench", *arguments]
        try:
            code = subprocess.run(command, timeout=max(self.left(), 1.0), stdout=subprocess.DEVNULL).returncode
        except subprocess.TimeoutExpired:
            return
        if code not in (0, RESUBMIT):
            self.failed[arguments[0]] = f"ended with exit code {code}"

    def measure(self, name: str) -> None:
        """Measure a row, if there is time to begin it."""
        if self.left() < START:
            return
        found = in_own_process(name, self.small, self.rows, min(self.left(), LONGEST))
        if isinstance(found, str) and self.left() > 0:  # else its time was up
            self.failed[name] = found
        self.write()

    def undecided(self) -> bool:
        """Whether the decider has work left."""
        return not all(run.is_finished for run in self.decider.found(self.folder))

    def write(self) -> None:
        """Write RESULTS-gpu.md, of everything so far."""
        rows = {name: kept(name, self.rows) for name in self.names}
        text = page(self.decider.suite, self.decider.found(self.folder), rows, self.failed)
        disk.write_text(self.folder / "RESULTS-gpu.md", text)
