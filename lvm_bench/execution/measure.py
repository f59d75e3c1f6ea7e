"""`lvm_bench.evaluate`: the scores of a model on images, without a suite and without a results folder."""

import tempfile
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from lvm_bench.data.files import data_root
from lvm_bench.data.images import Data, Images, fingerprint, own_splits
from lvm_bench.errors import UserError, did_you_mean
from lvm_bench.evaluation import score
from lvm_bench.evaluation.features import Extractor, Request
from lvm_bench.evaluation.of_model import ModelEvidence
from lvm_bench.evaluation.perceptual import perceptual
from lvm_bench.modelling.contract import Method, Spec, resident, to_float
from lvm_bench.models.adapted import Adapted, by_size, check, code_shape
from lvm_bench.models.trained import Model
from lvm_bench.registry import EXTRACTORS, METRICS, load_all, metric_of
from lvm_bench.seeding import generator
from lvm_bench.suites import bench_toml
from lvm_bench.suites.discover import extensions
from lvm_bench.suites.job import EvaluationSettings
from lvm_bench.training.numerics import fixed_numerics

CHECKED = 16  # images that a model is tried on before it is measured

Pixels = np.ndarray | Tensor  # uint8 [n c h w]


def evaluate(
    model: Any,
    images: Pixels,
    *,
    train: Pixels | None = None,
    extractor: str | Extractor | None = None,
    metrics: list[str] | Literal["all"] = "all",
    seed: int = 0,
    device: str = "cpu",
    **settings: Any,
) -> dict[str, float]:
    """The scores of a model on held-out images, by key as in a run's scores.json.

    `model` is what `load` gives, or any object with encode and decode (docs/score.md). Distances compare with the
    images `train`; without them a sixth of `images`, in a fixed random order, is held out, and the rest stands for
    them. Without an extractor, metrics of features are left out. Further settings are those of [evaluate] in
    bench.toml. Warns of each named metric that has no score. UserError for what cannot be measured.
    """
    root, chosen = data_root(None), _settings(metrics, settings)
    data = _data(images, train)
    method = adapted(model, data, device)
    space = extractor
    if isinstance(space, str):
        space = EXTRACTORS[space](Request(data, root, device, chosen.classifier_epochs))
    network = perceptual(root, device) if score.needs_perceptual(chosen.metrics) else None
    evidence = ModelEvidence(method, data, space, chosen, seed, str(method.generator.device), network)
    with tempfile.TemporaryDirectory() as folder, fixed_numerics(torch.get_num_threads()):
        scores = score.evaluate(evidence, Path(folder) / "partial.json", "", stop=lambda: False)
    for name in chosen.metrics if isinstance(chosen.metrics, list) else ():
        if name in METRICS and not any(metric_of(key, METRICS) == name for key in scores):
            needs_space = space is None and score.needs_features([name])
            reason = "give an extractor, which it needs" if needs_space else score.why_absent(evidence, name)
            warnings.warn(f"{name} has no score: {reason}.", stacklevel=2)
    return scores


def adapted(model: Any, data: Data, device: str) -> Method:
    """A model as a method for these data, after a few of their images went through it. UserError where they cannot."""
    c, h, w = (int(size) for size in data.train.pixels.shape[1:])
    if isinstance(model, Model):
        if model.spec.shape != (c, h, w):
            raise UserError(f"Images are {c}x{h}x{w} (c, h, w), and the model is made for {by_size(model.spec.shape)}.")
        return model.method
    latent = int(np.prod(code_shape(model, (c, h, w))))
    check(model, to_float(resident(data.test.pixels[:CHECKED]), data.value_range), data.value_range)
    method = Adapted(model, Spec((c, h, w), data.value_range, latent, len(data.train), CHECKED, "sse")).to(device)
    method.generator = generator(0, "noise", device=device)
    return method


def _settings(metrics: list[str] | Literal["all"], changed: dict[str, Any]) -> EvaluationSettings:
    """The settings of [evaluate] in the packaged bench.toml with those that were changed; their metrics are loaded."""
    if isinstance(metrics, str) and metrics != "all":
        raise UserError(f'metrics: {metrics!r} is no list. Give one, such as ["sse", "gaussian_kl"], or "all".')
    for name in changed:
        if name not in EvaluationSettings.model_fields:
            raise UserError(f"Unknown setting {name!r}.{did_you_mean(name, EvaluationSettings.model_fields)}")
    known = extensions(bench_toml.packaged())["metric"]
    for name in metrics if isinstance(metrics, list) else ():
        if name not in {*known, "all"}:
            raise UserError(f"Unknown metric {name!r}.{did_you_mean(name, known)}")
    load_all(known.values())
    tables = bench_toml.read(bench_toml.packaged())
    given = {"weights": tables["train"]["weights"], **tables["evaluate"], "metrics": metrics, **changed}
    try:
        return EvaluationSettings.model_validate(given, strict=True)
    except ValidationError as error:
        where = ", ".join(str(item["loc"][0]) for item in error.errors())
        raise UserError(f"{where}: {bench_toml.validation_reasons(error)}.") from error


def _data(images: Pixels, train: Pixels | None) -> Data:
    """Images as the splits of a data set that nobody named."""
    given = [_checked(each, name) for name, each in (("train", train), ("images", images)) if each is not None]
    if len({each.pixels.shape[1:] for each in given}) > 1:
        raise UserError(f"images are {given[1].pixels.shape[1:]} (c, h, w), and train {given[0].pixels.shape[1:]}.")
    if train is None:
        splits = own_splits("images", given[0], None)
        given = [splits.train, splits.test]
    return Data("images", given[0], given[1], given[1], (0, 1), fingerprint(given))


def _checked(images: Pixels, name: str) -> Images:
    found = images.cpu().numpy() if isinstance(images, Tensor) else np.asarray(images)
    if found.dtype != np.uint8 or found.ndim != 4:
        raise UserError(
            f"{name} are {found.dtype} of shape {found.shape}. Give uint8 [n c h w], such as "
            "(255 * x).round().astype('uint8')."
        )
    return Images(found)
