"""The public import path of the posteriors that encoders may tell."""

from lvm_bench.modelling.posteriors import *  # noqa: F403
