"""Mardia's tests: the moments of their null, an independent formula, affine maps, dead axes, few rows. Active units."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2, norm

from lvm_bench.metrics import active_units, mardia_kurtosis, mardia_skewness, normality
from lvm_bench.metrics.equilibrium import dimension_of_codes, two_nn_dimension
from lvm_bench.seeding import generator


def normal(n: int, l: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, l, generator=generator(seed, "test"), dtype=torch.float64)


def by_pairs(codes: np.ndarray) -> dict[str, float]:
    """Both statistics from all pairs, with the inverse of the covariance."""
    n, l = codes.shape
    apart = codes - codes.mean(0)
    products = apart @ np.linalg.inv(np.cov(codes.T, bias=True)) @ apart.T
    skewness, kurtosis = float((products**3).mean()), float((np.diag(products) ** 2).mean())
    z = (kurtosis - l * (l + 2) * (n - 1) / (n + 1)) / math.sqrt(8 * l * (l + 2) / n)
    law = chi2(l * (l + 1) * (l + 2) / 6)
    return {
        "skewness": skewness, "skewness statistic": n * skewness / 6, "skewness p": law.sf(n * skewness / 6),
        "kurtosis": kurtosis, "kurtosis statistic": z, "kurtosis p": 2 * norm.sf(abs(z)),
    }  # fmt: skip


def both(codes: torch.Tensor) -> dict[str, float]:
    found = {"skewness": mardia_skewness(codes), "kurtosis": mardia_kurtosis(codes)}
    return {f"{name} {part}".strip(): value for name, parts in found.items() for part, value in parts.items()}


@pytest.mark.parametrize("l", [2, 5])  # few axes by their moments, more of them by pairs of codes
def test_both_are_those_of_all_pairs(l: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normality, "_TILE", 30)
    codes = normal(100, l).exp() @ normal(l, l, 1)
    assert both(codes) == pytest.approx(by_pairs(codes.numpy()), rel=1e-8)


def test_normal_draws_have_the_moments_of_the_null() -> None:
    n, l, draws = 60, 3, 150
    found = [both(normal(n, l, seed)) for seed in range(draws)]
    skewness, kurtosis, z = (
        np.array([each[name] for each in found]) for name in ("skewness", "kurtosis", "kurtosis statistic")
    )
    # The exact expectations of n draws, which Mardia 1970 gives.
    exact = l * (l + 2) * ((n + 1) * (l + 1) - 6) / ((n + 1) * (n + 3))
    assert abs(skewness.mean() - exact) < 3 * skewness.std() / math.sqrt(draws)
    assert abs(kurtosis.mean() - l * (l + 2) * (n - 1) / (n + 1)) < 3 * kurtosis.std() / math.sqrt(draws)
    assert abs(z.mean()) < 3 * z.std() / math.sqrt(draws)


def test_many_axes_have_the_null_of_the_spec() -> None:
    """Without the exact expectation of the kurtosis its statistic would be near -1 here."""
    n, l, draws = 2000, 64, 6
    found = [both(normal(n, l, seed)) for seed in range(draws)]
    z = [each["kurtosis statistic"] for each in found]
    assert abs(np.mean(z)) < 3 / math.sqrt(draws) - 0.3
    freedom = l * (l + 1) * (l + 2) / 6
    assert np.mean([each["skewness statistic"] for each in found]) == pytest.approx(
        freedom, abs=5 * math.sqrt(2 * freedom / draws)
    )


def test_what_is_not_normal_is_told() -> None:
    skewed, shell = normal(500, 3).exp(), torch.nn.functional.normalize(normal(500, 3), dim=1)
    assert mardia_skewness(skewed)["p"] < 1e-9
    assert mardia_kurtosis(skewed)["statistic"] > 5
    assert mardia_kurtosis(shell)["statistic"] < -5
    assert mardia_skewness(shell)["p"] > 0.01


@pytest.mark.parametrize(("scale", "offset"), [(1e60, 0), (1e-24, 0), (1e-200, 0), (1, 1e9)])
def test_they_ignore_affine_maps_and_axes_without_variance(scale: float, offset: float) -> None:
    codes = normal(200, 3).exp()
    moved = torch.cat([scale * codes @ normal(3, 3, 1) + offset, torch.full((200, 2), 0.1, dtype=torch.float64)], dim=1)
    assert both(moved) == pytest.approx(both(codes), rel=1e-5)


@pytest.mark.parametrize("codes", [normal(2, 3), normal(4, 3), torch.ones(9, 3)])
def test_codes_that_all_have_the_same_norm_once_standardised_have_no_score(codes: torch.Tensor) -> None:
    assert both(codes) == {}
    assert len(both(normal(5, 3))) == 6


# What else is counted of codes


@pytest.mark.parametrize("offset", [0, 3, 1e12])
def test_units_are_active_by_the_variance_of_their_means(offset: float) -> None:
    means = normal(500, 4) * torch.tensor([1, 0.05, 0.2, 0]) + offset
    assert active_units(means) == 2
    assert active_units(means[:2]) <= 4


def test_the_dimension_of_a_run_is_the_function_or_none() -> None:
    codes = normal(100, 3)
    assert dimension_of_codes(codes) == {"": two_nn_dimension(codes)}
    assert dimension_of_codes(torch.ones(9, 2)) == dimension_of_codes(codes[:2]) == {}
