"""A method on a few small images, as the checks of its contract ask for it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from lvm_bench import registry
from lvm_bench.data.files import data_root
from lvm_bench.data.images import Data, Images, load
from lvm_bench.errors import UserError
from lvm_bench.execution.job_data import load_data
from lvm_bench.execution.task import spec_of
from lvm_bench.modelling.contract import Epoch, Method, Spec, resident, to_float
from lvm_bench.seeding import generator
from lvm_bench.suites import bench_toml
from lvm_bench.suites.job import Job
from lvm_bench.suites.resolve import resolve
from lvm_bench.training.batches import encode
from lvm_bench.training.build import build
from lvm_bench.training.checkpoint import Checkpoints
from lvm_bench.training.loop import train
from lvm_bench.training.stages import of_model
from lvm_bench.training.state import Trained

PACKAGED = bench_toml.defaults_folder() / "bench.toml"
SETTINGS = ("epochs=3",)  # of the trainings that are checked
DIGITS = "digits"  # the data set that needs no file
MOST = 1200  # images that train, about as many as the digits have


@dataclass
class Case:
    """A method with its settings for a data set, and images to train it with."""

    job: Job
    data: Data

    @property
    def cls(self) -> type[Method]:
        return registry.METHODS[self.job.method_base]

    @property
    def spec(self) -> Spec:
        return spec_of(self.job, self.data)

    def images(self) -> Tensor:
        return resident(self.data.train.pixels)

    def batch(self) -> Tensor:
        return to_float(self.images()[: self.spec.batch_size], self.spec.value_range)

    @cached_property
    def learns(self) -> bool:
        """Whether there is anything to train. A given model needs no losses, and is checked without them."""
        return bool(of_model(self.built()))

    @property
    def file(self) -> Path:
        """Where the method is written."""
        return Path(registry.source_file(self.cls)).resolve()

    def place(self, name: str = "") -> str:
        """`file, line n`: where the class, or one of its functions, is written; of one that it inherits, the class."""
        function = inspect.unwrap(vars(self.cls)[name]) if name in vars(self.cls) else None
        line = function.__code__.co_firstlineno if function else inspect.getsourcelines(self.cls)[1]
        return f"{self.file}, line {line}"

    def built(self) -> Method:
        """A new instance."""
        settings = self.job.training
        return build(
            self.cls, self.job.arguments, self.spec, settings.network, settings.width, 0, streams=settings.streams
        )

    def fresh(self) -> Method:
        """A new instance, ready for its first batch as in training."""
        method = self.built()
        epoch = Epoch(0, self.images(), self.spec.value_range, generator(0, "check"))
        with torch.no_grad():
            method.start_epoch(epoch)
            method.start_step(0)
        return method

    def trained(self, checkpoints: Checkpoints | None = None, stop: Callable[[], bool] = lambda: False) -> Trained:
        """The method after the real loop's training of a few epochs."""
        method, settings = self.built(), self.job.training
        if not self.learns:
            settings = settings.model_copy(update={"epochs": 0})
        validation = resident(self.data.validation.pixels)
        scored = self.job.evaluation.weights
        result = train(
            method, self.images(), validation, settings, 0, checkpoints=checkpoints, stop=stop, weights=scored
        )
        method.finish(encode(method, self.images()))
        return result

    @cached_property
    def whole(self) -> Trained:
        """The same without a stop, trained once for all checks. They leave its weights as they are."""
        return self.trained()


def case(name: str, plugins: tuple[Path, ...] = ()) -> Case:
    """The method `name` with the packaged settings of the suite `quick`, three epochs long."""
    return cases((name,), plugins)[0]


def cases(
    names: tuple[str, ...], plugins: tuple[Path, ...] = (), data: str = DIGITS, settings: tuple[str, ...] = ()
) -> list[Case]:
    """Methods with the packaged settings of the suite `quick`, three epochs long, for a data set of any name.

    `settings` are those of `--set`. UserError where one of them, or the data set, is unknown or not valid, and where
    the data set has no image of the size that the network takes.
    """
    suite = resolve(
        PACKAGED, "quick", methods=names, datasets=(data,), seeds=(0,), plugins=plugins, settings=SETTINGS + settings
    )
    if suite.broken:
        raise UserError("\n".join(suite.broken.values()))
    images = _images(suite.jobs[0])
    made = [Case(job, images) for job in suite.jobs]
    if settings or data != DIGITS:  # then a refusal is the user's mistake, and no broken contract
        for each in made:
            if not each.cls.declines(each.spec):
                _refuses(each)
    return made


def _refuses(made: Case) -> None:
    """Raise the UserError of a method or network that does not take its settings or its images, if there is one."""
    try:
        made.built()
    except UserError:
        raise
    except Exception:  # told by the checks
        return


def _images(job: Job) -> Data:
    """The digits, or the first images of a data set whose shape only its files tell.

    Where the shape is known, no file is read: the digits are enlarged to it, and mapped to the value range.
    """
    info = registry.DATASETS[job.dataset_base].info
    if job.dataset_base == DIGITS or info.outline is None:
        data = load_data(job, data_root(None))
        return data if job.dataset_base == DIGITS else replace(data, train=data.train.take(slice(MOST)))
    shape, training = info.outline(**job.options).shape, job.training
    data = load(DIGITS, Path(), options={})

    def few(images: Images, limit: int | str = "all") -> Images:
        return Images(enlarged(images.pixels, shape)).take(slice(None if limit == "all" else int(limit)))

    train, validation = few(data.train, training.train_images), few(data.validation, training.validation_images)
    return Data(job.dataset, train, validation, few(data.test), info.value_range, data.fingerprint)


def enlarged(pixels: UInt8[np.ndarray, "n 1 u v"], shape: tuple[int, int, int]) -> UInt8[np.ndarray, "n c h w"]:
    """Grey images at another size, each pixel that of the nearest place, alike in every channel."""
    c, h, w = shape
    rows, columns = (np.arange(size) * old // size for size, old in zip((h, w), pixels.shape[2:], strict=True))
    return np.repeat(pixels[:, :, rows][..., columns], c, axis=1)
