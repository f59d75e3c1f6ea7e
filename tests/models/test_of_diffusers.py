"""Autoencoders that diffusers saved: latents in their shape, scaled as their configuration says, and no pickle opened.

Where diffusers is not installed, a stand-in of the same format takes its place; where it is, both are tested.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pretended_diffusers
import pytest
import torch

import lvm_bench
from lvm_bench.errors import UserError
from lvm_bench.modelling.contract import Spec
from lvm_bench.models import sources
from lvm_bench.models.adapted import Adapted

KINDS = ("AutoencoderKL", "VQModel", "AutoencoderTiny")

SMALL = {"in_channels": 1, "out_channels": 1, "latent_channels": 2}

BLOCKS = {
    "block_out_channels": (8, 8), "norm_num_groups": 4, "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
}  # fmt: skip

OF_KIND: dict[str, dict[str, Any]] = {
    "AutoencoderKL": {**BLOCKS, "scaling_factor": 0.5, "shift_factor": 0.1},
    "VQModel": {**BLOCKS, "num_vq_embeddings": 16},
    "AutoencoderTiny": {
        "encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8), "num_encoder_blocks": (1, 1),
        "num_decoder_blocks": (1, 1),
    },
}  # fmt: skip


@pytest.fixture(params=["stand-in", "diffusers"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    if request.param == "diffusers":
        with warnings.catch_warnings(action="ignore"):
            return pytest.importorskip("diffusers", exc_type=ImportError)
    monkeypatch.setitem(sys.modules, "diffusers", pretended_diffusers)
    return pretended_diffusers


def saved(library: Any, folder: Path, kind: str, **how: Any) -> Any:
    """A model with random weights, as the library saves it."""
    settings = {**SMALL, **OF_KIND[kind]} if library is not pretended_diffusers else {"in_channels": 1}
    if library is pretended_diffusers and kind == "AutoencoderKL":
        settings["shift_factor"] = 0.1
    with torch.random.fork_rng(), warnings.catch_warnings(action="ignore"):
        torch.manual_seed(0)
        model = getattr(library, kind)(**settings)
        model.save_pretrained(str(folder), **how)
    return model.eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_codes_and_images_are_those_of_the_library(library: Any, tmp_path: Path, kind: str) -> None:
    model = saved(library, tmp_path / "own", kind)
    config = json.loads((tmp_path / "own/config.json").read_text())
    scale, shift = config["scaling_factor"], config.get("shift_factor") or 0.0
    method = Adapted(sources.opened(f"diffusers:{tmp_path / 'own'}"), Spec((1, 8, 8), (0, 1), 32, 10, 5, "sse"))
    x = torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        found = model.encode(2 * x - 1)
        latents = found.latent_dist.mean if kind == "AutoencoderKL" else found.latents
        latents = model.quantize(latents)[0] if kind == "VQModel" else latents
        z = method.encode(x)
        torch.testing.assert_close(z, ((latents - shift) * scale).flatten(1))
        made = (model.decode(latents).sample.clamp(-1, 1) + 1) / 2
        torch.testing.assert_close(method.decode(z), made, atol=1e-5, rtol=1e-4)
    assert method.code_shape == (2, 4, 4)
    assert method.worked_out["model: class"] == kind
    assert (method.cannot_sample == "") == (kind == "AutoencoderKL")


@pytest.mark.filterwarnings("ignore")
def test_the_posterior_is_that_of_the_scaled_latents(library: Any, tmp_path: Path) -> None:
    model = saved(library, tmp_path / "own", "AutoencoderKL")
    method = Adapted(sources.opened(f"diffusers:{tmp_path / 'own'}"), Spec((1, 8, 8), (0, 1), 32, 10, 5, "sse"))
    x = torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        expected, found = model.encode(2 * x - 1).latent_dist, method.posterior(x)
    torch.testing.assert_close(found.mean, method.encode(x))
    torch.testing.assert_close(found.variance, (expected.logvar.exp() * 0.5**2).flatten(1))


def test_statistics_of_each_channel_take_the_place_of_a_shift(
    library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library is not pretended_diffusers:
        pytest.skip("one library tells")
    model = saved(library, tmp_path / "own", "AutoencoderKL")
    file = tmp_path / "own/config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"latents_mean": [1.0, 2.0], "latents_std": [3.0, 4.0]}))
    own = sources.opened(f"diffusers:{tmp_path / 'own'}")
    x = 2 * torch.rand(3, 1, 8, 8) - 1
    with torch.no_grad():
        latents, z = model.encode(x).latent_dist.mean, own.encode(x)
        torch.testing.assert_close(z[:, 1], (latents[:, 1] - 2) / 4 * 0.5)
        torch.testing.assert_close(own.decode(z), model.decode(latents).sample)


def change(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda own: change(own, _class_name="UNet2DModel"), "is of the class 'UNet2DModel'.*Valid: AutoencoderKL"),
        (lambda own: change(own, latent_channels=3), "cannot be read by diffusers"),
        (lambda own: (own / "config.json").write_text("["), "config.json: not JSON"),
        (lambda own: (own / "config.json").unlink(), "of a whole pipeline, its folder `vae`"),
        (lambda own: next(own.glob("*.safetensors")).write_bytes(b"x"), "cannot be read by diffusers"),
        (lambda own: next(own.glob("*.safetensors")).unlink(), "has no diffusion_pytorch_model.safetensors. Save the"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(library: Any, tmp_path: Path, harm: Any, told: str) -> None:
    saved(library, tmp_path / "own", "AutoencoderTiny")
    harm(tmp_path / "own")
    with pytest.raises(UserError, match=told) as raised:
        sources.opened(f"diffusers:{tmp_path / 'own'}")
    assert "\n" not in str(raised.value)


@pytest.mark.filterwarnings("ignore")
def test_a_pickle_is_not_opened(library: Any, tmp_path: Path) -> None:
    saved(library, tmp_path / "own", "AutoencoderTiny", safe_serialization=False)
    with pytest.raises(UserError, match=r"diffusion_pytorch_model\.bin is a pickle, and is not opened.*safe_serializ"):
        sources.opened(f"diffusers:{tmp_path / 'own'}")


def test_without_diffusers_a_sentence_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(pretended_diffusers, tmp_path / "own", "AutoencoderTiny")
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(UserError, match=r"needs diffusers .* Type: pip install 'lvm-bench\[diffusers\]'"):
        sources.opened(f"diffusers:{tmp_path / 'own'}")


@pytest.mark.filterwarnings("ignore")
def test_images_of_other_channels_are_told(library: Any, tmp_path: Path) -> None:
    saved(library, tmp_path / "own", "AutoencoderTiny")
    with pytest.raises(UserError, match=r"diffusers:.*: encode of shape \(2, 3, 8, 8\) raised RuntimeError"):
        lvm_bench.evaluate(sources.opened(f"diffusers:{tmp_path / 'own'}"), np.zeros((60, 3, 8, 8), np.uint8))
