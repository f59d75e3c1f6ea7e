"""How many runs there are, in words."""

import pytest

from lvm_bench.suites.counts import counted_runs

THREE = [("mnist", method, seed) for method in ("vae", "aae") for seed in (0, 1, 2)]
CONTROLS = [("mnist", "real-images", 0), ("mnist", "standard-normal", 0)]


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ([*THREE, *CONTROLS], "2 methods x 3 seeds on mnist: 6 runs"),
        (THREE[:1], "1 method x 1 seed on mnist: 1 run"),
        (THREE[:5], "2 methods with up to 3 seeds on mnist: 5 runs"),
        ([*THREE, ("digits", "vae", 0)], "2 methods x 3 seeds on mnist; 1 method x 1 seed on digits: 7 runs"),
        (
            [*THREE, *(("digits", *run) for _, *run in THREE)],
            "2 methods x 3 seeds on each of mnist and digits: 12 runs",
        ),
        ([(f"set-{i}", "vae", 0) for i in range(1000)], "1 method x 1 seed on each of 1000 data sets: 1,000 runs"),
        (CONTROLS, "0 runs"),
    ],
)
def test_runs_are_counted_by_methods_and_seeds_without_controls(keys: list[tuple[str, str, int]], text: str) -> None:
    assert counted_runs(keys) == text
