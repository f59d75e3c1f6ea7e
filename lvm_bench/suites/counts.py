"""How many runs there are, in words. Controls are measured without a model, and are no runs."""

from collections.abc import Callable, Iterable

from lvm_bench.suites.job import is_control
from lvm_bench.text import counted


def counted_runs(keys: Iterable[tuple[str, str, int]], shown: Callable[[str], str] = str) -> str:
    """How many runs these are, given as data set, method and seed: `6 methods x 3 seeds on mnist: 18 runs`.

    `shown` gives the name of a data set as it is to be written. Data sets with as many methods and seeds are told
    together.
    """
    places: dict[str, set[tuple[str, int]]] = {}
    for dataset, method, seed in keys:
        if not is_control(method):
            places.setdefault(dataset, set()).add((method, seed))
    alike: dict[str, list[str]] = {}
    for dataset, runs in places.items():
        alike.setdefault(_of_one(runs), []).append(shown(dataset))
    total = counted(sum(map(len, places.values())), "run")
    parts = [f"{text} on {_each(names)}" for text, names in alike.items()]
    return f"{'; '.join(parts)}: {total}" if parts else total


def _of_one(runs: set[tuple[str, int]]) -> str:
    """The methods and seeds on a data set."""
    methods, seeds = ({run[place] for run in runs} for place in (0, 1))
    m, s = counted(len(methods), "method"), counted(len(seeds), "seed")
    return f"{m} x {s}" if len(runs) == len(methods) * len(seeds) else f"{m} with up to {s}"


def _each(names: list[str]) -> str:
    """Some data sets, on each of which there are as many runs."""
    if len(names) > 3:
        return f"each of {len(names)} data sets"
    return names[0] if len(names) == 1 else f"each of {' and '.join([', '.join(names[:-1]), names[-1]])}"
