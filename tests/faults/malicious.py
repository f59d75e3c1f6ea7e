"""Inputs of a stranger: each is refused in a sentence, runs no code, and writes nothing outside its folder."""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import pickle
import platform
import re
import struct
import sys
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from click.testing import CliRunner

from lvm_bench import disk
from lvm_bench.errors import RunError, UserError
from lvm_bench.runs.record import checked_record
from lvm_bench.suites import bench_toml
from lvm_bench.suites.resolve import resolve
from lvm_bench.text import printable

TRAP = "../ran"  # the folder that code of a stranger makes if it runs, as seen from the working folder
LONGEST = 20_000  # characters of an answer: more is no sentence


class Told(NamedTuple):
    """How a command or a loader ended, and what it said."""

    code: int
    text: str


@dataclass(frozen=True)
class Case:
    """An attack, made in an empty working folder, and the pattern of the sentence that must answer it."""

    name: str
    attack: Callable[[], Told]
    told: str
    codes: tuple[int, ...] = (1, 2)


def verdict(case: Case, folder: Path) -> list[str]:
    """What went wrong when the case was tried in an empty folder: nothing, if every promise held."""
    (folder / "work").mkdir()
    (folder / "outside").mkdir()
    (folder / "outside" / "kept").write_text("as it was")
    before, wrong = _outside(folder), []
    with contextlib.chdir(folder / "work"):
        try:
            told = case.attack()
        except Exception as error:
            return [f"an exception escaped: {type(error).__name__}: {str(error)[:500]}"]
    if told.code not in case.codes:
        wrong.append(f"the exit code is {told.code}")
    if not re.search(case.told, told.text):
        wrong.append(f"no {case.told!r} in what was said: {told.text[-1000:]}")
    if "Traceback (most" in told.text:
        wrong.append("a traceback was shown")
    if len(told.text) > LONGEST:
        wrong.append(f"{len(told.text):,} characters were shown")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", told.text):
        wrong.append("a control character reached the terminal")
    if _outside(folder) != before:
        wrong.append(f"something outside the working folder is new or changed: {sorted(_outside(folder) - before)}")
    return wrong


def _outside(folder: Path) -> set[tuple[str, bytes]]:
    files = [file for file in folder.rglob("*") if (folder / "work") not in (file, *file.parents)]
    return {(str(file.relative_to(folder)), file.read_bytes() if file.is_file() else b"") for file in files}


def call(*arguments: str | Path) -> Told:
    """The command line, in this process."""
    from lvm_bench.cli import main

    result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="lvm-bench")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Told(result.exit_code, result.output)


def attempt(action: Callable[[], object]) -> Told:
    """A function of ours, with the exit codes of the command line."""
    try:
        action()
    except UserError as error:
        return Told(2, printable(str(error)))
    except RunError as error:
        return Told(1, printable(str(error)))
    return Told(0, "")


class _Runs:
    def __reduce__(self) -> Any:
        return os.mkdir, (TRAP,)


def pickled() -> bytes:
    """A pickle that springs the trap."""
    return pickle.dumps(_Runs())


SPRING = f'import os\nos.mkdir("{TRAP}")\n'
METHOD = (
    "from lvm_bench import Method, method\n\n\n"
    '@method({name!r})\nclass Theirs(Method):\n    """{description}"""\n\n'
    "    def losses(self, x):\n        return {{}}\n"
)


def plugin(name: str = "theirs", description: str = "Theirs.", begin: str = "") -> Path:
    """A file that registers a method."""
    file = Path("theirs.py")
    file.write_text(begin + METHOD.format(name=name, description=description), encoding="utf-8")
    return file


# --- configurations ----------------------------------------------------------------------------------------

SUITE = """
[suites.s]
description = "theirs"
methods = ["vae"]
datasets = ["digits"]
seeds = [0]
"""
TINY = (
    "--set=epochs=1", "--set=train_images=200", "--set=validation_images=20", "--set=test_images=20",
    '--set=metrics=["mse"]', "--device=cpu",
)  # fmt: skip
RUN = ("run", "--suite", "s", *TINY)


def bench(more: str = "", *changes: tuple[str, str]) -> Path:
    """The packaged configuration with one more suite, changed as said."""
    home = bench_toml.defaults_folder()
    text = (home / "bench.toml").read_text(encoding="utf-8") + SUITE + more
    for old, new in (('packages = ["baselines"]', f'packages = ["{(home / "baselines").as_posix()}"]'), *changes):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file = Path("bench.toml")
    file.write_text(text, encoding="utf-8")
    return file


def toml(text: str) -> str:
    """A text as TOML writes it."""
    return '"' + "".join(c if c.isalnum() or c in "-_./ " else f"\\U{ord(c):08x}" for c in text) + '"'


def suite_named(name: str) -> Told:
    bench("", ("[suites.s]", f"[suites.{toml(name)}]"))
    return call("run", "--suite", "s" if "\0" in name else name, *TINY)


def suite_listed(name: str) -> Told:
    bench("", ("[suites.s]", f"[suites.{toml(name)}]"))
    return call("list", "suites")


def variant_named(kind: str, base: str, name: str) -> Told:
    key = {"method": ('methods = ["vae"]\ndatasets = ["digits"]\nseeds = [0]', "methods")}.get(kind)
    names = f'methods = ["vae"]\ndatasets = [{toml(name)}]' if key is None else f"methods = [{toml(name)}]"
    text = Path(bench(f'\n[{kind}s.{toml(name)}]\nbase = "{base}"\n')).read_text()
    head, own = text.split("[suites.s]")
    old = 'methods = ["vae"]\ndatasets = ["digits"]' if key is None else 'methods = ["vae"]'
    Path("bench.toml").write_text(f"{head}[suites.s]{own.replace(old, names, 1)}")
    return call(*RUN)


def setting(table: str, line: str) -> Told:
    bench(f"\n[suites.s.{table}]\n{line}\n")
    return call("run", "--suite", "s", "--dry-run")


def changed(old: str, new: str) -> Told:
    text = bench().read_text()
    head, own = text.split("[suites.s]")
    Path("bench.toml").write_text(f"{head}[suites.s]{own.replace(old, new, 1)}")
    return call("run", "--suite", "s", "--dry-run")


def added(more: str) -> Told:
    bench(more)
    return call("run", "--suite", "s", "--dry-run")


def whole(content: bytes) -> Told:
    Path("bench.toml").write_bytes(content)
    return call("run", "--suite", "s", "--dry-run")


def given(*options: str) -> Told:
    bench()
    return call("run", "--suite", "s", "--dry-run", *options)


NAMES = {
    "that climbs": "../../outside/x",
    "that is absolute": "/tmp/lvm-bench-attack",
    "of the folder above": "..",
    "with a slash": "a/b",
    "with a backslash": "..\\..\\outside",
    "with a NUL": "a\0b",
    "of a device": "CON",
    "of a device with a suffix": "aux.txt",
    "that ends in a dot": "a.",
    "hidden": ".hidden",
    "empty": "",
    "too long": "x" * 65,
    "with an escape sequence": "\x1b[2Jx",
    "that runs backwards": "a\u202eb",
    "of LaTeX": "\\input{evil}",
    "of HTML": "<script>alert(1)</script>",
    "of mathematics": "$\\frac{",
    "of markup": "[/x]",
}
REFUSED = r"cannot name a folder|more than 64 characters"
HUGE = "9" * 5000
HEX = "0x" + "f" * 5000

CASES: list[Case] = []
CASES += [Case(f"a suite's name {what}", partial(suite_named, name), REFUSED) for what, name in NAMES.items()]
CASES += [
    Case(f"a suite's name {what}, listed", partial(suite_listed, NAMES[what]), REFUSED)
    for what in ("with an escape sequence", "with a NUL")
]
CASES += [
    Case(f"a suite by the name of the folder {name!r}", partial(suite_named, name), "is the benchmark's own")
    for name in ("published", "Bandwidth")
]
CASES += [
    Case(f"a method's name {what}", partial(variant_named, "method", "vae", NAMES[what]), REFUSED)
    for what in ("that climbs", "that is absolute", "with a NUL", "of a device", "of LaTeX", "of markup")
]
CASES += [
    Case(f"a data set's name {what}", partial(variant_named, "dataset", "digits", NAMES[what]), REFUSED)
    for what in ("that climbs", "with a backslash", "that ends in a dot", "of HTML")
]
CASES += [
    Case(
        "a method by the name of a control", partial(variant_named, "method", "vae", "real-images"), "benchmark's own"
    ),
    Case("a method that differs in capitals", partial(variant_named, "method", "vae", "VAE"), "capitals alone"),
    Case("a variant by the name of a method", partial(variant_named, "method", "vae", "ae"), "'ae' is a variant here"),
    Case("a variant of itself", partial(variant_named, "method", "mine", "mine"), "unknown method 'mine'"),
    Case("a variant of a variant", partial(variant_named, "method", "rae-l2-gmm", "m"), "unknown method 'rae-l2-gmm'"),
    Case("a variant of a path", partial(variant_named, "method", "../../x", "m"), r"unknown method '../../x'"),
    Case(
        "a base that is a list", partial(added, '\n[methods.m]\nbase = ["vae"]\n'), r"methods.m.base: \['vae'\] is not"
    ),
    Case("--methods with a path", partial(given, "--methods", "../../outside/x"), "unknown method"),
    Case("--datasets with a path", partial(given, "--datasets", "../../outside/x"), "unknown data set"),
    Case("--suite with a path", partial(call, "run", "--suite", "../../outside", "--dry-run"), "unknown suite"),
    Case("--seeds of 5,000 digits", partial(given, "--seeds", HUGE), "not a valid integer"),
    Case("--seeds below 0", partial(given, "--seeds", "-1"), "--seeds: -1 is not valid"),
    Case("--seeds of 64 bits", partial(given, "--seeds", str(2**63)), "--seeds: 9223372036854775808 is not valid"),
]
CASES += [
    Case(f"seeds = {what}", partial(changed, "seeds = [0]", f"seeds = {value}"), told)
    for what, value, told in (
        ("5", "5", "suites.s.seeds: 5 is not valid: give a list"),
        ("-1", "[-1]", r"suites.s.seeds.0: -1 is not valid"),
        ("1.0", "[1.0]", r"suites.s.seeds.0: 1.0 is not valid"),
        ("true", "[true]", r"suites.s.seeds.0: True is not valid"),
        ("a text", '["0"]', r"suites.s.seeds.0: '0' is not valid"),
        ("5,000 digits", f"[{HUGE}]", "not valid TOML: Exceeds the limit"),
        ("5,000 hexadecimal digits", f"[{HEX}]", r"suites.s.seeds\[0\]: is not valid: an integer has at most 64 bits"),
        ("the same twice", "[1, 1]", "suites.s.seeds: names 1 twice"),
        ("100,001 seeds", str(list(range(100_001))), "suites.s.seeds: .* at most 100000"),
        ("lists in lists", "[" * 50_000, "not valid TOML"),
    )
]
CASES += [
    Case(f"{what} = {value[:20]}", partial(changed, old, f"{what} = {value}"), told)
    for what, old, value, told in (
        ("methods", 'methods = ["vae"]', '"vae"', "suites.s.methods: 'vae' is not valid: give a list"),
        ("methods", 'methods = ["vae"]', '["vae", "vae"]', "suites.s.methods: names 'vae' twice"),
        ("methods", 'methods = ["vae"]', "[1979-05-27]", "no setting is a date"),
        ("datasets", 'datasets = ["digits"]', "{a = 1}", "suites.s.datasets: .* is not valid: give a list"),
        ("description", 'description = "theirs"', "5", "suites.s.description: 5 is not valid"),
        ("description", 'description = "theirs"', '"' + "x" * 500_000 + '"', "at most 4,096 characters"),
    )
]
CASES += [
    Case(f"{table}: {line[:30]}", partial(setting, table, line), told)
    for table, line, told in (
        ("train", f"epochs = {10**12}", "epochs: 1000000000000 is not valid: .*10000000"),
        ("train", f"epochs = {HUGE}", "not valid TOML: Exceeds the limit"),
        ("train", f"epochs = {HEX}", "suites.s.train.epochs: is not valid: an integer has at most 64 bits"),
        ("train", "epochs = 1979-05-27", "suites.s.train.epochs: .* no setting is a date"),
        ("train", "epochs = 12:00:00", "suites.s.train.epochs: .* no setting is a date"),
        ("train", "epochs = true", "epochs: True is not valid"),
        ("train", "learning_rate = nan", "learning_rate: nan is not valid: a number is finite"),
        ("train", "width = inf", "width: inf is not valid: a number is finite"),
        ("train", "width = 1e999", "width: inf is not valid: a number is finite"),
        ("train", "width = 1e9", "width: 1000000000.0 is not valid: .*64"),
        ("train", f"threads = {10**9}", "threads: 1000000000 is not valid: .*1024"),
        ("train", f"batch_size = {10**18}", "batch_size: 1000000000000000000 is not valid"),
        ("train", f"latent = {10**9}", "latent: 1000000000 is not valid: .*16384"),
        ("train", f'network = "{"x" * 5000}"', "network: 'xxx.* at most 4,096 characters"),
        ("train", f"{'k' * 100_000} = 1", "the key 'kkk.* has more than 64 characters"),
        ("train", '"a\\u0000b" = 1', r"train.a\\x00b: unknown key"),
        ("train", '"\\u001b[31mred" = 1', r"train.\\x1b\[31mred: unknown key"),
        ("evaluate", f"samples = {10**15}", "samples: 1000000000000000 is not valid"),
        ("evaluate", 'metrics = "../x"', "metrics: '../x' is not valid"),
        ("evaluate", 'extractor = "../../x"', "unknown feature extractor '../../x'"),
        ("run", "gpus_per_job = inf", "gpus_per_job: inf is not valid"),
        ("method", "vae = 3", r"suites.s.method.vae: must be a table, written \[suites.s.method.vae\]"),
        ("method.vae", "digits = 3", "suites.s.method.vae.digits: unknown key"),
        ("method.vae", "beta = {a = {b = {c = {d = {e = 1}}}}}", "is nested more than 8 deep"),
        ("dataset.digits", "seeds = [true]", "suites.s.dataset.digits.seeds.0: True is not valid"),
    )
]
CASES += [
    Case(
        "a key of 100,000 parts", partial(whole, b"a" + b".a" * 100_000 + b" = 1"), "line 1: has more than 1,000 dots"
    ),
    Case("tables in 500 tables", partial(whole, b"[a" + b".a" * 500 + b"]"), "is nested more than 8 deep"),
    Case("10 MB of brackets", partial(whole, b"a = " + b"[" * 10_000_000), "has more than 1,000,000 bytes"),
    Case("a configuration in UTF-16", partial(whole, "a = 1".encode("utf-16")), "is not UTF-8"),
    Case("a configuration with a NUL", partial(whole, b'a = "\0"'), "not valid TOML"),
    Case("a configuration that is a pickle", lambda: whole(pickled()), "is not UTF-8|not valid TOML"),
    Case("a configuration without end", partial(call, "list", "suites", "--config", "/dev/zero"), "no such|is no file"),
    Case("suites = 5", partial(whole, b"suites = 5"), r"suites: must be a table, written \[suites\]"),
    Case("packages = 5", partial(whole, b"packages = 5"), "packages: 5 is not valid: give a list"),
    Case("packages = [5]", partial(whole, b"packages = [5]\n[suites.s]"), "packages.0: 5 is not valid"),
    Case("a package with a NUL", partial(whole, b'packages = ["a\\u0000b"]\n[suites.s]'), r"a\\x00b is not a folder"),
]
CASES += [
    Case(f"--set {text[:30]}", partial(given, f"--set={text}"), told)
    for text, told in (
        (f"epochs={HUGE}", "is not valid: Exceeds the limit"),
        (f"epochs={HEX}", "epochs: is not valid: an integer has at most 64 bits"),
        (f"epochs={'[' * 50_000}", "is not valid"),
        ("epochs=1979-05-27", "no setting is a date"),
        ("epochs=3\nthreads=2", r"epochs: '3\\nthreads=2' is not valid"),
        ("width=nan", "width: nan is not valid: a number is finite"),
        ("seeds.x=1", "'seeds' is no table"),
        ("..=1", "write key=value"),
        (f"{'a.' * 5000}b=1", "write key=value"),
        ("suites.other.seeds=[1]", "unknown key"),
        ("network='../../x'", "unknown network '../../x'"),
    )
]


# --- plug-ins ----------------------------------------------------------------------------------------------


def plugged(content: bytes, name: str = "theirs.py") -> Told:
    Path(name).write_bytes(content)
    return call("list", "methods", "--plugin", name)


def plugin_run(name: str) -> Told:
    bench()
    return call(*RUN, "--plugin", plugin(name, begin=SPRING))


def listed_is_not_run() -> Told:
    return call("list", "methods", "--plugin", plugin(begin=SPRING))


def unnamed_is_not_run() -> Told:
    Path("theirs").mkdir()
    os.replace(plugin(begin=SPRING), "theirs/evil.py")
    bench("", ("packages = [", 'packages = ["theirs", '))
    return call("run", "--suite", "s", "--dry-run")


def plugin_that_exits() -> Told:
    bench()
    return call(*RUN, "--plugin", plugin(begin="import sys\nsys.exit(0)\n"), "--methods", "theirs")


def described(text: str) -> Told:
    return call("list", "methods", "--plugin", plugin(description=text))


def installed(value: str, package: str) -> Told:
    """A package that names a module of itself as a plug-in, listed."""
    site = Path("site").resolve()
    (site / "theirs-1.dist-info").mkdir(parents=True)
    (site / "theirs-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (site / "theirs-1.dist-info" / "entry_points.txt").write_text(f"[lvm_bench.plugins]\nany = {value}\n")
    (site / "theirs_pkg").mkdir()
    (site / "theirs_pkg" / "__init__.py").write_text(package)
    os.replace(plugin(begin=SPRING), site / "theirs_pkg" / "inner.py")
    sys.path.insert(0, str(site))
    try:
        return call("list", "methods")
    finally:
        sys.path.remove(str(site))


CASES += [
    Case("a plug-in that is only listed", listed_is_not_run, "theirs +Theirs", (0,)),
    Case("a plug-in of the packages that no suite names", unnamed_is_not_run, "1 run.", (0,)),
    Case("a plug-in inside a package", partial(installed, "theirs_pkg.inner", SPRING), "theirs +Theirs", (0,)),
    Case("an entry point that is a path", partial(installed, "../../evil", ""), "there is no such module"),
    Case("an entry point that is missing", partial(installed, "theirs_pkg.gone", SPRING), "there is no such module"),
    Case("a plug-in whose method climbs", partial(plugin_run, "../../outside/x"), REFUSED),
    Case("a plug-in whose method is a control", partial(plugin_run, "standard-normal"), "benchmark's own"),
    Case("a plug-in whose method differs in capitals", partial(plugin_run, "Vae"), "capitals alone"),
    Case("a plug-in whose method is taken", partial(plugin_run, "vae"), "already registered"),
    Case("a plug-in that ends the process", plugin_that_exits, "theirs.py, line 2: raised SystemExit"),
    Case("a plug-in that is a pickle", lambda: plugged(pickled()), "is not UTF-8|not valid Python"),
    Case("a plug-in by the name of a pickle", lambda: plugged(pickled(), "theirs.pkl"), "not a Python file"),
    Case("a plug-in with a NUL", partial(plugged, b"a = 1\0\n"), "not valid Python"),
    Case("a plug-in of 5 MB", partial(plugged, b"#" * 5_000_000), "has more than 1,000,000 bytes"),
    Case("a plug-in nested by brackets", partial(plugged, b"x = " + b"(" * 100_000), "not valid Python"),
    Case("a plug-in nested by signs", partial(plugged, b"x = " + b"-" * 500_000 + b"1"), "not valid Python"),
    Case("a plug-in nested by attributes", partial(plugged, b"x = a" + b".a" * 200_000), "not valid Python"),
    Case("a plug-in that is a folder", partial(call, "list", "methods", "--plugin", "."), "not a Python file"),
    Case("a plug-in without end", partial(call, "list", "methods", "--plugin", "/dev/zero"), "not a Python file"),
    Case("a description that steers the terminal", partial(described, "\x1b]0;x\x07\x9b2J\u202e"), r"\\x1b\]0;x", (0,)),
]


# --- data --------------------------------------------------------------------------------------------------


def loaded(name: str, **options: Any) -> Told:
    from lvm_bench.data.images import load

    return attempt(lambda: load(name, Path("data"), options=options))


def npz(content: bytes) -> Told:
    Path("data").mkdir()
    Path("data/theirs.npz").write_bytes(content)
    return loaded("npz", path="theirs.npz")


def archive(member: bytes, *, name: str = "images.npy", kind: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", kind) as content:
        content.writestr(name, member)
    return out.getvalue()


def array(shape: tuple[int, ...], content: bytes, kind: str = "|u1") -> bytes:
    """An array of numpy's, whose header may lie."""
    header = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def objects() -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([_Runs()] * 9, object), allow_pickle=True)
    return out.getvalue()


def locked() -> bytes:
    content = bytearray(archive(array((9, 4, 4), bytes(144))))
    central = content.rindex(b"PK\x01\x02")
    content[6] |= 1
    content[central + 8] |= 1
    return bytes(content)


def overstated() -> bytes:
    """An archive that says it would unpack to a terabyte."""
    content = bytearray(archive(array((10**6, 1000, 1000), bytes(100)), kind=zipfile.ZIP_DEFLATED))
    central = content.rindex(b"PK\x01\x02")
    content[central + 24 : central + 28] = struct.pack("<I", 2**32 - 2)
    return bytes(content)


def pictures(name: str, content: bytes, **options: Any) -> Told:
    Path("data/theirs").mkdir(parents=True)
    Path("data/theirs", name).write_bytes(content)
    return loaded("folder", path="theirs", **options)


def png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is this large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@contextmanager
def official(name: str, *contents: bytes) -> Iterator[None]:
    """Other contents, with the right checksums, in the place of the official files of a data set."""
    from lvm_bench.registry import DATASETS

    function = DATASETS[name]
    before, files = function.info, []
    for file, content in zip(before.files, contents, strict=True):
        Path("data", file.path).parent.mkdir(parents=True, exist_ok=True)
        Path("data", file.path).write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        files.append(dataclasses.replace(file, checksum=f"sha256:{sha256}", size=len(content)))
    function.info = dataclasses.replace(before, files=tuple(files))
    try:
        yield
    finally:
        function.info = before


def release(name: str, *contents: bytes) -> Told:
    with official(name, *contents):
        return loaded(name)


def tar(*members: tuple[str, bytes, str]) -> bytes:
    """Members with a name, contents, and what they are a symbolic link to, if anything."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as content:
        for name, inside, link in members:
            member = tarfile.TarInfo(name)
            member.size = len(inside)
            if link:
                member.type, member.linkname = tarfile.SYMTYPE, link
            content.addfile(member, io.BytesIO(inside))
    return out.getvalue()


def exchanged_weights(content: bytes) -> Told:
    """Weights of Inception that were exchanged after their checksum was verified."""
    from lvm_bench.data.images import load
    from lvm_bench.evaluation import features

    Path("weights.pth").write_bytes(content)
    data = load("digits", Path(), options={}, train_images=20, validation_images=10, test_images=10)
    before, features.require = features.require, lambda name, root: [Path("weights.pth")]
    try:
        return attempt(lambda: features.inception(features.Request(data, Path(), "cpu", 1)))
    finally:
        features.require = before


@contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A web server on the loopback interface; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(ConnectionError):
                answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = False
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}/weights"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def fetched(url: str) -> Told:
    """Inception's weights from another address."""
    from lvm_bench.data import files

    before = files.WEIGHTS
    files.WEIGHTS = dataclasses.replace(before, url=url, path="inception/w", size=10)
    proxies = {key: os.environ.pop(key) for key in list(os.environ) if key.lower().endswith("_proxy")}
    try:
        told = call("data", "fetch", "inception", "--data", "data")
    finally:
        files.WEIGHTS = before
        os.environ.update(proxies)
    assert not Path("data/inception/w").exists()
    return told


def redirected(to: str) -> Told:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", to)
        request.send_header("Content-Length", "0")
        request.end_headers()

    with server(answer) as url:
        return fetched(url)


def flooded() -> Told:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        for _ in range(100):
            request.wfile.write(bytes(1 << 20))

    with server(answer) as url:
        return fetched(url)


UNREADABLE = r"theirs.npz: cannot be read as .npz"
PICTURE = r"cannot be used as an image"
CASES += [
    Case("an .npz that is a pickle", lambda: npz(pickled()), UNREADABLE),
    Case("an .npz of pickled objects", lambda: npz(archive(objects())), "array .images.: holds Python objects"),
    Case("an .npz that promises a terabyte", lambda: npz(archive(array((10**12,), bytes(9)))), "promises uint8"),
    Case("an .npz of fewer than no images", lambda: npz(archive(array((-3, -3), bytes(9)))), "promises uint8"),
    Case("an .npz that would unpack to a terabyte", lambda: npz(overstated()), UNREADABLE),
    Case("an .npz with a header of megabytes", lambda: npz(archive(b"\x93NUMPY\x02\x00\xff\xff\xff\x7f")), UNREADABLE),
    Case("an .npz with code in its header", lambda: npz(archive(array((9,), b"", "os.mkdir('../ran')"))), UNREADABLE),
    Case("an .npz with a password", lambda: npz(locked()), UNREADABLE),
    Case("an .npz cut short", lambda: npz(archive(array((9, 4, 4), bytes(144)))[:-30]), UNREADABLE),
    Case(
        "an .npz with a member that climbs", lambda: npz(archive(b"x", name="../../outside/x")), "has no array 'images'"
    ),
    Case("an .npz by a path with a NUL", partial(loaded, "npz", path="a\0b"), "cannot be read"),
    Case("an .npz without end", partial(loaded, "npz", path="/dev/zero"), "it is no file"),
    Case("a picture of 50,000 x 50,000", lambda: pictures("x.png", png(50_000, 50_000)), PICTURE),
    Case("a picture of 10,000 x 10,000", lambda: pictures("x.png", png(10_000, 10_000)), PICTURE),
    Case(
        "a picture that is PostScript",
        partial(pictures, "x.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        PICTURE,
    ),
    Case("a picture that is a pickle", lambda: pictures("x.jpg", pickled()), PICTURE),
    Case("pictures of 10^9 x 10^9", lambda: pictures("x.png", png(8, 8), size=10**9), "size = 1000000000"),
    Case("a grid of 10^30 images", partial(loaded, "sprites", factor_sizes=(3, *[10**9] * 4)), "a grid of"),
    Case("sprites of 10^9 x 10^9", partial(loaded, "sprites", size=10**9), "too many pixels"),
    Case(
        "a CelebA of other members",
        lambda: release("celeba", archive(b"x", name="../../outside/x"), b"../../x 0\n"),
        "not the official file",
    ),
    Case("a CelebA that is no text", lambda: release("celeba", archive(b"x"), b"\xff\xfe\0"), "not the official file"),
    Case(
        "a CIFAR-10 of absolute members",
        lambda: release("cifar10", tar(("/tmp/lvm-bench-attack", b"x", ""))),
        "not the official file",
    ),
    Case(
        "a CIFAR-10 of links",
        lambda: release("cifar10", tar(("data_batch_1.bin", b"", "/etc/passwd"))),
        "not the official file",
    ),
    Case("a CIFAR-10 that is a pickle", lambda: release("cifar10", pickled()), "not the official file"),
    Case(
        "an MNIST that promises 2^32 images",
        lambda: release("mnist", *[_gzip(b"\0\0\x08\x03" + b"\xff" * 12)] * 4),
        "not the official file",
    ),
    Case(
        "a dSprites of pickled objects",
        lambda: release("dsprites", archive(objects(), name="latents_classes.npy")),
        "not the official file",
    ),
    Case("a 3D Shapes that is a pickle", lambda: release("shapes3d", pickled()), "not the official file"),
    Case("weights that are a pickle", lambda: exchanged_weights(pickled()), "holds something else than weights"),
    Case(
        "weights that hold a pickle", lambda: exchanged_weights(_torch_archive()), "holds something else than weights"
    ),
    Case("a download over http", partial(fetched, "http://example.invalid/w"), "is no https address"),
    Case("a download of a local file", partial(fetched, "file:///etc/passwd"), "is no https address"),
    Case("a redirect to http", partial(redirected, "http://example.invalid/w"), "is no https address"),
    Case("a redirect to a local file", partial(redirected, "file:///etc/passwd"), "is no https address|not allowed"),
    Case(
        "a redirect to a disguised address",
        partial(redirected, "http://127.0.0.1@example.invalid/w"),
        "is no https address",
    ),
    Case("a redirect to nothing", partial(redirected, "https://["), "could not be downloaded"),
    Case("a download without end", flooded, "could not be downloaded"),
]


def _gzip(content: bytes) -> bytes:
    import gzip

    return gzip.compress(content, mtime=0)


def _torch_archive() -> bytes:
    import torch

    out = io.BytesIO()
    torch.save({"weight": _Runs()}, out)
    return out.getvalue()


# --- results -----------------------------------------------------------------------------------------------

SCORES = "dataset,method,seed,metric,value,digest\n{}\n"
OURS = Path("results", "s", "runs", "digits", "vae", "seed-0")


FACTS = {
    **dict.fromkeys(("latent", "heldout", "reference", "samples", "kid_subsets", "kid_subset_size"), 8),
    "heldout_split": "test split",
    "reference_split": "training split",
}


def job(**changes: Any) -> dict[str, Any]:
    """A record of the run that the suite is about to begin."""
    ours = resolve(Path("bench.toml"), "s", settings=tuple(text.removeprefix("--set=") for text in TINY[:5])).jobs[0]
    known = {
        "suite": ours.suite,
        "dataset": ours.dataset,
        "method": ours.method,
        "seed": ours.seed,
        "status": "done",
        "settings": ours.scores_settings(),
        "conditions": ours.conditions,
        "digest_weights": disk.digest(ours.weights_settings()),
        "digest_scores": disk.digest(ours.scores_settings()),
        "plan": ours.plan.model_dump(),
        "facts": FACTS,
        "extractor": None,
        "fingerprint": "0" * 64,
        "environment": {"versions": {}, "commit": None, "device": "x", "host": "x", "threads": 2, "date": ""},
        "earlier_environments": [],
        "files": {},
    }
    return {**known, **changes}


def reported(file: str, content: bytes) -> Told:
    """A finished run of a stranger's with one file of theirs among sound ones, in the report."""
    bench()
    sound = {"scores.json": b'{"mse.train": 1.0}', "history.csv": b"epoch\n1\n"}
    OURS.mkdir(parents=True)
    for name, holds in {**sound, file: content}.items():
        (OURS / name).write_bytes(holds)
    files = {name: disk.fingerprint(OURS / name) for name in {*sound, file}}
    disk.write_record(OURS / "job.json", job(files=files))
    told = call("report", "--suite", "s")
    assert not [tex for tex in Path("results").rglob("*.tex") if "\\input{evil}" in tex.read_text()]
    return told


def sealed(text: str) -> Told:
    """Any JSON as a record with the right seal, read."""
    seal = hashlib.sha256(("{\n" + text).encode()).hexdigest()
    Path("job.json").write_text(f'{{\n  "seal": "{seal}",\n{text}')
    return attempt(lambda: disk.read_record(Path("job.json")))


def other_record(*command: str, **changes: Any) -> Told:
    """A record of other things than a run writes: read, or found by a command."""
    bench()
    disk.write_record(OURS / "job.json", job(**changes))
    return call(*command) if command else attempt(lambda: checked_record(OURS, ("digits", "vae", 0)))


def leased(**changes: Any) -> Told:
    """A lease of a stranger's, looked at as listings do."""
    from lvm_bench.runs.layout import LEASE
    from lvm_bench.runs.lease import is_alive

    lease = {"host": platform.node(), "machine": "x", "pid": 1, "doing": {}, **changes}
    Path(LEASE).write_text(json.dumps(lease).replace('"DEEP"', "[" * 100_000))
    return attempt(lambda: is_alive(Path()))


def resumed() -> Told:
    """A checkpoint that is a pickle, with the right checksum at its end."""
    from lvm_bench.training.checkpoint import Checkpoints

    content = pickled()
    Path("resume.safetensors").write_bytes(content + hashlib.sha256(content).digest())
    said: list[str] = []
    state = Checkpoints(Path(), "identity", 30.0, said.append).latest()
    return Told(0 if state else 1, "\n".join(said))


def weights_of_a_stranger() -> Told:
    """A trained model that is a pickle, with the right fingerprint, about to be scored."""
    from lvm_bench.data.images import load

    bench()
    data = load("digits", Path(), options={}, train_images=200, validation_images=20, test_images=20)
    OURS.mkdir(parents=True)
    names = ("history.csv", "model.safetensors", "best.safetensors")
    for name in names:
        (OURS / name).write_bytes(pickled())
    files = {name: disk.fingerprint(OURS / name) for name in names}
    disk.write_record(OURS / "job.json", job(status="trained", files=files, fingerprint=data.fingerprint))
    return call(*RUN)


def linked(link: Path, *command: str) -> Told:
    """A link out of the results in the place of one of their folders, and scores beside it."""
    bench()
    if link.parent == Path("results/s"):
        link.parent.mkdir(parents=True)
        (link.parent / "scores.csv").write_text(SCORES.format("digits,vae,0,mse.train,1.0,d"))
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(Path("../outside").resolve())
    return call(*command)


def folder_named(name: str) -> Told:
    """A finished run by a name of theirs, in the report."""
    bench()
    place = Path("results", "s", "runs", "digits", name, "seed-0")
    disk.write_record(place / "job.json", job(method=name))
    disk.write_json(place / "scores.json", {"mse.train": 1.0})
    return call("report", "--suite", "s")


def suite_folder_named(name: str) -> Told:
    place = Path("results", name)
    place.mkdir(parents=True)
    (place / "scores.csv").write_text(SCORES.format("digits,vae,0,mse.train,1.0,d"))
    return call("report")


def gathered(line: str) -> Told:
    """A committed table with a row of theirs, reported; what LaTeX and HTML were written."""
    Path("results/s").mkdir(parents=True)
    Path("results/s/scores.csv").write_text(SCORES.format(line), encoding="utf-8")
    told = call("report", "--suite", "s")
    written = "".join(file.read_text() for file in Path("results").rglob("*.tex"))
    assert "\\input{evil}" not in written, "LaTeX of theirs was written"
    assert "<script>" not in "".join(file.read_text() for file in Path("results").rglob("*.html"))
    return told


CLIMBING = {"../../../../../../outside/kept": {"bytes": 9, "sha256": "0" * 64}}
REPORT = ("report", "--suite", "s")


def nested(depth: int) -> dict[str, Any]:
    """A table in a table in a table."""
    return {"a": nested(depth - 1)} if depth else {}


DEEP = '"a": ' + "[" * 100_000 + "]" * 100_000 + "}"
CASES += [
    Case("a record nested 100,000 deep", partial(sealed, DEEP), "job.json: "),
    Case("a record with a number of 5,000 digits", partial(sealed, f'"a": {HUGE}}}'), "job.json: "),
    Case("a record that is no table of values", partial(sealed, '"a": 1}, 2'), "job.json: "),
    Case("a record of other types", partial(other_record, files=5, plan=3), "job.json: not the record of a run"),
    Case("a record of no state", partial(other_record, status="../x"), "job.json: not the record of a run .status"),
    Case(
        "a record whose files climb", partial(other_record, files=CLIMBING), "job.json: not the record of a run .files"
    ),
    Case("a record of nested settings", partial(other_record, *RUN, settings=nested(150)), "", (0, 1)),
    Case("a record of other types, run", partial(other_record, *RUN, files=5), "job.json: not the record", (0, 1)),
    Case("a record whose files climb, run", partial(other_record, *RUN, files=CLIMBING), "job.json: not the", (0, 1)),
    Case("a record of other types, reported", partial(other_record, *REPORT, files=5), "job.json: not the record"),
    Case(
        "a record of other types, listed",
        partial(other_record, "list", "runs", files=5),
        "damaged .*job.json: not the record",
        (0,),
    ),
    Case("a record of other types, verified", partial(other_record, "verify", files=5), "job.json: not the record"),
    Case("a record whose files climb, verified", partial(other_record, "verify", files=CLIMBING), "job.json: not the"),
    Case("a lease nested 100,000 deep", partial(leased, doing="DEEP"), "", (0,)),
    Case("a lease of a process of 100 digits", partial(leased, pid=10**100), "", (0,)),
    Case("a checkpoint that is a pickle", resumed, "not a checkpoint"),
    Case("a model that is a pickle", weights_of_a_stranger, "FAILED: .*model.safetensors"),
    Case("pictures that are a pickle", lambda: reported("images.npz", pickled()), "images.npz"),
    Case(
        "pictures that are pickled objects",
        lambda: reported("images.npz", archive(objects(), name="real.npy")),
        "images.npz",
    ),
    Case("scores of LaTeX", lambda: reported("scores.json", b'{"\\\\input{evil}": 1.0}'), "scores.json"),
    Case("scores of 100,000 lists", lambda: reported("scores.json", b"[" * 100_000), "scores.json"),
    Case("scores that are a pickle", lambda: reported("scores.json", pickled()), "scores.json"),
    Case("a history of HTML", lambda: reported("history.csv", b"epoch,<script>\n\xff,1\n"), "history.csv"),
    Case("a suite's folder that leads out", partial(linked, Path("results/s"), *RUN), "leads it out of results"),
    Case("a run's folder that leads out", partial(linked, OURS, *RUN), "leads it out of results"),
    Case("a folder of tables that leads out", partial(linked, Path("results/s/tables"), *REPORT), "leads it out of"),
    Case("a site that leads out", partial(linked, Path("results/site"), *REPORT), "leads it out of"),
    Case("a folder of runs that leads out", partial(linked, Path("results/s/runs"), *REPORT), "leads it out of"),
    Case("a report of a folder above", partial(call, "report", "--suite", "../.."), "no results"),
    Case("a table that climbs", partial(call, "report", "--tables", "../../outside/x"), "Unknown table"),
    Case("a source that climbs", partial(call, "report", "--against", "../../../etc/passwd"), "nknown"),
    Case("a check of a pickle", partial(call, "check", "theirs.pkl"), "not a Python file"),
    Case("a file's name of an escape sequence", partial(call, "check", "\x1b[2J.py"), r"\\x1b\[2J.py: cannot be read"),
    Case("a file's name that is no text", partial(call, "check", "\udcff.py"), r"\\udcff.py: cannot be read"),
    Case(
        "a download of a path", partial(call, "data", "fetch", "../../x"), "nothing to download by the name '../../x'"
    ),
    Case("a time budget of 5,000 digits", partial(given, "--time-budget", f"{HUGE}h"), "--time-budget '99.*: write"),
    Case("a lock that leads out", partial(linked, OURS / ".lock", *RUN), "leads it out of|symbolic link"),
    Case("a method's folder of mathematics", partial(folder_named, "$x^{"), "", (0, 1)),
    Case("a method's folder of an escape sequence", partial(folder_named, "\x1b[2J"), "", (0, 1)),
    Case("a suite's folder of markup", partial(suite_folder_named, "[bold"), "no results here"),
    Case("committed scores of LaTeX", partial(gathered, "digits,\\input{evil},0,mse.train,1.0,d"), REFUSED),
    Case("committed scores of HTML", partial(gathered, "digits,<script>,0,mse.train,1.0,d"), REFUSED),
    Case("committed scores of a long seed", partial(gathered, f"digits,vae,{HUGE},mse.train,1.0,d"), "scores.csv"),
]
