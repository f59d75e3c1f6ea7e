"""A training step on a GPU: compiled, and replayed from a CUDA graph, beside the same step as the trainer takes it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.rows import device, fresh
from benchmarks.measure import relative, taking_turns
from benchmarks.rows import Equality, Goal, Measured, NotMeasured, Row, add
from benchmarks.training import BATCH, LABELS, pixels, task
from lvm_bench.training.loop import step, steps
from lvm_bench.training.state import Training

WARM = 3  # steps before a capture, in which Adam creates its moments and cuDNN its plans
CHECKED = 9  # steps whose last loss is compared; the AVAE encodes its images anew before the eighth of them
STEPS, REPEATS = 100, 5

Losses = dict[str, Tensor]


class Walk:
    """The steps of a training, taken one by one. `take` is how a step is taken: as in `train`, until it is changed."""

    def __init__(self, job: Any, images: Tensor, place: str):
        self.training = Training(fresh(job, len(images), 0, place), job.training, images, 0)
        self.loop = steps(self.training, images[:BATCH], stop=lambda: False, due=lambda _=0.0: False)
        self.wait = torch.cuda.synchronize if place == "cuda" else lambda: None
        self.take: Callable[[Tensor], Losses] = self.eager
        self.chosen = next(self.loop)

    def eager(self, chosen: Tensor) -> Losses:
        """A step as in `train`. Its losses are detached, so that nothing keeps its autograd graph."""
        return {name: value.detach() for name, value in step(self.training, chosen).items()}

    def advance(self, count: int) -> Losses:
        """Take so many steps and wait for the device. Returns the losses of the last one."""
        losses: Losses = {}
        for _ in range(count):
            losses = self.take(self.chosen)
            self.chosen = self.loop.send(losses)
        self.wait()
        return losses


def compiled(walk: Walk, **options: Any) -> str:
    """Compile the losses with `torch.compile`, their gradients with them. Tells where the graph breaks."""
    from torch._dynamo.utils import counters

    counters.clear()
    method: Any = walk.training.method
    method.losses = torch.compile(method.losses, **options)
    if method.adversary is not None:
        method.adversary_losses = torch.compile(method.adversary_losses, **options)
    walk.advance(WARM)
    breaks = sum(counters["graph_break"].values())
    return f"torch.compile breaks the losses at {breaks} places" if breaks else ""


def on_side_stream(action: Callable[[], object]) -> None:
    """Do something on a stream of its own, as a warm-up before a capture must be done."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        action()
    torch.cuda.current_stream().wait_stream(side)


def cuda_graph(action: Callable[[], Losses], generator: torch.Generator) -> Callable[[], Losses]:
    """Capture an action that draws from `generator` in a CUDA graph. What is returned replays it."""
    graph = torch.cuda.CUDAGraph()
    if torch.__version__ < (2, 14):  # later versions find the generators themselves, and warn
        graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        losses = action()

    def replay() -> Losses:
        graph.replay()
        return losses

    return replay


def captured(
    walk: Walk,
    aside: Callable[[Callable[[], object]], None] = on_side_stream,
    capture: Callable[[Callable[[], Losses], torch.Generator], Callable[[], Losses]] = cuda_graph,
) -> str:
    """Capture a whole step, from the batch's pixels to Adam, and replay it from then on.

    The learning rate is a number in the graph. Whatever comes before a step (the seed of its noise, the AVAE's
    encoding) stays outside.
    """
    training, method = walk.training, walk.training.method
    for optimiser in training.optimisers:
        for group in optimiser.param_groups:
            group["capturable"] = True
    aside(partial(walk.advance, WARM))
    # Gradients that are left from the warm-up would be written to wherever they were.
    method.zero_grad(set_to_none=True)
    chosen, buffers = walk.chosen.clone(), dict(method.named_buffers())
    replay = capture(partial(walk.eager, chosen), method.generator)

    def take(now: Tensor) -> Losses:
        chosen.copy_(now)
        for name, value in buffers.items():
            found = method.get_buffer(name)
            if found is not value:  # `start_step` put another tensor there, and the graph reads the first
                value.copy_(found)
                owner, _, own = name.rpartition(".")
                setattr(method.get_submodule(owner), own, value)
        return replay()

    walk.take = take
    return ""


def against_eager(change: Callable[[Walk], str], name: str, small: bool, place: str) -> Measured:
    """A step of a method after `change`, and as the trainer takes it. Raises NotMeasured if it cannot be changed."""
    job = task(name, small, *(["m=500"] if small and name == "avae" else []))
    repeats, count = (1, 2) if small else (REPEATS, STEPS)
    batches = WARM + CHECKED + repeats * count + 1  # one is left, so that the epoch does not end
    images = pixels(job.arguments.get("m", 0) + batches * BATCH).to(place)
    ours, theirs = (Walk(job, images, place) for _ in range(2))
    theirs.advance(WARM)
    try:
        note = change(ours)
        last = [float(walk.advance(CHECKED)["loss"]) for walk in (ours, theirs)]
    except RuntimeError as error:  # of the capture or the compiler
        told = str(error).strip() or type(error).__name__
        raise NotMeasured(f"it cannot be done: {told.splitlines()[0]}") from error
    equality = Equality(f"loss of step {WARM + CHECKED}, relative", relative(*last), 1e-3)
    sides = (partial(walk.advance, count) for walk in (ours, theirs))
    mine, others, _, _ = taking_turns(*sides, repeats=repeats, warm=False)
    return Measured([s / count for s in mine], [s / count for s in others], equality, note=note)


def _measure(change: Callable[[Walk], str], name: str, small: bool) -> Measured:
    return against_eager(change, name, small, device())


for _change, _row, _what in (
    (captured, "gpu-graph", "replayed from a CUDA graph"),
    (compiled, "gpu-compile", "its losses by `torch.compile`"),
):
    for _name, _label in LABELS.items():
        what = f"training step on the GPU, {_label}, MNIST network, batch 100, {_what}"
        measure = partial(_measure, _change, _name)
        add(Row(f"{_row}-{_name}", what, "torch", Goal(faster=1.0), measure, peer="our own eager step"))
