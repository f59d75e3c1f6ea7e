"""A masked autoregressive flow (MAF). Papamakarios, Pavlakou & Murray 2017, arXiv:1705.07057."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lvm_bench.errors import RunError
from lvm_bench.modelling.networks import initialise
from lvm_bench.modelling.posteriors import standard_normal_log_prob

BLOCKS = 5
HIDDEN = (128, 128)  # units of the layers of a block
PATIENCE = 5  # epochs without improvement before the training ends

_LARGEST = 7.0  # |log-scale|: without a bound a draw in the tails grows from axis to axis until it is infinite
_RATE, _BATCH = 1e-3, 500
_HELD_OUT = 10  # one of so many codes is held out


class Masked(nn.Linear):
    """A dense layer whose output i sees input j where `sees[i, j]`, and no other."""

    mask: Float[Tensor, "o i"]

    def __init__(self, sees: Bool[Tensor, "o i"]):
        super().__init__(sees.shape[1], sees.shape[0])
        self.register_buffer("mask", sees.float(), persistent=False)

    def forward(self, x: Float[Tensor, "b i"]) -> Float[Tensor, "b o"]:
        return nn.functional.linear(x, self.weight * self.mask, self.bias)


class MADE(nn.Module):
    """The mean and the log-scale of each axis, from the axes before it alone. Germain et al. 2015, arXiv:1502.03509."""

    def __init__(self, l: int, hidden: Sequence[int] = HIDDEN):
        super().__init__()
        # Hidden units see axes and units of their degree or less, outputs see those of less.
        inputs, *units = (torch.arange(l), *(torch.arange(size) % max(l - 1, 1) for size in hidden))
        layers = [Masked(after[:, None] >= before) for before, after in pairwise([inputs, *units])]
        last = Masked(inputs.repeat(2)[:, None] > units[-1])
        self.body = nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())), last)

    def forward(self, x: Float[Tensor, "b l"]) -> tuple[Float[Tensor, "b l"], Float[Tensor, "b l"]]:
        """(mu, alpha): given the axes before it, each axis is N(mu, exp(alpha)^2)."""
        mu, raw = self.body(x).chunk(2, dim=1)
        return mu, _LARGEST * (raw / _LARGEST).tanh()


class Flow(nn.Module):
    """Codes as invertible functions of standard normal noise: blocks of MADE, each in the reverse order of the last."""

    def __init__(self, l: int, stream: torch.Generator, blocks: int = BLOCKS, hidden: Sequence[int] = HIDDEN):
        super().__init__()
        self.l = l
        with torch.random.fork_rng(devices=[]):  # torch's own first weights, which are drawn anew
            self.blocks = nn.ModuleList(MADE(l, hidden) for _ in range(blocks))
        initialise(self, stream)

    def log_prob(self, x: Float[Tensor, "b l"]) -> Float[Tensor, " b"]:
        """The log density of each code in nats: equations 3 to 5."""
        log_scales = x.new_zeros(len(x))
        for block in self.blocks:
            mu, alpha = block(x)
            x = ((x - mu) * (-alpha).exp()).flip(1)
            log_scales = log_scales + alpha.sum(1)
        return standard_normal_log_prob(x) - log_scales

    @torch.no_grad()
    def inverse(self, noise: Float[Tensor, "b l"]) -> Float[Tensor, "b l"]:
        """The codes that `noise` stands for, axis after axis: equation 2."""
        for block in reversed(self.blocks):
            noise, x = noise.flip(1), torch.zeros_like(noise)
            for i in range(x.shape[1]):
                mu, alpha = block(x)
                x[:, i] = noise[:, i] * alpha[:, i].exp() + mu[:, i]
            noise = x
        return noise

    def sample(self, n: int, stream: torch.Generator) -> Float[Tensor, "n l"]:
        """n draws."""
        noise = torch.randn(n, self.l, generator=stream).to(next(self.parameters()))
        return torch.cat([self.inverse(part) for part in noise.split(1000)])


def fit(codes: Float[Tensor, "n l"], epochs: int, stream: torch.Generator) -> Flow:
    """The flow of the epoch that makes a held-out tenth of the codes most likely. Needs n >= 10.

    Adam; it ends early after `PATIENCE` epochs without improvement. RunError where no likelihood is finite.
    """
    flow = Flow(codes.shape[1], stream).to(codes)
    optimiser = torch.optim.Adam(flow.parameters(), _RATE, fused=True)
    order = torch.randperm(len(codes), generator=stream).to(codes.device)
    held_out, own = codes[order[: len(codes) // _HELD_OUT]], codes[order[len(codes) // _HELD_OUT :]]
    best, weights, since = -math.inf, flow.state_dict(), 0
    for _ in range(epochs):
        for chosen in torch.randperm(len(own), generator=stream).to(codes.device).split(_BATCH):
            optimiser.zero_grad()
            (-flow.log_prob(own[chosen]).mean()).backward()
            optimiser.step()
        with torch.no_grad():
            mean = float(flow.log_prob(held_out).mean())
        since = 0 if mean > best else since + 1
        if not since:
            best, weights = mean, {name: value.clone() for name, value in flow.state_dict().items()}
        elif since == PATIENCE:
            break
    if not math.isfinite(best):
        raise RunError("The ex-post sampler 'flow' has no finite likelihood of held-out codes. Leave it out of expost.")
    flow.load_state_dict(weights)
    return flow
