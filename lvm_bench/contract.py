"""The public face of `modelling/contract.py`."""

from lvm_bench.modelling.contract import *  # noqa: F403
