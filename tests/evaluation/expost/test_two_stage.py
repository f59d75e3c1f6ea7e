"""The second stage of a two-stage VAE: its loss in closed form, its draws."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lvm_bench.errors import RunError, Stopped
from lvm_bench.evaluation.expost import two_stage
from lvm_bench.runs.layout import FITTING
from lvm_bench.seeding import generator
from lvm_bench.training.checkpoint import Checkpoints


def test_the_loss_is_the_negative_elbo_and_no_less_than_the_negative_likelihood() -> None:
    """With the output layers alone, and these linear, the model is a Gaussian whose likelihood is exact."""
    model = two_stage.SecondStage(2, 4, generator(0, "model"))
    w, gamma = torch.tensor([[1.0, 0.2], [0.0, 0.5]]), 0.4
    precision = torch.eye(2) + w.T @ w / gamma**2
    with torch.no_grad():
        for part in (model.encoder, model.decoder):
            part.head.weight.zero_()
        model.decoder.head.weight[:, :2] = w
        # The best diagonal posterior: the exact mean, and the inverse of the precision's diagonal.
        model.encoder.head.weight[:2, :2] = precision.inverse() @ w.T / gamma**2
        model.encoder.head.bias[2:] = -precision.diagonal().log()
        model.log_gamma.fill_(math.log(gamma))
        z = torch.randn(20_000, 2, generator=generator(0, "noise")) @ w.T
        z = z + gamma * torch.randn(20_000, 2, generator=generator(0, "more noise"))
        stream = generator(0, "posterior")
        loss = float(model.loss(z, lambda make: make(stream)))
        covariance = w @ w.T + gamma**2 * torch.eye(2)
        exact = -torch.distributions.MultivariateNormal(torch.zeros(2), covariance).log_prob(z).mean()
    # The gap is the KL from the diagonal posterior to the exact one.
    gap = 0.5 * float(precision.diagonal().log().sum() - precision.logdet())
    assert loss == pytest.approx(float(exact) + gap, abs=0.02)


def test_draws_have_the_mean_and_the_scale_of_the_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_stage, "_RATE", 5e-3)  # in few epochs
    mix = torch.tensor([[1.0, 0.6], [0.0, 0.4]])
    offset = torch.tensor([0.5, -0.3])

    def fresh(stream: torch.Generator) -> Tensor:
        return torch.randn(500, 2, generator=stream) @ mix.T + offset

    model = two_stage.fit(fresh, 32, 30, generator(0, "fit"))
    draws = model.sample(5000, generator(0, "draws"))
    torch.testing.assert_close(draws.mean(0), offset, rtol=0, atol=0.1)
    torch.testing.assert_close(draws.T.cov(), mix @ mix.T, rtol=0, atol=0.2)


def test_the_rate_is_halved_after_three_and_after_six_eighths_of_the_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda own: rates.append(own.param_groups[0]["lr"]) or step(own))
    two_stage.fit(lambda _: torch.randn(64, 2, generator=generator(0, "z")), 4, 8, generator(0, "fit"))
    assert rates == [1e-4] * 3 + [5e-5] * 3 + [2.5e-5] * 2


def test_a_loss_that_is_not_finite_is_a_sentence() -> None:
    with pytest.raises(RunError, match=r"^The ex-post sampler 'vae' has a loss of nan in epoch 0\."):
        two_stage.fit(lambda _: torch.full((20, 2), math.nan), 4, 3, generator(0, "fit"))


def test_a_fit_that_is_interrupted_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = torch.randn(150, 2, generator=generator(0, "codes"))

    def fresh(stream: torch.Generator) -> Tensor:
        return codes + torch.randn(codes.shape, generator=stream)

    def fitted(kept: Checkpoints | None) -> tuple[two_stage.SecondStage, Tensor]:
        stream = generator(0, "fit")
        model = two_stage.fit(fresh, 8, 6, stream, kept)
        return model, model.sample(20, stream)

    def checkpoints(identity: str = "it") -> Checkpoints:
        made = Checkpoints(tmp_path, identity, 0.0, said.append, names=FITTING)
        monkeypatch.setattr(made, "due", lambda: True)
        return made

    said: list[str] = []
    whole, draws = fitted(None)
    step, steps = torch.optim.Adam.step, iter(range(100))

    def interrupted(own: torch.optim.Adam) -> None:
        if next(steps) == 11:  # in the fourth epoch of three steps
            raise Stopped
        step(own)

    with monkeypatch.context() as patched:
        patched.setattr(torch.optim.Adam, "step", interrupted)
        with pytest.raises(Stopped):
            fitted(checkpoints())
    assert {file.name for file in tmp_path.iterdir()} == {*FITTING}
    done = []
    monkeypatch.setattr(torch.optim.Adam, "step", lambda own: done.append(own) or step(own))
    for left in (9, 0):  # what was finished is not done again
        again, same = fitted(checkpoints())
        assert len(done) == left
        assert torch.equal(same, draws)
        assert all(torch.equal(a, b) for a, b in zip(again.parameters(), whole.parameters(), strict=True))
        done.clear()
    assert said == []
    _, other = fitted(checkpoints("another"))
    assert torch.equal(other, draws)
    assert "starts anew" in said[-1]
