"""Building a method: its networks, its first weights and its generator."""

from typing import Any

import torch

from lvm_bench.modelling import networks
from lvm_bench.modelling.contract import Method, Spec
from lvm_bench.seeding import derive, generator
from lvm_bench.suites.job import Streams
from lvm_bench.training.numerics import memory_format
from lvm_bench.training.stages import check_declared


def build(
    cls: type[Method],
    arguments: dict[str, Any],
    spec: Spec,
    network: str,
    width: float,
    seed: int,
    device: str = "cpu",
    precision: str = "float32",
    streams: Streams = "single",
) -> Method:
    """A method with fresh weights. Those of its networks depend on seed, spec and heads, not on `arguments`.

    With `streams` "paired" they do not depend on heads either, see `paired`. `precision` is the precision of its
    training, which decides the memory format of the weights. RunError where what the class declares is not there.
    """
    if streams == "paired":
        encoder, decoder = paired(network, spec, cls.heads, width, seed)
    else:
        encoder, decoder = networks.build(network, spec, cls.heads, width, generator(seed, "weights"))
    # A method may draw layers of its own from torch's global generator: seed it here and restore it afterwards.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, "own weights"))
        method = cls(encoder, decoder, spec, **arguments)
    method = method.to(device)
    networks.set_memory_format(method, memory_format(method, device, precision))
    method.generator = generator(seed, "noise", device=device)
    check_declared(method)
    return method


def paired(name: str, spec: Spec, heads: int, width: float, seed: int) -> networks.Pair:
    """The networks called `name`, whose trunk, first head and decoder have the same first weights for any `heads`.

    They are those of networks with one head. The rows of each further head are those of another encoder with one
    head. Each of these encoders and the decoder draw from a stream of their own. Raises what `networks.build` raises.
    """

    def drawn(part: str, heads: int = 1) -> networks.Pair:
        return networks.build(name, spec, heads, width, generator(seed, "weights", part))

    encoder, decoder = drawn("encoder")[0], drawn("decoder")[1]
    if heads == 1:
        return encoder, decoder
    ones = [encoder.state_dict(), *(drawn(f"head {i}")[0].state_dict() for i in range(2, heads + 1))]
    joined = drawn("heads", heads)[0]
    for key, value in joined.state_dict().items():
        parts = [own.get(key, value) for own in ones]  # a weight that an encoder with one head has not stays as drawn
        if parts[0].shape == value.shape:
            value.copy_(parts[0])
        elif parts[0].ndim and value.shape == (heads * len(parts[0]), *parts[0].shape[1:]):
            value.copy_(torch.cat(parts))
    return joined, decoder
