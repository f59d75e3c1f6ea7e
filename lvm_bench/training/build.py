"""A method with freshly drawn weights."""

from typing import Any

import torch

from lvm_bench.modelling import networks
from lvm_bench.modelling.contract import Method, Spec
from lvm_bench.seeding import derive, generator
from lvm_bench.training.numerics import memory_format


def build(
    cls: type[Method],
    arguments: dict[str, Any],
    spec: Spec,
    network: str,
    width: float,
    seed: int,
    device: str = "cpu",
    precision: str = "float32",
) -> Method:
    """A method with freshly drawn weights, which depend on the seed and the encoder's heads alone.

    `precision` is that of its training, which decides how the weights lie in memory.
    """
    encoder, decoder = networks.build(network, spec, cls.heads, width, generator(seed, "weights"))
    # A method may make layers of its own with torch's global generator: seed it, and leave it as it was found.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, "own weights"))
        method = cls(encoder, decoder, spec, **arguments)
    method = method.to(device)
    networks.lay_out(method, memory_format(method, device, precision))
    method.generator = generator(seed, "noise", device=device)
    return method
