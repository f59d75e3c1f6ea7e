"""The ranges that settings are drawn from: `beta = "log 0.1..10"`, `k_b = "1..100"`, `floor = ["paper", "none"]`."""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lvm_bench.suites.bench_toml import validation_reasons
from lvm_bench.text import shortened

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"

_WRITTEN = re.compile(rf"\s*(log\s)?\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*")

_INSIDE = (math.sqrt(5) - 1) / 2  # a place between two bounds where no whole number is

WAYS = 'write "0.1..10", "log 0.1..10" or a list of choices'


@dataclass(frozen=True)
class Interval:
    """The numbers from `low` to `high`, both included: all of them, or whole ones alone."""

    low: float
    high: float
    is_log: bool = False
    is_whole: bool = False

    def at(self, u: float) -> float:
        """The value at u in [0, 1): uniform in the number, or in its logarithm.

        A whole number k has the share of [k, k + 1) in the interval from `low` to `high` + 1.
        """
        low, high = self.low, self.high + self.is_whole
        if self.is_log:
            value = math.exp(math.log(low) + u * (math.log(high) - math.log(low)))
        else:
            value = (1 - u) * low + u * high
        value = min(max(value, self.low), self.high + self.is_whole)  # rounding may step over a bound
        return min(math.floor(value), int(self.high)) if self.is_whole else value


@dataclass(frozen=True)
class Choices:
    """One of several values, each with the same share."""

    values: tuple[Any, ...]

    def at(self, u: float) -> Any:
        """The value at u in [0, 1)."""
        return self.values[min(math.floor(u * len(self.values)), len(self.values) - 1)]


Range = Interval | Choices


def parsed(written: Any, annotation: Any) -> Range:
    """The range that bench.toml writes for a setting of this type. ValueError with the reason where it is none."""
    adapter = TypeAdapter(annotation)
    if isinstance(written, list):
        for value in written:
            if reason := _invalid(adapter, value):
                raise ValueError(f"the choice {shortened(value)} is not valid: {reason}")
        if len({json.dumps(value) for value in written}) < 2:
            raise ValueError("is empty: a list of choices has two different ones or more")
        return Choices(tuple(written))
    found = _WRITTEN.fullmatch(written) if isinstance(written, str) else None
    if found is None:
        raise ValueError(f"{shortened(written)} is no range: {WAYS}")
    is_log, bounds = bool(found[1]), [_number(found[2]), _number(found[3])]
    return _interval(adapter, bounds, is_log)


def _interval(adapter: TypeAdapter[Any], bounds: list[int | float], is_log: bool) -> Interval:
    low, high = bounds
    if not all(map(math.isfinite, bounds)) or low >= high:
        raise ValueError(f"is empty: {low:g} is not below {high:g}")
    if is_log and low <= 0:
        raise ValueError(f"{low:g} has no logarithm: begin above 0, or leave `log` out")
    is_whole = bool(_invalid(adapter, low + _INSIDE * (high - low)))
    for bound in bounds:
        if reason := _invalid(adapter, bound if is_whole else float(bound)):
            raise ValueError(f"the bound {bound:g} is not valid: {reason}")
    if is_whole and not all(isinstance(bound, int) for bound in bounds):
        raise ValueError(f"is of whole numbers: write its bounds without a point, such as {round(low)}..{round(high)}")
    return Interval(low, high, is_log, is_whole)


def _number(text: str) -> int | float:
    """A number as it is written: whole without a point."""
    return float(text) if re.search(r"[.eE]", text) else int(text)


def _invalid(adapter: TypeAdapter[Any], value: Any) -> str:
    """Why a setting cannot have a value; "" where it can."""
    try:
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        return validation_reasons(error)
    return ""
