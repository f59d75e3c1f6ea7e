"""`lvm-bench report` as a user calls it: files, pictures, errors, and no torch."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result

from lvm_bench.report.figures import strips
from lvm_bench.report.tables import bandwidth
from lvm_bench.runs.record import read_runs

Call = Callable[..., Result]
Put = Callable[..., Path]


FORMS = ("csv", "paper.csv", "tex", "md")
FILLED = ("frechet", "kl", "reconstruction", "cost")  # the tables in which the made-up runs have a number


@pytest.fixture
def results(tmp_path: Path, put_run: Put) -> Path:
    for seed in (0, 1):
        for method in ("vae", "avae"):
            scores = {"mse.train": 1.0 + seed, "frechet.fake@classifier": 3.0, "gaussian_kl_target.mean": 1.5}
            put_run("mnist", method, seed, scores)
    return tmp_path


def tables_in(results: Path) -> set[str]:
    return {file.name.split(".")[0] for file in (results / "small" / "tables").iterdir()}


def _files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_report_writes_and_prints_every_table(lvm_bench: Call, results: Path) -> None:
    result = lvm_bench("report", "--results", results, "--against", "avae-2024")
    assert result.exit_code == 0
    written = {file.name for file in (results / "small" / "tables").iterdir()}
    of_words = {f"{name}.{end}" for name in ("ranks", "claims", "settings") for end in ("csv", "tex", "md")}
    assert written == of_words | {f"{name}.avae-2024.{end}" for name in FILLED for end in FORMS}
    assert "(13.27 ± 0.34)" in result.stdout
    assert "1.500 ± 0.000" in result.stdout
    pictures = {file.name for file in (results / "small" / "figures").iterdir()}
    both = {f"{name}.{end}" for name in ("mnist-explanation", "ranks") for end in ("png", "pdf")}
    drawn = {"captions.json", "mnist.png", "mnist-vae-images.png", "mnist-avae-images.png", *both}
    assert pictures == drawn


def test_report_twice_gives_the_same_bytes(lvm_bench: Call, results: Path) -> None:
    first_run = lvm_bench("report", "--results", results)
    first = _files(results)
    second_run = lvm_bench("report", "--results", results)
    assert _files(results) == first
    assert second_run.stdout == first_run.stdout


def test_tables_are_the_same_without_the_runs_folders(lvm_bench: Call, results: Path) -> None:
    lvm_bench("report", "--results", results)
    before = _files(results)
    (results / "small" / "runs").rename(results / "elsewhere")
    result = lvm_bench("report", "--results", results)
    assert result.exit_code == 0
    after = _files(results)
    of_runs = {"small/report.html", "small/files.json"}  # the page shows pictures of runs, the other its checksum
    assert all(
        after[name] == content for name, content in before.items() if "/runs/" not in name if name not in of_runs
    )


def test_a_table_whose_numbers_are_gone_does_not_stay(
    lvm_bench: Call, results: Path, put_run: Callable[..., Path]
) -> None:
    lvm_bench("report", "--results", results)
    for seed in (0, 1):
        for method in ("vae", "avae"):
            put_run("mnist", method, seed, {"mse.train": 1.0})
    assert lvm_bench("report", "--results", results).exit_code == 0
    assert tables_in(results) == {"reconstruction", "cost", "claims", "settings"}
    assert lvm_bench("verify", "--results", results).exit_code == 0


def test_one_table_of_one_suite(lvm_bench: Call, results: Path) -> None:
    lvm_bench("report", "--results", results, "--suite", "small", "--tables", "kl")
    assert {file.name for file in (results / "small" / "tables").iterdir()} == {f"kl.{end}" for end in FORMS}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--tables", "frechte"], "Unknown table 'frechte'. Did you mean 'frechet'?"),
        (["--against", "avae-2042"], "Unknown published source 'avae-2042'. Did you mean 'avae-2024'?"),
        (["--suite", "smal"], "no results of a suite 'smal'. Did you mean 'small'?"),
        (["--results", "nowhere"], "nowhere: no results here. Run a suite first"),
    ],
)
def test_mistakes_are_sentences(lvm_bench: Call, results: Path, arguments: list[str], sentence: str) -> None:
    result = lvm_bench("report", "--results", results, *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_a_folder_that_cannot_be_written_is_a_sentence(lvm_bench: Call, results: Path) -> None:
    (results / "small" / "tables").write_text("a file in the folder's place")
    result = lvm_bench("report", "--results", results)
    assert result.exit_code == 2
    assert "the results folder cannot be written" in result.stderr


def test_damage_is_named_and_the_rest_is_reported(lvm_bench: Call, results: Path) -> None:
    run = results / "small" / "runs" / "mnist"
    (run / "vae" / "seed-1" / "scores.json").write_text("{")
    (run / "avae" / "seed-0" / "images.npz").write_bytes(b"PK")
    result = lvm_bench("report", "--results", results)
    assert result.exit_code == 1
    assert str(run / "vae" / "seed-1" / "scores.json") in result.stderr
    assert str(run / "avae" / "seed-0" / "images.npz") in result.stderr
    assert "mean over 1 of 2 seeds" in result.stdout
    assert (results / "small" / "figures" / "mnist-vae-images.png").is_file()


def test_a_picture_shows_the_images_pixel_for_pixel(results: Path) -> None:
    from PIL import Image

    said: list[str] = []
    runs, _ = read_runs(results / "small")
    pictures = strips.write(results / "small" / "figures", {"methods": ["avae", "vae"]}, runs, set(), said.append)
    assert [picture.file.name for picture in pictures] == ["mnist-avae-images.png", "mnist-vae-images.png", "mnist.png"]
    picture = np.asarray(Image.open(results / "small" / "figures" / "mnist-vae-images.png").convert("RGB"))
    with np.load(results / "small" / "runs" / "mnist" / "vae" / "seed-0" / "images.npz") as arrays:
        expected = strips.strip(arrays["fake"])
    height, width = expected.shape[:2]
    assert (picture[-height:, -width:] == expected).all()
    assert not said


def test_pictures_of_all_methods_stay_where_the_runs_of_some_alone_are_here(lvm_bench: Call, results: Path) -> None:
    """Somebody adds a method to committed scores: the figure of the others does not shrink to it."""
    figures, runs = results / "small" / "figures", results / "small" / "runs" / "mnist"
    assert "methods alone are here" not in "".join(map(str, lvm_bench("report", "--results", results).stderr))
    whole = {file.name: file.read_bytes() for file in figures.glob("mnist*.png")}
    assert "mnist.png" in whole
    (runs / "avae").rename(results / "elsewhere")
    (figures / "mnist-vae-images.png").unlink()
    result = lvm_bench("report", "--results", results)
    assert result.exit_code == 0, result.stderr
    assert "Of mnist the runs of some methods alone are here" in result.stdout + result.stderr
    assert {file.name: file.read_bytes() for file in figures.glob("mnist*.png")} == whole
    assert lvm_bench("verify", "--results", results).exit_code == 0


def test_report_does_not_import_torch(results: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from rich.console import Console;"
        "from lvm_bench.report.write import write_report;"
        f"write_report(Path({str(results)!r}), None, [], 'avae-2024', 'std', Console());"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_bandwidths_stand_beside_the_papers(lvm_bench: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def h0(l: int, m: int) -> list[float]:
        return [1.0, 1.0, 1.0] if l == 10 else [1.0, 1.5, 2.0]

    monkeypatch.setattr("lvm_bench.modelling.kde.bandwidth_trials", h0)
    result = lvm_bench("report", "--results", tmp_path, "--tables", "bandwidth")
    assert result.exit_code == 0
    assert {"bandwidth.png", "bandwidth.pdf"} <= {file.name for file in (tmp_path / "bandwidth").iterdir()}
    frame = pd.read_csv(tmp_path / "bandwidth" / "bandwidth.csv")
    assert len(frame) == 60
    first = frame[(frame["metric"] == "corrected_bandwidth") & (frame["l"] == 10)]
    assert first["mean"].tolist() == pytest.approx([0.5**0.5] * 5)
    assert first["published_mean"].tolist() == [0.60, 0.58, 0.56, 0.53, 0.51]
    assert frame.loc[(frame["metric"] == "bandwidth") & (frame["l"] == 20), "std"].iloc[0] == pytest.approx(6**-0.5)
    assert "1.500 ± 0.408" in result.stdout
    assert "(>1.0)" in result.stdout
    latex = (tmp_path / "bandwidth" / "bandwidth.tex").read_text()
    assert r"1.500 $\pm$ 0.408 ($>$1.0)" in latex
    assert latex.count("{") == latex.count("}")


def test_bandwidths_are_computed_for_every_published_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def note(l: int, m: int) -> list[float]:
        asked.append((l, m))
        return [1.0]

    monkeypatch.setattr("lvm_bench.modelling.kde.bandwidth_trials", note)
    bandwidth.compute()
    assert len({*asked}) == 30
