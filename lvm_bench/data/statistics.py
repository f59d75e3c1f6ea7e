"""Mean and covariance of features in an .npz file (`mu`, `sigma`), as pytorch-fid and clean-fid write them.

A file of ours says in a third array, the text `protocol`, what they are statistics of.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from jaxtyping import Float64
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lvm_bench import disk
from lvm_bench.data.image_set import ARRAYS
from lvm_bench.data.npz import arrays_in, opened, stored
from lvm_bench.errors import UserError

_MEAN, _COVARIANCE, _TOLD = "mu", "sigma", "protocol"
_ASYMMETRY = 1e-6  # of a covariance, as a share of its largest value


class Origin(BaseModel):
    """What statistics are of, in the words of a protocol: images, and one feature space by its name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: dict[str, Any]
    features: Annotated[dict[str, dict[str, str]], Field(min_length=1, max_length=1)]


class Statistics(NamedTuple):
    """The Gaussian fit of a set's features, and what they are of; None where the file does not say it."""

    mean: Float64[np.ndarray, " d"]
    covariance: Float64[np.ndarray, "d d"]
    origin: Origin | None

    @property
    def digest(self) -> str:
        """The SHA-256 of both arrays."""
        return hashlib.sha256(self.mean.tobytes() + self.covariance.tobytes()).hexdigest()


def is_statistics(place: Path) -> bool:
    """Whether a file holds statistics and no images. UserError for an .npz file that cannot be read."""
    if not place.is_file() or place.suffix.lower() != ".npz":
        return False
    with opened(place) as archive:
        names = {*arrays_in(archive)}
    return {_MEAN, _COVARIANCE} <= names and not names & {*ARRAYS}


def read_statistics(place: Path) -> Statistics:
    """The statistics of a file; UserError unless they are a mean [d] and a covariance [d d] of finite numbers."""
    with opened(place) as archive:
        mean, covariance = (_numbers(stored(archive, name, str(place)), name, place) for name in (_MEAN, _COVARIANCE))
        text = str(stored(archive, _TOLD, str(place))) if _TOLD in arrays_in(archive) else None
    d = mean.size
    if mean.shape != (d,) or covariance.shape != (d, d) or d == 0:
        raise UserError(
            f"{place}: mu has shape {mean.shape} and sigma {covariance.shape}. Valid: (d,) and (d, d), the mean and "
            "the covariance of d features."
        )
    if np.abs(covariance - covariance.T).max() > _ASYMMETRY * np.abs(covariance).max() or covariance.trace() < 0:
        raise UserError(f"{place}: sigma is no covariance, as it is not symmetric. Write numpy.cov(features.T).")
    try:
        return Statistics(mean, covariance, None if text is None else Origin.model_validate_json(text))
    except ValidationError as error:
        raise UserError(f"{place}: its array `protocol` is not what --write-statistics writes.") from error


def _numbers(array: np.ndarray, name: str, place: Path) -> Float64[np.ndarray, "..."]:
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise UserError(f"{place}: {name} is {array.dtype} and may not be finite. Give finite numbers.")
    return array.astype(np.float64)


def write_statistics(place: Path, found: Statistics) -> None:
    """Create or replace a file of statistics at once."""

    def fill(beside: Path) -> None:
        with beside.open("wb") as stream:
            arrays = {_MEAN: found.mean, _COVARIANCE: found.covariance}
            if found.origin:
                arrays[_TOLD] = np.array(found.origin.model_dump_json())
            np.savez(stream, allow_pickle=False, **arrays)

    disk.write(place, fill)
