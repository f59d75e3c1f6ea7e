"""Coverage of the prior, memorisation, linear probe and novelty: closed forms and independent implementations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from prdc import compute_prdc
from scipy.spatial.distance import cdist
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lvm_bench.errors import UserError
from lvm_bench.metrics import auroc, code_coverage, linear_probe, mahalanobis, nearest_distances, nearest_ratio
from lvm_bench.metrics.novelty import ood_density, ood_reconstruction


def normal(n: int, l: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, l))


# --- coverage of the prior ---------------------------------------------------------------------------------


def test_the_coverage_of_equal_distributions_is_that_of_k_coin_tosses() -> None:
    """A ball up to the k-th of n - 1 other draws holds no code with probability 2^-k, for many draws and codes."""
    shares = [code_coverage(normal(2000, 3, seed), normal(2000, 3, 100 + seed), 3) for seed in range(4)]
    assert np.mean(shares) == pytest.approx(1 - 2**-3, abs=0.01)


def test_coverage_agrees_with_prdc_and_falls_by_the_mass_of_a_hole() -> None:
    draws, codes = normal(1000, 2, 0), normal(3000, 2, 1)
    assert code_coverage(draws, codes[:900], 5) == compute_prdc(draws, codes[:900], 5)["coverage"]
    with_hole = codes[codes[:, 0] < 0.5][:1000]
    assert code_coverage(draws, with_hole, 5) == pytest.approx(norm.cdf(0.5), abs=0.05)


# --- memorisation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3,), (1, 2, 5)])
def test_nearest_distances_are_those_of_all_pairs(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lvm_bench.metrics.memorisation._VALUES", 100)  # several blocks
    draw = np.random.default_rng(0).integers
    queries, references = (draw(0, 256, (n, *shape), dtype=np.uint8) for n in (20, 70))
    expected = cdist(queries.reshape(20, -1).astype(float), references.reshape(70, -1).astype(float)).min(1)
    np.testing.assert_allclose(nearest_distances(queries, references).numpy(), expected, rtol=1e-12)


def test_copies_score_0_real_images_1_and_farther_ones_more() -> None:
    training = np.random.default_rng(0).integers(0, 200, (50, 1, 4, 4), dtype=np.uint8)
    assert nearest_ratio(training, training[:5] + 4, training[:9]) == 0
    assert nearest_ratio(training, training[:5] + 4, training[20:25] + 4) == pytest.approx(1)
    assert nearest_ratio(training, training[:5] + 1, training[:5] + 3) == pytest.approx(3)
    assert nearest_ratio(training, training[:5], training[:5]) == 1
    assert nearest_ratio(training, training[:5], training[:5] + 1) == math.inf


def test_at_most_2000_of_each_set_are_asked() -> None:
    training, far = np.zeros((1, 2)), np.full((1000, 2), 9.0)
    near = np.full((2000, 2), 0.5)
    assert nearest_ratio(training, near, np.concatenate([near, far, far, far])) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nearest_distances_keep_their_digits_far_from_the_origin(dtype: type) -> None:
    references = (normal(40, 3, 0) + 1e6).astype(dtype)
    queries = references[:9] + np.asarray(0.25, dtype)
    expected = cdist(queries.astype(float), references.astype(float)).min(1)
    np.testing.assert_allclose(nearest_distances(queries, references).numpy(), expected, rtol=1e-6)
    assert nearest_distances(references[:5], references).eq(0).all()


# --- linear probe ------------------------------------------------------------------------------------------


def test_the_probe_is_scikit_learns_pipeline() -> None:
    codes, labels = normal(400, 3, 0) * [1, 50, 0.01], np.random.default_rng(1).integers(0, 3, 400)
    codes[:, 1] += 30 * labels
    train, test = slice(250), slice(250, None)
    expected = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)).fit(codes[train], labels[train])
    found = linear_probe(codes[train], labels[train], codes[test], labels[test])
    assert found == pytest.approx(expected.score(codes[test], labels[test]), abs=0.01)
    assert found > 0.4


def test_codes_that_hold_the_label_are_read_without_error_and_others_by_chance() -> None:
    labels = np.arange(600) % 4
    told = np.eye(4)[labels] + 0.01 * normal(600, 4, 0)
    assert linear_probe(told[:300], labels[:300], torch.from_numpy(told[300:]), torch.from_numpy(labels[300:])) == 1
    blind = normal(8000, 4, 1)
    many = np.arange(8000) % 4
    assert linear_probe(blind[:4000], many[:4000], blind[4000:], many[4000:]) == pytest.approx(0.25, abs=0.03)
    dead = np.concatenate([told, np.ones((600, 1))], 1)
    assert linear_probe(dead[:300], labels[:300], dead[300:], labels[300:]) == 1


def test_mistakes_of_a_probe_are_sentences() -> None:
    codes, labels = normal(10, 2, 0), np.arange(10) % 2
    with pytest.raises(UserError, match="all training labels are the same"):
        linear_probe(codes, np.zeros(10, int), codes, labels)
    with pytest.raises(UserError, match=r"train_codes has shape .* and train_labels has shape .* must agree"):
        linear_probe(codes, labels[:5], codes, labels)
    for wrong, words in (
        (codes[:, 0], "values such as .*; give classes"),
        (np.where(labels, np.nan, 1.0), "NaN or infinite values in 5 of 10"),
        (np.where(labels, "cat", "dog"), "dtype <U3"),
    ):
        with pytest.raises(UserError, match=rf"^linear_probe: labels has {words}"):
            linear_probe(codes, labels, codes, wrong)


# --- novelty -----------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.lists(st.integers(0, 9), min_size=1, max_size=30))
def test_the_auroc_is_scikit_learns_and_that_of_exchanged_sets_is_the_rest(known: list[int], novel: list[int]) -> None:
    a, b = np.array(known, float), np.array(novel, float)
    expected = roc_auc_score([0] * len(a) + [1] * len(b), [*a, *b])
    assert auroc(a, torch.from_numpy(b)) == pytest.approx(expected, abs=1e-12)
    assert auroc(a, b) + auroc(b, a) == pytest.approx(1, abs=1e-12)


def test_the_auroc_of_two_normal_distributions_is_the_closed_form() -> None:
    """P(b > a) = Phi(d / sqrt 2) for a ~ N(0, 1), b ~ N(d, 1)."""
    a, b = normal(40_000, 1, 0)[:, 0], normal(40_000, 1, 1)[:, 0] + 0.7
    assert auroc(a, b) == pytest.approx(norm.cdf(0.7 / math.sqrt(2)), abs=0.005)


def test_the_mahalanobis_distance_is_that_of_the_inverse_covariance_and_blind_to_directions_without_variance() -> None:
    fit, at = normal(200, 3, 0) @ np.array([[1, 2, 0], [0, 1, 0.5], [0, 0, 3]]), normal(50, 3, 1)
    inverse = np.linalg.inv(np.cov(fit, rowvar=False))
    centred = at - fit.mean(0)
    expected = np.einsum("ni,ij,nj->n", centred, inverse, centred)
    np.testing.assert_allclose(mahalanobis(fit, at).numpy(), expected, rtol=1e-9)
    dead = np.concatenate([fit, np.ones((200, 1))], 1)
    np.testing.assert_allclose(
        mahalanobis(dead, np.concatenate([at, normal(50, 1, 2)], 1)).numpy(), expected, rtol=1e-9
    )


def test_novel_images_are_those_with_larger_errors_or_rarer_codes() -> None:
    rng = np.random.default_rng(0)
    real, novel = rng.random((30, 1, 2, 2)), rng.random((40, 1, 2, 2))
    assert ood_reconstruction(real, real + 0.1, novel, novel + 0.2) == 1
    assert ood_reconstruction(real, real + 0.2, novel, novel - 0.1) == 0
    codes = normal(500, 4, 0)
    assert ood_density(codes, normal(100, 4, 1), normal(100, 4, 2) + 10) == 1
    assert ood_density(codes, normal(2000, 4, 1), normal(2000, 4, 2)) == pytest.approx(0.5, abs=0.03)
