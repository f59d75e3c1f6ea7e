"""The LaTeX of a report is read by a parser, and compiled as it stands where there is a TeX."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from compiled import LATEX, MISSING, problems
from pylatexenc.latexwalker import LatexEnvironmentNode, LatexWalker

from lvm_bench.report.tables import aggregate_tables, bandwidth, claim_words, floats, ranking, settings, tex_words
from lvm_bench.report.tables.build import build_table
from lvm_bench.report.tables.layouts import LAYOUTS
from lvm_bench.report.tables.tex import to_latex
from lvm_bench.report.tables.word_table import WordTable
from lvm_bench.report.write import emit
from lvm_bench.runs.comparable import Remarks
from lvm_bench.runs.layout import site_folder
from lvm_bench.runs.suite_record import About

Scored = Callable[..., pd.DataFrame]
METHODS = {"vae": [1.0, 2.0], "avae": [3.0, 4.5], "my_method": [2.0, 8.0], "real-images": [1.0, 1.0]}
RESULTS = Path(__file__).parents[3] / "results"


def texts(scored: Scored, about: About, remarks: Remarks) -> dict[str, str]:
    keys = [column.key.replace("@", "@classifier") for layout in LAYOUTS.values() for column in layout.columns]
    frame = pd.concat([scored(METHODS, key, name) for key in dict.fromkeys(keys) for name in ("digits", "mnist")])
    found = {name: to_latex(build_table(name, frame, about, "avae-2024", remarks), "s") for name in LAYOUTS}
    found["ci95"] = to_latex(build_table("frechet", frame, about, None, remarks, "ci95"), "s")
    ranked = ranking.ranking(frame, about)
    aggregated = aggregate_tables.aggregates(frame, about)
    assert ranked
    assert aggregated
    nasty = WordTable("nasty", "N_a$ty", "50 % {of} \\it", ["a&b", "c^d"], [["#1", "~|<>\"'["], ["≈ ↓ ↑ → ∞ β", "*"]])
    made = [
        ranking.ranks_table(ranked),
        *aggregate_tables.aggregate_tables(aggregated),
        claim_words.claims_table(claim_words.verdicts(frame, "classifier")),
        nasty,
        settings.settings([]),
    ]
    return found | {grid.name: tex_words.to_latex(grid, "s") for grid in made if grid.rows}


def test_a_parser_reads_every_table(scored: Scored, about: About, remarks: Remarks) -> None:
    for name, text in texts(scored, about, remarks).items():
        assert environments(text), name


def environments(text: str) -> list[str]:
    """The environments at the top of a text; an error where it is no LaTeX."""
    nodes, *_ = LatexWalker(text, tolerant_parsing=False).get_latex_nodes()
    return [node.environmentname for node in nodes if isinstance(node, LatexEnvironmentNode)]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The LaTeX of two committed suites, one of them with factors, and of the bandwidths."""
    results = tmp_path_factory.mktemp("results")
    found = [bandwidth.to_latex(bandwidth.read(RESULTS / "bandwidth"))]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("lvm_bench.report.figures.draw.write_all", lambda *_: [])
        for suite in ("quick", "disentanglement-small"):
            shutil.copytree(RESULTS / suite, results / suite, ignore=shutil.ignore_patterns("runs"))
            emit(results / suite)
            found += [file.read_text() for file in sorted(site_folder(results / suite).glob("tables/*.tex"))]
    return found


def test_a_parser_reads_what_is_rendered_of_committed_suites(rendered: list[str]) -> None:
    assert len(rendered) > 20
    for text in rendered:
        assert {*environments(text)} <= {"table", "table*"}, text[:200]
        assert text.startswith("% needs \\usepackage{booktabs")
        captions = re.findall(r"\\caption{(.*)}\n", text)
        assert len(captions) == text.count(r"\begin{table")
        assert max(map(len, captions)) < 100  # two lines of a column


def test_no_number_of_a_committed_suite_has_a_deviation_of_zero(rendered: list[str]) -> None:
    for text in rendered[1:]:  # the bandwidths quote the paper's own `± 0.00`
        assert not re.search(r"\$\\pm\$(\\,|~| )0(\.0*)?[^\d.]", text)


@pytest.mark.skipif(LATEX is None, reason=MISSING)
def test_tex_compiles_every_table_without_overfull_boxes(
    scored: Scored, about: About, remarks: Remarks, rendered: list[str], tmp_path: Path
) -> None:
    made = texts(scored, about, remarks).values()
    assert problems(tmp_path, "two-columns", [*made, *rendered[:15]]) == []  # `make docs` compiles all


@pytest.mark.skipif(LATEX is None, reason=MISSING)
def test_what_does_not_fit_is_found(tmp_path: Path) -> None:
    assert "Overfull" in problems(tmp_path, "one-column", [rf"\noindent\rule{{{floats.PAGE + 9}pt}}{{1pt}}"])[0]
    assert "! Undefined control sequence." in problems(tmp_path, "one-column", [r"\nothing"])[0]


@pytest.mark.parametrize(
    ("sizes", "counts"), [([], []), ([200], [1]), ([30] * 4, [2, 2]), ([90, 5, 5, 5, 60], [1, 4]), ([9] * 17, [9, 8])]
)
def test_columns_stand_in_few_panels_of_about_one_width(sizes: list[float], counts: list[int]) -> None:
    assert floats.filled(sizes, 100) == counts
