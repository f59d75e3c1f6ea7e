"""In which settings and data runs differ, and which seeds are stale for that reason."""

from collections.abc import Container, Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any

from lvm_bench.runs.measured import effective
from lvm_bench.runs.record import Run
from lvm_bench.text import setting_text

SHORT = 10  # characters of a checksum in a sentence

STALE = "stale: other seeds of its method were run anew with other settings"

Place = tuple[str, str]  # data set, method


def with_stale(runs: Iterable[Run]) -> list[Run]:
    """The runs, of which a committed one is stale if a seed that is here was run with other settings or data since.

    Where no seed of a method is here, each stays as its record says.
    """
    found: list[Run] = []
    for _, seeds in by_place(runs):
        here = [run for run in seeds if run.folder and run.status == "done"]
        known = [run for run in here if run.settings is not None] if len(here) < len(seeds) else []
        tables = _distinct(map(settings_of, known))
        for run in seeds:
            if run.folder or not here:
                found.append(run)
            else:
                own = {} if run.settings is None else {0: settings_of(run)}
                is_stale = bool(own) and any(differences(own | {1: table}) for table in tables)
                found.append(run if run.stale == is_stale else replace(run, stale=is_stale))
    return found


def _distinct(tables: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for table in tables:
        if table not in found:
            found.append(table)
    return found


def unlike(seeds: list[Run]) -> list[str]:
    """The settings and data in which seeds of a method differ, each with its values; [] where they are alike."""
    if len({(id(run.settings), run.fingerprint) for run in seeds}) == 1:  # they share one table in memory
        return []
    known = {run.seed: settings_of(run) for run in seeds if run.settings is not None}
    return [
        f"{name} = {' and '.join(f'{value} in seed {numbered(of)}' for value, of in values.items())}"
        for name, values in differences(known).items()
    ]


def by_place(runs: Iterable[Run]) -> Iterator[tuple[Place, list[Run]]]:
    for place, group in groupby(runs, lambda run: run.place):
        yield place, list(group)


def settings_of(run: Run) -> dict[str, Any]:
    return {**effective(run.settings or {}, run.facts), **_data(run)}


def conditions_of(run: Run, names: Container[str] | None = None) -> dict[str, Any]:
    given = effective(run.conditions or {}, run.facts).items()
    return {**{name: value for name, value in given if names is None or name in names}, **_data(run)}


def _data(run: Run) -> dict[str, str]:
    return {"the data's checksum": run.fingerprint[:SHORT]}


def differences(tables: dict[Any, dict[str, Any]]) -> dict[str, dict[str, list[Any]]]:
    """The settings that differ between tables: for each its values as text, with the owners of each value."""
    known = list(tables.values())
    if all(table == known[0] for table in known):
        return {}
    flat = {whose: _flat(table) for whose, table in tables.items()}
    found: dict[str, dict[str, list[Any]]] = {}
    for name in sorted({name for table in flat.values() for name in table}):
        for whose, table in flat.items():
            found.setdefault(name, {}).setdefault(setting_text(table.get(name)), []).append(whose)
    return {name: values for name, values in found.items() if len(values) > 1}


def _flat(table: dict[str, Any], above: str = "") -> dict[str, Any]:
    """A table of tables with dotted keys."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        found |= _flat(value, f"{above}{name}.") if isinstance(value, dict) else {f"{above}{name}": value}
    return found


def numbered(seeds: Iterable[int]) -> str:
    """`0, 1, 2`."""
    return ", ".join(map(str, sorted(seeds)))
