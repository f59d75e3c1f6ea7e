"""The pictures that methods draw of themselves: grids of images."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from lvm_bench.report.figures.arrays import arrays_of, firsts, ordered
from lvm_bench.report.figures.blocks import Block, write_blocks
from lvm_bench.report.figures.files import Folder
from lvm_bench.report.figures.style import COLUMN, Picture, name, where
from lvm_bench.runs.layout import PICTURES
from lvm_bench.runs.record import Run
from lvm_bench.runs.score_files import Complain
from lvm_bench.runs.suite_record import About
from lvm_bench.text import check_name


def write(folder: Folder, about: About, runs: Iterable[Run], complain: Complain) -> list[Picture]:
    """A picture per grid of each data set and method, from the lowest seed that drew any."""
    pictures = []
    for dataset, methods in firsts(runs, PICTURES).items():
        for method in ordered(methods, about):
            run = methods[method]
            for words, images in (arrays_of(run, PICTURES, _grids, complain) or {}).items():
                title = f"{name(method)} {where(dataset, about.suite)}, seed {run.seed}: {words}"
                block = Block(words, [("", row) for row in images])
                file = write_blocks(folder, f"{dataset}-{method}-own-{words}", title, COLUMN, [[block]])
                pictures.append(Picture(file, title, _TEXT, dataset, method, from_runs=True))
    return pictures


def is_own(picture: Picture) -> bool:
    """Whether a picture is one of these."""
    return bool(picture.method) and picture.file.name.startswith(f"{picture.dataset}-{picture.method}-own-")


_TEXT = "Decoded images that the method itself chose to show: its docstring or its paper says what they are."


def _grids(stored: Any) -> dict[str, np.ndarray]:
    grids = {check_name("grid", key.removeprefix("grid-")): stored[key] for key in stored}
    for words, grid in grids.items():
        if grid.ndim != 5 or grid.dtype != np.uint8 or grid.shape[2] not in (1, 3) or not grid.size:
            raise ValueError(f"{words} is {grid.dtype} {grid.shape}, not uint8 [rows, columns, 1 or 3, h, w]")
    return grids
