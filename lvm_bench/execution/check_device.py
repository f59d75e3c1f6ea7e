"""Which tensors a method makes on the CPU whatever its device: found without a GPU, by watching every operation.

A tensor stays on the CPU when it is made without `device=`, when it is a plain attribute of the method or of its file,
when the CPU is written out (`.cpu()`, `device="cpu"`, `torch.device("cpu")`), and when it is computed from such ones
alone. Tensors and generators that follow the method say that they lie on `FOLLOWED`, which is no written-out CPU.
"""

import gc
import sys
from collections.abc import Callable
from itertools import compress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import FakeTensor  # the class of tensors without numbers has no public name
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lvm_bench.modelling.contract import Method

_INDEXING = ("index", "index_put", "index_put_", "_unsafe_index", "_unsafe_index_put")  # takes indices from the CPU

_COPYING = ("copy_", "_to_copy", "set_", "lift_fresh")  # takes values from any device

_JOINING = ("cat", "stack")  # refuses scalars of another device too

FOLLOWED = torch.device("cpu", 0)  # torch takes it for the CPU, and itself gives devices without an index


class Followed(torch.Generator):
    """A generator of the method's device."""

    device = FOLLOWED


class Watch:
    """Inside this context operations are watched; `faults` then says what would fail on a GPU, by line of a file."""

    def __init__(self, method: Method, file: Path):
        method.generator = Followed().set_state(method.generator.get_state())
        self.file, self.generator, self.faults = str(file), method.generator, dict[str, str]()
        self._stays: dict[int, str] = {}  # the tensors that stay on the CPU, each with the line that made it
        self._known: set[int] = set()  # the tensors that are there, or were seen
        self._kept: list[Tensor] = []  # so that no other tensor gets the address of one of these
        self._placed = False  # whether the function at work was given a device
        self._functions, self._operations = _Functions(self), _Operations(self)
        # Of those that are there, caches may hold some of the device; the method's own attributes hold none.
        kinds, there = _kinds_of(Tensor), gc.get_objects()  # a million objects, gone through without a line of Python
        self._note([*compress(there, map(kinds.__contains__, map(type, there)))], stays=False)
        held = {id(tensor) for tensor in (*method.parameters(), *method.buffers())}
        plain = [vars(part) for part in method.modules()] + [vars(sys.modules[type(method).__module__])]
        for each in (each for values in plain for each in tree_leaves(list(values.values()))):
            if isinstance(each, Tensor) and id(each) not in held:
                self._note(each, stays=True)
        self._stays = dict.fromkeys(self._stays, "")  # made before: the line that uses one is told

    def __enter__(self) -> "Watch":
        self._operations.__enter__()
        self._functions.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._functions.__exit__(*error)
        self._operations.__exit__(*error)
        self._kept.clear()  # else the next watch finds all of them before this one, a cycle, is collected

    def function(self, function: Callable[..., Any], given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """The result of a function of torch's, whose words tell where it is to lie."""
        name, leaves = getattr(function, "__name__", ""), tree_leaves((given, named))
        follows = any(isinstance(each, Tensor) and not self._does_stay(each) for each in leaves)
        before, placed = self._placed, self._placed or self._places(name, leaves, named)
        if name in ("numpy", "__array__") and follows:
            self.fault(self.line(), "a tensor of a GPU is no NumPy array: call .cpu() first")
        if any(each is self.generator for each in leaves) and not placed and not follows:
            self.fault(self.line(), "draws from self.generator, which is the device's: give device=x.device too")
        self._placed = placed
        try:
            result = function(*given, **named)
        finally:
            self._placed = before
        if isinstance(result, torch.device):
            return FOLLOWED if follows else result
        if name == "cpu" or any(map(_is_written_out, leaves)):
            result = result.clone() if isinstance(result, Tensor) and follows else result
            self._note(result, stays=True)
        elif placed:
            self._note(result, stays=False)
        return result

    def operation(self, name: str, given: Any, result: Any) -> None:
        """Note where the result of an operation lies, and whether its inputs are of two devices."""
        tensors = [each for each in tree_leaves(given) if isinstance(each, Tensor)]
        staying = [each for each in tensors if self._does_stay(each)]
        if len(staying) < len(tensors) and not self._placed and name not in (*_INDEXING, *_COPYING):
            for each in staying:
                if each.ndim or name in _JOINING:
                    self.fault(self._stays[_storage(each)] or self.line(), _STAYS)
        self._note(result, stays=len(staying) == len(tensors) and not self._placed)

    def fault(self, line: str, text: str) -> None:
        """Note what would fail on a GPU, once for each line."""
        self.faults.setdefault(line, text)

    def line(self) -> str:
        """`file, line n`: the deepest line of the file at work, or of all."""
        frame, first = sys._getframe(1), ""
        while frame is not None:
            code = frame.f_code.co_filename
            if code == self.file:
                return f"{self.file}, line {frame.f_lineno}"
            if not first and code != __file__ and "/torch/" not in code:
                first = f"{code}, line {frame.f_lineno}"
            frame = frame.f_back  # type: ignore[assignment]
        return first

    def _does_stay(self, tensor: Any) -> bool:
        """Whether a tensor stays on the CPU, as one does of which no operation told, such as from_numpy's."""
        key = _storage(tensor)
        if key and key not in self._known:
            self._note(tensor, stays=True)
        return key in self._stays

    def _places(self, name: str, leaves: list[Any], named: dict[str, Any]) -> bool:
        """Whether a call says that its result is to lie on the device of the method."""
        if isinstance(given := named.get("device"), torch.device):
            return not _is_written_out(given)
        others = leaves[1:] if name in ("to", "type_as") else []
        return any(
            (isinstance(each, torch.device) and not _is_written_out(each))
            or (isinstance(each, Tensor) and not self._does_stay(each))
            for each in others
        )

    def _note(self, result: Any, stays: bool) -> None:
        for each in tree_leaves(result):
            if key := _storage(each):
                self._known.add(key)
                self._kept.append(each.detach())
                if stays:
                    self._stays.setdefault(key, self.line())
                else:
                    self._stays.pop(key, None)


_STAYS = (
    "a tensor that stays on the CPU, whatever the device, meets one of the device: it fails on a GPU. Make it with "
    "device=x.device, or once in __init__ with self.register_buffer(name, tensor, persistent=False)"
)


class _Functions(TorchFunctionMode):
    """Calls of torch's functions, with the words of the call."""

    def __init__(self, watch: Watch):
        super().__init__()
        self._watch = watch

    def __torch_function__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        return self._watch.function(function, given, named or {})


class _Operations(TorchDispatchMode):
    """What is computed, also in functions that torch does not tell of."""

    def __init__(self, watch: Watch):
        super().__init__()
        self._watch = watch

    def __torch_dispatch__(self, operation: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        result = operation(*given, **(named or {}))
        name = operation.overloadpacket.__name__
        self._watch.operation(name, (given, named), result)
        return result


def _is_written_out(device: Any) -> bool:
    """Whether a device, or its name, is the CPU whatever the device of the method."""
    return isinstance(device, str | torch.device) and device in ("cpu", torch.device("cpu"))


def _kinds_of(kind: type) -> set[type]:
    """A class and all that are derived from it."""
    return {kind}.union(*map(_kinds_of, type.__subclasses__(kind)))


def _storage(tensor: Any) -> int:
    """The address of a tensor's numbers, which views share; 0 where there are none."""
    if not isinstance(tensor, Tensor) or isinstance(tensor, FakeTensor):
        return 0
    try:
        return tensor.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):  # sparse, or of several seeds at once
        return 0
