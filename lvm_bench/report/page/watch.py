"""`lvm-bench report --watch`: the page of a suite over HTTP while it runs. Nothing is written."""

import ipaddress
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from markupsafe import Markup

from lvm_bench import disk
from lvm_bench.errors import RunError, UserError
from lvm_bench.report.page import live, render
from lvm_bench.report.page.note import note_of
from lvm_bench.report.page.template import environment, inlined
from lvm_bench.report.tables import published
from lvm_bench.report.tables.compose import compose_tables
from lvm_bench.runs import checksums, gather, listing
from lvm_bench.runs.layout import suite_folders
from lvm_bench.runs.listing import Row
from lvm_bench.suites import labels
from lvm_bench.suites.labels import Known

LOOPBACK, PORT = "127.0.0.1", 8642

FRESH = 1.0  # seconds for which the rows are not read again

SHARE = 0.2  # of the time that reading takes at most

PATIENCE = 30.0  # seconds that a browser may take over a request

HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@dataclass
class Watched:
    """A suite's folder. Its rows are read again when they are old, its page is made again when a run has ended."""

    folder: Path
    against: str | None
    spread: str
    lock: threading.Lock = field(default_factory=threading.Lock)
    rows: list[Row] = field(default_factory=list)
    until: float = -1.0  # monotonic time at which the rows are old
    made: tuple[str, str] = ("", "")  # a version, and the page without its live part
    known: Known = field(default_factory=labels.current)  # how methods, data sets and metrics are shown
    recorded: labels.Facts = field(default_factory=dict)  # what the runs say of it

    def current(self) -> list[Row]:
        """The rows of the runs."""
        with self.lock:
            started = time.monotonic()
            if started >= self.until:
                self.rows = listing.rows(self.folder.parent, self.folder.name, (), _ignored)
                spent = time.monotonic() - started
                self.until = started + spent + max(FRESH, spent / SHARE)
            return self.rows

    def live(self) -> str:
        """The live part of the page."""
        with self.shown():
            return str(live.render(self.folder, self.current()))

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Inside this context, methods and data sets are called as this suite calls them."""
        with labels.using(self.known):
            labels.show(self.recorded)
            yield

    def page(self) -> str:
        """The whole page; RunError when nothing can be said of the suite before a file is mended."""
        rows = self.current()
        version = live.version(rows)
        with self.lock:
            if self.made[0] != version:
                self.made = (version, self._made())
        with self.shown():
            return self.made[1].replace(_HERE, str(live.render(self.folder, rows)), 1)

    def _made(self) -> str:
        with disk.nothing_to_collect(), labels.using(self.known):
            found = gather.gather(self.folder, checksums.read(self.folder), _ignored)
            self.recorded = found.about.shown
            labels.show(self.recorded)
            composed = compose_tables(self.folder, found, self.against, self.spread)
            note = note_of(self.folder)
            return render.render(self.folder.name, composed.filled, found, [], composed.words, note, _HERE)


_HERE = Markup("<!-- what is going on -->")


def _ignored(complaint: str) -> None:
    """Nothing: a damaged run is listed with the reason."""


class Watcher:
    """The suites of a results folder, one or all, each at an address of its own."""

    def __init__(self, results: Path, suite: str | None, against: str | None, spread: str):
        if against is not None:
            published.load(against)
        self.results, self.suite = results, suite
        known = labels.current()  # here, as threads that answer do not see what the command was given
        self.watch: Callable[[Path], Watched] = lambda folder: Watched(folder, against, spread, known=known)
        self.suites: dict[str, Watched] = {}
        self.find()

    def find(self) -> dict[str, Watched]:
        """The suites that are there now; UserError when there is none."""
        folders = suite_folders(self.results, self.suite)
        self.suites = {folder.name: self.suites.get(folder.name) or self.watch(folder) for folder in folders}
        return self.suites

    def answer(self, path: str) -> tuple[HTTPStatus, str]:
        """The answer to a path. No names but those of suites are ever looked up."""
        try:
            suites = self.find()
        except UserError as error:  # the results were moved away meanwhile
            return HTTPStatus.OK, _words("lvm-bench", [str(error)], {})
        if path == "/" and len(suites) != 1:
            return HTTPStatus.OK, _words("lvm-bench", [], {n: live.summary(w.current()) for n, w in suites.items()})
        if path == "/":
            return HTTPStatus.FOUND, f"/{next(iter(suites))}/"
        name, _, part = path.removeprefix("/").partition("/")
        if name not in suites or part not in ("", "live") or not path.startswith(f"/{name}/"):
            sentence = "Nothing is served under this address."
            return HTTPStatus.NOT_FOUND, _words("Not found", [sentence], dict.fromkeys(suites, ""))
        try:
            return HTTPStatus.OK, suites[name].live() if part else suites[name].page()
        except (RunError, OSError) as error:
            return HTTPStatus.OK, _words(name, str(error).splitlines(), {})


def _words(title: str, sentences: list[str], suites: dict[str, str]) -> str:
    """A page with a few sentences and links to suites. It loads itself again."""
    template = environment().get_template("watch.html.jinja")
    return template.render(title=title, sentences=sentences, suites=suites, files=inlined())


class Server(ThreadingHTTPServer):
    """Serves the pages of a watcher."""

    daemon_threads = True

    def __init__(self, host: str, port: int, watcher: Watcher):
        self.watcher = watcher
        family, *_, (address, *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self.address_family = family
        super().__init__((str(address), port), _Handler)
        self.names = {host.lower(), "localhost", LOOPBACK, "::1"}
        self.is_open = not ipaddress.ip_address(str(address)).is_loopback
        if self.is_open:
            self.names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print what went wrong, unless the browser went away."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def is_own(self, header: str) -> bool:
        """Whether a Host header names this server. A page of another name that leads here must not read it."""
        try:
            name = urlsplit(f"//{header}").hostname or ""
        except ValueError:
            return False
        return name in self.names or (self.is_open and _is_address(name))


def _is_address(name: str) -> bool:
    """Whether a name is an address, which no name server can change."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD, and refuses all else."""

    server: Server
    timeout = PATIENCE

    def do_GET(self) -> None:
        if not self.server.is_own(self.headers.get("Host", "")):
            self._send(HTTPStatus.FORBIDDEN, _words("Refused", ["This address is not one of this server."], {}))
            return
        self._send(*self.server.watcher.answer(self.path.partition("?")[0]))

    do_HEAD = do_GET

    def _send(self, status: HTTPStatus, text: str) -> None:
        body = b"" if status == HTTPStatus.FOUND else text.encode(errors="replace")
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if status == HTTPStatus.FOUND:
            self.send_header("Location", text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: requests are private."""


def watch(watcher: Watcher, host: str, port: int, say: Callable[[str], object]) -> None:
    """Serve until Ctrl-C or a SIGTERM; UserError when the address cannot be had."""
    try:
        server = Server(host, port, watcher)
    except OSError as error:
        raise UserError(
            f"--host {host} --port {port}: cannot be listened at ({error.strerror or error}). "
            "Give another --port, or 0 for any that is free."
        ) from error
    with server:
        shown = f"[{host}]" if ":" in host else host
        say(f"Serving {watcher.results} at http://{shown}:{server.server_address[1]}/ (Ctrl-C ends it).")
        for ending in (signal.SIGINT, signal.SIGTERM):
            signal.signal(ending, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            server.serve_forever()
