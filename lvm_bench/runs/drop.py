"""`lvm-bench drop`: the committed scores of methods are removed. It deletes no run's folder."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from lvm_bench import disk
from lvm_bench.errors import RunError, UserError, did_you_mean
from lvm_bench.runs import checksums
from lvm_bench.runs.gather import Gathered, gather, listed_runs, rewrite
from lvm_bench.runs.layout import suite_folders
from lvm_bench.runs.lease import Leases
from lvm_bench.runs.record import Run
from lvm_bench.runs.score_files import Complain
from lvm_bench.text import counted


def drop(results: Path, suite: str, methods: Collection[str], complain: Complain) -> list[str]:
    """Remove what is committed of a suite's methods; sentences on what was removed and what stays.

    Runs whose folders are here stay. UserError for an unknown suite or method, and where there is nothing to remove.
    """
    (folder,) = suite_folders(results, suite)
    lease = Leases().take(folder)
    if lease is None:
        raise RunError(f"{folder}: `lvm-bench report` is writing here. Give the command again when it is done.")
    with lease, disk.nothing_to_collect():
        listed = checksums.read(folder)
        found = gather(folder, listed, complain)
        known = {run.method for run in found.runs}
        for method in methods:
            if method not in known:
                raise UserError(f"{folder}: has no scores of a method {method!r}.{did_you_mean(method, known)}")
        dropped = [run for run in found.runs if run.method in methods and not run.folder]
        here = [run for run in found.runs if run.method in methods and run.folder]
        stay = f"The folders of {counted(len(here), 'run')} are here ({listed_runs(here)})"
        if not dropped:
            raise UserError(f"{folder}: nothing to remove. {stay}: delete these.")
        rewrite(folder, _without(found, dropped), listed)
    told = [f"Removed {counted(len(dropped), 'run')}: {listed_runs(dropped)}."]
    told += [f"{stay}: these stay. Delete them to remove them too."] if here else []
    return [*told, f"Now type: lvm-bench report --suite {suite}"]


def _without(found: Gathered, dropped: list[Run]) -> Gathered:
    """What was gathered, without these runs, and without the methods and data sets that no other run has."""
    keys = {run.key for run in dropped}
    runs = [run for run in found.runs if run.key not in keys]
    methods, datasets = {run.method for run in runs}, {run.dataset for run in runs}
    shown = {
        kind: {name: said for name, said in own.items() if kind != "methods" or name in methods}
        for kind, own in found.about.shown.items()
    }
    about = replace(
        found.about,
        runs=runs,
        methods=[name for name in found.about.methods if name in methods],
        datasets={name: facts for name, facts in found.about.datasets.items() if name in datasets},
        shown=shown,
    )
    return replace(
        found,
        runs=runs,
        about=about,
        scores={key: own for key, own in found.scores.items() if key not in keys},
        history={key: own for key, own in found.history.items() if key not in keys},
        redraws={key: own for key, own in found.redraws.items() if key not in keys},
    )
