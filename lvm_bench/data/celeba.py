"""CelebA, aligned and cropped, read directly from its zip archive."""

import io
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from lvm_bench.data.files import RemoteFile, require
from lvm_bench.data.folder import progress, square
from lvm_bench.data.images import Images, Outline, Splits, dataset
from lvm_bench.data.official import whole
from lvm_bench.data.processed import processed
from lvm_bench.registry import DATASETS

CROP, SIZE = 140, 64  # pixels; the crop of 178 x 218 has left 19, top 39, right 159, bottom 179


def _file(name: str, drive: str, md5: str, size: int) -> RemoteFile:
    """A file of the release, by its identifier in Google Drive."""
    return RemoteFile(
        f"celeba/{name}",
        f"https://drive.usercontent.google.com/download?id={drive}&export=download&confirm=t",
        f"md5:{md5}",
        size,
        "Google Drive limits downloads per day; the official page is "
        "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html.",
    )


FILES = (
    _file(
        "img_align_celeba.zip",
        "0B7EVK8r0v71pZjFTYXZWM3FlRnM",
        "00d2c5bc6d35e252742224ab0c1e8fcb",
        1_443_490_838,
    ),
    _file(
        "list_eval_partition.txt",
        "0B7EVK8r0v71pY0NSMzRuSXJEVkk",
        "d32c9cbf5e040fd4025c592c306e6668",
        2_836_386,
    ),
)


def _outline() -> Outline:
    return Outline((3, SIZE, SIZE), 162_770, 19_867, 19_962)


@dataset(
    "celeba", label="CelebA", value_range=(-1, 1), files=FILES, licence="non-commercial research only", outline=_outline
)
def celeba(root: Path) -> Splits:
    """Faces, 3 x 64 x 64: central 140 x 140 pixels, LANCZOS. Liu, Luo, Wang & Tang 2015, ICCV."""
    archive, partition = require("celeba", root)
    with whole(partition):
        lines = [line.split() for line in partition.read_text(encoding="ascii").splitlines()]
        parts = [sorted(name for name, part in lines if part == wanted) for wanted in "012"]
    pixels = _processed(archive, [name for part in parts for name in part])
    a, b = len(parts[0]), len(parts[0]) + len(parts[1])
    # No labels: the 40 attributes are not classes.
    return Splits(Images(pixels[:a]), Images(pixels[b:]), Images(pixels[a:b]))


def _processed(archive: Path, names: list[str]) -> UInt8[np.ndarray, "n 3 64 64"]:
    """The images in the order of `names`, memory-mapped. They are made once and cached by a hash of their inputs."""
    import PIL

    checksums = [file.checksum for file in DATASETS["celeba"].info.files]
    causes = [*checksums, CROP, SIZE, "lanczos", PIL.__version__]
    return processed("celeba", causes, (len(names), 3, SIZE, SIZE), partial(_process, archive, names))


def _process(archive: Path, names: list[str], pixels: UInt8[np.ndarray, "n 3 64 64"]) -> None:
    import PIL.Image

    with whole(archive), zipfile.ZipFile(archive) as content:
        for index, name in enumerate(progress(names, "CelebA: crop and resize, once")):
            found = io.BytesIO(content.read(f"img_align_celeba/{name}"))
            with PIL.Image.open(found, formats=["JPEG"]) as image:
                pixels[index] = square(image, CROP, SIZE)
