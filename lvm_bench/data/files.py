"""The files of data sets: their places, checksums and downloads."""

import hashlib
import os
import urllib.request
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit

from lvm_bench import disk
from lvm_bench.errors import UserError, did_you_mean
from lvm_bench.output import Steps, Volume
from lvm_bench.registry import DATASETS

CHUNK = 1 << 20
TIMEOUT = 30.0  # seconds without a byte before a download is given up


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be downloaded. The first folder of its path is the name for `data fetch`."""

    path: str  # relative to the data root
    url: str
    checksum: str  # "sha256:..." or "md5:...", in hexadecimal
    size: int  # bytes
    note: str = ""  # a sentence on what else can be done if it is missing
    unpacked: "tuple[RemoteFile, ...]" = ()  # the same file without its .gz, under the names that people have it

    @property
    def owner(self) -> str:
        return self.path.split("/")[0]

    def here(self, root: Path) -> "RemoteFile":
        """The file itself, or an unpacked one that is there in its place."""
        there = (file for file in (self, *self.unpacked) if (root / file.path).is_file())
        return next(there, self)


WEIGHTS = RemoteFile(
    "inception/pt_inception-2015-12-05-6726825d.pth",
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    "sha256:6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    95_628_359,
    "Without it, --extractor classifier measures images that have labels.",
)
DINOV2 = tuple(
    RemoteFile(
        f"{name}/dinov2_{kind}_pretrain.pth",
        f"https://dl.fbaipublicfiles.com/dinov2/dinov2_{kind}/dinov2_{kind}_pretrain.pth",
        f"sha256:{sha256}",
        size,
        "Without it, --extractor classifier measures images that have labels.",
    )
    for name, kind, sha256, size in (
        ("dinov2", "vitl14", "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428", 1_217_586_395),
        ("dinov2-small", "vits14", "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9", 88_283_115),
    )
)  # the publisher tells no checksum: these are what several public copies of the files have
_LINEAR = "richzhang/PerceptualSimilarity/082bb24f84c091ea94de2867d34c4544f68e0963/lpips/weights/v0.1/alex.pth"
LPIPS_WEIGHTS = tuple(
    RemoteFile(f"lpips/{name}", url, checksum, size, "Or leave lpips out of the metrics.")
    for name, url, checksum, size in (
        (
            "alexnet-owt-7be5be79.pth",
            "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
            "sha256:7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
            244_408_911,
        ),
        (
            "alex.pth",
            f"https://raw.githubusercontent.com/{_LINEAR}",
            "sha256:df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
            6_009,
        ),
    )
)  # of torchvision's AlexNet, and of its channels in LPIPS
WEIGHTS_LICENCES = {"inception": "Apache 2.0", "dinov2": "Apache 2.0", "dinov2-small": "Apache 2.0", "lpips": "BSD"}


class FileStatus(NamedTuple):
    """One file in the inventory."""

    owner: str
    file: str
    state: str  # present, missing or damaged
    size: str
    licence: str


def data_root(option: Path | None = None) -> Path:
    """The folder of the data sets: `--data`, else $LVM_BENCH_DATA, else a folder in the cache of the user."""
    chosen = option or os.environ.get("LVM_BENCH_DATA") or disk.user_folder() / "data"
    return Path(chosen).expanduser()


def checksum(path: Path, algorithm: str) -> str:
    """The digest of a file in hexadecimal. `algorithm` is sha256 or md5."""
    with path.open("rb") as stream:
        # Some releases publish md5 alone, which guards against damage but not against an attacker.
        return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def difference(file: RemoteFile, path: Path) -> str | None:
    """A sentence on how the checksum of the file at `path` differs from the promised one; None if it does not."""
    algorithm, expected = file.checksum.split(":")
    actual = checksum(path, algorithm)
    return None if actual == expected else f"its {algorithm} is {actual}, not {expected}"


def verify(file: RemoteFile, root: Path) -> Path:
    """The path of a file that is whole. UserError, which says what to do, if it is damaged."""
    path = root / file.path
    try:
        wrong = difference(file, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). Check its permissions.") from error
    if wrong:
        raise UserError(
            f"{path}: {wrong}, so it is damaged or truncated. Delete it and run `lvm-bench data fetch {file.owner}`."
        )
    return path


def require(name: str, root: Path) -> list[Path]:
    """The checked paths of the files of a data set, or of weights, in the order of their declaration.

    UserError where some are missing: where to put them, their checksums, how to fetch them.
    """
    files = [file.here(root) for file in fetchable()[name]]
    missing = [file for file in files if not (root / file.path).is_file()]
    if missing:
        raise UserError(_missing(missing, root))
    return [verify(file, root) for file in files]


def _missing(files: list[RemoteFile], root: Path) -> str:
    """The sentence about missing files of one owner."""
    paths = " and ".join(str(root / file.path) for file in files)
    sources = " and ".join(f"{file.url} ({file.checksum.replace(':', ' ')})" for file in files)
    are, them = ("is", "it") if len(files) == 1 else ("are", "them")
    notes = " ".join(dict.fromkeys(file.note for file in files))
    return (
        f"{paths} {are} missing: run `lvm-bench data fetch {files[0].owner}`, or download {sources} and put {them} "
        f"there. {notes}"
    ).rstrip()


def fetchable() -> dict[str, tuple[RemoteFile, ...]]:
    """The files that `fetch` can download, by name: those of the data sets, and the weights of networks."""
    sets = {name: function.info.files for name, function in DATASETS.items() if function.info.files}
    return {**sets, **{file.owner: (file,) for file in (WEIGHTS, *DINOV2)}, "lpips": LPIPS_WEIGHTS}


def fetch(name: str, root: Path, volume: Volume = Volume.NORMAL) -> None:
    """Download the files of `name` that are missing or damaged. A file gets its name only after its check.

    Raises UserError with the address, the place and the checksum if that fails.
    """
    known = fetchable()
    if name not in known:
        raise UserError(f"There is nothing to download by the name {name!r}.{did_you_mean(name, known)}")
    for file in known[name]:
        path, here = root / file.path, file.here(root)
        try:
            if not (root / here.path).is_file() or difference(here, root / here.path):
                disk.write(path, partial(_download, file, volume))
        except (OSError, HTTPException, ValueError) as error:  # ValueError: a redirect to something that is no address
            if isinstance(error, HTTPError):
                error.close()  # the error is also the answer of the server, which holds the connection
            raise UserError(
                f"{file.url} could not be downloaded ({error}): get the file in another way and "
                f"put it at {path} ({file.checksum.replace(':', ' ')}). {file.note}".rstrip()
            ) from error


def _download(file: RemoteFile, volume: Volume, beside: Path) -> None:
    """Download a file, on a terminal with a progress bar; OSError unless its checksum is the promised one."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if volume == Volume.VERBOSE:
        Steps(volume).step(f"{file.url}: {file.size:,} bytes to {beside.parent}")
    _require_https(file.url)
    request = urllib.request.Request(file.url, headers={"User-Agent": "lvm-bench"})
    with (
        Progress(console=console, disable=not console.is_terminal or volume != Volume.NORMAL) as progress,
        urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT) as response,
        beside.open("wb") as stream,
    ):
        bar = progress.add_task(Path(file.path).name, total=file.size)
        while stream.tell() <= file.size and (chunk := response.read(CHUNK)):
            stream.write(chunk)
            progress.advance(bar, len(chunk))
    # A server that is full or has moved often answers with a page of text, which fails the check.
    if wrong := difference(file, beside):
        raise OSError(f"of the {beside.stat().st_size:,} bytes that came, {wrong}")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects only to https."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _require_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        """Follow a redirect; the connection is closed where that is refused."""
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except Exception:
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _require_https(url: str) -> None:
    """OSError unless the address is https or this machine, so that nobody on the way can change the answer."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname == "127.0.0.1"):
        raise OSError(f"{url} is no https address")


def inventory(root: Path) -> list[FileStatus]:
    """Every file of the data sets and extractors: present, missing, or damaged, judged by its size alone."""
    licences = {name: function.info.licence for name, function in DATASETS.items()}
    rows = []
    for owner, files in fetchable().items():
        for file in (each.here(root) for each in files):
            path = root / file.path
            size = path.stat().st_size if path.is_file() else None
            state = "missing" if size is None else "present" if size == file.size else "damaged"
            licence = (licences | WEIGHTS_LICENCES)[owner]
            rows.append(FileStatus(owner, file.path, state, _bytes(file.size if size is None else size), licence))
    return rows


def _bytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"
