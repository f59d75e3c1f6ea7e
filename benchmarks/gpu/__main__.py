"""`python -m benchmarks.gpu` measures on a GPU what a CPU cannot, within a time; the same command again goes on.

It runs the suite `avae-floor`, then each row of the GPU in a process of its own, and writes RESULTS-gpu.md after each
stage. Exit codes: 0 all is done, 1 something failed, 2 a mistake in the command or no GPU, 75 something is left.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.gpu.script import Script
from lvm_bench.errors import UserError
from lvm_bench.execution.stopping import INTERRUPTED, RESUBMIT, seconds_left

FOLDER = Path(__file__).parent / "results"  # git-ignored


def main(arguments: Sequence[str] | None = None) -> int:
    """Perform the script within its time. The exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--time-budget", metavar="TIME", default="12m", help="end within this time [default: 12m]")
    parser.add_argument("--data", type=Path, help="folder of the data sets [default: as for `lvm-bench run`]")
    parser.add_argument(
        "--results", type=Path, default=FOLDER, help="folder of everything that is left [default: %(default)s]"
    )
    given = parser.parse_args(arguments)
    try:
        if not torch.cuda.is_available():
            raise UserError("torch finds no CUDA GPU here. Run this on a machine with one, and a torch made for it.")
        seconds_left(given.time_budget)
        if given.data:
            os.environ["LVM_BENCH_DATA"] = str(given.data.resolve())  # for every process of the stages
        return Script(given.results.resolve(), lambda: seconds_left(given.time_budget)).perform()
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    for number, code in ((signal.SIGTERM, RESUBMIT), (signal.SIGINT, INTERRUPTED)):
        signal.signal(number, lambda *_, code=code: sys.exit(code))  # which ends the process of the stage as well
    sys.exit(main())
