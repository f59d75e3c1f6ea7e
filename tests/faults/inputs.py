"""Malicious inputs, each tried in a folder of its own."""

from collections import Counter
from collections.abc import Callable

from .malicious import CASES, verdict
from .place import Item, Place


def inputs(make: Callable[[str], Place]) -> Item:
    """Every case; a refusal is a sentence, an exit code, nothing outside the folder and no code run."""
    item = Item(
        "Malicious inputs",
        f"{len(CASES)} inputs of a stranger: names, settings, plug-ins, data files, downloads, results. Each must be "
        "refused with a sentence or be harmless; nothing outside the working folder may change, no code of theirs run.",
        ["what", "tried", "as promised"],
    )
    tried, held = Counter[str](), Counter[str]()
    for number, case in enumerate(CASES):
        kind = case.name.split(",")[0].split("=")[0].split(" of ")[0].split(" that ")[0].strip()
        folder = make(f"input-{number}").folder
        folder.mkdir(parents=True, exist_ok=True)
        problems = verdict(case, folder)
        tried[kind] += 1
        held[kind] += not problems
        item.failures += [f"{case.name}: {problem}" for problem in problems]
    item.rows = [["all", sum(tried.values()), sum(held.values())]]
    item.notes.append(f"Of {len(tried)} kinds, such as {', '.join(sorted(tried)[:12])}.")
    return item
