"""Every public metric takes what users of NumPy and torch have, and answers what it cannot measure with a sentence."""

import inspect
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

from lvm_bench import metrics
from lvm_bench.errors import UserError
from lvm_bench.evaluation.perceptual import untrained_perceptual
from lvm_bench.modelling.kde import Density

RNG = np.random.default_rng(0)
SIZES = (3, 4)


def eighths(n: int, d: int, shift: float = 0.0) -> np.ndarray:
    """Normal numbers that every floating dtype holds exactly."""
    return np.clip(np.round(8 * (RNG.normal(size=(n, d)) + shift)) / 8, -8, 8)


def pixels(n: int = 6, side: int = 5) -> np.ndarray:
    return RNG.integers(0, 17, size=(n, 1, side, side)) / 16


X, Y = eighths(60, 4), eighths(60, 4, 0.5)
Z = np.concatenate([X, Y]) + 0.25  # enough of them for each cell of C_T
FACTORS = RNG.integers(0, 3, size=(60, 2))
LABELS = RNG.integers(0, 2, size=60)
GRID = np.repeat(np.argwhere(np.ones(SIZES)), 2, axis=1) + eighths(12, 4) / 8
SETS = {"real": X, "fake": Y}
GAPS = {"codes": X, "factors": FACTORS}
LOGS = {"log_weights": X}
POSTERIOR = {"posterior": (X, -np.abs(Y))}
ON_GRID = {"grid_codes": GRID, "sizes": SIZES}
DRAWS = {"draws": 40, "images": 10}

# A call of each metric: arrays and settings by their names.
CALLS: dict[str, dict[str, Any]] = {
    "active_units": {"codes": X},
    "auroc": {"known": X[:, 0], "novel": Y[:, 0]},
    "authpct": {"training": X, "fake": Y},
    "beta_vae_score": {**ON_GRID, "points": 50, "test_points": 20, "pairs": 4},
    "c_t": {"training": X, "heldout": X + 0.125, "fake": Z},
    "cmmd": SETS,
    "bits_per_dim": {**LOGS, "dequantised_values": 25},
    "code_coverage": {"prior_codes": X, "codes": Y, "neighbours": 3},
    "collapsed_kl": POSTERIOR,
    "collapsed_variance": {"codes": X},
    "dci": {"codes": X, "factors": FACTORS % 2},  # fewer trees
    "dimension_wise_kl": POSTERIOR,
    "direction_angles": {"directions": np.eye(4)[:2]},
    "draw_factors": {"sizes": SIZES, "n": 5, "stream": torch.Generator()},
    "energy_distance": {"codes": X, "prior_codes": Y},
    "elbo": LOGS,
    "equilibrium_variance": {"codes": X, "kernel_density": Density(torch.from_numpy(Y), 0.5, -20.0)},
    "explicitness": {**GAPS, "factors": FACTORS % 2},
    "f_score": {"precision": np.array([0.25, 0.5]), "recall": np.array([1.0, 0.5]), "beta": 8.0},
    "factor_vae_score": {**ON_GRID, "votes": 50, "test_votes": 20, "images": 5},
    "fd_infinity": {**SETS, "smallest": 6},
    "frechet_distance": SETS,
    "gaussian_entropy": {"n": 60, "l": 4},
    "gaussian_kl": {"codes": X, "variance": 1.0},
    "gaussian_kl_floor": {"codes": X},
    "gaussian_kl_parts": {"codes": X, "variance": 1.0},
    "infomec": {"codes": X[:, :2], "factors": FACTORS[:, :1] % 2},
    "iw_bound": LOGS,
    "kernel_distance": {**SETS, "subsets": 3, "subset_size": 20},
    "kernel_distances": {**SETS, "subsets": 3, "subset_size": 20},
    "knn": {**SETS, "k": 3},
    "latent_directions": {**ON_GRID, **DRAWS},
    "linear_probe": {"train_codes": X, "train_labels": LABELS, "codes": Y, "labels": LABELS},
    "lpips": {"real": pixels(2, 32), "recon": pixels(2, 32), "perceptual": untrained_perceptual("cpu")},
    "mahalanobis": {"fit": X, "at": Y},
    "mardia_kurtosis": {"codes": X},
    "mardia_skewness": {"codes": X},
    "mig": {**GAPS, "bins": 5},
    "mmd": {"codes": X, "variance": 1.0},
    "ms_ssim": {"real": pixels(1, 161), "recon": pixels(1, 161)},
    "mse": {"real": pixels(), "recon": pixels()},
    "modularity": {**GAPS, "bins": 5},
    "mutual_information": POSTERIOR,
    "nearest_distances": {"queries": X, "references": Y},
    "nearest_ratio": {"training": X, "heldout": Y, "fake": X + 0.125},
    "norm_ks": {"codes": X, "target_variance": 1.0},
    "norm_ks_prior": {"codes": X, "prior_codes": Y},
    "pca_factor_vae_score": {**ON_GRID, "directions": np.eye(4)[:2], **DRAWS},
    "pca_mig": {**GAPS, "directions": np.eye(4)[:2], "bins": 5},
    "prd": SETS,
    "prd_curve": {"real": np.array([3.0, 1.0]), "fake": np.array([1.0, 1.0])},
    "psnr": {"real": pixels(), "recon": pixels()},
    "sap": GAPS,
    "sharpness": {"fake": pixels()},
    "sliced_wasserstein": {"codes": X, "prior_codes": Y},
    "sse": {"real": pixels(), "recon": pixels()},
    "ssim": {"real": pixels(3, 12), "recon": pixels(3, 12)},
    "total_correlation": POSTERIOR,
    "two_nn_dimension": {"codes": X},
    "two_sample_test": {"codes": X, "draws": Y},
    "vendi": {"fake": Y},
    "whitened": {"grid_codes": GRID},
    "whitened_entropy": {"codes": X},
}
SLOW = {
    "dci",
    "beta_vae_score",
    "infomec",
    "whitened_entropy",
    "prd",
    "ms_ssim",
}  # enough forms of these as of the others, but fewer


@pytest.fixture(autouse=True)
def _unchecked() -> Iterator[None]:
    """Users call without the type checker of the tests, which would refuse first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def changed(value: Any, change: Callable[[np.ndarray], Any]) -> Any:
    if isinstance(value, tuple) and isinstance(value[0], np.ndarray):
        return tuple(change(each) for each in value)
    return change(value) if isinstance(value, np.ndarray) else value


def called(name: str, arguments: dict[str, Any]) -> list[float]:
    """The numbers that a metric returns."""
    if name == "draw_factors":
        arguments = {**arguments, "stream": torch.Generator().manual_seed(0)}
    found = getattr(metrics, name)(**arguments)
    found = list(found.values()) if isinstance(found, dict) else found
    return [float(value) for part in (found if isinstance(found, tuple) else (found,)) for value in np.ravel(part)]


def reversed_twice(a: np.ndarray) -> np.ndarray:
    return np.flip(np.flip(a).copy())


def read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


def floating(dtype: torch.dtype | type) -> Callable[[np.ndarray], Any]:
    def change(a: np.ndarray) -> Any:
        if a.dtype.kind != "f":
            return a
        return torch.from_numpy(a).to(dtype) if isinstance(dtype, torch.dtype) else a.astype(dtype)

    return change


def tracked(a: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(a).requires_grad_() if a.dtype.kind == "f" else torch.from_numpy(a)


FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "reversed": reversed_twice,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "read-only": read_only,
    "Fortran-ordered": np.asfortranarray,
    "list": np.ndarray.tolist,
    "list of rows": list,
    "masked array without a mask": np.ma.array,
    "float16": floating(np.float16),
    "float32": floating(np.float32),
    "longdouble": floating(np.longdouble),
    "torch": torch.from_numpy,
    "torch.float16": floating(torch.float16),
    "torch.bfloat16": floating(torch.bfloat16),
    "requires_grad": tracked,
    "list of tensors": lambda a: [torch.tensor(row) for row in a],
    "sparse": lambda a: torch.from_numpy(a).to_sparse(),
}


def arrays_of(name: str) -> list[str]:
    return [key for key, value in CALLS[name].items() if changed(value, lambda _: None) is not value]


def test_every_public_metric_has_a_call_here() -> None:
    assert set(CALLS) == set(metrics.__all__)


@pytest.mark.parametrize("name", sorted(name for name in CALLS if arrays_of(name)))
def test_a_metric_is_the_same_number_for_every_form_of_its_arrays(name: str) -> None:
    arguments, expected = CALLS[name], called(name, CALLS[name])
    assert not any(map(math.isnan, expected))
    for form, change in FORMS.items():
        if name in SLOW and form not in ("reversed", "big-endian", "list", "torch.bfloat16"):
            continue
        found = called(name, {key: changed(value, change) for key, value in arguments.items()})
        # Clusters of float32 rows and of float64 rows differ where rows are equally near to two centres.
        assert found == pytest.approx(expected, rel=1e-5, abs=0.05 if name == "prd" else 1e-6), form


BAD: dict[str, Callable[[np.ndarray], Any]] = {
    "object": lambda a: a.astype(object),
    "text": lambda a: a.astype(str),
    "dates": lambda a: a.astype("datetime64[s]"),
    "complex": lambda a: a + 1j,
    "complex torch": lambda a: torch.from_numpy(a + 1j),
    "masked": lambda a: np.ma.masked_equal(a, a.flat[0]),
    "ragged": lambda a: [[1, 2], [3]],
    "None": lambda a: None,
    "scalar": lambda a: 3.0,
    "empty": lambda a: a[:0],
    "NaN": lambda a: np.full(a.shape, np.nan),
    "infinite": lambda a: np.full(a.shape, -np.inf),
}


@pytest.mark.parametrize("name", sorted(name for name in CALLS if arrays_of(name)))
def test_what_holds_no_real_numbers_is_a_sentence_that_names_the_metric_and_the_argument(name: str) -> None:
    for key in arrays_of(name):
        for what, change in BAD.items():
            if (key, what) == ("log_weights", "infinite"):
                continue  # a weight may be 0
            with pytest.raises(UserError, match=rf"^{name}: .*\.$") as refused:
                called(name, {**CALLS[name], key: changed(CALLS[name][key], change)})
            if key != "posterior":
                assert f" {key} " in str(refused.value), what


@pytest.mark.parametrize("name", ["gaussian_kl", "knn", "mig", "latent_directions", "two_sample_test"])
def test_codes_that_are_true_or_false_are_refused(name: str) -> None:
    key = arrays_of(name)[0]
    with pytest.raises(UserError, match=rf"^{name}: {key} has dtype bool; give"):
        called(name, {**CALLS[name], key: CALLS[name][key] > 0})


@pytest.mark.parametrize("name", sorted(name for name in CALLS if arrays_of(name)))
@pytest.mark.parametrize("scale", [1e-200, 1e39, 1e80, 1e160, 1e300])
def test_finite_values_whose_powers_overflow_give_a_number_or_a_sentence(name: str, scale: float) -> None:
    if name in ("prd_curve", "auroc") or (name in ("dci", "prd", "beta_vae_score") and scale in (1e160, 1e300)):
        return

    def change(a: np.ndarray) -> np.ndarray:
        return a * scale if a.dtype.kind == "f" else a

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = called(name, {key: changed(value, change) for key, value in CALLS[name].items()})
    except UserError as sentence:
        assert str(sentence).startswith(f"{name}: ")  # noqa: PT017
        return
    assert not any(map(math.isnan, found))


COUNTS = {
    "k": 1,
    "neighbours": 1,
    "subsets": 1,
    "subset_size": 2,
    "bins": 2,
    "draws": 1,
    "images": 2,
    "votes": 1,
    "test_votes": 1,
    "points": 1,
    "test_points": 1,
    "pairs": 1,
    "smallest": 2,
    "dequantised_values": 1,
    "n": 0,
    "l": 1,
}
SETTINGS: dict[str, list[Any]] = {
    **{name: [least - 1, -7, 2.5, math.nan, "3", None, True] for name, least in COUNTS.items()},
    **{key: [0.0, -1.0, math.nan, math.inf, "1", None] for key in ("variance", "target_variance", "beta")},
    "prune": [-1.0, math.nan, "a"],
    "seed": [0.5, None, "a", math.nan],
    "sizes": [(3.0, 4.0), (12,), (0, 12), (-3, -4), "ab", None, (3, 5)],
    "fixed": [{0: 9}, {7: 0}, {0: -1}, {0: 0.5}, 3],
    "stream": [None, 0],
}


def parameters(name: str) -> set[str]:
    return set(inspect.signature(getattr(metrics, name)).parameters)


@pytest.mark.parametrize(
    ("name", "key"), [(name, key) for name in sorted(CALLS) for key in SETTINGS if key in parameters(name)]
)
def test_settings_out_of_range_are_sentences(name: str, key: str) -> None:
    for value in SETTINGS[key]:
        if name == "draw_factors" and (key, value) in (("sizes", (12,)), ("sizes", (3, 5))):
            continue
        arguments = {**CALLS[name], key: value}
        with pytest.raises(UserError, match=rf"^{name}: .*{key}.*\.$"):
            getattr(metrics, name)(**arguments)


NARROWER = {
    "authpct": "fake",
    "c_t": "heldout",
    "cmmd": "fake",
    "code_coverage": "codes",
    "energy_distance": "prior_codes",
    "fd_infinity": "fake",
    "frechet_distance": "fake",
    "kernel_distance": "fake",
    "kernel_distances": "fake",
    "knn": "fake",
    "linear_probe": "codes",
    "mahalanobis": "at",
    "lpips": "recon",
    "mse": "recon",
    "ms_ssim": "recon",
    "nearest_distances": "references",
    "nearest_ratio": "fake",
    "norm_ks_prior": "prior_codes",
    "pca_factor_vae_score": "directions",
    "pca_mig": "directions",
    "prd": "fake",
    "sliced_wasserstein": "prior_codes",
    "psnr": "recon",
    "sse": "recon",
    "ssim": "recon",
    "two_sample_test": "draws",
}
SHORTER = {
    "dci": "factors",
    "explicitness": "factors",
    "f_score": "recall",
    "factor_vae_score": "grid_codes",
    "infomec": "factors",
    "latent_directions": "grid_codes",
    "linear_probe": "labels",
    "mig": "factors",
    "modularity": "factors",
    "lpips": "recon",
    "mse": "recon",
    "pca_mig": "factors",
    "prd": "fake",
    "prd_curve": "fake",
    "psnr": "recon",
    "sap": "factors",
}


@pytest.mark.parametrize(("cut", "table"), [(np.s_[..., :-1], NARROWER), (np.s_[:-1], SHORTER)])
def test_arrays_that_do_not_fit_each_other_are_a_sentence_that_names_them(cut: Any, table: dict[str, str]) -> None:
    for name, key in table.items():
        with pytest.raises(UserError, match=rf"^{name}: .*\b{key} has .*\.$"):
            called(name, {**CALLS[name], key: CALLS[name][key][cut]})
    for name in (name for name in CALLS if CALLS[name] is POSTERIOR):
        with pytest.raises(UserError, match=rf"^{name}: mu has shape .* and log_var has shape .* must agree"):
            called(name, {"posterior": (X, X[:, :2])})
        with pytest.raises(UserError, match=rf"^{name}: posterior is a ndarray; give the pair"):
            called(name, {"posterior": X})


@pytest.mark.parametrize("name", ["lpips", "ms_ssim", "mse", "psnr", "sse", "ssim"])
def test_grey_images_beside_colour_are_a_sentence_and_one_image_is_measured(name: str) -> None:
    arguments = {key: value[:1] if isinstance(value, np.ndarray) else value for key, value in CALLS[name].items()}
    assert all(map(math.isfinite, called(name, arguments)))
    with pytest.raises(UserError, match=rf"^{name}: real has shape .* and recon has shape .*; they must agree"):
        called(name, {**arguments, "recon": arguments["recon"].repeat(3, axis=1)})
