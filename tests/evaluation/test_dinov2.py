"""DINOv2's networks: against torch's own transformer layers, its resize against torchvision's, its weights by name."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import Compose, InterpolationMode, Normalize, Resize, ToTensor

from lvm_bench.data import files
from lvm_bench.data.images import load
from lvm_bench.errors import UserError
from lvm_bench.evaluation import dinov2
from lvm_bench.evaluation.dinov2 import VisionTransformer, standardised
from lvm_bench.evaluation.features import Request
from lvm_bench.execution.task import require_files
from lvm_bench.registry import EXTRACTORS

WIDTH, DEPTH, HEADS = 24, 2, 3


def random_network(trained: int) -> VisionTransformer:
    """A small network of random weights, with norms and scales near 1."""
    network, stream = VisionTransformer(WIDTH, DEPTH, HEADS, trained).eval(), torch.Generator().manual_seed(0)
    for name, values in network.named_parameters():
        centre = 1.0 if name.endswith("gamma") or ("norm" in name and name.endswith("weight")) else 0.0
        values.data = centre + 0.3 * torch.randn(values.shape, generator=stream)
    return network


def layer_of_torch(block: dinov2.Block) -> nn.Module:
    """The same block as a layer of torch's, whose last products take up the scales."""
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
    )
    weights = block.state_dict()
    for part, scale in (("attn.proj", "ls1"), ("mlp.fc2", "ls2")):
        weights[f"{part}.weight"] = weights[f"{scale}.gamma"][:, None] * weights[f"{part}.weight"]
        weights[f"{part}.bias"] = weights[f"{scale}.gamma"] * weights[f"{part}.bias"]
    names = {
        "self_attn.in_proj_": "attn.qkv.", "self_attn.out_proj.": "attn.proj.", "linear1.": "mlp.fc1.",
        "linear2.": "mlp.fc2.", "norm1.": "norm1.", "norm2.": "norm2.",
    }  # fmt: skip
    both = {f"{theirs}{kind}": weights[ours + kind] for theirs, ours in names.items() for kind in ("weight", "bias")}
    layer.load_state_dict(both)
    return layer.eval()


def between(places: np.ndarray, trained: int) -> np.ndarray:
    """The weights of the four trained places around each place, by Keys' cubic (a = -3/4); places outside repeat."""
    weights = np.zeros((len(places), trained))
    for row, place in enumerate(places):
        for tap in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            t = abs(place - tap)
            near, far = 1.25 * t**3 - 2.25 * t**2 + 1, -0.75 * (t**3 - 5 * t**2 + 8 * t - 4)
            weights[row, min(max(tap, 0), trained - 1)] += near if t <= 1 else far
    return weights


def expected_positions(network: VisionTransformer, trained: int) -> np.ndarray:
    """[1 + 256, d]: bicubic at (i + 1/2) trained / 16.1 - 1/2."""
    grid = network.pos_embed[0, 1:].detach().double().numpy().reshape(trained, trained, WIDTH)
    weights = between((np.arange(16) + 0.5) * trained / 16.1 - 0.5, trained)
    patches = np.einsum("ip,jq,pqd->ijd", weights, weights, grid).reshape(256, WIDTH)
    return np.concatenate([network.pos_embed[0, :1].detach().double().numpy(), patches])


@pytest.mark.parametrize("trained", [37, 5, 16])
def test_the_network_is_the_same_as_from_torchs_layers(trained: int) -> None:
    network = random_network(trained)
    x = torch.randn(3, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    patches = x.unfold(2, 14, 14).unfold(3, 14, 14).permute(0, 2, 3, 1, 4, 5).reshape(3, 256, 3 * 14 * 14)
    proj = network.patch_embed.proj
    positions = torch.from_numpy(expected_positions(network, trained)) if trained != 16 else network.pos_embed
    with torch.no_grad():
        tokens = patches @ proj.weight.flatten(1).T + proj.bias
        tokens = torch.cat([network.cls_token.expand(3, -1, -1), tokens], dim=1) + positions.float()
        for block in network.blocks:
            tokens = layer_of_torch(block)(tokens)
        expected = nn.functional.layer_norm(tokens[:, 0], (WIDTH,), network.norm.weight, network.norm.bias, 1e-6)
        torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 300, 260), (3, 224, 224)])
def test_images_are_prepared_as_by_torchvision(shape: tuple[int, ...]) -> None:
    images = torch.randint(0, 256, (2, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    recipe = Compose([Resize((224, 224), InterpolationMode.BICUBIC), ToTensor(), Normalize(dinov2.MEAN, dinov2.STD)])
    colour = images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    assert torch.equal(standardised(images), torch.stack([recipe(Image.fromarray(each)) for each in colour]))


@pytest.mark.parametrize(("name", "count"), [("dinov2", 304_368_640), ("dinov2-small", 22_056_576)])
def test_the_official_weights_have_as_many_numbers(name: str, count: int) -> None:
    network = dinov2._outline(name)
    assert sum(values.numel() for values in network.parameters()) == count
    (file,) = files.fetchable()[name]
    assert 0 < file.size - 4 * count < 2e5  # names and places
    assert network.state_dict().keys() >= {
        "cls_token", "pos_embed", "mask_token", "patch_embed.proj.weight", "blocks.0.norm1.weight",
        "blocks.0.attn.qkv.bias", "blocks.11.attn.proj.weight", "blocks.11.ls1.gamma", "blocks.3.mlp.fc1.weight",
        "blocks.3.mlp.fc2.bias", "blocks.3.ls2.gamma", "norm.bias",
    }  # fmt: skip


@pytest.fixture
def request_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[object], Request]:
    """A request whose data folder has these weights as the official ones of a small network."""
    monkeypatch.setitem(dinov2._NETWORKS, "dinov2-small", ("ViT-S/14", WIDTH, DEPTH, HEADS))

    def made(weights: object) -> Request:
        _, small = files.DINOV2
        path = tmp_path / small.path
        path.parent.mkdir(exist_ok=True)
        torch.save(weights, path)
        known = replace(small, checksum=f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")
        monkeypatch.setattr(files, "DINOV2", (files.DINOV2[0], known))
        data = load("digits", Path(), options={}, train_images=20, validation_images=10, test_images=10)
        return Request(data, tmp_path, "cpu", 1)

    return made


def test_weights_are_loaded_by_their_names_and_no_number_is_drawn(request_of: Callable[[object], Request]) -> None:
    network = random_network(37)
    request, before = request_of(network.state_dict()), torch.get_rng_state()
    made = EXTRACTORS["dinov2-small"](request)
    assert torch.equal(torch.get_rng_state(), before)
    images = torch.from_numpy(request.data.test.pixels.copy())
    with torch.no_grad():
        expected = network(standardised(images))
    found = made.features(images)
    assert found.shape == (10, WIDTH)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert made.note == "DINOv2 ViT-S/14 class token (24), PIL bicubic resize to 224 x 224 in 8 bits"
    assert made.identity.startswith(f"dinov2-small-{files.DINOV2[1].checksum[7:23]}")


def other_weights() -> dict[str, Tensor]:
    return {name: values for name, values in random_network(37).state_dict().items() if name != "norm.bias"}


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        (other_weights(), "it holds other weights than those of DINOv2's ViT-S/14. It is not the official file"),
        (random_network(4).state_dict(), "it holds other weights"),
        ([1, 2], "it holds other weights"),
        (Path, "holds something else than weights"),
    ],
    ids=["fewer", "shape", "list", "code"],
)
def test_what_is_no_such_file_is_a_sentence(
    weights: object, told: str, request_of: Callable[[object], Request]
) -> None:
    with pytest.raises(UserError, match=rf"{told}.* `lvm-bench data fetch dinov2-small`\.$"):
        EXTRACTORS["dinov2-small"](request_of(weights))


def test_missing_weights_are_named_before_a_run(tmp_path: Path) -> None:
    settings = SimpleNamespace(extractor="dinov2", metrics=["frechet"])
    job: Any = SimpleNamespace(dataset_base="digits", evaluation=settings)
    with pytest.raises(UserError) as error:
        require_files([job], tmp_path)
    for part in ("dinov2_vitl14_pretrain.pth is missing", "data fetch dinov2", "sha256 d5383ea8", "--extractor class"):
        assert part in str(error.value)


def test_the_stand_in_of_an_estimate_needs_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dinov2._NETWORKS, "dinov2", ("ViT-L/14", WIDTH, DEPTH, HEADS))
    made = dinov2.untrained("dinov2", "cpu")
    assert made.features(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).isfinite().all()
