"""The importance-weighted bound of a VAE of `mnist-small`, with the network's own cost beside it."""

import torch
from torch.distributions import Normal

from benchmarks.measure import timed
from benchmarks.rows import Equality, Goal, Measured, row
from lvm_bench.evaluation.bounds import BATCH, log_weights, observed
from lvm_bench.metrics import iw_bound
from lvm_bench.modelling.contract import Method, Spec
from lvm_bench.modelling.posteriors import Gaussian
from lvm_bench.registry import METHODS
from lvm_bench.seeding import generator
from lvm_bench.suites import bench_toml
from lvm_bench.suites.resolve import resolve
from lvm_bench.training.build import build

IMAGES, CODES, SHAPE = 1000, 500, (1, 32, 32)
FEW = 5  # images that are weighed one by one


def untrained() -> Method:
    """The VAE of `mnist-small`: neither its weights nor the pixels change what a bound costs."""
    job = resolve(bench_toml.defaults_folder() / "bench.toml", "mnist-small", methods=("vae",), seeds=(0,)).jobs[0]
    settings = job.training
    spec = Spec(SHAPE, (0, 1), settings.latent, 12_000, settings.batch_size, settings.likelihood)
    return build(METHODS["vae"], job.arguments, spec, settings.network, settings.width, 0).eval()


@torch.no_grad()
def one_by_one(method: Method, x: torch.Tensor, posterior: Gaussian, k: int) -> torch.Tensor:
    """log p(x|z) p(z) / q(z|x) of the same draws as ours by torch.distributions, each image repeated k times."""
    stream, wide = generator(0, "importance"), Gaussian(*(field.double() for field in posterior))
    z = torch.stack([wide.sample(lambda make: make(stream)) for _ in range(k)])  # [k n l]
    q, prior = Normal(wide.mu, (wide.log_var / 2).exp()), Normal(torch.zeros((), dtype=z.dtype), 1.0)
    rows = []
    for i in range(FEW):
        recon = method.decode(z[:, i].float()).double()
        seen = Normal(recon, 0.5**0.5).log_prob(x[i].double().expand_as(recon)).flatten(1).sum(1)
        rows.append(seen + prior.log_prob(z[:, i]).sum(1) - q.log_prob(z)[:, i].sum(1))
    return torch.stack(rows)


@row(
    "iw-bound",
    "importance-weighted bound, 1,000 images, K = 500, VAE of `mnist-small`",
    "",
    Goal(most=180.0),
    smoke=True,
)
def bound(small: bool) -> Measured:
    """Seconds of the bound with its posteriors; decoding alone costs what the note says."""
    k = 10 if small else CODES
    method, pixels = untrained(), torch.randint(256, (IMAGES, *SHAPE), dtype=torch.uint8, generator=generator(0, "x"))
    with torch.no_grad():
        posterior = method.posterior(pixels / 255)
        assert isinstance(posterior, Gaussian)
        batch = posterior.mu[:BATCH]
        method.decode(batch)
        decoding = timed(lambda: [method.decode(batch) for _ in range(4)])[0] / (4 * BATCH) * IMAGES * k
    images = observed(method, pixels, 0, "cpu")
    seconds, logs = timed(lambda: log_weights(method, images, posterior, k, 0))
    iw_bound(logs)
    difference = float((one_by_one(method, images.x, posterior, k) - logs[:FEW]).abs().max())
    note = f"decoding {IMAGES * k:,} codes alone: {decoding:.1f} s"
    return Measured([seconds], equality=Equality("log weights in nats", difference, 1e-3), note=note)
