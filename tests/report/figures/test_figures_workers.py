"""Figures that worker processes draw: the same bytes, the labels of the command, its errors, and a worker's death."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from lvm_bench.output import Steps, Volume
from lvm_bench.report.figures import files, style, workers
from lvm_bench.suites import labels

BAR = "0.2"


def bar(colour: str) -> Figure:
    figure, (axes,) = style.panels(1, 1, 1.5)
    axes.set_xlabel(labels.label("mine"))
    axes.bar([1, 2], [3, 4], color=colour)
    return figure


def tell(file: Path) -> None:
    """Write whether a worker is at work, and with which label."""
    file.write_text(f"{multiprocessing.parent_process() is not None} {labels.label('mine')}")


def die(file: Path) -> None:
    """Kill the worker; the command goes on."""
    if multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    file.touch()


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Everything is left to the one worker, and a method has a label that no worker knows by itself."""
    monkeypatch.setattr(workers, "FEWEST", 1)
    monkeypatch.setattr(Future, "cancel", lambda self: False)
    with labels.using(labels.plain()):
        labels.show({"methods": {"mine": {"label": "My method"}}})
        yield workers.finish


def test_a_worker_draws_the_same_bytes_and_its_error_and_its_death_are_the_commands(
    away: Callable[[], None],
    drawing: Callable[..., AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(files, "DPI", 200)
    with drawing(pdfs=True):
        files.save(files.Folder(tmp_path), "here", partial(bar, BAR), "A title")  # nobody else is at work
    with workers.at_work(2):
        files.save(files.Folder(tmp_path), "there", partial(bar, BAR), "A title")
        workers.do(tell, tmp_path / "told")
        assert not (tmp_path / "told").exists()
        away()
        assert (tmp_path / "told").read_text() == "True My method"
        for end in ("png", "pdf"):
            assert (tmp_path / f"there.{end}").read_bytes() == (tmp_path / f"here.{end}").read_bytes()
        workers.do(Path.read_text, tmp_path / "nowhere")
        with pytest.raises(FileNotFoundError, match="nowhere"):
            away()
        workers.do(die, tmp_path / "alive")
        away()
        assert (tmp_path / "alive").exists()


def test_one_process_does_everything_in_order_at_the_end(tmp_path: Path) -> None:
    with workers.at_work(1):
        workers.do(Path.write_text, tmp_path / "file", "first")
        workers.do(Path.write_text, tmp_path / "file", "second")
        assert not (tmp_path / "file").exists()
    assert (tmp_path / "file").read_text() == "second"


@pytest.mark.parametrize(("volume", "told"), [(Volume.QUIET, ""), (Volume.VERBOSE, "scaling codes: 0 of 1")])
def test_how_far_it_is_follows_the_volume_of_the_command(
    volume: Volume, told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with workers.at_work(1), Steps(volume):
        workers.do(Path.touch, tmp_path / "file")
        workers.finish("scaling codes")
    assert capsys.readouterr().err.partition("] ")[2].strip() == told
