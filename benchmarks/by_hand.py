"""Training steps beside loops written by hand: torch's own layers and Adam, and the loss in a few lines."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from benchmarks.measure import relative
from benchmarks.rows import Equality, Goal, Measured, Row, add
from benchmarks.training import RANGE, STEPS, Clock, made, pixels, plain, steps_in_turn, task
from lvm_bench.modelling.contract import Method, to_float

Losses = Callable[[Any, Tensor], list[Tensor]]  # the model's, and the adversary's if there is one


def vae(method: Method, x: Tensor) -> list[Tensor]:
    mu, log_var = method.encoder(x).chunk(2, dim=1)
    recon = torch.sigmoid(method.decoder(mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)))
    kl = -0.5 * (1 + log_var - mu.pow(2) - log_var.exp()).sum(1)
    return [((x - recon).pow(2).sum((1, 2, 3)) + kl).mean()]


def evae(method: Any, x: Tensor) -> list[Tensor]:
    """Eq. 10 and algorithms 1 and 2 of arXiv:2405.12783, with B = .1."""
    mu, raw = method.encoder(x).chunk(2, dim=1)
    radius = softplus(raw) + 1e-6
    kernel = 2 * torch.rand(3, *mu.shape).median(dim=0).values - 1
    z = 100 ** (-2 / 9) * (mu + radius * kernel) + 0.1 * (torch.rand_like(mu) - 0.5)
    recon = binary_cross_entropy_with_logits(method.decoder(z), x, reduction="sum") / len(x)
    return [recon + 3 * 0.1 / (5 * len(x)) * (1 / radius).sum(1).mean()]


def gamix(method: Any, x: Tensor) -> list[Tensor]:
    """The loss of the official code of arXiv:2309.13160, and its discriminator's on the same reconstructions."""
    real = 2 * x - 1
    mu, log_var = method.encoder(x).chunk(2, dim=1)
    recon = method.decoder(mu + torch.exp(0.5 * log_var) * torch.randn_like(mu))
    variance = mu.var(0, unbiased=False)
    prior = 0.5 * (variance + mu.mean(0) ** 2 - 1 - torch.log(variance + 1e-6)).sum()
    prior = prior + 0.1 * (log_var.exp() - 1 - log_var).sum(1).mean()
    error = 5000 / (3 * 256**2) * (real - recon).abs().sum((1, 2, 3)).mean()
    fooled = softplus(-method.adversary(recon)).mean()
    judged = softplus(-method.adversary(real)).mean() + softplus(method.adversary(recon.detach())).mean()
    return [error + prior + method.adversarial * fooled, method.adversarial * judged]


@dataclass(frozen=True)
class Case:
    """A method with the suite and the data set whose settings its step has, and its losses by hand."""

    label: str
    losses: Losses
    suite: str = "paper"
    dataset: str = "mnist"
    network: str = "MNIST network"
    channels: int = 1
    settings: tuple[str, ...] = ()
    arguments: dict[str, Any] = field(default_factory=dict)
    likelihood: str = "sse"
    least: float = 1.0


CASES = {
    "vae": Case("VAE", vae, least=1.03),
    "evae": Case("EVAE", evae, "evae-small", network="its MNIST network, width 0.5", likelihood="bernoulli"),
    "gamix-vae": Case(
        "GAMIX-VAE", gamix, "gamix-small", "cifar10-npz", "its network at 32 px, width 0.25", 3, ("flips=false",)
    ),
}


def parts(method: Method) -> list[list[torch.nn.Parameter]]:
    """The parameters of the model's optimiser, and of the adversary's if there is one."""
    adversary = [] if method.adversary is None else list(method.adversary.parameters())
    own = {id(parameter) for parameter in adversary}
    return [[each for each in method.parameters() if id(each) not in own], *([adversary] if adversary else [])]


def epoch_by_hand(
    method: Method, losses: Losses, images: Tensor, batch: int, settings: Any, after_step: Callable[[], object]
) -> Callable[[], None]:
    """One pass over float images: a permutation, the losses, Adam."""
    groups, betas = parts(method), (settings.betas, method.adversary_betas)
    optimisers = [
        torch.optim.Adam(group, settings.learning_rate, own) for group, own in zip(groups, betas, strict=False)
    ]

    def epoch() -> None:
        for chosen in torch.randperm(len(images)).split(batch):
            for loss, group, optimiser in zip(losses(method, images[chosen]), groups, optimisers, strict=True):
                for parameter, gradient in zip(group, torch.autograd.grad(loss, group), strict=True):
                    parameter.grad = gradient
                optimiser.step()
            after_step()

    return epoch


def with_same_noise(method: Method, losses: Callable[[], list[Tensor]]) -> list[Tensor]:
    """Losses whose noise comes from torch's own generator, seeded anew."""
    kept, method.generator = method.generator, torch.default_generator
    torch.manual_seed(0)
    found = losses()
    method.generator = kept
    return found


def our_losses(method: Method, x: Tensor) -> list[Tensor]:
    """The loss of a batch, and the adversary's if there is one."""
    model = method.losses(x)["loss"]
    return [model] if method.adversary is None else [model, method.losses_of_adversary(x)["adversary_loss"]]


def against_hand(name: str, small: bool) -> Measured:
    """A step of a method by us and by the loop."""
    case = CASES[name]
    job = task(name, small, *case.settings, suite=case.suite, dataset=case.dataset)
    batch = job.training.batch_size
    images = pixels(STEPS * batch, case.channels)
    method, peers = (made(job, len(images), case.likelihood, case.channels, **case.arguments) for _ in range(2))
    x, peers = to_float(images[:batch], RANGE), plain(peers).train()
    ours = with_same_noise(method.train(), lambda: our_losses(method, x))
    theirs = with_same_noise(peers, lambda: case.losses(peers, x))
    difference = max(relative(a.item(), b.item()) for a, b in zip(ours, theirs, strict=True))
    clock = Clock()
    epoch = epoch_by_hand(peers, case.losses, to_float(images, RANGE), batch, job.training, clock)
    mine, others, limit = steps_in_turn(job, method, images, partial(clock.step, epoch), small)
    return Measured(mine, others, Equality("losses of a batch", difference, 1e-5), limit=limit)


for _name, _case in CASES.items():
    add(
        Row(
            f"step-{_name}-plain",
            f"training step, {_case.label}, {_case.network}",
            "torch",
            Goal(faster=_case.least, limit=1.25),
            partial(against_hand, _name),
            peer="hand-written minimal loop",
            smoke=_name == "vae",
        )
    )
