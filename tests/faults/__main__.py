"""`make faults`: every fault, and results/faults.md, which says what came of them. `python -m faults --help`."""

import argparse
import importlib.metadata
import importlib.util
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch

from lvm_bench import __version__, disk

from .cluster import cluster
from .disks import clock, full, moved, read_only
from .inputs import inputs
from .joins import joins
from .kills import crashes, kills
from .machines import machines
from .many import many
from .mutations import mutations
from .place import Item, Place, places
from .runners import leases, runners
from .scale import at_a_time, crowd, nodes

PAGE = Path(__file__).parents[2] / "results" / "faults.md"
Make = Callable[[str], Place]
HELD, BROKEN = "All as promised.", "**Not as promised, see below.**"


def clusters(make: Make) -> Item:
    """Clusters, where Ray is installed."""
    if importlib.util.find_spec("ray") is None:
        return Item("Workers elsewhere", "Not run: Ray is not installed.", ["killed"])
    return cluster(make)


def on_nodes(make: Make, share: float) -> Item:
    """Three nodes, where Ray is installed."""
    if importlib.util.find_spec("ray") is None:
        return Item("Short jobs on three nodes", "Not run: Ray is not installed.", ["runs"])
    return nodes(make, share)


def items(seed: int, share: float) -> dict[str, Callable[[Make], Item]]:
    """Every item by name; `share` of the full numbers."""
    return {
        "kills": lambda make: kills(make, seed, max(2, round(50 * share))),
        "crashes": lambda make: crashes(make, seed, None if share == 1 else max(2, round(40 * share))),
        "mutations": lambda make: mutations(make, seed, max(4, round(200 * share))),
        "runners": lambda make: runners(make, seed),
        "leases": lambda make: leases(make, seed),
        "machines": lambda make: machines(make, seed),
        "joins": joins,
        "disks": lambda make: full(make, seed),
        "read-only": lambda make: read_only(make, seed),
        "clock": lambda make: clock(make, seed),
        "moved": lambda make: moved(make, seed),
        "jobs": lambda make: at_a_time(make, share),
        "crowd": lambda make: crowd(make, share),
        "cluster": clusters,
        "nodes": lambda make: on_nodes(make, share),
        "many": many,
        "inputs": inputs,
    }


def section(item: Item, seed: int) -> str:
    """What was done and what came of it, when and where, in Markdown."""
    lines = [item.what, ""]
    if item.rows:
        lines += [f"| {' | '.join(item.columns)} |", f"|{'---|' * len(item.columns)}"]
        lines += [f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |" for row in item.rows]
        lines.append("")
    lines += [f"{note}\n" for note in item.notes]
    versions = {"lvm-bench": __version__, "Python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in ("torch", "numpy", "filelock")}
    machine = f"{platform.system()} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    lines.append(
        f"{HELD if not item.failures else BROKEN} {datetime.now(UTC):%Y-%m-%d}, seed {seed}, {item.seconds:.0f} s on "
        f"{machine}; {', '.join(f'{name} {version}' for name, version in versions.items())}."
    )
    return "\n".join([*lines, *(f"- {text}" for text in item.failures)])


def page(found: dict[str, str]) -> str:
    """The whole page from the section of each title."""
    broken = [title for title, text in found.items() if BROKEN in text]
    lines = [
        "# Faults on purpose",
        "",
        "Written by `make faults` (`python -m faults`; `--only ITEM` writes one section anew).",
        "",
        f"**{'Every promise held.' if not broken else 'Not as promised: ' + ', '.join(broken) + '.'}**",
    ]
    for title, text in found.items():
        lines += ["", f"## {title}", "", text]
    return "\n".join(lines) + "\n"


def sections(text: str) -> dict[str, str]:
    """The section of each title of a page."""
    parts = (part.partition("\n") for part in text.split("\n## ")[1:])
    return {title: body.strip() for title, _, body in parts}


def main() -> int:
    """Run what is asked for and write its sections of the page; 1 if a promise did not hold, else 0."""
    parser = argparse.ArgumentParser(prog="python -m faults")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="of the full numbers: a first look")
    parser.add_argument("--only", action="append", choices=items(0, 1), help="this item (repeatable)")
    chosen = parser.parse_args()
    found = []
    with places() as make:
        for name, attempt in items(chosen.seed, chosen.share).items():
            if chosen.only and name not in chosen.only:
                continue
            print(f"{name} (seed {chosen.seed}) ...", flush=True)
            started = time.monotonic()
            item = attempt(make)
            item.seconds = time.monotonic() - started
            found.append(item)
            print(f"  {item.seconds:.0f} s, {len(item.failures)} promises did not hold", flush=True)
            for text in item.failures:
                print(f"  {text}", flush=True)
    now = {item.title: section(item, chosen.seed) for item in found}
    print(page(now))
    if chosen.share == 1:
        before = sections(PAGE.read_text(encoding="utf-8")) if chosen.only and PAGE.exists() else {}
        disk.write_text(PAGE, page(before | now))
        print(f"Written: {PAGE}")
    return 1 if any(item.failures for item in found) else 0


if __name__ == "__main__":
    sys.exit(main())
