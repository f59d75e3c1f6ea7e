"""report.html: a suite's tables, figures, runs and provenance as one file that asks nothing of any network."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from markupsafe import Markup

from lvm_bench import disk
from lvm_bench.report.figures.arrays import arrays_of
from lvm_bench.report.figures.strips import KINDS
from lvm_bench.report.figures.style import Picture
from lvm_bench.report.page.curves import curves
from lvm_bench.report.page.sections import (
    MOST_ENVIRONMENTS,
    ShownRun,
    TableView,
    data_sets,
    described_methods,
    described_metrics,
    environments,
    run_groups,
    table_title,
)
from lvm_bench.report.page.template import MOST_COLUMNS, MOST_RUNS, environment, inlined
from lvm_bench.report.tables import word_table, writers
from lvm_bench.report.tables.cells import Table
from lvm_bench.report.tables.word_table import WordTable
from lvm_bench.runs.gather import Gathered
from lvm_bench.runs.layout import IMAGES
from lvm_bench.runs.record import Run
from lvm_bench.suites.labels import DATASETS

FILE = "report.html"

MOST_BYTES = 4_900_000  # of the page, without the sentences that say what was left out

MOST_PICTURES = MOST_BYTES // 4  # bytes of the pictures of single runs

SHOWN, SIDE = 8, 32  # images of a kind in a run's pictures, and the most pixels of their sides

NOTHING = Markup("")

_PARTS = ("tables", "words", "groups", "figures", "figures_left_out")


def write(folder: Path, tables: list[Table], found: Gathered, pictures: list[Picture], words: list[WordTable]) -> Path:
    """Write report.html into a suite's folder of the site: the same inputs give the same bytes, at most 5 MB."""
    file = folder / FILE
    disk.write_text(file, render(folder.name, tables, found, pictures, words))
    return file


def render(
    suite: str,
    tables: list[Table],
    found: Gathered,
    pictures: list[Picture],
    words: list[WordTable],
    live: Markup = NOTHING,
) -> str:
    """The page as text. What does not fit is left out, and named: first pictures and figures, tables last.

    With `live`, what `live.render` says of the work going on, it brings itself up to date from where it came.
    """
    env = environment()
    part: Any = env.get_template("parts.html.jinja").module
    whole = env.get_template("page.html.jinja")
    groups = run_groups(suite, found)
    kept = [picture for picture in pictures if not picture.method]
    facts: dict[str, Any] = {
        "suite": suite,
        "live": live,
        "about": found.about,
        "remarks": found.remarks,
        "titles": {table.name: table_title(table) for table in tables},
        "words": words,
        "groups": groups,
        "runs": len(found.runs),
        "few": len(found.runs) <= MOST_RUNS,
        "most_runs": MOST_RUNS,
        "datasets": {run.dataset: DATASETS.get(run.dataset, run.dataset) for run in found.runs},
        "methods": described_methods(found),
        "metrics": described_metrics(tables),
        "environments": environments(found),
        "most_environments": MOST_ENVIRONMENTS,
        "data": data_sets(found),
        "files": inlined(),
    }
    budget = Budget(MOST_BYTES - _size(whole.render(**facts, shown={name: {} for name in _PARTS}, left_out={})))
    shown_tables = budget.fit({table.name: part.table(TableView(table, table_title(table))) for table in tables})
    shown_words = budget.fit({grid.name: part.words(grid) for grid in words})
    bare = budget.fit({group.name: part.group(group, {}) for group in groups})
    known = facts["titles"] | {grid.name: grid.title for grid in words}
    forms = {table.name: (writers.to_latex(table), writers.to_csv(table)) for table in tables}
    forms |= {grid.name: (word_table.to_latex(grid), word_table.to_csv(grid)) for grid in words}
    sources = {name: part.without_sources(name) for name in forms}
    sources |= budget.fit({name: part.sources(name, known[name], *texts) for name, texts in forms.items()})
    if facts["few"]:
        fitting = [group for group in groups if group.name in bare]
        extras = _extras(part, [run for group in fitting for run in group.runs], budget)
        bare = {group.name: part.group(group, extras) for group in fitting}
    figures = budget.fit_most(
        {picture.file.name: part.figure(picture, uri(picture.file.read_bytes())) for picture in kept}
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


def _extras(part: Any, runs: list[ShownRun], budget: "Budget") -> dict[str, Markup]:
    """The curves and pictures of runs, as far as they fit; a sentence in the place of pictures that do not."""
    drawn = budget.fit(
        {run.name: part.curves(curves(run.epochs), len(run.epochs[0]) - MOST_COLUMNS) for run in runs if run.epochs}
    )
    within = Budget(min(budget.left, MOST_PICTURES))
    pictured = [run for run in runs if run.run.folder and IMAGES in run.run.files]
    strips = within.fit({run.name: part.pictures(run, _strips(run.run)) for run in pictured})
    budget.left -= sum(map(_size, strips.values()))
    strips = {run.name: part.without_pictures() for run in pictured} | strips
    return {run.name: Markup("").join([drawn.get(run.name, ""), strips.get(run.name, "")]) for run in runs}


class Budget:
    """How many bytes are left."""

    def __init__(self, left: int) -> None:
        self.left = left

    def fit(self, texts: dict[Any, Markup]) -> dict[Any, Markup]:
        """Those texts, in order, that still fit."""
        kept = {}
        for name, text in texts.items():
            if _size(text) <= self.left:
                self.left -= _size(text)
                kept[name] = text
        return kept

    def fit_most(self, texts: dict[Any, Markup]) -> dict[Any, Markup]:
        """As many texts as still fit, in order: one that is very long keeps no others out."""
        kept = self.fit({name: texts[name] for name in sorted(texts, key=lambda name: len(texts[name]))})
        return {name: text for name, text in texts.items() if name in kept}


def _size(text: str) -> int:
    return len(text.encode(errors="replace"))


def _strips(run: Run) -> dict[str, str]:
    """The first few images of each kind as data URIs; none where the run's file cannot be read."""
    found = arrays_of(
        run, IMAGES, lambda stored: {kind: _checked(stored[kind]) for kind in KINDS if kind in stored}, _ignored
    )
    return {kind: uri(png(images[:SHOWN])) for kind, images in (found or {}).items()}


def _ignored(complaint: str) -> None:
    """`verify` names damaged files with their paths, which are nobody's business who gets the page."""


def _checked(images: np.ndarray) -> np.ndarray:
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[1] not in (1, 3) or not images.size:
        raise ValueError("no images")
    return images


def png(images: UInt8[np.ndarray, "n c h w"]) -> bytes:
    """Images side by side as a PNG, each averaged down to at most 32 pixels a side."""
    from PIL import Image

    n, _, h, w = images.shape
    scale = min(1.0, SIDE / max(h, w))
    size = max(1, round(w * scale)), max(1, round(h * scale))
    row = Image.new("L" if images.shape[1] == 1 else "RGB", (n * (size[0] + 1) - 1, size[1]))
    for place, image in enumerate(images):
        pixels = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
        row.paste(pixels.resize(size, Image.Resampling.BOX), (place * (size[0] + 1), 0))
    stream = io.BytesIO()
    row.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def uri(content: bytes) -> str:
    """A PNG as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
