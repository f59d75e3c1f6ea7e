"""The table of one kind of processor, from the results that the processes of the rows kept."""

import dataclasses
import json
import os
import platform
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.held_by import HELD_BY
from benchmarks.measure import ratio, threads
from benchmarks.rows import ROWS, Equality, Goal, Measured, Row

HERE = Path(__file__).parent
HEADER = ("what", "peer", "ours", "theirs", "ratio", "limit", "equal", "goal", "")
_WIDEST = ("avx512f", "avx2", "asimd")  # vector instructions, the widest first: they decide how fast arithmetic is
STEPS = ("step-vae", "step-beta-tcvae", "step-rae-l2", "step-aae", "step-wae-mmd")  # pythae has no AVAE
MEDIAN_STEP = 1.05


@dataclass(frozen=True)
class Kept:
    """A row with its result, or with the reason why it was not measured."""

    row: Row
    peer: str
    measured: Measured | None
    reason: str = ""

    @property
    def ratio(self) -> float | None:
        """Theirs over ours, or ours over theirs if the goal limits that. None without a peer."""
        if self.measured is None or not self.measured.theirs:
            return None
        sides = self.measured.theirs, self.measured.ours
        return ratio(*sides) if self.row.goal.longer is None else ratio(*reversed(sides))

    @property
    def equal(self) -> bool:
        """Whether all results agree to within their tolerances."""
        return self.measured is None or self.measured.equality is None or self.measured.equality.holds

    @property
    def met(self) -> bool:
        """Whether the goal is reached with equal results."""
        assert self.measured is not None
        goal, measured, found = self.row.goal, self.measured, self.ratio
        conditions = [
            goal.faster is None or (found is not None and found >= goal.faster),
            goal.longer is None or (found is not None and found <= goal.longer),
            goal.most is None or statistics.median(measured.ours) <= goal.most,
            goal.memory is None or (measured.memory is not None and share(measured.memory) < goal.memory),
            goal.limit is None or (bool(measured.limit) and ratio(measured.ours, measured.limit) <= goal.limit),
            not measured.theirs or (measured.equality is not None and self.equal),
        ]
        return all(conditions)


def share(memory: tuple[float, float]) -> float:
    """Our memory over theirs. Less than 1 MiB counts as 1 MiB, because smaller growth is not visible."""
    return max(memory[0], 1) / max(memory[1], 1)


def keep(name: str, measured: Measured | None, reason: str, peer: str, folder: Path) -> None:
    """Keep the result of a row."""
    found = None if measured is None else dataclasses.asdict(measured)
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f"{name}.partial"
    beside.write_text(json.dumps({"peer": peer, "reason": reason, "measured": found}, indent=1))
    beside.replace(folder / f"{name}.json")


def kept(name: str, folder: Path) -> Kept | None:
    """The kept result of a row, if there is one."""
    file = folder / f"{name}.json"
    if not file.exists():
        return None
    record = json.loads(file.read_text())
    found = record["measured"]
    if found is not None:
        equality = found["equality"] and Equality(**found["equality"])
        memory = found["memory"] and (found["memory"][0], found["memory"][1])
        found = Measured(found["ours"], found["theirs"], equality, memory, found["limit"], found["note"])
    return Kept(ROWS[name], record["peer"], found, record["reason"])


def quantity(value: float, unit: str) -> str:
    """A value with three digits and its unit."""
    if unit == "s" and value < 1:
        return f"{1e3 * value:.3g} ms"
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def side(values: Sequence[float], unit: str) -> str:
    """The median and the range of one side."""
    if not values:
        return "–"
    middle = quantity(statistics.median(values), unit)
    if len(values) == 1:
        return middle
    return f"{middle} ({quantity(min(values), unit)} – {quantity(max(values), unit)})"


def line(found: Kept) -> list[str]:
    """The cells of a row that was measured."""
    measured, row = found.measured, found.row
    assert measured is not None
    times = "–" if found.ratio is None else f"{found.ratio:.3g} x"
    if measured.memory:
        ours, theirs = measured.memory
        times += f", memory {share(measured.memory):.2g} x ({max(ours, 1):.0f} of {max(theirs, 1):.0f} MiB)"
    equality = measured.equality
    equal = "–" if equality is None else f"{equality.what}: {equality.difference:.1e} (at most {equality.tolerance:g})"
    goal = f"{row.goal} {row.unit}" if row.goal.most is not None else str(row.goal)
    least = "–"
    if measured.limit:
        least = f"{quantity(statistics.median(measured.limit), row.unit)}, {ratio(measured.ours, measured.limit):.3g} x"
    shown = [side(measured.ours, row.unit), side(measured.theirs, row.unit), times, least, equal, goal]
    return [row.what, found.peer, *shown, "met" if found.met else "missed"]


def median_step(all_of_them: Iterable[Kept]) -> list[list[str]]:
    """The row of the median over methods, if all of them were measured."""
    rows = [found for found in all_of_them if found.row.name in STEPS and found.measured is not None]
    if len(rows) < len(STEPS):
        return []
    middle = statistics.median(found.ratio for found in rows if found.ratio is not None)
    met = middle >= MEDIAN_STEP and all(found.equal for found in rows)
    goal = str(Goal(faster=MEDIAN_STEP))
    cells = ["training step, median over the methods", rows[0].peer, "–", "–", f"{middle:.3g} x", "–", "as above", goal]
    return [[*cells, "met" if met else "missed"]]


def processor() -> str:
    """The model of the CPU."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    return next((text.split(":")[1].strip() for text in lines if text.startswith("model name")), platform.processor())


def kind() -> str:
    """The kind of this machine's processor: two words of its name and its widest vector instructions."""
    words = re.findall(r"[a-z]+[a-z0-9]*", re.sub(r"\((R|TM)\)", "", processor()).lower())[:2]
    file = Path("/proc/cpuinfo")
    flags = set(file.read_text().split()) if file.exists() else set()
    widest = next((name.removesuffix("f") for name in _WIDEST if name in flags), platform.machine())
    return "-".join([*words, widest])


def kept_rows() -> Path:
    """The folder of what rows measured on this kind of processor; git ignores it."""
    return HERE / "rows" / kind()


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def page(everything: list[Kept]) -> str:
    """The whole page of one kind of processor."""
    done = [found for found in everything if found.measured is not None]
    steps = [found for found in done if found.row.name in STEPS]
    rest = [found for found in done if found not in steps]
    body = [*map(line, steps), *median_step(steps), *map(line, rest)]
    cores = len(os.sched_getaffinity(0))
    lines = [
        f"# Speed beside what people use: `{kind()}`",
        "",
        "Made by `make bench` (a row alone: `python -m benchmarks --row NAME`) with "
        f"torch {torch.__version__}, {threads()} threads on {cores} cores of an "
        f"{processor()} ({platform.machine()}), Python {platform.python_version()}.",
        "",
        "Ours and theirs get the same arrays and the same number of threads and take turns; each row has a process of "
        "its own. Median and range over the repeats; the ratio is the median of the ratios of neighbouring repeats and "
        "counts only where results are equal. Memory is the growth of a new process's peak. The limit is the "
        "arithmetic that any way of computing needs, timed in the same process in turn with both sides, and ours as a "
        "multiple of it.",
        "",
        *table(HEADER, body),
        "",
    ]
    notes = [found for found in done if found.measured and found.measured.note]
    lines += [f"- {found.row.what} ({found.peer}): {found.measured.note}." for found in notes if found.measured]
    missed = [found for found in done if not found.met]
    if missed:
        lines += ["", "## What holds the goals that are missed", ""]
        lines += [f"- {f.row.what} ({f.peer}): {HELD_BY.get(f.row.name, 'not profiled')}." for f in missed]
    absent = [found for found in everything if found.measured is None]
    if absent:
        lines += ["", "## Without a ratio", ""]
        shown = [[f.row.what, f.row.package or "–", str(f.row.goal), f.reason] for f in absent]
        lines += table(("what", "peer", "goal", "why"), shown)
    return "\n".join(lines) + "\n"
