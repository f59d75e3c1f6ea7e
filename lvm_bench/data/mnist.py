"""MNIST and Fashion-MNIST from their official IDX files, padded with zeros to 32 x 32."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from lvm_bench.data.files import RemoteFile, require
from lvm_bench.data.images import Images, Outline, Splits, dataset
from lvm_bench.data.official import whole

VALIDATION = 10_000  # the last images of the training file
NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def _files(
    folder: str, url: str, checks: dict[str, int], unpacked: Sequence[tuple[str, int]] = ()
) -> tuple[RemoteFile, ...]:
    """The four files of a release, from {SHA-256: bytes} in the order of NAMES; likewise the unpacked ones."""
    files = []
    for index, (name, (check, size)) in enumerate(zip(NAMES, checks.items(), strict=True)):
        plain = name.removesuffix(".gz")
        names = (plain, plain.replace("-idx", ".idx"))  # some programs unpack to the latter
        same = tuple(
            RemoteFile(f"{folder}/{each}", "", f"sha256:{digest}", length)
            for digest, length in unpacked[index : index + 1]
            for each in names
        )
        files.append(RemoteFile(f"{folder}/{name}", f"{url}/{name}", f"sha256:{check}", size, unpacked=same))
    return tuple(files)


MNIST = _files(
    "mnist/MNIST/raw",
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    {
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609": 9_912_422,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c": 28_881,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6": 1_648_877,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6": 4_542,
    },
    (
        ("ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", 47_040_016),
        ("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", 60_008),
        ("0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", 7_840_016),
        ("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", 10_008),
    ),
)
FASHION = _files(
    "fashion-mnist/FashionMNIST/raw",
    # The authors publish http://fashion-mnist.s3-website.eu-central-1.amazonaws.com, which has no https. This is the
    # same bucket through S3's own endpoint.
    "https://fashion-mnist.s3.eu-central-1.amazonaws.com",
    {
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84": 26_421_880,
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845": 29_515,
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073": 4_422_102,
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5": 5_148,
    },
)


def _outline() -> Outline:
    return Outline((1, 32, 32), 60_000 - VALIDATION, VALIDATION, 10_000, classes=10)


@dataset("mnist", label="MNIST", files=MNIST, licence="CC BY-SA 3.0", novel="fashion-mnist", outline=_outline)
def mnist(root: Path) -> Splits:
    """Handwritten digits, 1 x 32 x 32 (28 x 28 padded). LeCun, Bottou, Bengio & Haffner 1998."""
    return _splits(require("mnist", root))


@dataset("fashion-mnist", label="Fashion-MNIST", files=FASHION, licence="MIT", novel="mnist", outline=_outline)
def fashion_mnist(root: Path) -> Splits:
    """Articles of clothing, 1 x 32 x 32 (28 x 28 padded). Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747."""
    return _splits(require("fashion-mnist", root))


def _splits(paths: list[Path]) -> Splits:
    train, test = _images(*paths[:2]), _images(*paths[2:])
    return Splits(train.take(slice(None, -VALIDATION)), test, train.take(slice(-VALIDATION, None)))


def _images(images: Path, labels: Path) -> Images:
    pixels = np.pad(read_idx(images)[:, None], ((0, 0), (0, 0), (2, 2), (2, 2)))
    return Images(pixels, read_idx(labels).astype(np.int64))


def read_idx(file: Path) -> UInt8[np.ndarray, "..."]:
    """The array of an IDX file of bytes, gzipped or not: 0, 0, 8, the number of axes, their sizes (big-endian), the
    values.
    """
    with whole(file):
        content = file.read_bytes()
        content = gzip.decompress(content) if file.suffix == ".gz" else content
        axes = content[3]
        shape = np.frombuffer(content, ">u4", axes, 4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
