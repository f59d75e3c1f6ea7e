"""The words above and below a table: its caption and its footnotes."""

import math
from dataclasses import replace
from typing import Any

import pandas as pd

from lvm_bench.report.tables import published, statistics
from lvm_bench.report.tables.cells import TIED, Cell, CellKey, Row, space_free
from lvm_bench.report.tables.layouts import Column, Layout
from lvm_bench.runs.suite_record import About
from lvm_bench.suites.labels import dataset_label
from lvm_bench.text import counted, listed

_SPREAD_WORDS = {
    "std": "mean ± population standard deviation",
    "ci95": "mean with its 95 % interval by the bootstrap-t",
}


def told_of_tests(cells: dict[CellKey, Cell]) -> list[str]:
    """Sentences on how the cells were tested against the best, and on what the tests cannot show."""
    tested = [cell.n for cell in cells.values() if not math.isnan(cell.p)]
    if not tested:
        return (
            ["One seed: no difference can be tested."]
            if any(cell.mark and cell.n == 1 for cell in cells.values())
            else []
        )
    text = [
        f"{TIED} not distinguishable from the best (paired t-tests over common seeds, Holm's correction, "
        f"{statistics.LEVEL:.0%})."
    ]
    if any(math.isnan(cell.p) and cell.mark != "best" for cell in cells.values()):
        text.append("Not tested: cells without spread, or with fewer than two seeds in common with the best.")
    least = statistics.smallest_wilcoxon_p(min(tested))
    if least > statistics.LEVEL:
        text.append(
            f"The t-test takes differences to be normal; an exact Wilcoxon test, which does not, cannot go below "
            f"p = {least:.3g} with {min(tested)} seeds."
        )
    return text


def with_footnotes(
    rows: list[Row],
    datasets: list[str],
    cells: dict[CellKey, Cell],
    columns: list[Column],
    about: About,
) -> tuple[list[Row], dict[str, str]]:
    """The rows with letters where runs are missing or failed, and the text of each letter. Rows share equal texts."""
    letters: dict[tuple[str, str], str] = {}  # by data set and text
    sharing: dict[tuple[str, str], list[str]] = {}
    noted = []
    for row in rows:
        notes = {}
        for dataset in datasets:
            seeds = len(about.seeds_of(dataset))
            counts = {
                cells[key].n
                for column in columns
                if (key := (row.name, dataset, column.metric)) in cells and cells[key].n
            }
            text = row.notes.get(dataset, "")
            if not row.control and counts and max(counts) != seeds and seeds:
                text = f"mean over {max(counts)} of {seeds} seeds{'; ' if text else ''}{text}"
            found = [note for note in ((dataset, text), ("", row.left_out.get(dataset, ""))) if note[1]]
            for note in found:
                letters.setdefault(note, _letter(len(letters)))
                sharing.setdefault(note, []).append(row.label)
            if found:
                notes[dataset] = ",".join(map(letters.__getitem__, found))
        noted.append(replace(row, notes=notes))
    return noted, {letter: _footnote(*note, sharing[note]) for note, letter in letters.items()}


def _footnote(dataset: str, text: str, rows: list[str]) -> str:
    """A footnote that rows share; without a data set it names them itself."""
    return " ".join((f"{listed(rows)} on {dataset_label(dataset)}: {text}" if dataset else text).split())


def _letter(i: int) -> str:
    """a to z, then aa to zz."""
    return chr(ord("a") + i % 26) * (i // 26 + 1)


def heading_of(dataset: str, about: About) -> str:
    """The name of a data set, with its latent size if all methods share it."""
    latent = about.axis != "latent" and about.facts(dataset).get("latent")
    return dataset_label(dataset) + (f" (l = {latent})" if latent else "")


def caption_of(
    layout: Layout,
    about: About,
    frame: pd.DataFrame,
    datasets: list[str],
    columns: list[Column],
    against: str | None,
    spread: str,
) -> list[str]:
    """Sentences on what the table shows, over how many seeds, in which feature space and on which images."""
    distance = "FID" if about.extractor == "inception" else "FD (Fréchet distance, not an FID)"
    seeds = about.seeds or frame["seed"].unique()
    featured = any("@" in column.key for column in columns)
    paper = f" (laid out as Table {layout.number} of the AVAE paper)" if layout.number else ""
    text = [
        f"{layout.title.format(distance=distance)}{paper}.",
        f"Suite {about.suite}: {_SPREAD_WORDS[spread]} over {counted(len(seeds), 'seed')}.",
    ]
    if spread == "ci95" and len(seeds) < statistics.FEWEST:
        text.append(f"No interval can be made of fewer than {statistics.FEWEST} seeds.")
    for dataset in datasets:
        facts = about.facts(dataset)
        if "samples" in facts:
            own = len(about.seeds_of(dataset))
            over = "" if own == len(seeds) else f"{counted(own, 'seed')}, "
            text.append(f"{dataset_label(dataset)}: {over}{_sample_facts(facts, layout, featured)}.")
    if against:
        text += _comparison(against, about.extractor, datasets, columns, featured)
    return text


def _sample_facts(facts: dict[str, Any], layout: Layout, featured: bool) -> str:
    """The number of encoded images and, for distances of features, the images that they were compared with."""
    parts = []
    if facts.get("weights") == "best":
        parts.append("weights of the epoch with the best validation loss")
    if layout.of_grid and "factors" in facts:
        values = " x ".join(map(str, facts["factors"]["sizes"]))
        names = ", ".join(facts["factors"]["names"])
        parts.append(f"codes of all {math.prod(facts['factors']['sizes']):,} images, {values} values of {names}")
        return ", ".join(parts)
    if featured and facts.get("extractor_note"):
        parts.append(f"features of {facts['extractor_note']}")
    if featured:
        # PRD and k-NN shares compare sets of equal size.
        matched = {column.key.startswith(("prd_", "knn_")) for column in layout.columns if "@" in column.key}
        reference = facts["reference"] if False in matched else min(facts["reference"], facts["samples"])
        parts.append(f"reference {reference:,} images of the {facts['reference_split']}")
        if len(matched) == 2 and facts["samples"] < reference:
            parts.append(f"{facts['samples']:,} of them for k-NN shares")
    parts.append(f"encoded {facts['samples']:,} of {facts['heldout']:,} images of the {facts['heldout_split']}")
    if featured:
        parts.append(f"{facts['samples']:,} samples")
    if any(column.key.startswith("ood_") for column in layout.columns) and facts.get("novel"):
        parts.append(f"images of another data set: test split of {dataset_label(facts['novel'])}")
    if any(column.key.startswith("kid.") for column in layout.columns):
        every = " (each holds all samples: KID std is that of the reference alone)"
        small = facts["kid_subset_size"] < facts["samples"]
        subsets = f"{facts['kid_subsets']:,} subsets of {facts['kid_subset_size']:,}"
        parts.append(f"KID from {subsets}{'' if small else every}")
    if any(column.key.startswith(("knn_", "code_coverage")) for column in layout.columns):
        parts.append(f"k = {facts.get('neighbours', 5)} neighbours")
    return ", ".join(parts)


def _comparison(against: str, extractor: str, datasets: list[str], columns: list[Column], featured: bool) -> list[str]:
    """Sentences on the published numbers that stand beside ours."""
    frame = published.load(against)
    keys = {space_free(column.metric) for column in columns}
    mine = frame[[space_free(metric) in keys for metric in frame["metric"]]]
    if mine.empty:
        return [f"{against} publishes nothing for this table."]
    text = [
        f"In brackets: {against}, from the authors' own settings; then how far ours is from it, in standard errors of "
        "the difference, where both have a spread."
    ]
    missing = [name for name in datasets if name not in {*mine["dataset"]}]
    if missing:
        text.append(f"{against} publishes nothing for {', '.join(dataset_label(d) for d in missing)}.")
    if featured and extractor != "inception":
        text.append(
            f"The published numbers were measured in Inception's feature space, ours in that of the "
            f"{extractor}: the two are not comparable in scale."
        )
    noted = mine[mine["dataset"].isin(datasets) & (mine["note"] != "")].to_dict("records")
    for dataset, note in dict.fromkeys((row["dataset"], row["note"]) for row in noted):
        text.append(f"Published for {dataset_label(dataset)}: {note}.")
    return text
