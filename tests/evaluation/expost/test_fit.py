"""The ex-post samplers by name: scale, seeds, too few codes, and a mixture that finds clusters."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from lvm_bench.errors import RunError, UserError
from lvm_bench.evaluation.expost.fit import SAMPLERS, Fitting, drawn_codes, fewest_codes, told
from lvm_bench.runs.measured import _OF_EXPOST
from lvm_bench.seeding import generator
from lvm_bench.suites.job import EXPOST


@dataclass(frozen=True)
class Settings:
    expost: tuple[str, ...] = (*SAMPLERS,)
    expost_components: int = 2
    expost_flow_epochs: int = 3
    expost_vae_epochs: int = 4
    expost_vae_hidden: int = 16


def clusters(n: int) -> Tensor:
    """Codes of three axes in two far clusters, a quarter of them in the first; the last axis is constant."""
    stream = generator(0, "clusters")
    centre = torch.where(torch.arange(n)[:, None] % 4 == 0, torch.tensor([50.0, -1000.0]), torch.tensor([90.0, 3000.0]))
    return torch.cat([centre + torch.randn(n, 2, generator=stream) * torch.tensor([1, 50]), torch.ones(n, 1)], dim=1)


def drawn(name: str, codes: Tensor, n: int = 200, spread: float = 0.0, seed: int = 0, **settings: object) -> Tensor:
    """n draws from a sampler of codes that have a posterior of that standard deviation."""

    def fresh(stream: torch.Generator) -> Tensor:
        return codes + spread * torch.randn(codes.shape, generator=stream)

    return drawn_codes(name, n, Fitting(codes, fresh, replace(Settings(), **settings), generator(seed, name)))


def test_the_mixture_recovers_two_far_clusters() -> None:
    codes = clusters(400)
    draws = drawn("mixture", codes, 4000)
    for is_first in (True, False):
        own, made = (z[(z[:, 1] < 1000) == is_first].double() for z in (codes, draws))
        assert len(made) / 4000 == pytest.approx(len(own) / 400, abs=0.03)
        error = own[:, :2].std(0) / len(made) ** 0.5
        assert bool(((own - own.mean(0)).mean(0).abs()[:2] < error).all())
        assert bool(((made.mean(0) - own.mean(0))[:2].abs() < 5 * error).all())
        torch.testing.assert_close(made[:, :2].std(0), own[:, :2].std(0), rtol=0.1, atol=0)
    torch.testing.assert_close(draws[:, 2], torch.ones(4000), rtol=0, atol=0.01)


@pytest.mark.parametrize("name", SAMPLERS)
def test_draws_have_the_scale_of_the_codes_and_come_from_the_stream_alone(name: str) -> None:
    codes, before = 1000 + 0.01 * torch.randn(300, 4, generator=generator(0, "codes")), torch.get_rng_state()
    draws = drawn(name, codes)
    assert draws.shape == (200, 4)
    assert draws.dtype == torch.float32
    torch.testing.assert_close(draws.mean(0), codes.mean(0), rtol=0, atol=0.01)
    assert 0.3 < float(draws.std(0).mean() / codes.std(0).mean()) < 3
    assert torch.equal(drawn(name, codes), draws)
    assert not torch.equal(drawn(name, codes, seed=1), draws)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_two_stage_vae_alone_learns_draws_from_posteriors() -> None:
    codes = torch.randn(300, 4, generator=generator(0, "codes"))
    for name in SAMPLERS:
        wide = drawn(name, codes, spread=10)
        assert (float(wide.std(0).mean()) > 5) == (name == "vae")


@pytest.mark.parametrize(("n", "l", "components", "fewest"), [(9, 2, 2, 10), (12, 12, 2, 13), (15, 2, 16, 16)])
def test_too_few_codes_are_a_sentence(n: int, l: int, components: int, fewest: int) -> None:
    settings = Settings(expost_components=components)
    assert fewest_codes(settings, l) == fewest
    assert fewest_codes(replace(settings, expost=()), l) == 0
    for name in SAMPLERS:
        with pytest.raises(UserError, match=rf"^expost = .*: {n} training codes are too few .* Give {fewest} training"):
            drawn(name, torch.ones(n, l), expost_components=components)


@pytest.mark.parametrize("name", SAMPLERS)
def test_codes_that_are_not_finite_are_a_sentence(name: str) -> None:
    codes = clusters(40)
    codes[3, 1] = float("inf")
    with pytest.raises(RunError, match=rf"^The ex-post sampler '{name}' cannot be fitted: .* not finite"):
        drawn(name, codes)


@pytest.mark.parametrize("name", SAMPLERS)
def test_equal_codes_can_be_fitted(name: str) -> None:
    torch.testing.assert_close(drawn(name, torch.full((30, 3), 7.0)).mean(0), torch.full((3,), 7.0), rtol=0, atol=1)


def test_every_name_is_known_everywhere() -> None:
    assert [*SAMPLERS] == [*EXPOST] == [*_OF_EXPOST]
    assert told(Settings()).count(";") == 2
    assert told(replace(Settings(), expost=())) == ""
