"""`lvm-bench report` as a user calls it: files, pictures, errors, and no torch."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from made import make_run

from lvm_bench import disk
from lvm_bench.cli import main
from lvm_bench.errors import RunError
from lvm_bench.report.figures import strips, style
from lvm_bench.report.page import index
from lvm_bench.report.tables import bandwidth
from lvm_bench.runs.lease import Leases
from lvm_bench.runs.record import read_runs
from lvm_bench.runs.suite_record import About

Call = Callable[..., Result]
Put = Callable[..., Path]


RESULTS = Path(__file__).parents[2] / "results"
FORMS = ("csv", "paper.csv", "tex", "md")
FILLED = ("frechet", "kl", "reconstruction", "cost")  # the tables in which the made-up runs have a number


def put_results(folder: Path) -> Path:
    """Two seeds of two methods."""
    for seed in (0, 1):
        for method in ("vae", "avae"):
            scores = {"mse.train": 1.0 + seed, "frechet.fake@classifier": 3.0, "gaussian_kl_target.mean": 1.5}
            make_run(folder / "small", "mnist", method, seed, scores)
    return folder


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return put_results(tmp_path)


@pytest.fixture(scope="module")
def _reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = put_results(tmp_path_factory.mktemp("reported"))
    done = CliRunner().invoke(main, ["report", "--results", str(results)], catch_exceptions=False)
    assert done.exit_code == 0
    assert "methods alone are here" not in done.stderr
    return results


@pytest.fixture
def reported(_reported: Path, tmp_path: Path) -> Path:
    """`results` and what `report` writes of them."""
    return Path(shutil.copytree(_reported, tmp_path, dirs_exist_ok=True))


@pytest.mark.usefixtures("undrawn")
def test_what_methods_lack_is_committed_and_told_without_their_folders(tmp_path: Path) -> None:
    lacks = {"gaussian_kl_target.mean": "no target"}
    for seed in (0, 1):
        make_run(tmp_path / "small", "mnist", "vae", seed, {"gaussian_kl_target.mean": 1.5, "gaussian_kl.mean": 1.0})
        make_run(tmp_path / "small", "mnist", "vamp", seed, {"gaussian_kl.mean": 1.0}, absent=lacks)
    for _ in range(2):
        done = CliRunner().invoke(main, ["report", "--results", str(tmp_path)], catch_exceptions=False)
        assert done.exit_code == 0
        table = (tmp_path / "small" / "tables" / "kl.md").read_text()
        assert "VampPrior on MNIST: no number (to target): no target" in table
        shutil.rmtree(tmp_path / "small" / "runs", ignore_errors=True)
    about = disk.read_record(tmp_path / "small" / "about.json")
    assert about["absent"] == [lacks]
    assert {run["method"] for run in about["runs"] if "absent" in run} == {"vamp"}


def names_in(*folders: Path) -> set[str]:
    return {file.name for folder in folders for file in folder.iterdir()}


def tables_in(results: Path) -> set[str]:
    committed, rendered = (
        {name.split(".")[0] for name in names_in(suite / "tables")}
        for suite in (results / "small", results / "site" / "small")
    )
    assert committed == rendered
    return committed


def _files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.usefixtures("undrawn")
def test_a_suite_that_names_its_published_source_shows_it_and_its_claims(lvm_bench: Call, tmp_path: Path) -> None:
    plan = {"description": "made up", "order": 0, "seeds": [0], "published": "evae-2025"}
    make_run(
        tmp_path / "small", "fashion-mnist", "vae", 0, {"sharpness.recon": 0.016}, plan=plan, conditions={"latent": 64}
    )
    assert "(0.016 ± 3e-4)" in lvm_bench("report", "--full", "--results", tmp_path).stdout
    claims = pd.read_csv(tmp_path / "small" / "claims.csv").set_index("id")
    assert claims.loc["evae-sharper-than-vae", "why"] == "needs EVAE"
    shutil.rmtree(tmp_path / "small" / "runs")  # about.json tells it to a clone
    assert "(0.016 ± 3e-4)" in lvm_bench("report", "--full", "--results", tmp_path).stdout


def test_report_writes_and_prints_every_table(lvm_bench: Call, results: Path) -> None:
    result = lvm_bench("report", "--full", "--results", results, "--against", "avae-2024")
    assert result.exit_code == 0
    words = ("ranks", "claims", "settings")
    assert names_in(results / "small" / "tables") == {f"{name}.md" for name in (*FILLED, *words)}
    of_words = {f"{name}.{end}" for name in words for end in ("csv", "tex")}
    plain = {f"{name}.{end}" for name in FILLED for end in FORMS if end != "md"}
    beside_theirs = {f"{name}.avae-2024.{end}" for name in FILLED for end in FORMS}
    assert names_in(results / "site" / "small" / "tables") == of_words | plain | beside_theirs
    assert "(13.27 ± 0.34)" in result.stdout
    assert "1.500 ± 0.000" in result.stdout
    images = {"mnist.png", "mnist-vae-images.png", "mnist-avae-images.png"}
    assert names_in(results / "small" / "figures") == images | {"captions.json"}
    both = {f"{name}.{end}" for name in ("mnist-explanation", "ranks") for end in ("png", "pdf")}
    assert names_in(results / "site" / "small" / "figures") == images | both
    for place in (
        "small/tables",
        "site/small/tables",
        "site/small/figures",
        "site/small/report.html",
        "site/index.html",
    ):
        assert str(results / place) in result.stdout


def test_report_twice_gives_the_same_bytes(lvm_bench: Call, results: Path) -> None:
    first_run = lvm_bench("report", "--results", results)
    first = _files(results)
    second_run = lvm_bench("report", "--results", results)
    assert _files(results) == first
    assert second_run.stdout == first_run.stdout


def test_tables_are_the_same_without_the_runs_folders(lvm_bench: Call, reported: Path) -> None:
    before = _files(reported)
    (reported / "small" / "runs").rename(reported / "elsewhere")
    result = lvm_bench("report", "--results", reported)
    assert result.exit_code == 0
    after = _files(reported)
    page = "site/small/report.html"  # it shows pictures of runs
    assert all(after[name] == content for name, content in before.items() if "/runs/" not in name if name != page)


@pytest.mark.usefixtures("undrawn")
def test_a_table_whose_numbers_are_gone_does_not_stay(lvm_bench: Call, reported: Path, put_run: Put) -> None:
    for seed in (0, 1):
        for method in ("vae", "avae"):
            put_run("mnist", method, seed, {"mse.train": 1.0})
    assert lvm_bench("report", "--results", reported).exit_code == 0
    assert tables_in(reported) == {"reconstruction", "cost", "claims", "settings"}
    assert lvm_bench("verify", "--results", reported).exit_code == 0


@pytest.mark.usefixtures("undrawn")
def test_one_table_of_one_suite(lvm_bench: Call, results: Path) -> None:
    lvm_bench("report", "--results", results, "--suite", "small", "--tables", "kl")
    assert names_in(results / "small" / "tables") == {"kl.md"}
    assert names_in(results / "site" / "small" / "tables") == {f"kl.{end}" for end in FORMS if end != "md"}


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


@pytest.mark.usefixtures("few_figures")
def test_damage_is_named_and_the_rest_is_reported(lvm_bench: Call, results: Path) -> None:
    run = results / "small" / "runs" / "mnist"
    (run / "vae" / "seed-1" / "scores.json").write_text("{")
    (run / "avae" / "seed-0" / "images.npz").write_bytes(b"PK")
    result = lvm_bench("report", "--results", results)
    assert result.exit_code == 1
    assert str(run / "vae" / "seed-1" / "scores.json") in result.stderr
    assert str(run / "avae" / "seed-0" / "images.npz") in result.stderr
    assert "Missing: VAE on MNIST: 1 of 2 seeds alone." in result.stdout
    assert (results / "small" / "figures" / "mnist-vae-images.png").is_file()


@pytest.mark.usefixtures("drawn")
def test_a_picture_shows_the_images_pixel_for_pixel(results: Path) -> None:
    from PIL import Image

    said: list[str] = []
    runs, _ = read_runs(results / "small")
    pictures = strips.write(results / "small" / "figures", About(methods=["avae", "vae"]), runs, set(), said.append)
    assert [picture.file.name for picture in pictures] == ["mnist-avae-images.png", "mnist-vae-images.png", "mnist.png"]
    picture = np.asarray(Image.open(results / "small" / "figures" / "mnist-vae-images.png").convert("RGB"))
    with np.load(results / "small" / "runs" / "mnist" / "vae" / "seed-0" / "images.npz") as arrays:
        expected = strips.strip(arrays["fake"])
    height, width = expected.shape[:2]
    assert (picture[-height:, -width:] == expected).all()
    assert not said


@pytest.mark.usefixtures("few_figures")
def test_pictures_of_all_methods_stay_where_the_runs_of_some_alone_are_here(lvm_bench: Call, reported: Path) -> None:
    """Somebody adds a method to committed scores: the figure of the others does not shrink to it."""
    figures, runs = reported / "small" / "figures", reported / "small" / "runs" / "mnist"
    whole = {file.name: file.read_bytes() for file in figures.glob("mnist*.png")}
    assert "mnist.png" in whole
    (runs / "avae").rename(reported / "elsewhere")
    (figures / "mnist-vae-images.png").unlink()
    result = lvm_bench("report", "--results", reported)
    assert result.exit_code == 0, result.stderr
    assert "Of mnist the runs of some methods alone are here" in result.stdout + result.stderr
    assert {file.name: file.read_bytes() for file in figures.glob("mnist*.png")} == whole
    assert lvm_bench("verify", "--results", reported).exit_code == 0


def test_report_does_not_import_torch(results: Path) -> None:
    code = (
        "import sys; from click.testing import CliRunner; from lvm_bench import disk; from lvm_bench.cli import main;"
        "from lvm_bench.report.figures import style;"
        "style.write_png = style.write_pdf = lambda file, *_, **__: disk.write_text(file, '');"
        f"done = CliRunner().invoke(main, ['report', '--results', {str(results)!r}, '--against', 'avae-2024']);"
        "sys.exit(done.exit_code or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_bandwidths_stand_beside_the_papers(lvm_bench: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def h0(l: int, m: int) -> list[float]:
        return [1.0, 1.0, 1.0] if l == 10 else [1.0, 1.5, 2.0]

    monkeypatch.setattr("lvm_bench.modelling.kde.bandwidth_trials", h0)
    result = lvm_bench("report", "--results", tmp_path, "--tables", "bandwidth")
    assert result.exit_code == 0
    assert names_in(tmp_path / "bandwidth") == {"bandwidth.csv"}
    assert names_in(tmp_path / "site" / "bandwidth") == {"bandwidth.png", "bandwidth.pdf", "bandwidth.tex"}
    frame = pd.read_csv(tmp_path / "bandwidth" / "bandwidth.csv")
    assert len(frame) == 60
    first = frame[(frame["metric"] == "corrected_bandwidth") & (frame["l"] == 10)]
    assert first["mean"].tolist() == pytest.approx([0.5**0.5] * 5)
    assert first["published_mean"].tolist() == [0.60, 0.58, 0.56, 0.53, 0.51]
    assert frame.loc[(frame["metric"] == "bandwidth") & (frame["l"] == 20), "std"].iloc[0] == pytest.approx(6**-0.5)
    assert "1.500 ± 0.408" in result.stdout
    assert "(>1.0)" in result.stdout
    latex = (tmp_path / "site" / "bandwidth" / "bandwidth.tex").read_text()
    assert r"1.500 $\pm$ 0.408 ($>$1.0)" in latex
    assert latex.count("{") == latex.count("}")
    assert bandwidth.read(tmp_path / "bandwidth").equals(frame)


@pytest.mark.parametrize("damaged", ["", "metric,l\n", "x", None])
@pytest.mark.usefixtures("undrawn")
def test_committed_bandwidths_are_rendered_beside_the_suites_and_damaged_ones_are_named(
    lvm_bench: Call, results: Path, damaged: str | None
) -> None:
    shutil.copytree(RESULTS / "bandwidth", results / "bandwidth")
    if damaged is not None:
        (results / "bandwidth" / "bandwidth.csv").write_text(damaged)
    result = lvm_bench("report", "--results", results)
    assert result.exit_code == (0 if damaged is None else 1)
    assert (results / "site" / "bandwidth" / "bandwidth.tex").is_file() == (damaged is None)
    assert ("bandwidth.csv: damaged" in result.stderr) == (damaged is not None)
    assert (results / "site" / "small" / "report.html").is_file()


def test_bandwidths_are_computed_for_every_published_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def note(l: int, m: int) -> list[float]:
        asked.append((l, m))
        return [1.0]

    monkeypatch.setattr("lvm_bench.modelling.kde.bandwidth_trials", note)
    bandwidth.compute()
    assert len({*asked}) == 30


# The folder of a report from before there was a site


def as_before(results: Path) -> None:
    """Put what is rendered beside the scores and list it, as reports once did."""
    suite, site = results / "small", results / "site" / "small"
    captions = disk.read_record(suite / "figures" / "captions.json")
    for file in (*site.glob("tables/*"), *site.glob("figures/*"), site / "report.html"):
        shutil.copy(file, suite / file.relative_to(site))
        if file.suffix == ".png":
            captions.setdefault(file.name, {"title": "t", "text": "t.", "dataset": "mnist", "method": ""})
    disk.write_record(suite / "figures" / "captions.json", captions)
    listed = disk.read_record(suite / "files.json")
    made = [file for file in suite.rglob("*.*") if "runs" not in file.parts and file.is_file()]
    made = [file for file in made if file.name != "files.json"]
    listed |= {str(file.relative_to(suite)): disk.fingerprint(file) for file in made}
    disk.write_record(suite / "files.json", listed)
    shutil.rmtree(results / "site")


@pytest.mark.parametrize("with_runs", [True, False])
def test_a_folder_of_before_is_read_and_loses_what_its_own_report_rendered(
    lvm_bench: Call, reported: Path, with_runs: bool
) -> None:
    results = reported
    new = {name: content for name, content in _files(results).items() if "/runs/" not in name}
    as_before(results)
    if not with_runs:
        (results / "small" / "runs").rename(results / "elsewhere")
    before = _files(results)
    assert lvm_bench("verify", "--results", results).exit_code == 0
    assert _files(results) == before
    mine = results / "small" / "tables" / "mine.tex"
    mine.write_text("by hand")
    assert lvm_bench("report", "--results", results).exit_code == 0
    assert mine.read_text() == "by hand"
    mine.unlink()
    after = {name: content for name, content in _files(results).items() if re.match("small/(?!runs)|site", name)}
    differ = {name for name in new.keys() | after.keys() if new.get(name) != after.get(name)}
    assert differ <= (set() if with_runs else {"site/small/report.html"})
    assert lvm_bench("verify", "--results", results).exit_code == 0


def test_a_clone_is_verified_rendered_and_left_as_it_was(lvm_bench: Call, reported: Path) -> None:
    clone = reported / "clone"
    shutil.copytree(reported / "small", clone / "small", ignore=shutil.ignore_patterns("runs"))
    before = _files(clone)
    assert lvm_bench("verify", "--results", clone).stdout.endswith("no problems.\n")
    assert lvm_bench("report", "--results", clone, "--against", "avae-2024", "--spread", "ci95").exit_code == 0
    assert {name: content for name, content in _files(clone).items() if not name.startswith("site/")} == before
    (clone / "site" / "small" / "report.html").write_text("changed")
    assert lvm_bench("verify", "--results", clone).stdout.endswith("no problems.\n")
    page, whole = ((folder / "site/small/report.html") for folder in (clone, reported))
    assert lvm_bench("report", "--results", clone).exit_code == 0
    assert {name: content for name, content in _files(clone).items() if not name.startswith("site/")} == before
    assert page.read_text().count("data:image/png") == 3  # the committed one, and two of scores
    assert "Images of 2 methods" in page.read_text()
    assert "Images of 2 methods" in whole.read_text()


def test_the_index_leads_to_every_suite_that_has_a_page(lvm_bench: Call, results: Path, put_run: Put) -> None:
    shutil.copytree(results / "small", results / "other")
    for record in (results / "other").rglob("job.json"):
        disk.write_record(record, disk.read_record(record) | {"suite": "other"})
    lvm_bench("report", "--results", results, "--suite", "small")
    file = results / "site" / "index.html"
    pages = re.compile(r'href="([^#"]+\.html)"')
    assert {*pages.findall(file.read_text())} == {"small/report.html"}
    (results / "site" / "docs").mkdir()
    (results / "site" / "docs" / "index.html").touch()
    assert lvm_bench("report", "--results", results).exit_code == 0
    text = file.read_text()
    assert {*pages.findall(text)} == {"docs/index.html", "other/report.html", "small/report.html"}
    anchors = re.findall(r'href="small/report\.html#([^"]+)"', text)
    page = (results / "site" / "small" / "report.html").read_text()
    assert anchors
    assert all(f'id="{anchor}"' in page for anchor in anchors)
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)
    assert "2 methods · 2 seeds · MNIST" in text
    (results / "site" / "other" / "takeaway.json").write_text("{")
    assert index.write(results) == file
    assert "lvm-bench report --suite other</code> again" in file.read_text()


def test_one_report_at_a_time_writes_the_index_and_deletes_what_a_killed_one_left(
    reported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = reported / "site" / ".tmp-index.html-1.html"
    half.write_text("<ht")
    assert index.write(reported) == reported / "site" / "index.html"
    assert not half.exists()
    monkeypatch.setattr(index, "PATIENCE", 0.0)
    lease = Leases().take(reported / "site")
    assert lease
    with lease, pytest.raises(RunError, match=r"another `lvm-bench report` is writing it. Give the command again"):
        index.write(reported)
    assert sorted(file.name for file in (reported / "site").iterdir() if file.is_file()) == ["index.html"]


@pytest.mark.usefixtures("undrawn")
def test_an_index_holds_nothing_of_what_a_stranger_wrote_as_code(lvm_bench: Call, reported: Path) -> None:
    shutil.rmtree(reported / "small" / "runs")
    for name in ("about.json", "files.json"):
        file = reported / "small" / name
        record = disk.read_record(file) | ({"description": "<script>alert(1)</script>"} if name == "about.json" else {})
        if name == "files.json":
            record["about.json"] = disk.fingerprint(reported / "small" / "about.json")
        disk.write_record(file, record)
    assert lvm_bench("report", "--results", reported).exit_code == 0
    assert "<script" not in (reported / "site" / "index.html").read_text()


@pytest.mark.parametrize("grey", [True, False])
def test_pictures_are_grey_or_in_few_colours_and_exact_ones_keep_every_pixel(grey: bool) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 1 if grey else 3), dtype=np.uint8)
    image = Image.fromarray(np.broadcast_to(pixels, (40, 40, 3)).copy()).convert("RGBA")
    exact, near = style.compact(image, exact=True), style.compact(image, exact=False)
    assert (exact.mode, near.mode) == (("L", "L") if grey else ("RGB", "P"))
    assert (np.asarray(exact.convert("RGB")) == pixels).all()
    assert np.abs(np.asarray(near.convert("RGB")).astype(int) - pixels).mean() < 20


def test_a_site_that_leads_out_is_refused(lvm_bench: Call, results: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (results / "small").rename(tmp_path / "kept")
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "kept").rename(inner / "small")
    (inner / "site").symlink_to(outside)
    result = lvm_bench("report", "--results", inner)
    assert result.exit_code == 1
    assert "leads it out of" in result.stderr
    assert not [*outside.iterdir()]
