"""A row of the table: a goal, the peer it is measured against, and the function that measures both."""

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, field

Measure = Callable[[bool], "Measured"]  # given whether sizes are small


class NotMeasured(Exception):
    """Why a row has no numbers on this machine."""


@dataclass(frozen=True)
class Goal:
    """What a row has to reach; each condition that is given counts."""

    faster: float | None = None  # theirs over ours, at least
    longer: float | None = None  # ours over theirs, at most
    most: float | None = None  # ours in the row's unit, at most
    memory: float | None = None  # ours over theirs, below

    def __str__(self) -> str:
        told = (
            ("{:g} x", self.faster),
            ("at most {:g} x", self.longer),
            ("at most {:g}", self.most),
            ("memory below {:g} x", self.memory),
        )
        return ", ".join(form.format(value) for form, value in told if value is not None)


@dataclass(frozen=True)
class Equality:
    """What was found equal on both sides, and to which tolerance."""

    what: str
    difference: float
    tolerance: float

    @property
    def holds(self) -> bool:
        return self.difference <= self.tolerance  # False for NaN


@dataclass(frozen=True)
class Measured:
    """What a row's process found: one value per repeat and side, the two of a repeat taken one after the other."""

    ours: list[float]
    theirs: list[float] = field(default_factory=list)
    equality: Equality | None = None
    memory: tuple[float, float] | None = None  # MiB, ours and theirs
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One row. `package` is the peer's distribution, "" where nothing stands beside ours."""

    name: str
    what: str
    package: str
    goal: Goal
    measure: Measure
    peer: str = ""  # what of the package, where it is not the package itself
    unit: str = "s"
    smoke: bool = False  # also in the small subset

    @property
    def shown_peer(self) -> str:
        """The peer with its version; NotMeasured where it is not installed."""
        if not self.package:
            return "–"
        try:
            version = importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError as error:
            raise NotMeasured(f"not to be had: {self.package} is not installed") from error
        return f"{self.peer}, {self.package} {version}" if self.peer else f"{self.package} {version}"


ROWS: dict[str, Row] = {}


def add(row: Row) -> None:
    """Put a row into the table, after those before it."""
    assert row.name not in ROWS
    ROWS[row.name] = row


def row(
    name: str, what: str, package: str, goal: Goal, *, peer: str = "", unit: str = "s", smoke: bool = False
) -> Callable[[Measure], Measure]:
    """Put the function that measures a row into the table."""

    def put(measure: Measure) -> Measure:
        add(Row(name, what, package, goal, measure, peer, unit, smoke))
        return measure

    return put
