"""Reconstruction error and sharpness against hand-made images."""

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve

from lvm_bench.errors import UserError
from lvm_bench.metrics import mse, psnr, sharpness, sse

LAPLACE = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def test_errors_of_a_constant_offset():
    real = np.zeros((5, 3, 4, 2), dtype=np.float32)
    assert mse(real, real + 0.5) == pytest.approx(0.25)
    assert sse(real, real + 0.5) == pytest.approx(0.25 * 3 * 4 * 2)
    assert mse(real, real) == sse(real, real) == 0


def test_errors_over_several_chunks_equal_numpy():
    real, recon = pixels(2300, 1, 3, 3), pixels(2300, 1, 3, 3, seed=1)
    squares = (real.astype(np.float64) - recon) ** 2
    assert mse(real, torch.from_numpy(recon)) == pytest.approx(squares.mean(), rel=1e-12)
    assert sse(real, recon) == pytest.approx(squares.sum((1, 2, 3)).mean(), rel=1e-12)


def test_psnr_is_the_mean_of_the_images_own_and_tells_equal_images_apart():
    real = np.zeros((4, 3, 4, 2))
    recon = real + np.array([0.1, 0.01, 0.0, 0.1])[:, None, None, None]  # 20, 40, infinitely many and 20 dB
    assert psnr(real, recon) == {"": pytest.approx(80 / 3), "equal": 0.25}
    assert psnr(real[:1], recon[:1]) == {"": pytest.approx(20), "equal": 0}
    assert psnr(real, real) == {"": np.inf, "equal": 1}
    real, recon = pixels(1300, 1, 3, 3), pixels(1300, 1, 3, 3, seed=1)
    every = -10 * np.log10(((real.astype(np.float64) - recon) ** 2).mean((1, 2, 3)))
    assert psnr(real, recon)[""] == pytest.approx(every.mean(), rel=1e-12)


@pytest.mark.parametrize("channels", [1, 3])
def test_sharpness_is_the_variance_of_the_laplace_response(channels):
    images = pixels(4, channels, 7, 6)
    weights = [1.0] if channels == 1 else [0.2989, 0.5870, 0.1140]
    grey = np.einsum("nchw,c->nhw", images.astype(np.float64), weights)
    expected = np.mean([convolve(image, LAPLACE)[1:-1, 1:-1].var() for image in grey])
    assert sharpness(images) == pytest.approx(expected, rel=1e-9)


def test_a_linear_ramp_has_no_sharpness_and_contrast_counts_squared():
    ramp = np.linspace(0, 1, 8, dtype=np.float32) * np.ones((2, 1, 8, 1), dtype=np.float32)
    assert sharpness(ramp) == pytest.approx(0, abs=1e-12)
    images = pixels(3, 1, 8, 8)
    assert sharpness(images * 0.5) == pytest.approx(sharpness(images) / 4, rel=1e-6)


@pytest.mark.parametrize("shape", [(2, 2, 8, 8), (2, 1, 2, 8)])
def test_sharpness_refuses_other_channels_and_tiny_images(shape):
    with pytest.raises(UserError, match=r"1 \(grey\) or 3"):
        sharpness(pixels(*shape))


def test_integers_are_divided_by_255_beside_floats_and_beside_each_other():
    whole = np.random.default_rng(0).integers(0, 256, size=(4, 3, 5, 5), dtype=np.uint8)
    floats = pixels(4, 3, 5, 5)
    for change in (np.uint8, np.int64):
        real = whole.astype(change)
        assert mse(real, floats) == pytest.approx(np.mean((whole / 255 - floats) ** 2), rel=1e-9)
        assert sse(floats, real) == pytest.approx(np.sum((whole / 255 - floats) ** 2) / 4, rel=1e-9)
        assert sharpness(real) == pytest.approx(sharpness(whole / 255), rel=1e-9)
    assert mse(whole, 255 - whole) == pytest.approx(np.mean((2 * (whole / 255) - 1) ** 2), rel=1e-9)
    # One nearly black image beside others is no mask.
    assert mse(whole, whole.clip(0, 1)) == pytest.approx(np.mean(((whole - whole.clip(0, 1)) / 255) ** 2), rel=1e-9)


def test_masks_are_black_and_white_by_their_dtype_and_integers_of_0_and_1_say_so():
    mask = pixels(4, 1, 6, 6) > 0.5
    floats = pixels(4, 1, 6, 6, seed=1)
    expected = np.mean((mask - floats.astype(float)) ** 2)
    assert mse(mask, floats) == pytest.approx(expected, rel=1e-9)
    with pytest.warns(UserWarning, match=r"^mse: real has integers of 0 and 1 alone, which are measured as a mask"):
        assert mse(mask.astype(np.uint8), floats) == pytest.approx(expected, rel=1e-9)
    with pytest.warns(UserWarning, match=r"^sharpness: fake has integers of 0 and 1 alone"):
        assert sharpness(mask.astype(np.uint8)) == pytest.approx(sharpness(mask.astype(float)), rel=1e-9)


@pytest.mark.parametrize(
    ("recon", "words"),
    [
        (255 * pixels(2, 1, 4, 4), "recon has floats from .* give floats in \\[0, 1\\] beside integers"),
        (2 * pixels(2, 1, 4, 4) - 1, "recon has floats from -"),
        (np.full((2, 1, 4, 4), 256), "recon has integers from 256 to 256"),
        (np.full((2, 1, 4, 4), -1), "recon has integers from -1 to -1"),
    ],
)
def test_images_on_two_scales_are_refused(recon, words):
    whole = np.arange(32, dtype=np.uint8).reshape(2, 1, 4, 4)
    with pytest.raises(UserError, match=rf"^mse: {words}"):
        mse(whole, recon)
