"""site/index.html, the leaderboard: who is best at what in each suite whose page stands in the site."""

import time
from dataclasses import dataclass
from pathlib import Path

from lvm_bench import disk
from lvm_bench.errors import RunError
from lvm_bench.report.page import takeaway
from lvm_bench.report.page.takeaway import Takeaway
from lvm_bench.report.page.template import environment, inlined
from lvm_bench.runs.layout import DOCUMENTATION, PAGE, SITE, site_folder, suite_folders
from lvm_bench.runs.lease import Leases

FILE = "index.html"

PATIENCE = 10.0  # seconds to wait for another report, which needs a fraction of one


@dataclass(frozen=True)
class Entry:
    """A suite of the leaderboard with the address of its page. `head` is None if its file is missing or damaged."""

    name: str
    page: str
    head: Takeaway | None


def write(results: Path) -> Path:
    """Write the index of every suite whose page stands in the site.

    What a killed report left of it is deleted. Another report that writes it is waited for.
    """
    file = results / SITE / FILE
    leases, until = Leases(), time.monotonic() + PATIENCE
    while (lease := leases.take(file.parent)) is None:
        if time.monotonic() > until:
            raise RunError(f"{file}: another `lvm-bench report` is writing it. Give the command again when it is done.")
        time.sleep(0.1)
    with lease:
        folders = [folder for folder in map(site_folder, suite_folders(results, None)) if (folder / PAGE).is_file()]
        documentation = DOCUMENTATION if (file.parent / DOCUMENTATION).is_file() else ""
        template = environment().get_template("index.html.jinja")
        groups = grouped(list(map(entry, folders)))
        disk.write_text(file, template.render(groups=groups, documentation=documentation, files=inlined()))
    return file


def entry(folder: Path) -> Entry:
    """The entry of a suite by its folder of the site."""
    try:
        head = takeaway.read(folder)
    except RunError:
        head = None
    return Entry(folder.name, f"{folder.name}/{PAGE}", head)


def grouped(entries: list[Entry]) -> dict[str, list[Entry]]:
    """Comparisons of methods, then ablations of one: those of most seeds first, then those of the longest training."""

    def order(entry: Entry) -> tuple[int, float, str]:
        return (-entry.head.seeds, -entry.head.seconds, entry.name) if entry.head else (0, 0.0, entry.name)

    entries = sorted(entries, key=order)
    ablations = [entry for entry in entries if entry.head and entry.head.ablation]
    found = {"Comparisons": [entry for entry in entries if entry not in ablations], "Ablations": ablations}
    return {title: own for title, own in found.items() if own}
