"""PRD and k-NN precision and recall: hand-made cases, exchange of the sets, agreement with prdc."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from prdc import compute_prdc
from sklearn.cluster import MiniBatchKMeans

from lvm_bench.errors import UserError
from lvm_bench.metrics import clusters, f_score, knn, neighbours, prd, prd_curve
from lvm_bench.seeding import generator


def normal(n, d, seed, scale=1.0, shift=0.0):
    return scale * np.random.default_rng(seed).normal(size=(n, d)) + shift


def prd_of(real, fake):
    curve = prd_curve(np.array(real, dtype=float), np.array(fake, dtype=float))
    return f_score(*curve, 1 / 8), f_score(*curve, 8)


def test_prd_of_equal_histograms_is_one_and_of_disjoint_ones_zero():
    assert prd_of([0.5, 0.3, 0.2], [0.5, 0.3, 0.2]) == pytest.approx((1, 1), abs=1e-6)
    assert prd_of([0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]) == pytest.approx((0, 0), abs=1e-6)


def test_prd_of_a_fake_that_misses_half_of_the_real_modes_has_precision_without_recall():
    """P = (1/2, 1/2), Q = (1, 0): slope t gives min(t/2, 1), so (1, 1/2) is on the curve and bounds it."""
    precision, recall = prd_of([0.5, 0.5], [1, 0])
    assert precision == pytest.approx(65 * 0.5 / (1 + 64 * 0.5), abs=1e-3)
    assert recall == pytest.approx(65 * 0.5 / (64 + 0.5), abs=1e-3)
    assert precision > 0.98 > 0.51 > recall


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=20))
def test_exchanging_histograms_exchanges_the_two_numbers(counts):
    p, q = np.array(counts, dtype=float).T + 1e-3
    p, q = p / p.sum(), q / q.sum()
    precision, recall = prd_of(p, q)
    assert prd_of(q, p) == pytest.approx((recall, precision), abs=1e-6)
    assert 0 <= min(precision, recall) <= max(precision, recall) <= 1


def test_prd_of_equal_and_of_disjoint_sets():
    x = normal(300, 5, 0)
    assert prd(x, x) == pytest.approx({"precision": 1, "recall": 1}, abs=1e-6)
    assert prd(x, x + 100) == pytest.approx({"precision": 0, "recall": 0}, abs=1e-6)


def test_exchanging_real_and_fake_exchanges_prd_precision_and_recall():
    modes = normal(4, 5, 0, scale=20)
    real = np.concatenate([mode + normal(75, 5, i) for i, mode in enumerate(modes)])
    fake = np.concatenate([mode + normal(150, 5, 9 + i) for i, mode in enumerate(modes[:2])])
    forth, back = prd(real, fake), prd(torch.from_numpy(fake), torch.from_numpy(real))
    assert forth["precision"] > 0.85 > 0.6 > forth["recall"]
    assert back["precision"] == pytest.approx(forth["recall"], abs=1e-8)
    assert back["recall"] == pytest.approx(forth["precision"], abs=1e-8)


def published_prd(real, fake, seed):
    """One clustering of Sajjadi et al. 2018, section 4, by scikit-learn's mini-batch k-means."""
    kmeans = MiniBatchKMeans(20, n_init=10, batch_size=1024, random_state=seed)
    labels = kmeans.fit_predict(np.concatenate([real, fake]))
    p, q = (np.bincount(half, minlength=20) / len(real) for half in np.split(labels, 2))
    slopes = np.tan(np.linspace(1e-10, np.pi / 2 - 1e-10, 1001))
    precision = np.minimum(slopes[:, None] * p, q).sum(1)
    return precision, precision / slopes


@pytest.mark.parametrize(("n", "scale", "shift"), [(300, 1.3, 0.0), (1000, 1.0, 0.5), (1000, 0.5, 0.0)])
def test_prd_agrees_with_the_published_algorithm_within_its_spread_over_seeds(n, scale, shift):
    real, fake = normal(n, 8, 0), normal(n, 8, 1, scale, shift)
    curves = [published_prd(real, fake, seed) for seed in range(20)]
    spread = np.std([[f_score(*curve, 1 / 8), f_score(*curve, 8)] for curve in curves], axis=0)
    means = [np.mean(curves[start::2], axis=0) for start in range(2)]  # each of ten clusterings, like ours
    expected = np.mean([[f_score(*mean, 1 / 8), f_score(*mean, 8)] for mean in means], axis=0)
    found = np.mean([list(prd(real, fake, seed).values()) for seed in range(2)], axis=0)
    assert np.all(np.abs(found - expected) < 4 * spread * np.sqrt(2 / 20) + 1e-3)


def bimodal(rows, far=1e5):
    rows[:, 0] = far * (np.arange(len(rows)) % 2)
    return rows


def with_an_outlier(rows):
    return np.concatenate([rows, np.full((1, rows.shape[1]), 1e7)])


def with_equal_outliers(rows):
    return np.concatenate([rows, np.full((2, rows.shape[1]), -1e15)])


def far_clusters(rows):
    return rows + 1e4 * (np.arange(len(rows)) % 2)[:, None]


WIDE = {
    "one axis at 0 or 1e5": (8, 10.0, bimodal),
    "one axis at 0 or 1e9": (8, 10.0, lambda rows: bimodal(rows, 1e9)),
    "one row far away": (8, 10.0, with_an_outlier),
    "two equal rows further away": (8, 10.0, with_equal_outliers),
    "clusters far apart": (256, 1.5, far_clusters),
    "tiny": (8, 10.0, lambda rows: rows * 1e-24),
    "huge": (8, 10.0, lambda rows: rows * 1e24),
    "partly overlapping": (4, 1.0, bimodal),
}


@pytest.mark.parametrize("kind", WIDE)
def test_prd_of_wide_ranges_agrees_with_scikit_learn_in_float64(kind):
    d, shift, widen = WIDE[kind]
    sets = [widen(normal(200, d, seed, shift=shift * seed)).astype(np.float32) for seed in (0, 1)]
    real, fake = (rows.astype(float) for rows in sets)
    # scikit-learn stops at once for tiny inertia, whose scale changes nothing.
    unit = 1 / np.abs(real).max() if kind in ("tiny", "huge") else 1.0
    curves = [published_prd(real * unit, fake * unit, seed) for seed in range(6)]
    single = np.array([[f_score(*curve, 1 / 8), f_score(*curve, 8)] for curve in curves])
    mean = np.mean(curves, axis=0)
    expected = np.array([f_score(*mean.clip(0, 1), 1 / 8), f_score(*mean.clip(0, 1), 8)])
    for found in (prd(*sets), prd(real, fake)):
        assert np.all(np.abs(np.array([*found.values()]) - expected) < 4 * single.std(0) + 0.01)


def test_clusters_of_ordinary_rows_are_those_of_float32_alone(monkeypatch):
    asked = []
    monkeypatch.setattr(
        clusters, "_centres", lambda x, *rest, make=clusters._centres: asked.append(x.dtype) or make(x, *rest)
    )
    prd(normal(500, 64, 0), normal(500, 64, 1, scale=1.2))
    assert asked == [torch.float32]
    prd(bimodal(normal(300, 4, 0)), bimodal(normal(300, 4, 1, shift=10)))
    assert asked[1:] == [torch.float32, torch.float64]


def test_prd_draws_from_the_larger_set_when_asked():
    real, fake = normal(200, 3, 0), normal(90, 3, 1, shift=0.5)
    drawn = prd(real, fake, subsample=True, seed=3)
    chosen = real[torch.randperm(200, generator=generator(3, "prd subsample"))[:90].numpy()]
    assert drawn == prd(chosen, fake, seed=3)
    assert drawn != prd(real, fake, subsample=True, seed=4)
    back = prd(fake, real, subsample=True, seed=3)
    assert (back["recall"], back["precision"]) == pytest.approx((drawn["precision"], drawn["recall"]), abs=1e-8)
    assert prd(real, real, subsample=True) == prd(real, real)


def test_counts_become_shares_and_what_is_no_histogram_is_a_sentence():
    assert prd_of([9, 1], [5, 5]) == pytest.approx(prd_of([0.9, 0.1], [0.5, 0.5]), abs=1e-12)
    assert prd_of([9e307, 9e307], [5, 5]) == pytest.approx((1, 1), abs=1e-6)
    for real, fake in (([-1, 2], [1, 1]), ([1, 1], [0, 0]), ([1, math.nan], [1, 1])):
        with pytest.raises(UserError, match=r"^prd_curve: (real|fake) has "):
            prd_of(real, fake)
    with pytest.raises(UserError, match=r"^f_score: precision has values from 2 to 3; give shares in \[0, 1\]"):
        f_score(np.array([2.0, 3.0]), np.array([0.5, 0.5]), 1)


def test_prd_repeats_bit_for_bit_and_depends_on_its_seed():
    real, fake = normal(150, 4, 0), normal(150, 4, 1, scale=1.5)
    assert prd(real, fake, seed=1) == prd(real, fake, seed=1)
    assert prd(real, fake, seed=1) != prd(real, fake, seed=2)


def test_prd_refuses_sets_of_different_sizes():
    with pytest.raises(UserError, match=r"^prd: real has 50 samples and fake has 49; .* cut the larger one"):
        prd(normal(50, 2, 0), normal(49, 2, 1))


@pytest.mark.parametrize(("n", "m", "d", "k"), [(300, 300, 8, 5), (120, 200, 3, 5), (50, 40, 64, 3)])
def test_knn_agrees_with_prdc(n, m, d, k, capsys):
    real, fake = normal(n, d, 0, shift=2.0), normal(m, d, 1, scale=1.2, shift=2.1)
    expected = {name: float(value) for name, value in compute_prdc(real, fake, k).items()}
    assert knn(real, fake, k) == pytest.approx(expected, rel=1e-12)
    assert 0 < expected["precision"] < 1 or d == 64


def test_exchanging_real_and_fake_exchanges_knn_precision_and_recall_and_nothing_else():
    real, fake = normal(200, 4, 0, scale=2.0), normal(200, 4, 1)
    forth, back = knn(real, fake), knn(fake, real)
    assert forth["precision"] == 1 > forth["recall"]
    assert (back["precision"], back["recall"]) == (forth["recall"], forth["precision"])
    assert back["density"] != forth["density"]
    assert back["coverage"] != forth["coverage"]


def scattered(n, d, stream):
    return torch.randn(n, d, generator=stream)


def constant(n, d, stream):
    return torch.full((n, d), 0.1)


def partly_blank(n, d, stream):
    return torch.cat([torch.zeros(n * 3 // 10, d), scattered(n - n * 3 // 10, d, stream)])


def two_places(n, d, stream, spread=1e-6):
    return 3 * scattered(2, d, torch.Generator().manual_seed(0))[torch.arange(n) % 2] + spread * scattered(n, d, stream)


def two_places_and_an_outlier(n, d, stream):
    return torch.cat([torch.full((1, d), 3e3), two_places(n - 1, d, stream)])


def many_places(n, d, stream):
    return 3 * scattered(12, d, torch.Generator().manual_seed(0))[torch.arange(n) % 12] + 1e-6 * scattered(n, d, stream)


def one_hot(n, d, stream):
    return torch.eye(n)[torch.randperm(n, generator=stream)]


@pytest.mark.parametrize("rows", [constant, partly_blank, two_places, two_places_and_an_outlier, many_places, one_hot])
def test_tied_and_crowded_rows_settle_few_pairs_one_by_one(rows, monkeypatch):
    """A pair costs as much as fifty pairs in a product, so that random rows cost about 0.02 n^2 such pairs."""
    settled = []

    def counted(a, i, b, j, differences=neighbours._differences):
        settled.append(len(i))
        return differences(a, i, b, j)

    monkeypatch.setattr(neighbours, "_differences", counted)
    stream, n = torch.Generator().manual_seed(1), 300
    knn(rows(n, 200, stream).double(), rows(n, 200, stream).double())
    assert sum(settled) < 0.3 * n * n


@pytest.mark.parametrize(
    "rows", [scattered, constant, partly_blank, two_places, two_places_and_an_outlier, many_places, one_hot]
)
def test_knn_of_tied_and_crowded_rows_is_that_of_every_difference(rows):
    stream = torch.Generator().manual_seed(1)
    x, y = rows(70, 40, stream).double(), rows(70, 40, stream).double()
    within = [(a[:, None] - a).square().sum(2).fill_diagonal_(torch.inf).kthvalue(5, dim=1).values for a in (x, y)]
    between = (x[:, None] - y).square().sum(2)
    in_real, in_fake = between < within[0][:, None], between < within[1]
    expected = {
        "precision": in_real.any(0).double().mean(),
        "recall": in_fake.any(1).double().mean(),
        "density": in_real.double().sum() / (5 * 70),
        "coverage": in_real.any(1).double().mean(),
    }
    assert knn(x, y) == pytest.approx({name: float(value) for name, value in expected.items()}, abs=1e-12)


def test_knn_on_a_line_by_hand():
    """Real 0, 1, 3, 7 have radii 1, 1, 2, 4 at k = 1; fakes 0.5 and 20 and 3 have 2.5, 17 and 2.5."""
    real = np.array([[0.0], [1.0], [3.0], [7.0]])
    fake = np.array([[0.5], [20.0], [3.0]])
    scores = knn(real, fake, k=1)
    # 0.5 lies in the balls of 0 and 1 alone; 3 in its own, not on the open edges of 1 and 7's balls.
    assert scores["precision"] == pytest.approx(2 / 3)
    assert scores["density"] == pytest.approx(3 / 3)
    assert scores["coverage"] == pytest.approx(3 / 4)
    assert scores["recall"] == 1


def test_knn_of_disjoint_sets_is_zero_and_needs_a_neighbour_more_than_k():
    real = normal(30, 2, 0)
    assert set(knn(real, real + 1000).values()) == {0.0}
    with pytest.raises(UserError, match=r"^knn: fake has 5 samples, and 6 or more are needed"):
        knn(real, normal(5, 2, 1))
