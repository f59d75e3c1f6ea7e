"""CIFAR-10 from its official binary archive, which holds no pickles."""

import tarfile
from pathlib import Path

import numpy as np

from lvm_bench.data.files import RemoteFile, require
from lvm_bench.data.images import Images, Outline, Splits, dataset
from lvm_bench.data.official import whole

VALIDATION = 10_000  # the last images of the training files
ARCHIVE = RemoteFile(
    "cifar10/cifar-10-binary.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    170_052_171,
)


def _outline() -> Outline:
    return Outline((3, 32, 32), 50_000 - VALIDATION, VALIDATION, 10_000, classes=10)


@dataset("cifar10", label="CIFAR-10", files=[ARCHIVE], licence="none stated; cite the report", outline=_outline)
def cifar10(root: Path) -> Splits:
    """Photographs of ten classes, 3 x 32 x 32. Krizhevsky 2009, Learning Multiple Layers of Features."""
    (archive,) = require("cifar10", root)
    parts: dict[str, bytes] = {}
    with whole(archive):
        with tarfile.open(archive, "r:gz") as tar:  # read in memory, so that no name in the archive becomes a path
            for member in tar:
                stream = tar.extractfile(member) if member.isreg() else None
                if stream is not None:
                    parts[Path(member.name).name] = stream.read()
        train = _images(b"".join(parts[f"data_batch_{i}.bin"] for i in range(1, 6)))
        test = _images(parts["test_batch.bin"])
    return Splits(train.take(slice(None, -VALIDATION)), test, train.take(slice(-VALIDATION, None)))


def _images(content: bytes) -> Images:
    """Images from records of 3,073 bytes: the label, then 1,024 bytes each of red, green and blue."""
    records = np.frombuffer(content, np.uint8).reshape(-1, 3073)
    return Images(records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64))
