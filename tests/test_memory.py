"""The peak of memory is that of what was done since it was forgotten."""

import pytest
import torch

from lvm_bench import memory


def test_the_peak_grows_with_what_is_held_and_can_be_forgotten() -> None:
    memory.forget_peak("cpu")
    before = memory.peak("cpu")
    if before is None:
        pytest.skip("this system does not tell the peak of a process")
    held = torch.ones(64 * 2**20 // 4)
    assert memory.peak("cpu") >= before + 60
    del held
    memory.forget_peak("cpu")
    assert memory.peak("cpu") < before + 60
