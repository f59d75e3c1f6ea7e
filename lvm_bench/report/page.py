"""report.html: a suite's tables, figures, runs and provenance as one file that asks nothing of any network."""

import base64
import hashlib
import io
import json
import math
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from jaxtyping import UInt8
from markupsafe import Markup, escape

from lvm_bench import config, registry, store
from lvm_bench.errors import UserError
from lvm_bench.records import CONTROLS, COSTS, IMAGES, Run
from lvm_bench.report import grids, writers
from lvm_bench.report.figures import Picture
from lvm_bench.report.figures.arrays import arrays_of
from lvm_bench.report.figures.strips import KINDS
from lvm_bench.report.gathered import Gathered
from lvm_bench.report.grids import Grid
from lvm_bench.report.scores import Epochs
from lvm_bench.report.tables import DATASETS, LAYOUTS, NORMAL, REAL, Cell, Column, Row, Table, label

FILE = "report.html"
MOST_BYTES = 4_900_000  # of the page, without the sentences that say what was left out
MOST_PICTURES = MOST_BYTES // 4  # bytes of the pictures of single runs
MOST_RUNS = 200  # that have curves and pictures of their own
MOST_ENVIRONMENTS = 20  # told of
MOST_SEEDS = 10  # named behind a mean
LEAST_P = 1e-4  # below which a p is not written out
MOST_EPOCHS = 60  # drawn of a curve
MOST_COLUMNS = 200  # of a history
MOST_LINES = 8  # in a panel, as many as page.css has colours
SHOWN, SIDE = 8, 32  # images of a kind in a run's pictures, and the most pixels of their sides
WIDTH, HEIGHT, LEFT, TOP = 240, 96, 44, 8  # of a panel of curves, and where its lines begin
LOG = 4  # largest over smallest value above which positive curves are drawn on a logarithmic scale
BETTER = {
    "lower": "lower is better",
    "higher": "higher is better",
    "zero": "nearer to 0 is better",
    "none": "neither direction is better",
}
TITLES = {
    "frechet": "Fréchet distance",
    "precision-recall": "Precision and recall",
    "kl": "KL divergence of codes",
    "entropy": "Entropy of codes",
    "reconstruction": "Reconstruction",
    "fidelity": "Fidelity and coverage",
    "latent": "Latent codes",
    "disentanglement": "Disentanglement, as in the paper",
    "factors": "Disentanglement",
    "reviewers": "What reviewers ask for",
    "cost": "Cost",
    "other": "Further scores",
}
NOTHING = Markup("")
_PARTS = ("tables", "words", "groups", "figures", "figures_left_out")


def write(folder: Path, tables: list[Table], found: Gathered, pictures: list[Picture], words: list[Grid]) -> Path:
    """Write report.html into a suite's folder: the same inputs give the same bytes, at most 5 MB of them."""
    file = folder / FILE
    store.write_text(file, render(folder.name, tables, found, pictures, words))
    return file


def render(
    suite: str, tables: list[Table], found: Gathered, pictures: list[Picture], words: list[Grid], live: Markup = NOTHING
) -> str:
    """The page as text. What does not fit is left out, and named: first pictures and figures, tables last.

    With `live`, what `live.render` says of the work going on, it brings itself up to date from where it came.
    """
    env = environment()
    part: Any = env.get_template("parts.html.jinja").module
    whole = env.get_template("page.html.jinja")
    groups = _groups(suite, found)
    kept = [picture for picture in pictures if not picture.method]
    facts: dict[str, Any] = {
        "suite": suite,
        "live": live,
        "about": found.about,
        "remarks": found.remarks,
        "titles": {table.name: _title(table) for table in tables},
        "words": words,
        "groups": groups,
        "runs": len(found.runs),
        "few": len(found.runs) <= MOST_RUNS,
        "most_runs": MOST_RUNS,
        "datasets": {run.dataset: DATASETS.get(run.dataset, run.dataset) for run in found.runs},
        "methods": _methods(found),
        "metrics": _metrics(tables),
        "environments": _environments(found),
        "most_environments": MOST_ENVIRONMENTS,
        "data": _data(found),
        "files": inlined(),
    }
    budget = Budget(MOST_BYTES - _size(whole.render(**facts, shown={name: {} for name in _PARTS}, left_out={})))
    shown_tables = budget.fit({table.name: part.table(_Tabled(table, _title(table))) for table in tables})
    shown_words = budget.fit({grid.name: part.words(grid) for grid in words})
    bare = budget.fit({group.name: part.group(group, {}) for group in groups})
    known = facts["titles"] | {grid.name: grid.title for grid in words}
    forms = {table.name: (writers.to_latex(table), writers.to_csv(table)) for table in tables}
    forms |= {grid.name: (grids.to_latex(grid), grids.to_csv(grid)) for grid in words}
    sources = {name: part.without_sources(name) for name in forms}
    sources |= budget.fit({name: part.sources(name, known[name], *texts) for name, texts in forms.items()})
    if facts["few"]:
        fitting = [group for group in groups if group.name in bare]
        extras = _extras(part, [run for group in fitting for run in group.runs], budget)
        bare = {group.name: part.group(group, extras) for group in fitting}
    figures = budget.fit_most(
        {picture.file.name: part.figure(picture, _uri(picture.file.read_bytes())) for picture in kept}
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


def _extras(part: Any, runs: list["_Seed"], budget: "Budget") -> dict[str, Markup]:
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


@cache
def environment() -> jinja2.Environment:
    """The templates beside this file: everything they print is escaped, and cannot steer what shows it."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
    )
    env.globals |= {"better": BETTER, "label": label, "kinds": KINDS}
    env.filters["code"] = _with_code
    return env


def _printable(value: Any) -> Any:
    """A text whose characters that nothing shows are question marks; Markup of ours as it is."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.replace("\n", "").isprintable():
        return value
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in value)


def _with_code(text: str) -> Markup:
    """A sentence of ours, in which what stands between backticks is code."""
    parts = [escape(_printable(part)) for part in text.split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


@cache
def inlined() -> dict[str, str | Markup]:
    """The style and the scripts, and the hashes by which the page allows these alone."""
    found: dict[str, str | Markup] = {}
    for name, file in (("css", "page.css"), ("js", "page.js"), ("live_js", "live.js")):
        text = Path(__file__).with_name(file).read_text(encoding="utf-8")
        found[name] = Markup(text)
        found[f"{name}_hash"] = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return found


# Tables


@dataclass(frozen=True)
class _Shown:
    """A cell as it is shown: `order` is what it is sorted by, `seeds` the values behind it, `runs` where they are."""

    text: str
    order: str = ""
    mark: str = ""
    tied: bool = False
    beside: str = ""
    far: bool = False
    seeds: str = ""
    runs: str = ""


class _Tabled:
    """A table as the template asks for it."""

    def __init__(self, table: Table, title: str) -> None:
        self.table, self.title = table, title
        self.metrics = sorted({name for column in table.columns if (name := _metric(column.key))})

    def panels(self) -> Iterator[tuple[str, str, list[Column]]]:
        """Each data set with its heading and those columns that have a number."""
        for dataset, heading in self.table.datasets.items():
            filled = {metric for _, of, metric in self.table.cells if of == dataset}
            columns = [column for column in self.table.columns if column.metric in filled]
            if columns:
                yield dataset, heading, columns

    def parts(self, dataset: str) -> list[list[Row]]:
        """The methods, and below them the controls, that have a number or a footnote on a data set."""
        filled = {name for name, of, _ in self.table.cells if of == dataset}
        rows = [row for row in self.table.rows if row.name in filled or dataset in row.notes]
        split = [[row for row in rows if not row.control], [row for row in rows if row.control]]
        return [part for part in split if part]

    def marks(self, row: Row, dataset: str) -> list[str]:
        """The footnotes of a row on a data set."""
        return [mark for mark in (row.notes.get(dataset, ""), self.table.mark(row, [dataset])) if mark]

    def cell(self, row: Row, dataset: str, column: Column) -> _Shown:
        """What stands in a cell."""
        cell = self.table.cells.get((row.name, dataset, column.metric))
        text, beside = writers.cell_text(cell, column, self.table.spread), writers.published_text(cell)
        if cell is None or not cell.n:
            return _Shown(text, beside=beside)
        value = abs(cell.mean) if column.better == "zero" else cell.mean
        order = "" if math.isnan(value) else f"{value:.17g}".replace("inf", "Infinity")
        runs = f"runs/{dataset}/{_method_of(row.name)}" if len(cell.values) else ""
        far = writers.is_far(cell)
        return _Shown(text, order, cell.mark, cell.tied, beside, far, _seeds(cell, column), runs)


def _title(table: Table) -> str:
    return TITLES.get(table.name, table.name)


def _method_of(row: str) -> str:
    """The method whose runs a row shows."""
    return _others().get(row, row)


@cache
def _others() -> dict[str, str]:
    return {other.name: other.method for layout in LAYOUTS.values() for other in layout.others}


def _seeds(cell: Cell, column: Column) -> str:
    """The values behind a mean, a line each, and how it was tested against the best."""
    named = zip(cell.seeds[:MOST_SEEDS].tolist(), cell.values[:MOST_SEEDS].tolist(), strict=True)
    lines = [f"seed {seed}: {value * column.scale:,.6g}" for seed, value in named]
    if len(cell.values) > MOST_SEEDS:
        lines.append(f"and {len(cell.values) - MOST_SEEDS:,} more")
    if not math.isnan(cell.p):
        lines.append(f"against the best: p {f'= {cell.p:.2g}' if cell.p >= LEAST_P else f'< {LEAST_P:g}'}")
    return "\n".join(lines)


# Methods, metrics, provenance


@cache
def _index() -> dict[str, registry.Entry]:
    return registry.index_folder(Path(registry.__file__).parent / "metrics", "metric")


@cache
def _metric(key: str) -> str:
    """The metric behind a key, `<metric>[_<part>].<variant>`; "" where it is none of ours."""
    name = key.split(".")[0]
    return max((metric for metric in _index() if f"{name}_".startswith(f"{metric}_")), key=len, default="")


def _metrics(tables: list[Table]) -> list[registry.Entry]:
    """The metrics that the tables show."""
    shown = {_metric(key) for table in tables for column in table.columns for key in (column.key, column.minus)}
    return [entry for name, entry in sorted(_index().items()) if name in shown]


def _methods(found: Gathered) -> list[tuple[str, str]]:
    """The methods with a sentence each, those of the suite first."""
    try:
        known = config.method_files(config.config_file(None))
    except UserError:  # a broken bench.toml does not keep anybody from looking at results
        known = {}
    bases = {run.method: (run.settings or {}).get("method", run.method) for run in found.runs if not run.is_control}
    names = [*(name for name in found.about.get("methods", []) if name in bases)]
    names += sorted({*bases} - {*names})
    entries = ((name, known.get(name) or known.get(str(bases[name]))) for name in names)
    return [(name, entry.description if entry else "") for name, entry in entries]


def _environments(found: Gathered) -> list[tuple[int, dict[str, Any]]]:
    """Where and with what the runs were finished, each once, with the number of its runs."""
    counts = Counter(id(run.environments[-1]) for run in found.runs if run.environments)  # thousands share one table
    distinct: dict[str, tuple[int, dict[str, Any]]] = {}
    for environment in {
        id(run.environments[-1]): run.environments[-1] for run in found.runs if run.environments
    }.values():
        versions = {name: text for name, text in environment["versions"].items() if name != "method"}
        kept = {name: environment[name] for name in ("commit", "device", "threads")} | {"versions": versions}
        before, _ = distinct.get(store.canonical(kept), (0, None))
        distinct[store.canonical(kept)] = before + counts[id(environment)], kept
    return list(distinct.values())


def _data(found: Gathered) -> dict[str, tuple[list[str], dict[str, Any]]]:
    """For each data set the checksums of what was read, and what is known of it."""
    checksums: dict[str, set[str]] = {}
    for run in found.runs:
        checksums.setdefault(run.dataset, set()).add(run.fingerprint)
    facts = found.about.get("datasets", {})
    return {name: (sorted(own - {""}), _flat(facts.get(name, {}))) for name, own in sorted(checksums.items())}


def _flat(table: dict[str, Any], above: str = "") -> dict[str, str]:
    """A table of tables with dotted keys, its values as JSON, texts as they are."""
    found: dict[str, str] = {}
    for name, value in sorted(table.items()):
        if isinstance(value, dict):
            found |= _flat(value, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return found


# Runs


@dataclass(frozen=True)
class _Seed:
    """A run of a group, with its id on the page and what is shown of it; without facts where there are many."""

    run: Run
    name: str
    command: str
    epochs: Epochs | None
    facts: dict[str, str] | None


@dataclass(frozen=True)
class _Group:
    """The runs of a method on a data set."""

    dataset: str
    method: str
    title: str
    note: str
    runs: list[_Seed]
    settings: dict[str, dict[str, str]] = field(default_factory=dict)  # by whose they are

    @property
    def name(self) -> str:
        return f"runs/{self.dataset}/{self.method}"


def _groups(suite: str, found: Gathered) -> list[_Group]:
    """The runs by data set and method, both in the suite's order, controls last."""
    places: dict[tuple[str, str], list[Run]] = {}
    for run in found.runs:
        places.setdefault(run.place, []).append(run)
    ranks = {
        name: {known: rank for rank, known in enumerate(found.about.get(name, []))} for name in ("datasets", "methods")
    }

    def order(place: tuple[str, str]) -> tuple[Any, ...]:
        dataset, method = place
        first = ranks["datasets"].get(dataset, len(places)), dataset
        return *first, method in CONTROLS, ranks["methods"].get(method, len(places)), method

    return [_group(suite, found, *place, places[place]) for place in sorted(places, key=order)]


def _group(suite: str, found: Gathered, dataset: str, method: str, runs: list[Run]) -> _Group:
    title = f"{dict((*REAL, *NORMAL)).get(method, label(method))} on {DATASETS.get(dataset, dataset)}"
    tables = {id(run.settings): run.settings for run in runs if run.settings is not None}
    texts = {identity: store.canonical(settings) for identity, settings in tables.items()}  # thousands share one table
    distinct: dict[str, list[Run]] = {}
    for run in runs:
        if run.settings is not None:
            distinct.setdefault(texts[id(run.settings)], []).append(run)
    settings = {
        f"seed {', '.join(str(run.seed) for run in of)}" if len(distinct) > 1 else "": _flat(of[0].settings or {})
        for of in distinct.values()
    }
    few = len(found.runs) <= MOST_RUNS
    shown = [
        _Seed(
            run,
            f"run/{dataset}/{method}/{run.seed}",
            "" if run.is_control else _command(suite, run),
            found.history.get(run.key),
            _facts(run) if few else None,
        )
        for run in runs
    ]
    return _Group(dataset, method, title, found.remarks.left_out.get((dataset, method), ""), shown, settings)


def _command(suite: str, run: Run) -> str:
    """What is typed to make the run again."""
    words = ["--suite", suite, "--methods", run.method, "--datasets", run.dataset, "--seeds", str(run.seed)]
    return shlex.join(["lvm-bench", "run", *words])


def _facts(run: Run) -> dict[str, str]:
    """What a record says of a run beside its settings, where it says something."""
    last = run.environments[-1] if run.environments else {}
    versions = last.get("versions", {})
    found = {
        **{name.replace("_", " "): f"{getattr(run, name) or 0:,}" for name in COSTS if getattr(run, name) is not None},
        "device": f"{last['device']}, threads: {last['threads']}" if last else "",
        "commit": str(last.get("commit") or ""),
        "code of the method": str(versions.get("method", "")),
        "data": run.fingerprint,
        "digest for weights": run.digest_weights,
        "digest for scores": run.digest_scores,
    }
    return {name: text for name, text in found.items() if text}


@dataclass(frozen=True)
class Curve:
    """A panel of curves: its SVG, and in words what it shows."""

    title: str
    lines: list[str]
    drawing: Markup
    log: bool


def curves(epochs: Epochs | None) -> list[Curve]:
    """A panel for each term of a history, with training and validation in one."""
    columns, rows = epochs or ([], [])
    panels: dict[str, dict[str, list[float]]] = {}
    chosen = np.unique(np.linspace(0, max(len(rows) - 1, 0), min(len(rows), MOST_EPOCHS)).round().astype(int))
    for place, name in enumerate(columns[:MOST_COLUMNS]):
        before, _, after = name.partition("/")
        title, line = (after, before) if before in ("train", "val") else (before, after)
        if name != "epoch":
            panels.setdefault(title, {})[line] = [_float(rows[row][place]) for row in chosen]
    return [_curve(title, lines, len(rows)) for title, lines in panels.items()]


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _curve(title: str, lines: dict[str, list[float]], epochs: int) -> Curve:
    known = list(lines)[:MOST_LINES]
    shown = title if len(lines) <= MOST_LINES else f"{title} (the first {MOST_LINES} of {len(lines)})"
    heights = np.array([lines[name] for name in known], dtype=np.float64)
    finite = heights[np.isfinite(heights)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    log = low > 0 and high > LOG * low
    with np.errstate(all="ignore"):
        scaled = np.log(heights) if log else heights
        bottom, top = (math.log(low), math.log(high)) if log else (low, high)
        share = (scaled - bottom) / (top - bottom) if top > bottom else scaled * 0 + 0.5
        y = np.where(np.isfinite(share), TOP + (1 - share) * (HEIGHT - 2 * TOP), np.nan)
    x = LEFT + np.linspace(0, 1, heights.shape[1]) * (WIDTH - LEFT - 4)
    drawn = Markup("").join(_line(place, x, row) for place, row in enumerate(y))
    ends = "; ".join(
        f"{name or title} from {lines[name][0]:.4g} to {lines[name][-1]:.4g}" for name in known if lines[name]
    )
    described = f"{title} over {epochs} epochs: {ends}"
    drawing = Markup(
        '<svg viewBox="0 0 {w} {h}" role="img" aria-label="{described}">'
        '<text x="{x}" y="{top}">{high}</text><text x="{x}" y="{bottom}">{low}</text>{drawn}</svg>'
    ).format(
        w=WIDTH, h=HEIGHT, described=_printable(described), x=LEFT - 5, top=TOP + 6, bottom=HEIGHT - 3,
        high=f"{high:.3g}", low=f"{low:.3g}", drawn=drawn,
    )  # fmt: skip
    return Curve(shown, [name for name in known if name], drawing, log)


def _line(place: int, x: np.ndarray, y: np.ndarray) -> Markup:
    """The pieces of a curve between values that cannot be drawn."""
    pieces = np.split(np.arange(len(y)), np.flatnonzero(~np.isfinite(y)))
    shown = [piece[np.isfinite(y[piece])] for piece in pieces]
    return Markup("").join(
        Markup('<polyline class="line-{}" points="{}"/>').format(
            place, " ".join(f"{x[at]:.1f},{y[at]:.1f}" for at in (piece if len(piece) > 1 else [*piece, *piece]))
        )
        for piece in shown
        if len(piece)
    )


def _strips(run: Run) -> dict[str, str]:
    """The first few images of each kind as data URIs; none where the run's file cannot be read."""
    found = arrays_of(
        run, IMAGES, lambda stored: {kind: _checked(stored[kind]) for kind in KINDS if kind in stored}, _ignored
    )
    return {kind: _uri(png(images[:SHOWN])) for kind, images in (found or {}).items()}


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


def _uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
