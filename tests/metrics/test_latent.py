"""Latent metrics: closed forms, the acceptance values of the entropy, collapse, MMD."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from lvm_bench.errors import UserError
from lvm_bench.metrics import (
    collapsed_kl,
    collapsed_variance,
    gaussian_entropy,
    gaussian_kl,
    gaussian_kl_floor,
    gaussian_kl_parts,
    latent,
    mahalanobis,
    mmd,
    whitened_entropy,
)
from lvm_bench.modelling.kde import log_density
from lvm_bench.seeding import generator


def normal(n, l, seed=0, scale=1.0):
    return scale * torch.randn(n, l, generator=generator(seed, "test"), dtype=torch.float64)


def test_gaussian_kl_equals_the_closed_form_of_the_moments():
    codes = normal(500, 3) @ torch.tensor([[1.0, 0.5, 0], [0, 2, 0], [0.3, 0, 0.2]], dtype=torch.float64) + 1
    mu, s = codes.numpy().mean(0), np.cov(codes.numpy(), rowvar=False)
    for variance in (1.0, 0.6):
        expected = 0.5 * (
            np.trace(s) / variance + mu @ mu / variance - 3 - np.linalg.slogdet(s)[1] + 3 * math.log(variance)
        )
        assert gaussian_kl(codes.numpy(), variance) == pytest.approx(expected, rel=1e-10)
        assert latent.gaussian_kl_target(codes, variance) == gaussian_kl(codes, variance)
    assert latent.gaussian_kl_prior(codes) == gaussian_kl(codes)


@given(st.lists(st.floats(-6, 6), min_size=3, max_size=3), st.floats(-3, 3), st.floats(0.1, 5), st.integers(4, 60))
@settings(max_examples=25, deadline=None)
def test_the_parts_of_the_gaussian_kl_add_up_to_it(logs, shift, variance, n):
    codes = normal(n, 3) @ torch.tensor([[1.0, 0.5, 0], [0, 1, 0], [0.3, 0, 1]], dtype=torch.float64)
    codes = codes * torch.tensor(logs, dtype=torch.float64).exp() + shift
    parts = gaussian_kl_parts(codes, variance)
    assert sum(parts.values()) == pytest.approx(gaussian_kl(codes, variance), rel=1e-9, abs=1e-9)
    assert all(part > -1e-9 for part in parts.values())


def test_each_part_of_the_gaussian_kl_has_its_closed_form():
    codes = latent._whiten(normal(400, 3))
    shaped = codes * torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    a = (1 + 4 + 16) / 3
    expected = {
        "scale": 1.5 * (a - 1 - math.log(a)),
        "mean": 0.5 * 3 * 0.25,
        "anisotropy": 0.5 * (3 * math.log(a) - math.log(64)),
    }
    assert gaussian_kl_parts(shaped + 0.5) == pytest.approx(expected, rel=1e-9)
    assert gaussian_kl_parts(codes * 2, 4.0) == pytest.approx({"scale": 0, "mean": 0, "anisotropy": 0}, abs=1e-9)
    assert latent.gaussian_kl_target_parts(codes, 0.6) == gaussian_kl_parts(codes, 0.6)
    flat = gaussian_kl_parts(shaped * torch.tensor([1.0, 0.0, 1.0]))
    assert flat["anisotropy"] == math.inf
    assert flat["scale"] == pytest.approx(1.5 * (17 / 3 - 1 - math.log(17 / 3)))
    assert gaussian_kl_parts(torch.ones(5, 2)) == {"scale": math.inf, "mean": 1.0, "anisotropy": 0.0}
    assert gaussian_kl_parts(normal(3, 3))["anisotropy"] == math.inf, "n <= l"


def test_gaussian_kl_of_a_standard_normal_is_its_noise_floor():
    kl = [gaussian_kl(normal(10_000, 16, seed)) for seed in range(5)]
    assert sum(kl) / 5 == pytest.approx(0.0076, abs=0.003)
    assert gaussian_kl_floor(normal(10_000, 16)) == pytest.approx(0.0076)
    assert gaussian_kl_floor(normal(500, 1)) == 2 / (2 * 500)


@pytest.mark.parametrize(("l", "expected"), [(16, 0.61), (64, 6.50), (128, 16.4)])
def test_gaussian_kl_of_the_shrunken_target_tells_it_from_the_standard_normal(l, expected):
    variance = {16: 0.8115, 64: 0.7001, 128: 0.6660}[l] ** 2
    codes = normal(10_000, l, scale=math.sqrt(variance))
    assert gaussian_kl(codes) == pytest.approx(expected, rel=0.04)
    assert gaussian_kl(codes, variance) == pytest.approx(gaussian_kl_floor(codes), rel=0.25)


def test_gaussian_kl_of_codes_without_variance_in_a_direction_is_infinite():
    codes = normal(200, 3)
    for flat in (codes * torch.tensor([1.0, 0, 1]), torch.cat([codes, codes.sum(1, keepdim=True)], dim=1)):
        assert gaussian_kl(flat) == math.inf
    assert gaussian_kl(normal(10, 20)) == gaussian_kl(normal(4, 4)) == math.inf
    assert gaussian_kl(codes * torch.tensor([1, 1, 1e-200]) + torch.tensor([0, 0, 0.1])) == math.inf
    assert math.isfinite(gaussian_kl(codes * torch.tensor([1.0, 1e-3, 1])))


@pytest.mark.parametrize("scales", [[1e-8, 1, 1, 1], [1, 1e-12, 1e9, 1], [1e8, 1, 1, 1e-30], [1e-40] * 4])
def test_an_axis_keeps_its_variance_however_small_it_is_beside_the_others(scales):
    codes, scale = normal(300, 4) + 0.1, torch.tensor(scales, dtype=torch.float64)
    s, mean = torch.from_numpy(np.cov(codes.numpy(), rowvar=False)), (codes * scale).mean(0)
    expected = 0.5 * float((s.diag() * scale**2).sum() + mean @ mean - 4 - s.logdet() - 2 * scale.log().sum())
    assert gaussian_kl(codes * scale) == pytest.approx(expected, rel=1e-9)
    assert whitened_entropy(codes * scale)["raw"] == pytest.approx(whitened_entropy(codes)["raw"], rel=1e-9)
    np.testing.assert_allclose(mahalanobis(codes * scale, codes[:9] * scale), mahalanobis(codes, codes[:9]), rtol=1e-7)


def test_a_rotated_direction_keeps_its_variance_as_an_axis_does():
    rotation = torch.linalg.qr(normal(3, 3, seed=1)).Q
    flat = normal(400, 3) * torch.tensor([1e-8, 1, 1])
    assert gaussian_kl(flat @ rotation) == pytest.approx(gaussian_kl(flat), rel=1e-6)
    assert whitened_entropy(flat @ rotation)["raw"] == pytest.approx(whitened_entropy(flat)["raw"], rel=1e-5)


@pytest.mark.parametrize(("n", "l"), [(4, 6), (4, 4), (5, 4), (50, 128)])
def test_the_entropy_of_fewer_codes_than_two_beyond_the_dimensions_is_a_sentence(n, l):
    with pytest.raises(
        UserError, match=rf"^whitened_entropy: codes has {n} samples in {l} dimensions, .* give {l + 2}"
    ):
        whitened_entropy(normal(n, l))
    assert latent.entropy(normal(n, l)) == dict.fromkeys(("raw", "gap", "paper"), -math.inf)  # in a run


def test_the_mmd_of_very_many_axes_is_that_of_distances_from_differences(monkeypatch):
    codes = normal(30, 600) + 3
    wide = latent.mmd(codes)
    monkeypatch.setattr(latent, "_WIDE", 600)
    assert wide == pytest.approx(latent.mmd(codes), rel=1e-9)
    assert wide != latent.mmd(codes)
    far = 1e6 * codes  # too large for the norms to keep the digits
    exact = latent.mmd(far)
    monkeypatch.undo()
    assert latent.mmd(far) == exact


def test_entropy_of_a_standard_normal_in_sixteen_dimensions(monkeypatch):
    monkeypatch.setattr(latent, "gaussian_entropy", lambda n, l: 8.85)  # saves five estimates
    monkeypatch.setattr(latent, "optimal_bandwidth", lambda l, n: 0.72)  # the paper's
    scores = whitened_entropy(normal(10_000, 16))
    assert scores["raw"] == pytest.approx(8.85, abs=0.05)
    assert scores["paper"] == pytest.approx(8.78, abs=0.05)
    assert scores["cap"] == pytest.approx(12.06, abs=0.005)


def test_entropy_of_a_standard_normal_in_sixty_four_dimensions(monkeypatch):
    monkeypatch.setattr(latent, "gaussian_entropy", lambda n, l: 41.06)  # saves five estimates
    monkeypatch.setattr(latent, "optimal_bandwidth", lambda l, n: 1.02)  # the paper's
    scores = whitened_entropy(normal(10_000, 64))
    assert scores["raw"] == pytest.approx(41.06, abs=0.1)
    assert scores["paper"] == pytest.approx(32.37, abs=0.01)
    assert scores["cap"] == pytest.approx(32.38, abs=0.005)


def test_raw_entropy_is_a_leave_one_out_sum_over_zca_whitened_codes():
    codes = (normal(60, 3) @ torch.randn(3, 3, dtype=torch.float64, generator=generator(1, "mix")) + 5).numpy()
    centred = codes - codes.mean(0)
    values, vectors = np.linalg.eigh(np.cov(codes, rowvar=False))
    white = torch.from_numpy(centred @ vectors / np.sqrt(values) @ vectors.T)
    h = latent.optimal_bandwidth(3, 60)
    others = [torch.cat([white[:i], white[i + 1 :]]) for i in range(60)]
    logs = [float(log_density(white[i : i + 1], rest, h)) for i, rest in enumerate(others)]
    assert whitened_entropy(codes)["raw"] == pytest.approx(-np.mean(logs), rel=1e-9)


def test_entropy_ignores_shift_scale_and_rotation_except_in_the_paper_form():
    codes = normal(300, 4)
    mixed = codes @ torch.randn(4, 4, dtype=torch.float64, generator=generator(1, "mix")) * 3 + 7
    one, other = whitened_entropy(codes), whitened_entropy(mixed)
    assert other["raw"] == pytest.approx(one["raw"], rel=1e-9)
    assert other["gap"] == other["raw"] - gaussian_entropy(300, 4)
    # The authors' code does not centre, so that a shift takes variance from the other directions.
    assert abs(other["paper"] - one["paper"]) > 0.05


def test_the_entropy_gap_tells_clusters_heavy_tails_and_a_hollow_shell_from_a_gaussian():
    gaussian = normal(1000, 16)
    student = gaussian * (5 / normal(1000, 5, 1).square().sum(1, keepdim=True)).sqrt()
    clusters = normal(10, 16, 2).repeat(100, 1) + 0.05 * gaussian
    shell = gaussian / gaussian.norm(dim=1, keepdim=True)
    gaps = [whitened_entropy(codes)["gap"] for codes in (clusters, student, gaussian, shell)]
    assert gaps[0] < -3 < gaps[1] < -0.3 < -0.05 < gaps[2] < 0.05 < gaps[3]


def test_the_paper_entropy_never_exceeds_its_cap():
    codes = 10 ** normal(300, 6)
    scores = whitened_entropy(codes)
    assert scores["paper"] <= scores["cap"]


@pytest.mark.parametrize(("n", "l"), [(150, 128), (50, 2), (64, 3)])
def test_entropy_of_few_or_collapsed_codes_is_finite(n, l):
    codes = normal(n, l)
    codes[:, 0] = 0.25
    scores = whitened_entropy(codes.float())
    assert all(math.isfinite(value) for value in scores.values())
    assert whitened_entropy(torch.zeros(n, l))["raw"] < scores["raw"]


def test_the_gaussian_reference_is_the_mean_of_five_seeds_and_is_kept():
    assert gaussian_entropy(200, 3) is gaussian_entropy(200, 3)
    gap = [whitened_entropy(normal(200, 3, seed))["gap"] for seed in range(20)]
    assert sum(gap) / 20 == pytest.approx(0, abs=0.05)


def test_collapsed_axes_are_counted_by_variance_and_by_kl():
    mu = normal(2000, 4) * torch.tensor([1.0, 0.05, 0.2, 0.0]) + torch.tensor([0.0, 0, 0, 3])
    assert collapsed_variance(mu) == 2  # variances 1, .0025, .04, 0
    log_var = torch.tensor([-3.0, 0.0, -0.1, 0.0]).expand(2000, 4)
    assert collapsed_kl((mu, log_var)) == 1  # the last axis costs 4.5 nats for its mean of 3
    assert collapsed_kl((2 * mu, log_var + math.log(4)), 4.0) == 1  # the same in other units


def test_mmd_of_a_standard_normal_is_zero_on_average_and_grows_with_a_shift():
    draws = torch.tensor([mmd(normal(400, 4, seed), seed=seed) for seed in range(40)])
    assert abs(float(draws.mean())) < 3 * float(draws.std()) / math.sqrt(40)
    assert float(draws.min()) < 0
    shifted = normal(2000, 4) + torch.tensor([1.0, 0, 0, 0])
    assert mmd(shifted) > 10 * float(draws.std())
    assert mmd(normal(500, 4) + 1e6) <= 14


def test_mmd_to_a_target_scales_with_it():
    codes = normal(400, 4)
    scaled = latent.mmd_target(0.5 * codes, 0.25, seed=1)
    assert scaled == pytest.approx(latent.mmd_prior(codes, seed=1), rel=1e-9)
    assert latent.mmd_prior(0.5 * codes, seed=1) > scaled + 0.01


def test_mmd_takes_at_most_two_thousand_codes(monkeypatch):
    sizes = []
    monkeypatch.setattr(
        latent, "imq_mmd", lambda z, prior, variance, distances: sizes.append((len(z), len(prior))) or 0.0
    )
    mmd(normal(5100, 2))
    mmd(normal(300, 2))
    assert sizes == [(2000, 2000), (300, 300)]


def test_mmd_of_distant_clusters_keeps_the_digits_of_their_insides():
    codes = normal(300, 4) + 1e9 * (torch.arange(300) % 2)[:, None]
    distances = torch.from_numpy(cdist(codes.numpy(), codes.numpy(), "sqeuclidean"))
    kernels = sum(8 * scale / (8 * scale + distances) for scale in (0.1, 0.2, 0.5, 1, 2, 5, 10))
    within = float(kernels.sum() - kernels.trace()) / (300 * 299)
    far = [mmd(codes + 1e12, seed=1), mmd(torch.zeros(300, 4) + 1e12, seed=1)]  # both have no draw nearby
    assert far[0] - far[1] == pytest.approx(within - 7, abs=1e-3)


def test_gaussian_entropy_of_many_axes_needs_no_singular_vectors(monkeypatch):
    monkeypatch.setattr(latent, "optimal_bandwidth", lambda l, n: 0.9)
    draws = torch.randn(60, 40, generator=generator(0, "gaussian_entropy", 60, 40), dtype=torch.float64)
    plain = latent._raw_entropy(draws, 0.9)
    monkeypatch.setattr(latent, "_WIDE", 39)
    monkeypatch.setattr(latent, "principal_axes", None)
    assert latent._gaussian_entropy.__wrapped__(60, 40) == pytest.approx(plain, rel=1e-10)


def test_the_entropy_of_many_axes_is_that_of_singular_vectors_also_without_variance_in_a_direction(monkeypatch):
    codes = normal(60, 40) @ normal(40, 40, seed=1) + 3
    flat = torch.cat([codes[:, :39], codes[:, :39].sum(1, keepdim=True)], dim=1)
    plain = [latent._raw_entropy(rows, 0.9) for rows in (codes, flat)]
    monkeypatch.setattr(latent, "_WIDE", 39)
    assert [latent._raw_entropy(rows, 0.9) for rows in (codes, flat)] == pytest.approx(plain, rel=1e-9)


def test_the_gaussian_kl_of_many_axes_needs_no_singular_values(monkeypatch):
    codes = normal(60, 40) @ normal(40, 40, seed=1) + 3
    flat = torch.cat([codes[:, :39], codes[:, :39].sum(1, keepdim=True)], dim=1)  # no variance in one direction
    plain = latent.gaussian_kl(codes, 0.5)
    monkeypatch.setattr(latent, "_WIDE", 39)
    monkeypatch.setattr(latent, "principal_axes", None)
    assert latent.gaussian_kl(codes, 0.5) == pytest.approx(plain, rel=1e-10)
    assert latent.gaussian_kl(flat) == math.inf
