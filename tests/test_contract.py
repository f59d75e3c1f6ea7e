"""Every registered method keeps the contract: the checks of `lvm-bench check` over the whole registry."""

from collections.abc import Callable
from functools import cache

import pytest

from lvm_bench import config
from lvm_bench.check import CHECKS, Case, case, verdict

NAMES = sorted(config.method_files(config.defaults_folder() / "bench.toml"))


@cache
def made(name: str) -> Case:
    return case(name)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str, check: Callable[[Case], None]) -> None:
    assert verdict(check, made(name)) is None
