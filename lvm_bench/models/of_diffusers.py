"""Autoencoders that diffusers saved: diffusers:FOLDER. Their weights are safetensors; pickles are not opened."""

import math
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lvm_bench.errors import UserError, did_you_mean
from lvm_bench.modelling.posteriors import Gaussian
from lvm_bench.models.saved import settings_in
from lvm_bench.text import of_error, setting_text, shortened

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"

INSTALL = "pip install 'lvm-bench[diffusers]'"

CLASSES = ("AutoencoderKL", "AutoencoderTiny", "VQModel")

_TOLD = ("_diffusers_version", "scaling_factor", "shift_factor", "latents_mean", "latents_std", "num_vq_embeddings")


class OfDiffusers(nn.Module):
    """An autoencoder of diffusers, as `Adapted` takes it: images in [-1, 1], latents shifted and scaled as it says.

    AutoencoderKL has a Gaussian posterior and is compared with N(0, I), which its KL term names. The latents of
    VQModel are those of its codebook; it and AutoencoderTiny have no prior.
    """

    value_range = (-1, 1)
    shift: Tensor
    spread: Tensor

    def __init__(self, folder: str, model: Any, config: dict[str, Any]):
        super().__init__()
        self.name, self.kind = f"diffusers:{folder}", config["_class_name"]
        self.model: Any = model
        self.scale = float(config.get("scaling_factor") or 1)
        shift, mean, std = (config.get(key) for key in ("shift_factor", "latents_mean", "latents_std"))
        self.register_buffer("shift", _per_channel(mean if mean is not None else shift or 0.0), persistent=False)
        self.register_buffer("spread", _per_channel(1.0 if std is None else std), persistent=False)
        told = {key: setting_text(config[key]) for key in _TOLD if config.get(key) is not None}
        self.settings = {"class": self.kind, **told}
        if self.kind != "AutoencoderKL":
            self.prior = None

    def encode(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d u v"]:
        found = self.model.encode(x)
        if self.kind == "AutoencoderKL":
            return self._scaled(found.latent_dist.mean)
        return self._scaled(self.model.quantize(found.latents)[0] if self.kind == "VQModel" else found.latents)

    def decode(self, z: Float[Tensor, "b d u v"]) -> Float[Tensor, "b c h w"]:
        return self.model.decode(z / self.scale * self.spread + self.shift).sample

    def posterior(self, x: Float[Tensor, "b c h w"]) -> Gaussian | None:
        """q(z|x) of the scaled latents, where the model has one."""
        if self.kind != "AutoencoderKL":
            return None
        found = self.model.encode(x).latent_dist
        return Gaussian(self._scaled(found.mean), found.logvar + 2 * (math.log(self.scale) - self.spread.log()))

    def _scaled(self, latents: Float[Tensor, "b d u v"]) -> Float[Tensor, "b d u v"]:
        return (latents - self.shift) / self.spread * self.scale


def _per_channel(value: float | list[float]) -> Float[Tensor, "1 d 1 1"]:
    return torch.tensor(value, dtype=torch.float32).reshape(1, -1, 1, 1)


def opened(folder: str) -> OfDiffusers:
    """The autoencoder in a folder that `save_pretrained` wrote. UserError with what to do where it cannot be read."""
    config = _config(Path(folder))
    if not (Path(folder) / WEIGHTS).is_file():
        pickled = [file.name for pattern in ("*.bin", "*.pt", "*.ckpt") for file in Path(folder).glob(pattern)]
        is_pickle = f" {pickled[0]} is a pickle, and is not opened, since it may run any code." if pickled else ""
        raise UserError(
            f"{folder}: has no {WEIGHTS}.{is_pickle} Save the model with save_pretrained(FOLDER, "
            "safe_serialization=True)."
        )
    try:
        import diffusers
    except ImportError as error:
        raise UserError(f"--model diffusers:{folder}: needs diffusers ({error}). Type: {INSTALL}") from error
    try:
        model, told = getattr(diffusers, config["_class_name"]).from_pretrained(
            folder, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False, output_loading_info=True
        )
        if lacking := [key for kind in ("missing_keys", "mismatched_keys", "unexpected_keys") for key in told[kind]]:
            raise ValueError(f"its weights do not fit: {', '.join(map(str, lacking[:3]))}")
    except Exception as error:
        saved_by = config.get("_diffusers_version", "which its config.json does not tell")
        advice = f"Install the version that saved it, {saved_by}."
        raise UserError(
            f"{folder}: cannot be read by diffusers {diffusers.__version__}, which is installed "
            f"({shortened(of_error(error))}). "
            f"{'Save the model again.' if saved_by == diffusers.__version__ else advice}"
        ) from error
    return OfDiffusers(folder, model, config)


def files(folder: str) -> list[Path]:
    """The settings and the weights of the model."""
    return [Path(folder) / CONFIG, Path(folder) / WEIGHTS]


def _config(folder: Path) -> dict[str, Any]:
    """The content of config.json. UserError where a folder has none, or that of another class."""
    found = settings_in(
        folder / CONFIG,
        "Give the folder that `save_pretrained` wrote of an autoencoder; of a whole pipeline, its folder `vae`.",
    )
    kind = str(found.get("_class_name")) if isinstance(found, dict) else ""
    if kind not in CLASSES:
        raise UserError(f"{folder / CONFIG}: is of the class {kind!r}.{did_you_mean(kind, CLASSES)}")
    return found
