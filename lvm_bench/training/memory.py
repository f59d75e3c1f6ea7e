"""Memory of a training: the peak that was used, on the GPU or by this process, and the reuse of freed memory."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_PROCESS = Path("/proc/self")

_TRIM, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # parameters of glibc's mallopt


def forget_peak(device: str) -> None:
    """Start to measure the peak anew."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif (_PROCESS / "clear_refs").exists():
        (_PROCESS / "clear_refs").write_text("5")


def peak(device: str) -> int | None:
    """The peak in MiB since `forget_peak`; None if the system does not report it."""
    if device == "cuda":
        return round(torch.cuda.max_memory_allocated() / 2**20)
    if not (_PROCESS / "clear_refs").exists():
        return None
    lines = (_PROCESS / "status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 2**10)


@contextmanager
def reused() -> Iterator[None]:
    """Inside this context glibc keeps freed memory, so that the large tensors of the next step cause no page faults.

    The kept memory is released at the end. With another C library nothing changes.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        yield
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM, 2**31 - 1)
    try:
        yield
    finally:
        # The values that glibc itself adopts once a process has freed a large block.
        libc.mallopt(_MMAP_MAX, 2**16)
        libc.mallopt(_MMAP_THRESHOLD, 2**25)
        libc.mallopt(_TRIM, 2**26)
        libc.malloc_trim(0)
