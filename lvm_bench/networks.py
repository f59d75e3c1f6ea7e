"""The public import path of the networks and of their decorator."""

from lvm_bench.modelling.networks import *  # noqa: F403
