"""Work on images batch by batch: minibatches of an epoch, validation, codes, and running means of losses."""

from typing import Any

import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from lvm_bench.errors import RunError
from lvm_bench.modelling.contract import Method, posterior_of, to_float
from lvm_bench.modelling.posteriors import each
from lvm_bench.suites.job import Streams


def minibatches(
    n: int,
    held_out: Tensor,
    size: int,
    order: torch.Generator,
    device: torch.device | str = "cpu",
    streams: Streams = "single",
) -> list[Tensor]:
    """Indices of one epoch in random order, without the held-out images. The last batch may be smaller.

    With `streams` "paired" the order of the images that are not held out is the same whichever are. A last batch of
    one image is dropped, because batch statistics (MMD, total correlation) need two.
    """
    keep = torch.ones(n, dtype=torch.bool)
    keep[held_out] = False
    if streams == "paired":
        everything = torch.randperm(n, generator=order)
        indices = everything[keep[everything]]
    else:
        indices = keep.nonzero().squeeze(1)
        indices = indices[torch.randperm(len(indices), generator=order)]
    # Copied to the device all at once: a copy per batch would wait for all earlier steps.
    batches = list(indices.to(device).split(size))
    return batches if len(batches[-1]) > 1 else batches[:-1]


@torch.no_grad()
def validate(
    method: Method, images: UInt8[Tensor, "v c h w"], batch_size: int, epoch: int = 0, function: str = "losses"
) -> dict[str, float]:
    """The mean of every loss that a function of the method gives of validation images. Puts it into eval mode."""
    method.eval()
    sums = Sums()
    chunks = images.split(batch_size)
    for chunk in chunks if len(chunks) == 1 or len(chunks[-1]) > 1 else chunks[:-1]:
        losses = getattr(method, function)(to_float(chunk, method.spec.value_range))
        if wrong := misgiven(losses, ("loss",)):
            raise RunError(f"{type(method).__name__}: {function}(x){wrong}.")
        sums.add(losses, len(chunk))
    sums.check(epoch, "validation")
    return sums.means()


@torch.no_grad()
def encode(method: Method, images: UInt8[Tensor, "n c h w"], size: int = 500) -> Float[Tensor, "n l"]:
    """The codes of images, in order, on the method's device. Puts the method into eval mode."""
    method.eval()
    chunks = (chunk.to(method.generator.device) for chunk in images.split(size))
    return torch.cat([method.encode(to_float(chunk, method.spec.value_range)) for chunk in chunks])


@torch.no_grad()
def aggregate(
    method: Method, images: UInt8[Tensor, "n c h w"], size: int = 500
) -> tuple[Float64[Tensor, "n l"], Float64[Tensor, " l"]]:
    """The codes of images, or their posterior means, and the variance of q(z) along each axis.

    The variance is that of the codes, or of the means plus the mean variance of q(z|x). Puts the method into eval mode
    and leaves its generator unchanged.
    """
    method.eval()
    before = method.generator.get_state()
    means, own = [], []
    for chunk in images.split(size):
        x = to_float(chunk, method.spec.value_range)
        posterior = posterior_of(method, x)
        if posterior is None:
            means.append(method.encode(x).double())
        else:
            means.append(posterior.mean.double())
            own.append(each(posterior, Tensor.double).variance)
    method.generator.set_state(before)
    codes = torch.cat(means)
    variance = codes.var(0, correction=0)
    return codes, variance + torch.cat(own).mean(0) if own else variance


def misgiven(losses: Any, needed: tuple[str, ...]) -> str:
    """Why these are no named scalars with the needed names, as words behind `losses(x)`; "" if they are."""
    if not isinstance(losses, dict):
        return f' returned {type(losses).__name__}, not a dict: return {{"loss": ...}}'
    for name in needed:
        if name not in losses:
            return f" has no entry {name!r}; it has {', '.join(map(str, losses)) or 'none'}"
    for name, value in losses.items():
        if not isinstance(value, Tensor):
            return f"[{name!r}] is a {type(value).__name__}, not a scalar tensor: leave out .item() and float()"
        if value.numel() != 1:
            return (
                f"[{name!r}] is no scalar tensor, it has the shape {tuple(value.shape)}: take its mean over the batch"
            )
    return ""


class Sums:
    """Running sums of losses. They stay on the device, so that the loop never waits for them."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.total = self.broken = torch.empty(0)
        self.count = 0

    def add(self, losses: dict[str, Tensor], n: int) -> None:
        """Add the losses of a batch of n images."""
        values = torch.stack([value.detach().to(torch.float64).reshape(()) for value in losses.values()])
        if not self.names:
            self.names = list(losses)
            self.total, self.broken = torch.zeros_like(values), torch.zeros_like(values, dtype=torch.bool)
        self.total += values * n
        # Only the first batch with a bad value shows the cause: after it every term is bad.
        self.broken = torch.where(self.broken.any(), self.broken, ~torch.isfinite(values))
        self.count += n

    def check(self, epoch: int, what: str) -> None:
        """RunError if a loss was not finite; it names the terms that broke first."""
        broken = [name for name, bad in zip(self.names, self.broken.tolist(), strict=True) if bad]
        if broken:
            causes = [name for name in broken if not name.endswith("loss")] or broken
            raise RunError(
                f"The term {' and '.join(map(repr, causes))} became NaN or infinite in epoch {epoch} ({what}). "
                "A smaller learning rate or a weaker regulariser may help."
            )

    def means(self) -> dict[str, float]:
        """The mean of every loss per image."""
        return dict(zip(self.names, (self.total / self.count).tolist(), strict=True))
