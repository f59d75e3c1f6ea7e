"""What `lvm-bench report` prints of a suite: who is best at what, average ranks, and what is missing or changed."""

import textwrap
from dataclasses import replace

from lvm_bench.report.tables.blocks import headlines
from lvm_bench.report.tables.captions import over_seeds
from lvm_bench.report.tables.cells import TIED
from lvm_bench.report.tables.headline import Headline, headline_scores, words_of
from lvm_bench.report.tables.layouts import scored
from lvm_bench.report.tables.ranking import Ranking
from lvm_bench.report.tables.statistics import LEVEL
from lvm_bench.report.tables.writers import cell_text
from lvm_bench.runs.comparable import Place
from lvm_bench.runs.gather import Gathered
from lvm_bench.suites.counts import counted_runs
from lvm_bench.suites.job import is_control
from lvm_bench.suites.labels import dataset_label, label
from lvm_bench.text import columns, counted, listed, one_line

WIDEST = 100  # characters of a line

LEGEND = f"{TIED} may be as good as the best: paired t-tests over seeds (Holm, {LEVEL:.0%}) tell no difference."

ONE_SEED = "One seed: no difference can be tested."

MOST_SCORES = 14  # with a line each; more of them are told by data set

MOST_DATASETS, MOST_CAUSES = 6, 4  # that are told; of the others the number is


def screen(found: Gathered, ranked: Ranking | None, spread: str, width: int) -> list[str]:
    """The lines about a suite that is reported alone, some twenty."""
    width = min(width, WIDEST)
    scores = headline_scores(found.frame, found.about, spread, least=1)
    few = len(scores) <= MOST_SCORES
    lines = _wrapped(f"{counted_runs(found.shown, dataset_label)}.", width)
    lines += _by_score(scores, spread, width) if few else _by_dataset(scores, width)
    if any(score.tied for score in scores):
        lines += _wrapped(LEGEND, width)
    if scores and all(score.cell.n == 1 for score in scores):
        lines.append(ONE_SEED)
    lines += _wrapped(_ranks(ranked), width, 4) if ranked else []
    told = [*_missing(found), found.remarks.changed]
    if not any(told):
        return [*lines, "Nothing is missing, and no setting was changed."]
    return lines + [line for text in told for line in _wrapped(text, width)]


def brief_screen(found: Gathered, ranked: Ranking | None, width: int) -> list[str]:
    """The lines about a suite that is reported beside others, some five."""
    width = min(width, WIDEST)
    lines = _wrapped(f"{counted_runs(found.shown, dataset_label)}.", width)
    lines += _by_dataset(headline_scores(found.frame, found.about), width)
    lines += _wrapped(f"Average ranks: {_averages(ranked)}.", width, 2) if ranked else []
    return lines + [line for text in (*_missing(found), found.remarks.changed) for line in _wrapped(text, width, 2)]


def _wrapped(text: str, width: int, most: int = 3) -> list[str]:
    """A text in at most so many lines; what follows is left out."""
    return textwrap.wrap(
        one_line(text), width, max_lines=most, placeholder=" ...", subsequent_indent="  ", break_on_hyphens=False
    )


def _by_score(scores: list[Headline], spread: str, width: int) -> list[str]:
    """A line per score: the best method, its mean, and those that may be as good."""
    lines = []
    for dataset in dict.fromkeys(score.dataset for score in scores):
        own = [score for score in scores if score.dataset == dataset]
        alone = all(score.compared == 1 for score in own)
        rows = columns([[_words(s), listed(map(label, s.best), 2), cell_text(s.cell, s.column, spread)] for s in own])
        lines.append(f"{'Scores' if alone else 'Best'} on {one_line(dataset_label(dataset))}:")
        most = max(map(len, rows))
        lines += [
            f"  {row:<{most}}{_others(score, width - most - 2)}".rstrip() for row, score in zip(rows, own, strict=True)
        ]
    return lines


def _words(score: Headline) -> str:
    """The name of a score with its unit and the better direction."""
    return score.words + score.column.heading.removeprefix(score.column.label)


def _others(score: Headline, room: int) -> str:
    """The methods that may be as good as the best, as many as fit; those that were not tested unless none was."""
    untested = score.untested if len(score.untested) + len(score.best) < score.compared else []
    told = [f"{TIED} {{}}"] * bool(score.tied) + ["not tested: {}"] * bool(untested)
    names = [list(map(label, names)) for names in (score.tied, untested) if names]
    for most in range(max(map(len, names), default=0), -1, -1):
        text = "".join(f"  {form.format(_some(own, most))}" for form, own in zip(told, names, strict=True))
        if len(text) <= room:
            return text
    return ""


def _some(names: list[str], most: int) -> str:
    return listed(names, most) if most else counted(len(names), "method")


def _by_dataset(scores: list[Headline], width: int) -> list[str]:
    """A few lines per data set: at which scores each method is best."""
    lines: list[str] = []
    datasets = list(dict.fromkeys(score.dataset for score in scores))
    for dataset in datasets[:MOST_DATASETS]:
        best: dict[str, list[str]] = {}
        for score in scores:
            if score.dataset == dataset and score.compared > 1:
                text = f"{score.words}{TIED if score.tied or len(score.best) > 1 else ''}"
                best.setdefault(listed(map(label, score.best), 2), []).append(text)
        ranked = sorted(best.items(), key=lambda item: -len(item[1]))
        parts = (f"{names} at {', '.join(own)}" for names, own in ranked)
        lines += _wrapped(f"Best on {dataset_label(dataset)}: {'; '.join(parts)}.", width) if ranked else []
    left = len(datasets) - MOST_DATASETS
    return [*lines, f"... and {counted(left, 'other data set')}: see the page."] if left > 0 else lines


def _averages(ranked: Ranking) -> str:
    names = (f"{label(name)} {mean:.2f}" for name, mean in zip(ranked.methods, ranked.average, strict=True))
    return listed(names, 8)


def _ranks(ranked: Ranking) -> str:
    """The average ranks, and what they cannot tell apart."""
    text = (
        f"Average ranks over {counted(len(ranked.blocks), 'score')} (1 is best): {_averages(ranked)}. Ranks nearer "
        f"than {ranked.difference:.2f} are not distinguishable (Nemenyi, {LEVEL:.0%})."
    )
    return " ".join([text, *replace(ranked.compared, blocks_left_out=[]).told])


# What is missing


def _missing(found: Gathered) -> list[str]:
    """The first causes of what is missing, and the number of the others."""
    causes = missing(found)
    told = [f"Missing: {cause}" for cause in causes[:MOST_CAUSES]]
    left = len(causes) - MOST_CAUSES
    return [*told, f"... and {counted(left, 'other cause')}: see the page."] if left > 0 else told


def missing(found: Gathered) -> list[str]:
    """A sentence for each cause of missing runs and headline scores, with all methods that it concerns."""
    causes: dict[str, dict[Place, None]] = {}
    for place, text in (*found.remarks.outcomes.items(), *_fewer_seeds(found), *_lacking(found)):
        causes.setdefault(text, {})[place] = None
    seen = {method for _, method in (*found.remarks.outcomes, *found.remarks.left_out)}
    seen |= {method for _, method, _ in found.shown}
    never = [label(name) for name in found.about.methods if name not in seen]
    told = [f"{_where([*places])}: {text.removesuffix('.')}." for text, places in causes.items()]
    return [*told, *([f"{listed(never)}: no run is finished."] if never else [])]


def _fewer_seeds(found: Gathered) -> list[tuple[Place, str]]:
    """The methods with fewer seeds on a data set than planned."""
    seeds: dict[Place, int] = {}
    for dataset, method, _ in found.shown:
        if not is_control(method):
            seeds[dataset, method] = seeds.get((dataset, method), 0) + 1
    planned = {dataset: len(found.about.seeds_of(dataset)) for dataset, _ in seeds}
    return [
        ((dataset, method), f"{over_seeds([n], planned[dataset])} alone")
        for (dataset, method), n in seeds.items()
        if n < planned[dataset]
    ]


def _lacking(found: Gathered) -> list[tuple[Place, str]]:
    """The headline scores that a method lacks on a data set, with the reason."""
    told = []
    for place, reasons in found.remarks.absent.items():
        lacking: dict[str, list[str]] = {}
        for table, column in headlines(found.about.extractor):
            if not is_control(place[1]) and (reason := reasons.get(scored(column.metric))):
                lacking.setdefault(reason, []).append(words_of(table, column, found.about.extractor))
        told += [(place, f"no {listed(names)}: {reason}") for reason, names in lacking.items()]
    return told


def _where(places: list[Place]) -> str:
    """Methods by their data sets: `VAE, AAE on MNIST`."""
    by_dataset: dict[str, list[str]] = {}
    for dataset, method in places:
        by_dataset.setdefault(dataset_label(dataset), []).append(label(method))
    return listed((f"{listed(names, 4)} on {dataset}" for dataset, names in by_dataset.items()), 3, "; ")
