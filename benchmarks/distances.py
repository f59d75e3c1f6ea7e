"""Distances between sets of features, and the features themselves, beside the packages that papers cite for them."""

import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import limits
from benchmarks.measure import beside_limit, quiet, relative, taking_turns, timed
from benchmarks.rows import Equality, Goal, Measured, Row, add, row
from lvm_bench.data.files import data_root, require
from lvm_bench.errors import UserError
from lvm_bench.evaluation.features import Extractor, Request
from lvm_bench.metrics import clusters, fidelity, frechet_distance, kernel_distance, kernel_distances, knn, prd, vendi
from lvm_bench.registry import EXTRACTORS

DIMENSIONS, INTRINSIC = 2048, 64
NEIGHBOURS = 5


@cache
def feature_sets(n: int, d: int = DIMENSIONS) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of float32 [n d], rectified as Inception's, near a surface of 64 dimensions; the second is shifted."""
    stream = np.random.default_rng(0)
    surface = stream.standard_normal((INTRINSIC, d), dtype=np.float32) / np.float32(INTRINSIC**0.5)
    sets = []
    for shift in (0.0, 0.1):
        z = stream.standard_normal((n, INTRINSIC), dtype=np.float32) + np.float32(shift)
        sets.append(np.maximum(z @ surface + 0.1 * stream.standard_normal((n, d), dtype=np.float32), 0))
    return sets[0], sets[1]


def size(small: bool) -> tuple[int, int]:
    """Rows and columns of the features."""
    return (1000, 128) if small else (10_000, DIMENSIONS)


# Frechet distance


def pytorch_fid_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """The Frechet distance by pytorch-fid, from features as it holds them."""
    from pytorch_fid.fid_score import calculate_frechet_distance

    fits = [(np.mean(rows, axis=0), np.cov(rows, rowvar=False)) for rows in (real.astype(float), fake.astype(float))]
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of sqrtm's `disp`
        return float(calculate_frechet_distance(*fits[0], *fits[1]))


def torch_fidelity_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """The Frechet distance by torch-fidelity."""
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    fits = [fid_features_to_statistics(torch.from_numpy(rows)) for rows in (real, fake)]
    return float(next(iter(fid_statistics_to_metric(*fits, verbose=False).values())))


def frechet(theirs: Callable[[np.ndarray, np.ndarray], float], small: bool) -> Measured:
    """Our Frechet distance and that of a peer."""
    sets = feature_sets(*size(small))
    least = partial(limits.frechet, *map(torch.from_numpy, sets))
    mine, others, limit, a, b = beside_limit(
        lambda: frechet_distance(*sets), lambda: theirs(*sets), least, 2 if small else 5, warm=small
    )
    equality = Equality("the distance, relative", relative(a, b), 1e-4)
    return Measured(mine, others, equality, limit=limit, note=frechet_parts(*sets))


def frechet_parts(real: np.ndarray, fake: np.ndarray) -> str:
    """The cost of each part of our Frechet distance."""
    rows = [torch.from_numpy(values) for values in (real, fake)]
    fits = [fidelity.Moments(x) for x in rows]
    fit, covariances = timed(lambda: [own.covariance for own in fits])
    root, _ = timed(lambda: fidelity._trace_of_root(*fits))
    product = min(timed(lambda: covariances[0] @ covariances[1])[0] for _ in range(3))
    rate = 2 * len(covariances[0]) ** 3 / product / 1e9
    least = 2 * real.size * (real.shape[1] + 1) / rate / 1e9  # half of each symmetric product
    eigenvalues, _ = timed(lambda: torch.linalg.eigvalsh(covariances[0]))
    return (
        f"ours: two covariances {fit:.2f} s ({least:.2f} s at the {rate:.0f} GFLOP/s of a float64 product here), trace "
        f"of the root {root:.2f} s (eigenvalues of such a matrix: {eigenvalues:.2f} s)"
    )


for _package, _distance in (("pytorch-fid", pytorch_fid_distance), ("torch-fidelity", torch_fidelity_distance)):
    add(
        Row(
            f"frechet-{_package}",
            "Fréchet distance, 10,000 x 2,048",
            _package,
            Goal(faster=1.0, limit=1.3),
            partial(frechet, _distance),
            smoke=_package == "pytorch-fid",
        )
    )


# Kernel distance


def torch_fidelity_kid(real: np.ndarray, fake: np.ndarray, subsets: int, subset_size: int) -> dict[str, float]:
    """The mean and std of KID by torch-fidelity."""
    from torch_fidelity.metric_kid import kid_features_to_metric

    tensors = [torch.from_numpy(rows) for rows in (real, fake)]
    found = kid_features_to_metric(*tensors, kid_subsets=subsets, kid_subset_size=subset_size, verbose=False)
    return {"mean": found["kernel_inception_distance_mean"], "std": found["kernel_inception_distance_std"]}


@row("kid", "KID, 100 subsets of 1,000, 10,000 x 2,048", "torch-fidelity", Goal(faster=1.0, limit=1.2), smoke=True)
def kid(small: bool) -> Measured:
    """KID by us and by torch-fidelity. They are compared on one subset, which is all rows of two small sets."""
    n, d = size(small)
    real, fake = feature_sets(n, d)
    subsets, subset_size = (10, 200) if small else (100, 1000)
    whole = [rows[:subset_size].astype(np.float64) for rows in (real, fake)]
    difference = relative(
        kernel_distance(*whole, subsets=1, subset_size=subset_size),
        torch_fidelity_kid(*whole, subsets=1, subset_size=subset_size)["mean"],
    )
    mine, others, limit, a, b = beside_limit(
        lambda: kernel_distances(real, fake, subsets, subset_size),
        lambda: torch_fidelity_kid(real, fake, subsets, subset_size),
        partial(limits.pairs, torch.from_numpy(real), torch.from_numpy(fake)),
        2 if small else 3,
        warm=small,
    )
    errors = abs(float(a.mean()) - b["mean"]) / (b["std"] * (2 / subsets) ** 0.5)
    note = f"means of the subsets each drew: {errors:.1f} standard errors apart"
    equality = Equality("KID of one subset of all rows, relative", difference, 1e-6)
    return Measured(mine, others, equality, limit=limit, note=note)


# Precision and recall of distributions


def published_prd(real: np.ndarray, fake: np.ndarray, seed: int, runs: int = 10) -> tuple[float, float]:
    """(max F_1/8, max F_8) of Sajjadi et al. 2018, section 4, as published.

    scikit-learn's MiniBatchKMeans, 20 clusters of the union, 10 first guesses, and the mean curve at 1,001 angles.
    """
    from sklearn.cluster import MiniBatchKMeans

    union, slopes = np.vstack([fake, real]), np.tan(np.linspace(1e-10, np.pi / 2 - 1e-10, 1001))
    curves = []
    for run in range(runs):
        labels = MiniBatchKMeans(n_clusters=20, n_init=10, random_state=seed * runs + run).fit(union).labels_
        q, p = (np.histogram(half, bins=20, range=(-0.5, 19.5), density=True)[0] for half in np.split(labels, 2))
        precision = np.array([np.minimum(p * slope, q).sum() for slope in slopes])
        curves.append((precision.clip(0, 1), (precision / slopes).clip(0, 1)))
    precision, recall = np.mean(curves, axis=0)
    return harmonic(precision, recall, 1 / 8), harmonic(precision, recall, 8)


def harmonic(precision: np.ndarray, recall: np.ndarray, beta: float) -> float:
    """The largest F_beta of a curve."""
    return float(((1 + beta**2) * precision * recall / (beta**2 * precision + recall + 1e-10)).max())


@row(
    "prd",
    "PRD, 10 repeats, 10,000 x 2,048",
    "scikit-learn",
    Goal(faster=1.0, limit=1.5),
    peer="the published algorithm",
    smoke=True,
)
def prd_of_sets(small: bool) -> Measured:
    """PRD by us and as published. Ours has to lie within the spread of the published one over its random states."""
    sets = feature_sets(*size(small))
    union = torch.from_numpy(np.vstack(sets))
    least = partial(limits.clusters, union, k=20, runs=10, batch=clusters._BATCH, steps=clusters._STEPS)
    mine, others, limit, a, b = beside_limit(
        lambda: prd(*sets), lambda: published_prd(*sets, seed=0), least, 2 if small else 3, warm=False
    )
    alone = np.array([published_prd(*sets, seed=seed, runs=1) for seed in range(1, 11)])
    # Two standard deviations of a single clustering; the averages of ten, which are compared, spread less.
    apart = np.abs(np.array([a["precision"], a["recall"]]) - b)
    difference = float((apart / (2 * alone.std(0, ddof=1) + 1e-4)).max())
    what = "precision and recall, in units of twice the spread over random states"
    note = f"precision and recall: {shown(a.values())} and {shown(b)}"
    return Measured(mine, others, Equality(what, difference, 1.0), limit=limit, note=note)


def shown(values: Iterable[float]) -> str:
    """Scores with four digits."""
    return ", ".join(f"{value:.4f}" for value in values)


# k nearest neighbours


def by_prdc(real: np.ndarray, fake: np.ndarray) -> dict[str, float]:
    """Precision, recall, density and coverage by prdc."""
    from prdc import compute_prdc

    with quiet():
        return compute_prdc(real_features=real, fake_features=fake, nearest_k=NEIGHBOURS)


def by_torch_fidelity(real: np.ndarray, fake: np.ndarray) -> dict[str, float]:
    """Precision and recall by torch-fidelity, which has neither density nor coverage."""
    from torch_fidelity.metric_prc import prc_features_to_metric

    tensors = [torch.from_numpy(rows) for rows in (fake, real)]
    found = prc_features_to_metric(*tensors, prc_neighborhood=NEIGHBOURS, verbose=False)
    return {key: found[key] for key in ("precision", "recall")}


def nearest(theirs: Callable[[np.ndarray, np.ndarray], dict[str, float]], small: bool) -> Measured:
    """All four shares by us, and those that a peer has by the peer."""
    sets = feature_sets(*size(small))
    least = partial(limits.pairs, *map(torch.from_numpy, sets))
    mine, others, limit, a, b = beside_limit(
        lambda: knn(*sets, k=NEIGHBOURS), lambda: theirs(*sets), least, 3, warm=small
    )
    difference = max(abs(a[key] - b[key]) for key in b)
    # Peers compare float32 distances, so that a few rows at the edge of a ball may count differently.
    equality = Equality(", ".join(b), difference, 5e-4)
    return Measured(mine, others, equality, limit=limit, note=f"{', '.join(a)}: {shown(a.values())}")


for _package, _shares in (("prdc", by_prdc), ("torch-fidelity", by_torch_fidelity)):
    add(
        Row(
            f"knn-{_package}",
            "precision, recall, density, coverage, 10,000 x 2,048",
            _package,
            Goal(faster=1.0, limit=1.4),
            partial(nearest, _shares),
            smoke=_package == "prdc",
        )
    )


# Diversity


def by_vendi_score(function: str, rows: np.ndarray) -> float:
    """The Vendi score by one of the package's functions of features."""
    from vendi_score import vendi as package

    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of scipy.sparse.csr
        return float(getattr(package, function)(rows))


def diversity(function: str, small: bool) -> Measured:
    """Our Vendi score and that of a function of the package."""
    rows = feature_sets(*((500, 64) if small else (5000, 512)))[1].astype(float)
    mine, others, a, b = taking_turns(
        lambda: vendi(rows), lambda: by_vendi_score(function, rows), 2 if small else 5, warm=True
    )
    note = f"the score: {a:.3f}; eigenvalues of {rows.shape[1]} x {rows.shape[1]}"
    return Measured(mine, others, Equality("the score, relative", relative(a, b), 1e-6), note=note)


for _function, _goal in (("score_X", Goal(faster=3.0)), ("score_dual", Goal(longer=1.5))):
    add(
        Row(
            f"vendi-{_function.removeprefix('score_').lower()}",
            "Vendi score, 5,000 x 512",
            "vendi-score",
            _goal,
            partial(diversity, _function),
            peer=f"{_function}, its kernel" if _function == "score_X" else f"{_function}, its covariance",
            smoke=_function == "score_X",
        )
    )


# Inception


def random_weights() -> dict[str, Tensor]:
    """Random weights of the network of the FID, drawn once, that keep activations of the order of 1."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    place = "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url"
    with mock.patch(place, return_value={}), mock.patch.object(nn.Module, "load_state_dict"):
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    stream = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, generator=stream)
        elif isinstance(layer, nn.BatchNorm2d):
            for values, low, high in ((layer.weight, 0.8, 1.2), (layer.bias, -0.2, 0.2)):
                nn.init.uniform_(values, low, high, generator=stream)
            means, variances = layer.get_buffer("running_mean"), layer.get_buffer("running_var")
            means.uniform_(-0.2, 0.2, generator=stream)
            variances.uniform_(0.8, 1.2, generator=stream)
    return network.state_dict()


@contextmanager
def inception_weights() -> Iterator[tuple[Path, str]]:
    """A file of Inception's weights, or of random ones if they are not here, and which of the two it is."""
    try:
        file, note = require("inception", data_root())[0], "Inception's weights of 2015"
    except UserError:
        file, note = None, "random weights"
    with tempfile.TemporaryDirectory() as folder:
        if file is None:
            file = Path(folder) / "random.pth"
            torch.save(random_weights(), file)
        yield file, note


def our_inception(file: Path, device: str = "cpu") -> Extractor:
    """Our extractor with the weights of a file."""
    request = Request(None, data_root(), device, 0)  # type: ignore[arg-type]  # it needs no data
    with mock.patch("lvm_bench.evaluation.features.require", return_value=[file]):
        return EXTRACTORS["inception"](request)


def small_images(n: int) -> Tensor:
    """Random images of 32 x 32 pixels in colour."""
    return torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def pytorch_fid_network(file: Path, resize: bool = True) -> nn.Module:
    """pytorch-fid's network with the weights of a file."""
    from pytorch_fid.inception import InceptionV3

    state = torch.load(file, weights_only=True)
    with mock.patch("pytorch_fid.inception.load_state_dict_from_url", return_value=state):
        return InceptionV3(resize_input=resize).eval()


def torch_fidelity_network(file: Path) -> nn.Module:
    """torch-fidelity's network with the weights of a file."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    return FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(file))


def resized(images: Tensor) -> Tensor:
    """Pixels enlarged to 299 x 299 as TensorFlow 1 does it."""
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    return interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(299, 299), align_corners=False)


@torch.no_grad()
def inception(package: str, small: bool) -> Measured:
    """Features of 32 x 32 images by us, and by a peer in its usual batches."""
    n = 16 if small else 200
    images = small_images(n)
    with inception_weights() as (file, note):
        ours = our_inception(file)
        if package == "pytorch-fid":
            network = pytorch_fid_network(file)
            # Its resize differs from TensorFlow's. TensorFlow's (x - 128) / 128 is its 2 u - 1 for u = x / 256.
            equal = pytorch_fid_network(file, resize=False)(resized(images[:8]) / 256)[0].flatten(1)
            action = lambda: torch.cat([network(x.float() / 255)[0].flatten(1) for x in images.split(50)])  # noqa: E731
        else:
            network = torch_fidelity_network(file)
            equal = network(images[:8])[0]
            action = lambda: torch.cat([network(x)[0] for x in images.split(64)])  # noqa: E731
        difference = relative(ours.features(images[:8]), equal)
        flops = limits.convolution_flops(lambda: ours.features(images[:16])) * n / 16
        mine, others, limit, _, _ = beside_limit(
            lambda: ours.features(images),
            action,
            partial(limits.at_product_rate, flops),
            2 if small else 3,
            warm=small,
        )
        note += f"; {n / statistics.median(mine):.1f} and {n / statistics.median(others):.1f} images a second; "
        note += convolutions_alone(ours, images[:16])
    what = "features of the same enlarged images, relative"
    return Measured(mine, others, Equality(what, difference, 1e-5), limit=limit, note=note)


def convolutions_alone(ours: Extractor, images: Tensor) -> str:
    """The share of our network's time that convolutions take, and their speed."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], with_flops=True) as profile:
        ours.features(images)
    events = profile.key_averages()
    inside = [event for event in events if event.key in ("aten::mkldnn_convolution", "aten::convolution")]
    seconds, total = (sum(e.self_cpu_time_total for e in chosen) / 1e6 for chosen in (inside, events))
    rate = sum(event.flops for event in events if event.key == "aten::conv2d") / seconds / 1e9
    side = torch.randn(2000, 2000)
    peak = 2 * 2000**3 / min(timed(lambda: side @ side)[0] for _ in range(5)) / 1e9
    return (
        f"of ours {seconds / total:.0%} is convolutions, at {rate:.0f} GFLOP/s where a float32 product has {peak:.0f}"
    )


for _package in ("pytorch-fid", "torch-fidelity"):
    add(
        Row(
            f"inception-{_package}",
            "Inception features of 200 images, 32 px",
            _package,
            Goal(faster=1.0, limit=1.1),
            partial(inception, _package),
        )
    )
