"""Stand-ins for networks, and evidence on few images: what metrics cost is seen without computing what they measure."""

import math
from dataclasses import replace
from functools import partial

import torch

from lvm_bench.data.images import Data
from lvm_bench.evaluation.evidence import Evidence
from lvm_bench.evaluation.features import Extractor
from lvm_bench.evaluation.of_controls import RealImages, StandardNormal
from lvm_bench.evaluation.of_model import ModelEvidence
from lvm_bench.modelling.contract import Method
from lvm_bench.seeding import generator
from lvm_bench.suites.job import Job


class StandIn(torch.nn.Module):
    """Gives random numbers in the place of a network, and counts the images that it is given."""

    def __init__(self, *shape: int, price: float = 0.0):
        super().__init__()
        self.shape, self.price, self.count, self.stream = shape, price, 0, generator(0, "stand-in")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += len(x)
        return torch.randn(len(x), *self.shape, generator=self.stream).to(x.device)


class Failing(StandIn):
    """Raises, in the place of an extractor, the error that its features raised."""

    def __init__(self, error: BaseException):
        super().__init__(0)
        self.error, self.trace = error, error.__traceback__

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise self.error.with_traceback(self.trace)


def evidence(
    job: Job, method: Method | None, data: Data, extractor: StandIn | None, share: float, device: str
) -> Evidence:
    """Evidence of a control, or of a method with stand-ins for its networks, on a share of the images and draws."""
    settings = job.evaluation
    splits = {key: getattr(data, key) for key in ("train", "validation", "test", "novel")}
    few = {key: images and images.take(slice(math.ceil(len(images) * share))) for key, images in splits.items()}
    draws = {key: max(round(n * share), 50) for key, n in settings if isinstance(n, int) and n > 100}
    made_up = Extractor(settings.extractor, "", "", extractor, device) if extractor else None
    context = (replace(data, **few), made_up, settings.model_copy(update=draws), job.seed, device)
    control = RealImages if job.method == "real-images" else partial(StandardNormal, job.training.latent)
    found: Evidence = ModelEvidence(method, *context) if method else control(*context)
    if extractor and not isinstance(extractor, Failing):  # made once for all runs
        found.once("features", "reference", lambda: extractor(found.splits["train"]).cpu())
    if method and (grid := data.grid):  # all of it is scored, however few the draws
        found.once("codes", "whole grid", lambda: method.encoder(torch.empty(len(grid.order), 0)))
    return found
