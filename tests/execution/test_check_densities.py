"""`check` holds draws against the densities that a method tells: of its prior, of its posterior."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lvm_bench.execution.check import encodes_the_mean, verdict
from lvm_bench.execution.check_case import case
from lvm_bench.execution.check_densities import (
    likelihood_is_of_each_image,
    posterior_has_its_density,
    prior_has_its_density,
)
from lvm_bench.registry import METHODS

METHOD = '''"""Dense."""
import math
from typing import NamedTuple
import torch
from torch import Tensor
from lvm_bench import Method, method
from lvm_bench.losses import sse


class Laplace(NamedTuple):
    mean: Tensor
    scale: Tensor

    @property
    def variance(self):
        return 2 * self.scale.square()

    def sample(self, draw):
        u = draw(lambda own: torch.rand(self.mean.shape, generator=own)).to(self.mean.dtype) - 0.5
        return self.mean - self.scale * u.sign() * torch.log1p(-2 * u.abs())

    def log_prob(self, z):
        return -(z - self.mean).abs() / self.scale - (2 * self.scale).log()


@method("mine-dense")
class Mine(Method):
    heads = 2
    target_variance = 1 / 12

    def posterior(self, x):
        mean, raw = self.encoder(x).chunk(2, dim=1)
        return Laplace(mean, raw.exp())

    def losses(self, x):
        z = self.posterior(x).sample(self.draw)
        recon = sse(x, self.decode(z)).mean()
        return {"loss": recon, "recon": recon}

    def prior(self, n):
        return self.draw(lambda own: torch.rand(n, self.spec.latent, generator=own))

    def log_prior(self, z):
        return torch.where((z >= 0) & (z < 1), 0.0, -math.inf).sum(1)
'''


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """The file of the method, in which a text is replaced."""
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))

    def write(before: str = "", after: str = "") -> Path:
        assert before in METHOD
        file = tmp_path / "mine.py"
        file.write_text(METHOD.replace(before, after))
        return file

    return write


def test_a_posterior_and_a_prior_of_ones_own_pass(changed: Callable[..., Path]) -> None:
    made = case("mine-dense", (changed(),))
    assert [verdict(each, made) for each in (prior_has_its_density, posterior_has_its_density)] == [None, None]


@pytest.mark.parametrize(
    ("check", "before", "after", "told"),
    [
        (prior_has_its_density, "torch.rand(n, self.spec.latent, generator=own)",
         "torch.rand(n, self.spec.latent, generator=own) ** 2",
         "draws of prior() do not follow log_prior along axis 0"),
        (prior_has_its_density, "-math.inf).sum(1)", "-math.inf)",
         "log_prior(z) has shape (1000, 8), not (1000,): [b]"),
        (prior_has_its_density, "0.0, -math.inf).sum(1)", "2.0, -math.inf).sum(1)",
         "log_prior is off by about 16 nats"),
        (prior_has_its_density, "    heads = 2",
         "    heads = 2\n    samplers = ('prior', 'other')\n\n    def other(self, n):\n        return self.noise(n, 3)",
         "other(7) gave codes of shape (7, 3); give (7, 8)."),
        (posterior_has_its_density, "self.scale * u.sign()", "2 * self.scale * u.sign()",
         "draws of the posterior do not follow its log_prob"),
        (posterior_has_its_density, "(2 * self.scale).log()", "self.scale.log()", "has an integral 1 off 1"),
        (encodes_the_mean, "return Laplace(mean, raw.exp())", "return mean, raw",
         "posterior(x) of Mine returned a tuple, which is no posterior"),
    ],
)  # fmt: skip
def test_a_density_that_is_not_that_of_the_draws_is_found(
    check: Callable[..., None], before: str, after: str, told: str, changed: Callable[..., Path]
) -> None:
    found = verdict(check, case("mine-dense", (changed(before, after),)))
    assert found is not None
    assert told in found
    assert "mine.py, line " in found


LIKELIHOOD = """    def log_likelihood(self, x, z):
        return {}

    def losses"""


def test_a_likelihood_of_ones_own_passes(changed: Callable[..., Path]) -> None:
    own = LIKELIHOOD.format("-sse(x, self.decode(z))")
    assert verdict(likelihood_is_of_each_image, case("mine-dense", (changed("    def losses", own),))) is None


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("-sse(x, self.decode(z)).mean()", "log_likelihood(x, z) has shape (), not (100,): [b]"),
        ("-sse(x, self.decode(z)) / 0", "log_likelihood(x, z) is not finite on the first batch"),
        ("sse(x, self.decode(z)) - sse(x, self.decode(z)).mean()", "is another among other images"),
    ],
)
def test_a_likelihood_that_is_not_of_each_image_is_found(body: str, told: str, changed: Callable[..., Path]) -> None:
    made = case("mine-dense", (changed("    def losses", LIKELIHOOD.format(body)),))
    found = verdict(likelihood_is_of_each_image, made)
    assert found is not None
    assert told in found
    assert "mine.py, line " in found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("    def log_prob", "    def log_something"),
        (
            "    def log_prior",
            "    def log_something",
        ),  # the class has a prior of its own, whose density is then unknown
    ],
)
def test_a_density_that_is_not_told_is_not_checked(before: str, after: str, changed: Callable[..., Path]) -> None:
    made = case("mine-dense", (changed(before, after),))
    assert [verdict(each, made) for each in (prior_has_its_density, posterior_has_its_density)] == [None, None]
