"""The arrays that metrics take, the checks of these arrays, and the decorator that registers a metric."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from lvm_bench.errors import UserError
from lvm_bench.metrics.asked import check_asked
from lvm_bench.registry import CHECKS, METRICS

Array = np.ndarray | Tensor
Function = Callable[..., float | dict[str, float]]
Once = Callable[[str, str, Callable[[], Any]], Any]  # once(kind, what, make): the value of make(), kept for next time


def anew(kind: str, what: str, make: Callable[[], Any]) -> Any:
    """The `Once` that keeps nothing and always calls `make`."""
    return make()


@dataclass(frozen=True)
class MetricInfo:
    """A metric's name, better direction and version, and the variants (`<metric>.<variant>`) it is computed for.

    It is not computed for data whose images have fewer than `smallest` pixels along h or w.
    """

    name: str
    better: Literal["lower", "higher", "none"]
    of: tuple[str, ...]
    version: int = 1
    smallest: int = 1


def metric(
    name: str,
    *,
    better: Literal["lower", "higher", "none"],
    of: tuple[str, ...],
    label: str = "",
    table: str = "other",
    version: int = 1,
    smallest: int = 1,
) -> Callable[[Function], Function]:
    """Register a function as a metric, whose parameter names say what it needs (see `asked.EVIDENCE`).

    A dict as its result gives one score per entry, `<name>_<part>`, or `<name>` for the part "". `label` is the heading
    of its column, else its key, in the `table` of that name; both are read from the file. Whoever changes its
    numbers raises `version`: runs that have an older one are measured again. Images with fewer than `smallest` pixels
    along h or w are not measured. UserError for a parameter that no evidence provides, and for an unknown table.
    """

    def add(function: Function) -> Function:
        for key, value in (("table", table), ("better", better), ("of", of), ("version", version)):
            try:
                CHECKS[key](value)
            except UserError as error:
                raise UserError(f"the metric {name!r} has {key}={value!r}: {error}.") from error
        check_asked(name, function, of)
        setattr(function, "metric", MetricInfo(name, better, of, version, smallest))  # noqa: B010
        return METRICS.register(name)(function)

    return add


def tensor(values: Array) -> Tensor:
    """The values as a detached tensor on their own device."""
    return values.detach() if isinstance(values, Tensor) else torch.from_numpy(np.asarray(values))


def rows_of(values: Array, name: str, metric: str, needs: int = 2) -> Float[Tensor, "n d"]:
    """One row per sample; all but float32 becomes float64. UserError unless 2-D, finite, `needs` rows or more."""
    rows = tensor(values)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise UserError(
            f"{metric}: {name} has shape {tuple(rows.shape)}; give one row per sample, [samples, dimensions]."
        )
    if len(rows) < needs:
        raise UserError(f"{metric}: {name} has {len(rows)} samples, and {needs} or more are needed; give more.")
    rows = rows if rows.dtype == torch.float32 else rows.double()
    if not bool(torch.stack(rows.aminmax()).isfinite().all()):
        broken = len(rows) - int(rows.isfinite().all(dim=1).sum())
        raise UserError(
            f"{metric}: {name} has NaN or infinite values in {broken} of {len(rows)} rows; "
            f"only finite values can be measured, so look for where the model diverged."
        )
    return rows


def matrix(values: Array, name: str, metric: str, needs: int = 2) -> Float64[Tensor, "n d"]:
    """`rows_of` in float64."""
    return rows_of(values, name, metric, needs).double()


def images(values: Array, name: str, metric: str) -> Tensor:
    """Images [n c h w], unchanged. UserError unless they are 4-D, finite, and at least one."""
    pixels = tensor(values)
    if pixels.ndim != 4 or pixels.numel() == 0:
        raise UserError(f"{metric}: {name} has shape {tuple(pixels.shape)}; give [samples, channels, height, width].")
    broken = sum(int((~chunk.isfinite().flatten(1).all(dim=1)).sum()) for chunk in pixels.split(1000))
    if broken:
        raise UserError(
            f"{metric}: {name} has NaN or infinite values in {broken} of {len(pixels)} images; "
            f"only finite values can be measured, so look for where the model diverged."
        )
    return pixels


def is_nonzero(spectrum: Float64[Tensor, " l"]) -> Bool[Tensor, " l"]:
    """Which eigenvalues of a covariance differ from 0 by more than rounding."""
    return spectrum > spectrum.max() * len(spectrum) * torch.finfo(spectrum.dtype).eps


def check_same_shape(real: Any, other: Any, name: str, metric: str, axis: int | None = None) -> None:
    """UserError unless two arrays have the same shape, or the same length along one axis."""
    ours, theirs = tuple(real.shape), tuple(other.shape)
    if (ours != theirs) if axis is None else (ours[axis] != theirs[axis]):
        raise UserError(
            f"{metric}: real has shape {ours} and {name} has shape {theirs}; they must agree"
            + ("." if axis is None else f" in axis {axis} (counted from 0).")
        )
