"""What `report` prints: one screen, whatever the suite has, or tables."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from made import make_run

Call = Callable[..., Result]

pytestmark = pytest.mark.usefixtures("undrawn")


def put(suite: Path, dataset: str = "mnist", methods: tuple[str, ...] = ("vae", "avae", "aae")) -> None:
    """Two seeds of each method, of which the first is the best by far, and a control."""
    for place, method in enumerate(methods):
        for seed in (0, 1):
            scores = {"frechet.fake@classifier": 3.0 + 10 * place + 0.01 * seed * place, "sse.heldout": 9.0 + place}
            make_run(suite, dataset, method, seed, scores)
    make_run(suite, dataset, "real-images", 0, {"frechet.fake@classifier": 0.1})


def test_one_screen_tells_who_is_best_what_is_missing_and_where_the_files_are(lvm_bench: Call, tmp_path: Path) -> None:
    put(tmp_path / "small")
    for method in ("wae-mmd", "rae-l2"):
        make_run(tmp_path / "small", "mnist", method, 0, status="failed", reason="its loss is not finite")
    told = lvm_bench("report", "--results", tmp_path)
    assert told.exit_code == 0, told.stderr
    lines = told.stdout.splitlines()
    assert lines[1:3] == ["3 methods x 2 seeds on MNIST: 6 runs.", "Best on MNIST:"]
    assert lines[3].split("  ")[1:] == ["FD of samples ↓", "VAE", "3.000 ± 0.000"]
    assert "Average ranks over 2 scores (1 is best): VAE 1.00, AVAE 2.00, AAE 3.00." in told.stdout
    assert "Missing: RAE-L2, WAE-MMD on MNIST: seed 0 failed: its loss is not finite." in " ".join(told.stdout.split())
    places = [line.partition(": ")[0] for line in lines if str(tmp_path) in line]
    assert places == ["Page", "Tables", "Tables", "Every suite"]
    assert all(len(line) <= 80 for line in lines if str(tmp_path) not in line)
    assert told.stderr.startswith("Took ")
    assert lvm_bench("report", "--results", tmp_path, "-q").stderr == ""
    steps = lvm_bench("report", "--results", tmp_path, "-v").stderr
    assert "s] small: making the tables of 3 methods x 2 seeds on mnist: 6 runs\n" in steps


def test_full_prints_every_table_and_tables_some(lvm_bench: Call, tmp_path: Path) -> None:
    put(tmp_path / "small")
    full = lvm_bench("report", "--results", tmp_path, "--full").stdout
    assert {"frechet", "reconstruction", "ranks", "claims"} <= {*full.splitlines()}
    some = lvm_bench("report", "--results", tmp_path, "--tables", "frechet,ranks").stdout
    assert {"frechet", "ranks"} <= {*some.splitlines()}
    assert "\nclaims\n" not in some
    for printed in (full, some):
        assert "Best on" not in printed
        assert printed.index("Page: ") < printed.index("Tables: ")


def test_many_data_sets_and_many_methods_are_one_screen_too(lvm_bench: Call, tmp_path: Path) -> None:
    for dataset in range(8):
        put(tmp_path / "wide", f"set-{dataset}", ("vae", "avae"))
    told = lvm_bench("report", "--results", tmp_path)
    assert told.exit_code == 0, told.stderr
    assert len(told.stdout.splitlines()) <= 30
    assert "Best on set-0: VAE at FD of samples, held-out SSE." in told.stdout
    assert "... and 2 other data sets: see the page." in told.stdout
    put(tmp_path / "other")
    told = lvm_bench("report", "--results", tmp_path)
    both = told.stdout.splitlines()
    assert len(both) <= 40
    assert sum(line.startswith("Page: ") for line in both) == 2
    assert told.stdout.count("One seed: no difference can be tested.") == 1
