"""Local dimension and equilibrium of codes: closed forms, a second implementation, and the calibrated floor."""

import math

import jaxtyping
import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from lvm_bench.errors import UserError
from lvm_bench.metrics import equilibrium, equilibrium_variance, two_nn_dimension
from lvm_bench.modelling import kde
from lvm_bench.modelling.kde import Density
from lvm_bench.seeding import generator


def normal(n, l, seed=0, scale=1.0):
    return scale * torch.randn(n, l, generator=generator(seed, "test"), dtype=torch.float64)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_dimension_is_that_of_the_surface_on_which_codes_lie(d):
    cube = torch.rand(1500, d, generator=generator(d, "cube"), dtype=torch.float64)
    turned, _ = torch.linalg.qr(normal(9, 9))
    codes = 1e3 + 7 * cube @ turned[:d]
    distances = cKDTree(codes.numpy()).query(codes.numpy(), 3)[0]
    logs = np.sort(np.log(distances[:, 2] / distances[:, 1]))[:1350]  # the smallest nine tenths
    slope, *_ = np.linalg.lstsq(logs[:, None], -np.log(1 - np.arange(1350) / 1500), rcond=None)
    assert two_nn_dimension(codes) == pytest.approx(slope[0], rel=1e-6)
    assert two_nn_dimension(codes) == pytest.approx(d, rel=0.1)


def test_codes_that_occur_twice_are_left_out_and_what_has_no_ratio_has_no_dimension():
    codes = normal(300, 3)
    assert two_nn_dimension(torch.cat([codes, codes[:1]])) == pytest.approx(two_nn_dimension(codes), rel=0.02)
    assert math.isnan(two_nn_dimension(torch.ones(9, 2)))
    assert math.isnan(two_nn_dimension(torch.eye(5))), "all distances are equal"


def test_exact_gaussian_codes_are_in_equilibrium_at_the_target_under_the_floor_that_they_calibrate(monkeypatch):
    l, m = 4, 400
    h0 = kde.optimal_bandwidth(l, m)
    h = kde.corrected_bandwidth(h0)
    floor = kde.log_floor(l, h, kde.calibrated_level(l, m, h0))
    stream = generator(0, "calibration", l, m)  # the draws of the calibration
    centres, codes = (torch.randn(n, l, generator=stream, dtype=torch.float64) for n in (m, 4000))
    monkeypatch.setattr(equilibrium, "_QUERIES", 4000)
    for scale in (0.4, 1.5):  # from wherever they are
        found = equilibrium_variance(scale * codes, Density(scale * centres, h, floor))
        assert found == pytest.approx((1 - h * h) * float(codes.var(0).mean()), rel=1e-4)


def test_the_equilibrium_of_flat_codes_is_that_of_a_second_implementation():
    l, d, m = 16, 4, 300
    h = kde.corrected_bandwidth(kde.optimal_bandwidth(l, m))
    codes, centres = torch.zeros(200, l, dtype=torch.float64), torch.zeros(m, l, dtype=torch.float64)
    codes[:, :d], centres[:, :d] = normal(200, d, 1), normal(m, d, 2)
    level = 1 - 1e-6
    floor = kde.log_floor(l, h, level)

    def excess(s):
        z, c = s * codes.numpy(), s * centres.numpy()
        kernels = np.exp(-cdist(z, c, "sqeuclidean") / (2 * h * h))
        pulled = kernels @ c / kernels.sum(1, keepdims=True)
        q, eps = kernels.mean(1) / h**l, math.exp(floor)
        return ((z * (z - pulled)).sum(1) * q / (q + eps)).mean() / (h * h * (z**2).sum(1).mean()) - 1

    expected = brentq(excess, 0.3, 1.5) ** 2 * float(codes.var(0).mean())
    assert equilibrium_variance(codes, Density(centres, h, floor)) == pytest.approx(expected, rel=1e-4)
    assert expected == pytest.approx((1 - h * h) * d / l, rel=0.2), "a fact of such codes: they fill d of l axes"


def test_without_a_floor_there_may_be_no_equilibrium_and_a_wide_kernel_never_pushes():
    codes, centres = normal(200, 16, 1), normal(100, 16, 2)
    assert equilibrium_variance(codes, Density(centres, 0.5, -math.inf)) == math.inf
    assert equilibrium_variance(codes, Density(centres, 1.2, kde.log_floor(16, 1.2, 0.5))) == 0


def test_what_is_no_density_is_a_sentence(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(
        UserError, match=r"^equilibrium_variance: kernel_density is a float; give a lvm_bench.kde.Density\.$"
    ):
        equilibrium_variance(normal(9, 2), 0.5)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^equilibrium_variance: codes has shape \(9, 2\) and centres has shape"):
        equilibrium_variance(normal(9, 2), Density(normal(9, 3), 0.5, 0.0))
    with pytest.raises(UserError, match=r"^equilibrium_variance: h is 0"):
        equilibrium_variance(normal(9, 2), Density(normal(9, 2), 0.0, 0.0))
