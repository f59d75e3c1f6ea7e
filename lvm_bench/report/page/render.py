"""report.html: what stands where on the page, and what is left out of it to keep it small."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from lvm_bench import disk
from lvm_bench.report.figures.grids import is_own
from lvm_bench.report.figures.style import Picture
from lvm_bench.report.page import takeaway
from lvm_bench.report.page.budget import Budget, size
from lvm_bench.report.page.curves import curves
from lvm_bench.report.page.note import note_of, to_html
from lvm_bench.report.page.pictures import MOST_FIGURES, RANKS, data_uri, is_main, strips
from lvm_bench.report.page.runs import RunGroup, ShownRun, run_groups
from lvm_bench.report.page.sections import (
    MOST_ENVIRONMENTS,
    data_sets,
    environments,
    method_sentences,
    shown_metrics,
)
from lvm_bench.report.page.tables import HEADLINES, ShownTable, headline_table, table_title
from lvm_bench.report.page.template import MOST_COLUMNS, MOST_RUNS, environment, inlined
from lvm_bench.report.tables import floats, tex, tex_words, word_table, writers
from lvm_bench.report.tables.cells import Table
from lvm_bench.report.tables.headline import headline_scores
from lvm_bench.report.tables.word_table import WordTable
from lvm_bench.runs.gather import Gathered
from lvm_bench.runs.layout import IMAGES, PAGE, site_folder
from lvm_bench.suites.labels import dataset_label

MOST_BYTES = 7_900_000  # of the page, without the sentences that say what was left out

MOST_PICTURES = MOST_BYTES // 4  # bytes of the pictures of single runs

MOST_ROWS = 60  # of the table of headline scores, in all data sets: a longer one would hide what comes after it

NOTHING = Markup("")

_NO_PARTS: dict[str, Any] = {
    **{name: {} for name in ("tables", "words", "groups")},
    **dict.fromkeys(("figures", "further", "figures_left_out"), ()),
    **dict.fromkeys(("headlines", "ranks"), NOTHING),
}

_SOURCES = Markup("<!-- the table as LaTeX and CSV -->")


def write(
    suite: Path,
    tables: list[Table],
    found: Gathered,
    pictures: list[Picture],
    words: list[WordTable],
    label: str = floats.LABEL,
) -> Path:
    """Write the page of a suite's folder into the site, and what the leaderboard shows of it.

    It has at most 8 MB; the same inputs give the same bytes.
    """
    folder = site_folder(suite)
    disk.write_text(folder / PAGE, render(suite.name, tables, found, pictures, words, note_of(suite), label=label))
    takeaway.write(folder, takeaway.takeaway(suite.name, found))
    return folder / PAGE


def render(
    suite: str,
    tables: list[Table],
    found: Gathered,
    pictures: list[Picture],
    words: list[WordTable],
    note: str = "",
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
    known = facts["titles"] | {table.name: table.title for table in words}
    facts["note"] = to_html(note, known) if note else NOTHING
    budget = Budget(MOST_BYTES - size(whole.render(**facts, shown=_NO_PARTS, left_out={})))
    headlines = budget.fit({HEADLINES: html} if (html := _headlines(part, tables, found)) else {})
    shown_tables = budget.fit(
        {table.name: part.table(ShownTable(table, known[table.name]), _SOURCES) for table in tables}
    )
    shown_words = budget.fit({table.name: part.words(table, _SOURCES) for table in words})
    bare = budget.fit({group.name: part.group(group, {}) for group in groups})
    forms = {table.name: (tex.to_latex(table, suite, label), writers.to_csv(table)) for table in tables}
    forms |= {table.name: (tex_words.to_latex(table, suite, label), word_table.to_csv(table)) for table in words}
    sources = {name: part.without_sources(name) for name in forms}
    sources |= budget.fit({name: part.sources(name, known[name], *texts) for name, texts in forms.items()})
    if facts["few"]:
        fitting = [group for group in groups if group.name in bare]
        extras = _extras(part, [run for group in fitting for run in group.runs], budget)
        bare = {group.name: part.group(group, extras) for group in fitting}
    shown = {
        "headlines": headlines.get(HEADLINES, NOTHING),
        "tables": {name: html.replace(_SOURCES, sources[name]) for name, html in shown_tables.items()},
        "words": {name: html.replace(_SOURCES, sources[name]) for name, html in shown_words.items()},
        "groups": bare,
        **_figures(part, pictures, budget),
    }
    left_out = {name: title for name, title in known.items() if name not in shown_tables | shown_words}
    return whole.render(**facts, shown=shown, left_out=left_out)


def _headlines(part: Any, tables: list[Table], found: Gathered) -> Markup:
    """The table of headline scores; nothing where there is none or it is long."""
    table = headline_table(tables, headline_scores(found.frame, found.about))
    if table is None:
        return NOTHING
    view = ShownTable(table, "Headline scores")
    rows = sum(len(rows) for dataset in table.datasets for rows in view.parts(dataset))
    return Markup(part.headlines(view)) if rows <= MOST_ROWS else NOTHING


def _figures(part: Any, pictures: list[Picture], budget: Budget) -> dict[str, Any]:
    """The diagram of ranks, the figures of all methods, those that are folded away, and the names of those left out."""
    kept = {picture.file.name: picture for picture in pictures if not picture.method or is_own(picture)}
    html = {name: part.diagram if name == RANKS else part.figure for name in kept}
    fitting = budget.fit_most(
        {name: html[name](picture, data_uri(picture.file.read_bytes())) for name, picture in kept.items()}
    )
    ranks = fitting.pop(RANKS, NOTHING)
    first = [name for name in fitting if is_main(kept[name])][:MOST_FIGURES]
    return {
        "ranks": ranks,
        "figures": [fitting[name] for name in first],
        "further": [html for name, html in fitting.items() if name not in first],
        "figures_left_out": [name for name in kept if name not in fitting and not (name == RANKS and ranks)],
    }


def _facts(
    suite: str, tables: list[Table], found: Gathered, words: list[WordTable], groups: list[RunGroup]
) -> dict[str, Any]:
    """The values that the page's template names, without the parts whose sizes are counted."""
    return {
        "suite": suite,
        "about": found.about,
        "head": takeaway.takeaway(suite, found),
        "most_listed": takeaway.MOST_LISTED,
        "titles": {table.name: table_title(table) for table in tables},
        "words": words,
        "groups": groups,
        "runs": sum(not run.is_control for run in found.runs),
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
