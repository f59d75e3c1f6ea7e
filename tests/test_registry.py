"""Files are indexed by reading, loaded by path; names are unique and unknown ones are answered with the nearest."""

import sys
from pathlib import Path

import pytest

from lvm_bench import registry
from lvm_bench.errors import UserError, did_you_mean


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_index_reads_names_descriptions_and_options_without_importing(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "mine.py",
        'raise SystemExit("imported")\n'
        '@method("mine")\nclass Mine:\n    """First line.\n\n    More."""\n'
        '@bench.metric("score", better="lower", of=("fake",))\ndef score(x):\n    """Its line."""\n',
    )
    entries = registry.index(file)
    assert [(e.kind, e.name, e.description) for e in entries] == [
        ("method", "mine", "First line."),
        ("metric", "score", "Its line."),
    ]
    assert entries[1].options == {"better": "lower"}


def test_index_names_the_line_of_a_syntax_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"bad\.py, line 2: not valid Python"):
        registry.index(write(tmp_path, "bad.py", "x = 1\ndef (:\n"))


def test_a_name_stands_once_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "twice.py"
    file.write_text("@method('a')\nclass A: ...\n\n@network('a')\ndef b(): ...\n\n@method('a')\nclass C: ...\n")
    with pytest.raises(UserError, match=r"twice\.py, line 8: registers the method 'a' again"):
        registry.index(file)


def test_load_keeps_sys_path_and_says_where_a_file_raised(tmp_path: Path) -> None:
    before = list(sys.path)
    with pytest.raises(UserError, match=r"broken\.py, line 2: raised ZeroDivisionError"):
        registry.load(write(tmp_path, "broken.py", "x = 0\ny = 1 / x\n"))
    registry.load(write(tmp_path, "json.py", "import json\nassert hasattr(json, 'dumps')\n"))
    assert sys.path == before


def test_a_name_stands_for_one_file(tmp_path: Path) -> None:
    names = registry.Registry("thing")
    names.register("a")(Path)
    names.register("a")(Path)
    with pytest.raises(UserError, match="already registered"):
        names.register("a")(pytest.raises)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    names = registry.Registry("method")
    names.register("avae")(Path)
    with pytest.raises(UserError, match=r"Unknown method 'avea'. Did you mean 'avae'\? Valid: avae\."):
        names["avea"]
    assert did_you_mean("zzz", ["b", "a"]) == " Valid: a, b."
