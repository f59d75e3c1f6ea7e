"""What stands in for diffusers where it is not installed: three autoencoders, and how they are saved and read."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

__version__ = "0.30.0"


class _Saved(nn.Module):
    channels = 2

    def __init__(self, in_channels: int = 1, latent_channels: int = 2, scaling_factor: float = 0.5, **more: Any):
        super().__init__()
        self.config = {"in_channels": in_channels, "latent_channels": latent_channels, **more}
        self.config["scaling_factor"] = scaling_factor
        self.encoder = nn.Conv2d(in_channels, self.channels // 2 * latent_channels, 2, 2)
        self.decoder = nn.ConvTranspose2d(latent_channels, in_channels, 2, 2)

    def save_pretrained(self, folder: str, safe_serialization: bool = True) -> None:
        Path(folder).mkdir()
        said = {"_class_name": type(self).__name__, "_diffusers_version": __version__, **self.config}
        (Path(folder) / "config.json").write_text(json.dumps(said))
        if safe_serialization:
            save_file(self.state_dict(), Path(folder) / "diffusion_pytorch_model.safetensors")
        else:
            torch.save(self.state_dict(), Path(folder) / "diffusion_pytorch_model.bin")

    @classmethod
    def from_pretrained(cls, folder: str, **_: Any) -> Any:
        said = json.loads((Path(folder) / "config.json").read_text())
        model = cls(**{key: value for key, value in said.items() if not key.startswith("_")})
        weights = load_file(Path(folder) / "diffusion_pytorch_model.safetensors")
        found = model.load_state_dict(weights, strict=False)
        told = {"missing_keys": found.missing_keys, "unexpected_keys": found.unexpected_keys, "mismatched_keys": []}
        return model.eval(), told

    def decode(self, z: Tensor) -> Any:
        return SimpleNamespace(sample=self.decoder(z))


class AutoencoderKL(_Saved):
    channels = 4

    def encode(self, x: Tensor) -> Any:
        mean, logvar = self.encoder(x).chunk(2, dim=1)
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=mean, logvar=logvar))


class AutoencoderTiny(_Saved):
    def encode(self, x: Tensor) -> Any:
        return SimpleNamespace(latents=self.encoder(x))


class VQModel(AutoencoderTiny):
    def quantize(self, latents: Tensor) -> tuple[Tensor, None]:
        return latents.round(decimals=1), None
