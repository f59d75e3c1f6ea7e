"""The network of LPIPS with its weights, or with random ones."""

from pathlib import Path

import torch

from lvm_bench import disk
from lvm_bench.data.files import LPIPS_WEIGHTS, require
from lvm_bench.evaluation.features import weights_of
from lvm_bench.metrics.perceptual import Perceptual

_PLACES = (0, 3, 6, 8, 10)  # of the convolutions among the layers of torchvision's AlexNet


def perceptual(root: Path, device: str) -> Perceptual:
    """AlexNet of torchvision with the v0.1 weights of the lpips package. UserError where a file is missing."""
    alexnet, linear = (weights_of(file, "lpips") for file in require("lpips", root))
    state = {f"shares.{place}": linear[f"lin{place}.model.1.weight"].flatten() for place in range(len(_PLACES))}
    for place, layer in enumerate(_PLACES):
        state |= {f"convolutions.{place}.{key}": alexnet[f"features.{layer}.{key}"] for key in ("weight", "bias")}
    network = untrained_perceptual(device)
    network.load_state_dict(state)
    return network


def facts() -> dict[str, str]:
    """What a protocol says of the network of LPIPS: its recipe, and the checksum of its weights."""
    weights = disk.digest([file.checksum for file in LPIPS_WEIGHTS])
    return {"recipe": "LPIPS v0.1 with AlexNet", "weights": weights}


def untrained_perceptual(device: str) -> Perceptual:
    """The network with weights that torch draws: as fast as with its own, and of no other use."""
    with torch.random.fork_rng(devices=[]):
        return Perceptual().to(device)
