"""What every test shares: shapes checked at run time, no cache or data of the user's, a way to call the CLI."""

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import settings
from jaxtyping import install_import_hook

ROOT = Path(__file__).parent.parent
# Of functions of arrays, shapes and types are checked while tests run; mypy checks the types of the others.
SHAPED = [file for file in sorted(ROOT.glob("lvm_bench/**/*.py")) if "jaxtyping" in file.read_text(encoding="utf-8")]
install_import_hook([".".join(file.relative_to(ROOT).with_suffix("").parts) for file in SHAPED], "typechecker.check")
pytest_plugins = ["small_suite"]

# No absolute timing: a loaded machine is not a failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing is read from or written to the user's cache or data folder; runs are made in the process of the test."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    os.environ.pop("LVM_BENCH_DATA", None)
    os.environ["LVM_BENCH_JOBS"] = "1"  # the tests themselves run at a time


@pytest.fixture(autouse=True, scope="session")
def _unflushed() -> Iterator[None]:
    """Files are not flushed to the disk, which is waited for: no test cuts the power."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _digits_read_once() -> Iterator[None]:
    """scikit-learn reads its digits from a text file, which takes longer than much of what is done with them."""
    from sklearn import datasets

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(datasets, "load_digits", cache(datasets.load_digits))
        yield


@pytest.fixture
def lvm_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`lvm_bench("run", "--suite", "quick")` in an empty working folder: exit_code, stdout, stderr."""
    from lvm_bench.cli import main

    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="lvm-bench")
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """`run --dry-run` lists the jobs and measures nothing."""
    monkeypatch.setattr("lvm_bench.execution.estimate.tell", lambda *_, **__: True)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports make no figure."""
    monkeypatch.setattr("lvm_bench.report.figures.draw.write_all", lambda *_: [])


@pytest.fixture
def few_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports make figures of images and factors alone, and none of codes, curves and scores."""
    monkeypatch.setattr("lvm_bench.report.figures.draw.left_out", lambda found: "Few figures are drawn.")


@pytest.fixture
def short_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainings of `lvm-bench check` take a third of the images: AVAE takes 300 of 400 out of the batches."""
    few = ("epochs=3", "train_images=400", "validation_images=50")
    monkeypatch.setattr("lvm_bench.execution.check_case.SETTINGS", few)


@pytest.fixture
def short_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """DCI grows a tenth of its trees and PRD clusters twice, for tests to which their values do not matter."""
    from sklearn import ensemble

    few = partial(ensemble.GradientBoostingClassifier, n_estimators=10)
    monkeypatch.setattr(ensemble, "GradientBoostingClassifier", few)
    monkeypatch.setattr("lvm_bench.metrics.coverage._RUNS", 2)


@pytest.fixture(autouse=True, scope="session")
def drawing() -> Iterator[Callable[..., AbstractContextManager[None]]]:
    """Figures are made and not drawn, which takes most of a report's time: `with drawing(pdfs=True):` draws them."""
    from lvm_bench import disk
    from lvm_bench.report.figures import files

    png, pdf = files.write_png, files.write_pdf

    @contextmanager
    def draw(pdfs: bool = False) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(files, "write_png", png)
            if pdfs:
                patched.setattr(files, "write_pdf", pdf)
            yield

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(files, "DPI", 60)
        patched.setattr(files, "write_pdf", lambda file, figure: disk.write_text(file, ""))
        patched.setattr(files, "write_png", _write_pixel)
        yield draw


def _write_pixel(file: Path, figure: Any, *_: object, **__: object) -> None:
    """A PNG of one pixel, whose colour stands for the words in it."""
    from matplotlib.text import Text
    from PIL import Image

    from lvm_bench import disk

    words = " ".join(text.get_text() for text in figure.findobj(Text))
    image = Image.new("RGB", (1, 1), tuple(zlib.crc32(words.encode()).to_bytes(4, "big")[1:]))
    disk.write(file, lambda beside: image.save(beside, "PNG"))


@pytest.fixture
def drawn(drawing: Callable[..., AbstractContextManager[None]]) -> Iterator[None]:
    """Figures are drawn, coarsely, and their PDFs are empty."""
    with drawing():
        yield


@pytest.fixture
def drawn_as_pdfs(drawing: Callable[..., AbstractContextManager[None]]) -> Iterator[None]:
    """Figures are drawn, also as PDFs."""
    with drawing(pdfs=True):
        yield
