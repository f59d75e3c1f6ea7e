"""The words above and below a table: its caption and its footnotes."""

import math
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from lvm_bench.report.tables import bounds, published, statistics
from lvm_bench.report.tables.cells import TIED, Cell, CellKey, Row, space_free
from lvm_bench.report.tables.layouts import Column, Layout, distance_name, scored
from lvm_bench.report.tables.meanings import meanings
from lvm_bench.runs.suite_record import About
from lvm_bench.suites import labels
from lvm_bench.suites.labels import dataset_label
from lvm_bench.text import counted, listed

_SPREAD_WORDS = {
    "std": "mean ± population standard deviation (left out where it is 0)",
    "ci95": "mean with its 95 % interval by the bootstrap-t",
}


_OF_SCORES = {
    "frechet_originals": "FD REC compares reconstructions with the training images, FD to originals with the very "
    "images that were encoded; lower is better.",
    "psnr": "PSNR is in dB, the mean over the images that differ from their reconstructions; the share of the others, "
    "whose PSNR is infinite, is called equal.",
}  # sentences of a caption, by the score that they explain


def over_seeds(counts: Collection[int], planned: int) -> str:
    """How many of the planned seeds were averaged: `3 seeds`, `1 of 3 seeds`, `1 to 2 of 3 seeds`."""
    if {*counts} <= {planned}:
        return counted(planned, "seed")
    least, most = min(counts), max(counts)
    return f"{least if least == most else f'{least} to {most}'} of {counted(max(planned, most), 'seed')}"


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


def planned_seeds(about: About, datasets: list[str], cells: dict[CellKey, Cell]) -> dict[str, int]:
    """By data set, over how many seeds a suite is run; where its record does not say so, the most behind a cell."""
    most: dict[str, int] = {}
    for (_, dataset, _), cell in cells.items():
        most[dataset] = max(most.get(dataset, 0), _runs(cell))
    return {dataset: len(about.seeds_of(dataset)) or most.get(dataset, 0) for dataset in datasets}


def with_footnotes(
    rows: list[Row],
    datasets: list[str],
    cells: dict[CellKey, Cell],
    columns: list[Column],
    planned: dict[str, int],
    about: About,
) -> tuple[list[Row], dict[str, str]]:
    """The rows with letters for what is missing, failed or infinite and for notes of methods, and the texts.

    Rows share equal texts.
    """
    letters: dict[tuple[str, str], str] = {}  # by data set and text
    sharing: dict[tuple[str, str], list[str]] = {}
    methods = {row.name for row in rows if not row.control}
    had = {(dataset, metric) for (name, dataset, metric), cell in cells.items() if name in methods and _runs(cell)}
    noted = []
    for row in rows:
        notes = {}
        for dataset in datasets:
            short = _fewer_seeds(row.name, dataset, cells, columns, planned[dataset])
            infinite = _why_infinite(row.name, dataset, cells, columns, about)
            absent = _why_absent(row, dataset, [c for c in columns if (dataset, c.metric) in had], cells)
            text = "; ".join(filter(None, (short, infinite, absent, row.notes.get(dataset, ""))))
            said = f"{row.label}: {own}" if (own := labels.note(row.name)) else ""
            found = [each for each in ((dataset, text), ("", row.left_out.get(dataset, "")), ("", said)) if each[1]]
            for each in found:
                letters.setdefault(each, _letter(len(letters)))
                sharing.setdefault(each, []).append(row.label)
            if found:
                notes[dataset] = ",".join(map(letters.__getitem__, found))
        noted.append(replace(row, notes=notes))
    return noted, {letter: _footnote(*text, sharing[text]) for text, letter in letters.items()}


def _footnote(dataset: str, text: str, rows: list[str]) -> str:
    """A footnote that rows share; without a data set it names them itself."""
    return " ".join((f"{listed(rows)} on {dataset_label(dataset)}: {text}" if dataset else text).split())


def _fewer_seeds(row: str, dataset: str, cells: dict[CellKey, Cell], columns: list[Column], planned: int) -> str:
    """Over how many seeds the means of a row are, where they are fewer than planned; the columns unless all are so."""
    measured = {column: n for column in columns if (n := _runs(cells.get((row, dataset, column.metric))))}
    short: dict[int, list[str]] = {}
    for column, n in measured.items():
        if n != planned:
            short.setdefault(n, []).append(column.label)
    if len(short) == 1 and len({*measured.values()}) == 1:
        return f"mean over {over_seeds([*short], planned)}"
    return "; ".join(
        f"mean over {over_seeds([n], planned)} in {listed(names, 4)}" for n, names in sorted(short.items())
    )


def _why_infinite(row: str, dataset: str, cells: dict[CellKey, Cell], columns: list[Column], about: About) -> str:
    """In which columns of a row a mean is infinite, and why; "" if it is in none."""
    means = {column: cells.get((row, dataset, column.metric)) for column in columns}
    infinite = [column for column, cell in means.items() if cell and math.isinf(cell.mean)]
    of_fit = [column.label for column in infinite if _is_of_fit(column.key)]
    of_prior = [column.label for column in infinite if column.key.startswith(("dimension_wise_kl", *bounds.BOUNDS))]
    told = [f"infinite ({listed(of_prior, 4)}): codes leave the support of the prior"] if of_prior else []
    if of_fit and too_few(row, dataset, about):
        n, l = about.facts(dataset)["samples"], about.latent(dataset, row)
        why = f"{n:,} codes are too few for {l:,} dimensions, so encode {l + 2:,} images or more"
        told.append(f"no number ({listed(of_fit, 4)}): {why}")
    elif of_fit:
        told.append(f"infinite ({listed(of_fit, 4)}): the codes of a seed do not vary in some direction")
    return "; ".join(told)


def _why_absent(row: Row, dataset: str, columns: list[Column], cells: dict[CellKey, Cell]) -> str:
    """In which columns a row has no number because its method lacks something, and what; "" if in none.

    `columns` are those in which a method has a number.
    """
    reasons, lacking = row.absent.get(dataset, {}), dict[str, list[str]]()
    for column in columns:
        has_runs = _runs(cells.get((row.name, dataset, column.metric)))
        if not has_runs and (reason := reasons.get(scored(row.metric(column)))):
            lacking.setdefault(reason, []).append(column.label)
    return "; ".join(f"no number ({listed(names, 4)}): {reason}" for reason, names in lacking.items())


def too_few(row: str, dataset: str, about: About) -> bool:
    """Whether a row has fewer codes than a Gaussian fit of them needs, so that its infinite scores tell nothing."""
    n, l = about.facts(dataset).get("samples"), about.latent(dataset, row)
    return bool(n and l and n < l + 2)


def _is_of_fit(key: str) -> bool:
    """Whether a score is infinite for codes that do not vary in some direction."""
    return key.startswith(("gaussian_kl", "entropy_"))


def _runs(cell: Cell | None) -> int:
    """The number of runs behind a cell; 0 for a formula and for a published number alone."""
    return 0 if cell is None else len(cell.values)


def _letter(i: int) -> str:
    """a to z, then aa to zz."""
    return chr(ord("a") + i % 26) * (i // 26 + 1)


def heading_of(dataset: str, about: About) -> str:
    """The name of a data set, with its latent size if all methods share it."""
    latent = _shared_latent(dataset, about)
    return dataset_label(dataset) + (f" (l = {latent})" if latent else "")


def _shared_latent(dataset: str, about: About) -> int:
    """The latent size of a data set; 0 if it is unknown or methods have several."""
    several = about.axis == "latent" or len(about.sizes(dataset)) > 1
    return 0 if several else int(about.facts(dataset).get("latent") or 0)


def caption_of(
    layout: Layout,
    about: About,
    planned: dict[str, int],
    cells: dict[CellKey, Cell],
    columns: list[Column],
    against: str | None,
    spread: str,
) -> list[str]:
    """Sentences on what the table shows, over how many seeds, in which feature space and on which images.

    `planned` are the seeds of each data set; `cells` are those of the methods.
    """
    name = distance_name(about.extractor)
    distance = "FD (Fréchet distance, not an FID)" if name == "FD" else name
    counts: dict[str, set[int]] = {dataset: set() for dataset in planned}
    for (_, dataset, _), cell in cells.items():
        counts[dataset] |= {_runs(cell)} - {0}
    over = {dataset: over_seeds(counts[dataset], planned[dataset]) for dataset in planned}
    first = max(planned, key=lambda dataset: (planned[dataset], bool(counts[dataset])), default="")
    featured = any("@" in column.key for column in columns)
    paper = f" (laid out as Table {layout.number} of the AVAE paper)" if layout.number else ""
    text = [
        f"{layout.title.format(distance=distance)}{paper}.",
        *meanings(columns),
        f"Suite {about.suite}: {_SPREAD_WORDS[spread]} over {over.get(first, '0 seeds')}.",
    ]
    if spread == "ci95" and max(counts.get(first) or {0}) < statistics.FEWEST:
        text.append(f"No interval can be made of fewer than {statistics.FEWEST} seeds.")
    for dataset in planned:
        facts = about.facts(dataset)
        own = [] if over[dataset] == over[first] else [over[dataset]]
        own += [_sample_facts(facts, layout, featured)] if "samples" in facts else []
        own += [bounds.likelihoods(dataset, cells, about)] if bounds.are_bounds(columns) else []
        if own := [*filter(None, own)]:
            text.append(f"{dataset_label(dataset)}: {', '.join(own)}.")
    keys = {key.partition(".")[0] for _, _, key in cells}
    text += [sentence for name, sentence in _OF_SCORES.items() if name in keys]
    if against:
        text += _comparison(against, about.extractor, [*planned], columns, featured)
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
        # PRD, k-NN shares and CMMD compare sets of equal size.
        matched = {column.key.startswith(("prd_", "knn_", "cmmd")) for column in layout.columns if "@" in column.key}
        reference = facts["reference"] if False in matched else min(facts["reference"], facts["samples"])
        parts.append(f"reference {reference:,} images of the {facts['reference_split']}")
        if len(matched) == 2 and facts["samples"] < reference:
            also = " and CMMD" if any(column.key.startswith("cmmd") for column in layout.columns) else ""
            parts.append(f"{facts['samples']:,} of them for k-NN shares{also}")
    parts.append(f"encoded {facts['samples']:,} of {facts['heldout']:,} images of the {facts['heldout_split']}")
    if featured:
        parts.append(f"{facts['samples']:,} samples")
    if any(".expost-" in column.key for column in layout.columns) and facts.get("expost_note"):
        parts.append(f"ex-post samplers fitted to the training codes ({facts['expost_note']})")
    if any(column.key.startswith("ood_") for column in layout.columns) and facts.get("novel"):
        parts.append(f"images of another data set: test split of {dataset_label(facts['novel'])}")
    if bounds.are_bounds(layout.columns):
        k, n = (facts.get(name, default) for name, default in (("importance_samples", 500), ("bound_images", 1000)))
        parts.append(f"bounds of the first {n:,} with K = {k:,} codes of each")
    if any(column.key.startswith("kid.") for column in layout.columns):
        every = " (each holds all samples: KID std is that of the reference alone)"
        small = facts["kid_subset_size"] < facts["samples"]
        subsets = f"{facts['kid_subsets']:,} subsets of {facts['kid_subset_size']:,}"
        parts.append(f"KID from {subsets}{'' if small else every}")
    if any(column.key.startswith("fd_infinity") for column in layout.columns):
        parts.append("FD∞ from 15 subsets of a tenth (5,000 at most) to all of the samples")
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
