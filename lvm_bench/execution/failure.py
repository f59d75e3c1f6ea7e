"""The reason of a failed run, as a sentence that names the file and the line."""

from pathlib import Path
from types import TracebackType

import lvm_bench
from lvm_bench.errors import RunError, UserError
from lvm_bench.registry import DATASETS, EXTRACTORS, METHODS, METRICS, NETWORKS, source_file
from lvm_bench.text import of_error, one_line

PACKAGE = Path(lvm_bench.__file__).parent


def cause(error: BaseException) -> str:
    """The reason that an error gives for the end of a run, on one line.

    The sentences of the package's own RunError and UserError say it all. Any other error is told with its place.
    """
    if not isinstance(error, RunError | UserError):
        return where_in(error)
    raised, told = Path(_frames(error)[-1][0]) if error.__traceback__ else PACKAGE, one_line(str(error))
    return told if raised.is_relative_to(PACKAGE) else f"{place_of(error)}: {told or type(error).__name__}"


def where_in(error: BaseException) -> str:
    """`file, line n: Error: text`."""
    return f"{place_of(error)}: {of_error(error)}"


def place_of(error: BaseException) -> str:
    """`file, line n`: the deepest line of an extension's file in the traceback, else the deepest of all.

    An extension is a registered method, data set, network, metric or feature extractor.
    """
    kinds = (METHODS, DATASETS, NETWORKS, METRICS, EXTRACTORS)
    files = {source_file(thing) for kind in kinds for thing in kind.values()}
    frames = _frames(error)
    own = [frame for frame in frames if frame[0] in files]
    file, line = (own or frames)[-1]
    return f"{file}, line {line}"


def _frames(error: BaseException) -> list[tuple[str, int]]:
    """The file and the line of each frame of the traceback, the deepest last."""
    found, trace = [], error.__traceback__
    while isinstance(trace, TracebackType):
        found.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    return found


def told_once(fails: str, lines: list[str]) -> list[str]:
    """The lines `NAME {fails} REASON`, with a reason that several of them share in the first one alone."""
    first: dict[str, str] = {}
    parts = [line.partition(f" {fails} ") for line in lines]
    whose = [first.setdefault(reason, name) if reason else name for name, _, reason in parts]
    return [
        line if of == name else f"{name} {fails} The reason is that of {of}."
        for line, of, (name, *_) in zip(lines, whose, parts, strict=True)
    ]
