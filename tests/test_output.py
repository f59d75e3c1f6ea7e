"""What a command prints ends no work: neither a full device, nor a pipe of few letters, nor a reader that went away."""

import io
import os
import sys
from pathlib import Path

import pytest
from made import make_run

from lvm_bench.cli import main
from lvm_bench.output import Steps, Volume

COMMANDS = (["list", "methods"], ["list", "runs"], ["report"], ["verify"], ["data"], ["report", "--help"])
FULL = "Error: standard output: No space left on device. What was to be printed there is lost.\n"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "results"
    make_run(folder / "small", reason="café →", status="failed")
    make_run(folder / "small", seed=1)
    return folder


def call(
    words: list[str], out: io.TextIOBase, results: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[object, io.StringIO]:
    """The exit code of a command that prints on `out`, and what it says on standard error."""
    err = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    places = ["--results", str(results)] if "--help" not in words and words[-1] in ("runs", "report", "verify") else []
    with pytest.raises(SystemExit) as ended:
        main([*words, *places])
    assert (sys.stdout, sys.stderr) == (out, err)
    return ended.value.code, err


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_cannot_be_encoded_is_replaced(
    words: list[str], encoding: str, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bytes_ = io.BytesIO()
    code, _ = call(words, io.TextIOWrapper(bytes_, encoding), results, monkeypatch)
    assert code == 0
    if words == ["list", "runs"]:
        assert f"caf{'é' if encoding == 'latin-1' else '?'} ?" in bytes_.getvalue().decode(encoding)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_full_device_is_a_sentence_and_the_work_is_done(
    words: list[str], results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = next(results.rglob("report.html"), None)
    if page:
        page.unlink()
    with open("/dev/full", "w", encoding="utf-8") as full:
        code, err = call(words, full, results, monkeypatch)
    assert (code, err.getvalue()[-len(FULL) :]) == (1, FULL)
    assert words != ["report"] or next(results.rglob("report.html"), None)


def test_a_reader_that_went_away_ends_the_command_without_a_word(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        code, err = call(["list", "methods"], pipe, results, monkeypatch)
    assert (code, err.getvalue()) == (1, "")


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("out", "volume", "told"),
    [
        (Screen(), Volume.NORMAL, "\r\x1b[2Kreading\r\x1b[2Ka note\n\r\x1b[2Kdrawing\r\x1b[2KTook 0s.\n"),
        (io.StringIO(), Volume.NORMAL, "a note\nTook 0s.\n"),
        (Screen(), Volume.VERBOSE, "[0s] reading\na note\n[0s] drawing\nTook 0s.\n"),
        (Screen(), Volume.QUIET, ""),
    ],
)
def test_steps_are_a_line_of_a_terminal_and_lines_with_verbose(
    out: io.StringIO, volume: Volume, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setenv("TERM", "xterm")
    with Steps(volume) as steps:
        steps.step("reading")
        steps.note("a note")
        steps.step("drawing")
    steps.end()
    assert out.getvalue() == told
