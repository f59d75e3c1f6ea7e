"""`lvm-bench tune`: equal draws, a choice without the test split, resuming, and every mistake a sentence."""

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lvm_bench import disk
from lvm_bench.cli import main
from lvm_bench.errors import UserError
from lvm_bench.execution.named_score import named_score
from lvm_bench.runs import choice as choices
from lvm_bench.runs.choice import Choice, Trial, best_of
from lvm_bench.suites import bench_toml
from lvm_bench.suites.job import Job
from lvm_bench.suites.resolve import resolve
from lvm_bench.training import loop

Call = Callable[..., Result]
SHORT = (
    "--suite", "quick", "--trials", "3", "--seeds", "0", "--set=epochs=1", "--set=train_images=200",
    "--set=test_images=60", '--set=metrics=["mse", "gaussian_kl"]',
)  # fmt: skip
TUNE = ("tune", *SHORT, "--by", "mse.heldout")
STEPS = 2  # of a run
SHY = '''
from pathlib import Path

import numpy as np

from lvm_bench import Method, dataset, method
from lvm_bench.data.images import Images, Splits
from lvm_bench.losses import sse


class Shy(np.ndarray):
    """Values that cannot be read before something is chosen."""

    def __getitem__(self, at):
        found = super().__getitem__(at)
        if found.size and not any(Path("results/shy-tuned/choices").glob("*/*")):
            raise RuntimeError("the test split is read")
        return found


@dataset("shy")
def shy(root):
    """Random images whose test split is shy."""
    drawn = np.random.default_rng(0)
    made = [Images(drawn.integers(0, 256, (n, 1, 8, 8), dtype=np.uint8), np.arange(n) % 2) for n in (60, 30, 30)]
    return Splits(made[0], Images(made[1].pixels.view(Shy), made[1].labels.view(Shy)), made[2])


@method("pulling")
class Pulling(Method):
    """It fails where it is pulled hard."""

    def __init__(self, *nets, pull: float = 1.0):
        super().__init__(*nets)
        self.pull = pull
        if pull == 2:
            raise RuntimeError("pulled too hard")

    def losses(self, x):
        z = self.encode(x)
        return {"loss": sse(x, self.decode(z)).mean() + self.pull * z.square().mean()}
'''
SHY_TOML = """
[datasets.shy]
network = "digits"
latent = 4
likelihood = "sse"
epochs = 1
extractor = "classifier"
classifier_epochs = 1
metrics = ["frechet", "mse"]
threads = 1
[methods.pulling.tune]
pull = [0.5, 2.0]
[suites.shy]
methods = ["pulling"]
datasets = ["shy"]
seeds = [0]
"""


def contents(place: Path) -> dict[str, bytes]:
    """The files of the runs of a results folder but their records, whose dates and seconds differ."""
    return {
        str(file.relative_to(place)): file.read_bytes()
        for file in sorted(place.glob("*/runs/**/*"))
        if file.is_file() and file.name != "job.json"
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a search for two methods, and for one without a range."""
    results = tmp_path_factory.mktemp("tuned") / "results"
    names = [option for name in ("vae", "wae-mmd", "ae") for option in ("--methods", name)]
    result = CliRunner().invoke(main, [*TUNE, *names, "--results", str(results)])
    assert result.exit_code == 0, result.output
    assert "ae has no range to draw from: its own settings stand for it." in result.stderr
    return results


def test_every_method_has_the_same_number_of_draws_at_shared_points_and_its_own_settings_first(finished: Path) -> None:
    vae, wae = choices.read(finished / "quick-tuned")
    assert [len(vae.trials), len(wae.trials)] == [3, 3]
    assert [vae.own.settings, wae.own.settings] == [{"beta": 1.0}, {"beta": 10.0}]
    for one, other in zip(vae.trials, wae.trials, strict=True):  # ranges 0.1..10 and 1..100, logarithmic
        assert other.settings["beta"] == pytest.approx(10 * one.settings["beta"])
    assert len({trial.settings["beta"] for trial in vae.trials}) == 3
    for found in (vae, wae):
        for k, trial in enumerate(found.trials):
            record = record_of(finished, "quick-search", f"{found.method}-trial-{k}", 3)
            assert record["settings"]["arguments"]["beta"] == trial.settings["beta"]
            assert record["settings"]["method"] == found.method


def record_of(results: Path, suite: str, method: str, seed: int) -> dict[str, Any]:
    return disk.read_record(results / suite / "runs" / "digits" / method / f"seed-{seed}" / "job.json")


def test_the_best_on_the_validation_split_is_measured_on_the_test_split_with_other_seeds(finished: Path) -> None:
    for found in choices.read(finished / "quick-tuned"):
        scores = [
            json.loads((finished / f"quick-search/runs/digits/{found.method}-trial-{k}/seed-3/scores.json").read_text())
            for k in range(3)
        ]
        assert [trial.score for trial in found.trials] == [each["mse.heldout"] for each in scores]
        assert found.best.score == min(each["mse.heldout"] for each in scores)
        assert found.chosen, "else the example shows nothing"
        search = record_of(finished, "quick-search", f"{found.method}-trial-{found.chosen}", 3)
        assert (search["facts"]["heldout_split"], search["settings"]["metrics"]) == ("validation split", ["mse"])
        tuned = record_of(finished, "quick-tuned", f"{found.method}-tuned", 0)
        own = record_of(finished, "quick-tuned", found.method, 0)
        assert tuned["settings"]["arguments"] == own["settings"]["arguments"] | found.best.settings
        assert own["settings"]["arguments"]["beta"] == found.own.settings["beta"]
        assert tuned["facts"]["heldout_split"] == "test split"
        assert tuned["conditions"] == own["conditions"]
    seeds = {file.name for file in finished.glob("*-tuned/runs/digits/*/*")}
    assert seeds == {"seed-0"}
    assert {file.parts[-2] for file in finished.glob("*/runs/digits/ae*/*")} == {"ae"}, "only with its own settings"


def test_the_same_command_again_trains_nothing_and_stops_in_both_stages_lose_nothing(
    finished: Path, lvm_bench: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, step = [], loop.step
    ends = {STEPS + 1, 3 * STEPS + 1}  # in the second trial, and in the first run after the choice

    def counted(*arguments: object) -> object:
        steps.append(1)
        if len(steps) in ends:
            os.kill(os.getpid(), signal.SIGUSR1)
        return step(*arguments)

    monkeypatch.setattr(loop, "step", counted)
    command = (*TUNE, "--methods", "vae", "--set=checkpoint_seconds=0")
    assert lvm_bench(*command).exit_code == 75
    assert not (tmp_path / "results" / "quick-tuned" / "runs").exists()
    assert lvm_bench(*command).exit_code == 75
    assert lvm_bench(*command).exit_code == 0
    assert len(steps) == 5 * STEPS, "three trials, own and tuned settings, no step twice"
    made, there = contents(tmp_path / "results"), contents(finished)
    assert made.items() <= there.items()
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "results").rglob("*") if file.is_file()}
    again = lvm_bench(*command)
    assert again.exit_code == 0
    assert again.stderr.count("Nothing to do.") == 2
    assert len(steps) == 5 * STEPS
    assert before == {file: file.stat().st_mtime_ns for file in (tmp_path / "results").rglob("*") if file.is_file()}


def test_the_test_split_is_not_read_before_the_choice_and_a_failed_draw_is_the_worst(
    lvm_bench: Call, tmp_path: Path
) -> None:
    (tmp_path / "shy.py").write_text(SHY)
    (tmp_path / "bench.toml").write_text(SHY_TOML)
    refused = lvm_bench("run", "--suite", "shy", "--plugin", "shy.py", "--results", "other")
    assert refused.exit_code == 1
    assert "the test split is read" in refused.stderr
    result = lvm_bench("tune", "--suite", "shy", "--plugin", "shy.py", "--trials", "4")
    assert result.exit_code == 0, result.stderr
    (found,) = choices.read(tmp_path / "results" / "shy-tuned")
    assert found.score == "frechet.fake@classifier"
    failed = [trial.settings["pull"] == 2 for trial in found.trials]
    assert 0 < found.failed == sum(failed)
    assert [trial.score is None for trial in found.trials] == failed
    assert f"{found.failed} of 4 trials gave no score." in result.stderr
    assert all("pulled too hard" in trial.reason for trial in found.trials if trial.score is None)


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["--trials", "1"], "--trials 1: a search has 2 to 1,000 trials of each method."),
        (["--set=methods.vae.tune.beta=log 10..1"], "method.vae.tune.beta: is empty: 10 is not below 1."),
        (["--set=methods.vae.tune.beta=[]"], "method.vae.tune.beta: is empty"),
        (["--set=methods.avae.tune.k_b=0.5..3"], "the bound 0.5 is not valid: input should be a valid integer."),
        (["--set=methods.vae.tune.betta=1..2"], "is no setting of the method 'vae'. Did you mean 'beta'?"),
        (["--set=methods.vae.tune=3"], "suites.quick.method.vae.tune: must be a table"),
        (["--set=methods.vae.digits.tune=3"], "method.vae.digits.tune: must be a table"),
        (["--set=validation_images=3"], "The metrics compare 3 images of the validation split with"),
        (["--methods", "ae"], "so each keeps its own settings: `lvm-bench run --suite quick` measures them."),
        (["--by", "mse.train"], "--by mse.train: the score is of training images, not of the validation split."),
        (["--seeds", "3"], "--seeds 3: the search is made with this seed."),
        (["--set=protocol=avae-paper"], "measures digits on the validation split"),
        (["--suite", "quick-tuned"], "unknown suite 'quick-tuned'"),
        (["--jobs", "2", "--address", "here:1"], "give one of them"),
    ],
)
def test_a_mistake_is_a_sentence_before_any_work(arguments: list[str], answer: str, lvm_bench: Call) -> None:
    result = lvm_bench("tune", *SHORT, *arguments)
    assert result.exit_code == 2, result.stderr
    assert answer in result.stderr
    assert not [*Path("results").rglob("*.safetensors")]


@pytest.mark.parametrize(
    ("metrics", "by", "answer"),
    [
        ("mse", "mse.hedlout", "no metric of the suite gives this score. Did you mean 'mse.heldout'?"),
        ("mse", "frechet.fake", "no metric of the suite gives this score."),
        ("mse", "mse.heldout@inception", "the score has no feature space. Write --by mse.heldout."),
        (
            "frechet",
            "frechet.fake@inception",
            "is measured in the feature space of classifier here. Write --by frechet",
        ),
        ("gaussian_kl_floor", None, "none of the scores frechet.fake, sse.heldout, mse.heldout. Name one with --by."),
        ("gaussian_kl_floor", "gaussian_kl_floor.mean", "the score has no better direction. Valid: (none)."),
        ("ood_density", "ood_density.mean", "the score is of another data set's test images too"),
        ("mig", "mig.grid", "the score is of images of the whole grid, test images among them"),
    ],
)
def test_a_score_that_nothing_can_be_chosen_by_is_a_sentence(metrics: str, by: str | None, answer: str) -> None:
    with pytest.raises(UserError, match=re.escape(answer)):
        named_score(jobs_with(metrics), by)


def jobs_with(metric: str) -> list[Job]:
    return resolve(
        bench_toml.packaged(), "quick", methods=("vae",), seeds=(0,), settings=(f'metrics=["{metric}"]',)
    ).jobs


def test_a_score_is_named_with_or_without_its_feature_space() -> None:
    (job,) = jobs_with("frechet")
    for by in (None, "frechet.fake", "frechet.fake@classifier"):
        score = named_score([job], by)
        assert (score.stem, score.better, score.key(job)) == ("frechet.fake", "lower", "frechet.fake@classifier")
    assert named_score(jobs_with("prd"), "prd_recall.fake").better == "higher"


def test_mistakes_in_ranges_are_told_at_once(lvm_bench: Call) -> None:
    wrong = ("--set=methods.vae.tune.betta=1..2", "--set=methods.avae.tune.bandwidth=2..1")
    errors = lvm_bench("tune", *SHORT, *wrong).stderr.splitlines()
    assert [line.split(":")[0] for line in errors if ".tune." in line] == [
        "bench.toml, suites.quick.method.vae.tune.betta",
        "bench.toml, suites.quick.method.avae.tune.bandwidth",
    ]


def test_methods_that_were_searched_apart_have_the_same_number_of_draws(lvm_bench: Call, tmp_path: Path) -> None:
    made = made_choice([2.0, 1.0, 3.0]).model_copy(update={"method": "aae"})
    choices.write(tmp_path / "results" / "quick-tuned", made)
    result = lvm_bench(*TUNE, "--trials", "4", "--methods", "vae")
    assert result.exit_code == 2
    assert "aae on digits was chosen of 3 trials by mse.heldout with seed 3. Search all methods alike" in result.stderr


def test_ranges_change_no_run(lvm_bench: Call, unmeasured: None) -> None:
    plain, tuned = (
        lvm_bench("run", "--suite", "quick", "--dry-run", *more).stdout
        for more in ((), ("--set=methods.vae.tune.beta=1..2",))
    )
    assert plain == tuned
    assert "tune" not in plain


def made_choice(scores: list[float | None]) -> Choice:
    trials = [Trial(settings={"beta": 1.0 + k}, score=score) for k, score in enumerate(scores)]
    return Choice(
        suite="quick", dataset="digits", method="vae", label="VAE", score="mse.heldout", better="lower", seed=3,
        ranges={"beta": "1..9"}, trials=trials, chosen=best_of(scores, "lower"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("scores", "better", "best"),
    [
        ([2.0, 1.0, 1.0], "lower", 1),
        ([2.0, 1.0, 2.0], "higher", 0),
        ([None, 5.0, 6.0], "lower", 1),
        ([None, -5.0, -6.0], "higher", 1),
        ([None, None], "lower", 0),
    ],
)
def test_the_earlier_of_equal_trials_is_chosen_and_one_without_a_score_never(
    scores: list[float | None], better: str, best: int
) -> None:
    assert best_of(scores, better) == best


def test_a_damaged_choice_is_named_by_verify_report_and_tune_and_merge_joins_others(
    finished: Path, lvm_bench: Call, tmp_path: Path
) -> None:
    merged = lvm_bench("merge", finished, "--into", "results")
    assert merged.exit_code == 0, merged.stderr
    assert choices.read(tmp_path / "results" / "quick-tuned") == choices.read(finished / "quick-tuned")
    assert lvm_bench("verify").exit_code == 0
    file = tmp_path / "results" / "quick-tuned" / "choices" / "digits" / "vae.json"
    file.write_text(file.read_text().replace('"seed": 3', '"seed": 4'))
    for command in (("verify",), ("report", "--suite", "quick-tuned"), (*TUNE, "--methods", "vae")):
        result = lvm_bench(*command)
        assert result.exit_code == 1
        assert "vae.json: damaged, its contents do not match its seal. Delete it, and give" in result.output
