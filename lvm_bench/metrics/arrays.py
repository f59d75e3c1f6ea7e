"""The arrays and settings that metrics take, the checks of both, and the decorator that registers a metric.

A metric takes whatever holds real numbers: NumPy arrays of any layout, torch tensors of any device, and lists.
"""

import math
import operator
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

from lvm_bench.errors import UserError
from lvm_bench.metrics.asked import check_asked
from lvm_bench.registry import CHECKS, METRICS

Array = np.ndarray | Tensor
Function = Callable[..., float | dict[str, float]]
Once = Callable[[str, str, Callable[[], Any]], Any]  # once(kind, what, make): the value of make(), kept for next time

_LARGEST = 280  # decimal exponent of the largest power of a value; sums of 10^28 of them stay finite


def anew(kind: str, what: str, make: Callable[[], Any]) -> Any:
    """The `Once` that keeps nothing and always calls `make`."""
    return make()


@dataclass(frozen=True)
class MetricInfo:
    """A metric's name, better direction and version, and the variants (`<metric>.<variant>`) it is computed for.

    It is not computed for data whose images have fewer than `smallest` pixels along h or w. One that is `costly` is
    computed where a suite names it, and not for "all".
    """

    name: str
    better: Literal["lower", "higher", "none"]
    of: tuple[str, ...]
    version: int = 1
    smallest: int = 1
    costly: bool = False


def metric(
    name: str,
    *,
    better: Literal["lower", "higher", "none"],
    of: tuple[str, ...],
    label: str = "",
    table: str = "other",
    version: int = 1,
    smallest: int = 1,
    costly: bool = False,
) -> Callable[[Function], Function]:
    """Register a function as a metric, whose parameter names say what it needs (see `asked.EVIDENCE`).

    A dict as its result gives one score per entry, `<name>_<part>`, or `<name>` for the part "". `label` is the heading
    of its column, else its key, in the `table` of that name; both are read from the file. Whoever changes its
    numbers raises `version`: runs that have an older one are measured again. Images with fewer than `smallest` pixels
    along h or w are not measured, and a `costly` metric only where a suite names it. UserError for a parameter that no
    evidence provides, and for an unknown table.
    """

    def add(function: Function) -> Function:
        for key, value in (("table", table), ("better", better), ("of", of), ("version", version)):
            try:
                CHECKS[key](value)
            except UserError as error:
                raise UserError(f"the metric {name!r} has {key}={value!r}: {error}.") from error
        check_asked(name, function, of)
        setattr(function, "metric", MetricInfo(name, better, of, version, smallest, costly))  # noqa: B010
        return METRICS.register(name)(function)

    return add


# Conversion


def _array(values: Any, name: str, metric: str, wanted: str) -> np.ndarray:
    """Real numbers as a NumPy array that torch can read; UserError for anything else."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise UserError(f"{metric}: {name} has {int(values.mask.sum())} masked values; fill them or leave rows out.")
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(
            f"{metric}: {name} is a {type(values).__name__} that makes no array ({error}); "
            f"give numbers in rows of equal length."
        ) from None
    if array.dtype.kind not in "biuf":
        raise UserError(f"{metric}: {name} has dtype {array.dtype}; give {wanted}.")
    if array.dtype.kind == "f" and array.itemsize > 8:
        with np.errstate(over="ignore"):  # what float64 cannot hold becomes infinite, which the caller refuses
            array = array.astype(np.float64)
    if array.dtype == np.uint64 and array.size and array.max() >= 2**63:
        array = array.astype(np.float64)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    # torch has neither negative strides nor read-only memory.
    usable = array.flags.writeable and all(stride >= 0 for stride in array.strides)
    return array if usable else array.copy()


def tensor(values: Any, name: str, metric: str, wanted: str = "real numbers, for instance float64") -> Tensor:
    """Real numbers as a detached tensor on their own device; half precision becomes float32.

    UserError for text, objects, complex numbers, masked values and rows of unequal length.
    """
    if isinstance(values, list | tuple) and values and all(isinstance(each, Tensor) for each in values):
        if len({each.shape for each in values}) > 1:
            raise UserError(f"{metric}: {name} is a {type(values).__name__} of tensors of unequal shapes; stack them.")
        values = torch.stack([each.detach().cpu() for each in values])
    found = values.detach() if isinstance(values, Tensor) else torch.from_numpy(_array(values, name, metric, wanted))
    if found.is_complex() or found.is_quantized:
        raise UserError(
            f"{metric}: {name} has dtype {str(found.dtype).removeprefix('torch.')} on {found.device}; give {wanted}."
        )
    if found.layout != torch.strided:
        found = found.to_dense()
    if found.device.type == "mps":  # it has no float64
        found = found.cpu()
    if found.is_floating_point():
        return found if found.dtype in (torch.float32, torch.float64) else found.float()
    return found if found.dtype in (torch.bool, torch.uint8) else found.long()


def _ends(values: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the largest value."""
    ends = values.byte().aminmax() if values.dtype == torch.bool else values.aminmax()
    return ends.min, ends.max


def _check_finite(rows: Tensor, name: str, metric: str, what: str = "rows") -> None:
    """UserError if a sample has NaN or infinite values."""
    if math.isfinite(sum(float(end) for end in _ends(rows))):  # one pass; the least and the largest of NaN are NaN
        return
    broken = sum(int((~chunk.isfinite().flatten(1).all(dim=1)).sum()) for chunk in rows.split(1000))
    if broken:
        raise UserError(
            f"{metric}: {name} has NaN or infinite values in {broken} of {len(rows)} {what}; "
            f"only finite values can be measured, so look for where the model diverged."
        )


def _check_powers(rows: Tensor, name: str, metric: str, power: int) -> None:
    """UserError if float64 could not hold this power of the values."""
    largest, limit = max(abs(float(end)) for end in _ends(rows)), 10 ** (_LARGEST / power)
    if largest > limit:
        raise UserError(
            f"{metric}: {name} has values up to {largest:.3g}, whose powers float64 cannot hold; "
            f"give values of at most {limit:.0g}, so divide every array by the same number."
        )


def rows_of(values: Any, name: str, metric: str, needs: int = 2, power: int = 4) -> Float[Tensor, "n d"]:
    """One row per sample; all but float32 becomes float64.

    UserError unless the values are numbers in two dimensions, finite, of `needs` rows or more, and small enough that
    float64 holds this power of them.
    """
    rows = tensor(values, name, metric)
    if rows.dtype == torch.bool:
        raise UserError(f"{metric}: {name} has dtype bool; give numbers, for instance float64.")
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise UserError(
            f"{metric}: {name} has shape {tuple(rows.shape)}; give one row per sample, [samples, dimensions]."
        )
    if len(rows) < needs:
        raise UserError(f"{metric}: {name} has {len(rows)} samples, and {needs} or more are needed; give more.")
    rows = rows if rows.dtype == torch.float32 else rows.double()
    _check_finite(rows, name, metric)
    _check_powers(rows, name, metric, power)
    return rows


def two_sets(
    metric: str, needs: int | tuple[int, int] = 2, power: int = 4, **two: Any
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "m d"]]:
    """`rows_of` of two named sets on the device of the first; UserError unless both have as many dimensions."""
    least = needs if isinstance(needs, tuple) else (needs, needs)
    pairs = zip(two.items(), least, strict=True)
    first, second = (rows_of(values, name, metric, needs, power) for (name, values), needs in pairs)
    check_same_shape(metric, axis=1, **dict(zip(two, (first, second), strict=True)))
    return first, second.to(first.device)


def matrix(values: Any, name: str, metric: str, needs: int = 2, power: int = 4) -> Float64[Tensor, "n d"]:
    """`rows_of` in float64."""
    return rows_of(values, name, metric, needs, power).double()


def scores(values: Any, name: str, metric: str) -> Float64[np.ndarray, " n"]:
    """One finite number per sample, in float64; UserError unless there is one or more."""
    found = tensor(values, name, metric)
    if found.ndim != 1 or len(found) == 0:
        raise UserError(f"{metric}: {name} has shape {tuple(found.shape)}; give one number per sample, [samples].")
    _check_finite(found[:, None], name, metric)
    return found.double().cpu().numpy()


def samples(values: Any, name: str, metric: str) -> Shaped[Tensor, "n d"]:
    """One sample of any shape per row, flattened; UserError unless all are finite and at least one."""
    found = tensor(values, name, metric)
    if found.ndim < 2 or found.numel() == 0:
        raise UserError(f"{metric}: {name} has shape {tuple(found.shape)}; give one sample per row, [samples, ...].")
    _check_finite(found, name, metric)
    _check_powers(found, name, metric, 4)
    return found.flatten(1)


def labels_of(values: Any, name: str, metric: str) -> Int64[np.ndarray, " n"]:
    """One class per sample; UserError unless the classes are whole numbers."""
    found = scores(values, name, metric)
    if (found != np.round(found)).any():
        raise UserError(f"{metric}: {name} has values such as {found[found != np.round(found)][0]:.4g}; give classes.")
    return found.astype(np.int64)


def images(values: Any, name: str, metric: str) -> Tensor:
    """Images [n c h w], unchanged. UserError unless they are 4-D, finite, and at least one."""
    pixels = tensor(values, name, metric)
    if pixels.ndim != 4 or pixels.numel() == 0:
        raise UserError(f"{metric}: {name} has shape {tuple(pixels.shape)}; give [samples, channels, height, width].")
    _check_finite(pixels, name, metric, "images")
    _check_powers(pixels, name, metric, 2)
    return pixels


def unit_images(metric: str, **sets: Any) -> list[tuple[Tensor, int]]:
    """Each set of images, and the number that its values are divided by to lie on one scale with the others.

    The dtype decides: floats stay, integers from 0 to 255 are divided by 255. Integers of 0 and 1 alone are a mask,
    which stays, with a warning. UserError for other integers, and for floats outside [0, 1] beside integers.
    """
    found = {name: images(values, name, metric) for name, values in sets.items()}
    ends = {name: [float(end) for end in _ends(pixels)] for name, pixels in found.items()}
    whole = [name for name, pixels in found.items() if not pixels.is_floating_point()]
    for name, (low, high) in ends.items():
        if name in whole and not 0 <= low <= high <= 255:
            raise UserError(
                f"{metric}: {name} has integers from {low:.0f} to {high:.0f}; "
                f"give integers from 0 to 255, or floats in [0, 1]."
            )
        if whole and name not in whole and not -1e-6 <= low <= high <= 1 + 1e-6:
            raise UserError(
                f"{metric}: {name} has floats from {low:.4g} to {high:.4g} and {whole[0]} has integers, which are "
                f"divided by 255; give floats in [0, 1] beside integers."
            )
    is_mask = all(ends[name][1] <= 1 for name in whole)
    told = [name for name in whole if found[name].dtype != torch.bool and ends[name][1] == 1]
    if is_mask and told:
        warnings.warn(
            f"{metric}: {told[0]} has integers of 0 and 1 alone, which are measured as a mask, black and white. "
            f"Nearly black images would be divided by 255; give them as floats in [0, 1].",
            stacklevel=4,
        )
    return [(pixels, 255 if name in whole and not is_mask else 1) for name, pixels in found.items()]


# Scale


def power_of_two(*sets: Float[Tensor, "_ _"]) -> float:
    """What brings the largest value of the sets near 1 without rounding; 1 if it has an ordinary size already."""
    largest = max(abs(float(end)) for rows in sets for end in rows.aminmax())
    if largest == 0 or 2**-30 <= largest <= 2**30:
        return 1.0
    return math.ldexp(1.0, -max(math.frexp(largest)[1], -1000))


def centre_and_spread(rows: Float64[Tensor, "n l"]) -> tuple[Float64[Tensor, " l"], Float64[Tensor, " l"]]:
    """The mean of each axis and its largest distance from there, which is 0 if and only if the axis is constant."""
    # Differences to the first row are exact where an axis is constant, and a mean is not.
    apart = rows - rows[0]
    shift = apart.mean(0)
    return rows[0] + shift, (apart - shift).abs().amax(0)


def check_same_shape(metric: str, axis: int | None = None, **two: Any) -> None:
    """UserError unless the two named arrays have the same shape, or the same length along one axis."""
    (one, ours), (other, theirs) = ((name, tuple(values.shape)) for name, values in two.items())
    if (ours != theirs) if axis is None else (ours[axis] != theirs[axis]):
        raise UserError(
            f"{metric}: {one} has shape {ours} and {other} has shape {theirs}; they must agree"
            + ("." if axis is None else f" in axis {axis} (counted from 0).")
        )


# Settings


def _is_whole(value: Any) -> bool:
    """Whether a value is an integer; True and False are none."""
    try:
        operator.index(value)
    except TypeError:
        return False
    return not isinstance(value, bool | np.bool_)


def check_at_least(least: int, metric: str, **counts: Any) -> None:
    """UserError unless every count is an integer of `least` or more."""
    for what, count in counts.items():
        if not _is_whole(count) or count < least:
            raise UserError(f"{metric}: {what} is {count!r}; give {least} or more.")


def check_positive(metric: str, **values: Any) -> None:
    """UserError unless every value is a finite number above 0."""
    for what, value in values.items():
        if not isinstance(value, int | float | np.integer | np.floating) or not 0 < value < math.inf:
            raise UserError(f"{metric}: {what} is {value!r}; give a finite number above 0.")


def check_seed(metric: str, seed: Any) -> None:
    """UserError unless the seed is an integer."""
    if not _is_whole(seed):
        raise UserError(f"{metric}: seed is {seed!r}; give an integer.")
