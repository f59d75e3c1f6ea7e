"""The peak of memory counts from the last `forget_peak`, and freed memory is reused."""

import ctypes
import mmap
import resource

import pytest
import torch

from lvm_bench.training import memory

MIB = 2**20


def test_the_peak_grows_with_what_is_held_and_can_be_forgotten() -> None:
    memory.forget_peak("cpu")
    before = memory.peak("cpu")
    if before is None:
        pytest.skip("this system does not tell the peak of a process")
    with mmap.mmap(-1, 64 * MIB) as held:  # fresh pages, not those that an earlier test freed
        for _ in range(64):
            held.write(b"x" * MIB)
        assert memory.peak("cpu") >= before + 60
    memory.forget_peak("cpu")
    assert memory.peak("cpu") < before + 60


def test_memory_that_is_freed_is_reused_without_page_faults_and_given_back_in_the_end() -> None:
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("this system's allocator is not glibc's")

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        tensors = [torch.ones(8 * MIB) for _ in range(4)]  # 32 MiB each
        del tensors
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    plain = faults()
    with memory.reused():
        assert min(faults() for _ in range(8)) < plain / 2  # the first calls grow the heap, some of them in part
        held = memory.peak("cpu")
    memory.forget_peak("cpu")
    now = memory.peak("cpu")
    assert held is None or now is None or now < held - 100
