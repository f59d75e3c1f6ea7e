"""The most memory that was in use at a time: of the GPU, else of this process."""

from pathlib import Path

import torch

_PROCESS = Path("/proc/self")


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
