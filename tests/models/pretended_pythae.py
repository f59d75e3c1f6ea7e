"""What stands in for `pythae.models` where pythae is not installed: its VAE and AE, and how they are saved."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class VAEConfig:
    input_dim: tuple[int, int, int]
    latent_dim: int = 4
    reconstruction_loss: str = "mse"
    uses_default_encoder: bool = True
    uses_default_decoder: bool = True

    @classmethod
    def from_dict(cls, known: dict[str, Any]) -> Any:
        return cls(**known)


@dataclass
class AEConfig(VAEConfig):
    pass


class Output(dict[str, Tensor]):
    __getattr__ = dict.__getitem__


class Encoder(nn.Module):
    def __init__(self, config: VAEConfig, heads: tuple[str, ...]):
        super().__init__()
        size = torch.Size(config.input_dim).numel()
        self.layers = nn.ModuleDict({head: nn.Linear(size, config.latent_dim) for head in heads})

    def forward(self, x: Tensor) -> Output:
        return Output({head: layer(x.flatten(1)) for head, layer in self.layers.items()})


class Decoder(nn.Module):
    def __init__(self, config: VAEConfig):
        super().__init__()
        self.shape = config.input_dim
        self.layer = nn.Linear(config.latent_dim, torch.Size(config.input_dim).numel())

    def forward(self, z: Tensor) -> Output:
        return Output(reconstruction=self.layer(z).sigmoid().reshape(-1, *self.shape))


class VAE(nn.Module):
    heads: tuple[str, ...] = ("embedding", "log_covariance")

    def __init__(self, model_config: VAEConfig, encoder: nn.Module | None = None):
        super().__init__()
        model_config.uses_default_encoder = encoder is None
        self.config = model_config
        self.encoder = encoder or Encoder(model_config, self.heads)
        self.decoder = Decoder(model_config)

    def save(self, folder: str) -> None:
        Path(folder).mkdir()
        said = {"name": type(self.config).__name__, **asdict(self.config)}
        (Path(folder) / "model_config.json").write_text(json.dumps(said))
        (Path(folder) / "environment.json").write_text('{"name": "EnvironmentConfig", "python_version": "3.11"}')
        torch.save({"model_state_dict": self.state_dict()}, Path(folder) / "model.pt")


class AE(VAE):
    heads = ("embedding",)
