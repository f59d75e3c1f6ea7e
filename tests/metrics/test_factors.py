"""Disentanglement metrics: closed forms, second implementations, rotations, dead axes, refusals."""

import inspect
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.stats import entropy
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import mutual_info_score
from sklearn.svm import LinearSVC

from lvm_bench.errors import UserError
from lvm_bench.metrics import (
    beta_vae_score,
    dci,
    direction_angles,
    draw_factors,
    factor_vae_score,
    factors,
    latent_directions,
    mig,
    pca_factor_vae_score,
    pca_mig,
    sap,
    whitened,
)
from lvm_bench.metrics.directions import angle_deviation, pca_factor_vae_score_of_directions, pca_mig_of_directions
from lvm_bench.seeding import generator

SIZES = (4, 5, 6)
FEW = {"draws": 300, "images": 60}


def indices(sizes):
    return torch.cartesian_prod(*[torch.arange(size) for size in sizes])


def grid(sizes):
    """The code of every combination, which is its factors, each from -1 to 1."""
    return torch.cartesian_prod(*[torch.linspace(-1, 1, size, dtype=torch.float64) for size in sizes])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed, "test"), dtype=torch.float64)


def orthogonal(l, seed):
    return torch.linalg.qr(normal(l, l, seed=seed)).Q


def pca_scores(codes, sizes, seed=0):
    """(PCA-MIG, PCA-FactorVAE, the directions behind both)."""
    directions = latent_directions(codes, sizes, seed=seed, **FEW)
    return (
        pca_mig(codes, indices(sizes), directions),
        pca_factor_vae_score(codes, sizes, directions, seed=seed, **FEW),
        directions,
    )


def axis_scores(codes, sizes):
    """(FactorVAE, beta-VAE)"""
    return (
        factor_vae_score(codes, sizes, votes=600, test_votes=600),
        beta_vae_score(codes, sizes, points=600, test_points=600),
    )


def angle(u, v):
    return math.degrees(math.acos(min(1.0, abs(float(u @ v)))))


# Known answers


def test_the_factors_as_codes_score_one_everywhere():
    codes = grid(SIZES)
    _, votes, directions = pca_scores(codes, SIZES)
    assert mig(codes, indices(SIZES)) == pytest.approx(1, abs=1e-12)
    assert pca_mig(codes, indices(SIZES), torch.eye(3)) == pytest.approx(1, abs=1e-12)
    assert votes == 1
    assert axis_scores(codes, SIZES) == (1, 1)
    torch.testing.assert_close(directions, torch.eye(3, dtype=torch.float64), atol=1e-7, rtol=0)


def test_binary_factors_as_codes_have_the_largest_sap_and_dci():
    # Every third holds every combination once, so an axis tells another factor with accuracy 1/2 exactly.
    codes, values = grid((2, 2, 2)).repeat(3, 1), indices((2, 2, 2)).repeat(3, 1)
    assert sap(codes, values) == 0.5
    assert dci(codes, values) == pytest.approx(
        {"disentanglement": 1, "completeness": 1, "informativeness": 1}, abs=1e-6
    )


def test_duplicated_axes_have_no_gap_and_are_not_complete():
    codes, values = grid((2, 2, 2)).repeat(3, 2), indices((2, 2, 2)).repeat(3, 1)
    assert mig(codes, values) == pytest.approx(0, abs=1e-12)
    assert sap(codes, values) == 0
    scores = dci(codes, values)
    assert scores["disentanglement"] == pytest.approx(1, abs=1e-6)
    assert scores["informativeness"] == 1
    # Two of six axes share the importance of a factor, in a proportion that the trees choose.
    assert 1 - math.log(2, 6) - 1e-6 <= scores["completeness"] < 1
    assert axis_scores(grid(SIZES).repeat(1, 2), SIZES) == (1, 1)


def test_a_constant_code_is_worth_a_guess():
    codes, values = torch.full((120, 3), 0.1, dtype=torch.float64), indices(SIZES)
    assert mig(codes, values) == 0
    assert sap(codes.repeat(3, 1), values.repeat(3, 1)) == 0
    scores = dci(codes[:24], indices((2, 2, 2)).repeat(3, 1))
    assert scores == {"disentanglement": 0, "completeness": 0, "informativeness": 0.5}
    votes, pairs = axis_scores(codes, SIZES)
    assert votes == 0
    assert pairs == pytest.approx(1 / 3, abs=0.06)
    on_directions, votes, _ = pca_scores(codes, SIZES)
    assert on_directions == 0
    assert votes == pytest.approx(1 / 3, abs=0.1)
    assert pca_scores(whitened(codes), SIZES)[1] == pytest.approx(1 / 3, abs=0.1)


def test_noise_scores_next_to_nothing():
    sizes = (8, 8, 8, 8)
    codes, values = normal(4096, 4), indices(sizes)
    on_directions, votes, _ = pca_scores(codes, sizes)
    assert 0 <= mig(codes, values) < 0.02
    assert 0 <= sap(codes[::4], values[torch.randperm(4096, generator=generator(0, "test"))][::4]) < 0.05
    assert on_directions < 0.02
    assert votes < 0.5
    assert axis_scores(codes, sizes) == pytest.approx((0.25, 0.25), abs=0.1)
    few = dci(codes[:300], draw_factors((2, 2), 300, generator(1, "test")))
    assert few["disentanglement"] < 0.1
    assert few["completeness"] < 0.1
    assert few["informativeness"] == pytest.approx(0.5, abs=0.15)


def test_a_factor_over_two_axes_has_no_gap():
    # One factor has four values as two bits; another has its own axis.
    sizes = (4, 2)
    values = indices(sizes)
    codes = torch.stack([values[:, 0] // 2, values[:, 0] % 2, values[:, 1]], dim=1).double()
    assert mig(codes, values) == pytest.approx(0.5, abs=1e-12)
    assert sap(codes.repeat(3, 1), values.repeat(3, 1)) == pytest.approx(0.25, abs=1e-12)
    scores = dci(codes.repeat(3, 1), values.repeat(3, 1))
    assert scores["disentanglement"] == pytest.approx(1, abs=1e-6)
    assert scores["completeness"] == pytest.approx((2 / 3) * (1 - math.log(2, 3)) + 1 / 3, abs=0.4)
    assert scores["completeness"] < 0.9
    assert axis_scores(codes, sizes) == (1, 1)
    # Fixing it leaves a plane without variance, which excludes the direction of the other factor.
    assert pca_scores(codes, sizes)[1] == 1


def test_two_factors_on_one_axis_are_entangled_to_dci_and_not_to_mig():
    values = indices((2, 2)).repeat(6, 1)
    codes = torch.stack([2.0 * values[:, 0] + values[:, 1], torch.zeros(24)], dim=1)
    assert mig(codes, values) == pytest.approx(1, abs=1e-12)
    scores = dci(codes, values)
    assert scores == pytest.approx({"disentanglement": 0, "completeness": 1, "informativeness": 1}, abs=1e-6)


def test_the_order_and_sign_of_axes_do_not_matter():
    values, codes = indices(SIZES), grid(SIZES) + 0.3 * normal(120, 3)
    turned = codes[:, [2, 0, 1]] * torch.tensor([1, -1, 1])
    assert mig(turned[:, [1, 2, 0]] * torch.tensor([-1, 1, 1]), values) == mig(codes, values)
    assert mig(codes[:, [2, 0, 1]], values) == pytest.approx(mig(codes, values), abs=1e-12)
    assert axis_scores(turned, SIZES) == pytest.approx(axis_scores(codes, SIZES), abs=1e-12)
    assert pca_scores(turned, SIZES)[1] == pca_scores(codes, SIZES)[1]
    assert sap(codes[:, [2, 0, 1]], values % 2) == pytest.approx(sap(codes, values % 2), abs=1e-12)


def test_bins_are_those_of_numpy_and_a_second_axis_is_the_second_best():
    codes = torch.tensor([[0.0, 0], [1, 1], [2, 0], [3, 1]], dtype=torch.float64)
    values = torch.tensor([[0], [0], [1], [1]])
    # Four bins separate the values of the first axis, two bins join them in pairs.
    for bins in (2, 4):
        assert mig(codes, values, bins) == pytest.approx(1, abs=1e-12)
    assert mig(codes, torch.tensor([[0], [1], [1], [0]]), bins=4) == pytest.approx(1, abs=1e-12)
    assert mig(codes, torch.tensor([[0], [1], [1], [0]]), bins=2) == pytest.approx(0, abs=1e-12)


# Second implementations


@given(seed=st.integers(0, 2**31), n=st.integers(30, 400), bins=st.integers(2, 30))
@hypothesis_settings(max_examples=25)
def test_mig_equals_loops_over_scikit_learn(seed, n, bins):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, [2, 3, 7], size=(n, 3))
    codes = values @ rng.normal(size=(3, 4)) + rng.normal(size=(n, 4)) * rng.choice([0, 0.1, 3])
    gaps = []
    for factor in values.T:
        known = []
        for axis in codes.T:
            binned = np.digitize(axis, np.histogram(axis, bins)[1][:-1])
            known.append(mutual_info_score(factor, binned))
        second, best = np.sort(known)[-2:]
        gaps.append((best - second) / mutual_info_score(factor, factor))
    assert mig(codes, values, bins) == pytest.approx(np.mean(gaps), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_sap_equals_the_dual_form_of_the_classifier(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, [2, 3], size=(300, 2))
    codes = values @ rng.normal(size=(2, 3)) + rng.normal(size=(300, 3))
    gaps = []
    for factor in values.T:
        accuracy = []
        for axis in codes.T[:, :, None]:
            svm = LinearSVC(C=0.01, class_weight="balanced", dual=True, max_iter=100_000, tol=1e-6, random_state=0)
            accuracy.append((svm.fit(axis[:200], factor[:200]).predict(axis[200:]) == factor[200:]).mean())
        gaps.append(np.diff(np.sort(accuracy))[-1])
    assert sap(codes, values) == pytest.approx(np.mean(gaps), abs=0.01)


@pytest.mark.parametrize("seed", range(2))
def test_dci_equals_its_formula_on_importances_of_other_trees(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, [2, 3], size=(240, 2))
    codes = values @ rng.normal(size=(2, 3)) + 0.5 * rng.normal(size=(240, 3))
    trees = [GradientBoostingClassifier(random_state=99).fit(codes[:160], factor[:160]) for factor in values.T]
    r = np.stack([t.feature_importances_ for t in trees], axis=1)
    expected = {
        "disentanglement": np.average([1 - entropy(row, base=2) for row in r], weights=r.sum(1)),
        "completeness": np.average([1 - entropy(column, base=3) for column in r.T], weights=r.sum(0)),
        "informativeness": np.mean(
            [np.mean(t.predict(codes[160:]) == factor[160:]) for t, factor in zip(trees, values.T, strict=True)]
        ),
    }
    assert dci(codes, values, seed) == pytest.approx(expected, abs=0.02)


def test_factor_vae_score_equals_votes_counted_one_by_one():
    sizes, rng = (3, 4, 5), np.random.default_rng(0)
    codes = (grid(sizes) + 0.7 * normal(60, 3)).numpy()
    table, variance = codes.reshape(*sizes, 3), codes.var(0, ddof=1)

    def vote():
        k = rng.integers(3)
        drawn = [rng.integers(size, size=64) for size in sizes]
        drawn[k][:] = rng.integers(sizes[k])
        return k, np.argmin(table[tuple(drawn)].var(0, ddof=1) / variance)

    votes = np.zeros((3, 3))
    for _ in range(2000):
        votes[vote()] += 1
    majority = votes.argmax(0)
    expected = np.mean([majority[axis] == k for k, axis in (vote() for _ in range(2000))])
    assert 0.4 < expected < 0.95
    assert factor_vae_score(codes, sizes) == pytest.approx(expected, abs=0.03)


def test_pruned_axes_do_not_vote():
    codes = torch.cat([grid(SIZES), 0.04 * grid(SIZES)[:, :1]], dim=1)
    alone = 0.04 * grid(SIZES)
    assert factor_vae_score(codes, SIZES, 300, 300) == 1
    assert factor_vae_score(alone, SIZES, 300, 300) == 0
    assert factor_vae_score(alone, SIZES, 300, 300, prune=0) == 1


# Rotations


@given(seed=st.integers(0, 2**31))
@hypothesis_settings(max_examples=20)
def test_a_rotation_changes_mig_and_not_the_scores_along_directions(seed):
    sizes = (6, 7, 8, 9)
    aligned = grid(sizes) + 0.05 * normal(len(grid(sizes)), 4)
    on_axes, votes, _ = pca_scores(aligned, sizes)
    q = orthogonal(4, seed)
    turned = aligned @ q.T
    on_directions, turned_votes, directions = pca_scores(turned, sizes, seed)
    assert on_directions == pytest.approx(on_axes, abs=0.03)
    assert on_axes == pytest.approx(mig(aligned, indices(sizes)), abs=0.03)
    assert turned_votes == pytest.approx(votes, abs=0.03)
    assert max(angle(u, v) for u, v in zip(directions, q.T, strict=True)) < 5
    assert mig(turned, indices(sizes)) < mig(aligned, indices(sizes)) - 0.1


def test_axes_that_share_every_factor_alike_tell_none():
    sizes = (8, 8, 8, 8)
    hadamard = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]).double() / 2
    aligned = grid(sizes) + 0.05 * normal(4096, 4)
    turned = aligned @ hadamard.T
    assert axis_scores(aligned, sizes)[0] == 1
    assert axis_scores(turned, sizes)[0] < 0.45
    assert mig(turned, indices(sizes)) < 0.05
    on_directions, votes, directions = pca_scores(turned, sizes)
    assert on_directions == pytest.approx(mig(aligned, indices(sizes)), abs=0.03)
    assert votes == 1
    # All entries of a column of this rotation have one magnitude, so that rounding decides which is positive.
    torch.testing.assert_close((directions @ hadamard).abs(), torch.eye(4).double(), atol=0.02, rtol=0)


def test_a_direction_of_equal_entries_is_found_where_a_centred_pca_loses_it():
    sizes, draws, images = (4,) * 6, 6000, 10
    ones = torch.ones(6, dtype=torch.float64) / math.sqrt(6)
    q = torch.linalg.qr(torch.cat([ones[:, None], normal(6, 5)], dim=1)).Q
    codes = (grid(sizes) + 0.4 * normal(4096, 6, seed=1)) @ q.T
    rng, table, outer = np.random.default_rng(0), codes.reshape(4, -1, 6).numpy(), np.zeros((6, 6))
    for _ in range(1000):
        drawn = table[rng.integers(4)][rng.integers(1024, size=images)]
        u = np.linalg.eigh(np.cov(drawn.T)).eigenvectors[:, 0]
        outer += np.outer(u, u) / 1000
    assert angle(PCA().fit(outer).components_[0], ones.numpy()) > 60
    assert angle(latent_directions(codes, sizes, draws, images)[0], ones) < 3


def test_directions_do_not_depend_on_the_mean_and_have_a_positive_largest_entry():
    sizes = (6, 7, 8)
    codes = (grid(sizes) + 0.05 * normal(336, 3)) @ orthogonal(3, 1).T
    directions = latent_directions(codes, sizes, **FEW)
    assert (directions.gather(1, directions.abs().argmax(1, keepdim=True)) > 0).all()
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(3).double())
    torch.testing.assert_close(latent_directions(codes + 1e5, sizes, **FEW), directions, atol=1e-6, rtol=0)


# Axes without variance


@pytest.mark.parametrize("dead", ["constant", "duplicate"])
def test_a_collapsed_axis_makes_the_plain_score_chance_and_leaves_the_whitened_one(dead):
    alive = grid((6, 7, 8)) + 0.05 * normal(336, 3)
    codes = torch.cat([alive, {"constant": torch.full((336, 1), 0.1).double(), "duplicate": alive[:, :1]}[dead]], dim=1)
    on_directions, votes, directions = pca_scores(codes, (6, 7, 8))
    assert votes == pytest.approx(1 / 3, abs=0.1)
    assert on_directions < 0.1
    assert direction_angles(directions).max() < 0.01
    white = whitened(codes)
    assert white.shape == (336, 3)
    assert pca_scores(white, (6, 7, 8))[1] == 1
    both = pca_factor_vae_score_of_directions(codes, (6, 7, 8), directions, 300, 60, 0)
    assert both == {"": pytest.approx(1 / 3, abs=0.1), "whitened": 1}


def test_a_nearly_dead_axis_wins_in_plain_codes_and_not_in_whitened_ones():
    codes = torch.cat([grid((6, 7, 8)) + 0.1 * normal(336, 3), 1e-3 * normal(336, 1, seed=2)], dim=1)
    assert pca_scores(codes, (6, 7, 8))[1] < 0.6
    assert pca_scores(whitened(codes), (6, 7, 8))[1] == 1


def test_whitened_codes_have_unit_covariance_and_undo_every_linear_map():
    codes = (grid((6, 7, 8)) + 0.05 * normal(336, 3)) @ normal(3, 3, seed=4) + 5
    white = whitened(codes)
    torch.testing.assert_close(white.mean(0), torch.zeros(3).double(), atol=1e-10, rtol=0)
    torch.testing.assert_close(white.T @ white / 336, torch.eye(3).double(), atol=1e-9, rtol=0)
    _, votes, directions = pca_scores(white, (6, 7, 8))
    assert votes == 1
    assert angle_deviation(directions) < 2


def test_directions_that_miss_the_axes_of_their_factors_still_score_one():
    # The magnitudes of axes 0 and 1 tell factors 0 and 1. Axes 2 and 3 tell them less well but vary less.
    sizes = (2, 2, 8, 8)
    values, noise = 2.0 * indices(sizes).double() - 1, normal(256, 4)
    loud = noise[:, :2].sign() * (4 + 2 * values[:, :2])
    quiet = (values[:, :2] + noise[:, 2:]) / math.sqrt(2)
    codes = torch.cat([loud, quiet, values[:, 2:]], dim=1)
    _, votes, directions = pca_scores(codes, sizes)
    assert votes > 0.98
    for k in (0, 1):
        assert angle(directions[k], torch.eye(6).double()[k]) > 85
        assert ((codes[:, k].abs() > 4) == (values[:, k] > 0)).all()
        assert ((codes[:, k + 2] > 0) != (values[:, k] > 0)).sum() > 20


# Angles


@given(seed=st.integers(0, 2**31), k=st.integers(2, 6), l=st.integers(1, 6))
def test_angles_are_symmetric_and_between_0_and_90(seed, k, l):
    directions = torch.nn.functional.normalize(normal(k, l, seed=seed))
    angles = direction_angles(directions)
    assert torch.equal(angles, angles.T)
    assert (angles.diagonal() == 0).all()
    assert ((angles >= 0) & (angles <= 90)).all()
    torch.testing.assert_close(direction_angles(-directions.numpy()), angles)


def test_angles_of_known_directions():
    c, s = math.cos(math.radians(30)), math.sin(math.radians(30))
    directions = torch.tensor([[1, 0], [c, s], [0, 1], [-c, s]], dtype=torch.float64)
    expected = torch.tensor([[0, 30, 90, 30], [30, 0, 60, 60], [90, 60, 0, 60], [30, 60, 60, 0]], dtype=torch.float64)
    torch.testing.assert_close(direction_angles(directions), expected)
    assert angle_deviation(directions) == pytest.approx((60 + 0 + 60 + 30 + 30 + 30) / 6)
    assert angle_deviation(torch.eye(3)) == 0


# Draws and seeds


def test_factors_are_drawn_uniformly_and_independently_but_for_those_fixed():
    drawn = draw_factors((3, 4, 5), 12_000, generator(0, "test"), fixed={1: 2})
    assert drawn.shape == (12_000, 3)
    assert (drawn[:, 1] == 2).all()
    assert drawn.amin(0).tolist() == [0, 2, 0]
    pairs = (drawn[:, 0] * 5 + drawn[:, 2]).bincount(minlength=15).double()
    assert ((pairs - 800).abs() < 5 * math.sqrt(800)).all()
    free = draw_factors((3, 4, 5), 1000, generator(0, "test"))
    assert free[:, 1].unique().tolist() == [0, 1, 2, 3]


SEEDED = {
    "dci": lambda codes, seed: list(dci(codes, indices(SIZES)[:, :2] % 2, seed).values()),
    "factor_vae_score": lambda codes, seed: factor_vae_score(codes, SIZES, 500, 500, seed=seed),
    "beta_vae_score": lambda codes, seed: beta_vae_score(codes, SIZES, 500, 500, pairs=8, seed=seed),
    "latent_directions": lambda codes, seed: latent_directions(codes, SIZES, **FEW, seed=seed).tolist(),
    "pca_factor_vae_score": lambda codes, seed: pca_factor_vae_score(codes, SIZES, torch.eye(3), 500, 10, seed=seed),
}


@pytest.mark.parametrize("name", SEEDED)
def test_the_same_seed_gives_the_same_bits(name):
    codes, measure = grid(SIZES) + 0.8 * normal(120, 3), SEEDED[name]
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    first = measure(codes, 0)
    torch.rand(1), np.random.rand(1)  # noqa: NPY002
    assert measure(codes, 0) == first
    assert measure(codes.float().double().numpy(), 0) == measure(codes.float(), 0)
    if name != "dci":  # its seed only breaks ties
        assert measure(codes, 2) != first


# Metrics of a run


def test_metrics_of_a_run_draw_samples_of_the_grid():
    codes, eye = grid(SIZES).float(), torch.eye(3).double()
    near_one = {"": pytest.approx(1, abs=0.01), "paper": pytest.approx(1, abs=0.01)}
    assert factors.mig_of_axes(codes, SIZES, 4000, 0) == near_one
    assert pca_mig_of_directions(codes, SIZES, eye, 4000, 0) == factors.mig_of_axes(codes, SIZES, 4000, 0)
    assert factors.factor_vae_score_of_axes(codes, SIZES, 200, 0) == 1
    assert factors.beta_vae_score_of_axes(codes, SIZES, 200, 0) == 1
    assert pca_factor_vae_score_of_directions(codes, SIZES, eye, 200, 50, 0) == {"": 1, "whitened": 1}
    binary = grid((2, 2, 2))
    assert factors.sap_of_axes(binary, (2, 2, 2), 3000, 0) == pytest.approx(0.5, abs=0.05)
    assert factors.dci_of_axes(binary, (2, 2, 2), 150, 0)["disentanglement"] == pytest.approx(1, abs=0.01)


def test_the_paper_variant_has_ten_bins():
    codes = grid((20, 20))
    scores = factors.mig_of_axes(codes, (20, 20), 8000, 0)
    assert scores[""] == pytest.approx(1, abs=0.03)
    assert scores["paper"] == pytest.approx(1 - math.log(2) / math.log(20), abs=0.03)


# What is refused

CODES, VALUES = grid(SIZES), indices(SIZES)
unchecked = inspect.unwrap  # the function of a user, without the check of shapes of the tests


@pytest.mark.parametrize("measure", [mig, sap, dci])
@pytest.mark.parametrize(
    ("codes", "values", "words"),
    [
        (CODES, VALUES.double(), r"factors has dtype float64; give integers"),
        (CODES, VALUES > 0, r"factors has dtype bool; give integers"),
        (CODES, VALUES[:, 0], r"factors has shape \(120,\)"),
        (CODES, VALUES[:100], r"codes has 120 rows and factors has 100"),
        (CODES, VALUES * torch.tensor([1, 0, 1]), r"column 1 of factors .* has one value, 0, .* drop it"),
        (CODES, VALUES - 1, r"column 0 of factors .* has values -1 to 2 in 120 samples"),
        (CODES, VALUES * 30, r"column 1 of factors .* has values 0 to 120 in 120 samples; .* at least as many"),
        (CODES * math.nan, VALUES, r"codes has NaN or infinite values in 120 of 120 rows"),
        (CODES[:, 0], VALUES, r"codes has shape \(120,\)"),
        (CODES[:, :1], VALUES, r"codes has 1 dimension, .* give 2 or more"),
        (CODES[:1], VALUES[:1], r"codes has 1 samples"),
    ],
)
def test_codes_and_factors_that_do_not_fit_are_refused_in_a_sentence(measure, codes, values, words):
    with pytest.raises(UserError, match=rf"^{measure.__name__}: {words}.*\.$"):
        unchecked(measure)(codes, values)


def test_dci_needs_two_factors_and_a_factor_that_varies_where_it_is_fitted():
    with pytest.raises(UserError, match=r"^dci: factors has 1 column"):
        dci(CODES, VALUES[:, :1])
    late = (torch.arange(120) >= 80).long()[:, None]
    with pytest.raises(UserError, match=r"^sap: column 0 .* one value, 0, in all 80 training rows"):
        sap(CODES, late)


def test_pca_mig_names_itself():
    with pytest.raises(UserError, match=r"^pca_mig: factors has dtype float64"):
        pca_mig(CODES, VALUES.double(), torch.eye(3))
    with pytest.raises(UserError, match=r"^pca_mig: directions has rows of length 2 to 2; give unit vectors"):
        pca_mig(CODES, VALUES, 2 * torch.eye(3))
    with pytest.raises(UserError, match=r"^mig: bins is 1; give 2 or more"):
        mig(CODES, VALUES, bins=1)


GRID_FUNCTIONS = {
    "factor_vae_score": factor_vae_score,
    "beta_vae_score": beta_vae_score,
    "latent_directions": latent_directions,
    "pca_factor_vae_score": lambda codes, sizes: pca_factor_vae_score(codes, sizes, torch.eye(3)),
}


@pytest.mark.parametrize("name", GRID_FUNCTIONS)
@pytest.mark.parametrize(
    ("codes", "sizes", "words"),
    [
        (CODES[:-1], SIZES, r"grid_codes has 119 rows and sizes \(4, 5, 6\) make 120 combinations"),
        (CODES, (120,), r"sizes is \(120,\); give two or more factors"),
        (CODES, (120, 1), r"sizes is \(120, 1\); .* drop the others"),
        (CODES * math.inf, SIZES, r"grid_codes has NaN or infinite values"),
    ],
)
def test_codes_that_are_not_a_grid_are_refused_in_a_sentence(name, codes, sizes, words):
    with pytest.raises(UserError, match=rf"^{name}: {words}"):
        GRID_FUNCTIONS[name](codes, sizes)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: factor_vae_score(CODES, SIZES, images=1), "factor_vae_score: images is 1; give 2 or more"),
        (lambda: factor_vae_score(CODES, SIZES, test_votes=0), "factor_vae_score: test_votes is 0; give 1 or more"),
        (lambda: beta_vae_score(CODES, SIZES, pairs=0), "beta_vae_score: pairs is 0; give 1 or more"),
        (
            lambda: beta_vae_score(CODES, SIZES, points=1),
            "beta_vae_score: points is 1, and all of them fix the same",
        ),
        (lambda: latent_directions(CODES, SIZES, draws=2), "latent_directions: draws is 2, and one of the 3 factors"),
        (lambda: latent_directions(CODES, SIZES, images=1), "latent_directions: images is 1; give 2 or more"),
        (lambda: pca_factor_vae_score(CODES, SIZES, torch.eye(3), 0), "pca_factor_vae_score: draws is 0"),
        (lambda: pca_factor_vae_score(CODES, SIZES, torch.eye(3)[:2]), "pca_factor_vae_score: directions has 2 rows"),
        (
            lambda: unchecked(pca_factor_vae_score)(CODES, SIZES, torch.eye(4)),
            r"pca_factor_vae_score: directions has shape \(4, 4",
        ),
        (lambda: direction_angles(torch.zeros(2, 3)), "direction_angles: directions has rows of length 0 to 0"),
        (lambda: draw_factors(SIZES, 5, generator(0, "test"), {1: 5}), r"draw_factors: fixed\[1\] is 5; choose 0 to 4"),
        (
            lambda: draw_factors(SIZES, 5, generator(0, "test"), {3: 0}),
            "draw_factors: fixed has factor 3; choose 0 to 2",
        ),
    ],
)
def test_counts_and_directions_that_do_not_fit_are_refused_in_a_sentence(call, words):
    with pytest.raises(UserError, match=rf"^{words}"):
        call()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: latent_directions(np.eye(4), (2, 2), draws=-1), "latent_directions: draws is -1; give 1 or more"),
        (lambda: beta_vae_score(np.eye(4), (2, 2), points=-1), "beta_vae_score: points is -1; give 1 or more"),
        (lambda: mig(np.eye(3), np.array([["a"], ["b"], ["c"]])), "mig: factors has dtype <U1; give integers"),
        (lambda: pca_mig(np.eye(4), np.array([[0, 0], [1, 1], [0, 1], [1, 0]]), np.eye(4)[:1]), "1 rows for 2 factors"),
        (lambda: direction_angles(np.diag([0.9999, 1])), "directions has rows of length 0.9999 to 1"),
    ],
)
def test_more_bad_input_is_a_sentence(call, sentence):
    with pytest.raises(UserError, match=sentence):
        call()


def test_whitened_equal_codes_are_a_column_of_zeros():
    for value in (0.0, 0.1, 1e6):
        white = whitened(np.full((120, 3), value))
        assert white.shape == (120, 1)
        assert not white.any()


@pytest.mark.parametrize(("scale", "offset"), [(1, 1e9), (1e39, 0), (1e-60, 0), (1e6, -1e14)])
def test_dci_does_not_lose_the_digits_that_float32_trees_would(scale, offset):
    values = np.random.default_rng(0).integers(0, 2, size=(150, 2))
    codes = values + 0.01 * np.random.default_rng(1).normal(size=(150, 2))
    plain, found = dci(codes, values), dci(scale * codes + offset, values)
    assert plain["informativeness"] == 1
    assert found == pytest.approx(plain, abs=0.02)


@pytest.mark.parametrize("scale", [1e5, 1e20, 1e60])
def test_linear_scores_of_large_codes_end_and_are_those_of_moderate_ones(scale):
    values = np.random.default_rng(0).integers(0, 3, size=(300, 2))
    codes = values + 0.05 * np.random.default_rng(1).normal(size=(300, 2))
    assert sap(codes * scale, values) == pytest.approx(sap(codes * 1e4, values), abs=0.05)
    few = {"points": 200, "test_points": 200}
    assert beta_vae_score(grid(SIZES) * scale, SIZES, **few) == pytest.approx(1, abs=0.02)
