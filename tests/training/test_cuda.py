"""Training steps on CUDA tensors without values: torch finds devices, shapes and kernels, and computes nothing.

No GPU is needed. Everything that would wait for it in a step is refused: reading a value, moving a tensor.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lvm_bench import registry
from lvm_bench.modelling.contract import Method, Spec
from lvm_bench.suites import bench_toml
from lvm_bench.suites.discover import extensions
from lvm_bench.suites.resolve import resolve
from lvm_bench.training import numerics
from lvm_bench.training.build import build
from lvm_bench.training.loop import step
from lvm_bench.training.state import Training
from lvm_bench.training.together import Joint

pytestmark = pytest.mark.skipif(not torch.backends.cuda.is_built(), reason="this torch knows no CUDA tensors")
FILE = bench_toml.defaults_folder() / "bench.toml"
SMALL = (
    "width=0.2",
    "methods.avae.m=30",
    "methods.avae.k_b=2",
    "methods.aae.hidden=[20]",
    "methods.factor-vae.hidden=[20]",
)
METHODS = sorted(extensions(FILE)["method"])
N = 200
GPU = FakeTensorMode(allow_non_fake_inputs=True)  # only one, because tensors of two modes cannot meet


class Generator(torch.Generator):
    """A generator of the GPU."""

    device = torch.device("cuda", 0)

    def manual_seed(self, seed: int) -> "Generator":
        return self

    def get_state(self) -> Tensor:
        return torch.zeros(16, dtype=torch.uint8)

    def set_state(self, state: Tensor) -> None:
        assert state.device.type == "cpu"


class Watch(TorchDispatchMode):
    """Refuses everything that waits for the device and tensors of two devices. Notes the types of products."""

    def __init__(self) -> None:
        super().__init__()
        self.products: set[torch.dtype] = set()

    def __torch_dispatch__(
        self, function: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        moves = function.overloadpacket is torch.ops.aten._to_copy
        # A number of the CPU may come along, if it is not moved.
        tensors = [v for v in tree_leaves((args, kwargs)) if isinstance(v, Tensor) and (v.dim() or moves)]
        devices = {value.device.type for value in tensors}
        if tensors and kwargs.get("device") is not None:
            devices.add(torch.device(kwargs["device"]).type)
        if len(devices) > 1:
            raise RuntimeError(f"{function}: tensors of two devices in a step")
        if function.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.bmm):
            self.products.add(tensors[-1].dtype)
        return function(*args, **kwargs)


@pytest.fixture(autouse=True)
def without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU's generator can draw, and nothing asks for what only a driver can give."""

    def placed(draw: Any) -> Any:
        def drawn(*args: Any, generator: Any = None, device: Any = "cpu", **kwargs: Any) -> Tensor:
            if isinstance(generator, Generator):
                assert torch.device(device).type == "cuda"
                generator = None
            return draw(*args, generator=generator, device=device, **kwargs)

        return drawn

    for name in ("randn", "rand", "randint"):
        monkeypatch.setattr(torch, name, placed(getattr(torch, name)))
    # A driver would start the threads that compute gradients.
    monkeypatch.setattr("lvm_bench.training.loop.optimise", lambda *_: None)
    monkeypatch.setattr(Joint, "_descend", lambda *_: None)
    monkeypatch.setattr(Joint, "_compare", lambda *_: None)  # it waits for the device, once


def trainings(name: str, precision: str) -> list[Training]:
    """Two trainings of a method on the GPU."""
    jobs = resolve(FILE, "quick", methods=(name,), settings=(*SMALL, f"precision={precision}")).jobs[:2]
    found = []
    for job in jobs:
        settings = job.training
        spec = Spec((1, 8, 8), (0, 1), settings.latent, N, settings.batch_size, settings.likelihood)
        cls = registry.METHODS[job.method_base]
        method = build(cls, job.arguments, spec, settings.network, settings.width, job.seed)
        with GPU:
            images = torch.empty(N, 1, 8, 8, dtype=torch.uint8, device="cuda")
            found.append(Training(moved(method), settings, images, job.seed))
    return found


def moved(method: Method) -> Method:
    """The method as `build` makes it on a GPU."""
    for module in method.to(memory_format=torch.channels_last).modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(GPU.from_tensor(weight.detach()).cuda()))
        for name, values in list(module.named_buffers(recurse=False)):
            setattr(module, name, GPU.from_tensor(values).cuda())
    method.generator = Generator()
    return method


def batch(training: Training) -> Tensor:
    return torch.zeros(training.settings.batch_size, dtype=torch.int64, device="cuda")


OF_DISTANCES = {"avae", "wae-mmd", "info-vae", "sinkhorn-ae", "ldc-vae"}  # their products avoid TF32 in float64


@pytest.mark.parametrize("precision", ["float32", "tf32"])
@pytest.mark.parametrize("name", METHODS)
def test_a_step_stays_on_the_gpu_and_waits_for_nothing(name: str, precision: str) -> None:
    training = trainings(name, precision)[0]
    with GPU, numerics.fixed_numerics(1), training.at_work():
        training.start_epoch()
        chosen = batch(training)
        step(training, chosen)  # creates what depends on the size of a batch alone
        with Watch() as watch:
            for index in range(3):
                with torch.no_grad():
                    training.method.start_step(index)
                losses = step(training, chosen)
                training.sums.add(losses, len(chosen))
        assert {loss.device.type for loss in losses.values()} == {"cuda"}
        of_distances = name in OF_DISTANCES and precision == "tf32"
        assert watch.products == {torch.float32} | ({torch.float64} if of_distances else set())


@pytest.mark.parametrize("name", METHODS)
def test_a_step_of_several_seeds_stays_on_the_gpu_and_waits_for_nothing(name: str) -> None:
    two = trainings(name, "float32")
    with GPU, numerics.fixed_numerics(1):
        for training in two:
            training.start_epoch()
        joint, chosen = Joint(two), [batch(training) for training in two]
        joint.step(chosen)  # the first step compares with each seed alone
        with Watch():
            for index in range(3):
                for training in two:
                    with torch.no_grad():
                        training.method.start_step(index)
                losses = joint.step(chosen)
                for training in two:
                    training.sums.add(losses[training], len(chosen[0]))
        assert {loss.device.type for of_seed in losses.values() for loss in of_seed.values()} == {"cuda"}


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: float(x.sum()),
        lambda x: x[x > 0],
        lambda x: x[torch.zeros(2, dtype=torch.int64)],
        lambda x: x + torch.ones(3),
        lambda x: x * torch.tensor(2.0).to("cuda"),
        lambda x: x.cpu(),
    ],
)
def test_what_waits_is_refused(waits: Callable[[Tensor], object]) -> None:
    with GPU, Watch(), pytest.raises((DataDependentOutputException, DynamicOutputShapeException, RuntimeError)):
        waits(torch.empty(3, device="cuda"))
