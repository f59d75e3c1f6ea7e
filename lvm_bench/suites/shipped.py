"""The files that came with the package, as opposed to those that were dropped into its folders since."""

import importlib.metadata
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from lvm_bench import registry


def is_shipped(file: Path) -> bool:
    """Whether a file came with the package: an installed wheel lists its files, and git those of a checkout.

    Where neither lists the package, every file in its folders counts as shipped.
    """
    files = _shipped()
    return not files or file.resolve() in files


@cache
def _shipped() -> frozenset[Path]:
    """The Python files that came with the package; none where no list has them."""
    for listed in (_of_wheel, _of_checkout):
        files = frozenset(listed())
        if Path(registry.__file__).resolve() in files:
            return files
    return frozenset()


def _of_wheel() -> Iterator[Path]:
    try:
        files = importlib.metadata.files("lvm-bench")
    except importlib.metadata.PackageNotFoundError:
        return
    yield from (Path(str(file.locate())).resolve() for file in files or () if file.suffix == ".py")


def _of_checkout() -> Iterator[Path]:
    root, git = registry.PACKAGE.parent, ["git", "ls-files", "-z", "*.py"]
    try:
        told = subprocess.run(git, cwd=root, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return
    yield from (root / name for name in filter(None, told.split("\0")))
