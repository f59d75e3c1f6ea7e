"""`python -m benchmarks` measures every row in its own process. Kept rows are not repeated.

It writes the table of this kind of processor, RESULTS-KIND.md, and RESULTS.md, which sets all kinds side by side.
"""

import argparse
import importlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import threads
from benchmarks.results import HERE, Kept, keep, kept, kept_rows, kind, line, page
from benchmarks.rows import ROWS, NotMeasured
from benchmarks.side_by_side import side_by_side

LONGEST = 3600  # seconds that a row may take
for module in (
    "training",
    "by_hand",
    "codes",
    "distances",
    "reconstructions",
    "disentangling",
    "likelihood",
    "whole",
    "commands",
    "gpu.rows",
    "gpu.steps",
):  # each fills the table, in this order
    importlib.import_module(f"benchmarks.{module}")


def measure(name: str, small: bool, folder: Path) -> None:
    """Measure a row in this process and keep its result."""
    from lvm_bench.training.numerics import fixed_numerics

    row = ROWS[name]
    peer, measured, reason = row.package or "–", None, ""
    try:
        peer = row.shown_peer
        with fixed_numerics(threads()):
            measured = row.measure(small)
    except NotMeasured as error:
        reason = str(error)
    except ImportError as error:
        reason = f"not to be had: {error}"
    keep(name, measured, reason, peer, folder)


def in_own_process(name: str, small: bool, folder: Path, longest: float = LONGEST) -> Kept | str:
    """The result of a row in its own process, or the last lines of the process if it failed or took too long."""
    (folder / f"{name}.json").unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "--row",
        name,
        "--here",
        str(folder),
        *(["--smoke"] if small else []),
    ]
    started = time.perf_counter()
    print(f"{name} ...", end=" ", flush=True)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=longest)
        failure = "\n".join(done.stderr.splitlines()[-15:]) if done.returncode else ""
    except subprocess.TimeoutExpired:
        failure = f"It took longer than {longest:.0f} s."
    found = kept(name, folder)
    took = f"({time.perf_counter() - started:.0f} s)"
    if found is None:
        print(f"FAILED {took}\n{failure}", flush=True)
        return failure or "It left no result."
    if found.measured is None:
        print(f"{found.reason} {took}", flush=True)
    else:
        print(f"{' | '.join(line(found)[2:])} {took}", flush=True)
    return found


def smoke() -> int:
    """Run a few rows in small sizes and keep nothing. 0 if all run and agree."""
    names = [row.name for row in ROWS.values() if row.smoke]
    with tempfile.TemporaryDirectory() as folder:
        found = {name: in_own_process(name, True, Path(folder)) for name in names}
    failed = [name for name, each in found.items() if isinstance(each, str)]
    unequal = [name for name, each in found.items() if isinstance(each, Kept) and not each.equal]
    for name in unequal:
        print(f"{name}: ours and theirs are not equal.")
    return 1 if failed or unequal else 0


def main() -> int:
    """Measure the rows that are asked for and write the table. 1 if a row failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--row", choices=ROWS, metavar="NAME", help=f"measure one row anew: {', '.join(ROWS)}")
    parser.add_argument(
        "--smoke", action="store_true", help="a few rows in small sizes, under 3 minutes; writes nothing"
    )
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        measure(given.row, given.smoke, given.here)
        return 0
    if given.smoke and not given.row:
        return smoke()
    if given.smoke:
        with tempfile.TemporaryDirectory() as folder:
            return 0 if isinstance(in_own_process(given.row, True, Path(folder)), Kept) else 1
    folder = kept_rows()
    names = [given.row] if given.row else [name for name in ROWS if kept(name, folder) is None]
    if not given.row and len(names) < len(ROWS):
        print(f"{len(ROWS) - len(names)} rows are kept in {folder}; delete it to measure them anew.")
    failed = [name for name in names if isinstance(in_own_process(name, False, folder), str)]
    everything = [
        kept(name, folder) or Kept(each, each.package or "–", None, "not measured") for name, each in ROWS.items()
    ]
    (HERE / f"RESULTS-{kind()}.md").write_text(page(everything))
    (HERE / "RESULTS.md").write_text(side_by_side(HERE))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
