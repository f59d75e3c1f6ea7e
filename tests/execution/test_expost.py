"""A suite that names ex-post samplers: its scores, columns, captions, and what is wrong told before it begins."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result

from lvm_bench.execution import estimate
from lvm_bench.runs.layout import FITTING
from lvm_bench.runs.measured import effective
from lvm_bench.suites.bench_toml import config_file
from lvm_bench.suites.job import EXPOST
from lvm_bench.suites.resolve import resolve

Call = Callable[..., Result]
NAMES = json.dumps([*EXPOST])
TINY = (
    "run", "--suite", "quick", "--seeds", "0", "--methods", "vae", "--set=epochs=1", "--set=classifier_epochs=1",
    "--set=train_images=200", "--set=test_images=60", '--set=metrics=["frechet", "kid", "sse"]',
    "--set=expost_flow_epochs=2", "--set=expost_vae_epochs=2", "--set=expost_vae_hidden=16",
    "--set=checkpoint_seconds=0",
)  # fmt: skip
RUN = Path("results/quick/runs/digits/vae/seed-0")


@pytest.mark.usefixtures("undrawn")
def test_a_suite_shows_samples_of_the_prior_beside_those_of_each_sampler(
    lvm_bench: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, steps = torch.optim.Adam.step, iter(range(100_000))

    def interrupted(own: torch.optim.Adam) -> object:
        is_second_stage = len(own.param_groups[0]["params"]) == 17  # eight layers and gamma
        if is_second_stage and next(steps) == 6:  # in its second epoch of four steps
            os.kill(os.getpid(), signal.SIGTERM)
        return step(own)

    monkeypatch.setattr(torch.optim.Adam, "step", interrupted)
    result = lvm_bench(*TINY, f"--set=expost={NAMES}")
    assert result.exit_code == 75, result.output
    assert (RUN / FITTING[0]).is_file()
    assert lvm_bench("verify").exit_code == 0
    assert lvm_bench(*TINY, f"--set=expost={NAMES}").exit_code == 0
    assert not [name for name in FITTING if (RUN / name).exists()]
    scores = json.loads((RUN / "scores.json").read_text())
    assert {f"{metric}.expost-{name}@classifier" for metric in ("frechet", "kid") for name in EXPOST} <= {*scores}
    monkeypatch.setattr(torch.optim.Adam, "step", step)
    assert lvm_bench(*TINY, f"--set=expost={NAMES}", "--results", "again").exit_code == 0
    assert json.loads((Path("again") / RUN.relative_to("results") / "scores.json").read_text()) == scores
    report = " ".join(lvm_bench("report", "--suite", "quick", "--tables", "frechet").stdout.split())
    assert all(f"N ex-post {name}" in report for name in EXPOST)
    assert "mixture: mixture of 10 Gaussians" in report
    assert "vae: two-stage VAE of 3 layers of 16 units, 2 epochs" in report


def test_an_unknown_sampler_is_a_sentence(lvm_bench: Call) -> None:
    result = lvm_bench("run", "--suite", "quick", '--set=expost=["flo"]')
    assert result.exit_code == 2
    assert "['flo'] is not valid: unknown ex-post sampler 'flo'. Did you mean 'flow'? Valid: flow, mixture, vae." in (
        result.stderr
    )
    assert all(name in lvm_bench("list", "expost").stdout for name in EXPOST)


def test_too_few_training_images_are_told_before_a_run_begins(lvm_bench: Call) -> None:
    few = ('--set=expost=["mixture"]', "--set=expost_components=250")
    result = lvm_bench(*TINY, *few)
    assert result.exit_code == 1
    assert "'digits': expost = ['mixture']: 200 training codes are too few" in result.stderr
    assert "Give 250 training images or more" in " ".join(result.stderr.split())


def settings(*given: str) -> dict[str, Any]:
    (job,) = resolve(config_file(None), "quick", methods=("vae",), seeds=(0,), settings=given).jobs
    return job.scores_settings()


def test_settings_of_samplers_that_are_not_named_change_nothing() -> None:
    plain = settings()
    assert not [name for name in plain if name.startswith("expost")]
    assert settings("expost=[]") == plain
    assert effective(settings("expost_vae_epochs=9"), {}) == effective(plain, {})
    chosen = settings('expost=["vae", "mixture", "vae"]', "expost_vae_epochs=9")
    assert chosen["expost"] == ["mixture", "vae"]
    assert effective(chosen, {}) != effective(settings('expost=["mixture", "vae"]'), {})
    assert effective(settings('expost=["vae"]', "expost_flow_epochs=9"), {}) == effective(
        settings('expost=["vae"]'), {}
    )


def test_what_fits_cost_is_estimated_from_one_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = resolve(config_file(None), "quick", methods=("vae",), seeds=(0,), settings=(f"expost={NAMES}",)).jobs
    monkeypatch.setattr(estimate, "timed", lambda action, device: action() or 2.0)
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(
        estimate.fit, "SAMPLERS",
        {name: lambda own: given.append((len(own.codes), own.settings.expost_vae_epochs)) for name in EXPOST},
    )  # fmt: skip
    seconds = estimate.fitting(job, 3000, "cpu")
    assert given == [(1000, 1)] * 6
    assert seconds == 2.0 * 3000 / 1000 * (1 + 50 + 800)
