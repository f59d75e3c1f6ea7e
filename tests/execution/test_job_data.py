"""Runs whose images were exchanged are named, and images are read again only where their files changed."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lvm_bench.errors import UserError
from lvm_bench.execution import job_data
from lvm_bench.execution.job_data import fingerprint, load_data, require_same_data
from lvm_bench.registry import DATASETS
from lvm_bench.runs.standing import Standing, State
from lvm_bench.suites import bench_toml
from lvm_bench.suites.job import Job
from lvm_bench.suites.resolve import resolve

BENCH = bench_toml.defaults_folder() / "bench.toml"
FORMS = ("npz", "folder")


def images(place: Path, form: str, seed: int, n: int = 30) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    if form == "npz":
        np.savez(place / "mine", images=pixels)
    else:
        (place / "mine.npz").mkdir(exist_ok=True)
        for i, image in enumerate(pixels):
            Image.fromarray(image).save(place / f"mine.npz/{i}.png")


@pytest.fixture
def job(request: pytest.FixtureRequest, tmp_path: Path) -> Job:
    text = BENCH.read_text().replace('packages = ["baselines"]', f'packages = ["{BENCH.parent / "baselines"}"]')
    table = f'[datasets.mine]\nbase = "{request.param}"\npath = "mine.npz"\nnetwork = "digits"\nlatent = 4\n'
    (tmp_path / "bench.toml").write_text(f'{text}\n{table}likelihood = "sse"\nepochs = 1\n')
    chosen = {"datasets": ("mine",), "methods": ("ae",), "seeds": (0,)}
    (found,) = resolve(tmp_path / "bench.toml", "quick", settings=("validation_images=5",), **chosen).jobs
    images(tmp_path, request.param, 0)
    return found


def made(job: Job, checksum: str) -> list[tuple[Job, Standing]]:
    record = {"fingerprint": checksum, "files": {"scores.json": {}}}
    return [(job, Standing(State.DONE, Path("results/mine"), (job.dataset, job.method, job.seed), record))]


@pytest.mark.parametrize("job", FORMS, indirect=True)
def test_exchanged_images_are_named_with_what_was_made_of_them(job: Job, tmp_path: Path) -> None:
    before = load_data(job, tmp_path).fingerprint
    require_same_data(made(job, before), tmp_path)
    images(tmp_path, job.dataset_base, 1)
    with pytest.raises(UserError) as error:
        require_same_data(made(job, before), tmp_path)
    told = str(error.value)
    assert "The images of 'mine' (mine.npz) are not those that 1 run of it had" in told
    assert before[:12] in told
    assert told.endswith("or delete what was made of the old ones: results/mine.")


@pytest.mark.parametrize("job", ["npz"], indirect=True)
@pytest.mark.parametrize(("labels", "told"), [([0, 2, 5], True), ([0, 1, 2], False)])
def test_labels_that_became_ranks_are_named_as_a_cause(job: Job, tmp_path: Path, labels: list[int], told: bool) -> None:
    images(tmp_path, "npz", 0)
    pixels = np.load(tmp_path / "mine.npz")["images"]
    np.savez(tmp_path / "mine", images=pixels, labels=np.resize(labels, len(pixels)))
    with pytest.raises(UserError) as error:
        require_same_data(made(job, "of labels as they were"), tmp_path)
    assert ("kept integers with gaps as they stand in the file" in str(error.value)) == told
    assert ("the 3 distinct labels, from 0 to 5, became the classes 0 to 2" in str(error.value)) == told


@pytest.mark.parametrize("job", FORMS, indirect=True)
def test_files_that_stay_as_they_were_are_not_read_again(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint(job, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(job_data, "load", None)
        assert fingerprint(job, tmp_path) == before
    file = tmp_path / ("mine.npz/0.png" if job.dataset_base == "folder" else "mine.npz")
    os.utime(file, (1, 1))
    with monkeypatch.context() as patch:
        patch.setattr(job_data, "load", None)
        with pytest.raises(TypeError):
            fingerprint(job, tmp_path)
    assert fingerprint(job, tmp_path) == before


@pytest.mark.parametrize("job", FORMS, indirect=True)
def test_images_that_are_gone_are_no_reason(job: Job, tmp_path: Path) -> None:
    (tmp_path / "mine.npz").rename(tmp_path / "away")
    require_same_data(made(job, "of before"), tmp_path)


@pytest.mark.parametrize("job", ["folder"], indirect=True)
def test_a_folder_that_leads_to_itself_has_an_end(job: Job, tmp_path: Path) -> None:
    (tmp_path / "mine.npz/again").symlink_to(tmp_path / "mine.npz", target_is_directory=True)
    assert len(job_data._files_under(tmp_path / "mine.npz")) == 30


@pytest.mark.parametrize("job", ["npz"], indirect=True)
def test_a_data_set_that_tells_no_files_is_read_each_time(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = DATASETS["npz"]

    def secret(root: Path, **options: object) -> object:
        return function(root, path="mine.npz")

    secret.info, secret.__module__ = function.info, __name__  # type: ignore[attr-defined]
    monkeypatch.setitem(DATASETS._entries, "npz", secret)
    job.options.clear()
    before = fingerprint(job, tmp_path)
    images(tmp_path, "npz", 1)
    assert fingerprint(job, tmp_path) != before
