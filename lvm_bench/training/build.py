"""Building a method: its networks, its first weights and its generator."""

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
    """A method with fresh weights. Those of its networks depend on seed, spec and heads, not on `arguments`.

    `precision` is the precision of its training, which decides the memory format of the weights.
    """
    encoder, decoder = networks.build(network, spec, cls.heads, width, generator(seed, "weights"))
    # A method may draw layers of its own from torch's global generator: seed it here and restore it afterwards.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, "own weights"))
        method = cls(encoder, decoder, spec, **arguments)
    method = method.to(device)
    networks.set_memory_format(method, memory_format(method, device, precision))
    method.generator = generator(seed, "noise", device=device)
    return method
