"""Models that pythae saved: pythae:FOLDER. Their weights are read as tensors alone, and no pickle is opened."""

import pickle
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lvm_bench.errors import UserError
from lvm_bench.modelling.posteriors import Gaussian
from lvm_bench.models.saved import settings_in
from lvm_bench.text import of_error, setting_text, shortened

CONFIG, WEIGHTS = "model_config.json", "model.pt"

SINCE = "0.1"  # the version from which on the settings name their model

INSTALL = "pip install 'lvm-bench[pythae]'"

OWN_FILE = "Wrap the model in a class with encode(x) and decode(z), and give --model FILE.py:NAME."

# Whose codes are those of its encoder alone. Others send them through flows, codebooks or chains first.
WITH_PRIOR = (
    "Adversarial_AE", "BetaTCVAE", "BetaVAE", "CIWAE", "DisentangledBetaVAE", "FactorVAE", "INFOVAE_MMD", "IWAE",
    "MIWAE", "MSSSIM_VAE", "PIWAE", "VAE", "VAEGAN", "WAE_MMD",
)  # fmt: skip

WITHOUT_PRIOR = ("AE", "RAE_GP", "RAE_L2")


class OfPythae(nn.Module):
    """A model of pythae, as `Adapted` takes it: images in [0, 1], codes of its encoder, N(0, I) unless it has none."""

    def __init__(self, folder: str, model: Any, config: dict[str, Any]):
        super().__init__()
        self.name = f"pythae:{folder}"
        self.model: Any = model
        self.shape = tuple(config["input_dim"])
        self.settings = {key: setting_text(value) for key, value in config.items() if not key.startswith("uses_")}
        if _class_of(config) in WITHOUT_PRIOR:
            self.prior = None

    def encode(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b l"]:
        return self.model.encoder(x).embedding

    def decode(self, z: Float[Tensor, "b l"]) -> Float[Tensor, "b c h w"]:
        return self.model.decoder(z).reconstruction

    def posterior(self, x: Float[Tensor, "b c h w"]) -> Gaussian | None:
        """q(z|x) where the encoder gives a variance."""
        found = self.model.encoder(x)
        return Gaussian(found.embedding, found.log_covariance) if "log_covariance" in found else None


def opened(folder: str) -> OfPythae:
    """The model in a folder that pythae's `save` wrote. UserError with what to do where it cannot be read."""
    config = _config(Path(folder))
    if pickled := [key for key, is_default in config.items() if key.startswith("uses_default_") and not is_default]:
        parts = ", ".join(key.removeprefix("uses_default_") for key in pickled)
        raise UserError(
            f"{folder}: its {parts} is of its author's own, which pythae keeps as a pickle. No pickle is opened here, "
            f"since it may run any code. {OWN_FILE}"
        )
    name = _class_of(config)
    if name not in (*WITH_PRIOR, *WITHOUT_PRIOR):
        raise UserError(f"{folder}: is a {name} of pythae, whose codes are not those of its encoder alone. {OWN_FILE}")
    weights = _weights(Path(folder))
    try:
        from pythae import models
    except ImportError as error:
        raise UserError(f"--model pythae:{folder}: needs pythae ({error}). Type: {INSTALL}") from error
    try:
        model = getattr(models, name)(_known(getattr(models, config["name"]), config))
        model.load_state_dict(weights)
    except Exception as error:
        raise UserError(
            f"{folder}: was saved by another version of pythae than {version('pythae')}, which is installed "
            f"({shortened(of_error(error))}). Install the version that saved it. Or: {OWN_FILE}"
        ) from error
    return OfPythae(folder, model, config)


def files(folder: str) -> list[Path]:
    """The settings and the weights of the model."""
    return [Path(folder) / CONFIG, Path(folder) / WEIGHTS]


def _config(folder: Path) -> dict[str, Any]:
    """The content of model_config.json. UserError where a folder has none, or one that pythae never wrote."""
    found = settings_in(folder / CONFIG, "Give a folder that pythae's `model.save` wrote.")
    if not isinstance(found, dict) or not isinstance(found.get("name"), str) or not _is_shape(found.get("input_dim")):
        raise UserError(
            f"{folder / CONFIG}: says no `name` of a model and no `input_dim` (c, h, w), as pythae {SINCE} and later "
            f"write them. {OWN_FILE}"
        )
    return found


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(size) is int and size > 0 for size in value)


def _class_of(config: dict[str, Any]) -> str:
    """The class of a model, from the name of its settings: VAEConfig, RAE_L2_Config."""
    return config["name"].removesuffix("Config").removesuffix("_")


def _weights(folder: Path) -> dict[str, Tensor]:
    """The tensors in model.pt. UserError where it holds anything else."""
    file = folder / WEIGHTS
    try:
        with warnings.catch_warnings(action="ignore"):  # about what a pickle that is refused looks like
            found = torch.load(file, map_location="cpu", weights_only=True)
        return found["model_state_dict"]
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}). Save the model again.") from error
    except (RuntimeError, ValueError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{file}: is a pickle of something else than weights, and is not opened, since it may run any code. "
            f"{OWN_FILE}"
        ) from error


def _known(config_class: Any, config: dict[str, Any]) -> Any:
    """The settings as pythae's own class. ValueError for one that this version does not know, which it would ignore."""
    own = {key: value for key, value in config.items() if key != "name"}
    if unknown := own.keys() - config_class.__dataclass_fields__.keys():
        raise ValueError(f"unknown {', '.join(sorted(unknown))}")
    return config_class.from_dict(own)
