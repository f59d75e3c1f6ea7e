"""lvm-bench: the benchmark of latent generative models. What plug-ins and notebooks use stands here."""

import importlib
from typing import Any

__version__ = "0.2.0"

_HOMES = {
    "Method": "lvm_bench.modelling.contract",
    "Spec": "lvm_bench.modelling.contract",
    "Epoch": "lvm_bench.modelling.contract",
    "method": "lvm_bench.modelling.contract",
    "dataset": "lvm_bench.data.images",
    "network": "lvm_bench.modelling.networks",
    "metric": "lvm_bench.metrics.arrays",
    "extractor": "lvm_bench.evaluation.features",
    "load": "lvm_bench.models.trained",
    "scores": "lvm_bench.runs.tidy",
    "evaluate": "lvm_bench.execution.measure",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    """Names resolve on first use (PEP 562), so that importing the package does not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
