"""The public import path of the contract that a method keeps: `Method`, `Spec` and `Epoch`."""

from lvm_bench.modelling.contract import *  # noqa: F403
