"""Models of our own runs: run:results/<suite>/runs/<data set>/<method>/seed-<k>."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lvm_bench.modelling.contract import Method, posterior_of
from lvm_bench.modelling.posteriors import Posterior
from lvm_bench.models.trained import finished, load, weights_file
from lvm_bench.runs.layout import RECORD
from lvm_bench.text import setting_text

_TOLD = ("network", "width", "epochs", "train_images", "seed")  # settings of its training, beside its arguments


class OfRun:
    """The model of a run, as `Adapted` takes it."""

    def __init__(self, name: str, method: Method, settings: dict[str, Any]):
        self.name, self.method = name, method
        self.value_range, self.shape = method.spec.value_range, method.spec.shape
        told = {name: settings[name] for name in _TOLD if name in settings} | settings["arguments"]
        self.settings = {"run": f"{settings['method']} on {settings['dataset']}"}
        self.settings |= {name: setting_text(value) for name, value in told.items()}
        self.data = settings["dataset"]
        self.encode, self.decode, self.log_prior = method.encode, method.decode, method.log_prior
        self.prior = None if method.cannot_sample else self._prior
        self.target_variance = None if method.cannot_sample else method.target_variance

    def posterior(self, x: Float[Tensor, "b c h w"]) -> Posterior | None:
        """q(z|x) of each image; None for a deterministic encoder."""
        return posterior_of(self.method, x)

    def _prior(self, n: int) -> Float[Tensor, "n l"]:
        """n codes of its first sampler, which follow from the state of torch's own generator."""
        seed, device = int(torch.randint(2**62, ())), next(self.method.parameters()).device
        self.method.generator = torch.Generator(device).manual_seed(seed)
        return getattr(self.method, self.method.samplers[0])(n)


def opened(folder: str) -> OfRun:
    """The model of a run's folder. UserError where it is none of a finished run."""
    found = load(folder)
    return OfRun(f"run:{folder}", found.method, found.settings)


def files(folder: str) -> list[Path]:
    """The record of the run, and the weights that it was scored with."""
    return [Path(folder) / RECORD, Path(folder) / weights_file(finished(Path(folder)))]
