"""The way of a number from scores.json to a cell is short, and it reads in one direction."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import lvm_bench
from lvm_bench.report import tables

PACKAGE = Path(lvm_bench.__file__).parent
WAY = re.findall(r"(\S+)\.py", tables.__doc__ or "")


def test_the_way_goes_through_at_most_eight_files() -> None:
    assert 2 <= len(WAY) == len({*WAY}) <= 8
    assert WAY[0].startswith("runs/")
    assert WAY[-1].startswith("report/tables/")


@pytest.mark.parametrize("at", range(len(WAY)), ids=WAY)
def test_a_file_of_the_way_reaches_earlier_ones_and_no_later_one(at: int) -> None:
    reached = _reached(WAY[at])
    assert not reached & {*WAY[at + 1 :]}
    assert at == 0 or reached & {*WAY[:at]}


def test_the_way_begins_at_the_file_and_ends_at_its_text() -> None:
    def defined(name: str) -> set[str]:
        nodes = ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8")))
        return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}

    steps = ("content", "scores_of", "shown", "frame", "measured_cells", "build_table", "compose_tables", "cell_text")
    assert [step for step, name in zip(steps, WAY, strict=True) if step not in defined(name)] == []


def _reached(name: str) -> set[str]:
    """The files that a file imports, by itself or by what it imports."""
    found: set[str] = set()
    todo = [name]
    while todo:
        new = _imports(todo.pop()) - found
        found |= new
        todo += new
    return found - {name}


@cache
def _imports(name: str) -> frozenset[str]:
    """The files of the package that a file imports, at its top or within a function."""
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    paths = (module.removeprefix("lvm_bench.").replace(".", "/") for module in found if module.startswith("lvm_bench."))
    return frozenset(path for path in paths if (PACKAGE / f"{path}.py").is_file())
