"""Any object with encode and decode is measured as a method is, with codes of any shape and images of any range."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import lvm_bench
from lvm_bench.errors import UserError
from lvm_bench.modelling.contract import Spec
from lvm_bench.modelling.posteriors import Gaussian
from lvm_bench.models.adapted import Adapted, check, code_shape
from lvm_bench.seeding import generator

SHAPE = (1, 8, 8)
PIXELS = np.random.default_rng(0).integers(0, 256, (60, *SHAPE), dtype=np.uint8)


class Blocks:
    """The mean of each 2x2 block as the code, [b 1 4 4]; its images are blocks of one value."""

    def encode(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x, 2)

    def decode(self, z: Tensor) -> Tensor:
        return z.repeat_interleave(2, -1).repeat_interleave(2, -2)


def spec(latent: int = 16, value_range: tuple[float, float] = (0, 1)) -> Spec:
    return Spec(SHAPE, value_range, latent, 50, 10, "sse")


def test_codes_of_any_shape_are_flat_for_estimators_and_keep_their_shape_for_decoding() -> None:
    method, x = Adapted(Blocks(), spec()), torch.rand(3, *SHAPE)
    assert code_shape(Blocks(), SHAPE) == (1, 4, 4)
    assert torch.equal(method.encode(x), Blocks().encode(x).flatten(1))
    assert torch.equal(method.decode(method.encode(x)), Blocks().decode(Blocks().encode(x)))


@given(st.tuples(st.floats(-3, 3), st.floats(0.5, 4)), st.sampled_from([(0, 1), (-1, 1)]))
def test_a_model_sees_images_in_its_own_range(own: tuple[float, float], of_data: tuple[float, float]) -> None:
    low, high = own[0], own[0] + own[1]

    class Identity:
        value_range = (low, high)

        def encode(self, x: Tensor) -> Tensor:
            assert low - 1e-5 <= float(x.min()) <= float(x.max()) <= high + 1e-5
            return x

        def decode(self, z: Tensor) -> Tensor:
            return z

    begin, end = of_data
    x = torch.rand(2, *SHAPE, generator=generator(0, "images")) * (end - begin) + begin
    method = Adapted(Identity(), spec(64, of_data))
    torch.testing.assert_close(method.decode(method.encode(x)), x, atol=1e-5, rtol=0)
    check(Identity(), x, of_data)


def test_the_scores_of_a_model_that_loses_nothing_and_of_one_that_averages_are_known() -> None:
    class Same(Blocks):
        def encode(self, x: Tensor) -> Tensor:
            return x

        def decode(self, z: Tensor) -> Tensor:
            return z

    metrics = ["mse", "sse"]
    none = lvm_bench.evaluate(Same(), PIXELS, train=PIXELS, metrics=metrics)
    assert max(none.values()) < 1e-12
    found = lvm_bench.evaluate(Blocks(), PIXELS, train=PIXELS, metrics=metrics)
    x = PIXELS / 255
    means = x.reshape(60, 1, 4, 2, 4, 2).mean((3, 5)).repeat(2, 2).repeat(2, 3)
    assert found["mse.heldout"] == pytest.approx(((x - means) ** 2).mean(), rel=1e-6)
    assert found["sse.train"] == pytest.approx(((x - means) ** 2).sum((1, 2, 3)).mean(), rel=1e-6)


def test_without_training_images_a_sixth_is_held_out() -> None:
    found = lvm_bench.evaluate(Blocks(), PIXELS, metrics=["mse"])
    assert {*found} == {"mse.train", "mse.heldout"}
    assert found["mse.train"] != found["mse.heldout"]


class WithPrior(Blocks):
    target_variance = 4.0

    def prior(self, n: int) -> Tensor:
        return 2 * torch.randn(n, 1, 4, 4)


class WithoutPrior(Blocks):
    prior = None


def test_the_prior_is_normal_unless_the_model_says_otherwise() -> None:
    normal, own, none = (Adapted(model(), spec()) for model in (Blocks, WithPrior, WithoutPrior))
    assert (normal.target_variance, own.target_variance) == (1.0, 4.0)
    assert own.log_prior(torch.zeros(2, 16)) is None
    assert normal.log_prior(torch.zeros(1, 16)) == pytest.approx(-8 * math.log(2 * math.pi))
    assert none.cannot_sample == "this model declares no prior"
    before = torch.get_rng_state()
    draws = []
    for _ in range(2):
        own.generator.manual_seed(7)
        draws.append(own.prior(4000))
    assert torch.equal(*draws)
    assert torch.equal(torch.get_rng_state(), before)
    assert draws[0].shape == (4000, 16)
    assert float(draws[0].var()) == pytest.approx(4, rel=0.03)


def test_samples_and_latent_scores_are_left_out_of_a_model_without_a_prior() -> None:
    metrics = ["mse", "gaussian_kl", "sharpness", "collapsed_variance"]
    keys = {*lvm_bench.evaluate(Blocks(), PIXELS, metrics=metrics)}
    without = {*lvm_bench.evaluate(WithoutPrior(), PIXELS, metrics=metrics)}
    assert "sharpness.fake" in keys - without
    assert {"mse.heldout", "collapsed_variance.mean"} <= without


def test_a_posterior_is_flat_too() -> None:
    class Stochastic(Blocks):
        def posterior(self, x: Tensor) -> Gaussian:
            mu = self.encode(x)
            return Gaussian(mu, torch.zeros_like(mu))

    x = torch.rand(2, *SHAPE)
    found = Adapted(Stochastic(), spec()).posterior(x)
    assert torch.equal(found.mean, Blocks().encode(x).flatten(1))
    assert Adapted(Blocks(), spec()).posterior(x) is None


def test_the_modules_of_a_model_are_moved_kept_and_counted() -> None:
    class Wrapped(Blocks):
        def __init__(self) -> None:
            self.net = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(1, 1, 1))

        def encode(self, x: Tensor) -> Tensor:
            return super().encode(self.net(x))

    class Whole(nn.Module, Blocks):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Conv2d(1, 1, 1)

    for model, names in (
        (Wrapped(), ["parts.0.1.weight", "parts.0.1.bias"]),
        (Whole(), ["parts.0.net.weight", "parts.0.net.bias"]),
        (Blocks(), []),
    ):
        method = Adapted(model, spec())
        assert sorted(method.state_dict()) == sorted(names)
        assert not any(p.requires_grad for p in method.parameters())
        x = torch.rand(2, *SHAPE)
        assert torch.equal(method.encode(x), method.encode(x))  # without dropout


def changed(**functions: Any) -> Any:
    return type("Broken", (Blocks,), {name: staticmethod(own) for name, own in functions.items()})()


def raising(x: Tensor) -> Tensor:
    raise RuntimeError("no such size")


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (changed(decode=lambda z: z), r"decode of shape \(10, 1, 4, 4\) gave shape \(10, 1, 4, 4\); expected"),
        (changed(decode=lambda z: 255 * Blocks().decode(z)), r"values from .* to 2.., and its value range is 0 to 1"),
        (changed(decode=lambda z: Blocks().decode(z) / 0), "decode gave values that are not finite"),
        (changed(encode=lambda x: x[:1]), r"encode\(x\) of 2 images gave shape \(1, 1, 8, 8\)"),
        (changed(encode=lambda x: x.flatten(1)[:, :1]), "a code of 2 to 16,384 numbers"),
        (changed(encode=lambda x: (x, x)), "encode returned a tuple, not a tensor"),
        (changed(encode=raising), r"encode of shape \(2, 1, 8, 8\) raised RuntimeError: no such size"),
        (object(), "object: has no function encode"),
        (Blocks, r"Blocks: is a class. Give an object of it, such as Blocks\(\)"),
        (
            type("Large", (Blocks,), {"shape": (3, 64, 64)})(),
            r"made for images of 3x64x64 \(c, h, w\); the data have 1",
        ),
    ],
)
def test_a_model_that_cannot_be_measured_is_told_in_a_sentence(model: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        lvm_bench.evaluate(model, PIXELS, metrics=["mse"])


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            lambda: lvm_bench.evaluate(Blocks(), PIXELS / 255),
            r"images are float64 of shape .*\. Give uint8 \[n c h w\]",
        ),
        (lambda: lvm_bench.evaluate(Blocks(), PIXELS, train=PIXELS[:, :, 1:]), r"images are \(1, 8, 8\) \(c, h, w\)"),
        (lambda: lvm_bench.evaluate(Blocks(), PIXELS, metrics=["msee"]), "Unknown metric 'msee'. Did you mean 'mse'"),
        (lambda: lvm_bench.evaluate(Blocks(), PIXELS, samples=1), "samples: input should be greater than or equal"),
        (lambda: lvm_bench.evaluate(Blocks(), PIXELS, sample=9), "Unknown setting 'sample'. Did you mean 'samples'"),
        (lambda: lvm_bench.evaluate(Blocks(), PIXELS, metrics="sse"), "metrics: 'sse' is no list. Give one, such as"),
        (lambda: lvm_bench.evaluate(Blocks(), PIXELS[:4]), "too few to split a sixth off"),
        (lambda: lvm_bench.evaluate(Blocks(), PIXELS, metrics=["mse"], extractor="x"), "Unknown feature extractor 'x'"),
    ],
)
def test_what_cannot_be_measured_with_is_told_in_a_sentence(call: Callable[[], object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        call()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("frechet", "give an extractor, which it needs"),
        ("mig", "it asks for grid_codes: the codes of every combination of factors"),
        ("elbo", "its codes are deterministic"),
        ("ms_ssim", "images of 161 pixels or more along a side are needed"),
    ],
)
def test_a_metric_that_was_named_and_has_no_score_is_warned_of_with_the_reason(name: str, reason: str) -> None:
    with pytest.warns(UserWarning, match=f"^{name} has no score: .*{reason}") as told:
        found = lvm_bench.evaluate(Blocks(), PIXELS, train=PIXELS, metrics=["mse", name])
    assert {*found} == {"mse.train", "mse.heldout"}
    assert [warning.filename for warning in told] == [__file__]


def test_a_code_of_another_size_than_the_run_has_is_told() -> None:
    with pytest.raises(UserError, match="its codes have 16 numbers, and the latent size is 8"):
        Adapted(Blocks(), spec(8))
