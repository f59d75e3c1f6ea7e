"""Every figure of a suite drawn without a warning, whatever the suite looks like, as PNG and PDF."""

import math
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import make_run, note
from PIL import Image

from lvm_bench import disk
from lvm_bench.report.figures import codes, curves, draw, style, trade_off
from lvm_bench.report.figures.files import Folder
from lvm_bench.report.write import emit
from lvm_bench.runs import frames, gather
from lvm_bench.runs.comparable import Remarks
from lvm_bench.runs.layout import site_folder
from lvm_bench.runs.record import Run, read_runs
from lvm_bench.runs.suite_record import About

Put = Callable[..., Path]
LONG = "a-very-long-name-of-a-method-that-goes-on-and-on-up-to-64-chars"
STEMS = {"codes-mds", "codes-pca", "spectrum", "curves", "aggregate-variance", "trade-off", "explanation"}
OF_RUNS = {f"mnist{stem}.{end}" for stem in ("", "-vae-images", "-interpolations") for end in ("png", "pdf")}
FD = "frechet.fake@classifier"
SCORES = {"sse.heldout": 9.0, FD: 12.0, "gaussian_kl_target.mean": 1.5, "entropy_gap.mean": -3.0}
COLUMNS = [
    "epoch", "learning_rate", "train/loss", "val/loss", "train/$x^{", "aggregate_variance/0", "aggregate_variance/1",
    "target_variance",
]  # fmt: skip


def put_into(suite: Path, method: str, seed: int = 0, values: float = 1.0, target: float = 0.5) -> None:
    """A run that left all that figures are drawn from."""
    pixels = np.random.default_rng(seed).integers(0, 256, (11, 1, 8, 8), dtype=np.uint8)
    drawn = np.random.default_rng(seed).standard_normal((12, 2)).astype(np.float32)
    aggregate = {"codes": drawn, "spectrum": np.array([1.5, 0.5]), "target_variance": np.float64(target)}
    given = {key: value * values + seed for key, value in SCORES.items()}
    arrays = {"images.npz": {"path": pixels}, "codes.npz": aggregate}
    folder = make_run(suite, "mnist", method, seed, given, arrays=arrays)
    rows = [[epoch + 1, 0.1, *[values * (seed + 1) / (epoch + 1)] * 5, 0.5] for epoch in range(3)]
    lines = [",".join(COLUMNS), *(",".join(map(repr, row)) for row in rows)]
    disk.write_text(folder / "history.csv", "\n".join(lines) + "\n")
    note(folder, "history.csv")


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., None]:
    return partial(put_into, tmp_path / "small")


@pytest.fixture(scope="module")
def _one_run(tmp_path_factory: pytest.TempPathFactory, drawing: Callable[..., AbstractContextManager[None]]) -> Path:
    suite = tmp_path_factory.mktemp("drawn") / "small"
    put_into(suite, "vae")
    with drawing():
        figures_of(suite)
    return suite


@pytest.fixture
def one_run(_one_run: Path, tmp_path: Path) -> Path:
    """A suite of one run, drawn."""
    shutil.copytree(site_folder(_one_run), tmp_path / "site" / "small")
    return Path(shutil.copytree(_one_run, tmp_path / "small"))


def figures_of(folder: Path) -> set[str]:
    """Make all figures, without a complaint; the names of the files."""
    emitted = emit(folder, complain=pytest.fail)
    for picture in emitted.pictures:
        with Image.open(picture.file) as image:
            image.verify()
        assert picture.title
        assert picture.text.endswith(".")
    return {file.name for picture in emitted.pictures for file in picture.files}


def both(dataset: str = "mnist") -> set[str]:
    return {f"{dataset}-{stem}.{end}" for stem in STEMS for end in ("png", "pdf")}


def test_one_run_and_the_same_figures_again_and_those_of_numbers_without_its_folder(
    one_run: Path, tmp_path: Path, drawing: Callable[..., AbstractContextManager[None]]
) -> None:
    site = site_folder(one_run)
    before = {file.name: file.read_bytes() for file in (site / "figures").iterdir()}
    assert before.keys() == both() | OF_RUNS
    committed = {file.name: file.read_bytes() for file in (one_run / "figures").glob("*.png")}
    stems = ("", "-vae-images", "-interpolations", "-codes-mds", "-codes-pca", "-spectrum")
    assert committed.keys() == {f"mnist{stem}.png" for stem in stems}
    assert committed.items() <= before.items()
    with drawing():
        (one_run / "runs").rename(tmp_path / "elsewhere")
        (site / "figures" / "mnist.png").unlink()
        assert figures_of(one_run) == before.keys()
    assert {file.name: file.read_bytes() for file in (site / "figures").iterdir()} == before
    assert {file.name: file.read_bytes() for file in (one_run / "figures").glob("*.png")} == committed
    assert "Codes on MNIST" in (site / "report.html").read_text()
    (one_run / "figures" / "captions.json").unlink()
    stems = ("curves", "aggregate-variance", "trade-off", "explanation")
    assert figures_of(one_run) == {f"mnist-{stem}.{end}" for stem in stems for end in ("png", "pdf")}
    assert {file.name for file in (one_run / "figures").iterdir()} == committed.keys()  # nothing that is lost for good


@pytest.mark.parametrize(("file", "told"), [("captions.json", "captions.json: damaged"), ("mnist.png", "mnist.png")])
def test_figures_of_before_that_are_damaged_are_left_out_with_a_sentence(
    file: str, told: str, one_run: Path, tmp_path: Path
) -> None:
    (one_run / "runs").rename(tmp_path / "elsewhere")
    damaged = tmp_path / "small" / "figures" / file
    damaged.write_bytes(damaged.read_bytes()[:-1])
    said: list[str] = []
    emitted = emit(tmp_path / "small", complain=said.append)
    assert len(said) == 1
    assert told in said[0]
    assert "mnist.png" not in {picture.file.name for picture in emitted.pictures}
    assert damaged.exists()


def test_a_figure_of_before_goes_when_its_runs_are_here_and_do_not_allow_it(one_run: Path, put_run: Put) -> None:
    put_run("mnist", "vae", 0, SCORES)  # anew, without codes
    assert "mnist-codes-mds.png" not in figures_of(one_run)


def test_a_figure_that_is_not_drawn_any_more_does_not_stay(
    one_run: Path, drawing: Callable[..., AbstractContextManager[None]]
) -> None:
    place = site_folder(one_run) / "figures"
    before = {file.name for file in place.iterdir()}
    for end in ("png", "pdf"):
        (place / f"ranks.{end}").touch()
    with drawing():
        figures_of(one_run)
    assert {file.name for file in place.iterdir()} == before


def unsaved(folder: Folder, name: str, draw: Callable[[], Any], _: str) -> Path:
    """Draw a figure without writing it."""
    with style.look():
        draw().draw_without_rendering()
    return folder.path / name


@pytest.mark.parametrize("values", [(math.nan, math.inf), (-math.inf, 0.0), (-5.0, 1e150), (1e-300, 1.0)])
def test_scores_and_histories_of_any_value(
    values: tuple[float, float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("lvm_bench.report.figures.curves.save", unsaved)
    monkeypatch.setattr("lvm_bench.report.figures.trade_off.save", unsaved)
    keys = [("mnist", "vae", 0), ("mnist", "vae", 1), ("mnist", "aae", 0), ("mnist", "avae", 1)]
    odd = dict(zip(("vae", "aae"), values, strict=True))  # of the first seeds
    history = {}
    for key in keys:
        logged = [[repr(odd.get(key[1]))] * len(COLUMNS), ["1.0"] * len(COLUMNS)]
        history[key] = (COLUMNS, logged[key[2] :])
    measured = {key: {name: number if key[2] else odd[key[1]] for name, number in SCORES.items()} for key in keys}
    pictures = curves.write(Folder(tmp_path), About(), history)
    pictures += trade_off.write(Folder(tmp_path), About(extractor="classifier"), frames.frame(measured))
    stems = ("curves", "aggregate-variance", "trade-off", "explanation")
    assert [picture.file.name for picture in pictures] == [f"mnist-{stem}" for stem in stems]


@pytest.mark.usefixtures("drawn")
def test_nothing_but_what_is_not_finite(put: Callable[..., None], tmp_path: Path) -> None:
    put("vae", 0, math.nan)
    left = {f"mnist-{stem}.png" for stem in ("trade-off", "explanation", "aggregate-variance")}
    assert not left & figures_of(tmp_path / "small")


def test_missing_cells_and_runs_of_old(put: Callable[..., None], put_run: Put, tmp_path: Path) -> None:
    put("vae", 0)
    put_run("mnist", "aae", 0, {FD: 3.0})
    put_run("mnist", "avae", 0, {"sse.heldout": 3.0})
    put_run("mnist", "real-images", 0, {FD: 0.1})
    put_run("mnist", "wae-mmd", 0, status="failed", reason="the loss became NaN")
    put_run("digits", "vae", 0, {"mse.train": 3.0})
    found = figures_of(tmp_path / "small")
    assert both() <= found
    assert not any(name.startswith("digits-") for name in found - {"digits-vae-images.png", "digits-vae-images.pdf"})


@pytest.mark.usefixtures("drawn_as_pdfs")
def test_codes_that_collapsed(put: Callable[..., None], put_run: Put, tmp_path: Path) -> None:
    flat: dict[str, Any] = {"codes": np.ones((5, 3), np.float32), "spectrum": np.zeros(3)}
    put_run("mnist", "vae", 0, arrays={"codes.npz": flat | {"target_variance": np.float64(1)}})
    huge = {"codes": np.full((5, 1), 3e38, np.float32), "spectrum": np.full(1, 1e76)}
    huge["codes"][0] *= -1
    put_run("mnist", "aae", 0, arrays={"codes.npz": huge | {"target_variance": np.float64(1e-6)}})
    pictures = codes.write(Folder(tmp_path), About(), read_runs(tmp_path / "small")[0], (), pytest.fail)
    stems = ("codes-mds", "codes-pca", "spectrum")
    names = [f"mnist-{stem}.{end}" for stem in stems for end in ("png", "pdf")]
    assert [file.name for picture in pictures for file in picture.files] == names


def test_above_so_many_runs_figures_are_left_out_with_a_sentence(
    put: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("vae")
    monkeypatch.setattr("lvm_bench.report.figures.draw.MOST_RUNS", 0)
    emitted = emit(tmp_path / "small", complain=pytest.fail)
    assert {picture.file.stem for picture in emitted.pictures} == {"mnist", "mnist-vae-images", "mnist-interpolations"}
    assert "Figures of codes, curves and scores are left out above 0 runs; here are 1." in emitted.warnings


def test_nothing_has_no_figures(tmp_path: Path) -> None:
    empty = gather.Gathered([Run("mnist", "vae", 0, "failed")], {}, {}, {}, About(), {}, Remarks())
    assert draw.write_all(tmp_path, empty, {}, pytest.fail, None) == []
