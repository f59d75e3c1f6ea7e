"""Squared radii and balls equal those of float64 differences, wherever the rows lie."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lvm_bench.distances import row_blocks
from lvm_bench.metrics import neighbours
from lvm_bench.metrics.neighbours import around, is_inside, squared_radii


def normal(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def brute(a, b):
    """Every squared distance, from differences in float64."""
    return (a.double()[:, None] - b.double()).square().sum(2)


def ordinary(n, d):
    return normal(n, d)


def far_from_the_origin(n, d):
    return normal(n, d) + 1e5


def collapsed(n, d):
    return 1e-6 * normal(n, d) + torch.ones(d, dtype=torch.float64)


def duplicated(n, d):
    return normal(1 + n // 20, d).repeat(20, 1)[:n]


def on_a_grid(n, d):
    return (2 * normal(n, d)).round()


def all_equal(n, d):
    return torch.ones(n, d, dtype=torch.float64)


def huge(n, d):
    return 1e25 * normal(n, d)


def tiny(n, d):
    return 1e-25 * normal(n, d)


def in_two_places(n, d):
    """Rows so near to each other and so far from their mean that even products in float64 cannot separate them."""
    return 1e-6 * normal(n, d) + 100 * torch.arange(n, dtype=torch.float64).remainder(2)[:, None]


def with_an_outlier(n, d):
    return torch.cat([1e6 * torch.ones(1, d, dtype=torch.float64), normal(n - 1, d)])


CLOUDS = [
    ordinary,
    far_from_the_origin,
    collapsed,
    duplicated,
    on_a_grid,
    all_equal,
    huge,
    tiny,
    in_two_places,
    with_an_outlier,
]


@pytest.fixture(autouse=True, params=["rows are short", "rows are long"])
def small_tiles(request, monkeypatch):
    monkeypatch.setattr(neighbours, "_TILE", 32)
    monkeypatch.setattr(neighbours, "_LONG", 0 if request.param == "rows are long" else 10**6)
    monkeypatch.setattr(
        neighbours, "row_blocks", lambda n, columns, size=0: row_blocks(n, columns, size or 32 * columns)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cloud", CLOUDS)
def test_radii_and_balls_are_those_of_exact_distances(cloud, dtype):
    k = 5
    a, b = cloud(150, 12).to(dtype), cloud(170, 12).flip(0)[:90].to(dtype) * 1.01
    x, y = (around(a.mean(0), rows) for rows in (a, b))
    own = brute(a, a).fill_diagonal_(torch.inf)
    radii = squared_radii(x, x, k)
    torch.testing.assert_close(radii, own.kthvalue(k, dim=1).values, rtol=1e-12, atol=0)
    torch.testing.assert_close(squared_radii(x, y, k), brute(a, b).kthvalue(k, dim=1).values, rtol=1e-12, atol=0)
    rows, columns = slice(3, 150), slice(0, 90)
    limits = radii[rows, None], brute(b, b).fill_diagonal_(torch.inf).kthvalue(k, dim=1).values[columns]
    found = is_inside(x, rows, y, columns, *limits)
    for inside, limit in zip(found, limits, strict=True):
        assert torch.equal(inside, brute(a[rows], b[columns]) < limit)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(2, 40), st.integers(1, 5), st.integers(0, 2**31), st.sampled_from([1, 3, 64]))
def test_few_rows_and_many_neighbours(n, k, seed, d):
    a, k = normal(n, d, seed), min(k, n - 1)
    x = around(a.mean(0), a)
    expected = brute(a, a).fill_diagonal_(torch.inf).kthvalue(k, dim=1).values
    torch.testing.assert_close(squared_radii(x, x, k), expected, rtol=1e-12, atol=0)


def test_an_open_ball_leaves_out_its_own_edge():
    """The k-th neighbour lies on the edge. Every row has at most k - 1 others inside, despite rounding."""
    a = normal(200, 30).float()
    x = around(a.mean(0), a)
    radii = squared_radii(x, x, 4)
    inside = is_inside(x, slice(0, 200), x, slice(0, 200), radii[:, None])[0]
    assert np.unique(inside.sum(1).numpy()).tolist() == [4]  # the row itself and three others


def test_only_rows_that_float32_cannot_tell_are_looked_at_again(monkeypatch):
    """Half of the rows are far from the others and so near to each other that rounding hides their distances."""
    looked_at = []

    def seen(centres, which, points, k, dtype, radii=neighbours._radii):
        looked_at.append((dtype, which.tolist()))
        return radii(centres, which, points, k, dtype)

    monkeypatch.setattr(neighbours, "_radii", seen)
    a = torch.cat([10 * normal(50, 12), 100 + 1e-6 * normal(50, 12, seed=1)])
    x = around(a.mean(0), a)
    radii = squared_radii(x, x, 5)
    expected = brute(a, a).fill_diagonal_(torch.inf).kthvalue(5, dim=1).values
    torch.testing.assert_close(radii, expected, rtol=1e-12, atol=0)
    first, *again = looked_at
    assert first == (torch.float32, list(range(100)))
    assert {dtype for dtype, _ in again} == {torch.float64}
    assert sum(len(which) for _, which in again) == 50
