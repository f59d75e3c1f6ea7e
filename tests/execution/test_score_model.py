"""`lvm-bench score --model`: what a user types, what is printed, and the row that a model becomes."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from lvm_bench import disk
from lvm_bench.registry import METHODS

Call = Callable[..., Result]

BLOCKS = '''import torch

from lvm_bench.posteriors import Gaussian


class Blocks:
    """Means of 2x2 blocks."""

    settings = {"block": 2}
    files = ("weights.txt",)

    def encode(self, x):
        return torch.nn.functional.avg_pool2d(x, 2)

    def decode(self, z):
        return z.repeat_interleave(2, -1).repeat_interleave(2, -2)


class Noisy(Blocks):
    """Codes are drawn around the means."""

    def posterior(self, x):
        mu = self.encode(x).flatten(1)
        return Gaussian(mu, torch.zeros_like(mu) - 3)


class Lost(Blocks):
    files = ["no.pt"]


def too_large():
    model = Blocks()
    model.decode = lambda z: 255 * Blocks.decode(model, z)
    return model


def failing():
    raise RuntimeError("no weights")


def unfit():
    model = Blocks()
    model.decode = lambda z: z
    return model
'''

MODEL = ("score", "--model", "blocks.py:Blocks")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "blocks.py").write_text(BLOCKS)
    (tmp_path / "weights.txt").write_text("2")
    yield tmp_path
    METHODS._entries.pop("external", None)  # and its module, which would not register it again
    for name in [name for name in sys.modules if name.startswith("_lvm_bench_plugin_external")]:
        del sys.modules[name]


@pytest.fixture
def few(here: Path) -> None:
    """Suites of few digits and three metrics."""
    (here / "bench.toml").write_text(
        "[datasets.digits]\ntrain_images = 100\nvalidation_images = 20\ntest_images = 40\nclassifier_epochs = 1\n"
        '[suites.few]\nmethods = ["ae"]\ndatasets = ["digits"]\nseeds = [4, 5]\n'
        '[suites.few.evaluate]\nmetrics = ["mse", "gaussian_kl", "sharpness"]\n'
        '[suites.two]\nmethods = ["ae"]\ndatasets = ["digits", "mnist"]\nseeds = [0]\n'
    )


@pytest.mark.usefixtures("few")
def test_scores_and_their_protocol_are_printed_and_written(here: Path, lvm_bench: Call) -> None:
    done = lvm_bench(*MODEL, "--data", "digits", "--metrics", "mse,sharpness,gaussian_kl", "--json", "own.json")
    assert done.exit_code == 0, done.output
    assert "images.data               digits" in done.stdout
    assert "Model: model blocks.py:Blocks, block 2, codes 16, prior N(0, I)." in done.stderr
    record = json.loads((here / "own.json").read_text())
    assert {"mse.heldout", "sharpness.fake", "sharpness.recon", "gaussian_kl.mean"} <= record["scores"].keys()
    assert record["protocol"]["images"]["held out"] == {"images": 40}
    assert record["sets"]["model"] == {
        "model": "blocks.py:Blocks", "block": "2", "codes": "16", "prior": "N(0, I)"
    }  # fmt: skip
    again = lvm_bench(*MODEL, "--data", "digits", "--metrics", "mse,sharpness,gaussian_kl", "--against", "own.json")
    assert again.exit_code == 0, again.output


@pytest.mark.usefixtures("few")
def test_a_bound_stands_beside_its_k_and_its_likelihood_and_not_beside_one_of_another_k(
    here: Path, lvm_bench: Call
) -> None:
    given = ("score", "--model", "blocks.py:Noisy", "--data", "digits", "--metrics", "iw_bound,bits_per_dim")
    done = lvm_bench(*given, "--json", "own.json")
    assert done.exit_code == 0, done.output
    record = json.loads((here / "own.json").read_text())
    assert record["metrics"]["iw_bound"] == record["metrics"]["bits_per_dim"] == {
        "version": 1, "K": 500, "images": "the first 40, dequantised", "p(x|z)": "N(decode(z), I/2)"
    }  # fmt: skip
    assert "K 500, images the first 40, dequantised, p(x|z) N(decode(z), I/2)" in done.stdout
    with (here / "bench.toml").open("a") as file:
        file.write("[evaluate]\nimportance_samples = 3\n")
    refused = lvm_bench(*given, "--against", "own.json")
    assert refused.exit_code == 2
    assert "metrics.iw_bound.K is 3 and 500" in " ".join(refused.stderr.split())


@pytest.mark.usefixtures("few")
def test_images_of_ones_own_do_as_well(here: Path, lvm_bench: Call) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 6, 6), dtype=np.uint8)
    np.savez(here / "mine.npz", images=pixels)
    done = lvm_bench(*MODEL, "--images", "mine.npz", "--metrics", "mse", "--json", "own.json")
    assert done.exit_code == 0, done.output
    record = json.loads((here / "own.json").read_text())
    assert record["protocol"]["images"]["shape (c x h x w)"] == "1 x 6 x 6"
    assert 0 < record["scores"]["mse.heldout"] < 0.1


@pytest.mark.usefixtures("undrawn", "few")
def test_a_model_becomes_a_row_that_says_what_it_is(here: Path, lvm_bench: Call) -> None:
    command = (*MODEL, "--as", "My blocks", "--suite", "few")
    done = lvm_bench(*command)
    assert done.exit_code == 0, done.output
    run = here / "results/few/runs/digits/my-blocks/seed-4"
    record = disk.read_record(run / "job.json")
    assert (record["updates"], record["settings"]["epochs"], record["settings"]["latent"]) == (0, 0, 16)
    assert record["architecture"]["model: block"] == ["2"]
    assert {name.split()[0] for name in record["settings"]["files"]} == {"blocks.py", "weights.txt"}
    assert lvm_bench("verify").exit_code == 0

    report = lvm_bench("report", "--suite", "few", "--tables", "reconstruction", "--tables", "settings")
    assert report.exit_code == 0, report.output
    told = " ".join(report.stdout.split())
    assert "My blocks" in told
    assert "not trained here: its weights are those of blocks.py" in told
    assert "model: block" in told

    again = lvm_bench(*command)
    assert again.exit_code == 0
    assert disk.read_record(run / "job.json") == record
    (here / "weights.txt").write_text("3")
    other = lvm_bench(*command)
    assert other.exit_code == 2
    assert "was run with other settings (files = " in other.stderr


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("--model", "nothing", "--data", "digits"), "--model nothing: names no model. Give FILE.py:NAME, pythae:FOLD"),
        (("--model", "none.py:A", "--data", "digits"), "none.py: there is no such file"),
        (("--model", "blocks.py:Block", "--data", "digits"), "blocks.py: has no 'Block'. Did you mean 'Blocks'?"),
        (("--model", "blocks.py:Lost", "--data", "digits"), "the files of Lost name no.pt, which is not there"),
        (("--model", "blocks.py:failing", "--data", "digits"), "failing() raised RuntimeError: no weights"),
        (("--model", "blocks.py:unfit", "--data", "digits"), "decode of shape (16, 1, 4, 4) gave shape (16, 1, 4, 4)"),
        (("--model", "blocks.py:too_large", "--data", "digits"), "and its value range is 0 to 1"),
        (("--model", "pythae:none", "--data", "digits"), "none/model_config.json: cannot be read"),
        (("--model", "diffusers:none", "--data", "digits"), "none/config.json: cannot be read"),
        (("--model", "run:none", "--data", "digits"), "none: not the folder of a run of a method"),
        (("--model", "blocks.py:Blocks"), "--model: give the images that it is measured on, either --data NAME or"),
        (("--model", "blocks.py:Blocks", "--data", "digit"), "--data digit: unknown data set. Did you mean 'digits'?"),
        (("--model", "blocks.py:Blocks", "--data", "digits", "--codes", "a.npy"), "--model goes with neither --real"),
        (("--data", "digits"), "--data: give --model too."),
        (("--as", "A"), "--as: give --model too."),
        ((*MODEL[1:], "--data", "digits", "--as", "A"), "--as: give the --suite too"),
        ((*MODEL[1:], "--suite", "few"), "--suite: name the row of the model, as in --as"),
        ((*MODEL[1:], "--suite", "fewer", "--as", "A"), "unknown suite 'fewer'. Did you mean 'few'?"),
        (
            (*MODEL[1:], "--suite", "few", "--as", "A", "--data", "mnist"),
            "--data mnist: is no data set of the suite few",
        ),
        ((*MODEL[1:], "--suite", "two", "--as", "A"), "has the data sets digits, mnist. Name one of them with --data"),
        ((*MODEL[1:], "--suite", "few", "--as", "VAE"), "--as VAE: 'vae' is a method here"),
        ((*MODEL[1:], "--suite", "few", "--as", "..."), "--as ...: '' is a method here, or names no folder"),
        ((*MODEL[1:], "--suite", "few", "--as", "A", "--json", "a.json"), "--json does not go with --suite"),
        (("--model", "blocks.py:unfit", "--suite", "few", "--as", "A"), "decode of shape (16, 1, 4, 4) gave shape"),
    ],
)
@pytest.mark.usefixtures("few")
def test_a_mistake_is_a_sentence_and_leaves_no_results(lvm_bench: Call, command: tuple[str, ...], told: str) -> None:
    done = lvm_bench("score", *command, *(() if "--suite" in command else ("--metrics", "mse")))
    assert done.exit_code == 2, done.output
    assert told in " ".join(done.stderr.split())
    assert done.stderr.count("\n") == 1
    assert not Path("results").exists()


@pytest.mark.usefixtures("few")
def test_a_run_of_ours_is_measured_as_it_was_there_and_not_on_other_data(here: Path, lvm_bench: Call) -> None:
    trained = lvm_bench("run", "--suite", "few", "--seeds", "4", "--set", "epochs=1")
    assert trained.exit_code == 0, trained.output
    folder = "results/few/runs/digits/ae/seed-4"
    done = lvm_bench(
        "score", "--model", f"run:{folder}", "--data", "digits", "--metrics", "mse,gaussian_kl", "--json", "own.json"
    )
    assert done.exit_code == 0, done.output
    assert "run ae on digits" in done.stderr
    scores, before = (
        json.loads((here / "own.json").read_text())["scores"],
        disk.read_json(here / folder / "scores.json"),
    )
    assert scores["mse.heldout"] == before["mse.heldout"]

    row = lvm_bench("score", "--model", f"run:{folder}", "--as", "Again", "--suite", "few")
    assert row.exit_code == 0, row.output
    again = disk.read_json(here / "results/few/runs/digits/again/seed-4/scores.json")
    assert {key: value for key, value in again.items() if key.startswith("mse")} == {
        key: value for key, value in before.items() if key.startswith("mse")
    }

    np.savez(here / "mine.npz", images=np.zeros((60, 8, 8), np.uint8))
    other = lvm_bench("score", "--model", f"run:{folder}", "--images", "mine.npz", "--metrics", "mse")
    assert other.exit_code == 2
    assert "was trained on the data set 'digits', and 'npz' is given" in other.stderr
