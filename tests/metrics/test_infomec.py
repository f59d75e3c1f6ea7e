"""InfoMEC, modularity, explicitness: known answers, second implementations, dead axes, what is undefined, refusals."""

import math

import numpy as np
import pytest
import torch
from scipy.special import digamma
from scipy.stats import entropy
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lvm_bench.errors import UserError
from lvm_bench.metrics import explicitness, infomec, modularity
from lvm_bench.metrics.grid import distinct_codes
from lvm_bench.metrics.infomec import _normalised_information, infomec_of_axes
from lvm_bench.metrics.modularity import explicitness_of_axes, modularity_of_axes
from lvm_bench.seeding import generator

SIZES = (3, 4, 5)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed, "test"), dtype=torch.float64)


VALUES = torch.cartesian_prod(*[torch.arange(size) for size in SIZES])
CODES = torch.cartesian_prod(*[torch.linspace(-1, 1, size, dtype=torch.float64) for size in SIZES])
DEAD = torch.full((len(CODES), 1), 0.1, dtype=torch.float64)


def shuffled(codes: torch.Tensor, copies: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Copies of the codes and of the factors, in one random order."""
    order = torch.randperm(copies * len(codes), generator=generator(0, "order"))
    return codes.repeat(copies, 1)[order], VALUES.repeat(copies, 1)[order]


# InfoMEC


def test_the_factors_as_codes_have_all_of_infomec() -> None:
    assert infomec(CODES, VALUES) == pytest.approx({"modularity": 1, "compactness": 1, "explicitness": 1}, abs=2e-3)


@pytest.mark.parametrize(("scale", "offset"), [(1e60, 0), (1e-200, 0), (1, 1e9)])
def test_infomec_ignores_scale_and_offset(scale: float, offset: float) -> None:
    assert infomec(scale * CODES + offset, VALUES) == pytest.approx(infomec(CODES, VALUES), abs=1e-4)


def test_axes_are_active_by_their_range_before_they_are_standardised() -> None:
    quiet = 0.01 * CODES[:, :2].sum(1, keepdim=True)
    assert infomec(torch.cat([CODES, quiet, DEAD], dim=1), VALUES)["modularity"] == infomec(CODES, VALUES)["modularity"]
    assert infomec(torch.cat([CODES, 100 * quiet], dim=1), VALUES)["compactness"] < 0.9999


def by_hand(codes: np.ndarray, factors: np.ndarray) -> tuple[float, float]:
    """InfoM and InfoC with the estimator of Ross 2014 over all pairs."""
    n, k = len(codes), 10
    nmi = np.empty((factors.shape[1], codes.shape[1]))
    for (i, j), _ in np.ndenumerate(nmi):
        distances = np.abs(codes[:, j][:, None] - codes[:, j])
        terms = []
        for row in range(n):
            alike = np.sort(distances[row][factors[:, i] == factors[row, i]])
            reach = min(k, len(alike) - 1)
            m = (distances[row] < alike[reach]).sum()  # itself included
            terms.append(digamma(n) + digamma(reach) - digamma(len(alike)) - digamma(m))
        nmi[i, j] = max(0, np.mean(terms)) / entropy(np.bincount(factors[:, i]))
    scores = []
    for shares in (nmi.T, nmi):
        b = shares.shape[1]
        scores.append(((shares.max(1) / shares.sum(1)).mean() - 1 / b) / (1 - 1 / b))
    return scores[0], scores[1]


def test_infomec_equals_its_formulas_over_all_pairs() -> None:
    values = VALUES.repeat(3, 1)
    codes = values.double() @ normal(3, 4) + 0.3 * normal(len(values), 4, seed=1)
    found = infomec(codes, values)
    expected = by_hand(codes.numpy(), values.numpy())
    assert (found["modularity"], found["compactness"]) == pytest.approx(expected, abs=1e-6)


def test_the_explicitness_of_a_noisy_bit_is_the_information_left() -> None:
    """A classifier of one bit that is wrong for a tenth of the rows has the cross-entropy H(.1)."""
    bit = torch.arange(200) % 2
    seen = bit.double()
    seen[:20] = 1 - seen[:20]
    assert infomec(seen[:, None], bit[:, None])["explicitness"] == pytest.approx(
        1 - entropy([0.1, 0.9]) / math.log(2), abs=1e-4
    )


def test_rare_values_weigh_as_much_as_others_in_the_fit_and_a_constant_guesses_evenly() -> None:
    values = (torch.arange(200) % 10 == 0).long()[:, None]
    codes = values.double() + 0.7 * normal(200, 1)
    fitted = LogisticRegression(C=1e9, class_weight="balanced").fit(codes.numpy(), values[:, 0].numpy())
    p = fitted.predict_proba(codes.numpy())[np.arange(200), values[:, 0]]
    assert infomec(codes, values)["explicitness"] == pytest.approx(1 + np.log(p).mean() / math.log(2), abs=1e-3)


def test_what_is_undefined_has_no_entry() -> None:
    assert infomec(CODES, VALUES[:, :1]).keys() == {"compactness", "explicitness"}
    assert infomec(CODES[:, :1], VALUES).keys() == {"modularity", "explicitness"}
    assert infomec(DEAD.expand(-1, 3), VALUES) == {"explicitness": pytest.approx(0, abs=1e-9)}
    noise = normal(len(CODES), 40)
    silent = noise[:, ~_normalised_information(noise.numpy(), VALUES.numpy(), 0).any(0)][:, :1]
    assert infomec(torch.cat([CODES, silent], dim=1), VALUES).keys() == {"compactness", "explicitness"}


def test_three_rows_end_and_two_are_a_sentence() -> None:
    few = infomec(torch.tensor([[1.0, 2], [2, 1], [3, 4]]), torch.tensor([[0, 0], [0, 1], [1, 1]]))
    assert all(map(math.isfinite, few.values()))
    with pytest.raises(UserError, match=r"^infomec: column 0 of factors .* has 2 values in 2 rows; .* give more\.$"):
        infomec(torch.tensor([[1.0], [2]]), torch.tensor([[0], [1]]))


def test_combinations_are_drawn_once() -> None:
    codes, factors = distinct_codes(CODES, SIZES, 50, 0, "infomec")
    assert len(factors.unique(dim=0)) == 50
    assert torch.equal(codes, CODES[factors @ torch.tensor([20, 5, 1])])
    assert len(distinct_codes(CODES, SIZES, 9999, 0, "infomec")[0]) == 60


def test_the_same_seed_gives_the_same_bits() -> None:
    noisy = CODES + 0.2 * normal(*CODES.shape)
    np.random.seed(0)  # noqa: NPY002
    first = infomec_of_axes(noisy, SIZES, 40, 0)
    np.random.rand(1)  # noqa: NPY002
    assert infomec_of_axes(noisy, SIZES, 40, 0) == first != infomec_of_axes(noisy, SIZES, 40, 1)


# Modularity


def test_a_dead_axis_counts_in_one_modularity_and_not_in_the_other() -> None:
    assert modularity(CODES, VALUES) == pytest.approx({"": 1, "active": 1})
    two = torch.cat([CODES[:, :2], DEAD], dim=1)
    assert modularity(two, VALUES[:, :2]) == pytest.approx({"": 2 / 3, "active": 1})
    assert modularity(DEAD, VALUES) == {"": 0}
    assert modularity_of_axes(CODES, SIZES, 4000, 0) == pytest.approx({"": 1, "active": 1}, abs=1e-3)


def test_an_axis_that_mixes_two_factors_is_not_modular() -> None:
    bits = torch.cartesian_prod(*[torch.arange(2)] * 3)
    both, neither = (2 * bits[:, 0] + bits[:, 1])[:, None], (bits[:, 0] ^ bits[:, 1])[:, None]
    assert modularity(both.double(), bits)[""] == pytest.approx(1 - 1 / 2)
    assert modularity(neither.double(), bits) == {"": 0, "active": 0}, "no factor alone tells of it"


@pytest.mark.parametrize(("scale", "offset"), [(1e60, 0), (1e-24, 0), (1, 1e9)])
def test_modularity_is_that_of_scikit_learns_information(scale: float, offset: float) -> None:
    codes = (VALUES.double() @ normal(3, 4) + normal(len(VALUES), 4, seed=1)).numpy()
    scores = []
    for axis in codes.T:
        binned = np.digitize(axis, np.histogram(axis, 20)[1][:-1])
        m = np.sort([mutual_info_score(factor, binned) for factor in VALUES.numpy().T])
        scores.append(1 - np.square(m[:-1]).sum() / (m[-1] ** 2 * 2))
    assert modularity(scale * codes + offset, VALUES)[""] == pytest.approx(np.mean(scores), abs=1e-4)
    with pytest.raises(UserError, match=r"^modularity: factors has 1 column, .* give 2 or more\.$"):
        modularity(codes, VALUES[:, :1])


# Explicitness


@pytest.mark.parametrize(("scale", "offset"), [(1e60, 0), (1e-24, 0), (1, 1e9)])
def test_the_factors_as_codes_are_explicit_and_constants_are_chance(scale: float, offset: float) -> None:
    codes, values = shuffled(torch.cat([CODES, CODES.square(), DEAD], dim=1))
    assert explicitness(scale * codes + offset, values)[""] == pytest.approx(1, abs=0.01)
    constant = torch.full((30, 2), scale + offset, dtype=torch.float64)
    assert explicitness(constant, values[:30]) == {"": 0.5, "scaled": 0}


def test_explicitness_is_that_of_scikit_learn() -> None:
    codes, values = shuffled(CODES + 0.8 * normal(*CODES.shape), 1)
    x, y = codes.numpy(), values.numpy()
    areas = []
    for factor in y.T:
        p = make_pipeline(StandardScaler(), LogisticRegression()).fit(x[:40], factor[:40]).predict_proba(x[40:])
        areas.append(
            roc_auc_score(factor[40:] == 1, p[:, 1])
            if p.shape[1] == 2
            else roc_auc_score(factor[40:], p, multi_class="ovr", average="macro")
        )
    found = explicitness(codes, values)
    assert found[""] == pytest.approx(np.mean(areas), abs=2e-3)
    assert found["scaled"] == pytest.approx(2 * found[""] - 1)
    noise = explicitness_of_axes(normal(len(CODES), 2), SIZES, 300, 0)
    assert noise[""] == pytest.approx(0.5, abs=0.3)


def test_factors_that_cannot_be_tested_are_sentences() -> None:
    values = torch.tensor([0, 1, 0, 1, 2, 3])[:, None]
    with pytest.raises(UserError, match=r"^explicitness: column 0 .* no value in the last third .* that the others"):
        explicitness(normal(6, 2), values)
    with pytest.raises(UserError, match=r"^explicitness: column 0 .* one value, 1, in all 2 test rows"):
        explicitness(normal(6, 2), torch.tensor([0, 1, 0, 1, 1, 1])[:, None])
