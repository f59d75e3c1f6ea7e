"""Threads, precision and memory format: whatever decides the last bits of a step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lvm_bench.modelling.contract import Method

WIDE = 2**21  # weights of convolutions: the paper's MNIST network has 5.5 million, at half its width 1.4


@contextmanager
def fixed_numerics(threads: int) -> Iterator[None]:
    """The same bits on every call: this many threads, no TF32, deterministic cuDNN; all restored afterwards.

    The threads are torch's and those of NumPy's, SciPy's and scikit-learn's libraries, whose sums differ with them.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    import sklearn  # noqa: F401  (threads are limited in the libraries that are loaded by then)

    before = (torch.get_num_threads(), cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32)
    torch.set_num_threads(threads)
    cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = False, True, False, False
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before[0])
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = before[1:]


@contextmanager
def precision(method: Method, name: Literal["float32", "tf32", "bf16"]) -> Iterator[None]:
    """Within it the networks' products are in float32, `tf32` (on a GPU, an adversary's too) or `bf16`.

    Whatever else is float32: distances between codes see to it themselves.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.allow_tf32, matmul.allow_tf32)
    cudnn.allow_tf32 = matmul.allow_tf32 = name == "tf32"
    networks_in = (method.encoder, method.decoder) if name == "bf16" else ()
    hooks = [hook for network in networks_in for hook in _in_bfloat16(network, method.generator.device.type)]
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before
        for hook in hooks:
            hook.remove()


def _in_bfloat16(network: nn.Module, device: str) -> list[RemovableHandle]:
    """Hooks that let a network compute in bfloat16 from float32 weights; what it returns is float32."""
    lower = torch.autocast(device, torch.bfloat16)

    def begin(*_: object) -> None:
        lower.__enter__()

    def end(_: nn.Module, __: object, output: Tensor | None) -> Tensor | None:
        lower.__exit__(None, None, None)
        return None if output is None else output.float()  # None where it raised

    return [network.register_forward_pre_hook(begin), network.register_forward_hook(end, always_call=True)]


def memory_format(method: Method, device: str, precision: str) -> torch.memory_format:
    """How the weights of convolutions and the images of a batch lie in memory: results agree to rounding.

    cuDNN is faster with channels last; oneDNN too by a sixth, but in wide networks in float32 it is slower by as much.
    """
    is_wide = sum(p.numel() for p in method.parameters() if p.ndim == 4) > WIDE
    contiguous = is_wide and device == "cpu" and precision != "bf16"
    return torch.contiguous_format if contiguous else torch.channels_last
