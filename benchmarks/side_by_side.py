"""RESULTS.md: the verdicts of all kinds of processors side by side, read from their tables."""

import re
from pathlib import Path

from benchmarks.results import table

Cells = dict[str, str]


def measured_rows(page: str) -> dict[tuple[str, str], Cells]:
    """The cells of each row of a page's first table, by what is measured and the peer without its version."""
    lines = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    header = lines[0]
    last = next((i for i, cells in enumerate(lines[1:], 1) if cells[:2] == ["what", "peer"]), len(lines))
    rows = {}
    for cells in lines[2:last]:
        named = dict(zip([*header, "verdict"], cells, strict=False))
        rows[named["what"], re.sub(r" [\d.]+$", "", named["peer"])] = named
    return rows


def verdict(cells: Cells | None) -> str:
    """One kind's result of a row: the ratio (or our own value), the multiple of the limit, and the verdict."""
    if cells is None:
        return "–"
    found = cells["ratio"] if cells["ratio"] != "–" else cells["ours"]
    parts = [re.sub(r" \(.*", "", found).split(", memory")[0]]
    if "limit" in cells and cells["limit"] != "–":
        parts.append(cells["limit"].split(", ")[1] + " the limit")
    return f"{', '.join(parts)}: {cells['verdict']}"


def side_by_side(folder: Path) -> str:
    """The page that sets the tables RESULTS-KIND.md of a folder side by side."""
    pages = {file.stem.removeprefix("RESULTS-"): file.read_text() for file in sorted(folder.glob("RESULTS-*.md"))}
    pages.pop("gpu", None)  # another kind of page
    found = {kind: measured_rows(page) for kind, page in pages.items()}
    rows = dict.fromkeys(row for kind in found.values() for row in kind)
    body = [[what, peer, *(verdict(found[kind].get((what, peer))) for kind in found)] for what, peer in rows]
    links = [f"[{kind}](RESULTS-{kind}.md)" for kind in found]
    return "\n".join(
        [
            "# Speed beside what people use, by kind of processor",
            "",
            "Made by `make bench`, which writes the table of the kind of processor that it runs on and this page. Each "
            "cell: how many times as fast as the peer (or as long, where the goal limits that; or our own value where "
            "there is no peer), how many times the limit, and whether the goal of that table is met.",
            "",
            *table(("what", "peer", *links), body),
            "",
        ]
    )
