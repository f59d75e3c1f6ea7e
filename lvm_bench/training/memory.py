"""Memory of a training: the peak that was used, on the GPU or by this process."""

from pathlib import Path

import torch

_PROCESS = Path("/proc/self")


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
