"""Inputs of a stranger: refused in a sentence, without running their code or leaving the working folder."""

import os
import pickle
import re
from pathlib import Path

import pytest
from faults.malicious import CASES, Case, Told, pickled, verdict
from hypothesis import given, settings
from hypothesis import strategies as st

from lvm_bench import disk, registry
from lvm_bench.errors import RunError, UserError
from lvm_bench.report.tables.markup import latex
from lvm_bench.suites import bench_toml
from lvm_bench.text import check_name, printable, shortened


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.usefixtures("unmeasured")
def test_a_malicious_input_is_refused(case: Case, tmp_path: Path) -> None:
    assert verdict(case, tmp_path) == []


def test_there_are_a_hundred_of_them_with_names_of_their_own() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) >= 100


@pytest.mark.parametrize(
    ("attack", "seen"),
    [
        (lambda: pickle.loads(pickled()) or Told(2, "no"), "outside the working folder"),
        (lambda: Told(2, f"no {Path('../outside/kept').write_text('')}"), "outside the working folder"),
        (lambda: Told(2, "no \x1b[2J"), "control character"),
        (lambda: Told(2, "no\nTraceback (most recent call last)"), "traceback"),
        (lambda: Told(0, "no"), "exit code is 0"),
        (lambda: Told(2, ""), "in what was said"),
        (lambda: Told(2, "no" * 20_000), "characters were shown"),
        (lambda: 1 / 0, "ZeroDivisionError"),
    ],
)  # fmt: skip
def test_an_attack_that_succeeds_would_be_seen(attack: object, seen: str, tmp_path: Path) -> None:
    problems = verdict(Case("it", attack, "no"), tmp_path)  # type: ignore[arg-type]
    assert any(seen in problem for problem in problems)


@given(st.text())
def test_escaped_text_has_no_active_character(text: str) -> None:
    plain = re.sub(
        r"\\(textbackslash|textasciicircum|textasciitilde)\{\}|\\[{}$&#_%]|\\'e|\{[\[\]*]\}",
        "",
        latex(text.replace("\N{NO-BREAK SPACE}", " ")),
    )
    plain = re.sub(r"\$(<|>|\||-|\^2|\^?\\[a-z]+)\$", "", plain)
    assert not set(plain) & set('\\{}$&#_%^~<>|"')
    assert plain.isascii()
    assert plain.isprintable()


@given(st.text())
def test_printable_text_steers_no_terminal_and_says_the_same(text: str) -> None:
    shown = printable(text)
    assert all(c.isprintable() or c == "\n" for c in shown)
    shown.encode()  # a file's name may hold what UTF-8 cannot
    if text.isprintable():
        assert shown == text


@given(st.recursive(st.text() | st.integers(), st.lists))
def test_a_shortened_value_is_short_and_begins_like_the_value(value: object) -> None:
    shown = shortened(value, 20)
    assert len(shown) <= 23
    assert repr(value).startswith(shown.removesuffix("..."))


@given(st.text(max_size=70))
def test_a_name_is_refused_or_is_that_of_one_folder_anywhere(name: str) -> None:
    try:
        check_name("method", name)
    except UserError:
        return
    assert Path("results", name).parts == ("results", name)
    assert name.isascii()
    assert latex(name).replace("\\_", "_") == name
    assert not name.startswith(("-", "."))
    assert not name.endswith((".", " "))


@settings(max_examples=30)  # trees of values, which are dear to draw
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_a_value_that_is_fit_can_be_kept_in_a_record(value: object) -> None:
    if not list(bench_toml.unfit({"key": value})):
        assert disk.digest(value) == disk.digest(value)


@pytest.mark.parametrize("inside", ["a", "a/b", "a/../b", "."])
def test_a_folder_is_inside_its_root_also_where_that_is_a_link(inside: str, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "real")
    assert disk.check_inside(tmp_path / "root", tmp_path / "root" / inside) == tmp_path / "root" / inside


@pytest.mark.parametrize("link", ["/", "..", "loop"])
def test_a_link_that_leads_out_is_named(link: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path if link == "loop" else link)
    with pytest.raises(RunError, match=r"root/link/x: a link leads it out of .*root\."):
        disk.check_inside(root, root / "link" / "x")


def test_a_file_without_end_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    with pytest.raises(UserError, match=r"pipe\.py: cannot be read, it is no file"):
        registry.index(tmp_path / "pipe.py")
