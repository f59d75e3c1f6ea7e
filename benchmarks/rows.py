"""The rows of the table: each has a goal, a peer, and a function that measures both sides."""

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, field

Measure = Callable[[bool], "Measured"]  # the argument tells whether sizes are small


class NotMeasured(Exception):
    """The reason why a row has no numbers on this machine."""


@dataclass(frozen=True)
class Goal:
    """The conditions that a row has to meet; None is no condition."""

    faster: float | None = None  # theirs over ours, at least
    longer: float | None = None  # ours over theirs, at most
    most: float | None = None  # ours in the row's unit, at most
    memory: float | None = None  # ours over theirs, below
    limit: float | None = None  # ours over the row's limit, at most

    def __str__(self) -> str:
        told = (
            ("{:g} x", self.faster),
            ("at most {:g} x", self.longer),
            ("at most {:g}", self.most),
            ("memory below {:g} x", self.memory),
            ("at most {:g} x the limit", self.limit),
        )
        return ", ".join(form.format(value) for form, value in told if value is not None)


@dataclass(frozen=True)
class Equality:
    """The difference of a result between both sides, and its tolerance."""

    what: str
    difference: float
    tolerance: float

    @property
    def holds(self) -> bool:
        return self.difference <= self.tolerance  # False for NaN


@dataclass(frozen=True)
class Measured:
    """The result of a row: one value per repeat and side. The values of a repeat are measured in turn.

    `limit` is the seconds of the arithmetic that any way of computing needs, one per repeat of ours.
    """

    ours: list[float]
    theirs: list[float] = field(default_factory=list)
    equality: Equality | None = None
    memory: tuple[float, float] | None = None  # MiB, ours and theirs
    limit: list[float] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One row. `package` is the distribution of the peer, "" if there is no peer."""

    name: str
    what: str
    package: str
    goal: Goal
    measure: Measure
    peer: str = ""  # the part of the package that is the peer, if it is not all of it
    unit: str = "s"
    smoke: bool = False  # also in the small subset

    @property
    def shown_peer(self) -> str:
        """The peer with its version. Raises NotMeasured if it is not installed."""
        if not self.package:
            return "–"
        try:
            version = importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError as error:
            raise NotMeasured(f"not to be had: {self.package} is not installed") from error
        return f"{self.peer}, {self.package} {version}" if self.peer else f"{self.package} {version}"


ROWS: dict[str, Row] = {}


def add(row: Row) -> None:
    """Add a row at the end of the table."""
    assert row.name not in ROWS
    ROWS[row.name] = row


def row(
    name: str, what: str, package: str, goal: Goal, *, peer: str = "", unit: str = "s", smoke: bool = False
) -> Callable[[Measure], Measure]:
    """Add a row with this function at the end of the table."""

    def put(measure: Measure) -> Measure:
        add(Row(name, what, package, goal, measure, peer, unit, smoke))
        return measure

    return put
