"""A given model, whose weights come from a file: no epoch, its own modules, and a file whose exchange is noticed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from click.testing import Result
from torch import nn

from lvm_bench import disk
from lvm_bench.errors import RunError, UserError
from lvm_bench.execution.run import RunAtWork
from lvm_bench.modelling.contract import Spec
from lvm_bench.registry import METHODS
from lvm_bench.runs.comparable import outcomes
from lvm_bench.runs.record import Run
from lvm_bench.suites import given
from lvm_bench.suites.bench_toml import packaged
from lvm_bench.suites.resolve import resolve

FROZEN = '''"""A model of another library, as its file has it."""
from pathlib import Path

import torch
from torch import nn

from lvm_bench import Method, method


@method("frozen")
class Frozen(Method):
    def __init__(self, encoder, decoder, spec, *, path: str = "given.pt"):
        size = spec.shape[0] * spec.shape[1] * spec.shape[2]
        own = nn.Sequential(nn.Linear(size, spec.latent), nn.Linear(spec.latent, size))
        own.load_state_dict(torch.load(path, weights_only=True))
        images = nn.Sequential(own[1], nn.Sigmoid(), nn.Unflatten(1, spec.shape))
        super().__init__(nn.Sequential(nn.Flatten(), own[0]), images, spec)
        self.requires_grad_(False)

    @classmethod
    def files(cls, arguments):
        return [Path(arguments["path"])]

    def decode(self, z):
        return self.decoder(z)
'''
RUN = (
    "run", "--suite", "quick", "--plugin", "frozen.py", "--methods", "frozen", "--seeds", "0",
    "--set", 'metrics=["mse", "gaussian_kl"]',
)  # fmt: skip
ZERO = ("--set", "methods.frozen.epochs=0")
FOLDER = Path("results/quick/runs/digits/frozen/seed-0")


def write_weights(file: Path, seed: int) -> None:
    torch.manual_seed(seed)
    torch.save(nn.Sequential(nn.Linear(64, 8), nn.Linear(8, 64)).state_dict(), file)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "frozen.py").write_text(FROZEN)
    write_weights(tmp_path / "given.pt", 0)
    yield tmp_path
    METHODS._entries.pop("frozen", None)


@pytest.mark.usefixtures("undrawn")
def test_a_given_model_is_measured_as_it_is_and_its_exchange_is_noticed(
    here: Path, lvm_bench: Callable[..., Result]
) -> None:
    done = lvm_bench(*RUN, *ZERO)
    assert done.exit_code == 0, done.output
    record = disk.read_record(FOLDER / "job.json")
    assert record["settings"]["files"] == given.checksums("frozen", {"path": "given.pt"})
    assert record["parameters"] == 2 * 64 * 8 + 8 + 64
    assert record["architecture"] == {
        "encoder": ["Flatten", "FC 8"], "decoder": ["FC 64", "Sigmoid", "reshape 1x8x8"]
    }  # fmt: skip
    assert "seconds_training" not in record
    assert (record["updates"], record["images_encoded"]) == (0, 0)
    assert lvm_bench("verify").exit_code == 0

    report = lvm_bench("report", "--tables", "reconstruction", "--tables", "cost")
    assert report.exit_code == 0, report.output
    told = " ".join(report.stdout.split())
    assert f"not trained here: its weights are those of {record['settings']['files'][0]}" in told

    write_weights(here / "given.pt", 1)
    exchanged = lvm_bench(*RUN, *ZERO)
    assert exchanged.exit_code == 2
    assert 'was run with other settings (files = ["given.pt ' in exchanged.stderr
    assert disk.read_record(FOLDER / "job.json") == record

    (here / "given.pt").unlink()
    missing = lvm_bench(*RUN, *ZERO)
    assert missing.exit_code == 2
    assert "methods.frozen: its weights come from given.pt, which cannot be read" in missing.stderr


def test_a_given_model_without_zero_epochs_fails_with_what_to_do(here: Path, lvm_bench: Callable[..., Result]) -> None:
    failed = lvm_bench(*RUN, "--set", "epochs=1")
    assert failed.exit_code == 1
    reason = disk.read_record(FOLDER / "job.json")["reason"]
    assert "Frozen has no trainable parameter. Give it epochs = 0" in reason


@pytest.mark.usefixtures("short_checks")
def test_a_given_model_keeps_the_contract_without_losses(here: Path, lvm_bench: Callable[..., Result]) -> None:
    checked = lvm_bench("check", "frozen.py")
    assert checked.exit_code == 0, checked.output


def test_a_file_that_is_exchanged_after_the_command_began_is_noticed(here: Path) -> None:
    job = resolve(packaged(), "quick", methods=("frozen",), plugins=(here / "frozen.py",), settings=ZERO[1:]).jobs[0]
    write_weights(here / "given.pt", 1)
    at_work = object.__new__(RunAtWork)
    at_work.job = job
    with pytest.raises(RunError, match=r"was exchanged meanwhile: \['given.pt \w+'\] then"):
        at_work.built(Spec((1, 8, 8), (0, 1), 8, 100, 10, "sse"))


def test_controls_and_methods_without_files_keep_their_identity(here: Path) -> None:
    settings = ("methods.frozen.epochs=0",)
    (job,) = resolve(
        packaged(), "quick", methods=("frozen",), seeds=(0,), plugins=(here / "frozen.py",), settings=settings
    ).jobs
    assert "files" not in job.control("standard-normal").scores_settings()
    (vae,) = resolve(packaged(), "quick", methods=("vae",), seeds=(0,)).jobs
    assert "files" not in vae.scores_settings()
    assert vae.scores_settings()["epochs"] == 60


def test_an_error_in_files_names_its_line(here: Path) -> None:
    (here / "frozen.py").write_text(FROZEN.replace('arguments["path"]', 'arguments["pth"]'))
    with pytest.raises(UserError, match=r"frozen\.py, line 22: files\(arguments\) raised KeyError: 'pth'"):
        resolve(packaged(), "quick", methods=("frozen",), plugins=(here / "frozen.py",))


def test_a_row_says_that_it_was_not_trained() -> None:
    runs = [
        Run("digits", "given", 0, "done", settings={"epochs": 0, "files": ["a.pt 0123", "b.pt 4567"]}),
        Run("digits", "fresh", 0, "done", "no density", settings={"epochs": 0}),
        Run("digits", "vae", 0, "done", settings={"epochs": 1}),
    ]
    assert outcomes(runs) == {
        ("digits", "given"): "not trained here: its weights are those of a.pt 0123, b.pt 4567",
        ("digits", "fresh"): "no samples: no density; not trained here: its weights are those that it began with",
    }
