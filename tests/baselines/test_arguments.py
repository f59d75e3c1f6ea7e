"""Hyper-parameters that no model can have are sentences."""

import pytest

from lvm_bench.errors import UserError


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("evae", {"support": -1.0}, "evae: support = -1.0 and step = "),
        ("evae", {"step": 0.0}, "evae: support = 0.1 and step = 0.0."),
        ("iwae", {"k": 0}, "iwae: k = 0 codes of an image."),
        ("ldc-vae", {"k": 0}, "ldc-vae: weight = 0.5, k = 0, m = 1000, hidden = 256."),
        ("ldc-vae", {"m": 0}, "ldc-vae: weight = 0.5, k = 8, m = 0,"),
        ("sinkhorn-ae", {"beta": 1.0, "epsilon": 0.0, "iterations": 5}, "sinkhorn-ae: epsilon = 0.0, iterations = 5."),
        ("sinkhorn-ae", {"beta": 1.0, "epsilon": 1.0, "iterations": 0}, "sinkhorn-ae: epsilon = 1.0, iterations = 0."),
        ("swae", {"beta": 1.0, "projections": 0}, "swae: projections = 0."),
        ("vamp", {"components": 0}, "vamp: components = 0 pseudo-inputs."),
        ("info-vae", {"alpha": 2.0, "lam": 1.0}, "info-vae: alpha = 2.0, lam = 1.0. Choose alpha <= 1 <= alpha + lam."),
    ],
)
def test_hyper_parameters_out_of_range_are_told(linear, name, arguments, told):
    with pytest.raises(UserError) as error:
        linear(name, **arguments)
    assert str(error.value).startswith(told)


def test_one_particle_is_a_legitimate_number(linear, x):
    losses = linear("ldc-vae", k=1, m=10, hidden=8).losses(x)
    assert all(value.isfinite() for value in losses.values())
