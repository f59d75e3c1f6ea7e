"""Where a given model comes from, as `--model` says it: FILE.py:NAME, pythae:FOLDER, diffusers:FOLDER, run:FOLDER."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from lvm_bench.errors import UserError
from lvm_bench.models import of_diffusers, of_file, of_pythae, of_run

FORMS = "FILE.py:NAME, pythae:FOLDER, diffusers:FOLDER or run:FOLDER"


class Source(NamedTuple):
    """How models of one kind are opened, and which files they come from."""

    opened: Callable[[str], Any]
    files: Callable[[str], list[Path]]


KINDS = {
    "pythae": Source(of_pythae.opened, of_pythae.files),
    "diffusers": Source(of_diffusers.opened, of_diffusers.files),
    "run": Source(of_run.opened, of_run.files),
}

FILE = Source(of_file.opened, of_file.files)


def opened(text: str) -> Any:
    """The model that `--model` names: an object with `encode` and `decode`. UserError with a sentence for any other."""
    source, rest = _parsed(text)
    return source.opened(rest)


def files(text: str) -> list[Path]:
    """The files that a model comes from. Their checksums are part of its run's identity."""
    source, rest = _parsed(text)
    return source.files(rest)


def _parsed(text: str) -> tuple[Source, str]:
    kind, sign, rest = text.partition(":")
    if kind in KINDS and rest:
        return KINDS[kind], rest
    if sign and ".py:" in text:
        return FILE, text
    raise UserError(f"--model {text}: names no model. Give {FORMS}.")
