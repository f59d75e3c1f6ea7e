"""FD-infinity, CMMD, Vendi score, AuthPct and C_T: closed forms, and independent implementations."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytorch_fid.fid_score import calculate_frechet_distance
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from lvm_bench.errors import UserError
from lvm_bench.metrics import authpct, c_t, cmmd, fd_infinity, frechet_distance, vendi
from lvm_bench.metrics.fidelity import fd_infinity_score


def normal(n: int, d: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) + shift


# --- FD-infinity -------------------------------------------------------------------------------------------


def test_the_line_goes_through_the_distances_of_random_subsets(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = normal(300, 6, 0), 1.5 * normal(400, 6, 1, 0.2)
    sizes = [int(size) for size in np.linspace(40, 400, 15)]
    drawn: list[np.ndarray] = []

    def order(n: int, generator: object) -> object:
        import torch

        drawn.append(np.random.default_rng(len(drawn)).permutation(n))
        return torch.from_numpy(drawn[-1])

    monkeypatch.setattr("torch.randperm", order)
    found = fd_infinity(real, fake, 40)
    (mu, sigma), expected = (real.mean(0), np.cov(real, rowvar=False)), []
    for size, rows in zip(sizes, drawn, strict=True):
        subset = fake[rows[:size]]
        with pytest.warns(DeprecationWarning, match="disp"):
            expected.append(calculate_frechet_distance(mu, sigma, subset.mean(0), np.cov(subset, rowvar=False)))
    design = np.stack([np.ones(15), 1 / np.array(sizes)], axis=1)
    assert found == pytest.approx(np.linalg.lstsq(design, expected, rcond=None)[0][0], rel=1e-6)


def test_what_has_the_same_distance_in_every_subset_keeps_it() -> None:
    real = normal(50, 3, 0)
    fake = np.tile(normal(1, 3, 1), (60, 1))
    assert fd_infinity(real, fake, 10) == pytest.approx(frechet_distance(real, fake), rel=1e-9)


def test_it_scales_with_the_square_and_does_not_see_an_offset() -> None:
    real, fake = normal(60, 3, 0), normal(80, 3, 1, 0.5)
    expected = fd_infinity(real, fake, 10)
    assert fd_infinity(1e-24 * real, 1e-24 * fake, 10) == pytest.approx(1e-48 * expected, rel=1e-9)
    assert fd_infinity(real + 1e9, fake + 1e9, 10) == pytest.approx(expected, rel=1e-5)


def test_the_bias_of_few_fakes_is_taken_away() -> None:
    """E[FD] - FD is about c / n: with 32 axes and 1,000 fakes nearly all of the distance of equal distributions."""
    real, fake = normal(40_000, 32, 0), normal(1000, 32, 1)
    assert abs(fd_infinity(real, fake, 100)) < 0.2 * frechet_distance(real, fake)


def test_the_smallest_subset_of_the_metric_is_a_tenth() -> None:
    real, fake = normal(40, 3, 0), normal(200, 3, 1)
    assert fd_infinity_score(real, fake, 3) == fd_infinity(real, fake, 20, 3)
    assert fd_infinity_score(real, fake[:7], 3) == fd_infinity(real, fake[:7], 2, 3)


def test_a_smallest_subset_of_all_fakes_is_refused() -> None:
    with pytest.raises(UserError, match=r"^fd_infinity: fake has 20 samples, and 21 or more are needed"):
        fd_infinity(normal(30, 2, 0), normal(20, 2, 1), 20)


# --- CMMD --------------------------------------------------------------------------------------------------


def test_cmmd_of_two_points() -> None:
    a, b = normal(1, 5, 0), normal(1, 5, 1)
    assert cmmd(a, b) == pytest.approx(2000 * (1 - math.exp(-((a - b) ** 2).sum() / 200)), rel=1e-12)


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (30.0, 0.0), (1.0, 1e6)])
def test_cmmd_is_the_mean_kernel_of_all_pairs(scale: float, offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lvm_bench.metrics.fidelity._PAIRS", 500)  # several blocks
    real, fake = scale * normal(70, 4, 0), scale * normal(40, 4, 1, 0.3)
    k = [np.exp(-cdist(x, y, "sqeuclidean") / 200).mean() for x, y in ((real, real), (fake, fake), (real, fake))]
    assert cmmd(real + offset, fake + offset) == pytest.approx(1000 * (k[0] + k[1] - 2 * k[2]), rel=1e-8)


def test_cmmd_of_small_features_is_that_of_their_means() -> None:
    """For |x - y| far below sigma the kernel is 1 - |x - y|^2 / 200, whose MMD^2 is |difference of means|^2 / 100."""
    real, fake = 1e-24 * normal(30, 4, 0), 1e-24 * normal(20, 4, 1, 1.0)
    assert cmmd(real, fake) == pytest.approx(10 * ((real.mean(0) - fake.mean(0)) ** 2).sum(), rel=1e-9)
    assert cmmd(real, real) == 0


# --- Vendi -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d"), [(60, 8), (20, 50), (1, 3)])
def test_vendi_is_the_entropy_of_the_kernel_of_all_pairs(n: int, d: int) -> None:
    x = normal(n, d, 0, 0.5)
    rows = normalize(x)
    shares = np.linalg.eigvalsh(rows @ rows.T / n)
    shares = shares[shares > 0]
    assert vendi(x) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-9)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.floats(-30, 30))
def test_vendi_counts_directions(counts: list[int], decades: float) -> None:
    """Rows along orthogonal directions: the exponential of the entropy of their shares, at any scale of each row."""
    rows = np.repeat(np.eye(len(counts)), counts, axis=0) * 10.0 ** (decades * np.arange(sum(counts))[:, None] / 54)
    p = np.array(counts) / sum(counts)
    assert vendi(rows) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-9)


def test_vendi_refuses_rows_without_a_direction() -> None:
    with pytest.raises(UserError, match=r"^vendi: fake has 2 of 5 rows of zeros, which have no direction; leave"):
        vendi(np.concatenate([np.zeros((2, 3)), np.ones((3, 3))]))


# --- AuthPct -----------------------------------------------------------------------------------------------


def authentic(training: np.ndarray, fake: np.ndarray) -> float:
    """By all pairs."""
    among, apart = cdist(training, training), cdist(training, fake)
    np.fill_diagonal(among, np.inf)
    return 100 * float((among.min(1)[apart.argmin(0)] < apart.min(0)).mean())


@pytest.mark.parametrize("scale", [1e-24, 1.0, 1e20])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_authpct_agrees_with_all_pairs(scale: float, dtype: type) -> None:
    training, fake = normal(80, 3, 0).astype(dtype), normal(300, 3, 1).astype(dtype)
    expected = authentic(training.astype(float), fake.astype(float))
    assert 10 < expected < 90
    assert authpct(training * dtype(scale), fake * dtype(scale)) == pytest.approx(expected)


def test_authpct_of_copies_of_noise_and_of_what_lies_as_near_as_training_rows_do() -> None:
    training = np.arange(10.0)[:, None]
    assert authpct(training, training) == 0
    assert authpct(training, training + 1e6) == 100
    assert authpct(training, np.array([[0.5], [-1.0], [-1.01], [10.5]])) == 50  # the second as near: not authentic
    assert authpct(training + 1e9, np.array([[0.5], [-1.0], [-1.01], [10.5]]) + 1e9) == 50


# --- C_T ---------------------------------------------------------------------------------------------------


def clusters(n: int, d: int, seed: int, spread: float = 1.0) -> np.ndarray:
    """Three clusters of n, 2 n and 3 n rows, far apart, in any order."""
    stream = np.random.default_rng(seed)
    centres = np.repeat(20 * np.eye(3, d), [n, 2 * n, 3 * n], axis=0)
    rows = centres + spread * stream.normal(size=centres.shape) * np.linspace(1, 0.2, d)
    return rows[stream.permutation(len(rows))]


def z_by_scipy(training: np.ndarray, heldout: np.ndarray, fake: np.ndarray) -> float:
    """The statistic with scikit-learn's axes and cells and SciPy's U."""
    if training.shape[1] > 64:
        axes = PCA(64, svd_solver="full").fit(training)
        training, heldout, fake = (axes.transform(rows) for rows in (training, heldout, fake))
    cells = KMeans(3, n_init=10, random_state=0).fit(training)
    t, p, q = (cells.predict(rows) for rows in (training, heldout, fake))
    total = weight = 0.0
    for cell in range(3):
        if (q == cell).sum() <= 20:
            continue
        known = training[t == cell]
        near = [cdist(rows[of == cell], known).min(1) for rows, of in ((fake, q), (heldout, p))]
        m, n = map(len, near)
        u = mannwhitneyu(*near).statistic
        total += n * (u - (n * m / 2 - 0.5)) / math.sqrt(n * m * (n + m + 1) / 12)
        weight += n
    return total / weight


@pytest.mark.parametrize("d", [5, 70])
@pytest.mark.parametrize("change", [lambda x: x, lambda x: 1e-24 * x, lambda x: x + 1e9], ids=["", "small", "far"])
def test_c_t_agrees_with_scikit_learn_and_scipy(d: int, change: Callable[[np.ndarray], np.ndarray]) -> None:
    training, heldout, fake = clusters(60, d, 0), clusters(20, d, 1), clusters(15, d, 2, 1.2)
    assert (training.shape[0], len(fake) // 6) == (360, 15)  # the smallest cell has too few fakes
    expected = z_by_scipy(training, heldout, fake)
    assert c_t(change(training), change(heldout), change(fake)) == pytest.approx(expected, abs=1e-6)
    assert abs(expected) > 1


def test_c_t_tells_copies_from_held_out_rows_and_from_wider_samples() -> None:
    training, heldout = clusters(60, 5, 0), clusters(20, 5, 1)
    copies, fresh, wide = training + 1e-3, clusters(20, 5, 2), clusters(20, 5, 2, 1.5)
    assert c_t(training, heldout, copies) < -5
    assert abs(c_t(training, heldout, fresh)) < 2
    assert c_t(training, heldout, wide) > 3


def test_equal_sets_have_half_of_all_pairs() -> None:
    training, heldout = clusters(40, 4, 0), clusters(30, 4, 1)
    shares = np.array([1, 2, 3]) / 6
    correction = [0.5 / math.sqrt(n * n * (2 * n + 1) / 12) for n in (30, 60, 90)]
    assert c_t(training, heldout, heldout) == pytest.approx(shares @ correction, rel=1e-9)


def test_cells_that_cannot_be_compared_are_sentences() -> None:
    training, heldout = clusters(40, 4, 0), clusters(30, 4, 1)
    lone = heldout[heldout[:, 0] > 10]
    with pytest.raises(UserError, match=r"^c_t: of 3 cells of training rows one has \d+ training and 0 held-out rows"):
        c_t(training, lone, heldout)
    with pytest.raises(UserError, match=r"^c_t: no cell has more than 20 of the 30 rows of fake"):
        c_t(training, heldout, np.concatenate([clusters(5, 4, 2)]))
