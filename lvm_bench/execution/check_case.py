"""A method on scikit-learn's digits, as the checks of its contract ask for it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from lvm_bench import registry
from lvm_bench.data.images import Data
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
from lvm_bench.training.state import Trained

PACKAGED = bench_toml.defaults_folder() / "bench.toml"
SETTINGS = ("epochs=3",)  # of the trainings that are checked


@dataclass
class Case:
    """A method with its settings for scikit-learn's digits."""

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
        validation = resident(self.data.validation.pixels)
        result = train(method, self.images(), validation, settings, 0, checkpoints=checkpoints, stop=stop)
        method.finish(encode(method, self.images()))
        return result

    @cached_property
    def whole(self) -> Trained:
        """The same without a stop, trained once for all checks. They leave its weights as they are."""
        return self.trained()


def case(name: str, plugins: tuple[Path, ...] = ()) -> Case:
    """The method `name` with the packaged settings of the suite `quick`, three epochs long."""
    suite = resolve(
        PACKAGED, "quick", methods=(name,), datasets=("digits",), seeds=(0,), plugins=plugins, settings=SETTINGS
    )
    if suite.broken:
        raise UserError("\n".join(suite.broken.values()))
    return Case(suite.jobs[0], load_data(suite.jobs[0], Path()))
