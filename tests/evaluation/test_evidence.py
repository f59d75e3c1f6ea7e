"""What evidence is: which images are encoded, how they are made and quantised, each thing computed once."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pretended import DEVICE, on_it
from torch import Tensor, nn

from lvm_bench import disk
from lvm_bench.data.images import Data, Grid, Images, load, random_order
from lvm_bench.errors import RunError, Stopped, UserError
from lvm_bench.evaluation.evidence import PROVIDED, Absent, Evidence
from lvm_bench.evaluation.features import Extractor
from lvm_bench.evaluation.of_controls import RealImages, StandardNormal
from lvm_bench.evaluation.of_model import ModelEvidence, slerp, spherical_midpoint
from lvm_bench.evaluation.perceptual import untrained_perceptual
from lvm_bench.evaluation.score import (
    evaluate,
    in_vain,
    inputs_of,
    needs_features,
    needs_perceptual,
    seconds_before,
    too_small,
)
from lvm_bench.metrics import frechet_distance, lpips, psnr, ssim
from lvm_bench.metrics.arrays import anew
from lvm_bench.metrics.asked import EVIDENCE, SETTINGS, check_asked
from lvm_bench.modelling.contract import Method, Spec
from lvm_bench.modelling.kde import Density
from lvm_bench.modelling.posteriors import Gaussian, standard_normal_log_prob
from lvm_bench.registry import METRICS
from lvm_bench.suites.job import EvaluationSettings

pytestmark = pytest.mark.usefixtures("short_metrics")


@dataclass
class Settings:
    protocol: str = "official-test"
    samples: int = 10_000
    kid_subsets: int = 3
    kid_subset_size: int = 40
    neighbours: int = 5
    metrics: list[str] | str = "all"
    sap_samples: int = 300
    dci_samples: int = 90
    votes: int = 100
    direction_images: int = 50
    expost: tuple[str, ...] = ()
    expost_components: int = 3
    expost_flow_epochs: int = 1
    expost_vae_epochs: int = 1
    expost_vae_hidden: int = 8
    importance_samples: int = 3
    bound_images: int = 20


class Rotation(Method):
    """Codes are the pixels themselves, halved and centred; nothing is lost."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Unflatten(1, (1, 8, 8)), Spec((1, 8, 8), (0, 1), 64, 300, 100, "sse"))

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1) - 0.5

    def decode(self, z: Tensor) -> Tensor:
        return z.unflatten(1, (1, 8, 8)) + 0.5


@cache
def digits() -> Data:
    return load("digits", Path(), options={}, train_images=300, validation_images=60, test_images=100)


def pixels(images: Tensor) -> Tensor:
    return images.float().flatten(1)[:, :16]


EXTRACTOR = Extractor("classifier", "pixels", "", pixels, "cpu")


FEW = ["mse", "sse"]  # four scores that cost little


def evidence(**settings: object) -> ModelEvidence:
    return ModelEvidence(Rotation(), digits(), EXTRACTOR, Settings(**settings), 0, "cpu")  # type: ignore[arg-type]


def test_official_test_images_are_encoded_and_counts_shrink_with_them() -> None:
    made, data = evidence(), digits()
    assert torch.equal(made.images("real"), torch.from_numpy(data.test.pixels))
    assert {len(made.images(what)) for what in ("recon", "interpolated", "fake", "expost")} == {100}
    assert evidence(samples=30).images("fake").shape[0] == 30


def test_the_papers_protocol_encodes_the_validation_slice_and_truncates() -> None:
    made, data = evidence(protocol="avae-paper"), digits()
    assert torch.equal(made.images("real"), torch.from_numpy(data.validation.pixels))
    almost = torch.full((1, 1, 2, 2), 100.9 / 255)
    assert made.quantise(almost).unique().tolist() == [100]
    assert evidence().quantise(almost).unique().tolist() == [101]


def test_a_lossless_model_reconstructs_every_pixel() -> None:
    made = evidence()
    assert torch.equal(made.images("recon"), made.images("real"))
    scores = json.loads(json.dumps({k: made.provide("recon", k).shape[0] for k in ("train", "heldout")}))
    assert scores == {"train": 100, "heldout": 100}


def test_ex_post_samples_have_the_moments_of_the_training_codes() -> None:
    made = evidence()
    made.n = 20_000
    codes, draws = made.split_codes("train").double(), made._expost_codes().double()
    assert float((codes.mean(0) - draws.mean(0)).abs().max()) < 0.02
    assert float((codes.T.cov() - draws.T.cov()).abs().max()) < 0.01


def test_ex_post_samplers_are_fitted_where_a_suite_names_them_and_scored_as_the_gaussian(tmp_path: Path) -> None:
    chosen = ("mixture", "flow", "vae")
    settings = Settings(metrics=["frechet", "sharpness", "prd"], expost=chosen)
    made = ModelEvidence(WithPosterior(), digits(), EXTRACTOR, settings, 0, "cpu")  # type: ignore[arg-type]
    scores = evaluate(made, tmp_path / "all.json", "it")
    for name in chosen:
        own = {key.replace(f"expost-{name}", "expost") for key in scores if f"expost-{name}" in key}
        assert own == {key for key in scores if ".expost@" in key}
        assert scores[f"frechet.expost-{name}@classifier"] != scores["frechet.expost@classifier"]
    without = evaluate(evidence(metrics=["frechet", "sharpness", "prd"]), tmp_path / "none.json", "it")
    assert {key: score for key, score in scores.items() if ".expost-" not in key} == without
    unsampled = ModelEvidence(Unsampled(), digits(), EXTRACTOR, settings, 0, "cpu")  # type: ignore[arg-type]
    assert unsampled.further_samples == tuple(f"expost-{name}" for name in chosen)


def test_the_two_stage_vae_learns_from_draws_of_the_posteriors_of_the_training_images() -> None:
    made = ModelEvidence(WithPosterior(), digits(), EXTRACTOR, Settings(), 0, "cpu")  # type: ignore[arg-type]
    stream, codes = torch.Generator().manual_seed(0), made.split_codes("train")
    first, second = made._fresh_codes(stream) - codes, made._fresh_codes(stream) - codes
    assert len(first) == 300
    assert float(first.var()) == pytest.approx(2, rel=0.05)
    assert not torch.equal(first, second)
    assert torch.equal(evidence()._fresh_codes(stream), codes)


def test_each_code_is_in_exactly_two_interpolation_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen = evidence(), []
    monkeypatch.setattr("lvm_bench.evaluation.of_model.spherical_midpoint", lambda a, b: seen.append((a, b)) or a)
    made._midpoints()
    (a, b) = seen[0]
    used = torch.cat([a, b])
    codes = made.split_codes("heldout")
    counts = (used[:, None] == codes[None]).all(2).sum(0)
    duplicates = (codes[:, None] == codes[None]).all(2).sum(0)
    assert torch.equal(counts, 2 * duplicates)


@given(st.integers(0, 2**31), st.integers(2, 20))
def test_the_spherical_midpoint_of_unit_vectors_is_the_unit_vector_between(seed: int, l: int) -> None:
    stream = torch.Generator().manual_seed(seed)
    a, b = nn.functional.normalize(torch.randn(2, 4, l, generator=stream, dtype=torch.float64), dim=2)
    middle = spherical_midpoint(a, b)
    torch.testing.assert_close(middle.norm(dim=1), torch.ones(4, dtype=torch.float64), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close((middle * a).sum(1), (middle * b).sum(1), rtol=1e-6, atol=1e-6)


def test_the_midpoint_of_a_code_with_itself_is_itself() -> None:
    z = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(spherical_midpoint(z, z), z)


@given(st.integers(0, 2**31), st.integers(2, 20))
def test_the_spherical_path_of_unit_vectors_stays_on_the_sphere_at_equal_angles(seed: int, l: int) -> None:
    stream = torch.Generator().manual_seed(seed)
    a, b = nn.functional.normalize(torch.randn(2, 1, l, generator=stream, dtype=torch.float64), dim=2)
    steps = torch.linspace(0, 1, 5, dtype=torch.float64)[:, None]
    path = slerp(a.expand(5, -1), b.expand(5, -1), steps)
    torch.testing.assert_close(path.norm(dim=1), torch.ones(5, dtype=torch.float64), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(path[[0, -1]], torch.cat([a, b]))
    angles = torch.linalg.vecdot(path[1:], path[:-1])
    torch.testing.assert_close(angles, angles[:1].expand(4), rtol=1e-5, atol=1e-5)


def test_the_path_of_images_goes_between_two_held_out_images_that_the_seed_draws() -> None:
    made, data = evidence(), digits()
    path, real = made.path(), torch.from_numpy(data.test.pixels)
    assert path.shape == (11, 1, 8, 8)
    ends = [(real == image).flatten(1).all(1).any() for image in (path[0], path[-1])]
    assert all(ends)
    assert not torch.equal(path[0], path[-1])
    assert torch.equal(evidence().path(), path)
    other = ModelEvidence(Rotation(), digits(), EXTRACTOR, Settings(), 1, "cpu")
    assert not torch.equal(other.path(), path)


class WithPosterior(Rotation):
    """Posteriors of variance 2 around the codes."""

    heads = 2
    target_variance = 0.5

    def posterior(self, x: Tensor) -> Gaussian:
        return Gaussian(x.flatten(1) - 0.5, torch.full((len(x), 64), 2.0).log())

    def log_prior(self, z: Tensor) -> Tensor:
        return -z.square().sum(1) - 32 * math.log(math.pi)  # N(0, I/2)

    @property
    def kernel_density(self) -> Density:
        return Density(torch.zeros(30, 64), 0.5, -10.0)


def test_what_is_left_of_the_aggregate_are_first_codes_and_eigenvalues_of_all() -> None:
    made = evidence().aggregate()
    codes = digits().test.pixels.reshape(100, 64) / 255 - 0.5
    np.testing.assert_allclose(made["codes"], codes, atol=1e-6)
    expected = np.linalg.eigvalsh(np.cov(codes.T))[::-1]
    np.testing.assert_allclose(made["spectrum"], expected, atol=1e-6)
    assert (made["codes"].dtype, made["spectrum"].dtype, made["target_variance"]) == (np.float32, np.float64, 1)
    own = ModelEvidence(WithPosterior(), digits(), EXTRACTOR, Settings(), 0, "cpu").aggregate()
    np.testing.assert_allclose(own["spectrum"], expected + 2, atol=1e-5)
    assert own["target_variance"] == 0.5


def test_codes_that_are_not_finite_are_not_left() -> None:
    method = Rotation()
    method.encode = lambda x: x.flatten(1) * float("inf")  # type: ignore[method-assign]
    assert ModelEvidence(method, digits(), EXTRACTOR, Settings(), 0, "cpu").aggregate() == {}


def test_controls_have_only_their_own_evidence() -> None:
    context = (digits(), EXTRACTOR, Settings(), 0, "cpu")
    real, normal = RealImages(*context), StandardNormal(4, *context)
    assert torch.equal(real.images("fake"), real.images("real"))
    assert normal.codes("mean").shape == (100, 4)
    for made, what in ((real, "codes"), (normal, "fake_features"), (real, "posterior")):
        with pytest.raises(Absent):
            made.provide(what, "mean")


def test_prior_codes_are_those_that_samples_are_decoded_from() -> None:
    made = evidence()
    draws = made.provide("prior_codes", "mean")
    assert draws is made.prior_codes()
    assert torch.equal(made.images("fake"), made.quantise(made.decode(draws)))
    fresh = evidence()
    assert torch.equal(fresh.images("fake"), made.images("fake"))


def test_labels_are_those_of_the_images_in_their_order() -> None:
    made, data = evidence(samples=30), digits()
    assert torch.equal(made.provide("labels", "mean"), torch.from_numpy(data.test.labels[:30]))
    assert torch.equal(made.provide("train_labels", "mean"), torch.from_numpy(data.train.labels))
    assert len(made.provide("train_codes", "mean")) == 300
    alike = replace(data, train=Images(data.train.pixels, np.zeros_like(data.train.labels)))
    for without in (replace(data, test=Images(data.test.pixels)), alike):
        with pytest.raises(Absent):
            ModelEvidence(Rotation(), without, EXTRACTOR, Settings(), 0, "cpu").labels("heldout")  # type: ignore[arg-type]


def test_another_data_set_is_told_by_its_error_and_its_codes_where_it_is_here(tmp_path: Path) -> None:
    assert not [key for key in evaluate(evidence(), tmp_path / "without.json", "it") if key.startswith("ood_")]
    noise = np.random.default_rng(0).integers(0, 256, (500, 1, 8, 8), dtype=np.uint8)
    data = replace(digits(), novel=Images(noise))
    made = ModelEvidence(Rotation(), data, EXTRACTOR, Settings(), 0, "cpu")  # type: ignore[arg-type]
    scores = evaluate(made, tmp_path / "with.json", "it")
    assert "ood_reconstruction.heldout" in scores
    assert scores["ood_density.mean"] > 0.99
    assert len(made.novel()) == 100


def test_sharpness_is_none_of_the_scores_of_rows_of_a_table(tmp_path: Path) -> None:
    rows = Images(np.random.default_rng(0).integers(0, 256, (100, 1, 1, 5), dtype=np.uint8))
    table = replace(digits(), train=rows, validation=rows, test=rows)
    made = RealImages(table, EXTRACTOR, Settings(metrics=["sharpness", "memorisation"]), 0, "cpu")  # type: ignore[arg-type]
    assert {*evaluate(made, tmp_path / "rows.json", "it")} == {"memorisation.fake"}


def test_the_floors_of_the_new_metrics_are_those_of_real_images_and_of_exact_draws(tmp_path: Path) -> None:
    context = (digits(), EXTRACTOR, Settings(), 0, "cpu")
    real = evaluate(RealImages(*context), tmp_path / "real.json", "it")  # type: ignore[arg-type]
    assert real["memorisation.fake"] == real["memorisation_features.fake@classifier"] == 1
    normal = evaluate(StandardNormal(4, *context), tmp_path / "normal.json", "it")  # type: ignore[arg-type]
    assert abs(normal["two_sample.mean"] - 0.5) < 3 / (4 * 100) ** 0.5
    assert normal["linear_probe.mean"] < 0.3
    assert normal["code_coverage.mean"] > 0.9
    assert abs(normal["energy_distance.mean"]) < 0.1
    assert max(normal["norm_ks.mean"], normal["norm_ks_prior.mean"]) < 0.2
    assert min(normal["mardia_skewness_p.mean"], normal["mardia_kurtosis_p.mean"]) > 0.001
    assert normal["active_units.mean"] == 4


def test_what_a_metric_leaves_out_as_undefined_has_no_score(tmp_path: Path) -> None:
    metrics = ["mardia_skewness", "mardia_kurtosis", "active_units"]
    few = ModelEvidence(Rotation(), digits(), EXTRACTOR, Settings(metrics=metrics, samples=20), 0, "cpu")  # type: ignore[arg-type]
    assert {*evaluate(few, tmp_path / "few.json", "it")} == {"active_units.mean"}
    axes = factor_evidence(metrics=["infomec", "modularity"])
    assert {"infomec_explicitness.grid", "modularity_active.grid"} <= {*evaluate(axes, tmp_path / "axes.json", "it")}


class Unsampled(Rotation):
    """A method that has nothing to sample codes from."""

    cannot_sample = "no variance is left"
    target_variance = -0.5


def test_scores_of_samples_and_of_the_target_do_not_apply_where_nothing_can_be_sampled(tmp_path: Path) -> None:
    made = ModelEvidence(Unsampled(), digits(), EXTRACTOR, Settings(), 0, "cpu")  # type: ignore[arg-type]
    scores = evaluate(made, tmp_path / "scores.json", "it")
    assert {"frechet.recon@classifier", "frechet.expost@classifier", "gaussian_kl.mean", "sse.heldout"} <= {*scores}
    assert not [key for key in scores if "fake" in key or "target" in key]


def grid_data() -> Data:
    """A grid of 3 x 4 x 5 images whose first pixels show their factors."""
    names, sizes = ("a", "b", "c"), (3, 4, 5)
    order = random_order(60, "test")
    pixels = np.zeros((60, 1, 8, 8), np.uint8)
    pixels[:, 0, 0, :3] = 50 * np.stack(np.unravel_index(order, sizes), 1)
    grid = Grid(names, sizes, pixels, order)
    splits = grid.splits()
    assert splits.validation is not None
    return Data("grid", splits.train, splits.validation, splits.test, (0, 1), "f", grid)


def factor_evidence(made: type = ModelEvidence, **settings: Any) -> Any:
    first = (Rotation(),) if made is ModelEvidence else (4,)
    return made(*first, grid_data(), None, Settings(**settings), 0, "cpu")


def test_codes_of_the_grid_stand_in_the_order_of_their_factors() -> None:
    codes = factor_evidence().provide("grid_codes", "grid")
    expected = np.stack(np.unravel_index(np.arange(60), (3, 4, 5)), 1)
    assert torch.equal(((codes[:, :3] + 0.5) * 255 / 50).round().long(), torch.from_numpy(expected))


@pytest.mark.parametrize(
    "forbidden", [torch.add, lambda there, _: there.numpy(), lambda there, here: here[there.long()]]
)
def test_the_pretended_device_refuses_what_a_gpu_refuses(forbidden: Callable[[Tensor, Tensor], object]) -> None:
    def both() -> object:
        there, here = torch.ones(2, device=DEVICE), torch.zeros(2)
        assert (there + 1).device.type == DEVICE
        assert (there + 1).cpu().tolist() == [2, 2]
        return forbidden(there, here)

    with pytest.raises((RuntimeError, TypeError)):
        on_it(both)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("made", [evidence, factor_evidence], ids=["images", "grid"])
def test_metrics_are_computed_on_the_runs_device(name: str, made: Callable[..., Evidence]) -> None:
    few = {"samples": 50, "sap_samples": 100, "dci_samples": 60, "votes": 50}
    here, there = made(**few), made(**few)
    there.device = DEVICE
    for variant in METRICS[name].metric.of:
        inputs = inputs_of(here, name, variant)
        if inputs is None:
            continue

        def score(variant: str = variant) -> Any:
            given = inputs_of(there, name, variant) or {}
            tensors = [value for value in given.values() if isinstance(value, Tensor)]
            assert all(value.device.type == DEVICE for value in tensors)
            return METRICS[name](**given)

        assert on_it(score) == pytest.approx(METRICS[name](**inputs), rel=1e-6, abs=1e-9, nan_ok=True)


def test_importance_weights_are_computed_on_the_runs_device() -> None:
    here, there = (ModelEvidence(WithPosterior(), digits(), None, Settings(), 0, "cpu") for _ in range(2))
    there.device = DEVICE

    def bound() -> Any:
        logs = there.provide("log_weights", "heldout")
        assert logs.device.type == there.observed().x.device.type == DEVICE
        return METRICS["iw_bound"](logs)

    assert on_it(bound) == pytest.approx(METRICS["iw_bound"](here.provide("log_weights", "heldout")))


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if "once" in signature(metric).parameters])
def test_what_variants_share_is_computed_once_and_changes_no_bit(name: str) -> None:
    made, metric = evidence(), METRICS[name]
    first, *others = metric.metric.of
    inputs = {variant: inputs_of(made, name, variant) for variant in metric.metric.of}
    alone = {variant: metric(**(own or {}) | {"once": anew}) for variant, own in inputs.items()}
    before = {*made.made}
    assert metric(**inputs[first] or {}) == alone[first]
    shared = {*made.made} - before
    assert shared
    assert {variant: metric(**inputs[variant] or {}) for variant in others} == {v: alone[v] for v in others}
    assert {*made.made} - before == shared


def test_directions_are_shared_and_are_those_of_the_factors() -> None:
    made = factor_evidence(direction_images=500, votes=300)
    directions = made.provide("directions", "grid")
    assert directions is made.provide("directions", "grid")
    assert directions.shape == (3, 64)


def test_a_traversal_passes_the_real_code_in_its_middle() -> None:
    made = factor_evidence()
    paths = made.traversal()
    assert paths.shape == (3, 11, 1, 8, 8)
    assert all(torch.equal(path[5], made.images("real")[0]) for path in paths)
    ends = made.recon("heldout")[0] + made.directions().float().reshape(3, 1, 8, 8)
    assert torch.equal(paths[:, -1], made.quantise(ends))


def test_images_of_the_whole_grid_are_drawn_with_their_own_count() -> None:
    made = factor_evidence(samples=500)
    assert made.provide("real", "grid").shape[0] == made.provide("recon", "grid").shape[0] == 500
    assert len(made.images("real")) == 5  # the test split
    shown = {tuple(image[0, 0, :3].tolist()) for image in made.real("grid")}
    assert len(shown) == 60


def test_scores_are_those_that_the_suite_wants_and_need_no_feature_space(tmp_path: Path) -> None:
    scores = evaluate(factor_evidence(metrics=["mig", "sse", "kid"]), tmp_path / "scores.json", "it")
    assert {key.split(".")[0] for key in scores} == {"mig", "mig_paper", "sse"}
    assert scores["sse.grid"] == pytest.approx(0)
    everything = evaluate(factor_evidence(), tmp_path / "everything.json", "it")
    assert not [key for key in everything if "@" in key]
    assert needs_features("all")
    assert not needs_features(["mig", "sse"])


class Dimmer(Rotation):
    """Loses a tenth of the light of images of 32 x 32 pixels."""

    def __init__(self) -> None:
        Method.__init__(
            self, nn.Flatten(), nn.Unflatten(1, (1, 32, 32)), Spec((1, 32, 32), (0, 1), 1024, 40, 10, "sse")
        )

    def decode(self, z: Tensor) -> Tensor:
        return 0.9 * (z.unflatten(1, (1, 32, 32)) + 0.5)


def test_reconstructions_are_compared_with_their_originals_where_images_are_large_enough(tmp_path: Path) -> None:
    stream = np.random.default_rng(0)
    train, validation, test = (Images(stream.integers(0, 256, (n, 1, 32, 32), dtype=np.uint8)) for n in (40, 20, 30))
    data, network = Data("noise", train, validation, test, (0, 1), "x"), untrained_perceptual("cpu")
    names = ["psnr", "ssim", "ms_ssim", "lpips", "frechet", "frechet_originals"]
    made = ModelEvidence(Dimmer(), data, EXTRACTOR, Settings(metrics=names), 0, "cpu", network)  # type: ignore[arg-type]
    scores = evaluate(made, tmp_path / "scores.json", "it")
    x, features = test.pixels / np.float32(255), pixels(torch.from_numpy(test.pixels))
    assert not [key for key in scores if key.startswith("ms_ssim")]
    assert scores["psnr.heldout"] == pytest.approx(psnr(x, 0.9 * x)[""], rel=1e-5)
    assert scores["psnr_equal.heldout"] == scores["psnr_equal.train"] == 0
    assert scores["ssim.heldout"] == pytest.approx(ssim(x, 0.9 * x), rel=1e-5)
    assert scores["lpips.heldout"] == pytest.approx(lpips(x, np.float32(0.9) * x, network), rel=1e-3)
    recon = pixels(made.images("recon"))
    assert scores["frechet_originals.recon@classifier"] == frechet_distance(features, recon)
    assert scores["frechet.recon@classifier"] == frechet_distance(pixels(torch.from_numpy(train.pixels)), recon)
    without = ModelEvidence(Dimmer(), data, EXTRACTOR, Settings(metrics=names), 0, "cpu")  # type: ignore[arg-type]
    assert inputs_of(without, "lpips", "heldout") is None
    assert needs_perceptual(names)
    assert not needs_perceptual("all")


def test_a_metric_without_a_value_for_these_samples_says_why_and_the_others_are_scored(tmp_path: Path) -> None:
    made = evidence(metrics=["c_t", "mse"], samples=15)
    assert evaluate(made, tmp_path / "scores.json", "it").keys() == {"mse.train", "mse.heldout"}
    assert {*made.absent} == {"c_t.fake", "c_t.expost"}
    assert all("cell" in why and not why.endswith(".") for why in made.absent.values())
    assert all(text.startswith("No c_t: ") for text in in_vain(made.absent))


def test_metrics_that_ask_for_larger_images_are_told() -> None:
    assert too_small(["mse", "ssim", "ms_ssim", "sharpness"], digits()) == [
        "No ssim: images of 11 pixels or more along a side are needed.",
        "No ms_ssim: images of 161 pixels or more along a side are needed.",
    ]
    assert too_small("all", digits()) == []


def test_codes_that_know_nothing_have_scores_too_and_data_without_factors_have_none(tmp_path: Path) -> None:
    floor = evaluate(factor_evidence(StandardNormal), tmp_path / "floor.json", "it")
    assert {"mig.grid", "pca_mig.grid", "factor_vae_score.grid"} <= floor.keys()
    assert "sse.grid" not in floor
    without = evaluate(evidence(), tmp_path / "without.json", "it")
    assert not [key for key in without if key.endswith(".grid")]


def test_evaluation_goes_on_after_the_last_metric_that_was_kept(tmp_path: Path) -> None:
    whole = evaluate(evidence(metrics=FEW), tmp_path / "whole.json", "it")
    kept = disk.read_record(tmp_path / "whole.json")["scores"]
    first = dict(list(kept.items())[:3])
    marked = {label: dict.fromkeys(scores, 123.0) for label, scores in first.items()}
    disk.write_record(tmp_path / "part.json", {"identity": "it", "scores": marked})
    resumed = evaluate(evidence(metrics=FEW), tmp_path / "part.json", "it")
    assert resumed.keys() == whole.keys()
    for key, value in resumed.items():
        done = any(key in scores for scores in first.values())
        assert value == (123.0 if done else whole[key])


@pytest.mark.parametrize(("kept", "before"), [(100.5, 100.5), (-1, 0), (1e300, 0), ("1", 0), (None, 0)])
def test_the_seconds_of_an_evaluation_add_up_over_its_parts(kept: Any, before: float, tmp_path: Path) -> None:
    part = tmp_path / "part.json"
    assert seconds_before(part, "it") == 0
    disk.write_record(part, {"identity": "it", "scores": {}, "seconds": kept})
    assert seconds_before(part, "it") == before
    assert seconds_before(part, "another") == 0
    evaluate(evidence(metrics=FEW), part, "it")
    assert before < seconds_before(part, "it") < before + 90


def test_a_score_that_is_infinite_survives_the_resume(tmp_path: Path) -> None:
    # 100 codes of 64 pixels, some of them always 0: the fitted Gaussian is singular, its KL infinite
    first = evaluate(evidence(metrics=["gaussian_kl"]), tmp_path / "scores.json", "it")
    assert first["gaussian_kl.mean"] == float("inf")
    assert evaluate(evidence(metrics=["gaussian_kl"]), tmp_path / "scores.json", "it") == first


def test_what_was_kept_for_other_settings_or_is_damaged_is_not_gone_on_with(tmp_path: Path) -> None:
    part = tmp_path / "part.json"
    whole = evaluate(evidence(metrics=FEW), part, "it")
    marked = {label: dict.fromkeys(scores, 123.0) for label, scores in disk.read_record(part)["scores"].items()}
    for record in ({"identity": "another", "scores": marked}, {"status": "done"}):
        disk.write_record(part, record)
        assert evaluate(evidence(metrics=FEW), part, "it") == whole
    part.write_bytes(part.read_bytes().replace(b"0", b"1", 1))
    said: list[str] = []
    assert evaluate(evidence(metrics=FEW), part, "it", said.append) == whole
    assert "part.json: damaged" in said[0]


def test_an_evaluation_that_is_asked_to_stop_keeps_what_it_has(tmp_path: Path) -> None:
    whole, answers = evaluate(evidence(metrics=FEW), tmp_path / "whole.json", "it"), iter([False, False, True])
    with pytest.raises(Stopped):
        evaluate(evidence(metrics=FEW), tmp_path / "part.json", "it", stop=lambda: next(answers))
    assert len(disk.read_record(tmp_path / "part.json")["scores"]) == 2
    assert evaluate(evidence(metrics=FEW), tmp_path / "part.json", "it") == whole


def test_whatever_a_metric_may_ask_for_is_provided() -> None:
    assert {*PROVIDED} == {*EVIDENCE}
    assert {*SETTINGS} <= {*EvaluationSettings.model_fields}
    assert not {*SETTINGS} & {*EVIDENCE}
    gaussian = ModelEvidence(WithPosterior(), digits(), EXTRACTOR, Settings(), 0, "cpu", untrained_perceptual("cpu"))
    sources = (evidence(), gaussian, factor_evidence(), factor_evidence(StandardNormal))
    for name, asked in EVIDENCE.items():
        for variant in asked.of or ("mean",):
            assert any(provides(made, name, variant) for made in sources) or name.startswith("novel"), (name, variant)


def provides(made: Evidence, name: str, variant: str) -> bool:
    try:
        return made.provide(name, variant) is not None
    except Absent:
        return False


def test_a_metric_that_asks_for_the_unknown_is_refused() -> None:
    with pytest.raises(UserError, match=r"the metric 'x' asks for 'cods', .* Did you mean 'codes'\? Valid: codes, "):
        check_asked("x", lambda cods: 0.0, ("mean",))
    with pytest.raises(UserError, match=r"the metric 'x' is of 'fake', and 'real' has no such variant"):
        check_asked("x", lambda real, fake: 0.0, ("fake",))


class Undense(NamedTuple):
    """A posterior whose density nobody knows."""

    mean: Tensor
    variance: Tensor

    def sample(self, draw: Callable[..., Tensor]) -> Tensor:
        return self.mean + self.variance.sqrt() * draw(lambda own: torch.randn(self.mean.shape, generator=own))


class Several(WithPosterior):
    """Codes from two samplers."""

    samplers = ("prior", "narrow")

    def posterior(self, x: Tensor) -> Undense:
        return Undense(x.flatten(1) - 0.5, torch.full((len(x), 64), 2.0))

    def narrow(self, n: int) -> Tensor:
        return 0.1 * self.noise(n, 64)


def test_samples_of_each_sampler_are_scored_apart(tmp_path: Path) -> None:
    settings = Settings(metrics=["frechet", "memorisation", "gaussian_kl", "mutual_information", "dimension_wise_kl"])
    scores = evaluate(ModelEvidence(Several(), digits(), EXTRACTOR, settings, 0, "cpu"), tmp_path / "two.json", "it")  # type: ignore[arg-type]
    alone = evaluate(
        ModelEvidence(WithPosterior(), digits(), EXTRACTOR, settings, 0, "cpu"), tmp_path / "one.json", "it"  # type: ignore[arg-type]
    )  # fmt: skip
    further = {key for key in scores if "fake-narrow" in key}
    assert {key.replace("fake-narrow", "fake") for key in further} == {key for key in alone if ".fake" in key}
    assert all(scores[key.replace("fake-narrow", "fake")] != scores[key] for key in further)
    assert scores["gaussian_kl.sampled"] == alone["gaussian_kl.sampled"]
    # Without its density these measures do not apply; with it, they do.
    assert not {"mutual_information.posterior", "dimension_wise_kl.posterior"} & {*scores}
    assert {"mutual_information.posterior", "dimension_wise_kl.posterior"} <= {*alone}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda z: z[:, :3], "codes of shape (100, 3); give (100, 64)."),
        (lambda z: None, "a NoneType; give a tensor of codes (100, 64)."),
        (lambda z: z.numpy(), "a ndarray; give a tensor of codes (100, 64)."),
        (lambda z: z.double(), "codes of torch.float64; give torch.float32, which decoders take."),
        (lambda z: z.index_fill(0, torch.tensor([3, 5]), math.nan), "NaN or infinite values in 2 of 100 codes; give"),
    ],
)
def test_a_sampler_that_gives_no_codes_is_a_sentence(change: Callable[[Tensor], Any], told: str) -> None:
    method = Several()
    method.odd = lambda n: change(method.noise(n, 64))  # type: ignore[assignment]
    method.samplers = ("prior", "odd")  # type: ignore[misc]
    with pytest.raises(RunError, match=re.escape(f"Several: odd(100) gave {told}")):
        ModelEvidence(method, digits(), EXTRACTOR, Settings(), 0, "cpu").images("fake-odd")


def test_the_dimension_wise_kl_is_to_the_methods_own_prior(tmp_path: Path) -> None:
    settings = Settings(metrics=["dimension_wise_kl"])

    class Standard(WithPosterior):
        def log_prior(self, z: Tensor) -> Tensor:
            return standard_normal_log_prob(z)

    class Unknown(WithPosterior):
        def prior(self, n: int) -> Tensor:
            return self.noise(n, 64)

        log_prior = Method.log_prior

    class Default(WithPosterior):
        log_prior = Method.log_prior

    found = []
    for i, cls in enumerate((WithPosterior, Standard, Default, Unknown)):
        made = ModelEvidence(cls(), digits(), EXTRACTOR, settings, 0, "cpu")  # type: ignore[arg-type]
        found.append(evaluate(made, tmp_path / f"{i}.json", "it"))
    own, standard, default = (scores["dimension_wise_kl.posterior"] for scores in found[:3])
    assert standard == pytest.approx(default, rel=1e-5)
    assert own != pytest.approx(default, rel=0.05)
    assert found[3] == {}
    assert made.absent == {"dimension_wise_kl.posterior": "the density of the prior is unknown"}


def test_what_a_method_lacks_for_a_metric_is_said_and_what_its_data_lack_is_not(tmp_path: Path) -> None:
    class Elsewhere(Several):
        samplers = ("prior",)
        target_variance = None  # type: ignore[assignment]

    class Mute(Elsewhere):
        cannot_sample = "it has no density"  # type: ignore[assignment]

    asked = ["gaussian_kl", "gaussian_kl_target", "mutual_information", "equilibrium_variance", "ood_density", "mig"]

    def lacks(cls: type[Method]) -> dict[str, str]:
        made = ModelEvidence(cls(), digits(), EXTRACTOR, Settings(metrics=asked), 0, "cpu")  # type: ignore[arg-type]
        scores = evaluate(made, tmp_path / f"{cls.__name__}.json", "it")
        assert not {*made.absent} & {*scores}
        return made.absent

    target = "the target of the codes is no N(0, v I)"
    unmatched = {"equilibrium_variance.mean": "no kernel density estimate is matched"}
    undense = {"mutual_information.posterior": "the posterior has no density"}
    of_target = {f"gaussian_kl_target.{variant}": target for variant in ("mean", "sampled")}
    without = ("gaussian_kl.sampled", "gaussian_kl_target.sampled", "mutual_information.posterior")
    assert lacks(Rotation) == unmatched | dict.fromkeys(without, "the encoder gives codes and no posterior")
    assert lacks(Elsewhere) == undense | of_target
    assert lacks(Mute) == undense, "tables say already why it has no prior"
