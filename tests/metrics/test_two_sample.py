"""The two-sample test: Bayes accuracies in closed form, an independent implementation, holes and shells."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import binomtest, chi2, norm
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from lvm_bench.errors import UserError
from lvm_bench.metrics import two_sample_test
from lvm_bench.seeding import generator


def normal(n: int, l: int, name: str, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(n, l, generator=generator(0, name), dtype=torch.float64)


@pytest.mark.parametrize("l", [2, 16])
def test_equal_distributions_are_told_apart_by_chance_alone(l: int) -> None:
    found = two_sample_test(normal(2000, l, "a"), normal(2000, l, "b"))
    assert abs(found[""] - 0.5) < 3 / math.sqrt(4 * 2000)
    assert found["p"] > 0.001


def test_a_shift_is_told_with_the_bayes_accuracy() -> None:
    """For N(0, I) and N(d e_1, I) it is Phi(d/2)."""
    found = two_sample_test(normal(3000, 3, "a") + torch.tensor([1.5, 0, 0]), normal(3000, 3, "b"))
    assert found[""] == pytest.approx(norm.cdf(0.75), abs=0.03)
    assert found["p"] < 1e-50


def test_another_variance_is_told_with_the_bayes_accuracy() -> None:
    """For N(0, I) and N(0, s I) both are equally likely at |z|^2 = l s log s / (s - 1)."""
    l, s = 6, 2.0
    border = l * s * math.log(s) / (s - 1)
    expected = (chi2.cdf(border, l) + chi2.sf(border / s, l)) / 2
    assert two_sample_test(normal(3000, l, "a", math.sqrt(s)), normal(3000, l, "b"))[""] == pytest.approx(
        expected, abs=0.03
    )


@pytest.mark.parametrize(("l", "least"), [(4, 0.9), (16, 0.9)])
def test_a_shell_with_the_moments_of_the_prior_is_seen(l: int, least: float) -> None:
    shell = torch.nn.functional.normalize(normal(2000, l, "a"), dim=1) * math.sqrt(l)  # mean 0, covariance I
    assert two_sample_test(shell, normal(2000, l, "b"))[""] > least


def test_clusters_with_the_moments_of_the_prior_are_seen() -> None:
    clusters = normal(10, 8, "centres")[torch.arange(4000) % 10] + normal(4000, 8, "a", 0.7)
    spectrum, axes = torch.linalg.eigh(clusters.T.cov())
    whitened = (clusters - clusters.mean(0)) @ axes / spectrum.sqrt()
    assert two_sample_test(whitened, normal(4000, 8, "b"))[""] > 0.7


def test_a_hole_is_seen() -> None:
    codes = normal(8000, 2, "a")
    around = codes[codes.square().sum(1) > 0.3][:5000]  # without the 14 % in the middle
    found = two_sample_test(around, normal(5000, 2, "b"))
    # Right are as many rows as by chance, and also the draws in the hole, which chance would call codes.
    assert found[""] == pytest.approx(0.5 + chi2.cdf(0.3, 2) / 2, abs=0.02)
    assert found["p"] < 1e-6


def test_a_dead_axis_is_told_at_once() -> None:
    dead = normal(600, 4, "a") * torch.tensor([1, 1, 1, 0])
    assert two_sample_test(dead, normal(600, 4, "b"))[""] > 0.99


def test_it_is_the_same_as_made_of_other_parts() -> None:
    sets = normal(200, 3, "a", 1.3).numpy(), normal(200, 3, "b").numpy()
    stream = generator(5, "two-sample test")
    codes, draws = (rows[torch.randperm(200, generator=stream).numpy()] for rows in sets)
    x = np.concatenate([codes[:100], draws[:100], codes[100:], draws[100:]])
    columns = []
    for start in (0, 100):
        known, distances = x[start : start + 100], cdist(x, x[start : start + 100])
        distances[start : start + 100][np.eye(100, dtype=bool)] = np.inf
        columns.append(2 * np.log(np.sort(distances, axis=1)[:, 29]))
        columns.append(
            np.log(np.square(cdist(x, known.mean(0)[None], "mahalanobis", VI=np.linalg.inv(np.cov(known.T)))))
        )
    model = make_pipeline(
        StandardScaler(), PolynomialFeatures(2, include_bias=False), LogisticRegression(max_iter=5000)
    )
    y = np.repeat([1, 0], 100)
    features = np.column_stack(columns)
    right = int((model.fit(features[:200], y).predict(features[200:]) == y).sum())
    expected = {"": right / 200, "p": binomtest(right, 200, 0.5, alternative="greater").pvalue}
    assert two_sample_test(*sets, seed=5) == pytest.approx(expected)


def test_it_repeats_with_its_seed_and_takes_sets_of_other_sizes() -> None:
    codes, draws = normal(101, 2, "a"), normal(300, 2, "b")
    first = two_sample_test(codes.numpy(), draws, seed=1)
    assert first == two_sample_test(codes, draws, seed=1)
    assert len({two_sample_test(codes, draws, seed=seed)[""] for seed in range(4)}) > 1
    assert first[""] * 102 == pytest.approx(round(first[""] * 102))  # 51 of each are tested


def test_mistakes_of_a_two_sample_test_are_sentences() -> None:
    with pytest.raises(UserError, match="draws has 3 samples, and 4 or more are needed"):
        two_sample_test(normal(10, 2, "a"), normal(3, 2, "b"))
    with pytest.raises(UserError, match=r"^two_sample_test: codes and draws are the same constant"):
        two_sample_test(torch.ones(20, 2), torch.ones(20, 2))
    assert two_sample_test(torch.ones(20, 2), torch.zeros(20, 2))[""] == 1


def test_fewer_rows_than_axes_have_the_distances_of_their_covariance() -> None:
    from lvm_bench.metrics.two_sample import _mahalanobis

    stream = torch.Generator().manual_seed(0)
    fit, at = (torch.randn(n, 9, generator=stream, dtype=torch.float64) for n in (5, 7))
    spectrum, axes = torch.linalg.eigh(fit.T.cov())
    expected = (((at - fit.mean(0)) @ axes).square() / spectrum.clamp(min=1e-3)).sum(1)
    torch.testing.assert_close(_mahalanobis(fit, at, 1e-3), expected)
