"""Folders by precedence. Files appear only when verified. Every failed download is one sentence."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import Result

from lvm_bench.data import files
from lvm_bench.data.files import RemoteFile, checksum, data_root, fetch, inventory, require
from lvm_bench.disk import cache_folder
from lvm_bench.errors import StorageError, UserError

CONTENT = bytes(range(256)) * 500
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A web server on the loopback interface: `answers` maps paths to contents, `asked` lists requests."""
    state = SimpleNamespace(answers={"/weights": CONTENT}, asked=[])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            content = state.answers.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            try:
                self.wfile.write(content or b"")
            except ConnectionError:
                state.asked.append("hung up")

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = False  # so that stopping waits for answers that are under way
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}"

    def stop() -> None:
        http.shutdown()
        http.server_close()
        thread.join()

    state.stop = stop
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield state
    if thread.is_alive():
        stop()


@pytest.fixture
def weights(server: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> RemoteFile:
    """A file of 128 kB in place of the Inception weights."""
    file = RemoteFile(
        "inception/weights.pth",
        f"{server.url}/weights",
        f"sha256:{SHA256}",
        len(CONTENT),
        "Try something else.",
    )
    monkeypatch.setattr(files, "WEIGHTS", file)
    return file


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_data_root_is_the_option_then_the_variable_then_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert data_root(None) == tmp_path / "xdg" / "lvm-bench" / "data"
    assert cache_folder() == tmp_path / "xdg" / "lvm-bench" / "cache"
    monkeypatch.setenv("LVM_BENCH_DATA", str(tmp_path / "variable"))
    assert data_root(None) == tmp_path / "variable"
    assert data_root(tmp_path / "option") == tmp_path / "option"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder() == tmp_path / "home" / ".cache" / "lvm-bench" / "cache"
    assert data_root(Path("~/sets")) == tmp_path / "home" / "sets"


def test_checksums_are_the_published_ones_of_abc(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert checksum(tmp_path / "abc", "md5") == "900150983cd24fb0d6963f7d28e17f72"
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert checksum(tmp_path / "abc", "sha256") == sha256


def test_fetch_puts_the_verified_file_in_its_place_and_nothing_else(
    server: SimpleNamespace, weights: RemoteFile, tmp_path: Path
) -> None:
    fetch("inception", tmp_path)
    assert (tmp_path / weights.path).read_bytes() == CONTENT
    assert everything(tmp_path) == [weights.path]
    assert require("inception", tmp_path) == [tmp_path / weights.path]


def test_fetch_asks_for_nothing_that_is_whole_and_replaces_what_is_damaged(
    server: SimpleNamespace, weights: RemoteFile, tmp_path: Path
) -> None:
    fetch("inception", tmp_path)
    fetch("inception", tmp_path)
    assert server.asked == ["/weights"]
    (tmp_path / weights.path).write_bytes(CONTENT[:-1])
    fetch("inception", tmp_path)
    assert (tmp_path / weights.path).read_bytes() == CONTENT


@pytest.mark.parametrize("answer", [CONTENT[:-1], b"<html>Too many requests</html>", CONTENT + b"x", None])
def test_a_download_of_something_else_leaves_no_file_and_says_what_to_do(
    server: SimpleNamespace, weights: RemoteFile, tmp_path: Path, answer: bytes | None
) -> None:
    server.answers["/weights"] = answer
    with pytest.raises(UserError) as error:
        fetch("inception", tmp_path)
    for part in (weights.url, str(tmp_path / weights.path), f"sha256 {SHA256}", "Try something else."):
        assert part in str(error.value)
    assert everything(tmp_path) == []


def test_a_server_that_sends_far_too_much_is_cut_off(
    server: SimpleNamespace, weights: RemoteFile, tmp_path: Path
) -> None:
    server.answers["/weights"] = bytes(50 * files.CHUNK)
    with pytest.raises(UserError, match=r"of the 1,048,576 bytes that came"):
        fetch("inception", tmp_path)
    server.stop()
    assert server.asked == ["/weights", "hung up"]


def test_a_failed_download_keeps_the_file_that_was_there(
    server: SimpleNamespace, weights: RemoteFile, tmp_path: Path
) -> None:
    (tmp_path / "inception").mkdir()
    (tmp_path / weights.path).write_bytes(b"half")
    server.answers.clear()
    with pytest.raises(UserError, match="404"):
        fetch("inception", tmp_path)
    assert (tmp_path / weights.path).read_bytes() == b"half"
    assert everything(tmp_path) == [weights.path]


def test_offline_names_address_place_and_checksum_through_the_command_line(
    server: SimpleNamespace, weights: RemoteFile, tmp_path: Path, lvm_bench: Callable[..., Result]
) -> None:
    server.stop()
    result = lvm_bench("data", "fetch", "inception", "--data", tmp_path / "root")
    assert result.exit_code == 2
    for part in (weights.url, str(tmp_path / "root" / weights.path), SHA256):
        assert part in result.stderr


def test_a_root_that_cannot_be_written_is_a_sentence(weights: RemoteFile, tmp_path: Path) -> None:
    (tmp_path / "inception").write_text("a file where a folder must be")
    with pytest.raises(StorageError, match=r"inception.*cannot be written"):
        fetch("inception", tmp_path)


def test_fetch_of_an_unknown_name_lists_what_can_be_fetched(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'mnst'. Did you mean 'mnist'\? Valid: celeba, cifar10, .*inception"):
        fetch("mnst", tmp_path)
    with pytest.raises(UserError, match="nothing to download by the name 'digits'"):
        fetch("digits", tmp_path)


def test_a_missing_file_names_place_address_checksum_and_command(weights: RemoteFile, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        require("inception", tmp_path)
    for part in (str(tmp_path / weights.path), weights.url, SHA256, "`lvm-bench data fetch inception`"):
        assert part in str(error.value)
    assert "Try something else." in str(error.value)


def test_without_weights_the_classifier_is_the_way_on(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--extractor classifier"):
        require("inception", tmp_path)


@pytest.mark.parametrize("damaged", [CONTENT[:-1], CONTENT[:-1] + b"x", b""])
def test_a_damaged_file_names_both_checksums_and_the_command(
    weights: RemoteFile, tmp_path: Path, damaged: bytes
) -> None:
    (tmp_path / "inception").mkdir()
    (tmp_path / weights.path).write_bytes(damaged)
    with pytest.raises(UserError) as error:
        require("inception", tmp_path)
    found = hashlib.sha256(damaged).hexdigest()
    for part in (
        str(tmp_path / weights.path),
        f"sha256 is {found}, not {SHA256}",
        "data fetch inception",
        "Delete",
    ):
        assert part in str(error.value)


def test_inventory_tells_present_missing_and_damaged(weights: RemoteFile, tmp_path: Path) -> None:
    def row() -> tuple[str, str, str]:
        (only,) = [row for row in inventory(tmp_path) if row.owner == "inception"]
        assert only.file == weights.path
        return only.state, only.size, only.licence

    assert row() == ("missing", "0.1 MB", "Apache 2.0")
    (tmp_path / "inception").mkdir()
    (tmp_path / weights.path).write_bytes(CONTENT[:1000])
    assert row()[:2] == ("damaged", "1.0 kB")
    (tmp_path / weights.path).write_bytes(CONTENT)
    assert row()[0] == "present"


def test_the_command_lists_every_file_with_its_licence(tmp_path: Path, lvm_bench: Callable[..., Result]) -> None:
    result = lvm_bench("data", "--data", tmp_path)
    assert result.exit_code == 0
    for text in (
        "celeba/img_align_celeba.zip",
        "non-commercial",
        "mnist/MNIST/raw/t10k-labels-idx1-ubyte.gz",
    ):
        assert text in result.stdout
    assert everything(tmp_path) == []
