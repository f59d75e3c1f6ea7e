"""Images in batches: the minibatches of an epoch, codes of many images, means of losses."""

import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from lvm_bench.errors import RunError
from lvm_bench.modelling.contract import Method, to_float


def minibatches(
    n: int, held_out: Tensor, size: int, order: torch.Generator, device: torch.device | str = "cpu"
) -> list[Tensor]:
    """Indices of one epoch in random order, without those held out; the partial last batch is kept.

    A last batch of one image is dropped: batch statistics (MMD, total correlation) need two.
    """
    keep = torch.ones(n, dtype=torch.bool)
    keep[held_out] = False
    indices = keep.nonzero().squeeze(1)
    # All at once: a batch's own copy to the device would wait for every step before it.
    batches = list(indices[torch.randperm(len(indices), generator=order)].to(device).split(size))
    return batches if len(batches[-1]) > 1 else batches[:-1]


@torch.no_grad()
def validate(method: Method, images: UInt8[Tensor, "v c h w"], batch_size: int, epoch: int = 0) -> dict[str, float]:
    """The mean of every loss over the validation images, in eval mode."""
    method.eval()
    sums = Sums()
    chunks = images.split(batch_size)
    for chunk in chunks if len(chunks) == 1 or len(chunks[-1]) > 1 else chunks[:-1]:
        sums.add(method.losses(to_float(chunk, method.spec.value_range)), len(chunk))
    sums.check(epoch, "validation")
    return sums.means()


@torch.no_grad()
def encode(method: Method, images: UInt8[Tensor, "n c h w"], size: int = 500) -> Float[Tensor, "n l"]:
    """The codes of images in eval mode, in order, on the method's device."""
    method.eval()
    chunks = (chunk.to(method.generator.device) for chunk in images.split(size))
    return torch.cat([method.encode(to_float(chunk, method.spec.value_range)) for chunk in chunks])


@torch.no_grad()
def aggregate_variance(method: Method, images: UInt8[Tensor, "n c h w"], size: int = 500) -> Float64[Tensor, "l"]:
    """The variance of q(z) over images along each axis: of codes, for Gaussian encoders var(mu) + mean exp(log_var).

    In eval mode; the method's generator is left as it was found.
    """
    method.eval()
    before = method.generator.get_state()
    means, own = [], []
    for chunk in images.split(size):
        x = to_float(chunk, method.spec.value_range)
        mu, log_var = method.posterior(x) if method.heads == 2 else (method.encode(x), None)
        means.append(mu.double())
        if log_var is not None:
            own.append(log_var.double().exp())
    method.generator.set_state(before)
    variance = torch.cat(means).var(0, correction=0)
    return variance + torch.cat(own).mean(0) if own else variance


class Sums:
    """Running means of a batch's losses, kept on the device: the loop never waits for it."""

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
        # The first batch that breaks tells the cause; later ones break everywhere.
        self.broken = torch.where(self.broken.any(), self.broken, ~torch.isfinite(values))
        self.count += n

    def check(self, epoch: int, what: str) -> None:
        """RunError when a loss was not finite, naming the terms that broke first."""
        broken = [name for name, bad in zip(self.names, self.broken.tolist(), strict=True) if bad]
        if broken:
            causes = [name for name in broken if not name.endswith("loss")] or broken
            raise RunError(
                f"The term {' and '.join(map(repr, causes))} became NaN or infinite in epoch {epoch} ({what}). "
                "A smaller learning rate or a weaker regulariser may help."
            )

    def means(self) -> dict[str, float]:
        """Mean per image of every loss."""
        return dict(zip(self.names, (self.total / self.count).tolist(), strict=True))
