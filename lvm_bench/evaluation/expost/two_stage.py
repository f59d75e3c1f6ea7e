"""The second VAE of a two-stage VAE, which models codes. Dai & Wipf 2019, arXiv:1903.05789, sec. 3, and their code."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lvm_bench.errors import RunError
from lvm_bench.modelling.losses import gaussian_kl_to_standard
from lvm_bench.modelling.networks import dense_layers, initialise
from lvm_bench.modelling.posteriors import Draw, Gaussian
from lvm_bench.training.checkpoint import Checkpoints, Snapshot

LAYERS = 3

_RATE, _BATCH = 1e-4, 64


class Skipped(nn.Module):
    """Dense layers with ReLU, and a linear one that sees their input beside their output."""

    def __init__(self, inputs: int, outputs: int, hidden: int):
        super().__init__()
        self.body = nn.Sequential(*dense_layers(inputs, *[hidden] * LAYERS))
        self.head = nn.Linear(inputs + hidden, outputs)

    def forward(self, x: Float[Tensor, "b i"]) -> Float[Tensor, "b o"]:
        return self.head(torch.cat([x, self.body(x)], dim=1))


class SecondStage(nn.Module):
    """A VAE of codes z with as many axes as they have, and a decoder N(z_hat, gamma^2 I) of which gamma is learned."""

    def __init__(self, l: int, hidden: int, stream: torch.Generator):
        super().__init__()
        self.l = l
        with torch.random.fork_rng(devices=[]):  # torch's own first weights, which are drawn anew
            self.encoder, self.decoder = Skipped(l, 2 * l, hidden), Skipped(l, l, hidden)
        self.log_gamma = nn.Parameter(torch.zeros(()))
        initialise(self, stream)

    def loss(self, z: Float[Tensor, "b l"], draw: Draw) -> Float[Tensor, ""]:
        """The negative ELBO in nats, of one draw of each code."""
        posterior = Gaussian.of(self.encoder(z))
        z_hat = self.decoder(posterior.sample(draw))
        kl = gaussian_kl_to_standard(*posterior).sum(1)
        error = (((z - z_hat) / self.log_gamma.exp()).square() / 2 + self.log_gamma + math.log(2 * math.pi) / 2).sum(1)
        return (kl + error).mean()

    @torch.no_grad()
    def sample(self, n: int, stream: torch.Generator) -> Float[Tensor, "n l"]:
        """n draws, with the noise of the decoder."""
        first, second = torch.randn(2, n, self.l, generator=stream).to(self.log_gamma)
        return self.decoder(first) + self.log_gamma.exp() * second


def fit(
    fresh: Callable[[torch.Generator], Float[Tensor, "n l"]],
    hidden: int,
    epochs: int,
    stream: torch.Generator,
    checkpoints: Checkpoints | None = None,
) -> SecondStage:
    """The second stage after so many epochs of Adam, whose rate is halved after 3/8 and 6/8 of them.

    `fresh` gives the codes of all training images, drawn anew from their posteriors for each epoch. It goes on from the
    newest of the checkpoints. RunError where the loss became NaN or infinite.
    """

    def draw(make: Callable[[torch.Generator], Tensor]) -> Tensor:
        return make(stream).to(codes.device)  # drawn on the CPU, so that a seed gives the same draws on every device

    codes = fresh(stream)
    model = SecondStage(codes.shape[1], hidden, stream).to(codes)
    optimiser = torch.optim.Adam(model.parameters(), _RATE, fused=True)
    kept = checkpoints.latest() if checkpoints else None
    for epoch in range(_restore(kept, model, optimiser, stream) if kept else 0, epochs):
        optimiser.param_groups[0]["lr"] = _RATE / 2 ** (8 * epoch // (3 * epochs))
        codes = fresh(stream)
        order = torch.randperm(len(codes), generator=stream).to(codes.device)
        for chosen in order.split(_BATCH):
            loss = model.loss(codes[chosen], draw)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if not math.isfinite(last := float(loss.detach())):
            raise RunError(f"The ex-post sampler 'vae' has a loss of {last} in epoch {epoch}. Leave it out of expost.")
        if checkpoints and (checkpoints.due() or epoch + 1 == epochs):
            checkpoints.save(_state(epoch + 1, model, optimiser, stream))
    return model


def _state(epoch: int, model: SecondStage, optimiser: torch.optim.Adam, stream: torch.Generator) -> Snapshot:
    """Everything that the fit needs to go on."""
    moments = {
        f"{name}/{key}": value for name, p in model.named_parameters() for key, value in optimiser.state[p].items()
    }
    return {"stream": stream.get_state(), **model.state_dict(), **moments}, {"epoch": epoch}


def _restore(state: Snapshot, model: SecondStage, optimiser: torch.optim.Adam, stream: torch.Generator) -> int:
    """Set everything from a state; the epoch that comes next."""
    tensors, facts = state
    model.load_state_dict({name: tensors[name] for name in model.state_dict()})
    for name, p in model.named_parameters():
        of_it = (key for key in tensors if key.startswith(f"{name}/"))
        optimiser.state[p] = {key.removeprefix(f"{name}/"): tensors[key].to(p.device) for key in of_it}
    stream.set_state(tensors["stream"])
    return int(facts["epoch"])
