"""report.html: what stands in it, that it is whole, safe and of bounded size, and the same bytes every time."""

import base64
import hashlib
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from made import CONDITIONS, FACTS, VERSIONS, make_run

from lvm_bench.cli import main
from lvm_bench.registry import TABLES
from lvm_bench.report.figures.style import Picture
from lvm_bench.report.page import render
from lvm_bench.report.page.curves import MOST_EPOCHS, curves
from lvm_bench.report.page.pictures import png
from lvm_bench.report.page.sections import MOST_ENVIRONMENTS
from lvm_bench.report.page.tables import MOST_SEEDS
from lvm_bench.report.page.template import MOST_COLUMNS, MOST_RUNS
from lvm_bench.report.tables.build import build_table
from lvm_bench.report.tables.cells import Cell, Row, Table
from lvm_bench.report.tables.layouts import LAYOUTS, OTHER, Column
from lvm_bench.report.tables.word_table import WordTable
from lvm_bench.runs.comparable import Remarks
from lvm_bench.runs.gather import Gathered
from lvm_bench.runs.layout import IMAGES
from lvm_bench.runs.record import Run
from lvm_bench.runs.suite_record import About

Call = Callable[..., Result]
Put = Callable[..., Path]

GOLDEN = Path(__file__).with_name("page.golden.html")
VOID = {"meta", "link", "input", "img"}
EVIL = "\"'><script>alert(1)</script></style></title><img src=x onerror=alert(1)>&lt;\ud800\x1b\u202e</script><!--"
ENVIRONMENT = {"versions": {"lvm-bench": "0.1.0"}, "commit": "a" * 40, "device": "x86_64", "threads": 1}


class Parsed(HTMLParser):
    """The elements of a page with their attributes, and its text; fails where elements do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def structure(self) -> list[tuple[str, list[str]]]:
        """Every element with the names of its attributes, without what they hold."""
        return [(tag, sorted(attributes)) for tag, attributes in self.elements]

    def values(self, attribute: str) -> list[str]:
        """What an attribute holds, wherever it stands."""
        return [value for _, attributes in self.elements if (value := attributes.get(attribute)) is not None]


def put_results(folder: Path) -> Path:
    """Two seeds of two methods, and a run that failed."""
    suite = folder / "small"
    for seed in (0, 1):
        for method, better in (("vae", 0.0), ("avae", 1.0)):
            scores = {"gaussian_kl.mean": 3.0 + seed - better, "gaussian_kl_target.mean": 1.5}
            make_run(suite, "mnist", method, seed, scores)
    make_run(suite, "digits", "vae", 0, {}, status="failed", reason="the loss became NaN")
    return folder


def written(results: Path) -> str:
    """The page that `report` writes."""
    done = CliRunner().invoke(main, ["report", "--results", str(results)], catch_exceptions=False)
    assert done.exit_code == 0
    return (results / "site" / "small" / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(put_results(tmp_path_factory.mktemp("results")))


def _gathered(runs: list[Run], about: About | None = None, **parts: Any) -> Gathered:
    values = {"scores": {}, "history": {}, "redraws": {}, "shown": {}, "remarks": Remarks()} | parts
    return Gathered(runs=runs, about=about or About(), **values)


def _cell(values: Sequence[float], **parts: Any) -> Cell:
    """A cell of the seeds 0, 1, ..."""
    array = np.array(values, dtype=np.float64)
    return Cell(float(array.mean()), float(array.std()), len(array), seeds=np.arange(len(array)), values=array, **parts)


def _table(cells: dict[tuple[str, str, str], Cell], text: str = "text", rows: int = 1) -> Table:
    return Table(
        "kl", [text], {"mnist": text}, [Column(text, "gaussian_kl.mean", better="lower")],
        [Row(f"row-{i}", f"{text} {i}", notes={"mnist": "a"}) for i in range(rows)], cells, {"a": text},
    )  # fmt: skip


def test_the_page_is_what_it_was(
    about: About, remarks: Remarks, scored: Callable[..., pd.DataFrame], tmp_path: Path
) -> None:
    """Byte for byte, without style and script. Where a change is meant, copy the file that the failure names."""
    table = build_table("kl", scored({"vae": [3.0, 4.5], "avae": [2.0, 3.0]}, "gaussian_kl.mean"), about, None, remarks)
    words = WordTable("words", "A title", "A text.", ["method", "average"], [["VAE", "1.50"]])
    runs = [
        Run("mnist", name, seed, "done", settings={"epochs": 2}, environments=(ENVIRONMENT,), fingerprint="f" * 64)
        for name in ("vae", "avae")
        for seed in (0, 1)
    ]
    history = {runs[0].key: (["epoch", "train/loss", "val/loss"], [["1", "4.0", "5.0"], ["2", "3.0", "nan"]])}
    text = render.render("small", [table], _gathered(runs, about, history=history, remarks=remarks), [], [words])
    text = re.sub(r"(<style>|<script>).*?(</style>|</script>)", r"\1\2", text, flags=re.DOTALL)
    made = tmp_path / "made.html"
    made.write_text(re.sub(r"sha256-[^']*", "sha256-", text) + "\n", encoding="utf-8")
    assert made.read_bytes() == GOLDEN.read_bytes(), f"{made} is not {GOLDEN}"


def test_what_the_page_tells(page: str) -> None:
    told = " ".join(" ".join(Parsed(page).texts).split())
    assert "AVAE on MNIST 2 runs" in told
    assert "lvm-bench run --suite small --methods avae --datasets mnist --seeds 1" in told
    assert "the loss became NaN" in told
    assert "KL of the codes' Gaussian fit to N(0, I), nats; lower is better (AVAE paper, Table V)." in told
    assert "AVAE (Saha et al. 2023): matches a kernel density estimate" in told
    for value in (*VERSIONS.values(), "a" * 40, "f" * 64, FACTS["extractor_note"], str(CONDITIONS["batch_size"])):
        assert str(value) in told
    assert 'title="seed 0: 2\nseed 1: 3"' in page
    assert r"\begin{table*}" in told
    assert "dataset,column,row,metric,mean,std,n,mark" in told


def test_the_page_asks_for_nothing_and_leads_nowhere_else(page: str) -> None:
    parsed = Parsed(page)
    assert all(source.startswith("data:image/png;base64,") for source in parsed.values("src"))
    identities = parsed.values("id")
    assert len({*identities}) == len(identities)
    links = [link for link in parsed.values("href") if link != "data:,"]
    assert {link.removeprefix("#") for link in links} - {"../index.html"} <= {*identities}
    assert {link for link in links if not link.startswith("#")} == {"../index.html"}
    named = [*parsed.values("aria-labelledby"), *parsed.values("data-copy"), *parsed.values("for")]
    assert {*named} <= {*identities}
    assert not [name for _, attributes in parsed.elements for name in attributes if name.startswith("on")]
    assert "style" not in {name for _, attributes in parsed.elements for name in attributes}


def test_only_our_own_script_and_style_may_run(page: str) -> None:
    policy = next(value for value in Parsed(page).values("content") if value.startswith("default-src"))
    for element in ("style", "script"):
        (inlined,) = re.findall(rf"<{element}>(.*?)</{element}>", page, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inlined.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy


def _hostile(word: str) -> str:
    """A page in which every text that is not ours is `word`."""
    environment = {"versions": {word: word, "method": word}, "commit": word, "device": word, "threads": 1}
    run = Run(
        "mnist", "vae", 0, "failed", word, settings={"arguments": {word: word}}, environments=(environment,),
        fingerprint=word, digest_weights=word, digest_scores=word,
    )  # fmt: skip
    datasets = {"mnist": {"extractor_note": word}}
    about = About(description=word, extractor=word, protocol=word, methods=["vae"], datasets=datasets)
    history = {run.key: (["epoch", f"train/{word}", f"other/{word}"], [["1", "2.0", word], ["2", "1.0", "3"]])}
    remarks = Remarks(left_out={run.place: word}, warnings=[word])
    cells = {("row-0", "mnist", "gaussian_kl.mean"): _cell([1.0])}
    section = WordTable("words", word, word, [word], [[word]])
    found = _gathered([run], about, history=history, remarks=remarks)
    return render.render(word, [_table(cells, word)], found, [], [section], word)


def test_no_text_becomes_markup() -> None:
    hostile = _hostile(EVIL)
    assert Parsed(hostile).structure == Parsed(_hostile("harmless")).structure
    assert hostile.encode().decode().replace("\n", "").isprintable()


def test_equal_inputs_give_equal_bytes(page: str, tmp_path: Path) -> None:
    assert written(put_results(tmp_path)) == page


def _many(count: int) -> Gathered:
    runs = [Run("mnist", "vae", seed, "done", environments=(ENVIRONMENT,)) for seed in range(count)]
    return _gathered(runs, history={run.key: (["epoch", "train/loss"], [["1", "2.0"], ["2", "1.0"]]) for run in runs})


def test_above_200_runs_there_are_no_curves_of_each_and_the_page_says_so() -> None:
    few, many = (render.render("small", [], _many(count), [], []) for count in (MOST_RUNS, MOST_RUNS + 1))
    assert few.count("<svg") == MOST_RUNS
    assert "<svg" not in many
    assert "More than 200 runs: curves, pictures and commands of each are left out." in many
    assert "seed 200" in many


def test_long_histories_and_many_environments_are_cut_and_the_page_says_so() -> None:
    environments = [ENVIRONMENT | {"commit": f"{i:040}"} for i in range(MOST_ENVIRONMENTS + 3)]
    runs = [Run("mnist", "vae", i, "done", environments=(environments[i],)) for i in range(len(environments))]
    columns = ["epoch", *(f"train/{i}" for i in range(MOST_COLUMNS + 6))]
    history = {runs[0].key: (columns, [["1"] * len(columns)])}
    text = render.render("small", [], _gathered(runs, history=history), [], [])
    assert text.count("<svg") == MOST_COLUMNS - 1
    assert "7 more columns stand in history.csv." in text
    assert "3 more environments stand in about.json." in text


def test_a_page_of_nothing() -> None:
    text = render.render("empty", [], _gathered([]), [], [])
    assert "There is no run yet." in text
    Parsed(text)


def test_a_suite_without_scores(tmp_path: Path, put_run: Put) -> None:
    put_run("mnist", "vae", 0, {}, status="failed", reason="the loss became NaN")
    text = written(tmp_path)
    assert '<th scope="row">VAE<sup>a</sup></th>\n<td><span>–</span></td>' in text
    assert "VAE on MNIST: seed 0 failed: the loss became NaN" in text


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("damage", ["deleted", "damaged", "of another shape"])
def test_a_run_without_readable_pictures_still_has_its_curves(
    lvm_bench: Call, tmp_path: Path, put_run: Put, damage: str
) -> None:
    results = put_results(tmp_path)
    file = results / "small" / "runs" / "mnist" / "vae" / "seed-1" / IMAGES
    if damage == "of another shape":
        pixels = {"fake": np.zeros((0, 1, 8, 8), np.uint8)}
        put_run("mnist", "vae", 1, {"gaussian_kl.mean": 4.0}, arrays={IMAGES: pixels})
    elif damage == "damaged":
        file.write_bytes(b"PK" + file.read_bytes()[2:-1] + b"x")
    else:
        file.unlink()
    lvm_bench("report", "--results", results)
    text = (results / "site" / "small" / "report.html").read_text(encoding="utf-8")
    run = text.split('id="run/mnist/vae/1"')[1].split("</details>")[0]
    assert "Its pictures cannot be read" in run
    assert "<svg" in run
    assert "<img" not in run
    assert str(results) not in text


def test_as_many_figures_are_embedded_as_fit(tmp_path: Path) -> None:
    sizes = {"first": 3_400_000, "second": 3_200_000, "third": 100_000, "of-a-method": 10}
    pictures = []
    for name, size in sizes.items():
        (tmp_path / f"{name}.png").write_bytes(name.encode() + bytes(size))
        pictures.append(
            Picture(
                tmp_path / f"{name}.png",
                f"Title of {name}",
                "What it shows.",
                method="vae" if name == "of-a-method" else "",
            )
        )
    text = render.render("small", [], _gathered([]), pictures, [])
    assert len(text.encode()) < 8_000_000
    embedded = [base64.b64decode(source.split(",")[1]) for source in Parsed(text).values("src")]
    assert [content.rstrip(b"\0").decode() for content in embedded] == ["second", "third"]
    assert "Left out to keep the page small: first.png." in text
    assert "of-a-method" not in text


@pytest.mark.parametrize(
    ("most", "told"),
    [
        (100_000, "KL divergence of codes is left out to keep the page small: it stands in tables/kl.csv."),
        (280_000, "LaTeX and CSV are left out to keep the page small: they stand in tables/kl.tex and .csv."),
    ],
)
def test_what_does_not_fit_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch, most: int, told: str) -> None:
    monkeypatch.setattr("lvm_bench.report.page.render.MOST_BYTES", most)
    cells = {(f"row-{i}", "mnist", "gaussian_kl.mean"): _cell([1.0, 2.0, i]) for i in range(1000)}
    text = render.render("small", [_table(cells, rows=1000)], _gathered([]), [], [])
    assert len(text.encode()) < most + 1000  # of the sentences themselves
    assert told in text


def test_of_many_seeds_the_first_are_named() -> None:
    cells = {("row-0", "mnist", "gaussian_kl.mean"): _cell(range(MOST_SEEDS + 5))}
    text = render.render("small", [_table(cells)], _gathered([]), [], [])
    assert f'seed {MOST_SEEDS - 1}: {MOST_SEEDS - 1}\nand 5 more"' in text


def test_a_cell_tells_how_it_stands_beside_the_best_and_the_published() -> None:
    published = Cell(1.0, 0.1, 0, printed="1.0 ± 0.1")
    cells = {
        ("row-0", "mnist", "gaussian_kl.mean"): _cell([1.0, 2.0], mark="best", published=published, off=5.0),
        ("row-1", "mnist", "gaussian_kl.mean"): _cell([2.0, 3.0], mark="second", p=0.25, tied=True),
    }
    text = render.render("small", [_table(cells, rows=2)], _gathered([]), [], [])
    best, second = re.findall(r"<td.*?</td>", text, flags=re.DOTALL)
    assert 'class="best"' in best
    assert '<span class="beside far">(1.0 ± 0.1) +5.0 SE</span>' in best
    assert "against the best: p = 0.25" in second
    assert "not distinguishable from the best" in second


@pytest.mark.parametrize(
    ("values", "points"),
    [
        (["1", "3", "2"], ["44.0,88.0 140.0,8.0 236.0,48.0"]),
        (["2", "2"], ["44.0,48.0 236.0,48.0"]),
        (["1", "nan", "3"], ["44.0,88.0 44.0,88.0", "236.0,8.0 236.0,8.0"]),
        (["1", "10", "100"], ["44.0,88.0 140.0,48.0 236.0,8.0"]),  # logarithmic
        (["nan", "x"], []),
    ],
)
def test_a_curve_reaches_from_its_lowest_to_its_highest_value(values: list[str], points: list[str]) -> None:
    (panel,) = curves((["epoch", "train/loss"], [[str(i), value] for i, value in enumerate(values)]))
    assert re.findall(r'points="([^"]*)"', panel.drawing) == points
    assert panel.log == (values == ["1", "10", "100"])
    assert (panel.title, panel.lines) == ("loss", ["train"])


def test_training_and_validation_share_a_panel_and_long_curves_are_thinned() -> None:
    rows = [[str(i), str(i), str(2 * i), "0.1", str(-i)] for i in range(1000)]
    columns = ["epoch", "train/loss", "val/loss", "learning_rate", "aggregate_variance/0"]
    panels = curves((columns, rows))
    assert [(panel.title, panel.lines) for panel in panels] == [
        ("loss", ["train", "val"]), ("learning_rate", []), ("aggregate_variance", ["0"]),
    ]  # fmt: skip
    first = re.findall(r'points="([^"]*)"', panels[0].drawing)[0].split()
    assert len(first) == MOST_EPOCHS
    assert "loss over 1000 epochs: train from 0 to 999; val from 0 to 1998" in panels[0].drawing


def test_pictures_of_a_run_are_averaged_down() -> None:
    from io import BytesIO

    from PIL import Image

    images = np.zeros((2, 3, 64, 128), np.uint8)
    images[1, 0, :, ::2] = 200
    drawn = np.asarray(Image.open(BytesIO(png(images))))
    assert drawn.shape == (16, 65, 3)
    assert (drawn[:, 33:] == [100, 0, 0]).all()
    assert (drawn[:, :33] == 0).all()


def test_every_table_has_a_title() -> None:
    assert {*TABLES} == {*LAYOUTS, OTHER}


def test_the_page_needs_no_torch_and_no_drawing_library() -> None:
    code = (
        "import sys; from lvm_bench.report.page import render; from lvm_bench.runs.gather import Gathered\n"
        "from lvm_bench.runs.suite_record import About\n"
        "from lvm_bench.report.tables.build import Remarks\n"
        "render.render('s', [], Gathered([], {}, {}, {}, About(), {}, Remarks()), [], [])\n"
        "print({'torch', 'matplotlib', 'sklearn', 'scipy'} & {*sys.modules})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"
