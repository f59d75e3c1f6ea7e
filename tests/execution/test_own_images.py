"""`lvm-bench run --images`: a folder or an .npz file is run and reported without a bench.toml."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from lvm_bench.data.glance import glance
from lvm_bench.data.images import load
from lvm_bench.errors import UserError
from lvm_bench.registry import DATASETS

Call = Callable[..., Result]
SHORT = ("--methods", "vae", "--seeds", "0", "--set=epochs=1", "--set=width=0.02", "--set=threads=1")


def write_npz(file: Path, *shape: int, labels: bool = True) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.savez(file, images=pixels, **({"labels": np.arange(len(pixels)) % 3} if labels else {}))
    return file


def write_folder(folder: Path, size: tuple[int, int], mode: str = "RGB", classes: int = 2, n: int = 40) -> Path:
    stream = np.random.default_rng(1)
    for i in range(n):
        place = folder / str(i % classes) if classes else folder
        place.mkdir(parents=True, exist_ok=True)
        pixels = stream.integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).convert(mode).save(place / f"{i}.png")
    return folder


@pytest.mark.usefixtures("undrawn")
def test_images_are_run_and_reported_without_a_bench_toml(lvm_bench: Call, tmp_path: Path) -> None:
    file = write_npz(tmp_path / "My Images.npz", 150, 28, 28)
    command = ("run", "--images", file, *SHORT, '--set=metrics=["mse"]')
    assert lvm_bench(*command).exit_code == 0
    assert "Nothing to do." in lvm_bench(*command).stderr
    assert "own/my-images/vae/seed-0 " in lvm_bench("list", "runs", "--suite", "own").stdout
    report = lvm_bench("report", "--suite", "own")
    assert report.exit_code == 0
    assert "my-images" in report.stdout
    assert lvm_bench("verify", "--suite", "own").exit_code == 0


@pytest.mark.parametrize(("count", "needed"), [(3, "some dozens"), (7, "36 images or more"), (35, "36 images or more")])
def test_too_few_images_are_refused_before_any_run(count: int, needed: str, lvm_bench: Call, tmp_path: Path) -> None:
    file = write_npz(tmp_path / "mine.npz", count, 9, 9)
    result = lvm_bench("run", "--images", file, *SHORT, '--set=metrics=["knn"]', "--set=extractor='classifier'")
    assert result.exit_code == 2
    assert "too few" in result.stderr
    assert needed in result.stderr
    assert not list(tmp_path.rglob("job.json"))


def test_a_file_is_read_once_unless_it_changes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lvm_bench.data import npz as module

    file, read = write_npz(tmp_path / "mine.npz", 60, 9, 9), []
    whole = module.stored
    monkeypatch.setattr(module, "stored", lambda *given: (read.append(given[1]), whole(*given))[1])
    found = glance(file, None)
    assert sorted(read) == ["images", "labels"]
    load("npz", tmp_path, options=found.options)
    assert len(read) == 2
    before = load("npz", tmp_path, options=found.options)
    assert len(read) == 4, "what was read ahead is not kept"
    glance(file, None)
    np.savez(file, images=np.zeros((70, 9, 9), np.uint8), labels=np.arange(70) % 3)
    assert len(load("npz", tmp_path, options=found.options).train) > len(before.train)
    folder = write_folder(tmp_path / "photos", (9, 9))
    read.clear()
    glance(folder, file)
    assert sorted(read) == ["images", "labels"], "the header alone tells the shape that the folder's images get"


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize(
    ("shape", "labels", "settings"),
    [
        ((150, 28, 28), True, ["network=conv", "latent=16", "likelihood=sse", "m=31", "extractor=classifier"]),
        ((60, 3, 48, 32), False, ["network=conv", "latent=16", "likelihood=sse", "m=12", "extractor=inception"]),
        ((60, 1, 1, 5), True, ["network=mlp", "latent=2", "likelihood=bernoulli", "m=12"]),
    ],
)
def test_settings_follow_from_the_images(
    lvm_bench: Call, tmp_path: Path, shape: tuple[int, ...], labels: bool, settings: list[str]
) -> None:
    file = write_npz(tmp_path / "mine.npz", *shape, labels=labels)
    result = lvm_bench("run", "--images", file, "--methods", "avae", "--seeds", "1", "--dry-run")
    assert result.stdout.startswith("mine/avae/seed-1 ")
    assert {*settings} <= {*result.stdout.split()}


@pytest.mark.usefixtures("unmeasured")
def test_a_suite_that_is_named_is_run_on_the_images_alone(lvm_bench: Call, tmp_path: Path) -> None:
    file = write_npz(tmp_path / "digits.npz", 150, 8, 8)
    result = lvm_bench("run", "--images", file, "--test-images", file, "--suite", "quick", "--dry-run", "--seeds", "0")
    assert {line.split("/")[0] for line in result.stdout.splitlines()} == {"own-digits"}
    assert len(result.stdout.splitlines()) == 6
    assert f"test_path={file}" in result.stdout


@pytest.mark.parametrize(("size", "mode", "shape"), [((20, 30), "L", (1, 20, 20)), ((90, 70), "RGB", (3, 64, 64))])
def test_a_folder_is_read_at_the_size_of_its_images_up_to_64(
    tmp_path: Path, size: tuple[int, int], mode: str, shape: tuple[int, int, int]
) -> None:
    found = glance(write_folder(tmp_path / "photos", size, mode), None)
    assert (found.base, found.shape, found.n_train, found.has_labels) == ("folder", shape, 34, True)
    assert not glance(write_folder(tmp_path / "flat", size, mode, classes=0), None).has_labels


@pytest.mark.parametrize("is_reversed", [False, True])
def test_a_folder_and_an_npz_file_are_one_data_set(tmp_path: Path, is_reversed: bool) -> None:
    pair = [write_folder(tmp_path / "photos", (20, 30)), write_npz(tmp_path / "mine.npz", 60, 3, 12, 12)]
    found = glance(*(reversed(pair) if is_reversed else pair))
    assert (found.base, found.shape, found.n_train) == ("folder", (3, 12, 12), 60 if is_reversed else 40)
    assert found.has_labels  # 0 and 1 are classes of both
    splits = DATASETS["folder"](tmp_path, **found.options)
    assert {len(splits.train), len(splits.test)} == {40, 60}
    by_kind = sorted([splits.train, splits.test], key=len)
    assert [np.bincount(each.labels).tolist() for each in by_kind] == [[20, 20], [20, 20, 20]]  # type: ignore[arg-type]


def test_labels_of_a_folder_and_an_npz_file_that_have_none_in_common_are_left_out(tmp_path: Path) -> None:
    photos, file = write_folder(tmp_path / "photos", (20, 30)), write_npz(tmp_path / "mine.npz", 60, 3, 12, 12)
    for name in ("0", "1"):
        (photos / name).rename(photos / f"class-{name}")
    found = glance(photos, file)
    assert not found.has_labels
    assert "none of its labels" in " ".join(DATASETS["folder"](tmp_path, **found.options).notes)
    with pytest.raises(UserError, match="48x32 pixels"):
        glance(photos, write_npz(tmp_path / "oblong.npz", 60, 3, 48, 32))


def test_what_cannot_be_read_is_a_sentence(lvm_bench: Call, tmp_path: Path) -> None:
    file = write_npz(tmp_path / "mine.npz", 60, 8, 8)
    (tmp_path / "notes.txt").write_text("none")
    for options, told in {
        ("--images", "gone.npz"): "gone.npz: does not exist",
        ("--images", "notes.txt"): "notes.txt: is neither",
        ("--images", file, "--datasets", "digits"): "give one of them",
        ("--test-images", file): "give --images too",
        (): "Give --suite, or --images.",
    }.items():
        result = lvm_bench("run", *options)
        assert (result.exit_code, told in result.stderr) == (2, True), result.stderr
    write_folder(tmp_path / "broken", (9, 9), n=2)
    (tmp_path / "broken" / "0" / "0.png").write_bytes(b"none")
    with pytest.raises(UserError, match=r"0.png: cannot be used as an image"):
        glance(tmp_path / "broken", None)
