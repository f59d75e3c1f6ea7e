"""The most memory that was in use at a time, of the GPU, else of this process; and how it is reused."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_PROCESS = Path("/proc/self")

_TRIM, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # glibc's names of what mallopt sets


def forget_peak(device: str) -> None:
    """Count the peak from now on."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif (_PROCESS / "clear_refs").exists():
        (_PROCESS / "clear_refs").write_text("5")


def peak(device: str) -> int | None:
    """The peak in MiB since it was last forgotten; None where the system does not tell."""
    if device == "cuda":
        return round(torch.cuda.max_memory_allocated() / 2**20)
    if not (_PROCESS / "clear_refs").exists():
        return None
    lines = (_PROCESS / "status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 2**10)


@contextmanager
def reused() -> Iterator[None]:
    """Within it glibc keeps what is freed, so that the large tensors of the next step come without page faults.

    Elsewhere nothing changes; what was kept is given back in the end.
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
        # What glibc arrives at by itself once a process has freed something large.
        libc.mallopt(_MMAP_MAX, 2**16)
        libc.mallopt(_MMAP_THRESHOLD, 2**25)
        libc.mallopt(_TRIM, 2**26)
        libc.malloc_trim(0)
