"""Small releases in exactly the official formats, and the real files if they are here."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lvm_bench.registry import DATASETS

REAL = Path(os.environ.get("LVM_BENCH_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Sequence[bytes]], Path]:
    """`release("mnist", contents)` writes contents in place of the official files and returns the data root."""
    root = tmp_path / "data"

    def put(name: str, contents: Sequence[bytes]) -> Path:
        function, files = DATASETS[name], []
        for file, content in zip(function.info.files, contents, strict=True):
            checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
            files.append(replace(file, checksum=checksum, size=len(content)))
            (root / file.path).parent.mkdir(parents=True, exist_ok=True)
            (root / file.path).write_bytes(content)
        monkeypatch.setattr(function, "info", replace(function.info, files=tuple(files)))
        return root

    return put


@pytest.fixture
def real() -> Callable[[str], Path]:
    """`real("mnist")` gives the folder that holds this folder of real files, or skips the test."""

    def find(folder: str) -> Path:
        if not (REAL / folder).is_dir():
            pytest.skip(f"no real {folder} files: set LVM_BENCH_TEST_DATA to a folder that holds {folder}/")
        return REAL

    return find
