"""`lvm-bench score`: numbers are those of `lvm_bench.metrics`, and stand beside those of their own protocol alone."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image

from lvm_bench import metrics
from lvm_bench.evaluation.perceptual import facts, untrained_perceptual
from lvm_bench.metrics.arrays import anew
from lvm_bench.metrics.coverage import knn_score
from lvm_bench.metrics.fidelity import Moments, Told, distance_of_fits, kid
from lvm_bench.metrics.grid import Sampled, drawn_codes
from lvm_bench.registry import EXTRACTORS, METRICS
from lvm_bench.seeding import generator

Call = Callable[..., Result]
PLUGIN = '''
"""A feature space and a metric of somebody's own."""

from lvm_bench.evaluation.features import Extractor, extractor
from lvm_bench.metrics.arrays import metric


@extractor("eighths")
def eighths(request):
    """The first eight pixels of each image."""
    return Extractor("eighths", "0123", "the first eight pixels", lambda x: x.flatten(1)[:, :8].float() / 255, "cpu")


@metric("brightness", better="none", of=("real", "fake"))
def brightness(fake) -> float:
    """Mean of all values; neither is better."""
    return float(fake.double().mean())
'''
X, Y, Z = (np.random.default_rng(seed).integers(0, 256, (n, 6, 6), np.uint8) for seed, n in ((0, 40), (1, 30), (2, 40)))
REAL, FAKE, RECON = (np.ascontiguousarray(each) for each in (X, Y, X // 2 + Z // 2))
GRID = np.argwhere(np.ones((3, 4, 2)))
GRID_CODES = np.random.default_rng(3).normal(GRID[:, [1, 0, 2]], 0.1)
FACTORS = np.random.default_rng(4).integers(0, 3, (90, 2))
CODES = np.random.default_rng(5).normal(FACTORS[:, [0, 1, 1]], 0.3)


@pytest.fixture
def score(lvm_bench: Call, tmp_path: Path) -> Iterator[Call]:
    """`lvm-bench score` beside real.npz, fake.npz, recon.npz, codes.npy, factors.npy and a plug-in."""
    for name, pixels in (("real", REAL), ("fake", FAKE), ("recon", RECON)):
        np.savez(tmp_path / f"{name}.npz", images=pixels)
    np.save(tmp_path / "codes.npy", CODES)
    np.save(tmp_path / "factors.npy", FACTORS)
    (tmp_path / "own.py").write_text(PLUGIN)
    (tmp_path / "bench.toml").write_text(
        "[evaluate]\nvotes = 60\ndirection_images = 20\nkid_subsets = 5\nclassifier_epochs = 1\n"
    )
    yield lambda *options: lvm_bench("score", "--plugin", "own.py", *options)
    METRICS._entries.pop("brightness", None)
    EXTRACTORS._entries.pop("eighths", None)


BOTH = ("--real", "real.npz", "--fake", "fake.npz", "--extractor", "eighths")


def scores_of(file: Path) -> dict[str, float]:
    return json.loads(file.read_text())["scores"]


def features(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape(len(pixels), -1)[:, :8].astype(np.float32) / np.float32(255)


@pytest.mark.usefixtures("short_metrics")
def test_scores_of_images_are_the_numbers_that_python_gives(score: Call, tmp_path: Path) -> None:
    result = score(*BOTH, "--recon", "recon.npz", "--json", "out.json")
    assert result.exit_code == 0, result.stderr
    found, real, fake = scores_of(tmp_path / "out.json"), features(REAL), features(FAKE)
    of_kid = kid(real, fake, 5, 1000, 0)
    shares = knn_score(real[:30], fake, 5, anew)
    x, recon = (torch.from_numpy(each[:, None]).float() / 255 for each in (REAL, RECON))
    assert found["frechet.fake@eighths"] == metrics.frechet_distance(real, fake)
    assert (found["kid.fake@eighths"], found["kid_std.fake@eighths"]) == (of_kid[""], of_kid["std"])
    assert {part: found[f"knn_{part}.fake@eighths"] for part in shares} == shares
    assert found["prd_recall.fake@eighths"] == metrics.prd(real[:30], fake)["recall"]
    assert (found["mse.heldout"], found["sse.heldout"]) == (metrics.mse(x, recon), metrics.sse(x, recon))
    assert found["sharpness.recon"] == metrics.sharpness(recon)
    assert found["brightness.real"] == float(x.double().mean()), "a metric of a plug-in"
    assert "frechet.recon@eighths" not in found, "real images are the originals here, and no training images"
    for told in ("images.fake.images", "1 x 6 x 6", "the first eight pixels", "kid_subsets 5", "higher is better"):
        assert told in result.stdout


def test_the_protocol_holds_what_numbers_depend_on(score: Call, tmp_path: Path) -> None:
    assert score(*BOTH, "--metrics", "frechet,kid", "--json", "out.json").exit_code == 0
    record = json.loads((tmp_path / "out.json").read_text())
    images = record["protocol"]["images"]
    assert images["shape (c x h x w)"] == "1 x 6 x 6"
    assert (images["real"]["images"], images["fake"]) == (40, {"images": 30, "resize": "none"})
    assert images["real"]["fingerprint"] == record["sets"]["real"]["fingerprint"]
    assert record["protocol"]["features"] == {"eighths": {"recipe": "the first eight pixels", "weights": "0123"}}
    assert record["metrics"]["kid"] == {"version": 1, "kid_subsets": 5, "kid_subset_size": 1000, "seed": 0}


def test_a_folder_and_an_npz_file_of_the_same_images_have_the_same_protocol_and_scores(
    score: Call, tmp_path: Path
) -> None:
    for name, pixels in (("real", REAL), ("fake", FAKE)):
        (tmp_path / name).mkdir()
        for i, image in enumerate(pixels):
            Image.fromarray(image).save(tmp_path / name / f"{i:03}.png")
    few = ("--extractor", "eighths", "--metrics", "frechet,sharpness")
    assert score(*BOTH[:4], *few, "--json", "arrays.json").exit_code == 0
    of_files = score("--real", "real", "--fake", "fake", *few, "--against", "arrays.json", "--json", "files.json")
    assert of_files.exit_code == 0, of_files.stderr
    assert scores_of(tmp_path / "files.json") == scores_of(tmp_path / "arrays.json")
    assert "(here)  arrays.json" in of_files.stdout
    Image.fromarray(REAL[0, :5]).save(tmp_path / "real" / "000.png")
    result = score("--real", "real", "--fake", "fake", "--extractor", "eighths")
    assert result.exit_code == 2
    assert "several sizes: 000.png has 6 x 5 pixels and 001.png has 6 x 6. Give --size 5" in result.stderr


def test_images_are_resized_only_where_that_is_asked_for_and_the_filter_is_told(score: Call, tmp_path: Path) -> None:
    np.savez(tmp_path / "large.npz", images=np.kron(FAKE, np.ones((2, 3), np.uint8)))
    options = ("--real", "real.npz", "--fake", "large.npz", "--metrics", "brightness")
    refused = score(*options)
    assert refused.exit_code == 2
    assert "1 x 12 x 18 (c x h x w) and --real real.npz of 1 x 6 x 6: they are compared at one size" in refused.stderr
    assert score(*options, "--size", "6", "--json", "out.json").exit_code == 0
    images = json.loads((tmp_path / "out.json").read_text())["protocol"]["images"]
    assert images["fake"]["resize"] == "from 18 x 12: centre square, Pillow's LANCZOS"
    assert images["real"]["resize"] == "none"
    centres = (Image.fromarray(np.kron(each, np.ones((2, 3), np.uint8))[:, 3:15]) for each in FAKE)
    pixels = np.stack([np.asarray(each.resize((6, 6), Image.Resampling.LANCZOS)) for each in centres])
    expected = float((torch.from_numpy(pixels).float() / 255).double().mean())
    assert scores_of(tmp_path / "out.json")["brightness.fake"] == expected


def test_reconstructions_have_lpips_where_its_weights_are(
    score: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = (np.random.default_rng(seed).integers(0, 256, (3, 32, 32), np.uint8) for seed in (0, 1))
    np.savez(tmp_path / "large.npz", images=x)
    np.savez(tmp_path / "theirs.npz", images=y)
    given = ("--real", "large.npz", "--recon", "theirs.npz", "--metrics", "lpips", "--json", "out.json")
    without = score(*given)
    assert without.exit_code == 2
    assert "alex.pth are missing: run `lvm-bench data fetch lpips`" in without.stderr
    network = untrained_perceptual("cpu")
    monkeypatch.setattr("lvm_bench.execution.score_images.perceptual", lambda root, device: network)
    done = score(*given)
    assert done.exit_code == 0, done.stderr
    real, recon = (torch.from_numpy(each[:, None]).float() / 255 for each in (x, y))
    assert scores_of(tmp_path / "out.json") == {"lpips.heldout": metrics.lpips(real, recon, network)}


def test_the_classifier_learns_from_the_labels_of_the_real_images(score: Call, tmp_path: Path) -> None:
    np.savez(tmp_path / "labelled.npz", images=np.tile(REAL, (1, 2, 2)), labels=np.arange(40) % 2)
    np.savez(tmp_path / "fake.npz", images=np.tile(FAKE, (1, 2, 2)))
    options = ("--fake", "fake.npz", "--extractor", "classifier", "--metrics", "frechet", "--json", "out.json")
    assert score("--real", "labelled.npz", *options).exit_code == 0
    told = json.loads((tmp_path / "out.json").read_text())["protocol"]["features"]["classifier"]
    assert told["weights"].startswith("sha256:")
    assert "test accuracy" in told["recipe"]
    refused = score("--real", "fake.npz", *options)
    assert (refused.exit_code, "a folder for each class" in refused.stderr) == (2, True)


# Statistics


def test_statistics_that_are_written_give_the_frechet_distance_of_the_images(score: Call, tmp_path: Path) -> None:
    assert score(*BOTH, "--metrics", "frechet", "--json", "images.json", "--write-statistics", "s.npz").exit_code == 0
    with np.load(tmp_path / "s.npz") as file:
        np.testing.assert_allclose(file["sigma"], np.cov(features(REAL).astype(float).T), rtol=1e-12)
    result = score("--real", "s.npz", "--fake", "fake.npz", "--json", "s.json", "--against", "images.json")
    assert result.exit_code == 0, result.stderr
    assert scores_of(tmp_path / "s.json") == scores_of(tmp_path / "images.json")
    others = score("--real", "s.npz", "--fake", "fake.npz", "--metrics", "frechet,kid")
    assert "Left out: kid: statistics give the Frechet distance alone." in others.stderr
    alone = score("--real", "real.npz", "--extractor", "eighths", "--metrics", "frechet", "--write-statistics", "t.npz")
    assert (alone.exit_code, "SCORE" in alone.stdout) == (0, False)
    assert (tmp_path / "t.npz").stat().st_size == (tmp_path / "s.npz").stat().st_size
    both = score("--real", "s.npz", "--fake", "t.npz")
    assert (both.exit_code, both.stdout.split()[-1]) == (0, "6)."), both.stderr


def test_statistics_of_other_packages_are_read_and_their_unknown_resize_is_told(score: Call, tmp_path: Path) -> None:
    fits = [(each.mean(0), np.cov(each.T)) for each in (features(REAL).astype(float), features(FAKE).astype(float))]
    np.savez_compressed(tmp_path / "theirs.npz", mu=fits[0][0], sigma=fits[0][1])
    result = score("--real", "theirs.npz", "--fake", "fake.npz", "--extractor", "eighths", "--json", "out.json")
    assert result.exit_code == 0
    assert "does not say of which network and resize it is" in result.stderr
    (mean, covariance), (other, its) = fits
    root = np.sqrt(np.linalg.eigvals(covariance @ its).real).sum()
    theirs = np.square(mean - other).sum() + np.trace(covariance) + np.trace(its) - 2 * root
    assert scores_of(tmp_path / "out.json") == {"frechet.fake@eighths": pytest.approx(theirs, rel=1e-6)}
    refused = score(*BOTH, "--against", "out.json")
    assert (refused.exit_code, "images.real.fingerprint is" in refused.stderr) == (2, True)


def test_told_statistics_of_fewer_samples_than_dimensions_keep_the_distance() -> None:
    few, others = (torch.randn(n, 12, generator=generator(i, "test")) for i, n in enumerate((7, 9)))
    told = [Told(Moments(each).mean, Moments(each).covariance) for each in (few, others)]
    assert distance_of_fits(*told) == pytest.approx(metrics.frechet_distance(few, others), rel=1e-6)


def test_an_npy_file_and_the_only_array_of_an_npz_file_are_sets_of_images(score: Call, tmp_path: Path) -> None:
    np.save(tmp_path / "recon.npy", RECON[..., None] / 255)
    np.savez(tmp_path / "named.npz", samples=RECON)
    assert score("--real", "real.npz", "--recon", "recon.npz", "--metrics", "mse", "--json", "a.json").exit_code == 0
    for name in ("recon.npy", "named.npz"):
        result = score("--real", "real.npz", "--recon", name, "--metrics", "mse", "--json", "b.json")
        assert (result.exit_code, scores_of(tmp_path / "b.json")) == (0, scores_of(tmp_path / "a.json")), result.stderr


def test_lpips_without_weights_is_a_sentence_and_its_weights_are_told(
    score: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(7).integers(0, 256, (4, 32, 32, 3), np.uint8)
    for name, values in (("real", pixels), ("recon", pixels // 2)):
        np.savez(tmp_path / f"{name}.npz", images=values)
    options = ("--real", "real.npz", "--recon", "recon.npz", "--metrics", "lpips", "--json", "out.json")
    without = score(*options)
    assert (without.exit_code, "alex.pth are missing: run `lvm-bench data fetch lpips`" in without.stderr) == (2, True)
    network = untrained_perceptual("cpu")
    monkeypatch.setattr("lvm_bench.execution.score_images.perceptual", lambda root, device: network)
    assert score(*options).exit_code == 0
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["scores"].keys() == {"lpips.heldout"}
    assert record["protocol"]["features"]["lpips"] == facts()


# Codes


def test_scores_of_codes_are_the_numbers_that_python_gives(score: Call, tmp_path: Path) -> None:
    assert score("--codes", "codes.npy", "--prior", "normal", "--metrics", "all", "--json", "out.json").exit_code == 0
    found = scores_of(tmp_path / "out.json")
    assert found["gaussian_kl.mean"] == found["gaussian_kl_target.mean"] == metrics.gaussian_kl(CODES)
    assert found["entropy_raw.mean"] == metrics.whitened_entropy(CODES)["raw"]
    assert found["mmd_target.mean"] == metrics.mmd(CODES)
    assert 0 <= found["code_coverage.mean"] <= 1
    assert "mig.grid" not in found


def test_metrics_against_a_prior_need_one(score: Call, tmp_path: Path) -> None:
    result = score("--codes", "codes.npy", "--metrics", "gaussian_kl_target,two_sample,collapsed_variance,frechet")
    assert result.exit_code == 0
    assert "Left out: gaussian_kl_target: --prior is not given." in result.stderr
    assert "Left out: two_sample: --prior is not given." in result.stderr
    assert "Left out: frechet: it asks for reference_features: features of all training images" in result.stderr
    assert "collapsed_variance.mean" in result.stdout


def test_factors_of_samples_give_the_metrics_of_pairs(score: Call, tmp_path: Path) -> None:
    chosen = ("--metrics", "mig,sap,factor_vae_score", "--json", "out.json")
    result = score("--codes", "codes.npy", "--factors", "factors.npy", *chosen)
    assert result.exit_code == 0
    assert "Left out: factor_vae_score.grid: it draws from the codes of every combination of factors" in result.stderr
    assert "samples of 3 x 3 values" in result.stdout
    found = scores_of(tmp_path / "out.json")
    assert found["mig.grid"] == pytest.approx(metrics.mig(CODES, FACTORS), rel=1e-12)
    order = torch.randperm(90, generator=generator(0, "sap")).numpy()
    assert found["sap.grid"] == metrics.sap(CODES[order], FACTORS[order])


def test_factors_of_a_whole_grid_in_any_order_give_every_metric_of_factors(score: Call, tmp_path: Path) -> None:
    order = np.random.default_rng(6).permutation(24)
    for name, values in (("codes", GRID_CODES[order]), ("factors", GRID[order])):
        np.save(tmp_path / f"{name}.npy", values)
    chosen = ("--metrics", "factor_vae_score,angle_deviation,pca_mig", "--json", "out.json")
    assert score("--codes", "codes.npy", "--factors", "factors.npy", *chosen).exit_code == 0
    found = scores_of(tmp_path / "out.json")
    assert {*found} == {"factor_vae_score.grid", "angle_deviation.grid", "pca_mig.grid", "pca_mig_paper.grid"}
    assert found["factor_vae_score.grid"] == metrics.factor_vae_score(GRID_CODES, (3, 4, 2), 60, 30)


def test_samples_are_drawn_without_replacement() -> None:
    factors = torch.from_numpy(FACTORS)
    codes, drawn = drawn_codes(torch.arange(90.0)[:, None], Sampled(factors), 50, 0, "mig")
    assert len(codes.unique()) == 50
    assert torch.equal(factors[codes[:, 0].long()], drawn)


@pytest.mark.parametrize("arrays", [{"codes": CODES, "spectrum": CODES[0]}, {"z": CODES}])
def test_codes_and_factors_may_lie_in_an_npz_file(score: Call, tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "codes.npz", **arrays)
    np.savez(tmp_path / "factors.npz", factors=FACTORS)
    chosen = ("--metrics", "gaussian_kl,mig", "--json", "out.json")
    assert score("--codes", "codes.npz", "--factors", "factors.npz", *chosen).exit_code == 0
    assert scores_of(tmp_path / "out.json")["gaussian_kl.mean"] == metrics.gaussian_kl(CODES)


# Comparisons


def test_scores_without_one_in_common_are_refused(score: Call) -> None:
    assert score(*BOTH, "--metrics", "frechet", "--json", "a.json").exit_code == 0
    assert score(*BOTH, "--metrics", "sharpness", "--json", "b.json").exit_code == 0
    result = score("--against", "a.json", "--against", "b.json")
    assert result.exit_code == 2
    assert "none in common, such as frechet.fake@eighths and sharpness." in result.stderr


def test_only_scores_of_one_protocol_stand_side_by_side(score: Call, tmp_path: Path) -> None:
    assert score(*BOTH, "--metrics", "frechet", "--json", "a.json").exit_code == 0
    np.savez(tmp_path / "other.npz", images=FAKE[::-1])
    options = ("--real", "real.npz", "--extractor", "eighths", "--json", "b.json")
    assert score(*options, "--fake", "other.npz").exit_code == 0
    beside = score("--against", "a.json", "--against", "b.json")
    assert beside.exit_code == 0
    assert [line.split()[-3:] for line in beside.stdout.splitlines() if line.startswith("sharpness.fake")] != []
    assert "a.json" in beside.stdout
    fewer = score(*BOTH[2:], "--real", "other.npz", "--against", "a.json")
    assert fewer.exit_code == 2
    assert "images.real.images is 30 and 40; images.real.fingerprint is" in fewer.stderr
    record = json.loads((tmp_path / "b.json").read_text())
    record["metrics"]["frechet"]["version"] = 2
    (tmp_path / "b.json").write_text(json.dumps(record))
    versions = score("--against", "a.json", "--against", "b.json")
    assert (versions.exit_code, "metrics.frechet.version is 1 and 2" in versions.stderr) == (2, True)
    assert score("--codes", "codes.npy", "--metrics", "mmd", "--json", "c.json").exit_code == 0
    assert "they are of other things" in score("--against", "a.json", "--against", "c.json").stderr


# Mistakes


def write_bad(place: Path) -> None:
    """Files that cannot be scored."""
    np.savez(place / "one.npz", images=REAL[:1])
    np.savez(place / "colour.npz", images=np.zeros((9, 6, 6, 3), np.uint8))
    np.savez(place / "few.npz", images=RECON[:9])
    np.savez(place / "wide.npz", mu=np.zeros(5), sigma=np.eye(5))
    np.savez(place / "skew.npz", mu=np.zeros(2), sigma=np.array([[1.0, 2], [0, 1]]))
    np.savez(place / "nan.npz", mu=np.full(2, np.nan), sigma=np.eye(2))
    np.save(place / "nan.npy", np.where(np.arange(270).reshape(90, 3) == 8, np.nan, CODES))
    np.save(place / "objects.npy", np.array([{}, {}]))
    np.savez(place / "two.npz", a=CODES, b=CODES)
    np.save(place / "short.npy", FACTORS[:50])
    np.save(place / "words.npy", np.array([["a", "b"]] * 90))
    (place / "text.npy").write_text("none")
    (place / "file").write_text("none")
    (place / "bad.json").write_text('{"format": 1}')


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--real one.npz", "--real one.npz: holds one image"),
        ("--real real.npz --fake colour.npz", "colour.npz holds colour images (3 channels), and --real real.npz holds"),
        ("--real real.npz --recon few.npz", "--recon few.npz has 9 images and --real real.npz 40"),
        ("--real gone --fake fake.npz", "gone: does not exist"),
        ("--real real.npz --fake fake.npz", "is missing: run `lvm-bench data fetch inception`"),
        ("--real real.npz --fake fake.npz --extractor eights", "unknown feature extractor. Did you mean 'eighths'?"),
        ("--real real.npz --metrics frechet,kit", "--metrics kit: unknown metric. Did you mean 'kid'?"),
        ("--real real.npz --json file/out.json", "--json file/out.json: cannot be written"),
        ("--real real.npz --write-statistics .", "--write-statistics .: cannot be written"),
        ("--real wide.npz --fake fake.npz --extractor eighths", "is of 5 features and --fake fake.npz is of 8"),
        ("--real skew.npz --fake fake.npz", "sigma is no covariance"),
        ("--real nan.npz --fake fake.npz", "nan.npz: mu is float64 and may not be finite"),
        ("--real wide.npz", "Give --fake, and neither --recon nor"),
        ("--real real.npz --fake fake.npz --size 0", "--size 0: choose 1"),
        ("--real real.npz --extractor eighths --metrics frechet", "No metric could be computed"),
        ("--fake fake.npz", "--fake: give --real too."),
        ("--prior normal", "--prior: give --codes too."),
        ("--json out.json", "--json: give --real, --codes or --model too."),
        ("--against bad.json", "or two files of scores"),
        ("--codes codes.npy --against bad.json", "is not what `lvm-bench score --json` writes"),
        ("--codes nan.npy", "--codes: nan.npy has NaN or infinite values in 1 of 90 rows"),
        ("--codes objects.npy", "--codes objects.npy: cannot be read as .npy"),
        ("--codes two.npz", "--codes two.npz: has the arrays a, b. Call the one that is meant 'codes'."),
        ("--real two.npz", "--real two.npz: has the arrays a, b. Call the one of images 'images'."),
        ("--real real.npz --fake file", "file: is neither a folder nor an .npz file"),
        ("--codes text.npy", "--codes text.npy: cannot be read as .npy"),
        ("--codes words.npy", "--codes: words.npy has dtype <U1"),
        ("--codes codes.npy --factors short.npy", "codes has 90 rows and factors has 50"),
        ("--codes codes.npy --factors codes.npy", "--factors: factors has dtype float64"),
    ],
)
def test_what_cannot_be_scored_is_a_sentence(score: Call, tmp_path: Path, options: str, told: str) -> None:
    write_bad(tmp_path)
    before = {*tmp_path.iterdir()}
    result = score(*options.split())
    assert (result.exit_code, told in result.stderr) == (2, True), result.stderr
    assert len(result.stderr.strip().splitlines()) <= 2, "a line of what was left out, and the sentence"
    assert {*tmp_path.iterdir()} == before, "nothing is written"


def test_a_record_that_was_changed_by_hand_is_shown_as_text(score: Call, tmp_path: Path) -> None:
    assert score("--codes", "codes.npy", "--metrics", "mmd", "--json", "a.json").exit_code == 0
    record: dict[str, Any] = json.loads((tmp_path / "a.json").read_text())
    record["scores"] |= {"mmd.mean": "inf", "no_such_metric.x": 1.0}
    record["protocol"]["codes"]["prior\x1b"] = {"deep": ["list"]}
    (tmp_path / "b.json").write_text(json.dumps(record))
    result = score("--against", "a.json", "--against", "b.json")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "no_such_metric.x" in result.stdout
    assert " inf " in result.stdout
