"""Every metric refuses bad arrays in a sentence; metrics are registered and listed."""

import numpy as np
import pytest
import torch

from lvm_bench import metrics
from lvm_bench.errors import UserError
from lvm_bench.metrics.arrays import MetricInfo, check_same_shape, images, matrix, metric
from lvm_bench.registry import METRICS
from lvm_bench.suites import bench_toml
from lvm_bench.suites.discover import extensions

LATENT = ["gaussian_kl", "whitened_entropy", "collapsed_variance", "mmd"]


def test_numpy_and_torch_and_float32_give_the_same_matrix():
    values = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    ours = matrix(values, "codes", "kl")
    assert ours.dtype == torch.float64
    assert torch.equal(ours, matrix(torch.from_numpy(values).requires_grad_(), "codes", "kl"))
    np.testing.assert_array_equal(ours.numpy(), values)


def test_codes_with_nan_name_the_metric_and_the_number_of_rows():
    codes = torch.zeros(10, 3)
    codes[2, 0] = codes[2, 1] = torch.nan
    codes[7, 2] = torch.inf
    with pytest.raises(UserError, match=r"^kl: codes has NaN or infinite values in 2 of 10 rows; .*\.$"):
        matrix(codes, "codes", "kl")


@pytest.mark.parametrize("name", LATENT)
def test_every_latent_metric_refuses_codes_with_nan(name):
    codes = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    codes[3, 1] = torch.nan
    with pytest.raises(UserError, match=rf"^{name}: codes has NaN or infinite values in 1 of 20 rows"):
        getattr(metrics, name)(codes)


@pytest.mark.parametrize("name", LATENT)
def test_every_latent_metric_refuses_a_single_code(name):
    with pytest.raises(UserError, match=rf"^{name}: codes has 1 samples, and 2 or more are needed"):
        getattr(metrics, name)(torch.zeros(1, 2))


@pytest.mark.parametrize("shape", [(10,), (10, 0), (2, 3, 4)])
def test_codes_of_another_shape_are_refused_with_it(shape):
    with pytest.raises(UserError, match=r"one row per sample"):
        matrix(torch.zeros(shape), "codes", "kl")


def test_images_are_refused_with_the_number_of_broken_ones():
    pixels = np.zeros((4, 1, 3, 3), dtype=np.float32)
    pixels[1, 0, 2, 2] = np.nan
    with pytest.raises(UserError, match=r"^mse: recon has NaN or infinite values in 1 of 4 images"):
        images(pixels, "recon", "mse")
    with pytest.raises(UserError, match=r"^mse: recon has shape \(4, 3\)"):
        images(np.zeros((4, 3)), "recon", "mse")


def test_sets_that_do_not_fit_are_refused_with_both_shapes():
    with pytest.raises(UserError, match=r"real has shape \(4, 3\) and fake has shape \(5, 3\)"):
        check_same_shape("mse", real=torch.zeros(4, 3), fake=torch.zeros(5, 3))
    check_same_shape("knn", axis=1, real=torch.zeros(4, 3), fake=torch.zeros(5, 3))
    with pytest.raises(UserError, match=r"in axis 1"):
        check_same_shape("knn", axis=1, real=torch.zeros(4, 3), fake=torch.zeros(4, 2))


def test_the_decorator_registers_a_function_and_leaves_it_callable(monkeypatch):
    monkeypatch.setattr(METRICS, "_entries", {})

    @metric("half", better="lower", of=("mean",))
    def half(codes):
        return 0.5

    assert METRICS["half"] is half
    assert half.metric == MetricInfo("half", "lower", ("mean",))
    assert half(None) == 0.5


def test_every_metric_is_listed_without_importing_it_and_says_what_is_better():
    entries = extensions(bench_toml.defaults_folder() / "bench.toml")["metric"]
    assert set(entries) == set(METRICS)
    for name, entry in entries.items():
        info = METRICS[name].metric
        assert (info.name, info.better) == (name, entry.options["better"])
        assert info.of
        word = {"lower": "lower is better", "higher": "higher is"}.get(info.better, "")
        assert word in entry.description, name
