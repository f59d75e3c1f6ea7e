"""The page's templates, style and scripts."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from lvm_bench.report.figures.strips import KINDS
from lvm_bench.report.tables.layouts import ARROWS
from lvm_bench.suites.labels import label

MOST_RUNS = 200  # that have curves and pictures of their own

MOST_COLUMNS = 200  # of a history

MOST_TIED = 3  # methods that are named beside the best, which they may equal

BETTER = {
    "lower": "lower is better",
    "higher": "higher is better",
    "zero": "nearer to 0 is better",
    "none": "neither direction is better",
}


@cache
def environment() -> jinja2.Environment:
    """The templates beside this file. Whatever they print is escaped and printable."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=only_printable,
    )
    env.globals |= {"better": BETTER, "label": label, "kinds": KINDS, "most_tied": MOST_TIED}
    env.filters |= {"code": _with_code, "unbroken": _unbroken}
    return env


def only_printable(value: Any) -> Any:
    """A text with question marks for unprintable characters. Our own Markup stays as it is."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.replace("\n", "").isprintable():
        return value
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in value)


def _with_code(text: str) -> Markup:
    """A sentence of ours with the words between backticks set as code."""
    parts = [escape(only_printable(part)) for part in text.split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


def _unbroken(heading: str) -> Markup:
    """A heading whose arrow to the better direction stands on the line of its last word."""
    words, _, last = heading.rpartition(" ")
    if f" {last}" not in ARROWS.values():
        return escape(only_printable(heading))
    return Markup("{}&nbsp;{}").format(only_printable(words), last)


@cache
def inlined() -> dict[str, str | Markup]:
    """The style and the scripts, with the hashes that let the page run no others."""
    found: dict[str, str | Markup] = {}
    for name, file in (("css", "page.css"), ("js", "page.js"), ("live_js", "live.js")):
        text = Path(__file__).with_name(file).read_text(encoding="utf-8")
        found[name] = Markup(text)
        found[f"{name}_hash"] = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return found
