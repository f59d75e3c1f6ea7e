"""pythae's models with our networks, trained by pythae's trainers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import (
    RAE_L2,
    VAE,
    WAE_MMD,
    Adversarial_AE,
    Adversarial_AE_Config,
    BetaTCVAE,
    BetaTCVAEConfig,
    RAE_L2_Config,
    VAEConfig,
    WAE_MMD_Config,
)
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseDiscriminator, BaseEncoder
from pythae.trainers import (
    AdversarialTrainer,
    AdversarialTrainerConfig,
    BaseTrainer,
    BaseTrainerConfig,
    CoupledOptimizerTrainer,
    CoupledOptimizerTrainerConfig,
)
from pythae.trainers.training_callbacks import TrainingCallback
from torch import Tensor, nn

from lvm_bench.modelling.contract import Method


class Encoder(BaseEncoder):
    """Our encoder. The log-variance is 0 if the encoder has no head for it, and is then not used."""

    def __init__(self, network: nn.Module, heads: int):
        super().__init__()
        self.network, self.heads = network, heads

    def forward(self, x: Tensor) -> ModelOutput:
        out = self.network(x)
        mean, log_variance = out.chunk(2, dim=1) if self.heads == 2 else (out, torch.zeros_like(out))
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """Our decoder with the sigmoid."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=torch.sigmoid(self.network(z)))


class Discriminator(BaseDiscriminator):
    """Our discriminator with a sigmoid, because pythae's loss takes probabilities."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(embedding=torch.sigmoid(self.network(z)))


def model_of(method: Method) -> nn.Module:
    """pythae's model with the objective of our method, on the same networks."""
    parts = {"encoder": Encoder(method.encoder, method.heads), "decoder": Decoder(method.decoder)}
    sizes = {"input_dim": method.spec.shape, "latent_dim": method.spec.latent}
    settings: Any = method
    match type(method).__name__:
        case "VAE":
            return VAE(VAEConfig(**sizes), **parts)
        case "BetaTCVAE":
            return BetaTCVAE(BetaTCVAEConfig(**sizes, beta=settings.beta, use_mss=False), **parts)
        case "RAE":
            return RAE_L2(RAE_L2_Config(**sizes, embedding_weight=1e-3), **parts)
        case "AAE":
            config = Adversarial_AE_Config(
                **sizes,
                adversarial_loss_scale=settings.beta,
                reconstruction_loss_scale=settings.recon_scale,
                deterministic_posterior=True,
            )
            return Adversarial_AE(config, **parts, discriminator=Discriminator(settings.adversary))
        case "WAEMMD":
            config = WAE_MMD_Config(**sizes, reg_weight=settings.beta, reconstruction_loss_scale=settings.recon_scale)
            return WAE_MMD(config, **parts)
    raise AssertionError(f"pythae has no {type(method).__name__}")


class Steps(TrainingCallback):
    """Calls back after each step."""

    def __init__(self, call: Callable[[], object]):
        self.call = call

    def on_train_step_end(self, training_config: BaseTrainerConfig, **_: Any) -> None:
        self.call()


def epoch_of(
    model: nn.Module, images: Tensor, batch_size: int, rate: float, folder: Path, after_step: Callable[[], object]
) -> Callable[[], object]:
    """One pass over the images by pythae's trainer for the model."""
    common = {"output_dir": str(folder), "per_device_train_batch_size": batch_size, "no_cuda": True}
    if isinstance(model, Adversarial_AE):
        trainer_of: Any = AdversarialTrainer
        config = AdversarialTrainerConfig(**common, autoencoder_learning_rate=rate, discriminator_learning_rate=rate)
    elif isinstance(model, RAE_L2):  # two optimisers, because only the decoder has weight decay
        trainer_of = CoupledOptimizerTrainer
        config = CoupledOptimizerTrainerConfig(
            **common,
            encoder_learning_rate=rate,
            decoder_learning_rate=rate,
            decoder_optimizer_params={"weight_decay": 1e-7},
        )
    else:
        trainer_of = BaseTrainer
        config = BaseTrainerConfig(**common, learning_rate=rate)
    dataset = BaseDataset(images, torch.zeros(len(images)))
    trainer = trainer_of(model, dataset, training_config=config, callbacks=[Steps(after_step)])
    trainer.prepare_training()
    return lambda: trainer.train_step(1)
