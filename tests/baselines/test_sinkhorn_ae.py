import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from lvm_bench.seeding import generator


def cost_by_scaling(a: np.ndarray, b: np.ndarray, epsilon: float, iterations: int) -> float:
    """The transport cost by Sinkhorn's scaling of the kernel, without logarithms."""
    costs, n = cdist(a, b, "sqeuclidean"), len(a)
    kernel, u = np.exp(-costs / epsilon), np.ones(n)
    for _ in range(iterations):
        v = 1 / n / (kernel.T @ u)
        u = 1 / n / (kernel @ v)
    return float((u[:, None] * kernel * v * costs).sum())


def test_loss_by_hand(linear, x, replay):
    method = linear("sinkhorn-ae", beta=100.0, epsilon=2.0, iterations=9)
    with torch.no_grad():
        z = method.encoder(x)
        sse = ((x - method.decode(z)) ** 2).sum().item() / 6
    codes, prior = z.numpy(), replay((6, 3))[0].numpy()
    cross, own, other = (
        cost_by_scaling(a, b, 2.0, 9) for a, b in ((codes, prior), (codes, codes), (prior, prior))
    )  # fmt: skip
    losses = method.losses(x)
    assert losses["recon"].item() == pytest.approx(sse)
    assert losses["sinkhorn"].item() == pytest.approx(cross - (own + other) / 2)
    assert losses["loss"].item() == pytest.approx(sse + 100 * (cross - (own + other) / 2))


def test_a_sharp_plan_is_the_best_matching(linear):
    method = linear("sinkhorn-ae", beta=1.0, epsilon=0.01, iterations=2000)
    a, b = torch.randn(2, 8, 3, generator=generator(0), dtype=torch.float64)
    costs = cdist(a, b, "sqeuclidean")
    assert method.transport_cost(a, b).item() == pytest.approx(costs[linear_sum_assignment(costs)].mean(), rel=1e-3)


def test_the_iterations_of_the_suites_suffice(linear):
    """At the paper's epsilon twenty iterations give a batch's cost to a millionth; float32 does not overflow."""
    a, b = torch.randn(2, 100, 16, generator=generator(0))
    few, many = (linear("sinkhorn-ae", beta=1.0, epsilon=10.0, iterations=n) for n in (20, 500))
    assert few.transport_cost(a, b).item() == pytest.approx(many.transport_cost(a, b).item(), rel=1e-6)
    assert torch.isfinite(few.transport_cost(1e3 * a, b))
