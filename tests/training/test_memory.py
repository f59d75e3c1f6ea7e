"""The peak of memory counts from the last `forget_peak`."""

import mmap

import pytest

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
