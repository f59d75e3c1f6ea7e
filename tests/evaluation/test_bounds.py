"""Bounds of log p(x): against the exact likelihood of a linear-Gaussian model, and where there is none."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from lvm_bench.data.images import Data, Images
from lvm_bench.errors import RunError
from lvm_bench.evaluation.of_model import ModelEvidence
from lvm_bench.evaluation.score import evaluate, inputs_of, is_drawn
from lvm_bench.execution.check_kinds import SETTINGS
from lvm_bench.metrics import bits_per_dim, elbo, iw_bound
from lvm_bench.modelling.contract import Method, Spec
from lvm_bench.modelling.likelihoods import VARIANCES
from lvm_bench.modelling.posteriors import Epanechnikov, Gaussian, Posterior
from lvm_bench.seeding import generator
from lvm_bench.suites.job import EvaluationSettings

SHAPE, D, L = (1, 4, 4), 16, 2
BOUNDS = ["elbo", "iw_bound", "bits_per_dim"]


def settings(**changes: Any) -> EvaluationSettings:
    return SETTINGS.model_copy(update={"metrics": BOUNDS, "samples": 1000, "importance_samples": 20, **changes})


def data(n: int = 30, binary: bool = False, value_range: tuple[float, float] = (0, 1)) -> Data:
    pixels = np.random.default_rng(0).integers(0, 256, (n, *SHAPE), dtype=np.uint8)
    images = Images(np.where(pixels > 127, 255, 0).astype(np.uint8) if binary else pixels)
    return Data("noise", images, images, images, value_range, "f")


class Linear(Method):
    """x = W z + b + s e with z from N(0, v I). The columns of W are orthogonal: the axes of p(z|x) are independent."""

    heads = 2

    def __init__(self, likelihood: Any = "sse", v: float = 1.0, wider: float = 1.0, value_range: Any = (0.0, 1.0)):
        super().__init__(nn.Identity(), nn.Identity(), Spec(SHAPE, value_range, L, 100, 10, likelihood))
        self.v, self.wider, self.noise_variance = v, wider, VARIANCES.get(likelihood, math.nan)
        draws = torch.randn(D, L, generator=generator(0, "weights"), dtype=torch.float64)
        self.w = torch.linalg.qr(draws).Q * torch.tensor([2.0, 0.5], dtype=torch.float64)
        self.b = torch.full((D,), 0.4, dtype=torch.float64)

    def posterior(self, x: Tensor) -> Posterior | None:
        variance = 1 / (1 / self.v + self.w.square().sum(0) / self.noise_variance)
        mean = variance * ((x.flatten(1).double() - self.b) @ self.w) / self.noise_variance
        return self.shaped(mean, (self.wider * variance).expand_as(mean))

    def shaped(self, mean: Tensor, variance: Tensor) -> Posterior:
        return Gaussian(mean, variance.log())

    def decode(self, z: Tensor) -> Tensor:
        return (z.double() @ self.w.T + self.b).float().unflatten(1, SHAPE)

    def log_prior(self, z: Tensor) -> Tensor | None:
        return -0.5 * (z.square() / self.v + math.log(2 * math.pi * self.v)).sum(1)

    def exact(self, x: Tensor) -> float:
        """The mean of log p(x), whatever the images' scale."""
        covariance = self.v * self.w @ self.w.T + self.noise_variance * torch.eye(D, dtype=torch.float64)
        law = multivariate_normal(self.b.numpy(), covariance.numpy())
        return float(np.mean(law.logpdf(x.flatten(1).double().numpy())))


class Kernel(Linear):
    """The same with Epanechnikov posteriors, four deviations wide."""

    def shaped(self, mean: Tensor, variance: Tensor) -> Posterior:
        return Epanechnikov(mean, 4 * variance.sqrt(), torch.zeros_like(mean))


def evidence(method: Method, images: Data | None = None, **changes: Any) -> ModelEvidence:
    images = images or data(value_range=method.spec.value_range)
    return ModelEvidence(method, images, None, settings(**changes), 0, "cpu")


@pytest.mark.parametrize("k", [1, 7])
@pytest.mark.parametrize("made", [Linear(), Linear("gaussian_unit"), Linear(v=0.3), Linear(value_range=(-1.0, 1.0))])
def test_with_the_exact_posterior_every_bound_is_the_likelihood(made: Linear, k: int) -> None:
    found = evidence(made, importance_samples=k)
    low, high = made.spec.value_range
    exact = made.exact(found.observed().x) + D * math.log(high - low)
    logs = found.provide("log_weights", "heldout")
    assert logs.shape == (30, k)
    # The posteriors are those of the images before they were dequantised.
    assert [elbo(logs), iw_bound(logs)] == pytest.approx([exact, exact], abs=2e-3)
    bits = bits_per_dim(logs, found.provide("dequantised_values", "heldout"))
    assert bits == pytest.approx(-(exact - D * math.log(256)) / (D * math.log(2)), abs=1e-3)


def test_of_a_wider_proposal_the_bound_grows_with_k_up_to_the_likelihood() -> None:
    made = Linear(wider=4.0)
    found = evidence(made, data(200), importance_samples=200)
    exact, logs = made.exact(found.observed().x), found.log_weights()
    # All codes stand behind every bound, in disjoint sets of k.
    bounds = [iw_bound(logs.view(-1, k)) for k in (1, 2, 5, 20, 100, 200)]
    assert bounds == sorted(bounds)
    assert bounds[0] == pytest.approx(elbo(logs))
    assert bounds[0] < exact - 0.5
    assert bounds[-1] == pytest.approx(exact, abs=0.02)


def test_draws_of_a_kernel_weigh_up_to_the_likelihood() -> None:
    made = Kernel()
    found = evidence(made, data(200), importance_samples=200)
    assert iw_bound(found.log_weights()) == pytest.approx(made.exact(found.observed().x), abs=0.02)


def test_codes_outside_of_the_priors_support_have_no_weight() -> None:
    class Bounded(Linear):
        def log_prior(self, z: Tensor) -> Tensor:
            return torch.where(z[:, 0] > 10, 0.0, -math.inf)

    logs = evidence(Bounded()).log_weights()
    assert elbo(logs) == iw_bound(logs) == -math.inf
    assert bits_per_dim(logs, D) == math.inf
    some = torch.tensor([[0.0, -math.inf], [1.0, 1.0]])
    assert elbo(some) == -math.inf
    assert iw_bound(some) == pytest.approx((1 - math.log(2)) / 2)


def test_dequantised_images_lie_above_their_pixels_and_below_the_next() -> None:
    images = data()
    found = evidence(Linear(), images, bound_images=20).observed()
    assert found.dequantised
    assert torch.equal((found.x * 256).floor(), torch.from_numpy(images.test.pixels[:20]).float())


class Binary(Linear):
    """A Bernoulli of the decoder's logits, which are 0."""

    decode = Method.decode

    def __init__(self) -> None:
        super().__init__("bernoulli")
        self.decoder = nn.Sequential(nn.Linear(L, D), nn.Unflatten(1, SHAPE))
        for parameter in self.decoder.parameters():
            nn.init.zeros_(parameter)

    def posterior(self, x: Tensor) -> Gaussian:
        return Gaussian(torch.zeros(len(x), L), torch.zeros(len(x), L))


def test_binary_images_have_a_probability_in_nats_alone() -> None:
    found = evidence(Binary(), data(binary=True))
    assert found.observed().x.unique().tolist() == [0, 1]
    assert iw_bound(found.log_weights()) == pytest.approx(-D * math.log(2))
    assert inputs_of(found, "bits_per_dim", "heldout") is None
    assert found.absent.keys() == {"bits_per_dim.heldout"}


class Draws(NamedTuple):
    """A posterior that tells no density."""

    mean: Tensor
    variance: Tensor

    def sample(self, draw: Any) -> Tensor:
        return self.mean


def changed(**changes: Any) -> Linear:
    return type("Changed", (Linear,), changes)()


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        (changed(posterior=lambda self, x: None), "deterministic"),
        (changed(posterior=lambda self, x: Draws(x.flatten(1)[:, :L], x.flatten(1)[:, :L])), "of its posterior"),
        (changed(log_prior=lambda self, z: None), "of its prior"),
        (changed(cannot_sample="no variance is left"), "no variance is left"),
        (changed(log_likelihood=lambda self, x, z: None), "no density p(x|z)"),
        (Binary(), "'bernoulli'"),
    ],
)
def test_what_has_no_likelihood_says_why(method: Method, reason: str, tmp_path: Path) -> None:
    found = evidence(method)
    assert evaluate(found, tmp_path / "scores.json", "it") == {}
    assert {*found.absent} == {f"{name}.heldout" for name in BOUNDS}
    assert all(reason in why for why in found.absent.values())


def test_likelihoods_of_another_shape_are_refused() -> None:
    with pytest.raises(RunError, match=r"log_likelihood\(x, z\) .* one number an image"):
        evidence(changed(log_likelihood=lambda self, x, z: torch.zeros(len(x), 1))).log_weights()


def test_weights_are_drawn_from_the_seed_of_as_many_images_and_codes_as_are_set() -> None:
    first, other = evidence(Linear()), evidence(Linear())
    other.seed = 1
    assert torch.equal(evidence(Linear()).log_weights(), first.log_weights())
    assert not torch.equal(other.log_weights(), first.log_weights())
    assert evidence(Linear(), bound_images=7, importance_samples=3).log_weights().shape == (7, 3)
    assert is_drawn({"log_weights"}, "heldout")
