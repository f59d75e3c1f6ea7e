"""The settings of a suite on a user's own images, chosen by what these are: `lvm-bench run --images`."""

import re
from pathlib import Path
from typing import Any

from lvm_bench.data.glance import Glance, glance
from lvm_bench.errors import UserError
from lvm_bench.registry import DATASETS
from lvm_bench.suites import bench_toml
from lvm_bench.suites.job import CONTROLS
from lvm_bench.text import is_name

SUITE = "own"  # that is run unless another is named

_METHODS = ["vae", "beta-tcvae", "rae-l2", "aae", "wae-mmd", "avae"]

_LATENT = 16
_EPOCHS = 50
_FEW_PIXELS = 256  # below, squared errors are too small for the prior terms of VAE and AAE, as with `digits`
_MOST_HELD = 10_000  # the paper's m: images in AVAE's estimate of the density


def chosen(images: Path, test_images: Path | None, config: Path, datasets: tuple[str, ...]) -> dict[str, Any]:
    """What `resolve` is told of a user's images: their data set, its tables, and those of the suite `own`.

    UserError where they cannot be read, and where other `datasets` were chosen.
    """
    if datasets:
        raise UserError(f"--images {images} --datasets {datasets[0]}: give one of them.")
    found = glance(images, test_images)
    name = _name(images, bench_toml.read(config).get("datasets", {}))
    suite = {
        "description": "Six methods on images of your own, three seeds",
        "methods": _METHODS,
        "datasets": [name],
        "seeds": [0, 1, 2],
    }
    under = {
        "datasets": {name: _dataset(found)},
        "methods": {method: {name: values} for method, values in _arguments(found).items()},
        "suites": {SUITE: suite},
    }
    return {"datasets": (name,), "under": under}


def _name(images: Path, taken: dict[str, Any]) -> str:
    """A data set's name from that of its file or folder, and another than those that there are."""
    name = re.sub("[^a-z0-9]+", "-", images.absolute().stem.lower()).strip("-")[:40]
    known = {*taken, *DATASETS, *CONTROLS}
    return name if is_name(name) and name not in known else f"own-{name or 'images'}"


def _dataset(found: Glance) -> dict[str, Any]:
    c, h, w = found.shape
    return {
        "base": found.base,
        **found.options,
        "network": "mlp" if min(h, w) == 1 else "conv",  # rows of a table have no neighbours
        "latent": max(2, min(_LATENT, c * h * w // 4)),
        "likelihood": "sse" if c * h * w >= _FEW_PIXELS else "bernoulli",
        "epochs": _EPOCHS,
        "extractor": "classifier" if found.has_labels else "inception",
    }


def _arguments(found: Glance) -> dict[str, dict[str, Any]]:
    """What methods need to be told of images: AVAE's m by their number, and AAE's discriminator by their size."""
    few = {"recon_scale": 1.0} if found.shape[0] * found.shape[1] * found.shape[2] < _FEW_PIXELS else {}
    held = max(1, min(_MOST_HELD, found.n_train // 4))
    return {"avae": {"m": held}, "aae": {"hidden": [100, 100, 100], **few}}
