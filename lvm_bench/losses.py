"""The public face of `modelling/losses.py`."""

from lvm_bench.modelling.losses import *  # noqa: F403
