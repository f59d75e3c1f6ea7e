"""LPIPS with random weights: torchvision's AlexNet and the formula of the paper, and files that are not weights."""

import hashlib
import pickle
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor

from lvm_bench.data import files
from lvm_bench.data.files import RemoteFile
from lvm_bench.errors import UserError
from lvm_bench.evaluation.perceptual import perceptual, untrained_perceptual
from lvm_bench.metrics import lpips
from lvm_bench.metrics.perceptual import Perceptual

TAPS = (1, 4, 7, 9, 11)  # torchvision's layers whose activations are compared


def put(root: Path, name: str, state: object) -> RemoteFile:
    """A file of weights in the data folder, and what is known of it."""
    file = root / "lpips" / name
    file.parent.mkdir(exist_ok=True)
    torch.save(state, file)
    content = file.read_bytes()
    return RemoteFile(f"lpips/{name}", "https://x", f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))


@pytest.fixture(scope="module")
def alexnet() -> torch.nn.Sequential:
    """The convolutional layers of torchvision's AlexNet, with random weights."""
    with torch.device("meta"):  # its linear layers would take a quarter of a gigabyte
        layers = torchvision.models.alexnet().features
    layers = layers.to_empty(device="cpu")
    stream = torch.Generator().manual_seed(0)
    for layer in layers:
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight, generator=stream)
            torch.nn.init.normal_(layer.bias, std=0.1, generator=stream)
    return layers


@pytest.fixture(scope="module")
def linear() -> dict[str, Tensor]:
    stream = torch.Generator().manual_seed(1)
    sizes = (64, 192, 384, 256, 256)
    return {f"lin{i}.model.1.weight": torch.rand(1, d, 1, 1, generator=stream) for i, d in enumerate(sizes)}


@pytest.fixture(scope="module")
def network(
    alexnet: torch.nn.Sequential, linear: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory
) -> Perceptual:
    """Ours, read from files as torchvision and lpips write them."""
    root = tmp_path_factory.mktemp("weights")
    state = {f"features.{key}": value for key, value in alexnet.state_dict().items()}
    known = put(root, "a.pth", state), put(root, "b.pth", linear)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(files, "LPIPS_WEIGHTS", known)
        return perceptual(root, "cpu")


def by_the_paper(alexnet: torch.nn.Sequential, linear: dict[str, Tensor], real: Tensor, recon: Tensor) -> float:
    """Zhang et al. 2018, eq. 1, in float64, with the inputs of the lpips package."""
    mean, std = (torch.tensor(v)[:, None, None] for v in ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)))
    x, y = (((2 * images.expand(-1, 3, -1, -1) - 1 - mean) / std).double() for images in (real, recon))
    total = torch.zeros(len(x), dtype=torch.float64)
    with torch.no_grad():
        for place, layer in enumerate(deepcopy(alexnet[:12]).double()):
            x, y = layer(x), layer(y)
            if place in TAPS:
                a, b = (z / z.norm(dim=1, keepdim=True) for z in (x, y))
                weights = linear[f"lin{TAPS.index(place)}.model.1.weight"].double()
                total += ((a - b) ** 2 * weights).sum(1).mean((1, 2))
    return float(total.mean())


@pytest.mark.parametrize("shape", [(3, 3, 31, 31), (3, 1, 32, 32), (2, 3, 64, 64), (1, 3, 40, 90)])
def test_lpips_is_that_of_torchvisions_network(
    shape: tuple[int, ...], network: Perceptual, alexnet: torch.nn.Sequential, linear: dict[str, Tensor]
) -> None:
    stream = torch.Generator().manual_seed(2)
    real = torch.rand(shape, generator=stream)
    recon = (real + 0.1 * torch.randn(shape, generator=stream)).clamp(0, 1)
    expected = by_the_paper(alexnet, linear, real, recon)
    assert lpips(real, recon, network) == pytest.approx(expected, rel=1e-5)
    assert lpips(recon, real, network) == pytest.approx(expected, rel=1e-5)


def test_images_are_compared_some_at_a_time(network: Perceptual, monkeypatch: pytest.MonkeyPatch) -> None:
    real, recon = torch.rand(2, 5, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    whole = lpips(real, recon, network)
    monkeypatch.setattr("lvm_bench.metrics.perceptual._VALUES", {"cpu": 2 * 3 * 32 * 32})
    assert lpips(real, recon, network) == pytest.approx(whole, rel=1e-6)


def test_equal_images_are_at_no_distance_and_integers_are_divided_by_255(network: Perceptual) -> None:
    whole = np.random.default_rng(0).integers(0, 256, size=(2, 3, 32, 32), dtype=np.uint8)
    assert lpips(whole, whole, network) == 0
    floats = (whole / 255).astype(np.float32)
    assert lpips(whole, 1 - floats, network) == pytest.approx(lpips(floats, 1 - floats, network), rel=1e-5)


def test_random_weights_leave_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    untrained_perceptual("cpu")
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 2, 32, 32), r"real has 2 channels of 32 x 32 pixels; give 1 \(grey\) or 3"),
        ((1, 3, 30, 64), r"real has 3 channels of 30 x 64 pixels; .* at least 31 x 31"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(shape: tuple[int, ...], words: str, network: Perceptual) -> None:
    with pytest.raises(UserError, match=f"^lpips: {words}"):
        lpips(np.zeros(shape), np.zeros(shape), network)


def test_missing_weights_say_where_they_come_from_and_how_to_do_without(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        perceptual(tmp_path, "cpu")
    (told,) = str(refused.value).splitlines()
    assert "alex.pth are missing: run `lvm-bench data fetch lpips`, or download https://" in told
    for once in ("alexnet-owt-7be5be79.pth and ", "data fetch", "Or leave lpips out of the metrics."):
        assert told.count(once) == 1


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("run",)


def test_weights_that_hold_code_are_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lpips").mkdir()
    content = pickle.dumps(Payload())
    (tmp_path / "lpips/a.pth").write_bytes(content)
    known = RemoteFile("lpips/a.pth", "https://x", f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))
    monkeypatch.setattr(files, "LPIPS_WEIGHTS", (known, known))
    with pytest.raises(UserError, match=r"a\.pth: holds something else than weights.*data fetch lpips"):
        perceptual(tmp_path, "cpu")
    assert capsys.readouterr().out == ""
