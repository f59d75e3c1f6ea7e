"""files.json: the committed files of a suite that `report` wrote, with their checksums.

What it renders from them, into the site, is listed nowhere: it can be made again at any time.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lvm_bench import disk
from lvm_bench.errors import RunError
from lvm_bench.runs.layout import (
    CHECKSUMS,
    CLAIMS,
    FIGURES,
    GATHERED,
    LEASE,
    LOCK,
    SUITE_REDRAWS,
    TABLES,
)
from lvm_bench.runs.record import Fingerprint, reason_of

READ = (*GATHERED, SUITE_REDRAWS)  # the last where runs were measured more than once

FILES = (*READ, CLAIMS)

FOLDERS = (TABLES, FIGURES)

RESTORE = "Restore it; or, when all its runs are here, delete it: `lvm-bench report` makes it again."

_NAME = re.compile(rf"(?:(?:{'|'.join(FOLDERS)})/)?[A-Za-z0-9][A-Za-z0-9._@-]*")

_COMMITTED = re.compile(rf"{'|'.join(map(re.escape, FILES))}|tables/[a-z-]+\.md|figures/(?:captions\.json|.+\.png)")

_FORMAT = TypeAdapter(dict[str, Fingerprint])


def read(suite: Path) -> dict[str, dict[str, Any]]:
    """The fingerprints of the files that `report` wrote, by path; {} where it never did. RunError when damaged."""
    file = suite / CHECKSUMS
    if not file.exists():
        return {}
    way = "Restore it; or delete it, to have the files beside it taken as they are."
    try:
        found = disk.read_record(file)
        _FORMAT.validate_python(found)
    except ValidationError as error:
        raise RunError(f"{file}: damaged, not what `report` writes ({reason_of(error)}). {way}") from error
    except RunError as error:
        raise RunError(f"{error} {way}") from error
    for name in found:
        if not _NAME.fullmatch(name):
            raise RunError(f"{file}: names {name!r}, which `report` never writes. {way}")
    return found


def is_committed(name: str) -> bool:
    """Whether a file with this path may be listed; lists of before the site hold rendered files too."""
    return bool(_COMMITTED.fullmatch(name))


def outputs(suite: Path) -> list[str]:
    """The files that `report` may have written, by path: those of its names, and all in its folders."""
    places = [suite / name for name in FILES]
    for folder in (suite / name for name in FOLDERS):
        if folder.is_dir() and not folder.is_symlink():
            places += sorted(folder.iterdir())
    files = (
        file
        for file in places
        if file.is_file() and not file.is_symlink() and not file.name.startswith((disk.TEMPORARY, LOCK, LEASE))
    )
    return [str(file.relative_to(suite)) for file in files]


def check(suite: Path, listed: dict[str, dict[str, Any]]) -> None:
    """RunError naming the files that `report` is to read again and that were changed since it wrote them."""
    faults = [
        f"{fault} {RESTORE}"
        for name in READ
        if name in listed and (suite / name).exists() and (fault := disk.fault(suite / name, listed[name]))
    ]
    if faults:
        raise RunError("\n".join(faults))


def write(suite: Path, listed: dict[str, dict[str, Any]], written: Iterable[Path]) -> None:
    """List these files, and those of before that are still there; of none there is no list."""
    kept = {name: known for name, known in listed.items() if (suite / name).is_file()}
    made = {os.path.relpath(file, suite).replace(os.sep, "/"): disk.fingerprint(file) for file in written}
    if kept or made:
        disk.write_record(suite / CHECKSUMS, kept | made)
    else:
        with disk.storage(suite / CHECKSUMS):
            (suite / CHECKSUMS).unlink(missing_ok=True)
