"""The shape of the house, read from the code's own imports: no cycle, no way up, and rooms of a readable size."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import lvm_bench

HOME = Path(lvm_bench.__file__).parent
FILES = sorted(HOME.rglob("*.py"))
WINGS = sorted(file.parent for file in FILES if file.name == "__init__.py" and file.parent != HOME)
GROUND = ("disk", "distances", "errors", "output", "process", "registry", "seeding", "text")
FACES = ("contract", "kde", "losses", "networks")  # public import paths of what lives in modelling/
WITHOUT_TORCH = ("cli", "cli_options", "cli_score", "registry", "suites", "runs", "report")
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 400, 60


def name_of(file: Path) -> str:
    """The module of a file, without the package: `runs.standing`; of a wing's `__init__` the wing."""
    parts = file.relative_to(HOME).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in FILES}


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def imports(file: Path) -> set[str]:
    """The modules of the package that a file imports anywhere, in functions and for types alone too."""
    found = set()
    for node in ast.walk(tree_of(file)):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.split(".")[0] == "lvm_bench":
                inside = name.removeprefix("lvm_bench").removeprefix(".")
                found.add(inside if inside in MODULES else inside.rpartition(".")[0])
    return found - {"", name_of(file)}


def wing_of(module: str) -> str:
    """The wing that a module stands in, `ground` for the ground floor."""
    top = module.split(".")[0]
    return top if (HOME / top).is_dir() else "ground" if top in (*GROUND, *FACES) else top


def rules(wing: Path) -> tuple[list[str], list[str]]:
    """What a wing's `__init__` says: its lines, and the wings that it may import."""
    tree = tree_of(wing / "__init__.py")
    text = ast.get_docstring(tree) or ""
    allowed = re.search(r"May import: ([^.]*)\.", text)
    assert allowed, f"{wing}: its __init__ does not say what it may import"
    return text.splitlines(), [name.strip() for name in re.split(r", | and ", allowed[1]) if name != "the ground floor"]


@pytest.mark.parametrize("wing", WINGS, ids=lambda wing: str(wing.relative_to(HOME)))
def test_a_wing_says_in_three_lines_what_lives_there_and_imports_no_more_than_it_says(wing: Path) -> None:
    lines, allowed = rules(wing)
    assert len(lines) <= 3 or wing.parent != HOME
    assert {*allowed} <= {name_of(other / "__init__.py").split(".")[0] for other in WINGS}
    own = wing.relative_to(HOME).parts[0]
    taken = {wing_of(name) for file in wing.glob("*.py") for name in imports(file)} - {own, "ground"}
    assert taken <= {*allowed}


@pytest.mark.parametrize("wing", WINGS, ids=lambda wing: str(wing.relative_to(HOME)))
def test_a_wing_hands_nothing_on(wing: Path) -> None:
    body = tree_of(wing / "__init__.py").body
    if wing == HOME / "metrics":  # a public import path of every estimator
        assert {*ast.literal_eval(body[-1].value)} == {
            alias.name for node in body if isinstance(node, ast.ImportFrom) for alias in node.names
        }
    else:
        assert len(body) == 1


def test_no_module_imports_in_a_circle() -> None:
    graph = {name: imports(file) for name, file in MODULES.items() if name}
    assert [*TopologicalSorter(graph).static_order()]


def test_no_wing_imports_one_that_stands_above_it() -> None:
    """The floors follow from what the wings say: with a circle of them there would be none."""
    allowed = {wing.name: rules(wing)[1] for wing in WINGS if wing.parent == HOME}
    floors = [*TopologicalSorter(allowed).static_order()]
    assert floors[-1] in ("execution", "report")
    for name, file in MODULES.items():
        own = wing_of(name)
        above = {*floors[floors.index(own) + 1 :]} if own in floors else {*floors} if name in GROUND else set()
        assert not {wing_of(other) for other in imports(file)} & (above | {"cli"}) or name in ("cli", "__main__"), name


def test_what_shows_and_keeps_results_imports_no_torch() -> None:
    names = sorted(f"lvm_bench.{name}" for name in MODULES if name.split(".")[0] in WITHOUT_TORCH)
    code = f"import sys; [__import__(name) for name in {names!r}]; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(HOME)))
def test_files_and_functions_are_short_or_say_why(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    tree = tree_of(file)
    top = ast.get_docstring(tree) or ""
    assert len(text.splitlines()) <= MOST_LINES or "lines" in top, "say at its top why it is long, or split it"
    long = [
        f"{node.name}: {length} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > MOST_LINES_OF_A_FUNCTION
    ]
    assert not long


def test_no_private_name_is_imported_from_another_module() -> None:
    found = [
        f"{name}: {alias.name}"
        for name, file in MODULES.items()
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lvm_bench")
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert not found
