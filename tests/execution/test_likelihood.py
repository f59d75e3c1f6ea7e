"""Bounds of log p(x) from the command line to the table, with what they are of and why a method has none."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from lvm_bench import disk

FEW = (
    "--set=epochs=1", "--set=train_images=300", "--set=validation_images=50", "--set=test_images=60",
    "--set=samples=60", "--set=importance_samples=7", "--set=bound_images=20",
)  # fmt: skip
RUN = ("run", "--suite", "zoo", "--seeds", "0", *FEW, "--set=metrics=['elbo','iw_bound','bits_per_dim','ms_ssim']")
REASON = "its codes are deterministic, so that there is no q(z|x)"


@pytest.mark.usefixtures("undrawn")
def test_bounds_are_tabled_with_their_likelihood_and_the_reason_of_a_dash(
    lvm_bench: Callable[..., Result], tmp_path: Path
) -> None:
    methods = [word for name in ("vae", "sigma-vae", "rae-l2") for word in ("--methods", name)]
    given = (*RUN, *methods, "--set=likelihood=sse")
    done = lvm_bench(*given)
    assert done.exit_code == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert f"No bits_per_dim, elbo, iw_bound: {REASON}." in said
    assert "No ms_ssim: images of 161 pixels or more along a side are needed." in said
    record = disk.read_record(tmp_path / "results/zoo/runs/digits/rae-l2/seed-0/job.json")
    bounds = {key: why for key, why in record["absent"].items() if key.endswith(".heldout")}
    assert bounds == {f"{name}.heldout": REASON for name in ("elbo", "iw_bound", "bits_per_dim")}
    assert "Nothing is left" in lvm_bench(*given, "--dry-run").stderr
    file = tmp_path / "results/zoo/tables/likelihood.md"
    for _ in ("from the runs", "from what git holds"):
        assert lvm_bench("report", "--suite", "zoo").exit_code == 0
        table = file.read_text().replace("\\", "")
        assert "the first 20 with K = 7 codes of each" in table
        assert "p(x|z) = N(decode(z), I/2) (VAE); N(decode(z), s^2 I), s the root mean square error" in table
        assert f"RAE-L2 on digits: no number (ELBO, IW bound, bits per dimension): {REASON}" in table
        shutil.rmtree(tmp_path / "results/zoo/runs", ignore_errors=True)
        file.unlink()


def test_grey_values_under_a_bernoulli_are_declined_in_a_sentence(lvm_bench: Callable[..., Result]) -> None:
    done = lvm_bench(*RUN, "--methods", "vae", "--set=likelihood=bernoulli")
    assert done.exit_code == 0, done.stderr
    assert "is a probability of black and white, and no density of grey values" in " ".join(done.stderr.split())
