"""Models of a user's own file: FILE.py:NAME is a class or function without arguments, or the model itself."""

from pathlib import Path
from typing import Any

from lvm_bench import registry
from lvm_bench.errors import UserError, did_you_mean
from lvm_bench.text import of_error


def opened(text: str) -> Any:
    """The model called NAME in FILE.py. UserError where there is none, and for an error of the file's own."""
    file, name = _parts(text)
    found = _named(file, name)
    for own in files(text):
        if not own.is_file():
            raise UserError(
                f"{file}: the files of {name} name {own}, which is not there. Put it there, or change them."
            )
    if hasattr(found, "encode") and not isinstance(found, type):
        return found
    try:
        return found()
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{registry.where(error, file)}: {name}() raised {of_error(error)}") from error


def files(text: str) -> list[Path]:
    """FILE.py, and the `files` that NAME lists, for instance those of its weights."""
    file, name = _parts(text)
    return [file, *map(Path, getattr(_named(file, name), "files", ()))]


def _parts(text: str) -> tuple[Path, str]:
    file, _, name = text.rpartition(":")
    return Path(file), name


def _named(file: Path, name: str) -> Any:
    module = registry.load(file)
    if not hasattr(module, name):
        public = [own for own, value in vars(module).items() if callable(value) and not own.startswith("_")]
        raise UserError(f"{file}: has no {name!r}.{did_you_mean(name, public)}")
    return getattr(module, name)
