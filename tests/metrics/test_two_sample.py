"""The two-sample test: Bayes accuracies in closed form, scikit-learn's classifiers, what each of the two can see."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, chi2, norm
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier

from lvm_bench.errors import UserError
from lvm_bench.metrics import two_sample_test
from lvm_bench.metrics.two_sample import nearest_neighbour_votes, quadratic_votes
from lvm_bench.seeding import generator


def normal(n: int, l: int, name: str, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(n, l, generator=generator(0, name), dtype=torch.float64)


def test_equal_distributions_are_told_apart_by_chance_alone() -> None:
    found = two_sample_test(normal(4000, 8, "a"), normal(4000, 8, "b"))
    for name in ("knn", "quadratic"):
        assert abs(found[name] - 0.5) < 3 / math.sqrt(4 * 4000)
        assert found[f"{name}_p"] > 0.001


def test_a_shift_is_told_with_the_bayes_accuracy() -> None:
    """Of N(0, I) and N(d e_1, I): Phi(d/2)."""
    found = two_sample_test(normal(8000, 2, "a") + torch.tensor([1.5, 0]), normal(8000, 2, "b"))
    assert found["quadratic"] == pytest.approx(norm.cdf(0.75), abs=0.015)
    assert found["knn"] == pytest.approx(norm.cdf(0.75), abs=0.02)
    assert max(found["knn_p"], found["quadratic_p"]) < 1e-50


def test_another_variance_is_told_with_the_bayes_accuracy() -> None:
    """Of N(0, I) and N(0, s I) in l dimensions: they are equally likely where |z|^2 = l s log s / (s - 1)."""
    l, s = 6, 2.0
    border = l * s * math.log(s) / (s - 1)
    expected = (chi2.cdf(border, l) + chi2.sf(border / s, l)) / 2
    found = two_sample_test(normal(8000, l, "a", math.sqrt(s)), normal(8000, l, "b"))
    assert found["quadratic"] == pytest.approx(expected, abs=0.015)


def test_neighbours_see_what_has_the_moments_of_the_prior_and_another_shape() -> None:
    shell = torch.nn.functional.normalize(normal(6000, 4, "a"), dim=1) * 2  # mean 0, covariance I
    found = two_sample_test(shell, normal(6000, 4, "b"))
    assert found["knn"] > 0.7
    assert abs(found["quadratic"] - 0.5) < 0.03


def test_a_dead_axis_is_told_at_once() -> None:
    dead = normal(1000, 4, "a") * torch.tensor([1, 1, 1, 0])
    found = two_sample_test(dead, normal(1000, 4, "b"))
    assert found["quadratic"] > 0.99


def test_the_classifiers_are_those_of_scikit_learn() -> None:
    codes, draws, test = normal(150, 3, "a", 1.4) + 0.2, normal(150, 3, "b"), normal(200, 3, "c")
    x, y = torch.cat([codes, draws]).numpy(), np.repeat([True, False], 150)
    knn = KNeighborsClassifier(17, algorithm="brute").fit(x, y)  # sqrt(300) = 17.3
    assert nearest_neighbour_votes(codes, draws, test).tolist() == knn.predict(test.numpy()).tolist()
    quadratic = QuadraticDiscriminantAnalysis().fit(x, y)
    assert quadratic_votes(codes, draws, test).tolist() == quadratic.predict(test.numpy()).tolist()


def test_the_p_value_is_that_of_a_binomial_test() -> None:
    found = two_sample_test(normal(300, 2, "a") + 0.2, normal(300, 2, "b"))
    for name in ("knn", "quadratic"):
        right = round(found[name] * 300)
        assert found[f"{name}_p"] == pytest.approx(binomtest(right, 300, 0.5, alternative="greater").pvalue)


def test_it_repeats_with_its_seed_and_takes_sets_of_other_sizes() -> None:
    codes, draws = normal(101, 2, "a"), normal(300, 2, "b")
    first = two_sample_test(codes.numpy(), draws, seed=1)
    assert first == two_sample_test(codes, draws, seed=1) != two_sample_test(codes, draws, seed=2)
    assert first["knn"] * 102 == pytest.approx(round(first["knn"] * 102))  # 51 of each are tested


def test_mistakes_of_a_two_sample_test_are_sentences() -> None:
    with pytest.raises(UserError, match="draws has 3 samples, and 4 or more are needed"):
        two_sample_test(normal(10, 2, "a"), normal(3, 2, "b"))
