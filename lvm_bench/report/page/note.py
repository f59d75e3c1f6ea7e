"""A suite's NOTE.md on its page: Markdown without raw HTML, pictures or links that would lead out of the page."""

import re
from collections.abc import Container
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

from lvm_bench import text
from lvm_bench.errors import UserError
from lvm_bench.report.page.template import only_printable
from lvm_bench.runs.layout import NOTE, committed_folder

BELOW = 2  # levels by which headings are lowered: the page has its own

_TABLE = re.compile(r"(?:\./)?tables/([\w-]+)\.md")


def note_of(suite: Path) -> str:
    """The text of a suite's note; "" if there is none, the reason if it cannot be read."""
    file = committed_folder(suite) / NOTE
    try:
        return text.read(file) if file.exists() else ""
    except UserError as error:
        return f"{NOTE} {str(error).partition(': ')[2]}"


def to_html(note: str, tables: Container[str]) -> Markup:
    """A note as HTML. A link to the Markdown of one of `tables` leads to that table on the page."""
    parser = _parser()
    tokens = parser.parse(str(only_printable(note.expandtabs(4))))
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + BELOW, 6)}"
        if token.children:
            token.children = _within(token.children, tables)
    return Markup(parser.renderer.render(tokens, parser.options, {}))


@cache
def _parser() -> MarkdownIt:
    """CommonMark and tables. Raw HTML is shown as text, and so are pictures."""
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


def _within(tokens: list[Token], tables: Container[str]) -> list[Token]:
    """Inline tokens whose links lead to tables of the page. Of other links the words stay."""
    kept, closes = [], []
    for token in tokens:
        if token.type == "link_open":
            found = _TABLE.fullmatch(str(token.attrs.get("href", "")))
            closes.append(bool(found and found[1] in tables))
            if found and closes[-1]:
                token.attrs = {"href": f"#table/{escape(found[1])}"}
        if token.type not in ("link_open", "link_close") or closes[-1]:
            kept.append(token)
        if token.type == "link_close":
            closes.pop()
    return kept
