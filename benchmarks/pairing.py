"""What `streams = "paired"` gains: `python benchmarks/pairing.py SINGLE/quick PAIRED/quick mse.heldout ...`.

The two folders are those of one suite run twice with the same seeds, for instance by
`lvm-bench run --suite quick --seeds 0 --seeds 1 ... --set streams=single --results SINGLE` and the same with `paired`.
A row in Markdown for each metric and pair of methods: the standard error over seeds of the mean difference between the
two methods under each setting, and the ratio of both. At the end the geometric mean of the ratios of each metric.
"""

import json
import sys
from itertools import combinations
from pathlib import Path

import numpy as np

from lvm_bench.suites.job import CONTROLS

Scores = dict[tuple[str, str], dict[str, float]]  # by data set and method, of each seed


def scores(folder: Path, metric: str) -> Scores:
    """A metric of every run of a suite's folder that has it."""
    found: Scores = {}
    for file in sorted(folder.glob("runs/*/*/*/scores.json")):
        dataset, method, seed = file.parts[-4:-1]
        value = json.loads(file.read_text()).get(metric)
        if value is not None and method not in CONTROLS:
            found.setdefault((dataset, method), {})[seed] = value
    return found


def standard_error(ours: dict[str, float], theirs: dict[str, float]) -> float:
    """The standard error of the mean difference over the seeds that both have."""
    differences = [ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()]
    return float(np.std(differences, ddof=1) / np.sqrt(len(differences)))


def main() -> None:
    """Read and print."""
    single, paired, *metrics = sys.argv[1:]
    print("| metric | data set | methods | single | paired | paired / single |\n|---|---|---|---|---|---|")
    for metric in metrics:
        before, after = scores(Path(single), metric), scores(Path(paired), metric)
        ratios = []
        for one, two in combinations(sorted(before.keys() & after.keys()), 2):
            if one[0] == two[0]:
                old, new = (standard_error(found[one], found[two]) for found in (before, after))
                ratios.append(new / old)
                print(f"| {metric} | {one[0]} | {one[1]}, {two[1]} | {old:.3g} | {new:.3g} | {new / old:.2f} |")
        print(f"| {metric} | | geometric mean of {len(ratios)} | | | {np.exp(np.mean(np.log(ratios))):.2f} |")


if __name__ == "__main__":
    main()
