"""The runs that a table may show together, those that may be averaged, and remarks on them for readers."""

from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from lvm_bench.errors import RunError
from lvm_bench.runs.differences import (
    Place,
    by_place,
    conditions_of,
    differences,
    numbered,
    settings_of,
    unlike,
)
from lvm_bench.runs.measured import version_of
from lvm_bench.runs.record import Run, without
from lvm_bench.runs.score_files import ScoresByRun
from lvm_bench.suites.labels import dataset_label, label
from lvm_bench.text import counted, listed, one_line


@dataclass(frozen=True)
class Remarks:
    """Remarks on a suite's runs that readers of its scores need."""

    outcomes: dict[Place, str] = field(default_factory=dict)  # why runs are missing, or were not trained here
    left_out: dict[Place, str] = field(default_factory=dict)  # why committed scores are not shown, or some of them
    here: frozenset[Place] = frozenset()  # where a shown run was made here
    away: frozenset[Place] = frozenset()  # where a shown run was not made here
    made: str = ""  # with what the runs that were not made here were made
    warnings: list[str] = field(default_factory=list)  # sentences on differences between shown runs
    changed: str = ""  # what differs from the suite's own settings
    absent: dict[Place, dict[str, str]] = field(default_factory=dict)  # why scores are missing, as `Run.absent` has it


def shown(runs: Collection[Run], suite: str) -> tuple[list[Run], Remarks]:
    """The finished runs of a suite whose scores tables may show, in their order, and the remarks on all runs.

    RunError naming the setting when seeds that were run here, and would be averaged, differ in settings or data.
    """
    done = [run for run in runs if run.status == "done"]
    other = left_out(done)
    kept = [run for run in done if run.folder or not (run.stale or run.place in other)]
    unlike = _unlike_seeds(kept, suite)
    out = _stale_seeds(done, suite) | unlike | other
    kept = [run for run in kept if run.place not in unlike]
    warnings = [*_different_conditions(kept), *_changed_code(kept), *_different_environments(kept)]
    here = frozenset(run.place for run in kept if run.folder)
    away = [run for run in kept if not run.folder]
    elsewhere = frozenset(run.place for run in away)
    changed = changed_settings((run.place, run.changed) for run in kept if not run.is_control)
    absent = {run.place: run.absent for run in kept if run.absent}
    return kept, Remarks(outcomes(runs), out, here, elsewhere, _made(away, here), warnings, changed, absent)


def outcomes(runs: Iterable[Run]) -> dict[Place, str]:
    """The reasons that runs or samples are missing, and that runs were not trained here, by data set and method."""
    reasons: dict[Place, dict[tuple[str, str], list[int]]] = {}
    for run in runs:
        if run.status in ("failed", "declined"):
            reasons.setdefault(run.place, {}).setdefault((run.status, run.reason), []).append(run.seed)
        if run.status == "done":
            untrained = "only a later stage was trained here" if run.updates else "not trained here"
            for what, reason in (("no samples", run.reason), (untrained, _untrained(run))):
                if reason:
                    reasons.setdefault(run.place, {}).setdefault((what, reason), []).append(run.seed)
    return {
        place: "; ".join(
            f"{f'seed {numbered(seeds)} ' if status == 'failed' else ''}{status}: {reason}"
            for (status, reason), seeds in sorted(found.items())
        )
        for place, found in reasons.items()
    }


def _untrained(run: Run) -> str:
    """Where the weights of a run come from whose model had no epoch of training; "" for other runs."""
    settings = run.settings or {}
    if settings.get("epochs") != 0:
        return ""
    files = settings.get("files")
    whose = f"of {listed(map(one_line, map(str, files)), 3)}" if isinstance(files, list) else "that it began with"
    return f"its weights are those {whose}"


def _stale_seeds(runs: Iterable[Run], suite: str) -> dict[Place, str]:
    """What is said of the methods of which some committed seeds are stale."""
    found = {}
    for (dataset, method), seeds in by_place(runs):
        if stale := [run for run in seeds if run.stale]:
            differing = unlike(seeds)
            found[dataset, method] = (
                f"of {label(method)} on {dataset_label(dataset)}, the committed scores of seed "
                f"{numbered(run.seed for run in stale)} are stale and left out: other seeds were run anew with other "
                f"settings ({listed(differing, between='; ')}). {_anew(suite, method)}"
            )
    return found


def _unlike_seeds(runs: Iterable[Run], suite: str) -> dict[Place, str]:
    """What is said of the methods whose committed seeds differ in settings or data: which are stale is not known.

    RunError naming what differs when runs that are here do so.
    """
    problems, found = [], {}
    for (dataset, method), seeds in by_place(runs):
        differing = listed(unlike(seeds), between="; ")
        if differing and any(run.folder for run in seeds):
            problems.append(
                f"{dataset}/{method}: its seeds were not run with the same settings, and are not averaged "
                f"({differing}). Delete the folders of those seeds and run them again with the same settings, or give "
                "other runs a folder of their own with --results."
            )
        elif differing:
            found[dataset, method] = (
                f"of {label(method)} on {dataset_label(dataset)}, the committed scores are left out: its seeds were "
                f"not run with the same settings ({differing}). {_anew(suite, method)}"
            )
    if problems:
        more = [f"... and {len(problems) - 10} more."] if len(problems) > 10 else []
        raise RunError("\n".join([*problems[:10], *more]))
    return found


def _anew(suite: str, method: str) -> str:
    """What to do about committed seeds that cannot be averaged."""
    given = f"--suite {suite} --methods {method}"
    return f"Run them anew (`lvm-bench run {given}`), or remove them (`lvm-bench drop {given}`)"


def left_out(runs: Iterable[Run]) -> dict[Place, str]:
    """A sentence for each place whose committed runs are left out: the runs here had other conditions."""
    found: dict[Place, str] = {}
    for dataset, own in _by_dataset(runs):
        here = _distinct(run for run in own if run.folder and not run.is_control)
        for run in own:
            differing = next((text for other in here if (text := other_conditions(run, other))), "")
            if differing and not run.folder:
                found[run.place] = (
                    f"on {dataset_label(dataset)}, scores that were not made here are left out: they were made "
                    f"under other conditions ({differing}). To compare, give `lvm-bench run` their settings "
                    "(--set KEY=VALUE), or run all methods here"
                )
    return found


def _by_dataset(runs: Iterable[Run]) -> Iterator[tuple[str, list[Run]]]:
    for dataset, group in groupby(runs, lambda run: run.dataset):
        yield dataset, list(group)


def _distinct(runs: Iterable[Run]) -> list[Run]:
    """One run for each combination of conditions and data."""
    seen = {(id(run.conditions), run.fingerprint): run for run in runs}  # most runs share one table in memory
    found: list[Run] = []
    for run in seen.values():
        if not any(conditions_of(run) == conditions_of(other) for other in found):
            found.append(run)
    return found


def other_conditions(there: Run, here: Run) -> str:
    """The conditions in which two runs differ, as text; "" if there are none, or if those of one are unknown."""
    if there.conditions is None or here.conditions is None:
        return ""
    names = there.settings if there.is_control else None  # no other condition changes a control
    return _there_and_here(conditions_of(there, names), conditions_of(here, names))


def other_settings(there: Run, here: Run) -> str:
    """How the settings and data of two runs of a method differ; "" if they do not, or if one's are unknown."""
    if there.settings is None or here.settings is None:
        return ""
    return _there_and_here(settings_of(there), settings_of(here))


def _there_and_here(there: dict[str, Any], here: dict[str, Any]) -> str:
    texts = (
        f"{name} = {' and '.join(f'{value} {whose[0]}' for value, whose in values.items())}"
        for name, values in differences({"there": there, "here": here}).items()
    )
    return listed(texts, between="; ")


def _different_conditions(runs: Iterable[Run]) -> list[str]:
    """A sentence for each data set on which methods were run under different conditions."""
    found = []
    for dataset, own in _by_dataset(run for run in runs if run.conditions is not None and not run.is_control):
        alike = [[run for run in own if conditions_of(run) == conditions_of(other)] for other in _distinct(own)]
        whose = [listed(dict.fromkeys(label(run.method) for run in group)) for group in alike]
        tables = {name: conditions_of(group[0]) for name, group in zip(whose, alike, strict=True)}
        texts = [
            f"{name} = {' and '.join(f'{value} in {listed(of)}' for value, of in values.items())}"
            for name, values in differences(tables).items()
        ]
        if texts:
            found.append(
                f"On {dataset_label(dataset)} not all methods were run under the same conditions "
                f"({listed(texts, between='; ')}): their scores do not compare the methods alone."
            )
    return found


def changed_settings(changed: Iterable[tuple[Place, Iterable[str]]]) -> str:
    """What differs from the suite's own settings, and on which data sets or for which methods unless on all.

    `Settings changed: epochs 60 -> 10; m 100 -> 50 (AVAE on MNIST)`; "" where nothing does.
    """
    places: dict[str, dict[Place, None]] = {}
    every: dict[Place, None] = {}
    for place, texts_of in changed:
        every[place] = None
        for text in texts_of:
            places.setdefault(one_line(text), {})[place] = None
    texts = (text if own == every else f"{text} ({_where(own, every)})" for text, own in places.items())
    return f"Settings changed: {listed(texts, between='; ')}" if places else ""


def _where(own: Container[Place], every: Iterable[Place]) -> str:
    """Some places, by their data sets where they are all of these."""
    whole = [dataset for dataset, group in _by_first(every).items() if all(place in own for place in group)]
    rest = [place for place in every if place in own and place[0] not in whole]
    return listed([*map(dataset_label, whole), *(f"{label(m)} on {dataset_label(d)}" for d, m in rest)], 4)


def _by_first(places: Iterable[Place]) -> dict[str, list[Place]]:
    found: dict[str, list[Place]] = {}
    for place in places:
        found.setdefault(place[0], []).append(place)
    return found


def _changed_code(runs: Iterable[Run]) -> list[str]:
    """A sentence for each method whose file was changed between its runs."""
    codes: dict[str, Counter[str]] = {}
    for run in runs:
        code = _in_turn(environment["versions"].get("method", "") for environment in run.environments)
        if code:
            codes.setdefault(run.method, Counter())[code] += 1
    return [
        f"The file of {label(method)} was changed between its runs ({_counted(found)}): they are not runs of one "
        "method. Make those of the older file again."
        for method, found in sorted(codes.items())
        if len(found) > 1
    ]


def of_newest_versions(runs: Collection[Run], scores: ScoresByRun) -> tuple[ScoresByRun, list[str]]:
    """The scores without those of a metric's older versions, and a sentence for each metric that runs have so."""
    newest: dict[str, int] = {}
    for run in runs:
        for name, version in (run.versions or {}).items():
            newest[name] = max(version, newest.get(name, 1))
    kept, outdated = dict(scores), dict[str, list[Run]]()
    for run in runs if newest else ():
        old = {name for name, version in newest.items() if (run.versions or {}).get(name, 1) < version}
        if run.key in scores and old:
            names = {key: version_of(key, newest)[0] for key in scores[run.key]}
            kept[run.key] = {key: value for key, value in scores[run.key].items() if names[key] not in old}
            for name in old & {*names.values()}:
                outdated.setdefault(name, []).append(run)
    return kept, [
        f"{counted(len(own), 'run')} of {listed(dict.fromkeys(label(run.method) for run in own))} "
        f"{'has' if len(own) == 1 else 'have'} the metric {name!r} in a version before {newest[name]}, which is left "
        "out. Give the command `lvm-bench run` again: it measures that metric alone."
        for name, own in sorted(outdated.items())
    ]


def _different_environments(runs: Iterable[Run]) -> list[str]:
    """A sentence naming the versions, devices and thread counts that differ between runs; none if they agree."""
    counts = Counter(tuple(map(id, run.environments)) for run in runs)
    of = {tuple(map(id, run.environments)): run.environments for run in runs}
    found: dict[str, Counter[str]] = {}
    for place, count in counts.items():
        facts = [_versions_and_device(environment) for environment in of[place]]
        for name in {name for fact in facts for name in fact}:
            found.setdefault(name, Counter())[_in_turn(fact.get(name, "") for fact in facts)] += count
    differing = [f"{name} {_counted(values)}" for name, values in sorted(found.items()) if len(values) > 1]
    if not differing:
        return []
    return [
        f"Not all runs were made with the same versions and machines ({'; '.join(differing)}): "
        "between those a seed does not give the same bits: rounding differs, and a GPU draws other noise than a CPU."
    ]


def _versions_and_device(environment: dict[str, Any]) -> dict[str, str]:
    """The versions, the device and the threads of a run: they may change its last bits."""
    facts = {"device": environment["device"], "threads": str(environment["threads"])}
    # Releases of lvm-bench keep numbers: a metric that changes them has another version, a method another digest.
    return without(without(environment["versions"], "method"), "lvm-bench") | facts


def _in_turn(values: Iterable[str]) -> str:
    """The values that a run has had in turn: `2.11.0 then 2.15.0`."""
    return " then ".join(dict.fromkeys(filter(None, values)))


def _counted(values: Counter[str]) -> str:
    """`2.11.0 in 3 runs, 2.15.0 in 12`."""
    (first, count), *rest = sorted(values.items())
    return listed([f"{first} in {counted(count, 'run')}", *(f"{value} in {n}" for value, n in rest)], 4)


def _made(away: list[Run], here: Container[Place]) -> str:
    """A footnote on the environments of runs not made here, with their seeds where other seeds were made here."""
    environments = dict.fromkeys(map(_described, {id(e): e for run in away for e in run.environments[-1:]}.values()))
    texts = [f"made with {listed(environments, 2)}" if environments else "it is not known with which versions"]
    if any(run.conditions is None for run in away):
        texts.append("whether under the same conditions cannot be checked, their record is too old")
    partly: dict[Place, list[int]] = {}
    for run in away:
        if run.place in here:
            partly.setdefault(run.place, []).append(run.seed)
    texts += [
        f"of {label(method)} on {dataset_label(dataset)} this holds for seed {numbered(seeds)} alone"
        for (dataset, method), seeds in partly.items()
    ]
    return f"not run here: {'; '.join(texts)}"


def _described(environment: dict[str, Any]) -> str:
    """`python 3.11.7 torch 2.15.0 on cpu (2 threads)`."""
    versions = " ".join(
        f"{name} {version}" for name, version in sorted(without(environment["versions"], "method").items())
    )
    threads = environment["threads"]
    return f"{versions} on {environment['device']} ({counted(threads, 'thread')})"
