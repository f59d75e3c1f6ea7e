"""The public face of `modelling/kde.py`."""

from lvm_bench.modelling.kde import *  # noqa: F403
