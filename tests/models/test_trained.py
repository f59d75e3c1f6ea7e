"""`lvm_bench.load`: the model of a run gives the codes and images that its run had, and opens no pickle."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import lvm_bench
from lvm_bench import disk
from lvm_bench.cli import main
from lvm_bench.data.images import load as load_data
from lvm_bench.errors import UserError
from lvm_bench.metrics import sse

LIMITS = {"train_images": 200, "validation_images": 20, "test_images": 60}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite quick with a VAE of one epoch on 200 digits."""
    folder = tmp_path_factory.mktemp("results")
    few = [part for key, value in LIMITS.items() for part in ("--set", f"{key}={value}")]
    command = ["run", "--suite", "quick", "--methods", "vae", "--seeds", "0", "--results", str(folder), *few]
    command += ["--set", "epochs=1", "--set", 'metrics=["sse", "gaussian_kl", "sharpness"]']
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return folder / "quick"


@pytest.fixture
def run(suite: Path) -> Path:
    return suite / "runs/digits/vae/seed-0"


def test_codes_and_images_are_those_of_the_run_bit_for_bit(run: Path) -> None:
    model = lvm_bench.load(run)
    shown, codes = np.load(run / "images.npz"), np.load(run / "codes.npz")["codes"]
    np.testing.assert_array_equal(model.encode(shown["real"]).numpy(), codes[:16])
    pixels = (model.reconstruct(shown["real"]) * 255).round().to(torch.uint8)
    np.testing.assert_array_equal(pixels.numpy(), shown["recon"])
    assert model.spec.shape == (1, 8, 8)
    assert model.spec.n_train == 200
    assert model.settings["arguments"] == {"beta": 1.0}


def test_images_may_be_pixels_or_floats_of_numpy_or_torch(run: Path) -> None:
    model, real = lvm_bench.load(run), np.load(run / "images.npz")["real"]
    expected = model.encode(real)
    assert torch.equal(model.encode(torch.from_numpy(real)), expected)
    torch.testing.assert_close(model.encode(torch.from_numpy(real) / 255), expected)
    for bad in (real[:, :, 1:], real.astype(np.int64), real[0]):
        with pytest.raises(UserError, match=r"this model takes uint8, or floats in \(0, 1\), of shape \(n, 1, 8, 8\)"):
            model.encode(bad)


def test_what_no_model_takes_is_a_sentence(run: Path) -> None:
    model, real = lvm_bench.load(run), np.load(run / "images.npz")["real"]
    codes = np.zeros((3, 8))
    assert torch.equal(model.decode(codes), model.decode(torch.zeros(3, 8)))
    for call, told in (
        (lambda: model.encode(real.astype(float)), r"values from 0 to 255: .* floats in \(0, 1\)"),
        (lambda: model.decode(codes[:, :5]), r"Codes have the shape \(3, 5\): this model takes \(n, 8\)"),
        (lambda: model.interpolate(real[:3], real[:2]), "3 images begin a path and 2 end one"),
    ):
        with pytest.raises(UserError, match=told):
            call()


def test_the_same_seed_gives_the_same_samples(run: Path) -> None:
    model = lvm_bench.load(run)
    first = model.sample(5)
    assert torch.equal(model.sample(5), first)
    assert torch.equal(lvm_bench.load(run).sample(5), first)
    assert not torch.equal(model.sample(5, seed=1), first)


def test_a_path_begins_at_one_image_and_ends_at_the_other(run: Path) -> None:
    model, real = lvm_bench.load(run), np.load(run / "images.npz")["real"]
    path = model.interpolate(real[:3], real[3:6], steps=4)
    assert path.shape == (3, 4, 1, 8, 8)
    torch.testing.assert_close(path[:, 0], model.reconstruct(real[:3]))
    torch.testing.assert_close(path[:, -1], model.reconstruct(real[3:6]))


def test_its_scores_are_those_of_its_run(run: Path) -> None:
    data = load_data("digits", Path(), options={}, **LIMITS)
    scores = lvm_bench.evaluate(
        lvm_bench.load(run), data.test.pixels, train=data.train.pixels, metrics=["sse", "gaussian_kl", "sharpness"]
    )
    assert scores == disk.read_json(run / "scores.json")


def test_no_pickle_is_opened(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a pickle was opened")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, refused)
    assert lvm_bench.load(run).sample(1).shape == (1, 1, 8, 8)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda run: (run / "model.safetensors").write_bytes(b"changed"), "model.safetensors: damaged"),
        (lambda run: (run / "model.safetensors").unlink(), "model.safetensors: is missing"),
        (lambda run: (run / "images.npz").unlink(), "images.npz: is missing"),
        (lambda run: (run / "job.json").write_text("{}"), "job.json: damaged"),
        (lambda run: (run / "job.json").unlink(), "not the folder of a run of a method"),
        (lambda run: run.rename(run.with_name("seed-1")), "not the folder of a run of a method"),
    ],
)
def test_a_damaged_run_is_refused_in_a_sentence(
    run: Path, tmp_path: Path, harm: Callable[[Path], object], told: str
) -> None:
    copy = tmp_path / "digits" / "vae" / "seed-0"
    shutil.copytree(run, copy)
    harm(copy)
    with pytest.raises(UserError, match=told):
        lvm_bench.load(copy)


def test_what_is_no_model_of_a_run_is_refused(suite: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, suite / "runs/digits/standard-normal/seed-0"):
        with pytest.raises(UserError, match="not the folder of a run of a method"):
            lvm_bench.load(folder)


def test_a_method_that_is_not_known_here_asks_for_its_file(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "digits" / "vae" / "seed-0"
    shutil.copytree(run, copy)
    record = disk.read_record(copy / "job.json")
    record["settings"]["method"] = "mine"
    disk.write_record(copy / "job.json", record)
    with pytest.raises(UserError, match=r"The method 'mine' of this run is not known here.*plugins="):
        lvm_bench.load(copy)


def test_a_model_of_other_images_is_not_measured(run: Path) -> None:
    with pytest.raises(UserError, match=r"Images are 1x6x6 \(c, h, w\), and the model is made for 1x8x8"):
        lvm_bench.evaluate(lvm_bench.load(run), np.zeros((60, 1, 6, 6), np.uint8))


def test_the_error_of_a_sum_of_squares_needs_no_suite(run: Path) -> None:
    model, real = lvm_bench.load(run), np.load(run / "images.npz")["real"]
    x = torch.from_numpy(real) / 255
    assert sse(x, model.reconstruct(real)) == pytest.approx(
        lvm_bench.evaluate(model, real, train=real, metrics=["sse"])["sse.heldout"]
    )


def test_a_method_whose_file_has_changed_since_is_warned_of(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "digits" / "vae" / "seed-0"
    shutil.copytree(run, copy)
    record = disk.read_record(copy / "job.json")
    record["environment"]["versions"]["method"] = "0123456789ab"
    disk.write_record(copy / "job.json", record)
    with pytest.warns(UserWarning, match=r"vae\.py has changed since: it may read these weights otherwise"):
        lvm_bench.load(copy)
