"""A device that is not there: its tensors compute on the CPU, and refuse what those of a GPU refuse.

It goes by the name of torch's device without data, `meta`, which needs no driver.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = "meta"
aten = torch.ops.aten
_COPIES = (aten.copy_, aten._to_copy)
_INDEXED = (aten.index, aten.index_put, aten.index_put_)  # by tensors of the CPU too


class Elsewhere(Tensor):
    """A tensor that says it lies on the device; its values are `here`."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> "Elsewhere":
        facts = {"strides": here.stride(), "storage_offset": here.storage_offset(), "dtype": here.dtype}
        made = Tensor._make_wrapper_subclass(cls, here.shape, device=DEVICE, **facts)
        made.here = here
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, *_: Any) -> Any:
        raise RuntimeError(f"{function} outside of the pretended device")


class PretendedDevice(TorchDispatchMode):
    """Within it `meta` is a device that computes. RuntimeError where tensors of two devices meet."""

    def __torch_dispatch__(
        self, function: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        there = [value for value in tensors if isinstance(value, Elsewhere)]
        # Numbers may come along from the CPU.
        strange = [value for value in tensors if value.dim() and not isinstance(value, Elsewhere)]
        kind = function.overloadpacket
        may_meet = kind in _COPIES or (kind in _INDEXED and isinstance(args[0], Elsewhere))
        if there and strange and not may_meet:
            raise RuntimeError(f"{function}: of its tensors some are on {DEVICE} and some on the CPU.")
        is_there = bool(there)
        if kwargs.get("device") is not None:
            is_there = torch.device(kwargs["device"]).type == DEVICE
            kwargs["device"] = "cpu"
        found = function(*tree_map(_here, args), **tree_map(_here, kwargs))
        if function._schema.name.endswith("_") and isinstance(found, Tensor):
            return args[0]  # changed in place
        return tree_map(_there, found) if is_there else found


def _here(value: Any) -> Any:
    return value.here if isinstance(value, Elsewhere) else value


def _there(value: Any) -> Any:
    return Elsewhere(value) if isinstance(value, Tensor) else value


def on_it(action: Callable[[], Any]) -> Any:
    """What an action finds where the device is."""
    with torch.no_grad(), PretendedDevice():
        return action()
