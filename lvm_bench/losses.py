"""The public import path of the losses that methods share."""

from lvm_bench.modelling.losses import *  # noqa: F403
