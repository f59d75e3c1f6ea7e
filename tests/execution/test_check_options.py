"""`lvm-bench check --set --network --data`: what a method is checked with, and what is refused."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from lvm_bench.execution.check_case import Case, cases, enlarged
from lvm_bench.registry import METHODS, NETWORKS

MINE = '''"""Mine, with a network of its own."""
from lvm_bench import Method, method, network
from lvm_bench.errors import UserError
from torch import nn


@network("flat")
def flat(shape, latent, heads, width):
    """One layer."""
    c, h, w = shape
    return (
        nn.Sequential(nn.Flatten(), nn.Linear(c * h * w, heads * latent)),
        nn.Sequential(nn.Linear(latent, c * h * w), nn.Unflatten(1, shape)),
    )


@method("mine")
class Mine(Method):
    def __init__(self, *nets, pull: float = 0.01):
        super().__init__(*nets)
        if pull < 0:
            raise UserError(f"mine: pull = {pull} is negative. Choose 0 or more.")
        self.pull = pull

    def losses(self, x):
        z = self.encode(x)
        return {"loss": (x - self.decode(z)).square().mean() + self.pull * z.square().mean()}
'''


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    yield file
    METHODS._entries.pop("mine", None)
    NETWORKS._entries.pop("flat", None)


def test_pixels_are_those_of_the_nearest_place_alike_in_every_channel() -> None:
    pixels = np.array([[[[1, 2], [3, 4]]]], dtype=np.uint8)
    large = enlarged(pixels, (3, 4, 3))
    assert large.shape == (1, 3, 4, 3)
    np.testing.assert_array_equal(large[0, 2], [[1, 1, 2], [1, 1, 2], [3, 3, 4], [3, 3, 4]])
    np.testing.assert_array_equal(enlarged(pixels, (1, 2, 2)), pixels)


@pytest.mark.usefixtures("short_checks")
def test_a_method_has_the_settings_the_network_and_the_shape_that_were_given(mine: Path) -> None:
    (made,) = cases(("mine",), (mine,), "celeba", ("network=flat", "pull=0.5", "latent=3"))
    assert made.spec.shape == (3, 64, 64)
    assert made.spec.value_range == (-1, 1)
    assert made.spec.latent == 3
    assert len(made.data.train) == 400
    assert made.job.arguments == {"pull": 0.5}
    assert made.built().encoder[1].in_features == 3 * 64 * 64
    assert float(made.batch().min()) == -1


def test_a_data_set_whose_shape_only_files_tell_gives_its_own_images(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(0).integers(256, size=(60, 5, 7), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", images=images)
    monkeypatch.setenv("LVM_BENCH_DATA", str(tmp_path))
    settings = ("path=own.npz", "network=flat", "latent=2", "likelihood=sse", "datasets.npz.epochs=1")
    (made,) = cases(("mine",), (mine,), "npz", settings)
    assert made.spec.shape == (1, 5, 7)
    assert {image.tobytes() for image in made.data.train.pixels} < {image.tobytes() for image in images}


@pytest.mark.usefixtures("short_checks")
def test_the_options_reach_the_checks(
    lvm_bench: Callable[..., Result], mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Case] = []
    monkeypatch.setattr("lvm_bench.execution.check._check_method", lambda made, say: seen.append(made) or 0)
    monkeypatch.setattr("lvm_bench.execution.check_kinds.check", lambda entry, say: 0)
    result = lvm_bench("check", mine, "--set", "pull=0.5", "--network", "flat", "--data", "cifar10")
    assert (result.exit_code, result.stdout) == (0, "The contract holds.\n")
    (made,) = seen
    assert (made.job.arguments, made.job.training.network, made.spec.shape) == ({"pull": 0.5}, "flat", (3, 32, 32))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--set", "pull=-1"], "mine: pull = -1.0 is negative."),
        (["--set", "pull"], "--set 'pull': write key=value"),
        (["--set", "pul=1"], "--set pul=1: unknown key. Did you mean 'pull'?"),
        (["--set", "latent=x"], "--set latent: 'x' is not valid"),
        (["--network", "flatt"], "unknown network 'flatt'. Did you mean 'flat'?"),
        (["--network", "mnist"], "The network 'mnist' is made for images of 32x32 pixels, not 8x8."),
        (["--data", "mnits"], "unknown data set 'mnits'. Did you mean 'mnist'?"),
    ],
)
def test_what_is_not_valid_is_one_sentence(
    given: list[str], told: str, lvm_bench: Callable[..., Result], mine: Path
) -> None:
    result = lvm_bench("check", mine, *given)
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stdout == ""


def test_options_of_methods_are_refused_where_there_is_none(lvm_bench: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(MINE.partition("@method")[0].replace('"flat"', '"other"'))
    result = lvm_bench("check", tmp_path / "net.py", "--data", "mnist")
    assert result.exit_code == 2
    assert "--set, --network and --data: they are for methods, and none of these files has one." in result.stderr
