"""The image files below a folder: through links, without what is hidden, with a word about what is left out."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lvm_bench.errors import UserError
from lvm_bench.text import counted, listed

# Folders that systems make: Windows, macOS archives, network storages (with small copies of every image).
SYSTEM_FOLDERS = {"$RECYCLE.BIN", "System Volume Information", "__MACOSX", "@eaDir"}
# A folder that holds nothing but these describes the images, and is no class of them.
COMPANIONS = {".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".toml", ".html", ".log", ".db", ".ini"}


class ImageFiles(NamedTuple):
    """The images of a folder in the order of their paths, relative to it, and notes on what was left out."""

    images: list[Path]
    notes: list[str]


def image_files(home: Path, suffixes: set[str], key: str) -> ImageFiles:
    """The files below a folder with one of these suffixes. Links are followed; what is hidden is left out.

    UserError if there are none, for a sub-folder of files none of which is read, and for a link that leads nowhere.
    `key` is the setting that names the folder.
    """
    loops: list[Path] = []
    files = sorted(file.relative_to(home) for file in _files(home, [Path(os.path.realpath(home))], loops))
    images = [file for file in files if file.suffix.lower() in suffixes]
    others = [file for file in files if file.suffix.lower() not in suffixes]
    if not images:
        found = f" It holds {_by_suffix(others)}; convert these." if others else ""
        raise UserError(
            f"{home}: holds no image ({', '.join(sorted(suffixes))}).{found} Hidden files and folders are left out. "
            f"Set {key} to a folder of images."
        )
    _check_none_vanishes(home, images, others, suffixes)
    notes = []
    if len({file.suffix.lower() for file in images}) > 1:
        notes.append(f"{home}: {counted(len(images), 'image')} read: {_by_suffix(images)}.")
    if others:
        notes.append(f"{home}: {counted(len(others), 'file')} left out, not read as images: {_by_suffix(others)}.")
    if loops:
        notes.append(f"{home}: left out, as they lead back to where they lie: the links {listed(loops)}.")
    return ImageFiles(images, notes)


def _files(folder: Path, above: list[Path], loops: list[Path]) -> Iterator[Path]:
    """The files in a folder and below it. `above` are the real paths of the folder and of those that led to it."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}). Check its permissions.") from error
    for entry in entries:
        if entry.name.startswith(".") or entry.name in SYSTEM_FOLDERS:
            continue
        if entry.is_symlink() and not entry.exists():
            raise UserError(f"{entry}: this link leads nowhere. Mend or remove it.")
        if entry.is_file():
            yield entry
        elif entry.is_dir():
            real = Path(os.path.realpath(entry))
            if any(other.is_relative_to(real) for other in above):
                loops.append(entry)
            else:
                yield from _files(entry, [*above, real], loops)


def _check_none_vanishes(home: Path, images: list[Path], others: list[Path], suffixes: set[str]) -> None:
    """UserError for a topmost sub-folder that holds files, and none that is read: it would be missing as a class."""
    kept = {file.parts[0] for file in images if len(file.parts) > 1}
    lost: dict[str, list[Path]] = {}
    for file in others:
        if len(file.parts) > 1 and file.parts[0] not in kept:
            lost.setdefault(file.parts[0], []).append(file)
    for name, files in lost.items():
        if any(file.suffix.lower() not in COMPANIONS for file in files):
            raise UserError(
                f"{home / name}: holds {_by_suffix(files)}, none of which is read as an image, so this class would be "
                f"missing. Convert them ({', '.join(sorted(suffixes))} are read), or move the folder elsewhere."
            )


def _by_suffix(files: list[Path]) -> str:
    """Files counted by their suffixes: `30 .heic, 2 .txt`."""
    counts = Counter(file.suffix.lower() or "without a suffix" for file in files)
    return listed(f"{count:,} {suffix}" for suffix, count in counts.most_common())
