"""Frechet and kernel distance: closed forms, and agreement with pytorch-fid and torch-fidelity."""

import numpy as np
import pytest
import scipy.linalg
import torch
from pytorch_fid.fid_score import calculate_frechet_distance
from torch_fidelity.metric_kid import kernel_mmd, kid_features_to_metric

from lvm_bench.errors import UserError
from lvm_bench.metrics import frechet_distance, kernel_distance, kernel_distances
from lvm_bench.metrics.fidelity import frechet, frechet_originals, kid
from lvm_bench.seeding import generator


def features(n, d, seed, mix=1.0, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ (np.eye(d) + mix * rng.normal(size=(d, d)) / d) + shift


def moments(x):
    return x.mean(0), np.cov(x, rowvar=False)


@pytest.mark.filterwarnings("ignore:The `disp` argument is deprecated:DeprecationWarning")
@pytest.mark.parametrize(("n", "m", "d"), [(400, 300, 24), (60, 500, 64), (40, 30, 64)])
def test_frechet_distance_agrees_with_pytorch_fid(n, m, d):
    real, fake = features(n, d, 0), features(m, d, 1, mix=2.0, shift=0.1)
    expected = calculate_frechet_distance(*moments(real), *moments(fake))
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("n", "d"), [(400, 24), (60, 64)])
def test_factors_agree_with_eigenvalues_and_with_matrix_roots(n, d):
    real, fake = features(n, d, 0), features(n, d, 1, mix=2.0)
    (mu_r, s_r), (mu_f, s_f) = moments(real), moments(fake)
    values, vectors = np.linalg.eigh(s_r)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    by_eigenvalues = np.sqrt(np.linalg.eigvalsh(root @ s_f @ root).clip(0)).sum()
    by_root = np.trace(scipy.linalg.sqrtm(s_r @ s_f)).real
    assert by_eigenvalues == pytest.approx(by_root, rel=1e-5)
    rest = ((mu_r - mu_f) ** 2).sum() + np.trace(s_r) + np.trace(s_f)
    assert frechet_distance(real, fake) == pytest.approx(rest - 2 * by_eigenvalues, rel=1e-5)


@pytest.mark.parametrize(("n", "d"), [(500, 16), (300, 512), (50, 64)])
def test_frechet_distance_of_a_set_to_itself_is_zero(n, d):
    x = features(n, d, 0).astype(np.float32)
    assert frechet_distance(x, torch.from_numpy(x)) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_of_a_shift_and_a_scaling():
    x = features(200, 8, 0, shift=3.0)
    assert frechet_distance(x, x + 2) == pytest.approx(8 * 4, rel=1e-9)
    assert frechet_distance(x[:, :1], x[:, :1] + 2) == pytest.approx(4, rel=1e-9)
    centred = x - x.mean(0)
    assert frechet_distance(centred, 3 * centred) == pytest.approx(4 * centred.var(0, ddof=1).sum(), rel=1e-9)


def test_reconstructions_are_compared_with_their_own_originals_and_apart_from_that_with_training_images():
    training, heldout = features(300, 8, 0), features(200, 8, 1, shift=1.0)
    assert frechet_originals(heldout, heldout) == 0
    assert frechet_originals(heldout, heldout + 2) == pytest.approx(8 * 4, rel=1e-9)
    assert frechet(training, heldout) == frechet_distance(training, heldout) > 1
    with pytest.raises(UserError, match="has 1 samples, and 2 or more are needed"):
        frechet_originals(heldout[:1], heldout[:1])


def test_frechet_distance_with_dead_features_ignores_them_and_is_symmetric():
    real, fake = features(200, 8, 0), features(150, 8, 1)
    padded = [np.hstack([x, np.full((len(x), 3), 0.7)]) for x in (real, fake)]
    assert frechet_distance(*padded) == pytest.approx(frechet_distance(real, fake), rel=1e-9)
    assert frechet_distance(fake, real) == pytest.approx(frechet_distance(real, fake), rel=1e-9)


def test_frechet_distance_over_several_blocks_equals_one_block():
    real = features(20_500, 4, 0)
    mu, s = moments(real)
    fake = features(50, 4, 1)
    mu_f, s_f = moments(fake)
    root = np.trace(scipy.linalg.sqrtm(s @ s_f)).real
    expected = ((mu - mu_f) ** 2).sum() + np.trace(s) + np.trace(s_f) - 2 * root
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("decades", [0, 2, 4, 6])
@pytest.mark.parametrize("n", [2000, 131])
def test_frechet_distance_agrees_with_singular_values_however_badly_conditioned(n, decades):
    scales = np.logspace(0, -decades, 128)
    real, fake = features(n, 128, 0, mix=0) * scales, features(n, 128, 1, mix=0.5) * scales
    r, f = (np.linalg.qr(x - x.mean(0))[1] / np.sqrt(n - 1) for x in (real, fake))
    rest = ((real.mean(0) - fake.mean(0)) ** 2).sum() + (r**2).sum() + (f**2).sum()
    expected = rest - 2 * np.linalg.svd(r @ f.T, compute_uv=False).sum()
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-10, abs=1e-10 * rest)


def test_distances_leave_their_input_alone_and_take_float32_as_it_is():
    for dtype in (np.float32, np.float64):
        real, fake = features(300, 6, 0).astype(dtype), features(300, 6, 1).astype(dtype)
        before = real.copy(), fake.copy()
        wide = frechet_distance(real.astype(float), fake.astype(float))
        assert frechet_distance(real, fake) == pytest.approx(wide, rel=1e-12)
        kernel_distance(real, fake, subsets=3, subset_size=100)
        assert all(map(np.array_equal, (real, fake), before))


@pytest.mark.parametrize("rows", [(130, 131), (600, 1300)])  # fewer pairs than all subsets have, and more
@pytest.mark.parametrize("offset", [0.0, 10.0, 1000.0])
def test_kernel_distance_is_float64_where_float32_would_show(rows, offset):
    """Far from the origin kernels are large and nearly equal, so that their difference cancels."""
    real, fake = (features(n, 16, n, shift=offset).astype(np.float32) for n in rows)
    found = kernel_distances(real, fake, subsets=12, subset_size=100, seed=3).numpy()
    stream, expected = generator(3, "kernel_distance"), []
    for _ in range(12):
        x, y = (z[torch.randperm(len(z), generator=stream)[:100].numpy()].astype(float) for z in (real, fake))
        k = [(a @ b.T / 16 + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
        within = sum(each.sum() - np.trace(each) for each in k[:2]) / (100 * 99)
        expected.append(within - 2 * k[2].mean())
    assert np.abs(found - expected).max() < 1e-3 * np.std(expected)


def test_kernel_distance_of_whole_sets_agrees_with_torch_fidelity():
    real, fake = features(150, 12, 0), features(150, 12, 1, shift=0.3)
    kernel = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_coef0": 1}
    expected = kernel_mmd(real, fake, **kernel, kid_kernel_poly_gamma=None)
    assert kernel_distance(real, fake, subsets=2, subset_size=150) == pytest.approx(expected, rel=1e-6)


def test_kernel_distance_of_subsets_agrees_with_torch_fidelity_within_their_spread():
    real, fake = features(800, 12, 0), features(800, 12, 1, shift=0.3)
    theirs = kid_features_to_metric(
        torch.from_numpy(real), torch.from_numpy(fake), kid_subsets=100, kid_subset_size=200, verbose=False
    )
    ours = kernel_distances(real, fake, subsets=100, subset_size=200)
    std = theirs["kernel_inception_distance_std"]
    assert float(ours.mean()) == pytest.approx(theirs["kernel_inception_distance_mean"], abs=std / 2)
    assert float(ours.std(unbiased=False)) == pytest.approx(std, rel=0.5)


def test_kernel_distance_is_unbiased_and_repeats_for_a_seed():
    values = kernel_distances(features(2000, 6, 0, mix=0), features(2000, 6, 1, mix=0), subset_size=100)
    assert abs(float(values.mean())) < 3 * float(values.std()) / 10
    assert float(values.min()) < 0
    x, y = features(120, 6, 0), features(100, 6, 1)
    first = kernel_distances(x, y, subsets=5, subset_size=50, seed=1)
    assert torch.equal(first, kernel_distances(x, y, subsets=5, subset_size=50, seed=1))
    assert not torch.equal(first, kernel_distances(x, y, subsets=5, subset_size=50, seed=2))


def test_kernel_distance_refuses_fewer_samples_than_a_subset():
    with pytest.raises(UserError, match=r"^kernel_distance: fake has 99 samples, and 100 or more are needed"):
        kernel_distance(features(100, 3, 0), features(99, 3, 1), subset_size=100)


def test_the_kid_score_shrinks_its_subsets_and_gives_mean_and_std():
    real, fake = features(300, 6, 0), features(80, 6, 1, shift=0.5)
    values = kernel_distances(real, fake, 7, 80, seed=4)
    score = kid(real, fake, kid_subsets=7, kid_subset_size=1000, seed=4)
    assert score == {"": float(values.mean()), "std": pytest.approx(float(np.std(values.numpy())))}


@pytest.mark.parametrize(("n", "d"), [(192, 192), (500, 192), (150, 300)])
def test_frechet_distance_of_equal_fits_is_exactly_zero_and_none_is_negative(n, d):
    x = np.abs(features(n, d, 0)) @ np.random.default_rng(1).normal(size=(d, d))
    assert frechet_distance(x, x.copy()) == 0
    assert frechet_distance(x.astype(np.float32), x.astype(np.float32).astype(float)) == 0
    for near in (x[::-1].copy(), x * (1 + 1e-12), x + 1e-9):
        assert 0 <= frechet_distance(x, near) < 1e-3


@pytest.mark.parametrize("scale", [1e-150, 1e-40, 1e-12, 1e12, 1e60])
def test_frechet_distance_scales_with_the_square_of_the_features(scale):
    real, fake = features(80, 5, 0), features(90, 5, 1, shift=0.5)
    assert frechet_distance(real * scale, fake * scale) / scale / scale == pytest.approx(frechet_distance(real, fake))
