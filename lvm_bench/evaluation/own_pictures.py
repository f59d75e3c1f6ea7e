"""The pictures that a method draws of itself, as pixels."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lvm_bench.errors import RunError
from lvm_bench.modelling.contract import Method
from lvm_bench.seeding import derive
from lvm_bench.text import is_name, shortened

MOST = 20  # grids of a method, and rows or columns of a grid

_GRID = "give grids of images [rows columns c h w], in the value range or uint8"


@torch.no_grad()
def own_pictures(
    method: Method, x: Float[Tensor, "b c h w"], seed: int
) -> dict[str, UInt8[np.ndarray, "rows columns c h w"]]:
    """The grids that `pictures` draws of these images, by name; {} of fewer than two images.

    RunError for what is no grid, and for a name that cannot be part of a file's.
    """
    if len(x) < 2:
        return {}
    method.eval().generator.manual_seed(derive(seed, "pictures"))
    found = method.pictures(x)
    if not isinstance(found, dict):
        raise RunError(f"pictures(x) returned a {type(found).__name__}, not a dict: {_GRID}, by name.")
    if len(found) > MOST:
        raise RunError(f"pictures(x) has {len(found)} grids; at most {MOST} are shown.")
    return {name: _pixels(method, name, grid).cpu().numpy() for name, grid in found.items()}


def _pixels(method: Method, name: object, grid: object) -> UInt8[Tensor, "rows columns c h w"]:
    if not isinstance(name, str) or not is_name(name):
        raise RunError(f"pictures(x) has a grid named {shortened(name)}. Use letters, digits, '.', '_' and '-'.")
    if not isinstance(grid, Tensor):
        raise RunError(f"pictures(x)[{name!r}] is a {type(grid).__name__}, not a tensor: {_GRID}.")
    rows, columns, *shape = grid.shape if grid.ndim == 5 else (0, 0)
    if not (0 < rows <= MOST and 0 < columns <= MOST) or tuple(shape) != method.spec.shape:
        raise RunError(
            f"pictures(x)[{name!r}] has shape {tuple(grid.shape)}: {_GRID}, of 1 to {MOST} rows and columns."
        )
    if grid.dtype == torch.uint8:
        return grid
    if not (grid.is_floating_point() and bool(grid.isfinite().all())):
        raise RunError(f"pictures(x)[{name!r}] is {grid.dtype} and may not be finite: {_GRID}.")
    low, high = method.spec.value_range
    return ((grid.float() - low) / (high - low)).clamp(0, 1).mul(255).round().to(torch.uint8)
