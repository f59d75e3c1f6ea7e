"""Every registered method keeps the contract: the checks of `lvm-bench check` over the whole registry."""

from collections.abc import Callable
from functools import cache

import pytest

from lvm_bench.execution.check import CHECKS, Case, case, verdict
from lvm_bench.suites import bench_toml
from lvm_bench.suites.discover import method_files

NAMES = sorted(method_files(bench_toml.defaults_folder() / "bench.toml"))


@cache
def made(name: str) -> Case:
    return case(name)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str, check: Callable[[Case], None]) -> None:
    assert verdict(check, made(name)) is None
