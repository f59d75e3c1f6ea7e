import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from lvm_bench.modelling.contract import Epoch
from lvm_bench.seeding import generator

IMAGES = torch.randint(0, 256, (50, 1, 4, 4), generator=generator(0, "images"), dtype=torch.uint8)


@pytest.fixture
def method(linear):
    made = linear("factor-vae", gamma=3.0, hidden=[5, 4])
    epoch = Epoch(0, IMAGES, (0.0, 1.0), generator(0, "epoch"))
    batches = epoch.batches
    epoch.batches = lambda indices: (x.double() for x in batches(indices))
    made.start_epoch(epoch)
    return made


def test_losses_by_hand(method, x, replay):
    with torch.no_grad():
        mu, log_var = (t.numpy() for t in method.posterior(x))
        z = mu + np.exp(log_var / 2) * replay((6, 3))[0].numpy()
        sse = ((x - method.decode(torch.from_numpy(z))) ** 2).sum().item() / 6
        logits = method.adversary(torch.from_numpy(z)).numpy()
        losses = method.losses(x)
    kl = (mu**2 + np.exp(log_var) - 1 - log_var).sum() / 2 / 6
    tc = (logits[:, 0] - logits[:, 1]).mean()
    assert losses["tc"].item() == pytest.approx(tc)
    assert losses["loss"].item() == pytest.approx(sse + kl + 3 * tc)


def test_adversary_loss_by_hand(method, x, monkeypatch):
    """Half the cross-entropies of codes of a batch (class 0) and of permuted codes of a second one (class 1)."""
    seen = []
    permuted = method.permuted
    monkeypatch.setattr(method, "permuted", lambda z: seen.append(permuted(z)) or seen[-1])
    with torch.no_grad():
        method.losses(x)
        loss = method.adversary_losses(x)["adversary_loss"].item()
        joint, mixed = (log_softmax(method.adversary(z).numpy(), axis=1) for z in (method.codes, seen[0]))
    assert loss == pytest.approx(-(joint[:, 0].mean() + mixed[:, 1].mean()) / 2)


def test_the_second_batch_is_another_one(method, x, monkeypatch):
    seen = []
    monkeypatch.setattr(method, "permuted", lambda z: seen.append(z) or z)
    method.losses(x)
    method.adversary_losses(x)
    assert seen[0].shape == method.codes.shape
    assert torch.cdist(seen[0], method.codes).min() > 0


def test_each_axis_is_permuted_by_itself(linear):
    method = linear("factor-vae", latent=4, gamma=1.0, hidden=[2])
    z = torch.arange(400.0).reshape(100, 4)
    mixed = method.permuted(z)
    assert torch.equal(mixed.sort(dim=0).values, z)
    ranks = (mixed // 4).long()
    assert all(not torch.equal(ranks[:, i], ranks[:, j]) for i in range(4) for j in range(i))


def test_adversary_loss_stops_at_the_codes_and_knows_the_latest_weights(method, x):
    method.losses(x)["loss"].backward()
    for p in method.parameters():
        p.grad = None
        with torch.no_grad():  # like the step of the optimiser before the adversary's turn
            p.add_(0.01)
    method.adversary_losses(x)["adversary_loss"].backward()
    assert all(p.grad is None for part in (method.encoder, method.decoder) for p in part.parameters())
    assert all(p.grad is not None for p in method.adversary.parameters())


def test_a_perfect_discriminator_reads_the_total_correlation():
    """On a correlated Gaussian the trained discriminator's log ratio is the total correlation, -log(1 - r^2)/2."""
    from lvm_bench.modelling.networks import discriminator

    r, stream = 0.8, generator(0, "correlated")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = discriminator(2, [64, 64], outputs=2)
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)

    def draw(n):
        a, b = torch.randn(2, n, generator=stream)
        return torch.stack([a, r * a + (1 - r**2) ** 0.5 * b], dim=1)

    for _ in range(400):
        joint, other = draw(500), draw(500)
        mixed = torch.stack([other[:, 0], other[torch.randperm(500, generator=stream), 1]], dim=1)
        targets = torch.arange(2).repeat_interleave(500)
        loss = torch.nn.functional.cross_entropy(net(torch.cat([joint, mixed])), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        logits = net(draw(20_000))
    assert (logits[:, 0] - logits[:, 1]).mean().item() == pytest.approx(-np.log(1 - r**2) / 2, abs=0.08)


def test_optimiser_of_its_own(method):
    assert method.adversary_learning_rate == 1e-4
    assert method.adversary_betas == (0.5, 0.9)


def test_discriminator_has_six_hidden_layers_of_1000_by_default(linear):
    weights = [p.shape for p in linear("factor-vae", gamma=1.0).adversary.parameters() if p.ndim == 2]
    assert weights == [(1000, 3), *[(1000, 1000)] * 5, (2, 1000)]
