"""What every test shares: shapes checked at run time, no cache or data of the user's, a way to call the CLI."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook("lvm_bench", "typechecker.check")
pytest_plugins = ["small_suite"]

# No absolute timing: a loaded machine is not a failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing is read from or written to the user's cache or data folder."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    os.environ.pop("LVM_BENCH_DATA", None)


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
    """Reports draw no figure, which takes most of their time."""
    monkeypatch.setattr("lvm_bench.report.figures.draw.write_all", lambda *_: [])


@pytest.fixture
def few_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports draw images and factors alone, and no figures of codes, curves and scores."""
    monkeypatch.setattr("lvm_bench.report.figures.draw.left_out", lambda found: "Few figures are drawn.")


@pytest.fixture
def short_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainings of `lvm-bench check` take a third of the images."""
    monkeypatch.setattr("lvm_bench.execution.check_case.SETTINGS", ("epochs=3", "train_images=400"))


@pytest.fixture(autouse=True, scope="session")
def _empty_pdfs() -> Iterator[Callable[..., None]]:
    """Figures are coarse, and leave empty PDFs, whose drawing takes a third of the time; gives what draws them."""
    from lvm_bench import disk
    from lvm_bench.report.figures import style

    with pytest.MonkeyPatch.context() as patched:
        drawn = style.write_pdf
        patched.setattr(style, "DPI", 60)
        patched.setattr(style, "write_pdf", lambda file, figure: disk.write_text(file, ""))
        yield drawn


@pytest.fixture
def pdfs(_empty_pdfs: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are drawn as PDFs too."""
    monkeypatch.setattr("lvm_bench.report.figures.style.write_pdf", _empty_pdfs)
