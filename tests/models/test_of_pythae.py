"""Folders that pythae saved: the same codes and images as pythae gives, and no pickle opened.

Where pythae is not installed, a stand-in of the same format takes its place; where it is, both are tested.
"""

import json
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pretended_pythae
import pytest
import torch

import lvm_bench
from lvm_bench.errors import UserError
from lvm_bench.modelling.contract import Spec
from lvm_bench.models import of_pythae, sources
from lvm_bench.models.adapted import Adapted

SHAPE = (1, 8, 8)


@pytest.fixture(params=["stand-in", "pythae"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    if request.param == "pythae":
        with warnings.catch_warnings(action="ignore"):
            return pytest.importorskip("pythae.models", exc_type=ImportError)
    package: Any = ModuleType("pythae")
    package.models = pretended_pythae
    monkeypatch.setitem(sys.modules, "pythae", package)
    monkeypatch.setitem(sys.modules, "pythae.models", pretended_pythae)
    monkeypatch.setattr(of_pythae, "version", lambda name: "0.1.2")
    return pretended_pythae


@pytest.fixture
def folder(library: Any, tmp_path: Path) -> Path:
    """A VAE with random weights as the library saves it."""
    saved(library, tmp_path / "vae")
    return tmp_path / "vae"


def saved(library: Any, folder: Path, kind: str = "VAE") -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(library, kind)(getattr(library, f"{kind}Config")(input_dim=SHAPE, latent_dim=4))
    model.save(str(folder))
    return model.eval()


def test_codes_posteriors_and_images_are_those_of_the_library(library: Any, tmp_path: Path) -> None:
    model = saved(library, tmp_path / "vae")
    method = Adapted(sources.opened(f"pythae:{tmp_path / 'vae'}"), Spec(SHAPE, (0, 1), 4, 10, 5, "sse"))
    x = torch.rand(3, *SHAPE)
    with torch.no_grad():
        expected = model.encoder(x)
        assert torch.equal(method.encode(x), expected.embedding)
        assert torch.equal(method.posterior(x).log_var, expected.log_covariance)
        assert torch.equal(method.decode(expected.embedding), model.decoder(expected.embedding).reconstruction)
    assert method.cannot_sample == ""
    assert method.worked_out["model: latent_dim"] == "4"


def test_an_autoencoder_has_neither_posterior_nor_prior(library: Any, tmp_path: Path) -> None:
    saved(library, tmp_path / "ae", "AE")
    method = Adapted(sources.opened(f"pythae:{tmp_path / 'ae'}"), Spec(SHAPE, (0, 1), 4, 10, 5, "sse"))
    assert method.posterior(torch.rand(2, *SHAPE)) is None
    assert method.cannot_sample == "this model declares no prior"


def test_its_files_are_part_of_the_identity_of_its_row(folder: Path) -> None:
    assert [file.name for file in sources.files(f"pythae:{folder}")] == ["model_config.json", "model.pt"]


def change(folder: Path, **changes: Any) -> None:
    file = folder / "model_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


class Anything:
    """What nobody may unpickle: it would create a file."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("opened"),)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda own: change(own, uses_default_encoder=False), "its encoder is of its author's own.*FILE.py:NAME"),
        (lambda own: change(own, name="VQVAEConfig"), "is a VQVAE of pythae, whose codes are not those of its encoder"),
        (lambda own: change(own, latent_dim=5), "was saved by another version of pythae"),
        (lambda own: change(own, later=1), "was saved by another version of pythae than .* ('|\\()?.*unknown later"),
        (lambda own: change(own, input_dim=None), "says no `name` of a model and no `input_dim`"),
        (lambda own: (own / "model_config.json").write_text("{"), "not JSON"),
        (lambda own: (own / "model.pt").unlink(), "model.pt: cannot be read"),
        (lambda own: (own / "model.pt").write_bytes(b"PK"), "is a pickle of something else than weights"),
        (lambda own: torch.save(Anything(), own / "model.pt"), "is a pickle of something else than weights"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, harm: Any, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    harm(folder)
    with pytest.raises(UserError, match=told) as raised:
        sources.opened(f"pythae:{folder}")
    assert "\n" not in str(raised.value)
    assert not Path("opened").exists()


def test_without_pythae_a_sentence_says_how_to_install_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pythae", None)
    with pytest.raises(UserError, match=r"needs pythae .* Type: pip install 'lvm-bench\[pythae\]'"):
        sources.opened(f"pythae:{folder}")


def test_images_of_another_shape_are_told(folder: Path) -> None:
    import numpy as np

    with pytest.raises(UserError, match=r"is made for images of 1x8x8 \(c, h, w\); the data have 1x6x6"):
        lvm_bench.evaluate(sources.opened(f"pythae:{folder}"), np.zeros((60, 1, 6, 6), np.uint8), metrics=["mse"])
