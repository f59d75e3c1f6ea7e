"""A bench.toml without [train] is layered over the packaged one; `lvm-bench init` writes such a file."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from lvm_bench import disk
from lvm_bench.errors import UserError
from lvm_bench.suites import bench_toml
from lvm_bench.suites.bench_toml import layered
from lvm_bench.suites.resolve import resolve

Call = Callable[..., Result]

MINE = """
[datasets.mine]
base = "npz"
path = "mine.npz"
network = "conv"
latent = 4
likelihood = "sse"
epochs = 2
"""
METHOD = '''
from lvm_bench import Method, method

@method("{name}")
class Made(Method):
    """Made up."""
'''


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return file


def digests(file: Path) -> list[str]:
    """Those of the weights and of the scores of a run."""
    job = resolve(
        file, "quick", methods=("avae",), datasets=("mine",), seeds=(0,), settings=("methods.avae.m=9",)
    ).jobs[0]
    return [disk.digest(settings) for settings in (job.weights_settings(), job.scores_settings())]


def test_a_file_with_a_data_set_alone_has_the_packaged_suites_and_the_digests_of_one_whole_file(tmp_path: Path) -> None:
    layer = write(tmp_path / "layer.toml", MINE)
    packages = (bench_toml.defaults_folder() / "baselines").as_posix()
    text = bench_toml.packaged().read_text().replace('packages = ["baselines"]', f'packages = ["{packages}"]')
    whole = write(tmp_path / "whole.toml", text + MINE)
    assert digests(layer) == digests(whole)


def test_a_file_with_train_stands_alone(tmp_path: Path) -> None:
    file = write(tmp_path / "alone.toml", "[train]\n" + MINE)
    assert bench_toml.suite_names(file) == {}
    with pytest.raises(UserError, match="unknown suite 'quick'"):
        resolve(file, "quick")


def test_what_a_layer_says_wins_key_by_key() -> None:
    general = {"a": {"x": 1, "y": [1, 2], "z": {"u": 1}}, "b": 1}
    special = {"a": {"y": [3], "z": {"v": 2}}, "c": {"w": 1}}
    assert layered(general, special) == {"a": {"x": 1, "y": [3], "z": {"u": 1, "v": 2}}, "b": 1, "c": {"w": 1}}
    assert general["a"]["y"] == [1, 2]


def test_packages_are_joined_each_relative_to_its_file(lvm_bench: Call, tmp_path: Path) -> None:
    write(tmp_path / "here" / "mine.py", METHOD.format(name="mine"))
    file = write(tmp_path / "bench.toml", 'packages = ["here"]\n')
    listed = lvm_bench("list", "methods").stdout
    assert "mine " in listed
    assert "avae " in listed
    write(file, 'packages = ["gone"]\n')
    assert f"packages: {tmp_path / 'gone'} is not a folder" in lvm_bench("list", "methods").stderr
    write(file, 'packages = ["here"]\n[train]\nwidth = 1.0\n')
    assert "avae " not in lvm_bench("list", "methods").stdout


def test_a_layers_names_are_checked_beside_the_packaged_ones(tmp_path: Path) -> None:
    file = write(tmp_path / "bench.toml", MINE.replace("mine", "MNIST", 1))
    with pytest.raises(UserError, match="differ in capitals alone"):
        resolve(file, "quick")


@pytest.mark.usefixtures("unmeasured")
def test_init_writes_a_file_whose_suite_resolves_and_overwrites_none(lvm_bench: Call, tmp_path: Path) -> None:
    result = lvm_bench("init")
    assert (result.exit_code, "bench.toml: written" in result.stderr) == (0, True)
    jobs = lvm_bench("run", "--suite", "mine", "--dry-run", "--seeds", "0").stdout
    assert [line.split()[0] for line in jobs.splitlines()] == [
        f"mine/{method}/seed-0" for method in ("vae", "vae-strong", "aae", "avae")
    ]
    assert "network=conv" in jobs
    (tmp_path / "bench.toml").write_text("# mine\n")
    again = lvm_bench("init")
    assert (again.exit_code, (tmp_path / "bench.toml").read_text()) == (2, "# mine\n")
    assert "is there already" in again.stderr


def test_tables_below_a_file_are_left_as_they_are(tmp_path: Path) -> None:
    file = write(tmp_path / "bench.toml", MINE)
    under = {"suites": {"own": {"methods": ["vae"], "datasets": ["mine"], "seeds": [0]}}}
    found = resolve(file, "own", settings=("methods.vae.beta=2.0", "train.width=0.5"), under=under)
    assert found.jobs[0].training.width == 0.5
    assert under == {"suites": {"own": {"methods": ["vae"], "datasets": ["mine"], "seeds": [0]}}}
