"""Codes on disk as a subject of `lvm-bench score`, with their prior and their ground-truth factors."""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

from jaxtyping import Int64
from torch import Tensor

from lvm_bench.data.npy import read_array
from lvm_bench.errors import UserError
from lvm_bench.evaluation.of_codes import Codes, grid_order
from lvm_bench.execution.score_subject import Given, Subject, measured
from lvm_bench.metrics.arrays import rows_of
from lvm_bench.metrics.grid import factor_indices

_NONE = "none"


def codes_subject(given: Given, place: Path) -> Subject:
    """Codes [n l], and factors [n k] where they are given. UserError for anything else."""
    codes = rows_of(read_array(place, "--codes", "codes"), str(place), "--codes")
    factors = None if given.factors is None else _factors(given.factors, len(codes))
    evidence = Codes(codes, given.prior, factors, given.settings, given.device)
    said: dict[str, Any] = {
        "codes": len(codes),
        "measured": evidence.n,
        "dimensions": codes.shape[1],
        "prior": given.prior or _NONE,
        "factors": _NONE if factors is None else _told(factors),
        "factors fingerprint": _NONE if factors is None else _digest(factors),
    }
    sets = {"codes": {"path": str(place), "fingerprint": _digest(codes)}}
    return Subject({"codes": said}, sets, [], partial(measured, [evidence]))


def _factors(place: Path, n: int) -> Int64[Tensor, "n k"]:
    array = read_array(place, "--factors", "factors")
    if len(array.shape) == 0:
        raise UserError(f"--factors {place}: is a single number. Give integers, a row for each code.")
    return factor_indices(array, n, "--factors")


def _told(factors: Int64[Tensor, "n k"]) -> str:
    """Whether factors are those of a grid or of samples, and how many values each has."""
    sizes = " x ".join(str(size) for size in (factors.amax(0) + 1).tolist())
    kind = "a grid" if grid_order(factors) is not None else "samples"
    return f"{kind} of {sizes} values"


def _digest(values: Tensor) -> str:
    """The SHA-256 of an array's shape and values."""
    return hashlib.sha256(f"{tuple(values.shape)} {values.dtype}".encode() + values.numpy().tobytes()).hexdigest()
