"""Tables as text: numbers, LaTeX that no name can break, CSV that a machine can read back."""

import csv
import io
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lvm_bench.report.tables.build import build_table
from lvm_bench.report.tables.digits import number
from lvm_bench.report.tables.layouts import LAYOUTS, OTHER, Column
from lvm_bench.report.tables.markup import latex
from lvm_bench.report.tables.tex import to_latex
from lvm_bench.report.tables.writers import to_csv, to_terminal
from lvm_bench.runs.comparable import Remarks
from lvm_bench.runs.suite_record import About

Scored = Callable[..., pd.DataFrame]


@pytest.mark.parametrize(
    ("mean", "std", "n", "text"),
    [
        (13.2749, 0.3412, 5, "13.27 ± 0.34"),
        (147.744, 0.8123, 5, "147.7 ± 0.8"),
        (0.0123441, 0.000234, 3, "0.01234 ± 0.00023"),
        (123456.7, 234.5, 3, "123,457 ± 234"),
        (123456.7, 0.31, 3, "123,456.7 ± 0.3"),
        (0.99581, 0.00003, 3, "0.99581 ± 0.00003"),
        (55.64, 0.0, 5, "55.64"),
        (0.1 + 0.2, 1e-17, 3, "0.3000"),
        (4.0, 0.0, 3, "4"),
        (-0.00001, 0.01, 3, "0.000 ± 0.010"),
        (0.0, 0.0, 3, "0"),
        (2.5e-12, 1e-12, 3, "2.5e-12"),
        (0.0, 0.0001, 3, "0.00000 ± 0.00010"),
        (7.5, 0.0, 1, "7.500"),
        (math.nan, math.nan, 3, "nan"),
        (math.inf, math.nan, 3, "∞"),
    ],
)
def test_numbers(mean: float, std: float, n: int, text: str) -> None:
    assert number(mean, std, n) == text


@given(st.floats(-1e9, 1e9), st.floats(0, 1e6))
def test_a_written_number_is_the_number(mean: float, std: float) -> None:
    shown, _, spread = number(mean, std, 3).replace(",", "").partition(" ± ")
    assert float(shown) == pytest.approx(mean, rel=2e-3, abs=max(0.06 * std, 1e-7))
    if spread:
        assert float(spread) > 0
        assert float(spread) == pytest.approx(std, abs=max(0.5 * std if std < 1e-6 else 0.06 * std, 6e-4 * abs(mean)))
    else:
        assert std < max(1e-8, 1e-12 * abs(mean))


NASTY = r"a_b & 50% {x} \input{evil} $1 #2 ^~<>|" + '"'


def _balanced(text: str) -> bool:
    """Whether unescaped braces, dollars and environments close in order."""
    depth = 0
    for token in re.findall(r"\\.|[{}]", text, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(token, 0)
        if depth < 0:
            return False
    dollars = len(re.findall(r"(?<!\\)\$", text))
    begins, ends = re.findall(r"\\begin{(.*?)}", text), re.findall(r"\\end{(.*?)}", text)
    return depth == 0 and dollars % 2 == 0 and sorted(begins) == sorted(ends)


def test_a_name_cannot_break_or_inject(scored: Scored, about: About) -> None:
    about = replace(about, methods=[NASTY, "vae"])
    why = {("digits", NASTY): "declined: no%t\nthis \\end{table*}"}
    remarks = Remarks(
        why, {("mnist", "vae"): NASTY}, frozenset({("mnist", "vae")}), frozenset({("mnist", NASTY)}), NASTY, [NASTY]
    )
    frame = scored({NASTY: [1.0, 2.0], "vae": [1.0, 1.5]})
    latex = to_latex(build_table("reconstruction", frame, about, remarks=remarks), "s")
    assert r"a\_b \& 50\% \{x\} \textbackslash{}input\{evil\} \$1 \#2" in latex
    assert _balanced(latex)
    for tabular in re.findall(r"\\begin{tabular}(.*?)\\toprule(.*?)\\end{tabular}", latex, re.DOTALL):
        for line in tabular[1].split("\n"):
            if line.endswith(r"\\") and "multicolumn" not in line:
                assert len(re.findall(r"(?<!\\)&", line)) == len(re.findall(r"^ (?:S\[|c$)", tabular[0], re.MULTILINE))


@given(st.text())
def test_escaped_text_is_plain_for_latex(text: str) -> None:
    escaped = latex(text)
    assert escaped.isascii()
    assert "\n" not in escaped
    assert _balanced(escaped)
    assert not re.search(r"(?<!\\)[#&%_]", escaped)


def test_latex_of_twice_as_many_columns_takes_about_twice_as_long(
    scored: Scored, about: About, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted is how often the key of a column is looked up."""
    own, looked_up = Column.metric.fget, []
    assert own

    def counting(column: Column) -> str:
        looked_up.append(column)
        return str(own(column))

    counts = []
    for columns in (50, 100):
        frame = pd.concat([scored({"vae": [1.0, 2.0], "real-images": [1.0]}, f"new_{n}.mean") for n in range(columns)])
        table = build_table(OTHER, frame, about)
        with monkeypatch.context() as patched:
            patched.setattr(Column, "metric", property(counting))
            to_latex(table, "s")
        counts.append(len(looked_up) - sum(counts))
    assert counts[0] >= 50
    assert counts[1] < 3 * counts[0]


@pytest.mark.parametrize("name", LAYOUTS)
def test_latex_of_every_table_is_well_formed(scored: Scored, about: About, name: str) -> None:
    keys = [column.key.replace("@", "@classifier") for column in LAYOUTS[name].columns]
    frame = pd.concat([scored({"vae": [1.0, 2.0], "avae": [3.0, 4.0], "real-images": [1.0]}, key) for key in keys])
    for against in (None, "avae-2024"):
        latex = to_latex(build_table(name, frame, about, against), "s")
        assert _balanced(latex)
        assert latex.count(r"\toprule") == latex.count(r"\bottomrule") >= 1


def test_no_two_tables_of_a_paper_have_one_label(scored: Scored, about: About) -> None:
    frame = scored({"vae": [1.0, 2.0], "avae": [3.0, 4.0]})
    asked = [(None, "std"), (None, "ci95"), ("avae-2024", "std")]
    made = [build_table("reconstruction", frame, about, against, None, spread) for against, spread in asked]
    labels = [re.findall(r"\\label{(.*?)}", to_latex(table, suite)) for suite in ("a", "b") for table in made]
    ends = ["mnist", "mnist-ci95", "mnist-avae-2024"]
    assert labels[:3] == [[f"tab:a-reconstruction-{end}"] for end in ends]
    assert len({*map(tuple, labels)}) == 6


def test_a_label_has_a_prefix_and_no_character_that_latex_reads(scored: Scored, about: About) -> None:
    frame = scored({"vae": [1.0, 2.0]}, dataset="d_1%{x}")
    latex = to_latex(build_table("reconstruction", frame, about), "my suite", "appendix:")
    assert r"\label{appendix:my-suite-reconstruction-d_1-x-}" in latex


def test_marks_are_bold_and_italic_and_the_means_stand_in_columns_of_siunitx(scored: Scored, about: About) -> None:
    frame = scored({"vae": [1.0, 1.2], "avae": [-22.0, -21.0], "aae": [21.5, 21.5]})
    latex = to_latex(build_table("reconstruction", frame, about), "s")
    assert r"S[table-format=-2.2{\mdseries\itshape\,$\pm$\,0.10}]" in latex
    assert r"AVAE & \best -21.50{\,$\pm$\,0.50} \\" in latex
    assert r"VAE & \second 1.10{\,$\pm$\,0.10}" in latex
    assert r"AAE & 21.50 \\" in latex


def test_intervals_stand_behind_the_means(scored: Scored, about: About) -> None:
    frame = scored({"vae": [1.0, 1.1, 1.3, 1.2, 1.4], "avae": [2.0] * 5})
    latex = to_latex(build_table("reconstruction", frame, about, spread="ci95"), "s")
    assert re.search(r"& \\best 1\.20{\\,{\[}0\.97,\\,1\.43{\]}} ", latex)
    assert re.search(r"& \\second 2 ", latex)


def test_csv_has_every_number_in_full(scored: Scored, about: About) -> None:
    frame = scored({"vae": [0.1, 0.2], "real-images": [3.0]}, "kid.fake@classifier")
    rows = list(csv.DictReader(io.StringIO(to_csv(build_table("fidelity", frame, about, "avae-2024")))))
    assert [row["row"] for row in rows] == ["vae", "real-images"]
    assert rows[0]["metric"] == "kid.fake@classifier"
    assert float(rows[0]["mean"]) == pytest.approx(0.15, rel=1e-12)
    assert rows[0]["n"] == "2"
    assert rows[0]["published"] == ""


def _printed(table: Any, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    for shown in to_terminal(table, width):
        console.print(shown)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_terminal_shows_dashes_letters_and_marks(scored: Scored, about: About, remarks: Remarks) -> None:
    frame = pd.concat(
        [scored({"vae": [1.0, 1.0], "avae": [2.0, 2.0]}, "mse.train", name) for name in ("digits", "mnist")]
    )
    text = _printed(build_table("reconstruction", frame, about, remarks=remarks), 100)
    assert re.search(r"AAE +– b", text)
    assert "b: AAE on digits: declined: needs l of 10 or more" in text
    assert "1*" in text
    assert "2°" in text


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_terminal_never_cuts_a_number(scored: Scored, about: About, width: int) -> None:
    keys = [column.key.replace("@", "@classifier") for column in LAYOUTS["fidelity"].columns]
    frame = pd.concat([scored({"vae": [1.25, 1.5], "avae": [3.25, 4.5]}, key) for key in keys])
    text = _printed(build_table("fidelity", frame, about), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert text.count("±") == 2 * len(keys) + 1  # one in the caption


def test_markup_in_a_name_is_shown_as_it_stands(scored: Scored, about: About) -> None:
    about = replace(about, methods=["[red]x[/red]"])
    assert "[red]x[/red]" in _printed(build_table("reconstruction", scored({"[red]x[/red]": [1.0]}), about), 100)
