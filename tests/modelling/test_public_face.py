"""The faces `lvm_bench.contract`, `.kde` and so on show exactly what their modules declare as public."""

import ast
import importlib
import importlib.util
import re
from pathlib import Path

import pytest

import lvm_bench

ROOT = Path(__file__).parents[2]
FACES = ("contract", "kde", "losses", "networks", "posteriors")
IMPORT = re.compile(
    r"from lvm_bench\.(contract|kde|losses|networks|posteriors|metrics|errors) import (?:\(([^)]*)\)|([\w, ]+))"
)


def public(module: object) -> set[str]:
    # The tests' import hook adds `jaxtyping` to every module.
    return {name for name in vars(module) if not name.startswith("_")} - {"jaxtyping"}


@pytest.mark.parametrize("name", FACES)
def test_a_face_shows_the_public_names_of_its_home(name: str) -> None:
    home, face = (importlib.import_module(f"lvm_bench.{place}{name}") for place in ("modelling.", ""))
    assert public(face) == set(home.__all__)
    assert all(getattr(face, each) is getattr(home, each) for each in home.__all__)


@pytest.mark.parametrize("name", [*FACES, "strided"])
def test_all_names_every_public_definition(name: str) -> None:
    home = importlib.import_module(f"lvm_bench.modelling.{name}")
    defined = set()
    for node in ast.parse(Path(home.__file__ or "").read_text()).body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                defined.add(node.name)
            case ast.Assign(targets=[ast.Name(target)]):
                defined.add(target)
    missing = {each for each in defined if not each.startswith("_")} - set(home.__all__)
    assert not missing


def sources() -> list[Path]:
    """The files that import the public face: baselines, tests with plug-ins, documents with examples."""
    files = [*ROOT.glob("baselines/*.py"), *ROOT.glob("tests/**/*.py"), *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    return sorted(files)


def test_every_name_that_is_imported_from_a_face_is_there() -> None:
    asked = {
        (module, name)
        for file in sources()
        for module, several, one in IMPORT.findall(file.read_text())
        for name in re.findall(r"\w+", several or one)
    }
    assert {module for module, _ in asked} >= {"kde", "losses", "networks", "metrics", "errors"}
    missing = [
        f"lvm_bench.{module}.{name}"
        for module, name in sorted(asked)
        if not hasattr(importlib.import_module(f"lvm_bench.{module}"), name)
        and importlib.util.find_spec(f"lvm_bench.{module}.{name}") is None
    ]
    assert not missing


@pytest.mark.parametrize("name", lvm_bench.__all__)
def test_every_name_of_the_package_resolves(name: str) -> None:
    assert getattr(lvm_bench, name)


def test_the_density_module_still_offers_the_distances() -> None:
    assert public(importlib.import_module("lvm_bench.kde")) >= {"squared_distances", "row_blocks"}
