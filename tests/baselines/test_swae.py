import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from lvm_bench.seeding import generator


def matched(a: np.ndarray, b: np.ndarray) -> float:
    """The mean squared difference of the best matching of two samples of numbers."""
    costs = (a[:, None] - b) ** 2
    return costs[linear_sum_assignment(costs)].mean()


def test_loss_by_hand(linear, x, replay):
    method = linear("swae", beta=10.0, projections=7)
    with torch.no_grad():
        z = method.encoder(x)
        sse = ((x - method.decode(z)) ** 2).sum().item() / 6
    z_prior, directions = (drawn.numpy() for drawn in replay((6, 3), (7, 3)))
    directions = directions / np.sqrt((directions**2).sum(1, keepdims=True))
    distance = np.mean([matched(z.numpy() @ along, z_prior @ along) for along in directions])
    losses = method.losses(x)
    assert losses["recon"].item() == pytest.approx(sse)
    assert losses["sliced_wasserstein"].item() == pytest.approx(distance)
    assert losses["loss"].item() == pytest.approx(sse / 16 + 10 * distance)


def test_a_shift_costs_its_squared_length_over_l(linear):
    """The mean over all directions of (theta . shift)^2 is |shift|^2 / l."""
    method = linear("swae", beta=1.0, projections=20_000)
    z, shift = torch.rand(5, 3, generator=generator(0)).double(), torch.tensor([1.0, -2.0, 0.5]).double()
    assert method.sliced_distance(z + shift, z).item() == pytest.approx(5.25 / 3, rel=0.05)
    assert method.sliced_distance(z.flip(0), z).item() == pytest.approx(0, abs=1e-20)
