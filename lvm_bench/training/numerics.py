"""The numerical settings that decide the last bits of a step: threads, precision and memory format."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lvm_bench.modelling.contract import Method

# Number of weights in convolutions above which a network is wide: the paper's MNIST network has 5.5 million, and
# 1.4 million at half its width.
WIDE = 2**21


@contextmanager
def fixed_numerics(threads: int) -> Iterator[None]:
    """Inside this context the same computation gives the same bits: fixed threads, no TF32, deterministic cuDNN.

    The number of threads holds for torch and for the libraries under NumPy, SciPy and scikit-learn, because the
    rounding of their sums depends on it. All settings are restored afterwards.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    import sklearn  # noqa: F401  (threadpool_limits reaches only libraries that are already loaded)

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
    """Inside this context encoder and decoder multiply in the precision `name`; `tf32` also holds for an adversary.

    TF32 exists on GPUs alone. Everything else stays float32: `squared_distances` itself avoids TF32.
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
    """Hooks that make a network compute in bfloat16; its weights and its output stay float32."""
    lower = torch.autocast(device, torch.bfloat16)

    def begin(*_: object) -> None:
        lower.__enter__()

    def end(_: nn.Module, __: object, output: Tensor | None) -> Tensor | None:
        lower.__exit__(None, None, None)
        return None if output is None else output.float()  # output is None if the network raised

    return [network.register_forward_pre_hook(begin), network.register_forward_hook(end, always_call=True)]


def memory_format(method: Method, device: str, precision: str) -> torch.memory_format:
    """The quicker memory format for the weights of convolutions and for batches. Results agree to rounding.

    cuDNN is faster with channels last. So is oneDNN, by a sixth, except that it is slower by a sixth for wide networks
    in float32.
    """
    is_wide = sum(p.numel() for p in method.parameters() if p.ndim == 4) > WIDE
    contiguous = is_wide and device == "cpu" and precision != "bf16"
    return torch.contiguous_format if contiguous else torch.channels_last
