import math
import re
import sys

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import chi2

from lvm_bench.errors import UserError
from lvm_bench.execution.provenance import architecture
from lvm_bench.modelling.contract import Epoch
from lvm_bench.modelling.kde import corrected_bandwidth, log_density
from lvm_bench.seeding import generator
from lvm_bench.suites import bench_toml
from lvm_bench.suites.resolve import resolve

FILE = bench_toml.defaults_folder() / "bench.toml"
SUITES = bench_toml.read(FILE)["suites"]

# The authors' bandwidth for latent size 2 and 10,000 images: nothing to estimate.
PRESET = {"m": 10_000, "bandwidth": "paper", "floor": "none"}


@pytest.fixture
def made(linear):
    """`made(latent=2, ...)`: an AVAE of that latent size, in float64."""

    def make(latent=2, n_train=20_000, **arguments):
        return linear("avae", latent, n_train, **{**PRESET, **arguments})

    return make


def draws(n, l, std=1.0, purpose="z"):
    return std * torch.randn(n, l, generator=generator(0, purpose), dtype=torch.float64)


@pytest.mark.parametrize("latent", [2, 6, 16, 128])
def test_target_variance_is_the_squared_scale(made, latent):
    method = made(latent)
    alpha = (1 + method.h0**2) ** -0.5
    assert method.h == pytest.approx(alpha * method.h0, abs=1e-15)
    assert abs(alpha**2 - method.target_variance) < 1e-12


def test_prior_has_the_target_variance(made):
    method = made(16)
    drawn = method.prior(20_000)
    assert drawn.shape == (20_000, 16)
    assert drawn.var().item() == pytest.approx(1 - corrected_bandwidth(0.72) ** 2, rel=0.01)


def test_a_number_multiplies_the_bandwidth_and_uncorrected_is_h0(made):
    plain = made(6, m=200, bandwidth="computed")
    assert made(6, m=200, bandwidth=1.0).h == plain.h
    assert made(6, m=200, bandwidth=0.5).h == pytest.approx(plain.h / 2)
    assert made(6, m=200, bandwidth="uncorrected").h == plain.h0 > plain.h
    assert not plain.cannot_sample


def test_from_h_of_1_on_there_is_nothing_to_sample_and_the_loss_is_still_finite(made, x):
    method = made(2, bandwidth=6.0, m=200)
    assert method.h >= 1
    assert method.cannot_sample == f"h = {method.h:.2f} leaves no variance 1 - h^2 to draw codes with"
    method.kde_codes = draws(50, 2, 0.5, "centres")
    assert math.isfinite(method.losses(x)["loss"].item())


def kl_by_hand(z, centres, h, log_floor):
    m, l = centres.shape
    squares = ((z[:, None] - centres[None]) ** 2).sum(2)
    log_q = logsumexp(-squares / (2 * h * h), axis=1) - np.log(m) - l * np.log(h)
    log_p = -(z**2).sum(1) / 2
    return (np.logaddexp(log_q, log_floor) - np.logaddexp(log_p, np.log(1e-30))).mean()


def test_losses_by_hand(made, x):
    method = made(floor="paper", max_cdf=0.9)
    method.kde_codes = draws(50, 2, 0.5, "centres")
    method.validated({"recon": 9.0, "recon_norm": 2.5})
    with torch.no_grad():
        method.encoder[1].bias.add_(1.0)  # some codes on the floor, some above
        z = method.encoder(x)
        norms = ((x - method.decode(z)) ** 2).flatten(1).sum(1).sqrt()
        losses = {name: value.item() for name, value in method.losses(x).items()}
    log_floor = -chi2.ppf(0.9, 2) / 2 - 2 * math.log(method.h)
    kl = kl_by_hand(z.numpy(), method.kde_codes.numpy(), method.h, log_floor)
    recon = (norms**2).mean().item()
    assert losses["recon"] == pytest.approx(recon)
    assert losses["recon_norm"] == pytest.approx(norms.mean().item())
    assert losses["kl"] == pytest.approx(kl)
    assert losses["loss"] == pytest.approx(recon + 3 / math.log(10) * kl, rel=1e-6)
    assert losses[method.monitor] == pytest.approx(recon + kl / math.log(10))
    assert losses["batch_variance"] == pytest.approx(z.numpy().var(0).mean())
    assert losses["kde_variance"] == pytest.approx(method.kde_codes.numpy().var(0).mean())


def test_far_codes_meet_both_floors(made):
    method = made(floor="paper", max_cdf=0.9)
    method.kde_codes = draws(50, 2)
    z = torch.tensor([[1e3, 0.0]], dtype=torch.float64, requires_grad=True)
    kl = method.aggregate_kl(z)
    assert kl.item() == pytest.approx(method.log_floor - math.log(1e-30))
    assert torch.isfinite(torch.autograd.grad(kl, z)[0]).all()


@pytest.mark.parametrize(("latent", "h0", "expected", "error"), [(2, 0.28, 0.0, 0.01), (16, 0.72, -0.24, 0.05)])
def test_kl_at_the_target(made, latent, h0, expected, error):
    """It is near 0 if m is large for the space and below 0 otherwise, so that clamping would be wrong."""
    method = made(latent)
    method.h = corrected_bandwidth(h0)
    std = math.sqrt(method.target_variance)
    method.kde_codes = draws(10_000, latent, std, "centres")
    assert method.aggregate_kl(draws(4_000, latent, std)).item() == pytest.approx(expected, abs=error)


def gradient(method, z):
    z = z.clone().requires_grad_()
    return torch.autograd.grad(method.aggregate_kl(z) * len(z), z)[0]


def test_floor_scales_the_gradient_of_log_q(made):
    free, floored = made(), made(floor="paper", max_cdf=0.99)
    free.kde_codes = floored.kde_codes = draws(200, 2, 0.9, "centres")
    z = 2 * draws(40, 2)
    share = torch.sigmoid(log_density(z, free.kde_codes, free.h) - floored.log_floor)[:, None]
    assert share.min() < 0.1 < 0.5 < share.max()
    # -z from log p is in both.
    torch.testing.assert_close(gradient(floored, z) - z, share * (gradient(free, z) - z))


def test_without_a_floor_a_far_code_is_driven_outwards(made):
    z = torch.tensor([[10.0, 0.0]], dtype=torch.float64)
    push = {}
    for floor in ("none", "paper"):
        method = made(floor=floor, max_cdf=0.999)
        method.kde_codes = draws(1_000, 2, math.sqrt(method.target_variance), "centres")
        push[floor] = -gradient(method, z)[0, 0].item()
    assert push["none"] > 0 > push["paper"]


def test_the_calibrated_floor_balances_push_and_pull(made):
    """The slope of the KL under one scale of all codes, over E|z|^2. Negative is outwards."""
    slopes = {}
    for floor in ("none", "calibrated"):
        method = made(6, m=1_000, bandwidth="computed", floor=floor)
        std = math.sqrt(method.target_variance)
        method.kde_codes = draws(1_000, 6, std, "centres")
        z = draws(4_000, 6, std)
        slopes[floor] = (gradient(method, z) * z).sum().item() / z.square().sum().item()
    assert slopes["calibrated"] == pytest.approx(0, abs=0.03)
    assert slopes["none"] < -0.04


@pytest.mark.parametrize(("latent", "level"), [(2, 1 - 1e-6), (16, 1 - 1e-6), (64, 0.99), (90, 0.8), (128, 0.9)])
def test_the_papers_floor_is_at_the_authors_level_for_the_latent_size(made, latent, level):
    method = made(latent, floor="paper")
    assert method.log_floor == pytest.approx(-chi2.ppf(level, latent) / 2 - latent * math.log(method.h))
    assert architecture(method)["floor"] == [f"paper, level {level:g} at l = {latent}"]
    other = made(latent, floor="paper", max_cdf=0.7)
    assert other.worked_out == {"floor": f"paper, level 0.7 at l = {latent}"}


def test_the_papers_floor_is_the_calibrated_one_where_the_authors_have_none(made):
    paper, calibrated = (made(20, m=100, bandwidth="computed", floor=floor) for floor in ("paper", "calibrated"))
    assert paper.log_floor == calibrated.log_floor
    assert paper.worked_out == calibrated.worked_out
    assert re.fullmatch(r"calibrated, level 0\.9\d+ at l = 20", paper.worked_out["floor"])


@pytest.mark.parametrize(
    "suite", [name for name in SUITES if name.startswith("ablation-") and name != "ablation-floor"]
)
def test_an_ablation_has_one_rule_for_its_floor(suite, made):
    paper_level = sys.modules[type(made()).__module__].paper_level
    rules = {
        "calibrated" if paper_level(job.training.latent) is None else job.arguments["floor"]
        for job in resolve(FILE, suite).jobs
        if job.method_base == "avae"
    }
    assert len(rules) < 2
    assert (rules == {"calibrated"}) == (suite == "ablation-latent")


def test_kl_gradient_agrees_with_finite_differences(made):
    method = made(floor="paper", max_cdf=0.9)
    method.kde_codes = draws(20, 2, 0.5, "centres")
    assert torch.autograd.gradcheck(method.aggregate_kl, (draws(5, 2).requires_grad_(),))


def test_the_decoder_has_no_part_in_the_kl(made, x):
    method = made()
    gradients = torch.autograd.grad(method.losses(x)["kl"], list(method.parameters()), allow_unused=True)
    reached = [n for (n, _), g in zip(method.named_parameters(), gradients, strict=True) if g is not None]
    assert reached == ["encoder.1.weight", "encoder.1.bias"]


# --- the schedule of Algorithm 1 ---------------------------------------------------------------------------


@pytest.fixture
def scheduled(on_digits, digits):
    """An AVAE on digits, and epochs of it."""

    def make(**arguments):
        method, x = on_digits("avae", m=100, floor="none", **arguments)
        return method.train(), x, lambda i: Epoch(i, digits[:400], (0.0, 1.0), generator(0, "hold out", i))

    return make


def test_kde_images_are_left_out_of_the_epoch(scheduled):
    method, _, epoch = scheduled()
    first = epoch(0)
    method.start_epoch(first)
    assert sorted(first.held_out.tolist()) == sorted(set(method.kde_images.tolist()))
    assert len(first.held_out) == 100


@pytest.mark.parametrize(("k_e", "expected"), [(1, [1, 2, 3, 4, 5]), (2, [1, 1, 2, 2, 3]), (10, [1] * 5)])
def test_kde_images_are_drawn_every_k_e_epochs(scheduled, k_e, expected):
    method, _, epoch = scheduled(k_e=k_e)
    sets, found = [], []
    for i in range(5):
        current = epoch(i)
        method.start_epoch(current)
        drawn = current.held_out.tolist()
        sets += [drawn] if drawn not in sets else []
        found.append(sets.index(drawn) + 1)
    assert found == expected


def test_kde_codes_follow_the_encoder_every_k_b_steps(scheduled, digits):
    method, _, epoch = scheduled(k_b=3)
    method.start_epoch(epoch(0))
    refreshed = []
    for step in range(10):
        with torch.no_grad():
            method.encoder[-1].bias.add_(1.0)
        before = method.kde_codes
        method.start_step(step)
        if not torch.equal(before, method.kde_codes):
            refreshed.append(step)
    assert refreshed == [3, 6, 9]


def test_kde_codes_are_made_in_eval_mode_and_leave_no_trace(scheduled, digits):
    method, x, epoch = scheduled()
    method.losses(x)  # moves the running statistics away from their start
    before = {name: value.clone() for name, value in method.encoder.state_dict().items()}
    first = epoch(0)
    method.start_epoch(first)
    assert all(torch.equal(value, before[name]) for name, value in method.encoder.state_dict().items())
    assert all(layer.training for layer in method.encoder.modules())
    method.eval()
    images = torch.cat(list(first.batches(first.held_out)))
    torch.testing.assert_close(method.kde_codes, method.encode(images).detach())


def test_kde_codes_are_constants(scheduled):
    method, _, epoch = scheduled()
    method.start_epoch(epoch(0))  # with gradients on
    assert not method.kde_codes.requires_grad


def test_a_resumed_run_keeps_its_kde_images(scheduled):
    method, _, epoch = scheduled(k_e=5)
    method.start_epoch(epoch(0))
    resumed, _, _ = scheduled(k_e=5)
    resumed.load_state_dict(method.state_dict())
    second = epoch(1)
    resumed.start_epoch(second)
    assert second.held_out.tolist() == method.kde_images.tolist()


# --- beta and arguments ------------------------------------------------------------------------------------


def test_beta_rules(made):
    means = {"recon": 16.0, "recon_norm": 3.5}
    expected = {"rms_log10": 4 / math.log(10), "mean_norm": 3.5, "fixed": 0.7}
    for rule, beta in expected.items():
        method = made(beta_rule=rule, beta=0.7 if rule == "fixed" else None)
        method.validated(means)
        assert method.beta.item() == pytest.approx(beta)


@pytest.mark.parametrize("rule", ["rms_log10", "mean_norm"])
def test_beta_is_of_the_norms_whatever_part_of_the_squared_error_is_minimised(made, x, rule):
    whole, half = (made(beta_rule=rule, likelihood=likelihood) for likelihood in ("sse", "gaussian_unit"))
    for method in (whole, half):
        method.validated({name: value.item() for name, value in method.losses(x).items()})
    # SSE + beta KL and (SSE + beta KL) / 2 have the same minimum; eq. 9 has no factor 1/2.
    share = 0.5 if rule == "rms_log10" else 1.0
    assert half.beta.item() == pytest.approx(share * whole.beta.item(), rel=1e-6)


def test_the_monitored_loss_does_not_know_beta(made, x):
    method = made()
    first = method.losses(x)[method.monitor].item()
    method.validated({"recon": 1e4, "recon_norm": 1.0})
    assert method.losses(x)[method.monitor].item() == first


def test_weights_hold_beta_and_images_but_no_codes(made):
    assert {"beta", "kde_images"} == {name for name in made().state_dict() if "." not in name}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"m": 20_000}, r"m = 20000 .* 20000 training images.*0 < m < 20000"),
        ({"m": 0}, "m = 0 "),
        (
            {"latent": 32, "bandwidth": 0.5, "floor": "paper"},
            "no level for latent = 32, .* bandwidth = 0.5 gives another",
        ),
        ({"beta_rule": "fixed"}, "beta is given with"),
        ({"beta": 1.0}, "beta is given with"),
        ({"bandwidth": 0.0}, "bandwidth = 0.0 multiplies h"),
        ({"bandwidth": 0.5, "floor": "calibrated"}, "bandwidth = 0.5 gives another"),
        ({"m": 77}, r"\(2, 77\).*\(2, 10000\).*bandwidth = 'computed'"),
    ],
)
def test_mistakes_are_sentences(made, arguments, message):
    with pytest.raises(UserError, match=message):
        made(**arguments)
