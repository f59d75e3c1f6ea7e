"""The public import path of kernel densities and their bandwidths."""

from lvm_bench.modelling.kde import *  # noqa: F403
