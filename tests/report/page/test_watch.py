"""`report --watch`: what is served, to whom, and that nothing is written."""

import http.client
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from lvm_bench import disk
from lvm_bench.cli import main
from lvm_bench.report.page import watch
from lvm_bench.report.write import emit
from lvm_bench.runs.lease import Leases
from lvm_bench.training import checkpoint
from lvm_bench.training.checkpoint import Checkpoints

Put = Callable[..., Path]
Ask = Callable[..., tuple[int, str, http.client.HTTPResponse]]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """`ask("/small/")`: (status, text, response) of a server of `tmp_path` that reads anew each time."""
    monkeypatch.setattr("lvm_bench.report.page.watch.FRESH", 0.0)
    monkeypatch.setattr("lvm_bench.report.page.watch.SHARE", float("inf"))
    servers: list[watch.Server] = []

    def go(path: str, host: str | None = "localhost", method: str = "GET", listen: str = "127.0.0.1"):
        if not servers:
            servers.append(watch.Server(listen, 0, watch.Watcher(tmp_path, None, None, "std")))
            threading.Thread(target=servers[0].serve_forever, args=(0.01,), daemon=True).start()
        connection = http.client.HTTPConnection("127.0.0.1", servers[0].server_address[1], timeout=30)
        connection.putrequest(method, path, skip_host=True)
        if host is not None:
            connection.putheader("Host", host)
        connection.endheaders()
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, text, response

    yield go
    for server in servers:
        server.shutdown()
        server.server_close()


def train(folder: Path) -> None:
    """A checkpoint as a training of three epochs leaves it."""
    rows = [{"epoch": epoch, "val/loss": 9.5 / epoch, "aggregate_variance/0": 1.0} for epoch in (1, 2, 3)]
    Checkpoints(folder, "x", 0, print).save(({"weight": torch.zeros(2)}, {"history": rows}))


def files(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.rglob("*") if file.is_file()}


def test_one_suite_is_led_to_and_several_are_listed(put_run: Put, ask: Ask, tmp_path: Path) -> None:
    put_run("mnist", "vae", 0)
    status, text, response = ask("/")
    assert (status, text, response.headers["Location"]) == (302, "", "/small/")
    disk.write_text(tmp_path / "other" / "runs" / "x" / "y" / "seed-0" / "job.json", "{}")
    status, text, _ = ask("/")
    assert status == 200
    assert '<a href="/small/">small</a> 1 done' in text
    assert '<a href="/other/">other</a> 1 damaged' in text


def test_the_page_shows_scores_failures_and_runs_at_work_and_writes_nothing(
    put_run: Put, ask: Ask, tmp_path: Path
) -> None:
    put_run("mnist", "vae", 0, {"mse.heldout": 0.125})
    put_run("mnist", "aae", 1, status="failed", reason="the loss became <b>NaN</b>")
    with Leases().take(put_run("mnist", "avae", 2, status="running")) as lease:
        train(lease.folder)
        lease._doing = {"epoch": 3, "epochs": 10}
        from lvm_bench.runs.lease import _sign

        _sign(lease._handle, lease._doing)
        before = files(tmp_path)
        status, text, response = ask("/small/")
        live = ask("/small/live")[1]
        assert files(tmp_path) == before
    assert status == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert "connect-src &#39;self&#39;" in text or "connect-src 'self'" in text
    assert "mse.heldout" in text
    assert live.strip() in text
    assert "1 done, 1 at work, 1 failed" in live
    assert "the loss became &lt;b&gt;NaN&lt;/b&gt;" in live
    assert '<progress max="10" value="3"' in live
    assert "val from 9.5 to 3.167" in live
    assert "aggregate_variance" not in live


def test_a_run_that_ends_is_on_the_page_that_is_served_next(put_run: Put, ask: Ask) -> None:
    put_run("mnist", "vae", 0, {"mse.heldout": 0.125})
    first, live = ask("/small/")[1], ask("/small/live")[1]
    put_run("mnist", "aae", 0, {"mse.heldout": 0.25})
    second, later = ask("/small/")[1], ask("/small/live")[1]
    assert 'id="run/mnist/vae/0"' in first
    assert 'id="run/mnist/aae/0"' not in first
    assert 'id="run/mnist/aae/0"' in second
    versions = [re.search('data-version="([^"]+)"', text).group(1) for text in (live, later)]
    assert versions[0] != versions[1]


def test_a_suite_of_which_nothing_can_be_said_gives_a_sentence_with_what_to_do(
    put_run: Put, ask: Ask, tmp_path: Path
) -> None:
    put_run("mnist", "vae", 0)
    emit(tmp_path / "small")
    (tmp_path / "small" / "scores.csv").write_text("other")
    status, text, _ = ask("/small/")
    assert status == 200
    assert "scores.csv" in text
    assert "Restore it" in text


PATHS = (
    "/small", "/small/live/", "/small/files.json", "/small/../small/report.html", "/../../etc/passwd",
    "/%2e%2e/small/", "/unknown/", "/small/%00", "/small/runs/mnist/vae/seed-0/job.json", "/\\small/",
)  # fmt: skip


def test_nothing_is_served_but_pages(put_run: Put, ask: Ask, tmp_path: Path) -> None:
    put_run("mnist", "vae", 0)
    emit(tmp_path / "small")
    for path in PATHS:
        status, text, _ = ask(path)
        assert status == 404, path
        assert "Nothing is served under this address." in text


@pytest.mark.parametrize(
    ("host", "listen", "status"),
    [
        ("localhost:1", "127.0.0.1", 200), ("127.0.0.1", "127.0.0.1", 200), ("[::1]:80", "127.0.0.1", 200),
        ("evil.example", "127.0.0.1", 403), ("127.0.0.1.evil.example", "127.0.0.1", 403), ("", "127.0.0.1", 403),
        (None, "127.0.0.1", 403), ("192.0.2.1", "127.0.0.1", 403), ("a:b:c", "127.0.0.1", 403), ("[", "127.0.0.1", 403),
        ("192.0.2.1", "0.0.0.0", 200), ("evil.example", "0.0.0.0", 403), (socket.gethostname(), "0.0.0.0", 200),
    ],
)  # fmt: skip
def test_foreign_hosts_are_refused(host: str | None, listen: str, status: int, put_run: Put, ask: Ask) -> None:
    put_run("mnist", "vae", 0)
    found, text, _ = ask("/small/live", host, listen=listen)
    assert found == status
    assert ("This address is not one of this server." in text) == (status == 403)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_whatever_would_write_is_refused(method: str, put_run: Put, ask: Ask) -> None:
    put_run("mnist", "vae", 0)
    assert ask("/small/", method=method)[0] == 501
    status, text, response = ask("/small/", method="HEAD")
    assert (status, text) == (200, "")
    assert int(response.headers["Content-Length"]) > 1000


def test_an_address_that_is_taken_and_options_without_watch_are_sentences(put_run: Put, tmp_path: Path) -> None:
    put_run("mnist", "vae", 0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(main, ["report", "--watch", "--port", port, "--results", str(tmp_path)])
    assert result.exit_code == 2
    assert f"--port {port}: cannot be listened at" in result.stderr
    for options, told in (
        (["--port", "0"], "belong to --watch"),
        (["--watch", "--tables", "frechet"], "shows every table"),
        (["--watch", "--suite", "smal"], "Did you mean 'small'?"),
        (["--watch", "--against", "x"], "Unknown"),
    ):
        result = CliRunner().invoke(main, ["report", *options, "--results", str(tmp_path)])
        assert result.exit_code == 2
        assert told in result.stderr


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_interrupted(sent: signal.Signals, put_run: Put, tmp_path: Path) -> None:
    put_run("mnist", "vae", 0)
    command = [sys.executable, "-m", "lvm_bench", "report", "--watch", "--port", "0", "--results", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        try:
            port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", started.stdout.readline()).group(1))
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/small/")
            assert "1 done" in connection.getresponse().read().decode()
            connection.close()
            started.send_signal(sent)
            said = started.communicate(timeout=60)
        finally:
            started.kill()
    assert started.returncode == 0, said
    assert said[1] == ""


@pytest.mark.parametrize("damage", ["cut", "no header", "no history", "text", "huge header", "missing"])
def test_a_checkpoint_that_cannot_be_read_tells_of_no_epochs_and_the_one_before_does(
    damage: str, tmp_path: Path
) -> None:
    train(tmp_path)
    train(tmp_path)
    assert [row["val/loss"] for row in checkpoint.history(tmp_path)] == [9.5, 4.75, 9.5 / 3]
    file = tmp_path / checkpoint.NAMES[0]
    content = file.read_bytes()
    damaged = {
        "cut": content[:100], "no header": b"", "no history": content.replace(b"history", b"mystery"),
        "text": content.replace(b"9.5", b"[1]"), "huge header": b"\xff" * 8 + content[8:], "missing": None,
    }[damage]  # fmt: skip
    file.unlink()
    if damaged is not None:
        file.write_bytes(damaged)
    assert len(checkpoint.history(tmp_path)) == 3
    (tmp_path / checkpoint.NAMES[1]).unlink()
    assert checkpoint.history(tmp_path) == []
