"""The public face of `modelling/networks.py`."""

from lvm_bench.modelling.networks import *  # noqa: F403
