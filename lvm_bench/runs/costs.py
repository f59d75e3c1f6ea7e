"""Mean costs of runs that were finished on this machine."""

import math
import platform
from collections.abc import Iterable
from statistics import fmean
from typing import NamedTuple

from lvm_bench.runs.standing import Standing, State


class RunCosts(NamedTuple):
    """What one run costs: seconds of its parts, bytes at the peak and of its files. NaN stands for unknown."""

    training: float = 0.0
    scoring: float = 0.0
    redraw: float = 0.0  # a further evaluation
    adding: float = 0.0  # the metrics that finished runs lack
    step: float = math.nan
    steps: int = 0
    memory: float = math.nan
    files: float = 0.0


def costs_here(standings: Iterable[Standing], device: str) -> RunCosts | None:
    """The mean costs of those runs that were finished on this machine and kind of device; None where there are none."""
    done = [standing.record for standing in standings if standing.state == State.DONE]
    here = [record for record in done if record["environment"].get("host") == platform.node()]
    here = [record for record in here if ("cuda" in record["environment"]["versions"]) == (device == "cuda")]
    if not here:
        return None
    keys = ("seconds_training", "seconds_evaluation", "updates", "peak_memory")
    training, scoring, steps, peak = (fmean(record.get(key) or 0 for record in here) for key in keys)
    files = fmean(sum(file["bytes"] for file in record["files"].values()) for record in here)
    memory = peak * 2**20 or math.nan
    return RunCosts(training, scoring, steps=round(steps), memory=memory, files=files)
