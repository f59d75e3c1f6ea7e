"""report.html: what stands where on the page, and what is left out of it to keep it small."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from lvm_bench import disk
from lvm_bench.report.figures.grids import is_own
from lvm_bench.report.figures.style import Picture
from lvm_bench.report.page.budget import Budget, size
from lvm_bench.report.page.curves import curves
from lvm_bench.report.page.pictures import data_uri, strips
from lvm_bench.report.page.runs import RunGroup, ShownRun, run_groups
from lvm_bench.report.page.sections import (
    MOST_ENVIRONMENTS,
    data_sets,
    environments,
    method_sentences,
    shown_metrics,
)
from lvm_bench.report.page.tables import ShownTable, table_title
from lvm_bench.report.page.template import MOST_COLUMNS, MOST_RUNS, environment, inlined
from lvm_bench.report.tables import floats, tex, tex_words, word_table, writers
from lvm_bench.report.tables.cells import Table
from lvm_bench.report.tables.word_table import WordTable
from lvm_bench.runs.gather import Gathered
from lvm_bench.runs.layout import IMAGES, PAGE
from lvm_bench.suites.labels import dataset_label

MOST_BYTES = 4_900_000  # of the page, without the sentences that say what was left out

MOST_PICTURES = MOST_BYTES // 4  # bytes of the pictures of single runs

NOTHING = Markup("")

_PARTS = ("tables", "words", "groups", "figures", "figures_left_out")


def write(
    folder: Path,
    tables: list[Table],
    found: Gathered,
    pictures: list[Picture],
    words: list[WordTable],
    label: str = floats.LABEL,
) -> Path:
    """Write report.html into a suite's folder of the site. It has at most 5 MB; the same inputs give the same bytes."""
    file = folder / PAGE
    disk.write_text(file, render(folder.name, tables, found, pictures, words, label=label))
    return file


def render(
    suite: str,
    tables: list[Table],
    found: Gathered,
    pictures: list[Picture],
    words: list[WordTable],
    live: Markup = NOTHING,
    label: str = floats.LABEL,
) -> str:
    """The page as text. It names what it leaves out for want of room: pictures and figures first, tables last.

    With `live`, the part that `live.render` makes, the page brings that part up to date from its own address.
    """
    env = environment()
    part: Any = env.get_template("parts.html.jinja").module
    whole = env.get_template("page.html.jinja")
    groups = run_groups(suite, found)
    facts = _facts(suite, tables, found, words, groups) | {"live": live}
    budget = Budget(MOST_BYTES - size(whole.render(**facts, shown={name: {} for name in _PARTS}, left_out={})))
    shown_tables = budget.fit({table.name: part.table(ShownTable(table, table_title(table))) for table in tables})
    shown_words = budget.fit({table.name: part.words(table) for table in words})
    bare = budget.fit({group.name: part.group(group, {}) for group in groups})
    known = facts["titles"] | {table.name: table.title for table in words}
    forms = {table.name: (tex.to_latex(table, suite, label), writers.to_csv(table)) for table in tables}
    forms |= {table.name: (tex_words.to_latex(table, suite, label), word_table.to_csv(table)) for table in words}
    sources = {name: part.without_sources(name) for name in forms}
    sources |= budget.fit({name: part.sources(name, known[name], *texts) for name, texts in forms.items()})
    if facts["few"]:
        fitting = [group for group in groups if group.name in bare]
        extras = _extras(part, [run for group in fitting for run in group.runs], budget)
        bare = {group.name: part.group(group, extras) for group in fitting}
    kept = [picture for picture in pictures if not picture.method or is_own(picture)]
    figures = budget.fit_most(
        {picture.file.name: part.figure(picture, data_uri(picture.file.read_bytes())) for picture in kept}
    )
    shown = {
        "tables": {name: html + sources[name] for name, html in shown_tables.items()},
        "words": {name: html + sources[name] for name, html in shown_words.items()},
        "groups": bare,
        "figures": figures,
        "figures_left_out": [picture.file.name for picture in kept if picture.file.name not in figures],
    }
    left_out = {name: title for name, title in known.items() if name not in shown_tables | shown_words}
    return whole.render(**facts, shown=shown, left_out=left_out)


def _facts(
    suite: str, tables: list[Table], found: Gathered, words: list[WordTable], groups: list[RunGroup]
) -> dict[str, Any]:
    """The values that the page's template names, without the parts whose sizes are counted."""
    return {
        "suite": suite,
        "about": found.about,
        "remarks": found.remarks,
        "titles": {table.name: table_title(table) for table in tables},
        "words": words,
        "groups": groups,
        "runs": len(found.runs),
        "few": len(found.runs) <= MOST_RUNS,
        "most_runs": MOST_RUNS,
        "datasets": {run.dataset: dataset_label(run.dataset) for run in found.runs},
        "methods": method_sentences(found),
        "metrics": shown_metrics(tables),
        "environments": environments(found),
        "most_environments": MOST_ENVIRONMENTS,
        "data": data_sets(found),
        "files": inlined(),
    }


def _extras(part: Any, runs: list[ShownRun], budget: Budget) -> dict[str, Markup]:
    """The curves and pictures of runs, as far as they fit. A sentence stands in place of pictures that do not."""
    drawn = budget.fit(
        {run.name: part.curves(curves(run.epochs), len(run.epochs[0]) - MOST_COLUMNS) for run in runs if run.epochs}
    )
    within = Budget(min(budget.left, MOST_PICTURES))
    pictured = [run for run in runs if run.run.folder and IMAGES in run.run.files]
    shown = within.fit({run.name: part.pictures(run, strips(run.run)) for run in pictured})
    budget.left -= sum(map(size, shown.values()))
    shown = {run.name: part.without_pictures() for run in pictured} | shown
    return {run.name: Markup("").join([drawn.get(run.name, ""), shown.get(run.name, "")]) for run in runs}
