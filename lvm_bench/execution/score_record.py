"""What `lvm-bench score` finds: scores with the protocol behind them, as a file, as lines, and beside others."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from lvm_bench import disk, text
from lvm_bench.errors import UserError
from lvm_bench.registry import metric_of
from lvm_bench.suites.bench_toml import validation_reasons

HERE = "(here)"  # the heading of scores that were just computed
_DIGITS = 12  # of a checksum that is printed


class Record(BaseModel):
    """The scores of one command. Those of two are compared where `protocol` and `metrics` agree."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    lvm_bench: str  # the version
    protocol: dict[str, Any]  # nested: what was compared with what, in which feature spaces
    metrics: dict[str, dict[str, Any]] = {}  # the version and the settings of each
    scores: dict[str, float] = {}
    left_out: dict[str, str] = {}  # why a metric was not computed
    sets: dict[str, dict[str, Any]] = {}  # where each set lies, and the checksum of its values


def write(place: Path, record: Record) -> None:
    """Write a record as JSON, in which every number keeps all digits."""
    disk.write_json(place, record.model_dump())


def read(place: Path) -> Record:
    """The record in a file; UserError for anything else."""
    try:
        return Record.model_validate_json(text.read(place))
    except ValidationError as error:
        raise UserError(
            f"--against {place}: is not what `lvm-bench score --json` writes ({validation_reasons(error)})."
        ) from error


def check_comparable(records: Mapping[str, Record]) -> None:
    """UserError, which names what differs, unless all records have the protocol of the first, and a score of it."""
    (name, first), *others = records.items()
    for other, record in others:
        ours, theirs = (dict(_flat({**each.protocol, "metrics": each.metrics})) for each in (first, record))
        unlike = [key for key in ours if key in theirs and ours[key] != theirs[key]]
        if unlike or not {*first.protocol} & {*record.protocol}:
            told = "; ".join(f"{key} is {_shown(ours[key])} and {_shown(theirs[key])}" for key in unlike)
            raise UserError(
                f"The scores of {name} and {other} are not comparable: {told or 'they are of other things'}. Measure "
                "both in the same way."
            )
        if first.scores and record.scores and not first.scores.keys() & record.scores.keys():
            told = f"{next(iter(first.scores))} and {next(iter(record.scores))}"
            raise UserError(
                f"The scores of {name} and {other} are not comparable: they have none in common, such as {told}. Give "
                "both the same --extractor and --metrics."
            )


def _flat(nested: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested tables, each with its path: `images.real.fingerprint`."""
    for key, value in nested.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _shown(value: Any) -> str:
    """A value of a protocol, of a checksum the first digits."""
    digits = str(value).removeprefix("sha256:")
    if len(digits) == 64 and {*digits} <= {*"0123456789abcdef"}:
        return digits[:_DIGITS]
    return f"{value:,}" if isinstance(value, int) else str(value)


def lines(records: Mapping[str, Record], descriptions: Mapping[str, str]) -> Iterator[str]:
    """Protocol and scores as aligned lines. Several records stand side by side."""
    protocols = [dict(_flat(record.protocol)) for record in records.values()]
    rows = [(key, _shown(value)) for key, value in _joined(protocols).items()]
    settings = _joined([record.metrics for record in records.values()])
    rows += [(f"metrics.{name}", _settings(said)) for name, said in settings.items()]
    yield from text.columns([("PROTOCOL", ""), *rows])
    keys = [*_joined([record.scores for record in records.values()])]
    if not keys:  # statistics were written, and no more was asked
        return
    heading = ("SCORE", *(("VALUE",) if len(records) == 1 else records), "")
    table, before = [heading], ""
    for key in keys:
        name = metric_of(key, descriptions)
        values = (f"{record.scores[key]:.6g}" if key in record.scores else "-" for record in records.values())
        table.append((key, *values, "" if name == before else descriptions.get(name, "")))
        before = name
    yield ""
    yield from text.columns(table, right=range(1, 1 + len(records)))


def _joined(tables: list[dict[str, Any]]) -> dict[str, Any]:
    """The entries of all tables; what the first table has comes first, and as it stands there."""
    found: dict[str, Any] = {}
    for table in tables:
        found |= {key: value for key, value in table.items() if key not in found}
    return found


def _settings(said: dict[str, Any]) -> str:
    return ", ".join(f"{key} {_shown(value)}" for key, value in said.items())
