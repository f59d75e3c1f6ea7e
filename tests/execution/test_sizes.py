"""Methods of several latent sizes in one suite: floors of each size, the size in the row, dashes for too few codes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from lvm_bench.suites.bench_toml import misnamed, packaged
from lvm_bench.suites.job import is_control
from lvm_bench.suites.resolve import resolve

SUITE = """
[suites.sizes]
methods = ["vae", "vae-400"]
datasets = ["digits"]
seeds = [0]
method.vae-400 = { base = "vae", latent = 400, label = "wide VAE" }
[suites.sizes.train]
threads = 1
train_images = 300
validation_images = 20
[suites.sizes.dataset.digits]
epochs = 1
metrics = ["gaussian_kl", "gaussian_kl_floor", "entropy"]
"""


def test_there_is_a_control_of_each_latent_size(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(SUITE)
    controls = resolve(tmp_path / "bench.toml", "sizes").controls
    found = [(job.method, job.method_base, job.scores_settings()["latent"]) for job in controls]
    assert found == [
        ("real-images", "real-images", 8),
        ("standard-normal", "standard-normal", 8),
        ("standard-normal-400", "standard-normal", 400),
    ]
    assert all(job.is_control for job in controls)
    alone = resolve(tmp_path / "bench.toml", "sizes", methods=("vae-400",)).controls
    assert [job.method for job in alone] == ["real-images", "standard-normal-400"], "whichever methods are chosen"
    ablation = resolve(packaged(), "ablation-latent").controls
    assert [(job.method, job.training.latent) for job in ablation] == [("real-images", 4), ("standard-normal", 4)]
    assert [job.method for job in resolve(packaged(), "quick", seeds=(0,)).controls] == [
        "real-images",
        "standard-normal",
    ]


def test_a_method_cannot_have_the_name_of_a_control() -> None:
    assert is_control("standard-normal-64")
    assert not is_control("standard")
    (told,) = misnamed("method", ["standard-normal-64"])
    assert "is the benchmark's own" in told


@pytest.mark.usefixtures("undrawn")
def test_rows_and_floors_tell_their_size_and_too_few_codes_are_a_dash(
    lvm_bench: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "bench.toml").write_text(SUITE)
    done = lvm_bench("run", "--suite", "sizes")
    assert done.exit_code == 0, done.output
    assert lvm_bench("report", "--suite", "sizes").exit_code == 0
    tables = {name: (tmp_path / f"results/sizes/tables/{name}.md").read_text() for name in ("kl", "entropy")}
    rows = {
        (name, cells[0]): cells[1:]
        for name, text in tables.items()
        for line in text.splitlines()
        if len(cells := [cell.strip() for cell in line.split("|")[1:-1]]) > 1
    }
    assert rows["entropy", "standard normal (l/2), l = 8"][0] == "4"
    assert rows["entropy", "standard normal (l/2), l = 400"][0] == "200"
    for table, floor in (("kl", "noise floor"), ("kl", "standard normal (exact draws)")):
        assert float(rows[table, f"{floor}, l = 8"][0].split(" ")[0]) < 0.2
    assert float(rows["kl", "noise floor, l = 400"][0]) > 100
    assert rows["kl", "standard normal (exact draws), l = 400"][0].startswith("–")
    assert rows["kl", "wide VAE (l = 400)"][0].startswith("–")
    assert rows["kl", "VAE (l = 8)"][0][0].isdigit()
    assert "no number (to N(0, I)): 300 codes are too few for 400 dimensions" in tables["kl"]
    assert "codes are too few for 400 dimensions, so encode 402 images or more" in tables["entropy"]
    assert "| digits |" in tables["kl"]
