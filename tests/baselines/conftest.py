"""Methods on networks small enough to check by hand, and on scikit-learn's digits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from lvm_bench import registry
from lvm_bench.modelling import networks
from lvm_bench.modelling.contract import Method, Spec, to_float
from lvm_bench.seeding import generator

for file in sorted((Path(__file__).parents[2] / "baselines").glob("*.py")):
    registry.load(file)

SHAPE = (1, 4, 4)


@pytest.fixture
def linear() -> Callable[..., Method]:
    """`linear("vae", beta=2.0)`: a dense encoder, a dense layer and a transposed convolution; float64."""

    def make(name: str, latent: int = 3, n_train: int = 200, likelihood: str = "sse", **arguments: Any) -> Method:
        cls = registry.METHODS[name]
        spec = Spec(SHAPE, (0.0, 1.0), latent, n_train, 10, likelihood)
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, cls.heads * latent))
        decoder = nn.Sequential(nn.Linear(latent, 8), nn.Unflatten(1, (2, 2, 2)), nn.ConvTranspose2d(2, 1, 4, 2, 1))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            networks.initialise(encoder, generator(0, "encoder"))
            networks.initialise(decoder, generator(0, "decoder"))
            method = cls(encoder, decoder, spec, **arguments).double()
        method.generator.manual_seed(0)
        single = method.noise
        method.noise = lambda *shape: single(*shape).double()
        return method

    return make


@pytest.fixture
def x() -> Tensor:
    """Six images for `linear`."""
    return torch.rand(6, *SHAPE, generator=generator(0, "x"), dtype=torch.float64)


@pytest.fixture
def replay() -> Callable[..., Tensor]:
    """`replay(shape, ...)`: the draws that a fresh method's own generator makes, in order."""

    def draw(*shapes: tuple[int, ...]) -> list[Tensor]:
        stream = torch.Generator().manual_seed(0)
        return [torch.randn(*shape, generator=stream).double() for shape in shapes]

    return draw


@pytest.fixture(scope="session")
def digits() -> Tensor:
    """scikit-learn's digits as pixels 0 to 255."""
    return torch.from_numpy(load_digits().images * 255 / 16).round().to(torch.uint8)[:, None]


@pytest.fixture
def on_digits(digits: Tensor) -> Callable[..., tuple[Method, Tensor]]:
    """`on_digits("vae", ...)`: the method on the network `digits`, and 64 images."""

    def make(name: str, **arguments: Any) -> tuple[Method, Tensor]:
        cls = registry.METHODS[name]
        spec = Spec((1, 8, 8), (0.0, 1.0), 8, 400, 64, "sse")
        encoder, decoder = networks.build("digits", spec, cls.heads, 1.0, generator(0, "weights"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            method = cls(encoder, decoder, spec, **arguments)
        method.generator.manual_seed(0)
        return method, to_float(digits[:64], (0.0, 1.0))

    return make
