"""Files are indexed by reading, loaded by path; names are unique and unknown ones are answered with the nearest."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lvm_bench import registry
from lvm_bench.errors import UserError, did_you_mean


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_index_reads_names_descriptions_and_options_without_importing(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "mine.py",
        "import lvm_bench as bench\n"
        'raise SystemExit("imported")\n'
        '@method("mine")\nclass Mine:\n    """First line.\n\n    More."""\n'
        '@bench.metric("score", better="lower", of=("fake",))\ndef score(x):\n    """Its line."""\n'
        '@app.method("get")\ndef get(x):\n    """Of another library."""\n',
    )
    entries = registry.index(file)
    assert [(e.kind, e.name, e.description) for e in entries] == [
        ("method", "mine", "First line."),
        ("metric", "score", "Its line."),
    ]
    assert entries[1].options == {"better": "lower"}


def test_index_names_the_line_of_a_syntax_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"bad\.py, line 2: not valid Python"):
        registry.index(write(tmp_path, "bad.py", "x = 1\ndef (:\n"))


def test_a_name_stands_once_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "twice.py"
    file.write_text("@method('a')\nclass A: ...\n\n@network('a')\ndef b(): ...\n\n@method('a')\nclass C: ...\n")
    with pytest.raises(UserError, match=r"twice\.py, line 8: registers the method 'a' again"):
        registry.index(file)


def test_load_keeps_sys_path_and_says_where_a_file_raised(tmp_path: Path) -> None:
    before = list(sys.path)
    with pytest.raises(UserError, match=r"broken\.py, line 2: raised ZeroDivisionError"):
        registry.load(write(tmp_path, "broken.py", "x = 0\ny = 1 / x\n"))
    registry.load(write(tmp_path, "json.py", "import json\nassert hasattr(json, 'dumps')\n"))
    assert sys.path == before


def test_a_name_stands_for_one_file(tmp_path: Path) -> None:
    names = registry.Registry("thing")
    names.register("a")(Path)
    names.register("a")(Path)
    with pytest.raises(UserError, match="already registered"):
        names.register("a")(pytest.raises)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    names = registry.Registry("method")
    names.register("avae")(Path)
    with pytest.raises(UserError, match=r"Unknown method 'avea'. Did you mean 'avae'\? Valid: avae\."):
        names["avea"]
    assert did_you_mean("zzz", ["b", "a"]) == " Valid: a, b."


def test_how_a_method_is_shown_is_no_part_of_its_code(tmp_path: Path) -> None:
    plain = b'x = "\xc3\xa9"\r\n@method("vae")\r\nclass VAE: ...\n\n@metric("m", better="lower")\ndef m(): ...\n'
    file = tmp_path / "vae.py"
    for written in (
        b'@method("vae")',
        b'@method("vae", label="VAE")',
        b'@method("vae", label="\xce\xb2 (a)", reference=True)',
    ):
        file.write_bytes(plain.replace(b'@method("vae")', written))
        assert registry.without_keywords(file, "method") == plain


def test_committed_runs_are_of_the_code_that_is_here() -> None:
    """Since commit 81f0bbb labels stand in the decorators: these digests are older, but for the AVAE's.

    It has its floor by latent since, and tells its density, which changes no run.
    """
    root = Path(__file__).parents[1]
    older = {
        "aae": "225c79102481", "autoencoder": "b1de47a6bd77", "avae": "065c7e531085", "beta_tcvae": "a26b3f521472",
        "factor_vae": "19d62474e506", "rae": "bd1dee96ba71", "vae": "e8a9328d532a", "wae": "06fbffbac8a1",
    }  # fmt: skip
    now = {
        name: hashlib.sha256(registry.without_keywords(root / "baselines" / f"{name}.py", "method")).hexdigest()[:12]
        for name in older
    }
    assert now == older
    about = json.loads((root / "results" / "mnist-small" / "about.json").read_text())
    committed = {environment["versions"].get("method") for environment in about["environments"]}
    assert {now[name] for name in ("aae", "autoencoder", "rae", "vae", "wae")} <= committed


def test_the_packages_own_is_loaded_when_it_is_asked_for() -> None:
    code = "from lvm_bench.registry import DATASETS; assert DATASETS['digits'].info.licence == 'CC BY 4.0'"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
