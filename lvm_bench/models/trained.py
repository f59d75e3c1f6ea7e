"""`lvm_bench.load`: the trained model of a run's folder. Nothing is unpickled."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load as tensors_of
from torch import Tensor

from lvm_bench import disk, registry
from lvm_bench.errors import RunError, UserError
from lvm_bench.evaluation.of_model import slerp
from lvm_bench.modelling.contract import Method, Spec, to_float
from lvm_bench.models.adapted import far_outside
from lvm_bench.registry import DATASETS, METHODS
from lvm_bench.runs.layout import IMAGES, RECORD, WEIGHTS
from lvm_bench.runs.record import checked_record
from lvm_bench.seeding import derive
from lvm_bench.suites import bench_toml, given
from lvm_bench.suites.discover import extensions
from lvm_bench.suites.job import TrainingSettings, is_control
from lvm_bench.training.build import build

Pixels = np.ndarray | Tensor  # uint8, or floats in the value range [n c h w]
Codes = np.ndarray | Tensor  # floats [n l]

AT_ONCE = 500  # images


class Model:
    """A trained model: images in, codes out, and back.

    Images are uint8 pixels, or floats in `spec.value_range`; results are float32 tensors on the CPU, images in that
    range. `settings` are those of its run.
    """

    def __init__(self, method: Method, settings: dict[str, Any]):
        self.method, self.settings = method.eval(), settings

    @property
    def spec(self) -> Spec:
        """The facts of its task: shape and value range of images, latent size, number of training images."""
        return self.method.spec

    @torch.no_grad()
    def encode(self, images: Pixels) -> Float[Tensor, "n l"]:
        """The code of each image; the mean of its posterior, where there is one."""
        return self._in_parts(self.method.encode, self._floats(images))

    @torch.no_grad()
    def decode(self, codes: Codes) -> Float[Tensor, "n c h w"]:
        """The image of each code. UserError unless codes are [n l]."""
        z = torch.as_tensor(codes)
        if z.ndim != 2 or z.shape[1] != self.spec.latent:
            raise UserError(f"Codes have the shape {tuple(z.shape)}: this model takes (n, {self.spec.latent}).")
        return self._in_parts(self.method.decode, z.float())

    def reconstruct(self, images: Pixels) -> Float[Tensor, "n c h w"]:
        """decode(encode(images))."""
        return self.decode(self.encode(images))

    @torch.no_grad()
    def sample(self, n: int, seed: int = 0) -> Float[Tensor, "n c h w"]:
        """n images decoded from the prior; the same seed gives the same images. UserError for a model without one."""
        if self.method.cannot_sample:
            raise UserError(f"{type(self.method).__name__} has no samples: {self.method.cannot_sample}.")
        self.method.generator.manual_seed(derive(seed, "samples"))
        return self.decode(getattr(self.method, self.method.samplers[0])(n))

    def interpolate(self, a: Pixels, b: Pixels, steps: int = 11) -> Float[Tensor, "n t c h w"]:
        """Images along the spherical path from the code of each image in a to that of its partner in b."""
        begin, end = self.encode(a), self.encode(b)
        if len(begin) != len(end):
            raise UserError(f"{len(begin)} images begin a path and {len(end)} end one: give as many of both.")
        t = torch.linspace(0, 1, steps, dtype=torch.float64).repeat(len(begin))[:, None]
        path = slerp(begin.repeat_interleave(steps, 0), end.repeat_interleave(steps, 0), t)
        return self.decode(path).unflatten(0, (len(begin), steps))

    def _floats(self, images: Pixels) -> Float[Tensor, "n c h w"]:
        """Images in the value range. UserError for another shape, and for values far outside the range."""
        found = torch.as_tensor(images)
        if tuple(found.shape[1:]) != self.spec.shape or not (found.is_floating_point() or found.dtype == torch.uint8):
            raise UserError(
                f"Images are {found.dtype} of shape {tuple(found.shape)}: this model takes uint8, or floats in "
                f"{self.spec.value_range}, of shape (n, {', '.join(map(str, self.spec.shape))})."
            )
        if found.dtype == torch.uint8:
            return to_float(found, self.spec.value_range)
        if (extremes := far_outside(found, self.spec.value_range)) is not None:
            raise UserError(
                f"Images have values from {extremes[0]:.3g} to {extremes[1]:.3g}: this model takes uint8, or floats in "
                f"{self.spec.value_range}."
            )
        return found.float()

    def _in_parts(self, function: Any, values: Tensor) -> Tensor:
        device = self.method.generator.device
        return torch.cat([function(part.to(device)).float().cpu() for part in values.split(AT_ONCE)])


def load(folder: str | Path, *, plugins: Sequence[str | Path] = (), device: str = "cpu") -> Model:
    """The model of a finished run, `results/<suite>/runs/<data set>/<method>/seed-<k>`, as it was scored.

    `plugins` are the files that register its method, network or data set, where these are not the package's own.
    UserError where the folder is no such run, or its weights are not the recorded ones.
    """
    folder = Path(folder)
    record = finished(folder)
    settings = record["settings"]
    _load_extensions(settings, tuple(map(Path, plugins)))
    if (now := given.checksums(settings["method"], settings["arguments"])) != (then := settings.get("files", [])):
        raise UserError(f"{folder}: the files of its weights are not those of its run: {then} then, {now} now.")
    if registry.code_digest(settings["method"]) != record["environment"]["versions"].get("method"):
        file = registry.source_file(METHODS[settings["method"]])
        warnings.warn(f"{folder}: {file} has changed since: it may read these weights otherwise.", stacklevel=2)
    training = TrainingSettings(**{name: settings[name] for name in TrainingSettings.model_fields if name in settings})
    method = build(
        METHODS[settings["method"]],
        settings["arguments"],
        _spec(folder, record, training),
        training.network,
        training.width,
        settings["seed"],
        device,
        training.precision,
        training.streams,
    )
    name = weights_file(record)
    try:
        method.load_state_dict(tensors_of(_content(folder, record, name)))
    except (SafetensorError, RuntimeError) as error:
        raise UserError(
            f"{folder / name}: not the weights of the method {settings['method']!r} as it is now ({error})."
        ) from error
    return Model(method, settings)


def finished(folder: Path) -> dict[str, Any]:
    """The record of a run that was trained and measured; UserError for any other folder."""
    *_, dataset, method, seed = ("", "", "", *folder.resolve().parts)
    digits = seed.removeprefix("seed-")
    if not (folder / RECORD).is_file() or not digits.isdecimal() or is_control(method):
        raise UserError(
            f"{folder}: not the folder of a run of a method. Give results/<suite>/runs/<data set>/<method>/seed-<k>."
        )
    try:
        record = checked_record(folder, (dataset, method, int(digits)))
    except RunError as error:
        raise UserError(str(error)) from error
    if record["status"] != "done":
        raise UserError(f"{folder}: this run is {record['status']}. Give its `lvm-bench run` again to finish it.")
    return record


def weights_file(record: dict[str, Any]) -> str:
    """The file of the weights that a run was scored with."""
    return WEIGHTS[record["settings"].get("weights", "last")]


def _content(folder: Path, record: dict[str, Any], name: str) -> bytes:
    try:
        return disk.read_whole(folder / name, record["files"][name])
    except KeyError as error:
        raise UserError(f"{folder / name}: is not in the record of its run.") from error
    except RunError as error:
        raise UserError(str(error)) from error


def _spec(folder: Path, record: dict[str, Any], training: TrainingSettings) -> Spec:
    """The facts of a run's task; the shape is that of the images that it left for figures."""
    shown = np.load(io.BytesIO(_content(folder, record, IMAGES)), allow_pickle=False)
    c, h, w = (int(size) for size in shown["real"].shape[1:])
    value_range = DATASETS[record["settings"]["dataset"]].info.value_range
    train = int(record["facts"]["train"])
    return Spec((c, h, w), value_range, training.latent, train, training.batch_size, training.likelihood)


def _load_extensions(settings: dict[str, Any], plugins: tuple[Path, ...]) -> None:
    """Load the files of a run's method, network and data set. UserError where one is not known here."""
    entries = extensions(bench_toml.config_file(None), plugins)
    for kind in ("method", "network", "dataset"):
        if (entry := entries[kind].get(settings[kind])) is None:
            word = bench_toml.WORDS[kind]
            raise UserError(
                f"The {word} {settings[kind]!r} of this run is not known here. Give the file that registers it, as in "
                'load(folder, plugins=["mine.py"]).'
            )
        registry.load(entry.file)
