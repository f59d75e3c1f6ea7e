"""SSIM and MS-SSIM: closed forms, and agreement with the textbook formula on scipy's Gaussian filter."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from lvm_bench.errors import UserError
from lvm_bench.metrics import ms_ssim, ssim

C1, C2 = 0.01**2, 0.03**2


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def pair(*shape):
    """Images of which some windows are flat and bright, and noisy copies."""
    real = np.clip(gaussian_filter(pixels(*shape), (0, 0, 1, 1)) * 3 - 0.8, 0, 1)
    return real, np.clip(real + 0.2 * pixels(*shape, seed=1) - 0.1, 0, 1)


def maps(x, y):
    """Luminance and contrast of every window of two images, by Wang et al. 2004, eqs. 6 and 13."""

    def average(image):
        return gaussian_filter(image, 1.5, truncate=3.5)[5:-5, 5:-5]  # 11 pixels on a side

    mx, my = average(x), average(y)
    vx, vy, cov = average(x * x) - mx * mx, average(y * y) - my * my, average(x * y) - mx * my
    return (2 * mx * my + C1) / (mx * mx + my * my + C1), (2 * cov + C2) / (vx + vy + C2)


def halved(image):
    """Averages of 2 x 2 pixels; a side of odd length has a zero before it."""
    padded = np.pad(image, [(length % 2, 0) for length in image.shape])
    h, w = padded.shape
    return padded.reshape(h // 2, 2, w // 2, 2).mean((1, 3))


def five_scales(x, y):
    product = 1.0
    for place, exponent in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        luminance, contrast = maps(x, y)
        term = (luminance * contrast if place == 4 else contrast).mean()
        product *= max(term, 0) ** exponent
        x, y = halved(x), halved(y)
    return product


@pytest.mark.parametrize("shape", [(2, 1, 11, 11), (2, 3, 26, 27), (1, 1, 40, 13), (70, 1, 32, 32)])
def test_ssim_is_the_mean_over_windows_channels_and_images(shape):
    real, recon = pair(*shape)
    every = [
        np.prod(maps(x, y), axis=0).mean() for a, b in zip(real, recon, strict=True) for x, y in zip(a, b, strict=True)
    ]
    assert ssim(real, recon) == pytest.approx(np.mean(every), rel=1e-11)


@pytest.mark.parametrize(("h", "w"), [(161, 161), (178, 165)])
def test_ms_ssim_is_the_product_over_scales(h, w):
    real, recon = pair(1, 2, h, w)
    expected = np.mean([five_scales(x, y) for x, y in zip(real[0], recon[0], strict=True)])
    assert ms_ssim(real, recon) == {"": pytest.approx(expected, rel=1e-10), "clamped": 0.0}


def test_equal_images_are_as_similar_as_can_be_and_flat_ones_differ_by_their_luminance():
    real = pixels(2, 3, 176, 176)
    assert ssim(real, real) == pytest.approx(1, abs=1e-12)
    assert ms_ssim(real, real) == {"": pytest.approx(1, abs=1e-12), "clamped": 0.0}
    bright, dark = np.full((1, 1, 176, 176), 0.8), np.full((1, 1, 176, 176), 0.3)
    luminance = (2 * 0.8 * 0.3 + C1) / (0.8**2 + 0.3**2 + C1)
    assert ssim(bright, dark) == pytest.approx(luminance, rel=1e-10)
    assert ms_ssim(bright, dark)[""] == pytest.approx(luminance**0.1333, rel=1e-10)


def test_negatives_are_dissimilar_and_their_clamped_terms_are_told():
    real = pixels(2, 1, 176, 176)
    assert ssim(real, 1 - real) < -0.5
    mixed = np.stack([real[0], 1 - real[1]])
    assert ms_ssim(real, mixed) == {"": pytest.approx(0.5), "clamped": 0.5}


def test_integers_are_divided_by_255():
    whole = np.random.default_rng(0).integers(0, 256, size=(3, 3, 16, 16), dtype=np.uint8)
    assert ssim(whole, 255 - whole) == pytest.approx(ssim(whole / 255, 1 - whole / 255), rel=1e-10)


@pytest.mark.parametrize(
    ("metric", "shape", "words"),
    [
        (ssim, (2, 1, 10, 32), r"^ssim: real has images of 10 x 32 pixels; give at least 11 x 11"),
        (ms_ssim, (1, 1, 161, 160), r"^ms_ssim: real has images of 161 x 160 pixels; .* 161 x 161"),
    ],
)
def test_images_without_a_window_are_a_sentence(metric, shape, words):
    with pytest.raises(UserError, match=words):
        metric(pixels(*shape), pixels(*shape))


def test_values_on_two_scales_are_refused():
    with pytest.raises(UserError, match=r"^ssim: recon has floats from .* give floats in \[0, 1\] beside integers"):
        ssim(np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16), 255 * pixels(1, 1, 16, 16))
