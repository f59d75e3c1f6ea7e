"""`lvm-bench verify` names each file that is not as it was written, and changes nothing."""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from made import FACTS, change, make_run, note, weights_file

from lvm_bench import disk
from lvm_bench.runs.lease import Leases
from lvm_bench.text import counted
from lvm_bench.training import checkpoint

Call = Callable[..., Result]
FACTORS = {"factors": {"names": ["shape"], "sizes": [3]}}


@pytest.fixture(scope="session")
def _whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reported suite with runs of every kind."""
    from rich.console import Console

    from lvm_bench.report.write import write_report

    results = tmp_path_factory.mktemp("whole") / "results"
    suite = results / "small"
    for seed in (0, 1):
        make_run(suite, "mnist", "vae", seed)
    make_run(suite, "mnist", "aae", 0, status="trained")
    make_run(suite, "mnist", "aae", 1, status="failed", reason="no")
    make_run(suite, "digits", "aae", 0, status="declined", reason="no")
    sweeps = {"sweeps.npz": {"shape": np.zeros((3, 1, 8, 8), np.uint8)}}
    make_run(suite, "digits", "real-images", 0, arrays=sweeps, facts=FACTS | FACTORS)
    begun = make_run(suite, "mnist", "avae", 0, status="running")
    for name in checkpoint.NAMES:
        content = name.encode() * 100
        (begun / name).write_bytes(content + hashlib.sha256(content).digest())
    partly = {"identity": "x", "scores": {"mse.train": {"mse.train": 1.0}}}
    disk.write_record(suite / "runs" / "mnist" / "aae" / "seed-0" / "scores.partial.json", partly)
    assert write_report(results, None, [], None, "std", Console(quiet=True)) == 0
    return results


@pytest.fixture
def results(_whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(_whole, tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def problems(lvm_bench: Call, results: Path) -> Callable[[], list[str]]:
    """`problems()`: the sentences of `verify`."""

    def call() -> list[str]:
        before = {file: file.read_bytes() for file in results.rglob("*") if file.is_file()}
        result = lvm_bench("verify", "--results", results)
        assert {file: file.read_bytes() for file in results.rglob("*") if file.is_file()} == before
        *sentences, count = result.stdout.splitlines()
        assert result.exit_code == (1 if sentences else 0)
        assert count.endswith(f": {counted(len(sentences), 'problem') if sentences else 'no problems'}.")
        assert all(text.endswith(".") for text in sentences)
        return sentences

    return call


VAE = "small/runs/mnist/vae/seed-0"
AAE = "small/runs/mnist/aae/seed-0"
AVAE = "small/runs/mnist/avae/seed-0"
REAL = "small/runs/digits/real-images/seed-0"
RECORDED = [
    *(f"{VAE}/{name}" for name in ("history.csv", "model.safetensors", "best.safetensors")),
    f"{VAE}/scores.json", f"{VAE}/images.npz",
    f"{REAL}/scores.json", f"{REAL}/sweeps.npz", f"{AAE}/model.safetensors",
]  # fmt: skip
RECORDS = [f"{VAE}/job.json", f"{AAE}/job.json", "small/runs/mnist/aae/seed-1/job.json", f"{AVAE}/job.json"]
UNFINISHED = [f"{AAE}/scores.partial.json", *(f"{AVAE}/{name}" for name in checkpoint.NAMES)]
WRITTEN = [
    *(f"small/{name}" for name in ("scores.csv", "history.csv", "about.json", "claims.csv", "files.json")),
    "small/tables/reconstruction.md", "small/figures/mnist.png", "small/figures/captions.json",
]  # fmt: skip


def test_a_whole_folder_has_no_problems_and_is_counted(lvm_bench: Call, results: Path) -> None:
    result = lvm_bench("verify", "--results", results)
    assert result.exit_code == 0
    assert result.stdout.startswith("7 runs, ")
    assert result.stdout.endswith(" files read: no problems.\n")


def test_what_no_report_was_made_of_has_no_problems(results: Path, problems: Callable[[], list[str]]) -> None:
    for name in ("tables", "figures"):
        shutil.rmtree(results / "small" / name)
    for file in (results / "small").glob("*.*"):
        file.unlink()
    assert problems() == []


def _flip(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]


MUTATIONS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flip": _flip,
    "cut": lambda content, rng: content[: rng.randrange(1, len(content))],
    "empty": lambda content, rng: b"",
    "longer": lambda content, rng: content + b"\n",
}


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("name", [*RECORDED, *RECORDS, *UNFINISHED, *WRITTEN])
def test_every_change_of_every_kind_of_file_is_named(
    results: Path, problems: Callable[[], list[str]], name: str, mutation: str
) -> None:
    file = results / name
    file.write_bytes(MUTATIONS[mutation](file.read_bytes(), random.Random(name + mutation)))
    found = problems()
    assert any(text.startswith(f"{file}: ") for text in found)
    assert len(found) == 1 or "scores.json" in name or "job.json" in name or "scores.csv" in name


@pytest.mark.parametrize("name", [*RECORDED, *RECORDS[:2], *WRITTEN])
def test_every_file_that_is_gone_is_named(results: Path, problems: Callable[[], list[str]], name: str) -> None:
    file = results / name
    file.unlink()
    assert any(text.startswith(f"{file}: ") for text in problems())


@pytest.mark.parametrize("name", ["job.json", "model.safetensors", "scores.json", "history.csv"])
def test_files_of_two_runs_that_changed_places_are_named(
    results: Path, problems: Callable[[], list[str]], name: str
) -> None:
    one, other = results / VAE / name, results / VAE.replace("seed-0", "seed-1") / name
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    found = problems()
    for file in (one, other):
        assert any(text.startswith(f"{file}: ") for text in found)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"{VAE}/notes.txt", "is no file of a run"),
        (f"{VAE}/.tmp-scores.json-abc.json", "was left by a process that was killed"),
        (f"{VAE}/.lock", "was left by a process that was killed"),
        (f"{VAE}/.lease.json", "was left by a process that was killed"),
        (f"{VAE}/resume.safetensors", "does not belong to a run that is done"),
        (f"{VAE}/scores.partial.json", "damaged, its contents do not match its seal"),
        (f"{VAE}/sweeps.npz", "does not belong to a run that is done"),
        ("small/runs/mnist/vae/seed-0-old", "is not of a run"),
        ("small/runs/mnist/vae/seed-00", "is not of a run"),
        ("small/runs/mnist/notes", "is not of a run"),
        ("small/runs/a b", "is not of a run"),
        ("small/tables/mine.csv", "not in files.json, so not written by `lvm-bench report`"),
        ("small/figures/mine.png", "not in files.json, so not written by `lvm-bench report`"),
        ("small/.tmp-about.json-abc.json", "was left by a process that was killed"),
        ("small/.lock", "was left by a process that was killed"),
    ],
)
def test_what_should_not_be_there_is_named(
    results: Path, problems: Callable[[], list[str]], name: str, words: str
) -> None:
    (results / name).write_text("{}")
    (found,) = problems()
    assert found.startswith(f"{results / name}: {words}")


def test_a_note_by_hand_may_stand_there(results: Path, problems: Callable[[], list[str]]) -> None:
    (results / "small" / "NOTE.md").write_text("What the authors say.")
    (results / "published").mkdir()
    (results / "published" / "README.md").touch()
    assert problems() == []


def test_a_run_at_work_is_passed_over(results: Path, lvm_bench: Call) -> None:
    (results / VAE / "scores.json").unlink()
    lease = Leases().take(results / VAE)
    assert lease
    with lease:
        result = lvm_bench("verify", "--results", results)
    assert "scores.json" not in result.stdout.replace("scores.csv", "")
    assert "Passed over, as somebody is at work: 1 folder." in result.stdout


def test_a_link_out_of_the_results_is_named_and_not_followed(
    results: Path, tmp_path: Path, problems: Callable[[], list[str]]
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "x.txt").write_text("secret")
    shutil.rmtree(results / "small" / "runs" / "digits")
    (results / "small" / "runs" / "digits").symlink_to(secret)
    (results / VAE / "history.csv").unlink()
    (results / VAE / "history.csv").symlink_to(secret / "x.txt")
    (results / "small" / "tables" / "mine.csv").symlink_to(secret / "x.txt")
    found = [text for text in problems() if "is a link out of the results folder" in text]
    assert {text.split(": ")[0] for text in found} == {
        str(results / name) for name in ("small/runs/digits", f"{VAE}/history.csv", "small/tables/mine.csv")
    }
    assert not any(str(secret) in text for text in problems())


def test_a_link_within_the_results_is_followed(results: Path, problems: Callable[[], list[str]]) -> None:
    runs = results / "small" / "runs"
    runs.rename(results / "elsewhere")
    runs.symlink_to(results / "elsewhere")
    assert problems() == []


# What is sealed and whole, but does not agree


def test_weights_of_another_job_are_named(results: Path, problems: Callable[[], list[str]]) -> None:
    folder = results / VAE
    (folder / "model.safetensors").write_bytes(weights_file({"method": "aae"}))
    (folder / "best.safetensors").write_bytes(b"\xff" * 100)
    note(folder, "model.safetensors", "best.safetensors")
    best, model = sorted(problems())
    assert best.startswith(f"{folder / 'best.safetensors'}: has no header that says what was trained")
    assert model.startswith(f"{folder / 'model.safetensors'}: its header's job is not that of the record")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"digest_scores": "0" * 64}, "digest_scores is not the digest of its settings"),
        ({"digest_weights": "0" * 64}, "its header's job is not that of the record's digest_weights"),
        ({"suite": "large"}, "is of the suite 'large'"),
        ({"files": {}}, "is not in the record of a run that is done"),
        ({"status": "perfect"}, "not the record of a run"),
        ({"seed": 1}, "not of the run whose folder it is in"),
        ({"files": {"/etc/passwd": {"bytes": 1, "sha256": ""}}}, "not the record of a run"),
        ({"settings": json.loads('{"seed": 0, "a":' + '{"a":' * 100 + "1" + "}" * 101)}, "nested more than 8 deep"),
        ({"settings": json.loads('{"seed": 0, "a":' + '{"a":' * 700 + "1" + "}" * 701)}, "damaged, not JSON"),
    ],
)
def test_a_sealed_record_that_does_not_agree_is_named(
    results: Path, problems: Callable[[], list[str]], changes: dict[str, object], words: str
) -> None:
    change(results / VAE, **changes)
    assert any(text.startswith(str(results / VAE)) and words in text for text in problems())


@pytest.mark.parametrize("text", ['{"a": "many"}', "[]", "{", '{"a": true}'])
def test_sealed_scores_that_are_no_numbers_are_named(
    results: Path, problems: Callable[[], list[str]], text: str
) -> None:
    (results / VAE / "scores.json").write_text(text)
    note(results / VAE, "scores.json")
    assert any(text.startswith(f"{results / VAE / 'scores.json'}: ") for text in problems())


def test_scores_that_were_not_gathered_or_are_others_are_named_once(
    results: Path, problems: Callable[[], list[str]]
) -> None:
    file = results / "small" / "scores.csv"
    for seed in (2, 3):
        make_run(results / "small", "mnist", "vae", seed)
    disk.write_json(results / VAE / "scores.json", {"mse.train": 7.0})
    note(results / VAE, "scores.json")
    assert problems() == [
        f"{file}: lacks the scores of 2 runs (mnist/vae/seed-2, mnist/vae/seed-3). "
        "`lvm-bench report --suite small` writes it again.",
        f"{file}: holds other scores than the folders of 1 run (mnist/vae/seed-0). "
        "`lvm-bench report --suite small` writes it again.",
    ]


def test_one_suite_alone_and_an_unknown_one(results: Path, lvm_bench: Call) -> None:
    make_run(results / "other")
    (results / VAE / "scores.json").unlink()
    assert lvm_bench("verify", "--results", results, "--suite", "other").exit_code == 0
    result = lvm_bench("verify", "--results", results, "--suite", "smal")
    assert result.exit_code == 2
    assert "Did you mean 'small'?" in result.stderr


def test_names_cannot_steer_the_terminal(results: Path, problems: Callable[[], list[str]]) -> None:
    (results / VAE / "\x1b[31mred").touch()
    (results / VAE / os.fsdecode(b"\xff")).touch()
    assert [text for text in problems() if not text.isprintable()] == []
